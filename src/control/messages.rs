//! What is said on the control plane: JSON, so that `nats sub 'choria_emulator.>'` shows a run at work.
//!
//! What it costs: pulses come five times a second and slices once, some hundred bytes each: with beats and waves
//! 2 KB a second and worker (4.2 KB for two of them at the control broker's `/varz`, first-look), whatever
//! nodes it carries. With all digits of all counters a pulse has up to 1,300 bytes (8,000 with the texts of nodes that broke, which
//! ends the run) and a slice 1,300 too, so that a worker says at most 8 KB a second. In a second in which nodes connect a slice has
//! five histograms beside: up to 22,000 bytes with a connection at each value that they tell apart, and 120,000 however
//! many there are. The plan is told once to each of them, in as many messages as it takes. A wave is two orders and two answers a worker: some hundred bytes each, and for each stretch of nodes that did
//! not answer ten more.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use emulator::fleet::Refuge;
use emulator::fleet::counts::{ConnectStep, FleetCounts, StepTimes};
use emulator::fleet::ledger::Fate;
use emulator::spec::{Login, Server, Share};
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2Serializer};
use serde::{Deserialize, Serialize};

use super::parcel::Parcel;
use super::{Build, IndexRuns, Runs};
use crate::doctor::Host;
use crate::driver::{ConnectionOptions, SeenBroker};
use crate::watch::Usage;

/// A conductor shows that it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Id of the run.
    pub run: String,
    /// What it is doing.
    pub phase: Phase,
    /// Name of the scenario.
    pub scenario: String,
    /// Name of the conductor's host.
    pub host: String,
    /// When the run began, by the clock of that host: RFC 3339, UTC. For people.
    pub began: String,
    /// How long it has been under way, by a clock that nobody sets.
    pub age_ms: u64,
}

/// Two runs whose ages differ by less are of one age: it takes a beat some time to be heard.
const OF_ONE_AGE_MS: u64 = 2_000;

impl Beat {
    /// Whether this run goes on where another is conducted over the same control broker, and the other ends. Both
    /// conductors find the same, each by its own beat and the other's.
    #[must_use]
    pub fn goes_before(&self, other: &Self) -> bool {
        let by_age = match self.age_ms.abs_diff(other.age_ms) {
            apart if apart < OF_ONE_AGE_MS => other.run.cmp(&self.run),
            _ => self.age_ms.cmp(&other.age_ms),
        };
        self.phase.cmp(&other.phase).then(by_age).is_gt()
    }
}

/// What a run is doing, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It asks whether another run is conducted over the same control broker.
    Claiming,
    /// It waits for workers.
    Mustering,
    /// It has all of them.
    Running,
}

/// A worker that wants to take part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Its name, unique among the workers of a run.
    pub name: String,
    /// Its build.
    pub build: Build,
    /// The machine that it is on.
    pub host: Host,
    /// Its process there.
    pub pid: u32,
}

impl Card {
    /// Whether both are of one process. Hosts may share a kernel and count processes each for itself, so it takes
    /// the host's name too.
    pub(crate) fn is_of_same_process(&self, other: &Self) -> bool {
        let process = |card: &Self| {
            (card.name.clone(), card.host.name.clone(), card.host.boot_id.clone(), card.pid)
        };
        process(self) == process(other)
    }
}

/// What a worker is told that wants to take part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Welcome {
    /// It is one of the run's workers, of this number.
    Accepted {
        /// From 0.
        number: u64,
        /// How many there will be.
        of: u64,
    },
    /// It is not, and why.
    Refused(String),
}

/// An order with what tells it apart from all others of the run. It is given again where its answer was lost, and
/// carried out once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Numbered<O = Order> {
    /// From 1; 0: nobody waits for the answer.
    pub id: u64,
    /// The first id whose answer somebody still waits for: those of the ones before may be forgotten.
    pub awaited: u64,
    /// What is to be done.
    pub order: O,
}

impl<O> Numbered<O> {
    /// One whose answer nobody waits for.
    pub fn unasked(order: O) -> Self {
        Self { id: 0, awaited: 0, order }
    }
}

/// What a worker is to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Know this plan, as JSON: one part after the other, each answered when it is there.
    Plan(Parcel),
    /// Take this share of it.
    Prepare(Box<Assignment>),
    /// Connect its nodes; the run has been going on for so long.
    Start {
        /// Since the run's beginning.
        at_us: u64,
    },
    /// Tell everything counted so far.
    Look,
    /// Open the book of a request.
    Open {
        /// Its id.
        request_id: String,
    },
    /// Tell what became of a request at these nodes.
    Close {
        /// Its id.
        request_id: String,
        /// Global indexes of the nodes, ascending.
        nodes: IndexRuns,
        /// Whether nothing more will be asked about it.
        last: bool,
    },
    /// Tell which nodes are connected.
    Presence,
    /// Connect a driver for the clients that are at this worker.
    Connect(Box<Reach>),
    /// Tell what the clock of the driver shows.
    Clock,
    /// Let the driver send its waves.
    Go {
        /// The instant from which the plan's schedule counts, on the driver's own clock: all that it measures
        /// is a difference of readings of that one.
        at_us: u64,
    },
    /// End the driver's waves at once, with what they have.
    Halt,
    /// End all nodes in order, and tell everything counted.
    Stop,
    /// Go, and why: the run ended before it began, or goes on without this worker, which is then told at each of
    /// its pulses and not waited for.
    Leave(String),
}

/// What a worker says to an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is done.
    Done,
    /// It cannot be done, and why.
    Refused(String),
    /// Everything counted so far.
    Report(Report),
    /// What became of a request, node by node in the order of the question.
    Fates(Runs<Outcome>),
    /// Global indexes of the nodes that are connected.
    Connected(IndexRuns),
    /// The driver is there: the brokers that its clients are connected to.
    Driver(Vec<SeenBroker>),
    /// What the clock of the driver shows.
    Clock {
        /// Since an instant of its own.
        at_us: u64,
    },
}

/// How a driver reaches the network.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Reach {
    /// Where clients connect, by the positions of the brokers.
    pub urls: Vec<String>,
    /// Everything else; files that it names are those of the worker's host.
    pub connection: ConnectionOptions,
    /// What sets the run's request ids apart.
    pub nonce: u64,
}

impl std::fmt::Debug for Reach {
    /// Without what clients show to brokers.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reach").field("connection", &self.connection).finish_non_exhaustive()
    }
}

/// What became of a request at a node, `None` if nothing is known, and where the node was, if that was not its home.
pub type Outcome = (Option<Fate>, Option<Refuge>);

/// A share of the plan, and what it takes to carry it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    /// Digest of the plan: a worker that has read another one refuses.
    pub digest: String,
    /// The part of the nodes.
    pub share: Share,
    /// Threads that carry them.
    pub shards: u64,
    /// The brokers by their positions.
    pub servers: Vec<Server>,
    /// Source addresses to spread connections over.
    pub source_addresses: Vec<std::net::IpAddr>,
    /// What nodes show to brokers.
    pub login: Login,
}

impl std::fmt::Debug for Assignment {
    /// Without what nodes show to brokers.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { digest, share, shards, .. } = self;
        let mut shown = f.debug_struct("Assignment");
        shown.field("digest", digest).field("share", share).field("shards", shards);
        shown.finish_non_exhaustive()
    }
}

/// What a process costs, on the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Resident memory.
    pub rss_bytes: u64,
    /// CPU time of the threads that carry nodes.
    pub fleet_cpu_us: u64,
    /// CPU time of all other threads.
    pub other_cpu_us: u64,
    /// Of the former, what was used between the opening of a request's book and its closing.
    pub wave_cpu_us: u64,
}

impl Spent {
    /// With what was used while waves ran.
    #[must_use]
    pub fn of(usage: &Usage, wave_cpu: Duration) -> Self {
        Self {
            rss_bytes: usage.rss_bytes,
            fleet_cpu_us: micros(usage.fleet_cpu),
            other_cpu_us: micros(usage.other_cpu),
            wave_cpu_us: micros(wave_cpu),
        }
    }

    /// The same, known later: CPU time never becomes less, though that of threads that have ended is not told any
    /// more.
    #[must_use]
    pub fn then(self, later: Self) -> Self {
        Self {
            rss_bytes: later.rss_bytes,
            fleet_cpu_us: later.fleet_cpu_us.max(self.fleet_cpu_us),
            other_cpu_us: later.other_cpu_us.max(self.other_cpu_us),
            wave_cpu_us: later.wave_cpu_us.max(self.wave_cpu_us),
        }
    }

    /// All CPU time.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        Duration::from_micros(self.fleet_cpu_us.saturating_add(self.other_cpu_us))
    }
}

/// Whole microseconds, as durations are said on the control plane.
#[must_use]
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A worker shows that it is there, and how far it is. One that is lost on the way is made up for by the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulse {
    /// The counters of its nodes in their order ([`FleetCounts::numbers`]); none before they start.
    pub counts: Vec<u64>,
    /// The longest that a node's task had to wait for its turn since the last pulse.
    pub lag_us_max: u64,
    /// What it costs.
    pub spent: Spent,
    /// Nodes that broke, the first few.
    pub failures: Vec<String>,
    /// Connections of its driver that are away.
    #[serde(default)]
    pub clients_away: u64,
}

/// What a worker counted since its last slice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// From 1, without a gap.
    pub number: u64,
    /// Since the run's beginning.
    pub at_us: u64,
    /// What there is to add to the counters.
    pub counts: Vec<u64>,
    /// What there is to add to the times of connections; left out where there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Steps>,
    /// The longest that a node's task had to wait for its turn.
    pub lag_us_max: u64,
    /// What the worker costs.
    pub spent: Spent,
}

/// Everything that a worker counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The slices that it was sent in, so far.
    pub slices: u64,
    /// The counters.
    pub counts: Vec<u64>,
    /// The times of connections.
    pub steps: Steps,
    /// What the worker costs.
    pub spent: Spent,
}

/// [`StepTimes`] on the wire: HDR histograms (V2), base64, in the order of [`ConnectStep::ALL`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steps(Vec<String>);

impl Steps {
    /// Writes them.
    #[must_use]
    pub fn of(times: &StepTimes) -> Self {
        let text = |step: &ConnectStep| {
            let mut bytes = Vec::new();
            match V2Serializer::new().serialize(times.of(*step), &mut bytes) {
                Ok(_) => STANDARD.encode(bytes),
                // Writing to memory cannot fail; what is empty is refused by whoever reads it.
                Err(_) => String::new(),
            }
        };
        Self(ConnectStep::ALL.iter().map(text).collect())
    }

    /// Reads them; `None` if they are of another form.
    #[must_use]
    pub fn times(&self) -> Option<StepTimes> {
        if self.0.len() != ConnectStep::ALL.len() {
            return None;
        }
        let mut times = StepTimes::default();
        for (step, text) in ConnectStep::ALL.iter().zip(&self.0) {
            let bytes = STANDARD.decode(text).ok()?;
            let read = Deserializer::new().deserialize(&mut bytes.as_slice()).ok()?;
            if !times.add(*step, &read) {
                return None;
            }
        }
        Some(times)
    }
}

impl Report {
    /// Its counters and times; `None` if they are of another form.
    #[must_use]
    pub fn read(&self) -> Option<(FleetCounts, StepTimes)> {
        Some((FleetCounts::of_numbers(&self.counts)?, self.steps.times()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_connections_come_back_as_they_were() {
        let mut histogram = hdrhistogram::Histogram::new_with_bounds(1, 600_000_000, 2).unwrap();
        for us in [3, 40, 500, 6_000_000] {
            histogram.record(us).unwrap();
        }
        let mut times = StepTimes::default();
        assert!(times.add(ConnectStep::Info, &histogram));
        let read = Steps::of(&times).times().expect("reads");
        for step in ConnectStep::ALL {
            assert_eq!(read.of(step), times.of(step), "{step:?}");
        }
    }

    /// Times of so many connections that each fall on another value.
    fn all_times(each: u64) -> StepTimes {
        let mut histogram = hdrhistogram::Histogram::new_with_bounds(1, 600_000_000, 2).unwrap();
        let mut us = 1;
        while us <= 600_000_000 {
            histogram.record_n(us, each).unwrap();
            us = histogram.next_non_equivalent(us);
        }
        let mut times = StepTimes::default();
        for step in ConnectStep::ALL {
            assert!(times.add(step, &histogram));
        }
        times
    }

    #[test]
    fn what_a_worker_says_unasked_has_a_largest_size_whatever_it_carries() {
        let counts = vec![u64::MAX; FleetCounts::default().numbers().len()];
        let most = u64::MAX;
        let spent =
            Spent { rss_bytes: most, fleet_cpu_us: most, other_cpu_us: most, wave_cpu_us: most };
        let pulse = |failures: Vec<String>| {
            let counts = counts.clone();
            let pulse = Pulse { counts, lag_us_max: most, spent, failures, clients_away: most };
            serde_json::to_vec(&pulse).unwrap().len()
        };
        let slice = |steps: Option<StepTimes>| {
            let (counts, steps) = (counts.clone(), steps.map(|times| Steps::of(&times)));
            let (number, at_us, lag_us_max) = (most, most, most);
            let slice = Slice { number, at_us, counts, steps, lag_us_max, spent };
            serde_json::to_vec(&slice).unwrap().len()
        };
        // Those of the header of this file, and of ARCHITECTURE.md.
        for (size, bound) in [
            (pulse(Vec::new()), 1_300),
            (pulse(vec!["x".repeat(400); 16]), 8_000),
            (slice(None), 1_300),
            (slice(Some(all_times(1))), 22_000),
            (slice(Some(all_times(1 << 40))), 120_000),
        ] {
            assert!((bound / 2..=bound).contains(&size), "{size} bytes, said to be up to {bound}");
        }
    }

    #[test]
    fn of_two_runs_one_goes_on_and_clocks_of_hosts_have_no_say() {
        let beat = |run: &str, phase, age_ms, began: &str| Beat {
            run: run.to_owned(),
            phase,
            scenario: String::new(),
            host: String::new(),
            began: began.to_owned(),
            age_ms,
        };
        let own = beat("5", Phase::Mustering, 60_000, "2026-01-01T00:00:00Z");
        for (run, phase, age_ms, goes_before) in [
            ("1", Phase::Claiming, 900_000, false),
            ("9", Phase::Running, 0, true),
            ("1", Phase::Mustering, 50_000, false),
            ("9", Phase::Mustering, 70_000, true),
            ("1", Phase::Mustering, 59_000, true),
            ("9", Phase::Mustering, 61_000, false),
        ] {
            for began in ["1970-01-01T00:00:00Z", "2100-01-01T00:00:00Z"] {
                let other = beat(run, phase, age_ms, began);
                assert_eq!(other.goes_before(&own), goes_before, "{other:?}");
                assert_eq!(own.goes_before(&other), !goes_before, "{other:?}");
            }
        }
        assert!(!own.goes_before(&own));
    }

    #[test]
    fn times_of_another_form_are_refused() {
        for steps in [
            Steps(Vec::new()),
            Steps(vec!["AAAA".to_owned(); ConnectStep::ALL.len()]),
            Steps(vec!["no base64".to_owned(); ConnectStep::ALL.len()]),
        ] {
            assert!(steps.times().is_none(), "{steps:?}");
        }
    }
}
