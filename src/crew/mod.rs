//! Who carries the fleet: the contract between the conductor and the processes that hold nodes.
//!
//! The conductor sees only what is here and does not know whether nodes are in this process or in
//! others: counts that add up, books of requests that are opened and closed by id, and the cause for
//! each node that did not answer.

mod local;

use std::time::Duration;

use emulator::fleet::counts::{FleetCounts, StepTimes};
use emulator::fleet::ledger::Fate;
use emulator::fleet::{self, FleetError};
use emulator::spec::FleetSpec;
use reports::missing::Cause;

use self::local::Local;

/// The processes that carry the fleet.
pub struct Crew(Kind);

enum Kind {
    /// This process.
    Local(Local),
}

/// Reads the counters of a crew from any task.
#[derive(Debug, Clone)]
pub struct Meter(MeterOf);

#[derive(Debug, Clone)]
enum MeterOf {
    Local(fleet::Meter),
}

/// Opens the books of requests that are about to be sent, from any task.
#[derive(Debug, Clone)]
pub struct Books(BooksOf);

#[derive(Debug, Clone)]
enum BooksOf {
    Local(fleet::ledger::Books),
}

/// Why the driver has no reply of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The cause.
    pub cause: Cause,
    /// Anything more that is known.
    pub detail: Option<String>,
    /// The position of the broker that the node was on when it was asked, where there are several.
    pub seat: Option<u16>,
}

/// Which nodes are connected, at one moment.
pub struct Presence(Vec<bool>);

impl Presence {
    /// Whether a node is.
    #[must_use]
    pub fn has(&self, index: u64) -> bool {
        usize::try_from(index).is_ok_and(|at| self.0.get(at).copied().unwrap_or(false))
    }
}

impl Crew {
    /// Starts all nodes in this process; they connect in the background.
    ///
    /// # Errors
    /// When the fleet cannot be started.
    pub fn local(spec: FleetSpec) -> Result<Self, FleetError> {
        Ok(Self(Kind::Local(Local::start(spec)?)))
    }

    /// How many processes carry nodes.
    #[must_use]
    pub fn workers(&self) -> u64 {
        match &self.0 {
            Kind::Local(_) => 1,
        }
    }

    /// The counters of all nodes at this moment.
    #[must_use]
    pub fn counts(&self) -> FleetCounts {
        match &self.0 {
            Kind::Local(local) => local.fleet.counts(),
        }
    }

    /// What reads the counters from any task.
    #[must_use]
    pub fn meter(&self) -> Meter {
        Meter(match &self.0 {
            Kind::Local(local) => MeterOf::Local(local.fleet.meter()),
        })
    }

    /// How long the steps of all connections took so far.
    #[must_use]
    pub fn step_times(&self) -> StepTimes {
        match &self.0 {
            Kind::Local(local) => local.fleet.step_times(),
        }
    }

    /// The longest that a node's task had to wait for its turn since this was last asked.
    #[must_use]
    pub fn take_lag_max(&self) -> Duration {
        match &self.0 {
            Kind::Local(local) => local.fleet.take_lag_max(),
        }
    }

    /// Waits until every node is connected, or one of them broke.
    pub async fn connected(&self) {
        match &self.0 {
            Kind::Local(local) => local.fleet.connected().await,
        }
    }

    /// Nodes that broke, as texts: a run with any of them has failed.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        match &self.0 {
            Kind::Local(local) => local.fleet.failures(),
        }
    }

    /// Which nodes are connected now.
    pub async fn presence(&self) -> Presence {
        match &self.0 {
            Kind::Local(local) => local.presence(),
        }
    }

    /// What opens the books of requests that are about to be sent, from any task.
    #[must_use]
    pub fn books(&self) -> Books {
        Books(match &self.0 {
            Kind::Local(local) => BooksOf::Local(local.fleet.books()),
        })
    }

    /// Closes the book of a request and tells why the driver has no reply of each of these nodes, in
    /// their order.
    pub async fn close(&self, request_id: &str, missing: &[u64]) -> Vec<Reason> {
        match &self.0 {
            Kind::Local(local) => local.close(request_id, missing),
        }
    }

    /// Ends all nodes in order and waits for all tasks. Returns the counters as they are then.
    pub async fn stop(self) -> FleetCounts {
        match self.0 {
            Kind::Local(local) => local.fleet.stop().await,
        }
    }
}

impl Meter {
    /// The counters at this moment.
    #[must_use]
    pub fn counts(&self) -> FleetCounts {
        match &self.0 {
            MeterOf::Local(meter) => meter.counts(),
        }
    }
}

impl Books {
    /// Opens the book of a request: before it is sent.
    pub async fn open(&self, request_id: &str) {
        match &self.0 {
            BooksOf::Local(books) => books.open(request_id),
        }
    }
}

impl Reason {
    /// What the ledger of a request says of a node, and where that was; `None`: it has no record.
    fn of(fate: Option<Fate>, seat: Option<u16>) -> Self {
        let (cause, detail) = match fate {
            Some(Fate::NeverConnected) => (Cause::NeverConnected, None),
            Some(Fate::Disconnected) => (Cause::Disconnected, None),
            Some(Fate::Left) => {
                (Cause::Disconnected, Some("it had left, as its group's churn says"))
            }
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
        };
        Self { cause, detail: detail.map(str::to_owned), seat }
    }
}
