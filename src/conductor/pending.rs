//! Orders under way: whose book is still to be opened, and whose wave is not over.

use std::collections::VecDeque;
use std::time::Duration;

use crate::crew::Crew;
use crate::driver::{Epoch, WaveDone, WaveOrder};

/// How long before its instant the book of a wave is opened.
const BOOK_LEAD: Duration = Duration::from_millis(500);

/// Orders whose waves are not over, and those whose books are still to be opened.
pub(super) struct Pending {
    to_open: VecDeque<(Duration, String)>,
    running: Vec<WaveOrder>,
}

impl Pending {
    pub(super) fn new(orders: &[WaveOrder]) -> Self {
        let opening = |order: &WaveOrder| {
            (order.intended_at.saturating_sub(BOOK_LEAD), order.request_id.clone())
        };
        Self { to_open: orders.iter().map(opening).collect(), running: orders.to_vec() }
    }

    pub(super) fn open(&mut self, crew: Option<&Crew>, now: Duration) {
        while let Some((at, request_id)) = self.to_open.front() {
            if *at > now {
                return;
            }
            if let Some(crew) = crew {
                crew.open(request_id);
            }
            self.to_open.pop_front();
        }
    }

    pub(super) fn next(&self, epoch: Epoch) -> Option<tokio::time::Instant> {
        self.to_open.front().map(|(at, _)| epoch.instant(*at))
    }

    pub(super) fn take(&mut self, wave: &WaveDone) -> Option<WaveOrder> {
        let position = self.running.iter().position(|order| order.key == wave.key)?;
        Some(self.running.remove(position))
    }
}
