//! Who carries the fleet: the contract between the conductor and the processes that hold nodes.
//!
//! Today a crew is this process alone. The conductor sees only what is here, so that worker processes
//! can join without it knowing: counts that add up, books of requests that are opened and closed by id,
//! and the cause for each node that did not answer.

use std::sync::Arc;
use std::time::Duration;

use emulator::fleet::counts::{FleetCounts, StepTimes};
use emulator::fleet::ledger::{Books, Fate, Ledger};
use emulator::fleet::{Fleet, FleetError, Meter};
use emulator::spec::FleetSpec;
use reports::missing::Cause;

/// The processes that carry the fleet.
pub struct Crew {
    fleet: Fleet,
}

/// What the crew knows of one request.
pub struct Book(Option<Arc<Ledger>>);

impl Crew {
    /// Starts all nodes in this process; they connect in the background.
    ///
    /// # Errors
    /// When the fleet cannot be started.
    pub fn start(spec: FleetSpec) -> Result<Self, FleetError> {
        Ok(Self { fleet: Fleet::start(spec)? })
    }

    /// How many processes carry nodes.
    #[must_use]
    pub fn workers(&self) -> u64 {
        1
    }

    /// The counters of all nodes at this moment.
    #[must_use]
    pub fn counts(&self) -> FleetCounts {
        self.fleet.counts()
    }

    /// What reads the counters from any task.
    #[must_use]
    pub fn meter(&self) -> Meter {
        self.fleet.meter()
    }

    /// How long the steps of all connections took so far.
    #[must_use]
    pub fn step_times(&self) -> StepTimes {
        self.fleet.step_times()
    }

    /// The longest that a node's task had to wait for its turn since this was last asked.
    #[must_use]
    pub fn take_lag_max(&self) -> Duration {
        self.fleet.take_lag_max()
    }

    /// Waits until every node is connected, or one of them broke.
    pub async fn connected(&self) {
        self.fleet.connected().await;
    }

    /// Nodes that broke, as texts: a run with any of them has failed.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        self.fleet.failures()
    }

    /// Whether a node is connected now.
    #[must_use]
    pub fn is_connected(&self, index: u64) -> bool {
        self.fleet.is_connected(index)
    }

    /// What opens the books of requests that are about to be sent, from any task.
    #[must_use]
    pub fn books(&self) -> Books {
        self.fleet.books()
    }

    /// Closes the book of a request.
    #[must_use]
    pub fn close(&self, request_id: &str) -> Book {
        Book(self.fleet.close_ledger(request_id))
    }

    /// Why the driver has no reply of a node, and anything more that is known.
    #[must_use]
    pub fn cause(&self, book: &Book, index: u64) -> (Cause, Option<&'static str>) {
        let fate = book.0.as_ref().and_then(|ledger| self.fleet.fate(ledger, index));
        match fate {
            Some(Fate::NeverConnected) => (Cause::NeverConnected, None),
            Some(Fate::Disconnected) => (Cause::Disconnected, None),
            Some(Fate::NotDelivered) => (Cause::NotDelivered, None),
            Some(Fate::Silent) => (Cause::NoReply, Some("silent, as its group's behaviour says")),
            Some(Fate::Refused) => {
                (Cause::NoReply, Some("the node did not accept the request or has no answer to it"))
            }
            Some(Fate::QueueFull) => {
                (Cause::NoReply, Some("lost in its full request queue, as a slow consumer"))
            }
            Some(Fate::Pending) => {
                (Cause::NoReply, Some("its reply was not due or not written yet"))
            }
            Some(Fate::Answered) => (Cause::ReplyLost, None),
            None => (Cause::Unknown, None),
        }
    }

    /// Ends all nodes in order and waits for all tasks. Returns the counters as they are then.
    pub async fn stop(self) -> FleetCounts {
        self.fleet.stop().await
    }
}
