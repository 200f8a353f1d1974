//! A run as a value: what was measured, merged from any number of parts, and what the run was.
//!
//! [`Tally`] is what parts of a run measure and merge; [`RunResult`] adds what is known once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::broker::BrokerCost;
use crate::forming::Forming;
use crate::latency::Latency;
use crate::missing::Missing;
use crate::recovery::Recoveries;
use crate::threshold::ThresholdOutcome;
use crate::verdict::{Doubt, ExitCode, Severity, Verdict};
use crate::waves::Waves;
use crate::worker::WorkerResult;

/// All that is known of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunResult {
    /// What was run, by what, where and when.
    pub about: About,
    /// How long it took, from the start of the scenario to the last result.
    pub duration: Duration,
    /// How it ended; [`Ending::Running`] while it has not.
    pub ending: Ending,
    /// Everything measured.
    pub tally: Tally,
    /// The thresholds as evaluated; empty before the end.
    pub thresholds: Vec<ThresholdOutcome>,
}

/// How a run ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Ending {
    /// It has not: a result in this state is partial.
    #[default]
    Running,
    /// As the plan says.
    Completed,
    /// By Ctrl-C.
    Interrupted,
    /// By SIGTERM.
    Terminated,
    /// By an error: the exit code that it stands for, and the message.
    Failed(ExitCode, String),
}

impl RunResult {
    /// The exit code: the strongest of everything that speaks against the run.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        let ending = match &self.ending {
            Ending::Running | Ending::Interrupted => ExitCode::Interrupted,
            Ending::Terminated => ExitCode::Terminated,
            Ending::Completed => ExitCode::Passed,
            Ending::Failed(code, _) => *code,
        };
        let invalid = self.tally.doubts.iter().any(|doubt| doubt.severity == Severity::Invalid);
        let failed = self.thresholds.iter().any(|threshold| !threshold.passed);
        ExitCode::strongest(
            [ending]
                .into_iter()
                .chain(invalid.then_some(ExitCode::Invalid))
                .chain(failed.then_some(ExitCode::ThresholdsFailed)),
        )
    }

    /// The verdict.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.exit_code().verdict()
    }

    /// True while the run goes on, and after one that did not reach its end.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.ending != Ending::Completed
    }
}

/// What was run, by what, where and when.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct About {
    /// The tool.
    pub tool: Tool,
    /// Name of the scenario.
    pub scenario: String,
    /// Digest of the plan, `sha256:...`.
    pub plan_digest: String,
    /// Digest of the certificate that the fleet's nodes behave as real servers do; `None` where the
    /// nodes are not ours.
    pub certificate_digest: Option<String>,
    /// When the run started: RFC 3339, UTC.
    pub started_at: String,
    /// How the brokers are joined: `single`, `external`, ...
    pub topology: String,
    /// Where the nodes departed from a real server, one sentence each.
    pub departures: Vec<String>,
    /// Where the nodes come from.
    pub origin: Origin,
    /// The machine.
    pub host: Host,
}

/// Where the nodes of a run come from. Of those that it did not start, nothing is known but their
/// answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Origin {
    /// The run started them.
    #[default]
    Started,
    /// They answered a first discovery.
    Discovered,
    /// Their number was given.
    Counted {
        /// The number.
        expected: u64,
        /// How many answered a first discovery, which gave them their names.
        seen: u64,
    },
    /// Their names were given.
    Listed,
}

impl Origin {
    /// Whether the nodes are not ours.
    #[must_use]
    pub fn is_foreign(self) -> bool {
        self != Self::Started
    }
}

/// The tool that ran.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// Name of the program.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Build profile: `release` or `debug`.
    pub profile: String,
}

/// The machine that ran it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Cores that the process may use.
    pub cores: u64,
    /// Memory of the machine.
    pub memory_bytes: u64,
    /// Release of the kernel.
    pub kernel: String,
    /// Files that the process may open.
    pub open_files_limit: u64,
}

/// Everything that parts of a run measure. Merging is associative and commutative, and
/// `default()` is its identity.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// The fleet.
    pub fleet: FleetTotals,
    /// The waves.
    pub waves: Waves,
    /// Who was not on time.
    pub missing: Missing,
    /// What it cost.
    pub cost: Cost,
    /// How late the tool's own timers fired.
    pub scheduler_lag: Latency,
    /// Reasons to distrust the result; equal ones count once.
    pub doubts: BTreeSet<Doubt>,
    /// What nodes published without being asked, by kind: `startup`, `alive`, `shutdown`,
    /// `registration`.
    pub events: BTreeMap<String, EventTotals>,
    /// What followed the actions of the timeline.
    pub recovery: Recoveries,
    /// How several brokers became a network.
    pub forming: Option<Forming>,
    /// The worker processes that carried nodes, by name; none where the tool's own process did.
    pub workers: BTreeMap<String, WorkerResult>,
}

impl Tally {
    /// Takes over everything that `other` holds.
    pub fn merge(&mut self, other: &Self) {
        let Self {
            fleet,
            waves,
            missing,
            cost,
            scheduler_lag,
            doubts,
            events,
            recovery,
            forming,
            workers,
        } = other;
        self.fleet.merge(fleet);
        self.waves.merge(waves);
        self.missing.merge(missing);
        self.cost.merge(cost);
        self.scheduler_lag.merge(scheduler_lag);
        self.doubts.extend(doubts.iter().cloned());
        for (kind, totals) in events {
            self.events.entry(kind.clone()).or_default().merge(totals);
        }
        self.recovery.merge(recovery);
        if let Some(forming) = forming {
            self.forming.get_or_insert_default().merge(forming);
        }
        for (name, worker) in workers {
            self.workers.entry(name.clone()).or_default().merge(worker);
        }
    }
}

/// Messages of one kind that nodes published without being asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventTotals {
    /// Those that nodes wrote to their sockets.
    pub published: u64,
    /// Those of them that the listener beside the driver received.
    pub received: u64,
}

impl EventTotals {
    /// Those that got lost on the way.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.published.saturating_sub(self.received)
    }

    /// Takes over everything that `other` holds of the same kind.
    pub fn merge(&mut self, other: &Self) {
        let Self { published, received } = other;
        self.published += published;
        self.received += received;
    }
}

/// The fleet in figures.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FleetTotals {
    /// Nodes in the plan.
    pub planned: u64,
    /// Nodes that were connected when the waves began.
    pub connected: u64,
    /// Nodes that had completed a connection at least once, ever.
    pub ever_connected: u64,
    /// Time from the first dial until the fleet was connected; of parts, the longest.
    pub connect_duration: Duration,
    /// Subscriptions that the brokers carried for the connected nodes.
    pub subscriptions: u64,
    /// Processes that carried nodes.
    pub workers: u64,
    /// Connections that were lost after they had been complete.
    pub disconnects: u64,
    /// Connections that were made again.
    pub reconnects: u64,
    /// Requests that reached nodes.
    pub received: u64,
    /// Replies that nodes wrote.
    pub answered: u64,
    /// All that nodes count, by name, as far as it is not zero.
    pub counters: BTreeMap<String, u64>,
    /// What the time of the first connections went into.
    pub connect: ConnectTimes,
    /// The groups by name.
    pub groups: BTreeMap<String, GroupTotals>,
}

impl FleetTotals {
    /// A counter of the nodes; `None` where none are known.
    #[must_use]
    pub fn counter(&self, name: &str) -> Option<u64> {
        let known = !self.counters.is_empty();
        known.then(|| self.counters.get(name).copied().unwrap_or_default())
    }

    /// Takes over everything that `other` holds.
    pub fn merge(&mut self, other: &Self) {
        let Self {
            planned,
            connected,
            ever_connected,
            connect_duration,
            subscriptions,
            workers,
            disconnects,
            reconnects,
            received,
            answered,
            counters,
            connect,
            groups,
        } = other;
        self.planned += planned;
        self.connected += connected;
        self.ever_connected += ever_connected;
        self.connect_duration = self.connect_duration.max(*connect_duration);
        self.subscriptions += subscriptions;
        self.workers += workers;
        self.disconnects += disconnects;
        self.reconnects += reconnects;
        self.received += received;
        self.answered += answered;
        for (name, count) in counters {
            *self.counters.entry(name.clone()).or_default() += count;
        }
        self.connect.merge(connect);
        for (name, group) in groups {
            self.groups.entry(name.clone()).or_default().merge(group);
        }
    }
}

/// Durations of first connections, one value a node and step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConnectTimes {
    /// Dial to the established TCP connection.
    pub tcp: Latency,
    /// TCP to the broker's INFO.
    pub info: Latency,
    /// CONNECT to PONG.
    pub pong: Latency,
    /// PONG to the last subscription flushed.
    pub subscribed: Latency,
    /// All of it: dial to the last subscription flushed.
    pub total: Latency,
}

impl ConnectTimes {
    /// Takes over everything that `other` holds.
    pub fn merge(&mut self, other: &Self) {
        let Self { tcp, info, pong, subscribed, total } = other;
        self.tcp.merge(tcp);
        self.info.merge(info);
        self.pong.merge(pong);
        self.subscribed.merge(subscribed);
        self.total.merge(total);
    }
}

/// One group of the fleet in figures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupTotals {
    /// Nodes in the plan.
    pub planned: u64,
    /// Nodes that were connected when the waves began.
    pub connected: u64,
    /// Agents of each node.
    pub agents: u64,
    /// Collectives of each node.
    pub collectives: u64,
    /// Subscriptions of each node.
    pub subscriptions_per_node: u64,
}

impl GroupTotals {
    /// Takes over everything that `other` holds of the same group.
    pub fn merge(&mut self, other: &Self) {
        let Self { planned, connected, agents, collectives, subscriptions_per_node } = other;
        self.planned += planned;
        self.connected += connected;
        self.agents = self.agents.max(*agents);
        self.collectives = self.collectives.max(*collectives);
        self.subscriptions_per_node = self.subscriptions_per_node.max(*subscriptions_per_node);
    }
}

/// What a run cost, by part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cost {
    /// The processes that carried nodes.
    pub emulator: EmulatorCost,
    /// The client.
    pub driver: DriverCost,
    /// The brokers by name.
    pub brokers: BTreeMap<String, BrokerCost>,
}

impl Cost {
    /// Takes over everything that `other` holds.
    pub fn merge(&mut self, other: &Self) {
        let Self { emulator, driver, brokers } = other;
        self.emulator.merge(emulator);
        self.driver.merge(driver);
        for (name, broker) in brokers {
            self.brokers.entry(name.clone()).or_default().merge(broker);
        }
    }
}

/// What the nodes cost. Zero stands for what was not measured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EmulatorCost {
    /// Resident memory of the processes that carried nodes, with the fleet connected and idle.
    pub rss_bytes: u64,
    /// Nodes connected at that instant.
    pub rss_nodes: u64,
    /// CPU time over the whole run.
    pub cpu: Duration,
    /// CPU time of the threads that carry nodes, while waves ran.
    pub wave_cpu: Duration,
    /// Replies written in that time.
    pub wave_answers: u64,
}

impl EmulatorCost {
    /// Resident memory over nodes.
    #[must_use]
    pub fn rss_bytes_per_node(&self) -> Option<f64> {
        ratio(self.rss_bytes as f64, self.rss_nodes).filter(|_| self.rss_bytes > 0)
    }

    /// CPU time over replies while waves ran, in microseconds.
    #[must_use]
    pub fn cpu_us_per_answer(&self) -> Option<f64> {
        cpu_us_each(self.wave_cpu, self.wave_answers)
    }

    /// Takes over everything that `other` holds.
    pub fn merge(&mut self, other: &Self) {
        let Self { rss_bytes, rss_nodes, cpu, wave_cpu, wave_answers } = other;
        self.rss_bytes += rss_bytes;
        self.rss_nodes += rss_nodes;
        self.cpu += *cpu;
        self.wave_cpu += *wave_cpu;
        self.wave_answers += wave_answers;
    }
}

/// What the client cost. Zero stands for what was not measured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DriverCost {
    /// CPU time of the threads that drive, while waves ran.
    pub cpu: Duration,
    /// Messages received on reply subjects in that time.
    pub replies: u64,
}

impl DriverCost {
    /// CPU time over replies, in microseconds.
    #[must_use]
    pub fn cpu_us_per_reply(&self) -> Option<f64> {
        cpu_us_each(self.cpu, self.replies)
    }

    /// Takes over everything that `other` holds.
    pub fn merge(&mut self, other: &Self) {
        let Self { cpu, replies } = other;
        self.cpu += *cpu;
        self.replies += replies;
    }
}

fn ratio(amount: f64, over: u64) -> Option<f64> {
    (over > 0).then(|| amount / over as f64)
}

fn cpu_us_each(cpu: Duration, over: u64) -> Option<f64> {
    ratio(cpu.as_secs_f64() * 1e6, over).filter(|_| !cpu.is_zero())
}
