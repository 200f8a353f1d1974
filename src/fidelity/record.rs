//! A recording of a real server that is present now: what it is configured with, and what it does about
//! the requests of the built-in recording, asked anew. Replayed as any other recording, it compares the
//! emulated node with that server.
//!
//! Everything goes to the server's own subject, whatever the recorded one was: a server looks at what is
//! inside, and no other server of the network is asked. Left out are requests that would change something
//! on it, and what it is configured with that is secret; secrets in URLs are taken out of what it tells ([`secrets`]).

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::{Client, ConnectOptions, Subscriber};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use emulator::fidelity::{
    Case, CaseError, RECORDINGS, config_items, config_text, parse, reply_body, reply_time_unix,
};
use emulator::machines::{Check, Machine, Status, Transition, Watcher, Watches};
use emulator::protocol::client::{self, RequestDraft};
use emulator::protocol::filter::Filter;
use emulator::protocol::request::Request;
use futures_util::StreamExt as _;
use reports::verdict::ExitCode;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout, timeout_at};

use super::{CALLER, Recording, SENDER, secrets};
use crate::driver::redacted;

/// Time for the connection, and for what the server must answer.
const WITHIN: Duration = Duration::from_secs(5);
/// What is not answered so long after the last request has no answer, as for the real client's
/// discovery: a real server need not answer in order, so its silence cannot be proved.
const SILENCE: Duration = Duration::from_secs(2);
/// Longest wait for the answers to some requests before the next are sent.
const PACE: Duration = Duration::from_millis(250);
/// Requests on their way at once; a real server's queue holds ten.
const AT_ONCE: usize = 8;
/// Actions that change the state of autonomous agents.
const CHANGES: [&str; 4] = ["machine_transition", "trigger", "maintenance", "resume"];

/// Where a real server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RealServer {
    /// URL of a broker of its network.
    pub url: String,
    /// Its identity.
    pub identity: String,
    /// A collective that it is in.
    pub collective: String,
}

/// Why there is no recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The network cannot be reached.
    #[error(
        "cannot ask at {url}: {problem}\ncheck that a broker runs there and lets this client in"
    )]
    Broker {
        /// Its URL, without secrets.
        url: String,
        /// What went wrong.
        problem: String,
    },
    /// The server does not answer.
    #[error(
        "{identity} does not answer rpcutil in collective {collective} within {WITHIN:?}\n\
         check identity and collective, and that it runs unsecured and without authorization"
    )]
    Silent {
        /// Its identity.
        identity: String,
        /// The collective.
        collective: String,
    },
    /// What it tells of itself is not what servers tell.
    #[error(
        "{identity} tells nothing usable of itself: {problem}\nplease report it with its version"
    )]
    Strange {
        /// Its identity.
        identity: String,
        /// What is missing.
        problem: String,
    },
    /// The built-in recording cannot be read.
    #[error(transparent)]
    Case(#[from] CaseError),
}

impl RecordError {
    /// The exit code that it stands for.
    #[must_use]
    pub fn code(&self) -> ExitCode {
        match self {
            Self::Broker { .. } | Self::Silent { .. } => ExitCode::BrokerUnreachable,
            Self::Strange { .. } | Self::Case(_) => ExitCode::Unexpected,
        }
    }
}

/// Asks the server, and makes a recording of it.
///
/// # Errors
/// When it cannot be reached or does not answer.
pub async fn record(real: &RealServer) -> Result<Recording, RecordError> {
    let questions = questions(&real.collective)?;
    let mut asker = Asker::connect(real).await?;
    let server = asker.introduce().await?;
    let mut lines = String::new();
    let asked = asker.ask(&questions, SILENCE).await?;
    for (question, (sent, replies)) in questions.iter().zip(&asked) {
        lines += &format!("{}\n", line(question, &server, sent, replies));
    }
    Ok(Recording { name: real.identity.clone(), lines: Cow::Owned(lines) })
}

/// A request without what is fresh in each.
#[derive(Debug, PartialEq)]
struct Question {
    id: String,
    draft: RequestDraft,
    volatile: Vec<String>,
}

impl Question {
    /// One for an action of an agent, with these inputs.
    fn new(id: String, collective: &str, agent: &str, action: &str, inputs: &Value) -> Self {
        let draft = RequestDraft {
            caller_id: CALLER.to_owned(),
            sender_id: SENDER.to_owned(),
            collective: collective.to_owned(),
            agent: agent.to_owned(),
            ttl_s: 60,
            filter: Filter::default(),
            body: STANDARD.encode(client::rpc_body(agent, action, inputs)),
        };
        Self { id, draft, volatile: Vec::new() }
    }
}

/// The different requests of the built-in recording, and one for each item of a configuration.
fn questions(collective: &str) -> Result<Vec<Question>, CaseError> {
    let [(_, exchanges), ..] = RECORDINGS;
    let mut questions: Vec<Question> = Vec::new();
    for case in parse(exchanges)? {
        let Some(draft) = draft(&case, collective)? else { continue };
        if let Some(same) = questions.iter_mut().find(|question| question.draft == draft) {
            same.volatile.extend(case.volatile);
            continue;
        }
        let name = case.id.split('/').next().unwrap_or_default();
        let id = format!("{name}#{}", questions.len() + 1);
        questions.push(Question { id, draft, volatile: case.volatile });
    }
    questions.extend(items().map(|item| item_of(item, collective)));
    Ok(questions)
}

/// The items of a configuration that may be written down.
fn items() -> impl Iterator<Item = &'static str> {
    config_items().filter(|item| !secrets::is_secret(item))
}

/// What the server shows of an item of its configuration.
fn item_of(item: &str, collective: &str) -> Question {
    let id = format!("config-item/{item}");
    Question::new(id, collective, "rpcutil", "get_config_item", &json!({ "item": item }))
}

/// Whether `bytes` hold this text.
fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The recorded request as ours; `None` where only its bytes are of interest, or it cannot be asked.
fn draft(case: &Case, collective: &str) -> Result<Option<RequestDraft>, CaseError> {
    let Ok(request) = Request::decode(&case.payload()?) else { return Ok(None) };
    let names = |name: &str| holds(&request.payload, name);
    if CHANGES.iter().any(|action| names(&format!("\"action\":\"{action}\""))) {
        return Ok(None);
    }
    Ok(Some(RequestDraft {
        caller_id: CALLER.to_owned(),
        sender_id: SENDER.to_owned(),
        collective: collective.to_owned(),
        agent: request.agent,
        ttl_s: 60,
        filter: request.filter,
        // Servers decode what is base64 (protocol document 3.15), also what only looks like it.
        body: STANDARD.encode(request.payload),
    }))
}

/// A request as it was sent, and the replies to it.
type Asked = (Sent, Vec<String>);

struct Sent {
    at_unix: i64,
    subject: String,
    payload: String,
    reply_to: String,
}

struct Asker<'a> {
    real: &'a RealServer,
    client: Client,
    replies: Subscriber,
    url: String,
}

impl<'a> Asker<'a> {
    async fn connect(real: &'a RealServer) -> Result<Self, RecordError> {
        let url = redacted(&real.url);
        let lost = |problem: String| RecordError::Broker { url: url.clone(), problem };
        let options = ConnectOptions::new().name("choria-emulator fidelity");
        let connecting = timeout(WITHIN, options.connect(&real.url)).await;
        let client = connecting
            .map_err(|_| lost(format!("no connection within {WITHIN:?}")))?
            .map_err(|error| lost(error.to_string()))?;
        let mine = client::reply_subject(&real.collective, CALLER, "*");
        let replies = client.subscribe(mine).await.map_err(|error| lost(error.to_string()))?;
        Ok(Self { real, client, replies, url })
    }

    fn lost(&self, problem: impl std::fmt::Display) -> RecordError {
        RecordError::Broker { url: self.url.clone(), problem: problem.to_string() }
    }

    /// Sends requests, a few at a time, and collects the replies until each has one, or nobody has
    /// spoken for so long.
    async fn ask(
        &mut self,
        questions: &[Question],
        patience: Duration,
    ) -> Result<Vec<Asked>, RecordError> {
        let mut asked: Vec<Asked> = Vec::with_capacity(questions.len());
        for some in questions.chunks(AT_ONCE) {
            let before = asked.len();
            for question in some {
                asked.push((self.send(&question.draft).await?, Vec::new()));
            }
            self.collect(&mut asked, before, PACE).await?;
        }
        self.collect(&mut asked, 0, patience).await?;
        Ok(asked)
    }

    /// Collects replies to all requests until each from this one on has one.
    async fn collect(
        &mut self,
        asked: &mut [Asked],
        from: usize,
        patience: Duration,
    ) -> Result<(), RecordError> {
        let until = Instant::now() + patience;
        while asked.iter().skip(from).any(|(_, replies)| replies.is_empty()) {
            let Ok(message) = timeout_at(until, self.replies.next()).await else { break };
            let message = message.ok_or_else(|| self.lost("the connection was closed"))?;
            let to = message.subject.as_str();
            if let Some((_, replies)) = asked.iter_mut().find(|(sent, _)| sent.reply_to == to) {
                let payload = String::from_utf8_lossy(&message.payload).into_owned();
                replies.push(secrets::clean_reply(payload));
            }
        }
        Ok(())
    }

    async fn send(&self, draft: &RequestDraft) -> Result<Sent, RecordError> {
        let request_id = format!("{:032x}", rand::random::<u128>());
        let reply_to = client::reply_subject(&draft.collective, &draft.caller_id, &request_id);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at_unix = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        let payload = client::encode_request(draft, &request_id, &reply_to, &self.url, at_unix);
        let payload = String::from_utf8_lossy(&payload).into_owned();
        let subject = client::node_subject(&draft.collective, &self.real.identity);
        let publishing = self.client.publish(subject.clone(), payload.clone().into());
        publishing.await.map_err(|error| self.lost(error))?;
        Ok(Sent { at_unix, subject, payload, reply_to })
    }

    /// What the server tells of itself, as recordings have it.
    async fn introduce(&mut self) -> Result<Value, RecordError> {
        let real = self.real;
        let collective = &real.collective;
        let question = |(agent, action): (&str, &str)| {
            Question::new(action.to_owned(), collective, agent, action, &json!({}))
        };
        let about = [
            ("rpcutil", "inventory"),
            ("rpcutil", "daemon_stats"),
            ("choria_util", "info"),
            ("choria_util", "machine_states"),
        ];
        let asked = self.ask(&about.map(question), WITHIN).await?;
        let data = |(_, replies): &Asked| {
            let body = reply_body(replies.first()?.as_bytes())?;
            Some(body.get("data")?.clone())
        };
        let told: Option<Vec<Value>> = asked.iter().map(data).collect();
        let Some([inventory, stats, info, machines]) = told.as_deref() else {
            return Err(RecordError::Silent {
                identity: self.real.identity.clone(),
                collective: self.real.collective.clone(),
            });
        };
        let mut server = self.server(inventory, stats, info, machines)?;
        let questions: Vec<_> = items().map(|item| item_of(item, collective)).collect();
        let shown = self.ask(&questions, SILENCE).await?;
        let text = |(item, reply): (&str, &Asked)| {
            Some((item.to_owned(), config_text(item, &data(reply)?["value"])?.into()))
        };
        let config: serde_json::Map<_, Value> = items().zip(&shown).filter_map(text).collect();
        server["config"] = config.into();
        Ok(server)
    }

    fn server(
        &self,
        inventory: &Value,
        stats: &Value,
        info: &Value,
        machines: &Value,
    ) -> Result<Value, RecordError> {
        let main = &inventory["main_collective"];
        let mut collectives: Vec<Value> =
            inventory["collectives"].as_array().cloned().unwrap_or_default();
        // The main collective is the first.
        collectives.sort_by_key(|collective| collective != main);
        let server = json!({
            "identity": self.real.identity, "collectives": collectives, "main_collective": main,
            "agents": inventory["agents"], "classes": inventory["classes"],
            "facts": inventory["facts"], "machines": defined(machines), "version": inventory["version"],
            "connected_broker": info["connected_server"], "config_file": stats["configfile"],
        });
        let readable = serde_json::from_value::<emulator::fidelity::Server>(server.clone());
        readable.map(|_| server).map_err(|problem| RecordError::Strange {
            identity: self.real.identity.clone(),
            problem: problem.to_string(),
        })
    }
}

/// Autonomous agents that are and stay in the states that a server tells of its own.
fn defined(machines: &Value) -> Vec<Machine> {
    let states = machines["states"].as_object().into_iter().flatten();
    states.map(|(_, told)| standing_still(told)).collect()
}

fn standing_still(told: &Value) -> Machine {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let state = text(&told["state"]);
    let transition = |name: String, from| Transition { name, from, destination: state.clone() };
    let available = told["available_transitions"].as_array().into_iter().flatten();
    let available: Vec<_> =
        available.map(|name| transition(text(name), vec![state.clone()])).collect();
    // One at least has to be there; without a state to begin in it is never possible.
    let none = available.is_empty().then(|| transition("none".to_owned(), Vec::new()));
    let current = &told["current_state"];
    let watches = match told["scout"].as_bool() {
        Some(true) => Watches::Nagios(Check {
            // It never runs, so what it would find is of no interest.
            interval_s: 0,
            plugin: "none".to_owned(),
            status: Status::Ok,
            output: None,
            annotations: serde_json::from_value(current["annotations"].clone()).unwrap_or_default(),
        }),
        _ => Watches::Timer { seconds: u32::MAX, fail_transition: None },
    };
    Machine {
        name: text(&told["name"]),
        version: text(&told["version"]),
        path: Some(text(&told["path"])),
        initial_state: state.clone(),
        watchers: vec![Watcher { name: text(&current["name"]), state_match: Vec::new(), watches }],
        transitions: available.into_iter().chain(none).collect(),
    }
}

/// A case as recordings have it (`emulator/testdata/captures/README.md`).
fn line(question: &Question, server: &Value, sent: &Sent, replies: &[String]) -> Value {
    let reply = |payload: &String| {
        let clock = reply_time_unix(payload.as_bytes()).unwrap_or(sent.at_unix);
        json!({ "subject": sent.reply_to, "payload": payload, "clock_unix": clock })
    };
    json!({
        "id": question.id, "server": server, "captured_at_unix": sent.at_unix,
        "request": { "subject": sent.subject, "payload": sent.payload },
        "outcome": if replies.is_empty() { "silence" } else { "reply" },
        "replies": replies.iter().map(reply).collect::<Vec<_>>(),
        "volatile": question.volatile,
    })
}
