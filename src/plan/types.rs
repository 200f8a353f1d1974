//! The plan's types. All durations are whole microseconds in JSON, under names that end in `_us`.

use std::time::Duration;

use emulator::agents::ddl::{Ddl, DdlAgent};
use emulator::machines::Machine;
use reports::wave::{WaveKind, WaveMode};
use serde::{Deserialize, Serialize};

use super::{Brokers, Events, Placement, Queue, Registration, StatusFiles, Step, micros};
use crate::scenario;

/// A scenario with every default written in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Version of this format: 1.
    pub version: u32,
    /// Name of the scenario; usable as a file name.
    pub name: String,
    /// What the scenario asks.
    pub description: Option<String>,
    /// Seed of everything random.
    pub seed: u64,
    /// The brokers under test.
    pub brokers: Brokers,
    /// The groups, in the order of their first global index; none only where the network with its nodes
    /// is there already.
    pub groups: Vec<Group>,
    /// The client that sends the waves.
    pub client: Client,
    /// The entries of `waves`, in order; each runs after the one before.
    pub entries: Vec<Entry>,
    /// What happens to the brokers while waves go on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub timeline: Vec<Step>,
    /// What must hold, in the order of the scenario.
    pub thresholds: Vec<Threshold>,
    /// How long the driver listens after a wave's deadline.
    #[serde(rename = "late_grace_us", with = "micros")]
    pub late_grace: Duration,
    /// Share (0 to 1) of the nodes that may be lost with their workers before the run fails.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tolerated_loss: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands in a reference")]
fn is_zero(number: &f64) -> bool {
    *number == 0.0
}

/// Nodes that share a behaviour. Node `n` of the group (from 0) has the global index `first + n`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Name, unique in the fleet.
    pub name: String,
    /// Global index of the group's first node.
    pub first: u64,
    /// How many nodes, at least 1.
    pub nodes: u64,
    /// Pattern of the identity.
    pub identity: String,
    /// Collectives, the main one first; at least one.
    pub collectives: Vec<String>,
    /// How many agents `emulated0` .. besides the stock ones.
    pub emulated_agents: u32,
    /// Agents of Choria Server besides those of every node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stock_agents: Vec<String>,
    /// The user's own agents, with what their files said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ddl_agents: Vec<DdlAgent>,
    /// Autonomous agents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<Machine>,
    /// The facts; strings may hold patterns.
    pub facts: serde_json::Map<String, serde_json::Value>,
    /// The classes: patterns.
    pub classes: Vec<String>,
    /// Where the nodes connect.
    pub placement: Placement,
    /// How the nodes connect.
    pub connect: Connect,
    /// How the nodes answer.
    pub behaviour: Behaviour,
    /// Where requests wait to be looked at.
    pub queue: Queue,
    /// Several nodes may have one identity.
    pub shared_identities: bool,
    /// Where the nodes depart from the real server.
    pub fidelity: Fidelity,
    /// The lifecycle events that the nodes publish.
    pub events: Events,
    /// How the nodes register, if they do.
    pub registration: Option<Registration>,
    /// Where the nodes write status files, if they do.
    pub status_files: Option<StatusFiles>,
}

/// How a group's nodes connect.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Connect {
    /// First connections started per second over the whole group; `None`: no pacing.
    pub rate_per_s: Option<f64>,
    /// First connections in flight at once, at least 1.
    pub in_flight: u64,
    /// Time for TCP, INFO, CONNECT and PONG together.
    #[serde(rename = "timeout_us", with = "micros")]
    pub timeout: Duration,
}

/// How a group's nodes answer, leave and hang.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Behaviour {
    /// Time between a request and its reply, of which there is none if it takes the agent's timeout.
    pub reply_delay: ReplyDelay,
    /// Share of requests (0 to 1) that get no answer.
    pub no_reply: f64,
    /// Share of requests (0 to 1) to RPC agents that get an error reply.
    pub error_reply: f64,
    /// How the nodes leave and return, if they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub churn: Option<Churn>,
    /// When the nodes hang, if they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stuck: Option<Stuck>,
}

/// Nodes that leave and return: some in each round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Churn {
    /// Share of the nodes (0 to 1) that leave in a round.
    pub share: f64,
    /// Length of a round.
    #[serde(rename = "every_us", with = "micros")]
    pub every: Duration,
    /// From leaving to starting again, less than a round.
    #[serde(rename = "away_us", with = "micros")]
    pub away: Duration,
}

/// Nodes that stop reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stuck {
    /// From when a node's subscriptions exist until it hangs.
    #[serde(rename = "after_us", with = "micros")]
    pub after: Duration,
}

/// A distribution of reply delays.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplyDelay {
    /// At once.
    None,
    /// Always the same.
    Fixed {
        /// The delay.
        #[serde(rename = "delay_us", with = "micros")]
        delay: Duration,
    },
    /// Uniform between the two.
    Uniform {
        /// The smallest.
        #[serde(rename = "low_us", with = "micros")]
        low: Duration,
        /// The largest.
        #[serde(rename = "high_us", with = "micros")]
        high: Duration,
    },
    /// Log-normal.
    Lognormal {
        /// Half of the delays are below this.
        #[serde(rename = "median_us", with = "micros")]
        median: Duration,
        /// Standard deviation of the delay's natural logarithm.
        sigma: f64,
    },
}

/// Where nodes depart from the real server for speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fidelity {
    /// A PING round trip after every single SUB, as the real server does; else one for all.
    pub flush_each_subscription: bool,
    /// A PING with every reply, as the real server's flush does; else none.
    pub flush_each_reply: bool,
}

/// The client that sends the waves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Caller id, such as `choria=emulator`.
    pub callerid: String,
    /// Identity in `senderid` and `mc_sender`.
    pub identity: String,
    /// Time to live of a request, in whole seconds.
    pub ttl_s: u32,
    /// Connections that receive replies, in a queue group when there are several; at least 1.
    pub receivers: u32,
    /// Positions of the brokers that clients connect to, by turns; at least one.
    pub connects_to: Vec<usize>,
    /// Where clients are, by turns: `conductor` or names of workers. Empty: all at the conductor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub at: Vec<String>,
}

/// One entry of `waves`: the same request, `warmup + count` times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Name, unique in the plan.
    pub name: String,
    /// What is asked.
    pub question: Question,
    /// The sub collective that is asked.
    pub collective: String,
    /// How the request reaches the nodes.
    pub mode: WaveMode,
    /// The slices of mode batch.
    pub batch: Option<Batch>,
    /// Which nodes must answer; in the direct modes these are the targets.
    pub selects: Filter,
    /// The filter in the request. Broadcast: as `selects`. Direct modes: the agent only, as the real
    /// client sends it (protocol document 5.8).
    pub wire: Filter,
    /// Who must answer.
    pub expected: Expected,
    /// Intended instant of the entry's first wave, since the run's epoch.
    #[serde(rename = "starts_at_us", with = "micros")]
    pub starts_at: Duration,
    /// Time from one intended instant to the next.
    #[serde(rename = "every_us", with = "micros")]
    pub every: Duration,
    /// Waves before the counted ones.
    pub warmup: u32,
    /// Counted waves, at least 1.
    pub count: u32,
    /// Replies after this are late.
    #[serde(rename = "deadline_us", with = "micros")]
    pub deadline: Duration,
    /// Clients that send the wave at the same instant, at least 1.
    pub clients: u32,
    /// What each client is, in their order, where they do not all ask the same at the same place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub each_client: Vec<EntryClient>,
}

/// One client of an entry: where it is and whom it asks, in place of what the entry says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryClient {
    /// `conductor`, or the name of a worker.
    pub at: String,
    /// As [`Entry::selects`].
    pub selects: Filter,
    /// As [`Entry::wire`].
    pub wire: Filter,
    /// As [`Entry::expected`].
    pub expected: Expected,
}

/// What an entry asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Question {
    /// A discovery.
    Discover,
    /// An RPC request.
    Request {
        /// The agent.
        agent: String,
        /// The action.
        action: String,
        /// The action's input.
        data: serde_json::Map<String, serde_json::Value>,
    },
}

impl Question {
    /// The agent that the request is addressed to.
    #[must_use]
    pub fn agent(&self) -> &str {
        match self {
            Self::Discover => "discovery",
            Self::Request { agent, .. } => agent,
        }
    }

    /// What is asked, as results have it.
    #[must_use]
    pub fn kind(&self) -> WaveKind {
        match self {
            Self::Discover => WaveKind::Discover,
            Self::Request { .. } => WaveKind::Request,
        }
    }
}

/// Slices of mode batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Nodes in a slice, at least 1.
    pub size: u64,
    /// Pause between slices.
    #[serde(rename = "sleep_us", with = "micros")]
    pub sleep: Duration,
}

/// Choria's five filters (protocol document 5.1), as a person writes them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Identities or `/regular expressions/`.
    pub identity: Vec<String>,
    /// Classes or `/regular expressions/`.
    pub classes: Vec<String>,
    /// Facts such as `dc=dc1`.
    pub facts: Vec<String>,
    /// Hosted agents or `/regular expressions/`.
    pub agents: Vec<String>,
    /// Compound expressions.
    pub compound: Vec<String>,
}

/// Who must answer an entry's waves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// Positions (in [`Plan::groups`]) of the groups that are in the collective and host the agents.
    pub groups: Vec<usize>,
    /// Nodes of those groups.
    pub nodes: u64,
    /// Whether all of them must answer: no filter looks at single nodes. Else `nodes` is the most,
    /// and who must answer is found by evaluating [`Entry::selects`] on each.
    pub exact: bool,
}

/// One expression that must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Threshold {
    /// The metric with its selectors, such as `completeness{wave:rpc}`.
    pub metric: String,
    /// The expression, such as `min == 100%`.
    pub expression: String,
}

impl Group {
    /// Whether the group's nodes host `agent`.
    #[must_use]
    pub fn hosts(&self, agent: &str) -> bool {
        scenario::hosts(u64::from(self.emulated_agents), agent)
            || self.stock_agents.iter().any(|stock| stock == agent)
            || self.ddl(agent).is_some()
    }

    /// What the DDL of one of the user's own agents says.
    #[must_use]
    pub fn ddl(&self, agent: &str) -> Option<&Ddl> {
        self.ddl_agents.iter().map(|own| &own.ddl).find(|ddl| ddl.name() == agent)
    }
}

impl Plan {
    /// Nodes in all.
    #[must_use]
    pub fn nodes(&self) -> u64 {
        self.groups.iter().map(|group| group.nodes).sum()
    }
}
