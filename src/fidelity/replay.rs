//! Recorded requests, published as they were, to a node that stands where the recorded server stood.
//!
//! Whatever a node publishes, on whichever subject, comes back on one subscription to everything. That
//! nothing (more) comes is known without waiting: NATS keeps the order of messages from one connection
//! to another, and a node answers in order, so the answer to a later request (a *probe*) is behind
//! everything that the case could have brought. The probe asks for the node's counters.

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Subscriber};
use emulator::fidelity::{Case, CaseError, Comparison, Published, Seen, counters_of, reply_body};
use emulator::fleet::{Fleet, FleetError};
use emulator::node::Counters;
use emulator::protocol::client::{self, RequestDraft};
use emulator::protocol::filter::Filter;
use emulator::spec::{Clock, FleetSpec, Share};
use futures_util::StreamExt as _;
use reports::verdict::ExitCode;
use serde_json::json;
use tokio::time::timeout;

use super::{CALLER, Outcome, SENDER};

/// Time for a node to connect, and for a probe to be answered; both take a millisecond.
const WITHIN: Duration = Duration::from_secs(10);
/// Probes behind every case. The second is sent when the answer to the first is here, so that it is
/// behind replies, too, that the node has published to itself: its counters have seen those.
const PROBES: u32 = 2;

/// Why a replay broke off.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The broker did not let the client in, or went away.
    #[error(
        "the client that replays has no broker: {0}\nsee the broker's log n1.log beside the certificate"
    )]
    Broker(String),
    /// The node cannot be started.
    #[error("node {identity}: {source}")]
    Fleet {
        /// Its identity.
        identity: String,
        /// What is wrong.
        source: FleetError,
    },
    /// The node does not connect, or not answer.
    #[error(
        "node {identity} {what} within {WITHIN:?}{}\n{advice}",
        failures.iter().map(|failure| format!("\n    {failure}")).collect::<String>(),
        advice = "run again with -v; if it stays, please report it with its recording"
    )]
    Silent {
        /// Its identity.
        identity: String,
        /// What it did not do.
        what: String,
        /// Panics of the node.
        failures: Vec<String>,
    },
    /// A case cannot be sent.
    #[error(transparent)]
    Case(#[from] CaseError),
}

impl ReplayError {
    /// The exit code that it stands for.
    pub(super) fn code(&self) -> ExitCode {
        match self {
            Self::Broker(_) => ExitCode::BrokerUnreachable,
            Self::Case(_) => ExitCode::Usage,
            Self::Fleet { .. } | Self::Silent { .. } => ExitCode::Unexpected,
        }
    }
}

/// Replays the cases of a recording, server by server, and tells how each ended.
pub(super) async fn replay(
    cases: &[Case],
    broker: SocketAddrV4,
) -> Result<Vec<(String, Outcome)>, ReplayError> {
    let mut outcomes = Vec::with_capacity(cases.len());
    let mut rest: Vec<&Case> = cases.iter().collect();
    while let Some(&first) = rest.first() {
        let same = |case: &&Case| case.server == first.server;
        let (of_server, others) = rest.into_iter().partition::<Vec<_>, _>(same);
        replay_on_one(first, of_server, broker, &mut outcomes).await?;
        rest = others;
    }
    Ok(outcomes)
}

async fn replay_on_one(
    first: &Case,
    cases: Vec<&Case>,
    broker: SocketAddrV4,
    outcomes: &mut Vec<(String, Outcome)>,
) -> Result<(), ReplayError> {
    let mut stand = Stand::start(first, broker).await?;
    for case in cases {
        let outcome = match case.lacks() {
            Some(need) => Outcome::Skipped(need.name().to_owned()),
            None => outcome(case.compare(&stand.act(case).await?)),
        };
        outcomes.push((case.id.clone(), outcome));
    }
    stand.fleet.stop().await;
    Ok(())
}

fn outcome(comparison: Comparison) -> Outcome {
    let Comparison { differences, allowed } = comparison;
    if !differences.is_empty() {
        Outcome::Different(differences)
    } else if !allowed.is_empty() {
        Outcome::EqualButFor(allowed)
    } else {
        Outcome::Equal
    }
}

/// A node in the place of a recorded server, and the client that asks it.
struct Stand {
    fleet: Fleet,
    clock: Arc<AtomicI64>,
    client: Client,
    everything: Subscriber,
    /// Where probes go.
    draft: RequestDraft,
    identity: String,
    broker_url: String,
    probes: u64,
    /// The node's counters as the latest probe told them.
    counters: Counters,
}

impl Stand {
    async fn start(first: &Case, broker: SocketAddrV4) -> Result<Self, ReplayError> {
        let server = &first.server;
        let clock = Arc::new(AtomicI64::new(first.clock_unix()));
        let lost = |error: &dyn std::error::Error| ReplayError::Broker(error.to_string());
        let options = ConnectOptions::new().no_echo().name("choria-emulator fidelity");
        let client = options.connect(format!("nats://{broker}")).await.map_err(|e| lost(&e))?;
        let everything = client.subscribe(">").await.map_err(|e| lost(&e))?;
        let spec = FleetSpec {
            seed: 0,
            groups: vec![server.group(broker.into())],
            share: Share::WHOLE,
            shards: 1,
            clock: Clock::Set(Arc::clone(&clock)),
        };
        let identity = server.identity.clone();
        let fleet = Fleet::start(spec)
            .map_err(|source| ReplayError::Fleet { identity: identity.clone(), source })?;
        let mut stand = Self {
            fleet,
            clock,
            client,
            everything,
            draft: probe(server.collectives.first().map_or("", String::as_str)),
            identity,
            broker_url: server.connected_broker.clone(),
            probes: 0,
            counters: Counters::default(),
        };
        let connected = timeout(WITHIN, stand.fleet.connected()).await.is_ok();
        if !connected || !stand.fleet.is_connected(0) {
            return Err(stand.silent("does not connect".to_owned()));
        }
        stand.settle("it was started", &mut Vec::new()).await?;
        Ok(stand)
    }

    /// Publishes a case's request and collects everything that the node does about it.
    async fn act(&mut self, case: &Case) -> Result<Seen, ReplayError> {
        self.clock.store(case.clock_unix(), Ordering::Relaxed);
        let payload = case.payload()?;
        for subject in case.subjects() {
            self.publish(subject.clone(), case.request.nats_reply.clone(), payload.clone()).await?;
        }
        let before = self.counters;
        let mut replies = Vec::new();
        self.settle(&format!("case {}", case.id), &mut replies).await?;
        Ok(Seen { replies, counters: moved(before, self.counters) })
    }

    /// Collects what is published until the node has nothing more to say, and reads its counters.
    async fn settle(&mut self, after: &str, seen: &mut Vec<Published>) -> Result<(), ReplayError> {
        for _ in 0..PROBES {
            let reply_to = self.probe().await?;
            loop {
                let Ok(message) = timeout(WITHIN, self.everything.next()).await else {
                    return Err(self.silent(format!("answers no request after {after}")));
                };
                let gone = || ReplayError::Broker("its connection was closed".to_owned());
                let message = message.ok_or_else(gone)?;
                if message.subject.as_str() != reply_to {
                    let subject = message.subject.into_string();
                    seen.push(Published { subject, payload: message.payload.to_vec() });
                    continue;
                }
                let counters =
                    reply_body(&message.payload).and_then(|body| counters_of(body.get("data")?));
                self.counters = counters
                    .ok_or_else(|| self.silent(format!("tells no counters after {after}")))?;
                break;
            }
        }
        Ok(())
    }

    /// Asks the node for its counters; the answer comes to the subject that is returned.
    async fn probe(&mut self) -> Result<String, ReplayError> {
        self.probes += 1;
        let request_id = format!("{:032x}", self.probes);
        let draft = &self.draft;
        let reply_to = client::reply_subject(&draft.collective, &draft.caller_id, &request_id);
        let now = self.clock.load(Ordering::Relaxed);
        let payload = client::encode_request(draft, &request_id, &reply_to, &self.broker_url, now);
        let subject = client::node_subject(&draft.collective, &self.identity);
        self.publish(subject, None, payload).await?;
        Ok(reply_to)
    }

    async fn publish(
        &self,
        subject: String,
        reply: Option<String>,
        payload: Vec<u8>,
    ) -> Result<(), ReplayError> {
        let published = match reply {
            Some(reply) => self.client.publish_with_reply(subject, reply, payload.into()).await,
            None => self.client.publish(subject, payload.into()).await,
        };
        published.map_err(|error| ReplayError::Broker(error.to_string()))
    }

    fn silent(&self, what: String) -> ReplayError {
        ReplayError::Silent {
            identity: self.identity.clone(),
            what,
            failures: self.fleet.failures(),
        }
    }
}

/// A request that every server answers, from a caller of its own.
fn probe(collective: &str) -> RequestDraft {
    RequestDraft {
        caller_id: CALLER.to_owned(),
        sender_id: SENDER.to_owned(),
        collective: collective.to_owned(),
        agent: "rpcutil".to_owned(),
        ttl_s: 60,
        filter: Filter::default(),
        body: client::rpc_body("rpcutil", "daemon_stats", &json!({})),
    }
}

/// By how much a case moved the counters: the probes behind it are taken off.
fn moved(before: Counters, after: Counters) -> Counters {
    let less = |after: u32, before: u32| after.wrapping_sub(before);
    Counters {
        total: less(after.total, before.total).wrapping_sub(PROBES),
        validated: less(after.validated, before.validated).wrapping_sub(PROBES),
        unvalidated: less(after.unvalidated, before.unvalidated),
        passed: less(after.passed, before.passed).wrapping_sub(PROBES),
        filtered: less(after.filtered, before.filtered),
        ttl_expired: less(after.ttl_expired, before.ttl_expired),
        replies: less(after.replies, before.replies).wrapping_sub(PROBES),
        events: 0,
    }
}
