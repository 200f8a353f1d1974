//! A fleet: thousands of nodes as tasks on a few threads, what they count, and the books of requests.
//!
//! A fleet connects its nodes at a rate, keeps them connected, and answers. It measures no reply times:
//! that is the driver's, who sees what a client sees.

mod churn;
pub(crate) mod context;
pub mod counts;
pub(crate) mod dice;
mod failures;
pub mod ledger;
pub(crate) mod node;
mod queue;
mod seats;
mod shard;
#[cfg(test)]
mod time_tests;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::context::Context;
use self::counts::{FleetCounts, ShardCounts, StepTimes, add};
use self::failures::Failures;
use self::ledger::{Books, Fate, Ledger, Ledgers};
pub use self::seats::Refuge;
use self::shard::{Part, Shard, members};
use crate::connection::directory::Directory;
use crate::node::{Group, GroupError};
use crate::spec::{Clock, FleetSpec, GroupSpec, Share};

/// Why a fleet could not be started.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// A group's patterns are wrong.
    #[error("group {group}: {source}")]
    Group {
        /// Name of the group.
        group: String,
        /// What is wrong.
        source: GroupError,
    },
    /// A group has no server to connect to.
    #[error("group {0} has no server to connect to")]
    NoServers(String),
    /// A group has a rate at which no node is ever started.
    #[error(
        "group {0} connects at a rate that is no positive number\ngive a rate above 0, or none"
    )]
    Rate(String),
    /// A group's folder for status files cannot be made.
    #[error("folder {} for status files: {source}\ngive one that can be written to", folder.display())]
    StatusFolder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The system gave no thread or runtime.
    #[error("no thread for the nodes: {0}")]
    Thread(#[from] std::io::Error),
}

/// A group as all shards share it.
struct Started {
    spec: Arc<GroupSpec>,
    compiled: Arc<Group>,
    directory: Arc<Directory>,
    /// First connections in flight.
    in_flight: Arc<Semaphore>,
}

/// Reads what a fleet counts from any task; it stays readable when the fleet is gone.
#[derive(Debug, Clone)]
pub struct Meter {
    shards: Vec<Arc<ShardCounts>>,
    lag_us_max: Arc<AtomicU64>,
    failures: Arc<Failures>,
}

impl Meter {
    /// The counters at this moment.
    #[must_use]
    pub fn counts(&self) -> FleetCounts {
        let mut sum = FleetCounts::default();
        for shard in &self.shards {
            shard.add_to(&mut sum);
        }
        sum
    }

    /// How long the steps of all connections took so far.
    #[must_use]
    pub fn step_times(&self) -> StepTimes {
        let mut sum = StepTimes::default();
        for shard in &self.shards {
            sum.merge(&shard.steps.lock().unwrap_or_else(PoisonError::into_inner));
        }
        sum
    }

    /// The longest that a task of a shard had to wait for its turn since this was last asked.
    #[must_use]
    pub fn take_lag_max(&self) -> Duration {
        Duration::from_micros(self.lag_us_max.swap(0, Ordering::Relaxed))
    }

    /// Panics of nodes, as texts: a fleet with any of them is not what was asked for.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        self.failures.texts()
    }
}

/// A running fleet. Dropping it stops it.
pub struct Fleet {
    share: Share,
    clock: Clock,
    counts: Vec<Arc<ShardCounts>>,
    lag_us_max: Arc<AtomicU64>,
    ledgers: Arc<Ledgers>,
    /// The servers that the nodes of each group know, with the index of its first node.
    directories: Vec<(u64, Arc<Directory>)>,
    progress: Arc<Notify>,
    failures: Arc<Failures>,
    stop: CancellationToken,
    threads: Vec<JoinHandle<()>>,
}

impl Fleet {
    /// Starts the nodes of `spec.share`: they connect in the background.
    ///
    /// # Errors
    /// When a group cannot be understood or the system gives no threads.
    pub fn start(spec: FleetSpec) -> Result<Self, FleetError> {
        let end = spec.groups.iter().map(|group| group.first + group.nodes).max().unwrap_or(0);
        let slots = end.div_ceil(spec.share.of.max(1)) as usize;
        let with_churn = spec.groups.iter().any(|group| group.behaviour.churn.is_some());
        let progress = Arc::default();
        let mut fleet = Self {
            share: spec.share,
            clock: spec.clock,
            counts: Vec::new(),
            lag_us_max: Arc::default(),
            ledgers: Arc::new(Ledgers::new(slots, with_churn)),
            failures: Arc::new(Failures::new(Arc::clone(&progress))),
            directories: Vec::new(),
            progress,
            stop: CancellationToken::new(),
            threads: Vec::new(),
        };
        let mut groups = Vec::new();
        for group in spec.groups {
            let name = group.name.clone();
            if group.servers.is_empty() {
                return Err(FleetError::NoServers(name));
            }
            if group.connect.rate_per_s.is_some_and(|rate| !(rate.is_finite() && rate > 0.0)) {
                return Err(FleetError::Rate(name));
            }
            if let Some(files) = &group.lifecycle.status_files {
                let folder = files.folder.clone();
                std::fs::create_dir_all(&folder)
                    .map_err(|source| FleetError::StatusFolder { folder, source })?;
            }
            let compiled =
                Group::new(&group).map_err(|source| FleetError::Group { group: name, source })?;
            let in_flight = (group.connect.in_flight / spec.share.of.max(1) as usize).max(1);
            let directory = Arc::new(Directory::new(&group.servers));
            fleet.directories.push((group.first, Arc::clone(&directory)));
            groups.push(Started {
                spec: Arc::new(group),
                compiled: Arc::new(compiled),
                directory,
                in_flight: Arc::new(Semaphore::new(in_flight)),
            });
        }
        let began = Instant::now();
        let shards = spec.shards.max(1);
        for number in 0..shards {
            let counts = Arc::new(ShardCounts::default());
            let context = |group: &Started| Part {
                context: Arc::new(fleet.context(spec.seed, group, &counts)),
                in_flight: Arc::clone(&group.in_flight),
            };
            let parts = groups.iter().map(context).collect();
            for Started { spec: group, .. } in &groups {
                let mine = members(group.first, group.nodes, spec.share)
                    .filter(|(_, _, slot)| slot % shards == number);
                add(&counts.planned, mine.count() as u64);
            }
            let shard = Shard {
                number,
                of: shards,
                share: spec.share,
                began,
                parts,
                stop: fleet.stop.clone(),
                lag_us_max: Arc::clone(&fleet.lag_us_max),
            };
            fleet.counts.push(counts);
            fleet.spawn(shard)?;
        }
        Ok(fleet)
    }

    fn spawn(&mut self, shard: Shard) -> Result<(), FleetError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            // A broadcast makes thousands of sockets readable at once.
            .max_io_events_per_tick(4096)
            .build()?;
        let name = format!("fleet-{}", shard.number);
        let run = move || shard.run(&runtime);
        self.threads.push(std::thread::Builder::new().name(name).spawn(run)?);
        Ok(())
    }

    fn context(&self, seed: u64, group: &Started, counts: &Arc<ShardCounts>) -> Context {
        let Started { spec, compiled, directory, .. } = group;
        let mut broadcasts = Vec::new();
        for agent in compiled.agents() {
            for collective in &spec.collectives {
                broadcasts.push(format!("{collective}.broadcast.agent.{agent}"));
            }
        }
        Context {
            spec: Arc::clone(spec),
            group: Arc::clone(compiled),
            directory: Arc::clone(directory),
            seed,
            started_unix: self.clock.unix_s(),
            clock: self.clock.clone(),
            counts: Arc::clone(counts),
            ledgers: Arc::clone(&self.ledgers),
            stop: self.stop.clone(),
            progress: Arc::clone(&self.progress),
            failures: Arc::clone(&self.failures),
            broadcasts,
        }
    }

    /// The counters at this moment.
    #[must_use]
    pub fn counts(&self) -> FleetCounts {
        self.meter().counts()
    }

    /// What reads the counters from any task.
    #[must_use]
    pub fn meter(&self) -> Meter {
        Meter {
            shards: self.counts.clone(),
            lag_us_max: Arc::clone(&self.lag_us_max),
            failures: Arc::clone(&self.failures),
        }
    }

    /// How long the steps of all connections took so far.
    #[must_use]
    pub fn step_times(&self) -> StepTimes {
        self.meter().step_times()
    }

    /// The longest that a task of a shard had to wait for its turn since this was last asked.
    #[must_use]
    pub fn take_lag_max(&self) -> Duration {
        self.meter().take_lag_max()
    }

    /// Waits until every node is connected or will not be: closed for good, away by its group's churn, or
    /// failed.
    pub async fn connected(&self) {
        loop {
            let changed = self.progress.notified();
            let counts = self.counts();
            if counts.settled() >= counts.planned || !self.failures.is_empty() {
                return;
            }
            changed.await;
        }
    }

    /// Panics of nodes, as texts: a fleet with any of them is not what was asked for.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        self.failures.texts()
    }

    /// Opens the book of a request: before it is sent.
    pub fn open_ledger(&self, request_id: &str) -> Arc<Ledger> {
        self.ledgers.open(request_id)
    }

    /// What opens books from any task.
    #[must_use]
    pub fn books(&self) -> Books {
        Books(Arc::clone(&self.ledgers))
    }

    /// Closes the book of a request; replies that are written later are in no book.
    pub fn close_ledger(&self, request_id: &str) -> Option<Arc<Ledger>> {
        self.ledgers.close(request_id)
    }

    /// What became of a request at a node; `None` if another share carries it.
    #[must_use]
    pub fn fate(&self, ledger: &Ledger, index: u64) -> Option<Fate> {
        let of = self.share.of.max(1);
        (index % of == self.share.index).then(|| self.ledgers.fate(ledger, (index / of) as usize))
    }

    /// The server that the node was on when the book was opened, or was complete on last before, if that was not
    /// its home; `None` as well if another share carries it.
    #[must_use]
    pub fn refuge(&self, ledger: &Ledger, index: u64) -> Option<Refuge> {
        let of = self.share.of.max(1);
        let number =
            (index % of == self.share.index).then(|| ledger.seat((index / of) as usize))??;
        let (_, directory) = self.directories.iter().rev().find(|(first, _)| *first <= index)?;
        directory.refuge(number)
    }

    /// True if the node is connected now with all its subscriptions.
    #[must_use]
    pub fn is_connected(&self, index: u64) -> bool {
        let of = self.share.of.max(1);
        index % of == self.share.index && self.ledgers.presence.connected.get((index / of) as usize)
    }

    /// Closes every connection and waits until every task and thread has ended.
    pub async fn stop(mut self) -> FleetCounts {
        self.stop.cancel();
        let threads = std::mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(move || join(threads)).await;
        if joined.is_err() {
            tracing::error!("the threads of the fleet could not be joined");
        }
        self.counts()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.stop.cancel();
        join(std::mem::take(&mut self.threads));
    }
}

fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a thread of the fleet panicked");
        }
    }
}
