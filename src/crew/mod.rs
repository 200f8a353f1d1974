//! Who carries the fleet: the contract between the conductor and the processes that hold nodes.
//!
//! The conductor sees only what is here and does not know whether nodes are in this process or in
//! others: counts that add up, books of requests that are opened and closed by id, and the cause for
//! each node that did not answer.

mod board;
mod call;
mod children;
mod driving;
mod listening;
mod local;
mod losses;
mod muster;
mod orders;
mod places;
mod remote;
mod rivals;

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use emulator::fleet::counts::{FleetCounts, StepTimes};
use emulator::fleet::ledger::Fate;
use emulator::fleet::{self, FleetError, Refuge};
use emulator::spec::FleetSpec;
use reports::missing::Cause;
use reports::store::WorkerRow;
use reports::verdict::ExitCode;
use reports::worker::WorkerResult;

use self::board::Board;
use self::local::Local;
use self::orders::Orders;
use self::remote::Remote;
use crate::driver::Secret;

pub(crate) use self::call::{Call, PlanText};
pub use self::call::{ControlAt, Elsewhere, Workers};
pub use self::children::TOKEN_VARIABLE;
pub(crate) use self::driving::{Clock, Drivers, FarDriver, Start};
pub(crate) use self::losses::Losses;
pub(crate) use self::muster::Mustered;
pub(crate) use self::places::check as check_places;

/// Time for all nodes of a process to end in order, shutdown events included.
const STOP_WITHIN: Duration = Duration::from_secs(60);

/// The processes that carry the fleet.
pub struct Crew(Kind);

enum Kind {
    /// This process.
    Local(Local),
    /// Others.
    Remote(Box<Remote>),
}

/// Why there is no crew, or not the whole of it any more.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub(crate) struct CrewError {
    /// The exit code that it stands for.
    pub(crate) code: ExitCode,
    /// What happened, and what to do.
    pub(crate) message: String,
}

impl CrewError {
    fn lost(message: String) -> Self {
        Self { code: ExitCode::WorkerLost, message }
    }

    fn refused(message: String) -> Self {
        Self { code: ExitCode::Refused, message }
    }

    fn unreachable(error: impl std::fmt::Display) -> Self {
        Self { code: ExitCode::BrokerUnreachable, message: error.to_string() }
    }
}

/// How a muster goes.
pub(crate) enum News {
    /// The control broker listens for workers of other hosts.
    Listening {
        /// Where.
        at: SocketAddrV4,
        /// What lets them in, where nobody has given it.
        made_up: Option<Secret>,
    },
    /// So many workers are there.
    Mustering {
        /// How many.
        came: u64,
        /// Of how many.
        wanted: u64,
    },
    /// One was turned away, and why.
    TurnedAway(String),
}

/// What the processes of a crew cost beside this one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    /// Resident memory.
    pub(crate) rss_bytes: u64,
    /// CPU time.
    pub(crate) cpu: Duration,
    /// CPU time of the threads that carry nodes, while requests were under way.
    pub(crate) wave_cpu: Duration,
}

/// What is known of a crew that has ended.
#[derive(Debug, Default)]
pub(crate) struct Dismissed {
    /// The counters as they were last.
    pub(crate) counts: FleetCounts,
    /// What was lost beyond the policy.
    pub(crate) lost: Option<CrewError>,
    /// Where the account of a worker differs from what it had sent, in words.
    pub(crate) differences: Vec<String>,
    /// The last rows of their time series.
    pub(crate) rows: Vec<WorkerRow>,
    /// What became of each worker, by name.
    pub(crate) workers: Vec<(String, WorkerResult)>,
}

/// Reads the counters of a crew from any task.
#[derive(Debug, Clone)]
pub struct Meter(MeterOf);

#[derive(Debug, Clone)]
enum MeterOf {
    Local(fleet::Meter),
    Remote(Arc<Board>),
}

/// Opens the books of requests that are about to be sent, from any task.
#[derive(Debug, Clone)]
pub struct Books(BooksOf);

#[derive(Debug, Clone)]
enum BooksOf {
    Local(fleet::ledger::Books),
    Remote(Arc<Orders>),
}

/// Why the driver has no reply of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The cause.
    pub cause: Cause,
    /// Anything more that is known.
    pub detail: Option<String>,
    /// Where the node was when it was asked, if that was not its home.
    pub refuge: Option<Refuge>,
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

    /// The nodes of workers that have their shares; global indexes are below `end`.
    pub(crate) fn remote(mustered: Mustered, end: u64) -> Self {
        Self(Kind::Remote(Box::new(Remote::new(mustered, end))))
    }

    /// How many processes carry nodes.
    #[must_use]
    pub fn workers(&self) -> u64 {
        match &self.0 {
            Kind::Local(_) => 1,
            Kind::Remote(remote) => remote.workers(),
        }
    }

    /// The counters of all nodes: at this moment, of workers as of their last pulse.
    #[must_use]
    pub fn counts(&self) -> FleetCounts {
        match &self.0 {
            Kind::Local(local) => local.fleet.counts(),
            Kind::Remote(remote) => remote.board().counts(),
        }
    }

    /// What reads the counters from any task.
    #[must_use]
    pub fn meter(&self) -> Meter {
        Meter(match &self.0 {
            Kind::Local(local) => MeterOf::Local(local.fleet.meter()),
            Kind::Remote(remote) => MeterOf::Remote(Arc::clone(remote.board())),
        })
    }

    /// Makes sure that what is known is what is now, and tells how long the steps of all connections took so
    /// far.
    pub async fn look(&self) -> StepTimes {
        match &self.0 {
            Kind::Local(local) => local.fleet.step_times(),
            Kind::Remote(remote) => remote.look().await,
        }
    }

    /// The longest that a node's task had to wait for its turn since this was last asked.
    #[must_use]
    pub fn take_lag_max(&self) -> Duration {
        match &self.0 {
            Kind::Local(local) => local.fleet.take_lag_max(),
            Kind::Remote(remote) => remote.board().take_lag_max(),
        }
    }

    /// Waits until every node is connected, or one of them broke.
    pub async fn connected(&self) {
        match &self.0 {
            Kind::Local(local) => local.fleet.connected().await,
            Kind::Remote(remote) => remote.connected().await,
        }
    }

    /// Nodes that broke, as texts: a run with any of them has failed.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        match &self.0 {
            Kind::Local(local) => local.fleet.failures(),
            Kind::Remote(remote) => remote.board().failures(),
        }
    }

    /// Nodes that are connected, or will not be for now: closed for good, away as their group's churn says, or lost
    /// with their worker.
    #[must_use]
    pub fn settled(&self) -> u64 {
        match &self.0 {
            Kind::Local(local) => local.fleet.counts().settled(),
            Kind::Remote(remote) => remote.board().settled(),
        }
    }

    /// Rows of the workers' own time series that were not taken before.
    #[must_use]
    pub fn take_rows(&self) -> Vec<WorkerRow> {
        match &self.0 {
            Kind::Local(_) => Vec::new(),
            Kind::Remote(remote) => remote.board().take_rows(),
        }
    }

    /// What its processes cost; `None`: it is part of this one.
    #[must_use]
    pub(crate) fn cost(&self) -> Option<Cost> {
        match &self.0 {
            Kind::Local(_) => None,
            Kind::Remote(remote) => Some(remote.cost()),
        }
    }

    /// Which nodes are connected now.
    pub async fn presence(&self) -> Presence {
        match &self.0 {
            Kind::Local(local) => local.presence(),
            Kind::Remote(remote) => remote.presence().await,
        }
    }

    /// What opens the books of requests that are about to be sent, from any task.
    #[must_use]
    pub fn books(&self) -> Books {
        Books(match &self.0 {
            Kind::Local(local) => BooksOf::Local(local.fleet.books()),
            Kind::Remote(remote) => BooksOf::Remote(Arc::clone(remote.orders())),
        })
    }

    /// Closes the book of a request and tells why the driver has no reply of each of these nodes, in
    /// their order.
    pub async fn close(&self, request_id: &str, missing: &[u64]) -> Vec<Reason> {
        match &self.0 {
            Kind::Local(local) => local.close(request_id, missing),
            Kind::Remote(remote) => remote.close(request_id, missing).await,
        }
    }

    /// Ends all nodes in order and waits for all tasks and processes. Returns what is known then.
    pub(crate) async fn stop(self) -> Dismissed {
        match self.0 {
            Kind::Local(local) => local.stop().await,
            Kind::Remote(remote) => remote.stop().await,
        }
    }
}

impl Meter {
    /// The counters at this moment.
    #[must_use]
    pub fn counts(&self) -> FleetCounts {
        match &self.0 {
            MeterOf::Local(meter) => meter.counts(),
            MeterOf::Remote(board) => board.counts(),
        }
    }

    /// Connections of drivers on workers that are away, as of their last pulse.
    #[must_use]
    pub fn clients_away(&self) -> u64 {
        match &self.0 {
            MeterOf::Local(_) => 0,
            MeterOf::Remote(board) => board.clients_away(),
        }
    }
}

impl Books {
    /// Opens the book of a request: before it is sent.
    pub async fn open(&self, request_id: &str) {
        match &self.0 {
            BooksOf::Local(books) => books.open(request_id),
            BooksOf::Remote(orders) => orders.open(request_id).await,
        }
    }
}

impl Reason {
    /// What the ledger of a request says of a node, and where that was; `None`: it has no record.
    fn of(fate: Option<Fate>, refuge: Option<Refuge>) -> Self {
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
        Self { cause, detail: detail.map(str::to_owned), refuge }
    }

    /// Its worker is lost, and why.
    fn lost(why: String) -> Self {
        Self { cause: Cause::WorkerLost, detail: Some(why), refuge: None }
    }
}
