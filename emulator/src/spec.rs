//! What a fleet is made of, as plain values: the contract between the plan and the nodes.
//!
//! Nothing here is worked out yet: patterns are texts that have been checked, addresses are addresses.

use crate::agents::ddl::DdlAgent;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::homes::Homes;
use crate::machines::Machine;

/// The part of a fleet that this process carries: node `i` of a group belongs to share
/// `i % of == index`, so that a node is the same node whichever process runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Which share, from 0.
    pub index: u64,
    /// How many shares there are, at least 1.
    pub of: u64,
}

impl Share {
    /// The share of a single process: everything.
    pub const WHOLE: Self = Self { index: 0, of: 1 };

    /// How many of the nodes from global index `first` on, `nodes` of them, belong to this share.
    #[must_use]
    pub fn count(self, first: u64, nodes: u64) -> u64 {
        let of = self.of.max(1);
        let below = |end: u64| (end + of - 1 - self.index % of) / of;
        below(first + nodes) - below(first)
    }
}

/// Everything a process needs to start its share of the nodes.
#[derive(Debug, Clone)]
pub struct FleetSpec {
    /// Seed of everything random in the nodes.
    pub seed: u64,
    /// The groups, in the order of their first global index.
    pub groups: Vec<GroupSpec>,
    /// The part that this process carries.
    pub share: Share,
    /// Threads that carry nodes, each with its own runtime; at least 1.
    pub shards: usize,
    /// The clock that the nodes read.
    pub clock: Clock,
}

/// Where nodes read the second from that their messages carry. How long things take is measured by
/// another clock, that of tokio.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// That of this machine.
    #[default]
    System,
    /// Shows the unix seconds that its owner has set: for replaying what was recorded.
    Set(Arc<AtomicI64>),
}

impl Clock {
    /// Unix seconds.
    #[must_use]
    pub fn unix_s(&self) -> i64 {
        match self {
            Self::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
            }
            Self::Set(seconds) => seconds.load(Ordering::Relaxed),
        }
    }
}

/// Nodes that share a behaviour. Node `n` of the group (from 0) has the global index `first + n`.
#[derive(Debug, Clone)]
pub struct GroupSpec {
    /// Name, unique in the fleet.
    pub name: String,
    /// Global index of the group's first node.
    pub first: u64,
    /// How many nodes, at least 1.
    pub nodes: u64,
    /// Pattern of the identity, for example `{group}-{index}.choria.local` (see `pattern`).
    pub identity: String,
    /// Collectives in configuration order; the first is the main collective. At least one.
    pub collectives: Vec<String>,
    /// How many agents `emulated0` .. besides discovery, rpcutil and choria_util.
    pub emulated_agents: u32,
    /// Further agents.
    pub more_agents: MoreAgents,
    /// Autonomous agents.
    pub machines: Vec<Machine>,
    /// The facts document: strings may hold patterns.
    pub facts: serde_json::Map<String, serde_json::Value>,
    /// The classes, in file order: patterns.
    pub classes: Vec<String>,
    /// How the nodes answer.
    pub behaviour: Behaviour,
    /// Where the nodes connect, every address with the URL shown to peers.
    pub servers: Vec<Server>,
    /// Which of them each node is configured with, and where it is at home.
    pub homes: Homes,
    /// Source addresses to spread the connections of every share over; empty: the system chooses.
    pub source_addresses: Vec<IpAddr>,
    /// How the group connects.
    pub connect: Connect,
    /// What the nodes show to the broker when they connect.
    pub login: Login,
    /// Where the nodes depart from the real server.
    pub fidelity: Fidelity,
    /// What the nodes show instead of what this tool's own servers would show, agents included.
    pub shown: Option<Shown>,
    /// What the nodes publish without being asked.
    pub lifecycle: Lifecycle,
}

/// Agents that nodes host only where it is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MoreAgents {
    /// Agents of go-choria: `scout`, `choria_provision`.
    pub stock: Vec<String>,
    /// The user's own.
    pub ddl: Vec<DdlAgent>,
}

/// What a particular server shows of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// All its agents, in the order in which they are subscribed.
    pub agents: Vec<String>,
    /// Version of the server.
    pub version: String,
    /// Path of the configuration file.
    pub config_file: String,
    /// What is configured, as texts; collectives, identity and servers need not stand here.
    pub config: BTreeMap<String, String>,
}

/// One broker of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Where to connect; several where the host of its URL is a name that stands for several, each once and in an
    /// order that is the same wherever it is looked up. Nodes try them in orders of their own.
    pub addresses: Vec<SocketAddr>,
    /// As it stands in `seen-by`, for example `nats://127.0.0.1:4222`.
    pub url: String,
}

impl Server {
    /// A server that is known by its address.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self { addresses: vec![address], url: format!("nats://{address}") }
    }
}

/// How a group's nodes answer requests, and how they leave and get stuck.
#[derive(Debug, Clone, PartialEq)]
pub struct Behaviour {
    /// Time between a request and its reply; as long as the agent's timeout or longer: no reply.
    pub reply_delay: Delay,
    /// Share of requests (0 to 1) that get no answer.
    pub no_reply: f64,
    /// Share of requests (0 to 1) to RPC agents that get an error reply (statuscode 1).
    pub error_reply: f64,
    /// Where requests wait to be looked at, and how long that takes.
    pub queue: Queue,
    /// How the nodes come and go, if they do.
    pub churn: Option<Churn>,
    /// When the nodes hang, if they do.
    pub stuck: Option<Stuck>,
}

/// Nodes that are stopped and started again, some of them in each round. A node's rounds follow upon
/// each other from its first start on; it stays for the whole of the first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Churn {
    /// Share of the nodes (0 to 1) that leave in a round.
    pub share: f64,
    /// Length of a round.
    pub every: Duration,
    /// From leaving to starting again, less than a round.
    pub away: Duration,
}

/// Nodes that stop reading, as a process that hangs: connected for all that they know, they read
/// nothing, answer nothing and say nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stuck {
    /// From when all its subscriptions exist until a node hangs.
    pub after: Duration,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            reply_delay: Delay::None,
            no_reply: 0.0,
            error_reply: 0.0,
            queue: Queue::REAL,
            churn: None,
            stuck: None,
        }
    }
}

/// The queue in front of a server's one handler, which decodes and filters requests one after the
/// other; agents run beside it, so that a reply delay does not hold it up (protocol document 1.8).
///
/// A message waits in the buffer of its subscription and then in the queue that all subscriptions
/// share, both of this size; the library drops what finds the buffer full ("slow consumer").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// Places in the buffer of a subscription and again in the shared queue.
    pub size: u32,
    /// How long the handler takes for one message; zero: no message ever waits, none is lost.
    pub handling: Duration,
}

impl Queue {
    /// As a real server has it: ten (go-choria, `server/instance.go`), and the time in which the
    /// quickest of the recorded requests was answered.
    pub const REAL: Self = Self { size: 10, handling: Duration::from_micros(100) };
    /// A handler that takes no time: nothing waits, nothing is lost.
    pub const AT_ONCE: Self = Self { size: 10, handling: Duration::ZERO };

    /// Messages of one subscription that are inside at once: a buffer and a queue full, one on its way
    /// between the two, and the one that is being handled. Nodes count as if all messages came on one
    /// subscription; on several a real server has a buffer for each.
    #[must_use]
    pub const fn places(self) -> u64 {
        2 * self.size as u64 + 2
    }
}

/// A distribution of reply delays.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Delay {
    /// At once.
    None,
    /// Always the same.
    Fixed(Duration),
    /// Uniform between the two.
    Uniform(Duration, Duration),
    /// Log-normal: the median, and sigma of the underlying normal distribution.
    Lognormal {
        /// Half of the delays are below this.
        median: Duration,
        /// Spread: the standard deviation of the delay's natural logarithm.
        sigma: f64,
    },
}

/// How a group connects.
#[derive(Debug, Clone, PartialEq)]
pub struct Connect {
    /// First connections started per second over the whole group; `None`: no pacing.
    pub rate_per_s: Option<f64>,
    /// First connections of the group in flight at once (dial to subscriptions flushed), at least 1.
    pub in_flight: usize,
    /// Time for TCP, and again for INFO, CONNECT and PONG together (nats.go, `Options.Timeout`); the
    /// real server's default is 2 s (protocol document 1.2).
    pub timeout: Duration,
}

/// What a node shows to the broker: a user and password, a token, or nothing (protocol document 1.2).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// User name, sent together with the password.
    pub user: Option<String>,
    /// Password.
    pub password: Option<String>,
    /// Authentication token.
    pub token: Option<String>,
}

/// Where nodes depart from the real server for speed. The default departs nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fidelity {
    /// A PING round trip after every single SUB, as the real server does; else one for all.
    pub flush_each_subscription: bool,
    /// A PING with every reply, as the real server's flush does; else none.
    pub flush_each_reply: bool,
}

impl Default for Fidelity {
    fn default() -> Self {
        Self { flush_each_subscription: true, flush_each_reply: true }
    }
}

/// What nodes publish or write without being asked. The default is what the real server does with an
/// empty configuration: events, no registration, no status file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lifecycle {
    /// The lifecycle events.
    pub events: Events,
    /// Registration, if the nodes are configured to do it.
    pub registration: Option<Registration>,
    /// Status files, if the nodes are configured to write them.
    pub status_files: Option<StatusFiles>,
}

impl Lifecycle {
    /// Nodes that publish nothing without being asked.
    pub const SILENT: Self = Self {
        events: Events {
            startup: false,
            alive: false,
            shutdown: false,
            alive_every: Events::ALIVE_EVERY,
            machines: false,
        },
        registration: None,
        status_files: None,
    };
}

/// Which lifecycle events nodes publish (protocol document 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Events {
    /// One event once all subscriptions exist.
    pub startup: bool,
    /// One event now and then.
    pub alive: bool,
    /// One event before an orderly end; without it nodes vanish as after SIGKILL.
    pub shutdown: bool,
    /// From one alive event to the next; the first comes after 0 to 29 thirtieths of it.
    pub alive_every: Duration,
    /// What autonomous agents do: their transitions, checks and timers (protocol document 6.4).
    pub machines: bool,
}

impl Events {
    /// The real server's interval of alive events (protocol document 6.3).
    pub const ALIVE_EVERY: Duration = Duration::from_secs(30 * 60);
}

impl Default for Events {
    fn default() -> Self {
        Self {
            startup: true,
            alive: true,
            shutdown: true,
            alive_every: Self::ALIVE_EVERY,
            machines: true,
        }
    }
}

/// How nodes register (protocol document 7.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// What is published.
    pub content: RegistrationContent,
    /// From one publication to the next.
    pub interval: Duration,
    /// Whether a random part of the interval passes before the first.
    pub splay: bool,
    /// Whether the content is compressed.
    pub compression: bool,
    /// The subject; `None`: that of agent `registration` in the main collective.
    pub target: Option<String>,
}

/// What a registration publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistrationContent {
    /// A file: that of the facts.
    File,
    /// Agents, classes, facts, counters and collectives.
    Inventory,
}

impl RegistrationContent {
    /// Its name in the real server's configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file_content",
            Self::Inventory => "inventory_content",
        }
    }
}

/// How nodes write their status files (protocol document 10.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusFiles {
    /// The folder, made if it is not there; each node has one file in it, `IDENTITY.json`.
    pub folder: PathBuf,
    /// From one writing to the next.
    pub every: Duration,
    /// How many nodes of the group have one, the first ones: each writing holds up its thread.
    pub nodes: u64,
}
