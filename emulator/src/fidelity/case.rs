//! One recorded case: a request, the server that received it, and what that server did.

use super::compare::{Allowance, Comparison};
use crate::homes::Homes;
use crate::machines::Machine;
use crate::node::Counters;
use crate::protocol::client::{self, RequestDraft};
use crate::protocol::filter::Filter;
use crate::spec::{
    Behaviour, Connect, Fidelity, GroupSpec, Lifecycle, Login, MoreAgents, Server as Address, Shown,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

/// The machines of the recorded servers: recordings hold their names, versions and doings.
const MACHINES: &str = include_str!("../../testdata/captures/machines.json");

/// Version of the server inside the predecessor's nodes (protocol document 14, "predecessor").
const PREDECESSOR: &str = "0.13.1";

/// A case.
#[derive(Debug, Clone, Deserialize)]
pub struct Case {
    /// Its unique id.
    pub id: String,
    /// What a node must be able to do beyond the ordinary.
    #[serde(default)]
    pub needs: Vec<String>,
    /// The server.
    pub server: Server,
    /// When the request passed the broker: unix seconds.
    pub captured_at_unix: f64,
    /// The request.
    pub request: Request,
    /// What the server published.
    pub replies: Vec<Reply>,
    /// `reply`, `silence` or `crash`.
    pub outcome: String,
    /// Why, where that is known.
    pub why: Option<String>,
    /// By how much the server's counters moved, where that is known.
    pub counters: Option<Value>,
    /// JSON pointers into the body whose values belong to the recorded process.
    #[serde(default)]
    pub volatile: Vec<String>,
}

/// A recorded server: what it was configured with.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Server {
    /// Its identity.
    pub identity: String,
    /// Its collectives, the main collective first.
    pub collectives: Vec<String>,
    agents: Vec<String>,
    classes: Vec<String>,
    facts: Map<String, Value>,
    /// Name and version, or all of a [`Machine`].
    #[serde(default)]
    machines: Vec<Value>,
    version: String,
    /// URL of the broker that it was connected to.
    pub connected_broker: String,
    config_file: String,
    #[serde(default)]
    config: BTreeMap<String, String>,
}

/// A recorded request: what was published, and where.
#[derive(Debug, Clone, Deserialize)]
pub struct Request {
    subject: String,
    subjects: Option<Vec<String>>,
    /// Reply subject of the NATS message itself.
    pub nats_reply: Option<String>,
    payload: Option<String>,
    payload_base64: Option<String>,
    payload_omitted: Option<String>,
}

/// A recorded reply.
#[derive(Debug, Clone, Deserialize)]
pub struct Reply {
    /// Where it was published.
    pub subject: String,
    /// What was published.
    pub payload: String,
    /// What the server's clock showed when it wrote it: unix seconds.
    pub clock_unix: i64,
}

/// What a node did with a case's request.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// What it published, in this order.
    pub replies: Vec<Published>,
    /// By how much its counters moved.
    pub counters: Counters,
}

/// A message that a node published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its subject.
    pub subject: String,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// What emulated nodes cannot do, so that a case is not replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Autonomous agents that nobody has described.
    Machines,
}

impl Need {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Machines => "machines",
        }
    }

    /// Why nodes lack it.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Machines => {
                "the recording does not say what the server's autonomous agents are made of"
            }
        }
    }
}

/// A recording that cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// A line is no case.
    #[error("line {line} is no recorded case: {source}\nsee emulator/testdata/captures/README.md")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// There is nothing in it that could be compared.
    #[error("no case is in it, and nothing compared proves nothing\ngive one case a line")]
    Empty,
    /// Two cases have one id, so that the end of one would hide that of the other.
    #[error("case {0} is there twice\ngive each case an id of its own")]
    Twice(String),
    /// Counters are recorded, but not all of them.
    #[error("case {0} has counters that are no counters\ngive all seven numbers, or null")]
    Counters(String),
    /// The payload of a request is missing, or described in words that are not known.
    #[error("case {0} has no payload that can be built\ngive its payload or payload_base64")]
    Payload(String),
}

/// The cases of a recording, one a line.
///
/// # Errors
/// Names the first line that is none, or the first case that cannot be compared.
pub fn parse(recording: &str) -> Result<Vec<Case>, CaseError> {
    let lines = (1..).zip(recording.lines());
    let case = |(line, text)| {
        serde_json::from_str(text).map_err(|source| CaseError::Line { line, source })
    };
    let cases: Vec<Case> = lines.map(case).collect::<Result<_, _>>()?;
    if cases.is_empty() {
        return Err(CaseError::Empty);
    }
    let mut ids = HashSet::new();
    for Case { id, counters, .. } in &cases {
        if !ids.insert(id) {
            return Err(CaseError::Twice(id.clone()));
        }
        if counters.as_ref().is_some_and(|counters| counters_of(counters).is_none()) {
            return Err(CaseError::Counters(id.clone()));
        }
    }
    Ok(cases)
}

/// Counters as they are recorded, and as `rpcutil#daemon_stats` replies them; events are not recorded.
#[must_use]
pub fn counters_of(shown: &Value) -> Option<Counters> {
    let count = |name: &str| shown[name].as_u64().and_then(|count| u32::try_from(count).ok());
    Some(Counters {
        total: count("total")?,
        validated: count("validated")?,
        unvalidated: count("unvalidated")?,
        passed: count("passed")?,
        filtered: count("filtered")?,
        ttl_expired: count("ttlexpired")?,
        replies: count("replies")?,
        events: 0,
    })
}

impl Server {
    /// A group of one node that shows what the server showed, and connects to `broker`.
    #[must_use]
    pub fn group(&self, broker: SocketAddr) -> GroupSpec {
        GroupSpec {
            name: "replay".to_owned(),
            first: 0,
            nodes: 1,
            identity: literal(&self.identity),
            collectives: self.collectives.clone(),
            emulated_agents: 0,
            more_agents: MoreAgents::default(),
            machines: self.machines.iter().filter_map(defined).collect(),
            facts: literal_members(&self.facts),
            classes: self.classes.iter().map(|class| literal(class)).collect(),
            behaviour: Behaviour::default(),
            servers: vec![Address { addresses: vec![broker], url: self.connected_broker.clone() }],
            homes: Homes::default(),
            source_addresses: Vec::new(),
            connect: Connect { rate_per_s: None, in_flight: 1, timeout: Duration::from_secs(2) },
            login: Login::default(),
            fidelity: Fidelity::default(),
            // What a server says unasked is recorded elsewhere, and would stand between the replies.
            lifecycle: Lifecycle::SILENT,
            shown: Some(Shown {
                agents: self.agents.clone(),
                version: self.version.clone(),
                config_file: self.config_file.clone(),
                config: self.config.clone(),
            }),
        }
    }
}

/// What a recorded machine is: as the recording says, or as its name and version say.
fn defined(recorded: &Value) -> Option<Machine> {
    let whole = serde_json::from_value(recorded.clone()).ok();
    whole.or_else(|| {
        let mut known = serde_json::from_str::<Vec<Machine>>(MACHINES).ok()?;
        known.retain(|machine| {
            recorded["name"] == machine.name.as_str()
                && recorded["version"] == machine.version.as_str()
        });
        known.pop()
    })
}

/// Recorded texts are no patterns.
fn literal(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

fn literal_value(value: &Value) -> Value {
    match value {
        Value::String(text) => literal(text).into(),
        Value::Array(items) => items.iter().map(literal_value).collect(),
        Value::Object(members) => literal_members(members).into(),
        other => other.clone(),
    }
}

fn literal_members(members: &Map<String, Value>) -> Map<String, Value> {
    members.iter().map(|(name, value)| (name.clone(), literal_value(value))).collect()
}

impl Case {
    /// What nodes lack to be able to replay it.
    #[must_use]
    pub fn lacks(&self) -> Option<Need> {
        let undefined = self.server.machines.iter().any(|recorded| defined(recorded).is_none());
        let needed = self.needs.iter().any(|need| need == "machines" || need == "data-plugins");
        (undefined && needed).then_some(Need::Machines)
    }

    /// The second that the node's clock shows meanwhile. What was judged a fraction of a second before
    /// the next one began is judged in that: no recorded case is so near the end of its validity.
    #[must_use]
    pub fn clock_unix(&self) -> i64 {
        #[expect(clippy::cast_possible_truncation, reason = "whole seconds of a clock")]
        let captured = self.captured_at_unix as i64;
        self.replies.first().map_or(captured, |reply| reply.clock_unix)
    }

    /// Where the request was published, in this order.
    #[must_use]
    pub fn subjects(&self) -> &[String] {
        let one = std::slice::from_ref(&self.request.subject);
        self.request.subjects.as_deref().unwrap_or(one)
    }

    /// The bytes of the request.
    ///
    /// # Errors
    /// When they are not recorded and cannot be built.
    pub fn payload(&self) -> Result<Vec<u8>, CaseError> {
        let missing = || CaseError::Payload(self.id.clone());
        let Request { payload, payload_base64, payload_omitted, .. } = &self.request;
        if let Some(encoded) = payload_base64 {
            return STANDARD.decode(encoded).map_err(|_| missing());
        }
        if let Some(payload) = payload {
            return Ok(payload.as_bytes().to_vec());
        }
        match (payload_omitted.as_deref(), self.replies.first()) {
            (Some("data.pad is 210,000 times the letter p"), Some(reply)) => {
                Ok(self.padded(&reply.subject))
            }
            _ => Err(missing()),
        }
    }

    /// The one request that is only described: its text says how it is built.
    fn padded(&self, reply_to: &str) -> Vec<u8> {
        let data = json!({ "fact": "role", "pad": "p".repeat(210_000) });
        let draft = RequestDraft {
            caller_id: "choria=bob.mcollective".to_owned(),
            sender_id: "ops1.example.net".to_owned(),
            collective: "mcollective".to_owned(),
            agent: "rpcutil".to_owned(),
            ttl_s: 60,
            filter: Filter { agent: vec!["rpcutil".to_owned()], ..Filter::default() },
            body: client::rpc_body("rpcutil", "get_fact", &data),
        };
        let request_id = reply_to.rsplit('.').next().unwrap_or_default();
        let broker = &self.server.connected_broker;
        client::encode_request(&draft, request_id, reply_to, broker, self.clock_unix())
    }

    /// Members of the body that the predecessor's older server had otherwise.
    fn older(&self) -> &'static [&'static str] {
        if self.server.version != PREDECESSOR {
            return &[];
        }
        match self.id.split('/').next() {
            Some("emulated-inventory") => {
                &["/action", "/data/machines", "/data/upgradable", "/data/data_plugins"]
            }
            Some("emulated-agent-inventory") => {
                &["/action", "/data/agents/0/url", "/data/agents/4/description"]
            }
            _ => &["/action"],
        }
    }

    /// Compares what a node did with what the server did.
    #[must_use]
    pub fn compare(&self, seen: &Seen) -> Comparison {
        let mut found = Comparison::default();
        let (real, ours) = (self.replies.len(), seen.replies.len());
        if real != ours {
            found.differs("number of replies", &real, &ours);
        }
        let allowance = Allowance { volatile: &self.volatile, older: self.older() };
        for (real, ours) in self.replies.iter().zip(&seen.replies) {
            if real.subject != ours.subject {
                found.differs("subject", &real.subject, &ours.subject);
            }
            found.reply(real.payload.as_bytes(), &ours.payload, allowance);
        }
        if let Some(real) = self.counters.as_ref().and_then(counters_of)
            && real != seen.counters
        {
            found.differs("counters", &format!("{real:?}"), &format!("{:?}", seen.counters));
        }
        found
    }
}
