//! Stand-ins for nodes: they answer a request in the way that its agent's name asks for.
//!
//! Documents are made here by serde_json, apart from the project's own encoder, so that the two check
//! each other.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::StreamExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) subject: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) reply_to: String,
    /// The decoded request.
    pub(crate) request: Value,
    /// Messages that the stand-ins had sent before it arrived.
    pub(crate) replies_before: u64,
}

/// Nodes named by `identities`. The first answers as the agent's name says, the others properly and
/// after it.
pub(crate) struct StandIns {
    client: async_nats::Client,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// How many requests were answered, late answers apart.
    answered: watch::Receiver<usize>,
    _tasks: JoinSet<()>,
}

impl StandIns {
    pub(crate) async fn start(url: &str, identities: &[&str]) -> Self {
        let client = async_nats::connect(url).await.unwrap();
        let mut requests = futures_util::stream::select(
            client.subscribe("*.broadcast.agent.*").await.unwrap(),
            client.subscribe("*.node.>").await.unwrap(),
        );
        client.flush().await.unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let identities: Vec<String> = identities.iter().map(ToString::to_string).collect();
        let mut tasks = JoinSet::new();
        let (record, asking) = (seen.clone(), client.clone());
        let (done, answered) = watch::channel(0);
        tasks.spawn(async move {
            let mut later = JoinSet::new();
            let mut replies = 0;
            while let Some(message) = requests.next().await {
                let request = read(&message, replies);
                record.lock().unwrap().push(request.clone());
                let asked = identities.iter().enumerate().filter(|(_, identity)| {
                    !request.subject.contains(".node.")
                        || request.subject.ends_with(&format!(".node.{identity}"))
                });
                for (number, identity) in asked {
                    let agent = request.request["envelope"]["agent"].as_str().unwrap();
                    let habit = if number == 0 { agent } else { "proper" };
                    for (delay, reply) in answers(habit, identity, &request.request) {
                        let (client, to) = (client.clone(), request.reply_to.clone());
                        if delay.is_zero() {
                            client.publish(to, reply.into()).await.unwrap();
                            replies += 1;
                        } else {
                            later.spawn(async move {
                                tokio::time::sleep(delay).await;
                                client.publish(to, reply.into()).await.unwrap();
                            });
                        }
                    }
                }
                done.send_modify(|requests| *requests += 1);
            }
        });
        Self { client: asking, seen, answered, _tasks: tasks }
    }

    /// Waits until so many requests were answered and the broker has passed on the answers: it takes
    /// what comes from one connection in its order.
    pub(crate) async fn answered(&self, requests: usize) {
        self.answered.clone().wait_for(|answered| *answered >= requests).await.unwrap();
        self.passed_on().await;
    }

    /// Answers this request once more in these names, and waits until the broker has passed that on.
    pub(crate) async fn answer_again(&self, request: &Seen, identities: &[&str]) {
        for identity in identities {
            let reply = reply(identity, &request.request, &rpc_body(0, "fine"));
            self.client.publish(request.reply_to.clone(), reply.into()).await.unwrap();
        }
        self.passed_on().await;
    }

    async fn passed_on(&self) {
        let inbox = self.client.new_inbox();
        let mut echo = self.client.subscribe(inbox.clone()).await.unwrap();
        self.client.publish(inbox, "".into()).await.unwrap();
        echo.next().await.unwrap();
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn read(message: &async_nats::Message, replies_before: u64) -> Seen {
    let transport: Value = serde_json::from_slice(&message.payload).unwrap();
    let data = BASE64_STANDARD.decode(transport["data"].as_str().unwrap()).unwrap();
    let secure: Value = serde_json::from_slice(&data).unwrap();
    Seen {
        subject: message.subject.to_string(),
        payload: message.payload.to_vec(),
        reply_to: transport["headers"]["reply-to"].as_str().unwrap().to_owned(),
        request: serde_json::from_str(secure["message"].as_str().unwrap()).unwrap(),
        replies_before,
    }
}

/// What a node should not send, as an answer to this message: six that are no replies, and two good
/// replies of somebody whom nobody asked.
pub(crate) fn odd_answers(identity: &str, message: &async_nats::Message) -> Vec<Vec<u8>> {
    let request = read(message, 0).request;
    let habits = [
        "garbage",
        "empty",
        "truncated",
        "huge-garbage",
        "not-utf8",
        "wrong-hash",
        "huge",
        "proper",
    ];
    let answers = habits.iter().flat_map(|habit| answers(habit, identity, &request));
    answers.map(|(_, answer)| answer).collect()
}

/// Where the answers to this message go.
pub(crate) fn reply_to(message: &async_nats::Message) -> String {
    read(message, 0).reply_to
}

/// How long after a request a late stand-in answers.
pub(crate) const LATE: Duration = Duration::from_millis(2_500);

/// What a node with this habit sends, and when.
fn answers(habit: &str, identity: &str, request: &Value) -> Vec<(Duration, Vec<u8>)> {
    let at_once = |payload: Vec<u8>| vec![(Duration::ZERO, payload)];
    let proper = || reply(identity, request, &rpc_body(0, "fine"));
    match habit {
        "silent" => Vec::new(),
        "late" => vec![(LATE, proper())],
        "twice" => vec![(Duration::ZERO, proper()), (Duration::ZERO, proper())],
        "garbage" => at_once(b"this is no document".to_vec()),
        "empty" => at_once(Vec::new()),
        "truncated" => at_once(proper()[..300].to_vec()),
        "huge-garbage" => at_once(vec![b'x'; 1024 * 1024]),
        "huge" => at_once(reply(identity, request, &rpc_body(0, &"x".repeat(700_000)))),
        "not-utf8" => {
            let text = inner(identity, request, "bytes").replace("bytes", "\u{1}");
            let raw = text.into_bytes().into_iter().map(|byte| if byte == 1 { 0xff } else { byte });
            at_once(wrap(identity, &raw.collect::<Vec<u8>>(), None))
        }
        "wrong-hash" => {
            let text = inner(identity, request, &rpc_body(0, "fine"));
            at_once(wrap(identity, text.as_bytes(), Some("another text")))
        }
        "stranger" => at_once(reply("stranger.example.net", request, &rpc_body(0, "fine"))),
        "error" => at_once(reply(identity, request, &rpc_body(1, "failed"))),
        "no-rpc-body" => at_once(reply(identity, request, "pong")),
        _ => at_once(proper()),
    }
}

fn rpc_body(statuscode: u32, text: &str) -> String {
    let data = json!({ "text": text });
    json!({"action": "test", "statuscode": statuscode, "statusmsg": "", "data": data}).to_string()
}

/// A whole reply document (protocol document 3.6, A.2).
fn reply(identity: &str, request: &Value, body: &str) -> Vec<u8> {
    wrap(identity, inner(identity, request, body).as_bytes(), None)
}

fn inner(identity: &str, request: &Value, body: &str) -> String {
    let envelope = json!({
        "requestid": request["envelope"]["requestid"],
        "senderid": identity,
        "agent": request["envelope"]["agent"],
        "time": 1_718_444_000,
    });
    json!({"protocol": "choria:reply:1", "message": body, "envelope": envelope}).to_string()
}

/// Secure reply and transport around `text`, with the hash of `hashed` or else of `text`.
fn wrap(identity: &str, text: &[u8], hashed: Option<&str>) -> Vec<u8> {
    let hash = BASE64_STANDARD.encode(Sha256::digest(hashed.map_or(text, str::as_bytes)));
    // By hand, since `text` need not be UTF-8.
    let mut secure = br#"{"protocol":"choria:secure:reply:1","message":""#.to_vec();
    for &byte in text {
        if byte == b'"' || byte == b'\\' {
            secure.push(b'\\');
        }
        secure.push(byte);
    }
    secure.extend_from_slice(format!(r#"","hash":"{hash}"}}"#).as_bytes());
    let hop = json!(["nats://127.0.0.1:4222", identity, "nats://127.0.0.1:4222"]);
    let transport = json!({
        "protocol": "choria:transport:1",
        "data": BASE64_STANDARD.encode(secure),
        "headers": {"mc_sender": identity, "seen-by": [hop]},
    });
    transport.to_string().into_bytes()
}
