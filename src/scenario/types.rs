//! What a person writes: types that mirror the YAML of a scenario file, key by key.
//!
//! Nothing has a default here: what is left out stays `None`, and `plan` writes the default in.
//! Doc comments become the descriptions of the JSON Schema.

use schemars::JsonSchema;
use serde::Deserialize;

use super::brokers::{Brokers, Placement};
use super::clients::{Places, WaveClients};
use super::document::{Document, Thresholds};
use super::machines::Machine;
use super::own_agents::DdlContent;
use super::timeline::Step as TimelineStep;
use super::units::{Count, Percent, Rate, Span};

/// One question to a Choria network: which nodes, which broker, which waves, and what must hold.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a scenario with keys such as `version`, `name`, `fleet` and `waves`"
)]
pub struct Scenario {
    /// Version of this format: 1.
    #[schemars(extend("const" = 1))]
    pub version: Count,
    /// Name of the scenario; names the result folder: letters, digits, `-`, `_`.
    pub name: String,
    /// What the scenario asks, in a sentence or two.
    pub description: Option<String>,
    /// Seed of everything random; default 1.
    pub seed: Option<Count>,
    /// The broker under test; default: one managed nats-server, the newest at hand.
    pub brokers: Option<Brokers>,
    /// The emulated nodes, in groups that share a behaviour.
    pub fleet: Vec<Group>,
    /// The client that sends the waves.
    pub client: Option<Client>,
    /// The requests: entries run one after the other.
    pub waves: Vec<Wave>,
    /// What happens to the brokers while the waves go on.
    pub timeline: Option<Vec<TimelineStep>>,
    /// What must hold for the run to pass: a metric, and expressions over it.
    pub thresholds: Option<Thresholds>,
    /// What is expected of worker processes, where several carry the nodes.
    pub workers: Option<Workers>,
    /// How long the driver listens after a wave's deadline, to tell late from missing; default 1s.
    pub late_grace: Option<Span>,
}

/// What is expected of worker processes.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{tolerate: 5%}`")]
pub struct Workers {
    /// How many of the nodes may be lost with their workers before the run fails; default `0%`.
    pub tolerate: Option<Percent>,
}

/// Nodes that share a behaviour.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{group: web, nodes: 100}`")]
pub struct Group {
    /// Name, unique in the fleet.
    pub group: String,
    /// How many nodes.
    #[schemars(extend("minimum" = 1))]
    pub nodes: Count,
    /// Sub collectives, the main one first; default `[mcollective]`.
    pub collectives: Option<Vec<String>>,
    /// How many agents `emulated0` .. besides discovery, rpcutil and choria_util; default 1.
    pub agents: Option<Count>,
    /// Agents of Choria Server that the nodes host besides; default none. A real server hosts scout
    /// unless it is told otherwise, and choria_provision where it can be provisioned.
    pub stock_agents: Option<Vec<StockAgent>>,
    /// Agents of your own, from their DDL files.
    pub ddl_agents: Option<Vec<DdlAgent>>,
    /// Autonomous agents that the nodes run, as their `machine.yaml` has them; default none.
    pub machines: Option<Vec<Machine>>,
    /// Pattern of the identity; default `{group}-{index}.choria.local`.
    pub identity: Option<String>,
    /// The facts; strings may hold patterns such as `dc{index % 4}`.
    pub facts: Option<Document>,
    /// The configuration management classes; patterns are allowed.
    pub classes: Option<Vec<String>>,
    /// Which brokers the nodes connect to: by name, cluster or pattern such as `leaf*`, several, or each
    /// with its weight as in `{leaf1: 3, leaf2: 1}`; default: all evenly, with leafnodes the leaves.
    pub brokers: Option<Placement>,
    /// Further brokers whose URLs the nodes are configured with, to flee to; those in the same cluster
    /// are known in any case.
    pub fallback: Option<Vec<String>>,
    /// How the nodes connect.
    pub connect: Option<Connect>,
    /// How the nodes answer.
    pub behaviour: Option<Behaviour>,
    /// Where requests wait to be looked at, and what does not fit is lost; default `10` as the real
    /// server's, each request taking 100us.
    pub queue: Option<Queue>,
    /// Several nodes may have one identity, in this group or in another that says so too; default false.
    /// Who of them answered cannot be told.
    pub shared_identities: Option<bool>,
    /// Where the nodes depart from a real Choria server for speed.
    pub fidelity: Option<Fidelity>,
    /// The lifecycle events that the nodes publish; default: those of a real server.
    pub events: Option<Events>,
    /// How the nodes register; default: not at all, as a real server.
    pub registration: Option<Registration>,
    /// Where the nodes write their status files; default: nowhere, as a real server.
    pub status_files: Option<StatusFiles>,
}

/// An agent of Choria Server that nodes host only where it is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StockAgent {
    /// Its checks are the machines that have a watcher `nagios`.
    Scout,
    /// As on a server that is not being provisioned.
    ChoriaProvision,
}

/// An agent that its DDL describes.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{ddl: patching.json}`")]
pub struct DdlAgent {
    /// The agent's DDL in its JSON form, beside the scenario or with a path from there.
    pub ddl: String,
    /// `generated`, from the types and defaults of the outputs (the default), or a file (YAML or JSON)
    /// of actions with `data`, `statuscode` and `statusmsg`; texts in `data` may be patterns.
    pub replies: Option<String>,
    /// What the files say.
    #[serde(skip)]
    #[schemars(skip)]
    pub content: DdlContent,
}

/// How a group's nodes connect.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{rate: 2000/s}`")]
pub struct Connect {
    /// First connections started over the whole group; default: no pacing.
    pub rate: Option<Rate>,
    /// First connections in flight at once; default 500.
    #[schemars(extend("minimum" = 1))]
    pub in_flight: Option<Count>,
    /// Time for TCP, INFO, CONNECT and PONG together; default 2s, as the real server's, and at most 2m as that.
    pub timeout: Option<Span>,
}

/// How a group's nodes answer requests, leave and hang.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{reply_delay: 50ms}`")]
pub struct Behaviour {
    /// Time between a request and its reply; default: none. A server gives an agent up that takes
    /// longer than its timeout (discovery and rpcutil 2s, emulated agents 5s, choria_util 10s, scout and
    /// choria_provision 20s, others as their DDL says), and so do nodes: then there is no reply.
    pub reply_delay: Option<ReplyDelay>,
    /// Share of requests that get no answer; default 0%.
    pub no_reply: Option<Percent>,
    /// Share of requests to RPC agents that get an error reply; default 0%.
    pub error_reply: Option<Percent>,
    /// Nodes that leave and return all the time; default: none.
    pub churn: Option<Churn>,
    /// Nodes that stop reading, as a process that hangs; default: none.
    pub stuck: Option<Stuck>,
}

/// Nodes that are stopped in order and started again a little later, a share of them in each round:
/// `{share: 5%, every: 1m, away: 10s}`. A node stays for one whole round first.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{share: 5%, every: 1m, away: 10s}`")]
pub struct Churn {
    /// Share of the nodes that leave in a round, each at an instant of its own.
    pub share: Percent,
    /// Length of a round; default 1m.
    pub every: Option<Span>,
    /// From leaving to starting again, less than a round; default 10s.
    pub away: Option<Span>,
}

/// When nodes hang: `{after: 10s}`. They read, answer and say nothing any more; their sockets take in a
/// few KiB, and their broker has to keep or drop the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{after: 10s}`")]
pub struct Stuck {
    /// From when a node's subscriptions exist until it hangs.
    pub after: Span,
}

/// `20ms`, or a distribution.
#[derive(Debug, Clone, Copy, PartialEq, JsonSchema)]
#[serde(untagged)]
pub enum ReplyDelay {
    /// Always the same.
    Fixed(Span),
    /// A distribution.
    Spread(Spread),
}

/// `10`, or `{size: 10, handling: 2ms}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[serde(untagged)]
pub enum Queue {
    /// The size alone.
    Size(Count),
    /// All of it.
    Full(FullQueue),
}

/// The queue in front of a server's one handler. Agents run beside the handler: a reply delay does not
/// hold it up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{size: 10, handling: 100us}`")]
pub struct FullQueue {
    /// Places in the buffer of a subscription, and again in the queue that all of them share; default 10.
    #[schemars(extend("minimum" = 1))]
    pub size: Option<Count>,
    /// How long the handler takes to look at a request; default 100us. With 0s no request is ever lost.
    pub handling: Option<Span>,
}

/// A distribution of reply delays.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Spread {
    /// Uniform between the two: `{uniform: [10ms, 50ms]}`.
    Uniform([Span; 2]),
    /// Log-normal: `{lognormal: {median: 40ms, sigma: 0.6}}`.
    Lognormal(Lognormal),
}

/// A log-normal distribution.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{median: 20ms, sigma: 0.5}`")]
pub struct Lognormal {
    /// Half of the delays are below this.
    pub median: Span,
    /// Standard deviation of the delay's natural logarithm: 0.3 is narrow, 1 is wide.
    #[schemars(range(min = 0.0, max = 5.0))]
    pub sigma: f64,
}

/// Where nodes depart from a real Choria server for speed.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{reply_flush: none}`")]
pub struct Fidelity {
    /// A PING round trip after each subscription as the real server does, or once for all;
    /// default `each`.
    pub subscribe_flush: Option<SubscribeFlush>,
    /// A PING with each reply as the real server does, or none; default `each`.
    pub reply_flush: Option<ReplyFlush>,
}

/// The lifecycle events that nodes publish.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{alive: false}`")]
pub struct Events {
    /// One event when a node has made all its subscriptions for the first time; default true.
    pub startup: Option<bool>,
    /// One event now and then; default true.
    pub alive: Option<bool>,
    /// One event before an orderly end; default true. Without it nodes vanish as if killed.
    pub shutdown: Option<bool>,
    /// From one alive event to the next; default 30m, as the real server's. The first comes after a
    /// random number of thirtieths of it.
    pub alive_every: Option<Span>,
    /// What autonomous agents do: their transitions, checks and timers; default true.
    pub machines: Option<bool>,
}

/// How nodes register.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{content: inventory_content}`")]
pub struct Registration {
    /// What is published.
    pub content: RegistrationContent,
    /// From one publication to the next, in whole seconds; default 300s, as the real server's.
    pub interval: Option<Span>,
    /// Whether a random part of the interval passes before the first; default true. One to four
    /// seconds pass in any case.
    pub splay: Option<bool>,
    /// Whether the content is compressed; default true.
    pub compression: Option<bool>,
    /// The subject; default: that of agent `registration` in the main collective.
    pub target: Option<String>,
}

/// What a registration publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RegistrationContent {
    /// A file: that of the facts.
    FileContent,
    /// Agents, classes, facts, counters and collectives.
    InventoryContent,
}

/// Where nodes write their status files.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{folder: /tmp/status}`")]
pub struct StatusFiles {
    /// The folder, made if it is not there; each node writes `IDENTITY.json` in it.
    pub folder: String,
    /// From one writing to the next, in whole seconds; default 30s, as the real server's.
    pub every: Option<Span>,
    /// How many nodes of the group write one, the first ones; default 10, at most 1000.
    #[schemars(extend("minimum" = 1))]
    pub nodes: Option<Count>,
}

/// When subscriptions are flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SubscribeFlush {
    /// After each one.
    Each,
    /// Once after all.
    Once,
}

/// When replies are flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReplyFlush {
    /// With each one.
    Each,
    /// Never.
    None,
}

/// The client that sends the waves.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{ttl: 60s}`")]
pub struct Client {
    /// Caller id; default `choria=emulator`.
    pub callerid: Option<String>,
    /// Identity in `senderid`; default `client.choria.local`.
    pub identity: Option<String>,
    /// Time to live of a request; default 60s, at least 30s.
    pub ttl: Option<Span>,
    /// Connections that receive replies; default 1. Several share them in a queue group, as the real
    /// client's 3 do.
    #[schemars(extend("minimum" = 1))]
    pub receivers: Option<Count>,
    /// Which brokers the clients connect to, by turns: by name, cluster or pattern; default: the first.
    pub brokers: Option<Placement>,
    /// Where the clients are, by turns: `conductor` (the default), or the name of a worker, such as `w2`
    /// or `[w1, w2]`.
    pub at: Option<Places>,
}

/// One entry of `waves`: the same request, `count` times.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{name: rpc, request: {agent: emulated0, action: generate}}`"
)]
pub struct Wave {
    /// Name, unique; thresholds select by it.
    pub name: String,
    /// A discovery: every matching node answers `pong`. Either this or `request`.
    pub discover: Option<Discover>,
    /// An RPC request. Either this or `discover`.
    pub request: Option<Request>,
    /// How it reaches the nodes; default `broadcast`, or `batch` when `batch` is given.
    pub mode: Option<Mode>,
    /// Sizes of mode `batch`.
    pub batch: Option<Batch>,
    /// Time from one intended instant to the next; default 5s.
    pub every: Option<Span>,
    /// How many waves; default 1.
    #[schemars(extend("minimum" = 1))]
    pub count: Option<Count>,
    /// Replies after this are late; default 10s.
    pub deadline: Option<Span>,
    /// Waves before the counted ones that no figure includes; default 0.
    pub warmup: Option<Count>,
    /// Clients that send the wave at the same instant, each of which must get everything; default 1. Or a
    /// list of them, each with a place and a filter of its own: `[{at: w1, filter: {facts: [dc=dc1]}}]`.
    pub clients: Option<WaveClients>,
}

/// A discovery.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{agent: emulated0}`")]
pub struct Discover {
    /// Only nodes that host this agent; default: all.
    pub agent: Option<String>,
    /// The sub collective to ask; default: the first group's first.
    pub collective: Option<String>,
    /// Which nodes must answer.
    pub filter: Option<Filter>,
}

/// An RPC request.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{agent: rpcutil, action: ping}`")]
pub struct Request {
    /// The agent, for example `emulated0` or `rpcutil`.
    pub agent: String,
    /// The action, for example `generate` or `ping`.
    pub action: String,
    /// The sub collective to ask; default: the first group's first.
    pub collective: Option<String>,
    /// The action's input.
    pub data: Option<Document>,
    /// Which nodes must answer.
    pub filter: Option<Filter>,
}

/// Choria's filters; what is given must match.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{facts: [dc=west]}`")]
pub struct Filter {
    /// Identities, or `/regular expressions/`; one must match.
    pub identity: Option<Vec<String>>,
    /// Classes, or `/regular expressions/`; all must match.
    pub classes: Option<Vec<String>>,
    /// Facts such as `dc=dc1`; all must match.
    pub facts: Option<Vec<String>>,
    /// Hosted agents, or `/regular expressions/`; all must match.
    pub agents: Option<Vec<String>>,
    /// Compound expressions.
    pub compound: Option<Vec<String>>,
}

/// How a wave reaches the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// One message on the agent's broadcast subject.
    Broadcast,
    /// One message per node with the same bytes.
    Direct,
    /// Direct, in slices with a pause between them.
    Batch,
}

/// Slices of mode `batch`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{size: 100, sleep: 1s}`")]
pub struct Batch {
    /// Nodes in a slice.
    #[schemars(extend("minimum" = 1))]
    pub size: Count,
    /// Pause between slices; default 1s, as the real client's.
    pub sleep: Option<Span>,
}
