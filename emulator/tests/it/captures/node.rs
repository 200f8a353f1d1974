//! Requests that real servers received, given to our nodes: the same replies, silence and counters.

use super::{compare, lines};
use base64::Engine as _;
use emulator::node::{self, AnswerKind, Counters, Desk, Group, NodeView, Profile, Silence};
use emulator::protocol::client::{self, RequestDraft};
use emulator::protocol::filter::Filter;
use emulator::spec::Behaviour;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// One recorded line and the node that it is replayed on.
struct Case {
    line: Value,
    group: Group,
    identity: String,
    broker: String,
}

/// What our node did.
#[derive(Default)]
struct Outcome {
    /// Subject and payload.
    replies: Vec<(String, String)>,
    silence: Option<Silence>,
    counters: Counters,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

/// Recorded texts are no patterns.
fn literal(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

fn literal_facts(value: &Value) -> Value {
    match value {
        Value::String(text) => literal(text).into(),
        Value::Array(items) => items.iter().map(literal_facts).collect(),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| (name.clone(), literal_facts(value)));
            Value::Object(members.collect())
        }
        other => other.clone(),
    }
}

impl Case {
    fn new(line: Value) -> Self {
        let server = &line["server"];
        let Value::Object(facts) = literal_facts(&server["facts"]) else { panic!("facts") };
        let no_config = Map::new();
        let config = server["config"].as_object().unwrap_or(&no_config);
        let profile = Profile {
            name: "replay".to_owned(),
            identity: literal(&text(&server["identity"])),
            collectives: texts(&server["collectives"]),
            agents: texts(&server["agents"]),
            facts,
            classes: texts(&server["classes"]).iter().map(|class| literal(class)).collect(),
            servers: vec![text(&server["connected_broker"])],
            version: text(&server["version"]),
            config_file: text(&server["config_file"]),
            config: config.iter().map(|(item, value)| (item.clone(), text(value))).collect(),
        };
        let group = Group::with_profile(profile, Behaviour::default()).unwrap();
        let (identity, broker) = (group.identity(0), text(&server["connected_broker"]));
        Self { group, identity, broker, line }
    }

    fn id(&self) -> &str {
        self.line["id"].as_str().unwrap()
    }

    /// Why the line is not replayed: what our nodes cannot do.
    fn skipped(&self) -> Option<&'static str> {
        let needs = texts(&self.line["needs"]);
        let needs = |need: &str| needs.iter().any(|other| other == need);
        let machines = !self.line["server"]["machines"].as_array().is_none_or(Vec::is_empty);
        let of_machines = ["scout", "machine-state", "machine_state"];
        let of_machines = of_machines.iter().any(|word| self.id().contains(word));
        if needs("machines") && (machines || self.id().contains("scout")) {
            Some("machines")
        } else if needs("data-plugins") && machines && of_machines {
            Some("data plugins of machines")
        } else {
            None
        }
    }

    fn payload(&self) -> Vec<u8> {
        let request = &self.line["request"];
        if let Some(encoded) = request["payload_base64"].as_str() {
            return base64::engine::general_purpose::STANDARD.decode(encoded).unwrap();
        }
        if let Some(payload) = request["payload"].as_str() {
            return payload.as_bytes().to_vec();
        }
        assert_eq!(request["payload_omitted"], "data.pad is 210,000 times the letter p");
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
        let reply_to = text(&self.line["replies"][0]["subject"]);
        let request_id = reply_to.rsplit('.').next().unwrap();
        client::encode_request(&draft, request_id, &reply_to, &self.broker, self.captured_at())
    }

    #[expect(clippy::cast_possible_truncation, reason = "whole seconds of a clock")]
    fn captured_at(&self) -> i64 {
        self.line["captured_at_unix"].as_f64().unwrap() as i64
    }

    fn replay(&self) -> Outcome {
        let mut outcome = Outcome::default();
        let mut desk = Desk::default();
        let sent = self.line["request"]["subjects"].as_array().map_or(1, Vec::len);
        let mut arriving = vec![self.payload(); sent];
        while let Some(payload) = arriving.pop() {
            let clock = &self.line["replies"][outcome.replies.len()]["clock_unix"];
            let clock = clock.as_i64().unwrap_or(self.captured_at());
            match self.answer(&mut desk, &payload, clock, &mut outcome.counters) {
                Ok((subject, reply)) => {
                    // A node hears what it publishes to its own subject.
                    let own = self.group.profile().collectives.iter();
                    if own
                        .map(|c| client::node_subject(c, &self.identity))
                        .any(|own| own == subject)
                    {
                        arriving.push(reply.as_bytes().to_vec());
                    }
                    outcome.replies.push((subject, reply));
                }
                Err(silence) => outcome.silence = Some(silence),
            }
        }
        outcome
    }

    fn answer(
        &self,
        desk: &mut Desk,
        payload: &[u8],
        clock_unix: i64,
        counters: &mut Counters,
    ) -> Result<(String, String), Silence> {
        let opened = desk.open(payload);
        let mut node = NodeView {
            group: &self.group,
            index: 0,
            identity: &self.identity,
            broker: &self.broker,
            counters,
            started_unix: self.captured_at() - 60,
        };
        node::judge(&mut node, &opened, self.captured_at())?;
        let mut out = Vec::new();
        node::compose(&mut node, &opened, AnswerKind::Normal, clock_unix, &mut out)?;
        Ok((opened.reply_to().unwrap().to_owned(), String::from_utf8(out).unwrap()))
    }

    /// How our node differs from the recorded server; empty if it does not.
    fn differences(&self, departures: &[&str]) -> Vec<String> {
        let ours = self.replay();
        let mut found = Vec::new();
        let real = self.line["replies"].as_array().map_or(&[][..], Vec::as_slice);
        if real.len() != ours.replies.len() {
            let (real, count) = (real.len(), ours.replies.len());
            found.push(format!("replies: real {real}, ours {count} ({:?})", ours.silence));
        }
        let volatile = texts(&self.line["volatile"]);
        let volatile: Vec<_> = volatile.iter().map(String::as_str).collect();
        for (real, (subject, reply)) in real.iter().zip(&ours.replies) {
            if real["subject"] != subject.as_str() {
                found.push(format!("subject: real {}, ours {subject}", real["subject"]));
            }
            let payload = real["payload"].as_str().unwrap();
            found.extend(compare::differences(payload, reply, &volatile, departures));
        }
        if let Some(why) = self.line["why"].as_str()
            && ours.replies.is_empty()
            && ours.silence.map(Silence::why) != Some(why)
        {
            found.push(format!("why: real {why}, ours {:?}", ours.silence));
        }
        if self.line["counters"].is_object() {
            let counters = counters_of(&self.line["counters"]);
            if counters != ours.counters {
                found.push(format!(
                    "counters\n    real: {counters:?}\n    ours: {:?}",
                    ours.counters
                ));
            }
        }
        found
    }
}

fn counters_of(recorded: &Value) -> Counters {
    let count = |name: &str| u32::try_from(recorded[name].as_u64().unwrap()).unwrap();
    Counters {
        total: count("total"),
        validated: count("validated"),
        unvalidated: count("unvalidated"),
        passed: count("passed"),
        filtered: count("filtered"),
        ttl_expired: count("ttlexpired"),
        replies: count("replies"),
        events: 0,
    }
}

/// Replays a file and counts its lines; `departures` are members of the reply that are not compared.
fn replay(file: &str, departures: impl Fn(&str) -> &'static [&'static str]) -> Vec<String> {
    let mut counts = BTreeMap::<String, usize>::new();
    let mut different = Vec::new();
    for line in lines(file) {
        let case = Case::new(line);
        let what = match (case.skipped(), case.line["why"].as_str(), &case.line["outcome"]) {
            (Some(need), ..) => format!("skipped: {need}"),
            (None, Some(why), _) => why.to_owned(),
            (None, None, outcome) => text(outcome),
        };
        *counts.entry(what).or_default() += 1;
        if case.skipped().is_none() {
            let found = case.differences(departures(case.id()));
            if !found.is_empty() {
                different.push(format!("{}\n  {}", case.id(), found.join("\n  ")));
            }
        }
    }
    assert!(different.is_empty(), "{} differ\n{}", different.len(), different.join("\n"));
    counts.into_iter().map(|(what, count)| format!("{what}: {count}")).collect()
}

#[test]
fn every_exchange_is_answered_as_the_real_server_answered_it() {
    let counts = replay("exchanges.jsonl", |_| &[]);
    let expected = [
        "reply: 225",
        "silence: 195",
        "skipped: data plugins of machines: 2",
        "skipped: machines: 9",
    ];
    assert_eq!(counts, expected);
}

#[test]
fn every_edge_case_ends_as_it_ended_on_the_real_server() {
    let counts = replay("edge-cases.jsonl", |_| &[]);
    let expected = [
        "agent gave no answer: 1",
        "agent not hosted: 2",
        "answered: 130",
        "collective not ours: 2",
        "crash: 1",
        "filtered: 37",
        "outside the ttl window: 6",
        "reply not published: 5",
        "request refused: 56",
        "secure request refused: 13",
        "skipped: machines: 1",
        "transport refused: 20",
    ];
    assert_eq!(counts, expected);
}

#[test]
fn every_request_to_the_predecessor_is_answered_as_a_server_of_today_would() {
    // It embeds an older server (protocol document 14, "predecessor").
    let counts = replay("predecessor.jsonl", |id| match id.split('/').next() {
        Some("emulated-inventory") => {
            &["/action", "/data/machines", "/data/upgradable", "/data/data_plugins"]
        }
        Some("emulated-agent-inventory") => {
            &["/action", "/data/agents/0/url", "/data/agents/4/description"]
        }
        _ => &["/action"],
    });
    assert_eq!(counts, ["reply: 16"]);
}
