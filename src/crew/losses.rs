//! Which workers of a run are lost, from the muster to their end.

use std::sync::Arc;

use super::CrewError;
use super::board::Board;

/// What anybody can ask about losses, whatever the run does just now.
#[derive(Debug, Clone)]
pub(crate) struct Losses {
    pub(super) board: Arc<Board>,
    /// Share (0 to 1) of the nodes that may be lost with their workers.
    pub(super) tolerated: f64,
}

impl Losses {
    /// Why the run cannot go on: workers are lost beyond what it tolerates, or another run goes before it.
    pub(crate) fn beyond(&self) -> Option<CrewError> {
        self.board.lost_beyond(self.tolerated)
    }

    /// Workers that were lost since this was last asked, in words.
    pub(crate) fn take(&self) -> Vec<String> {
        self.board.take_losses()
    }
}
