//! What the fuzz targets hold against any bytes. Each function takes the bytes as they come and panics
//! if a promise is broken. The ordinary tests include this file and run it over recorded seeds.

use std::borrow::Cow;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use emulator::connection::codec::{self, Op, Step};
use emulator::filter::path::FactPath;
use emulator::filter::{CompiledFilter, Filter, Subject, parse_fact};
use emulator::machines::{Machines, Start};
use emulator::node::{self, AnswerKind, Counters, Desk, Group, NodeView, Profile, Silence};
use emulator::pattern::{Pattern, Vars};
use emulator::protocol::client::{ReplyScratch, decode_discovery_sender, decode_reply};
use emulator::spec::Behaviour;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Names of the targets.
pub const TARGETS: [&str; 4] = ["codec", "request", "filter", "reply"];

/// Runs the target of this name.
pub fn run(target: &str, bytes: &[u8]) {
    match target {
        "codec" => codec(bytes),
        "request" => request(bytes),
        "filter" => filter(bytes),
        "reply" => reply(bytes),
        other => panic!("no target {other}"),
    }
}

/// The stream is read the same whole and byte by byte; what is said to be missing is missing.
pub fn codec(bytes: &[u8]) {
    let mut at = 0;
    while at < bytes.len() {
        match codec::next(&bytes[at..]) {
            Ok(Step::Op(op, used)) => {
                assert!(used > 0 && used <= bytes.len() - at);
                if let Op::Message { subject, payload, .. } = op {
                    assert!(subject.len() + payload.len() < used);
                }
                operation_needs_all_of(&bytes[at..at + used], op);
                at += used;
            }
            Ok(Step::Incomplete(need)) => {
                assert!(need > bytes.len() - at);
                return;
            }
            Err(_) => return,
        }
    }
}

fn operation_needs_all_of(operation: &[u8], op: Op<'_>) {
    let step = (operation.len() / 64).max(1);
    for cut in (0..operation.len()).step_by(step) {
        match codec::next(&operation[..cut]) {
            Ok(Step::Incomplete(need)) => assert!(need > cut && need <= operation.len()),
            other => panic!("{other:?} in {cut} of {} bytes of {op:?}", operation.len()),
        }
    }
    assert_eq!(codec::next(operation), Ok(Step::Op(op, operation.len())));
}

/// Any payload is judged; what is answered is a JSON document for a subject that may be written.
///
/// The first byte says which layer the rest is: 1 the secure request, 2 the request, else the payload.
pub fn request(bytes: &[u8]) {
    let payload = layered(bytes, |layer, inner| match layer {
        1 => Some(transport(inner)),
        2 => Some(transport(&secure_request(inner))),
        _ => None,
    });
    let opened = Desk::default().open(&payload);
    let mut counters = Counters::default();
    let mut machines = Machines::start(&Start {
        group: &GROUP,
        seed: 1,
        index: 3,
        identity: "web3.example.net",
        stays: 0,
        now_unix: NOW_UNIX - 100,
        publishes: true,
    });
    let mut node = NodeView {
        group: &GROUP,
        index: 3,
        identity: "web3.example.net",
        broker: "nats://127.0.0.1:4222",
        counters: &mut counters,
        started_unix: NOW_UNIX - 100,
        machines: &mut machines,
    };
    let judged = node::judge(&mut node, &opened, NOW_UNIX);
    if !matches!(judged, Ok(()) | Err(Silence::Expired)) {
        return;
    }
    for kind in [AnswerKind::Normal, AnswerKind::Error] {
        let mut out = b"before".to_vec();
        match node::compose(&mut node, &opened, kind, NOW_UNIX, &mut out) {
            Ok(()) => {
                let document = out.strip_prefix(b"before").expect("appended");
                serde_json::from_slice::<Value>(document).expect("a reply is JSON");
                let subject = opened.reply_to().expect("a reply has a subject");
                assert!(!subject.is_empty() && !subject.contains(char::is_whitespace));
            }
            Err(_) => assert_eq!(out, b"before"),
        }
    }
}

/// Any texts are filters that a node passes or not, and patterns that are refused or worked out.
///
/// The lines of the text: identity, class, agent, fact, fact path, pattern; the rest is a compound entry.
pub fn filter(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.splitn(7, '\n');
    let mut line = || lines.next().unwrap_or_default().to_owned();
    let (identity, class, agent, fact, path, pattern, compound) =
        (line(), line(), line(), line(), line(), line(), line());
    let some = |text: String| if text.is_empty() { vec![] } else { vec![text] };
    let of = Filter::default;
    let filters = [
        Filter { identity: some(identity), ..of() },
        Filter { cf_class: some(class), ..of() },
        Filter { agent: some(agent), ..of() },
        Filter { fact: parse_fact(&fact).into_iter().collect(), ..of() },
        Filter { compound: some(compound).into_iter().map(|entry| vec![entry]).collect(), ..of() },
    ];
    for filter in filters {
        let compiled = CompiledFilter::new(filter.clone());
        assert_eq!(compiled.matches(&Facts), compiled.matches(&Facts));
        let mut written = Vec::new();
        filter.write(&mut written);
        serde_json::from_slice::<Value>(&written).expect("a filter is written as JSON");
    }
    let _ = FactPath::parse(&path).get(&FACTS);
    if let Ok(pattern) = Pattern::parse(&pattern) {
        let mut out = String::new();
        pattern.render(&Vars { index: u64::MAX, group: "web" }, &mut out);
        assert!(pattern.constant().is_none_or(|text| text == out));
    }
}

/// Any payload is a reply or not; scratch that was used before changes nothing.
///
/// The first byte says which layer the rest is: 1 the secure reply, 2 the reply, 3 the body, else all.
pub fn reply(bytes: &[u8]) {
    let payload = layered(bytes, |layer, inner| match layer {
        1 => Some(transport(inner)),
        2 => Some(transport(&secure_reply(&String::from_utf8_lossy(inner)))),
        3 => {
            let body = String::from_utf8_lossy(inner);
            let document = json!({ "protocol": "choria:reply:1", "message": body,
                "envelope": { "requestid": "r", "senderid": "n", "agent": "a", "time": NOW_UNIX } });
            Some(transport(&secure_reply(&document.to_string())))
        }
        _ => None,
    });
    let (mut fresh, mut used) = (ReplyScratch::default(), ReplyScratch::default());
    let _ = decode_reply(br#"{"data":"e30="}"#, &mut used);
    assert_eq!(decode_reply(&payload, &mut fresh).ok(), decode_reply(&payload, &mut used).ok());
    let sender = decode_discovery_sender(&payload, &mut used).ok();
    if let Ok(reply) = decode_reply(&payload, &mut fresh) {
        assert_eq!(sender, Some(reply.sender), "what is a reply is a discovery reply");
    }
}

/// Inputs from the recorded traffic in `testdata`: target and bytes.
pub fn seeds(testdata: &std::path::Path) -> Vec<(&'static str, Vec<u8>)> {
    let mut seeds = Vec::new();
    let captures = testdata.join("captures");
    for line in lines(&captures.join("connections.jsonl")) {
        let steps = line["conversation"].as_array().into_iter().flatten();
        let broker = steps.filter(|step| step["from"] == "broker");
        let bytes: String = broker.filter_map(|step| step["bytes"].as_str()).collect();
        seeds.push(("codec", bytes.into_bytes()));
    }
    for file in ["edge-cases.jsonl", "exchanges.jsonl"] {
        for line in lines(&captures.join(file)).into_iter().step_by(5) {
            if let Some(payload) = line["request"]["payload"].as_str() {
                seeds.extend(layers("request", payload, "message"));
            }
        }
    }
    for line in lines(&captures.join("reply-cases.jsonl")) {
        for payload in line["replies"].as_array().into_iter().flatten() {
            if let Some(payload) = payload["payload"].as_str() {
                seeds.extend(layers("reply", payload, "message"));
            }
        }
    }
    let rows = |file: &str| lines(&testdata.join("filters").join(file)).into_iter().step_by(10);
    let expressions = rows("regular-expressions.jsonl");
    let compounds = rows("expressions.jsonl").chain(rows("machines.jsonl"));
    let entries = expressions
        .map(|row| [row[0].clone(), "true".into()])
        .chain(compounds.map(|row| ["^b".into(), row[0].clone()]));
    for [expression, compound] in entries {
        if let (Some(expression), Some(compound)) = (expression.as_str(), compound.as_str()) {
            let text = format!(
                "/web/\n/{expression}/\nrpc\nos.name=/deb/\nos.*\n{{index % 4}}\n{compound}"
            );
            seeds.push(("filter", text.into_bytes()));
        }
    }
    seeds.retain(|(_, bytes)| bytes.len() < 16 << 10);
    seeds
}

/// A payload and what its layers hold, each with the byte that says which layer it is.
fn layers(target: &'static str, payload: &str, member: &str) -> Vec<(&'static str, Vec<u8>)> {
    let mut found = vec![(target, [&[0], payload.as_bytes()].concat())];
    let document = serde_json::from_str::<Value>(payload).unwrap_or_default();
    let Ok(secure) = STANDARD.decode(document["data"].as_str().unwrap_or_default()) else {
        return found;
    };
    found.push((target, [&[1], secure.as_slice()].concat()));
    let document = serde_json::from_slice::<Value>(&secure).unwrap_or_default();
    if let Some(inner) = document[member].as_str() {
        found.push((target, [&[2], inner.as_bytes()].concat()));
        let document = serde_json::from_str::<Value>(inner).unwrap_or_default();
        if let (true, Some(body)) = (target == "reply", document[member].as_str()) {
            found.push((target, [&[3], body.as_bytes()].concat()));
        }
    }
    found
}

fn lines(file: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn layered(bytes: &[u8], wrap: impl Fn(u8, &[u8]) -> Option<Vec<u8>>) -> Cow<'_, [u8]> {
    let Some((layer, inner)) = bytes.split_first() else { return Cow::Borrowed(bytes) };
    match wrap(*layer, inner) {
        Some(wrapped) => Cow::Owned(wrapped),
        None if *layer == 0 => Cow::Borrowed(inner),
        None => Cow::Borrowed(bytes),
    }
}

fn transport(data: &[u8]) -> Vec<u8> {
    let document = json!({ "protocol": "choria:transport:1", "data": STANDARD.encode(data),
        "headers": { "mc_sender": "n", "reply-to": "mcollective.reply.x.y" } });
    document.to_string().into_bytes()
}

fn secure_request(request: &[u8]) -> Vec<u8> {
    let request = String::from_utf8_lossy(request);
    let document = json!({ "protocol": "choria:secure:request:1", "message": request,
        "signature": "insecure", "pubcert": "insecure" });
    document.to_string().into_bytes()
}

fn secure_reply(reply: &str) -> Vec<u8> {
    let document = json!({ "protocol": "choria:secure:reply:1", "message": reply,
        "hash": STANDARD.encode(Sha256::digest(reply)) });
    document.to_string().into_bytes()
}

/// A second at which some of the recorded requests are valid.
const NOW_UNIX: i64 = 1_795_413_700;

static FACTS: LazyLock<Value> = LazyLock::new(|| {
    json!({ "os": { "name": "Debian", "release": { "major": "12" } }, "count": 8, "speed": 2.6,
        "pools": [{ "name": "a", "size": 3 }, { "name": "b" }], "virtual": true, "none": null,
        "dc": "dc3", "tags": ["prod", "edge"], "big": 9_007_199_254_740_993_u64, "dotted.key": "d" })
});

static GROUP: LazyLock<Group> = LazyLock::new(|| {
    let mut facts = FACTS.as_object().cloned().expect("an object");
    facts.insert("dc".to_owned(), "dc{index % 4}".into());
    let agents = ["discovery", "rpcutil", "choria_util", "emulated0", "scout"];
    let machines = include_str!("../../testdata/captures/machines.json");
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let profile = Profile {
        name: "web".to_owned(),
        identity: "web{index}.example.net".to_owned(),
        collectives: texts(&["mcollective", "web"]),
        agents: texts(&agents),
        classes: texts(&["role::web", "base", "rack{index / 2}"]),
        facts,
        machines: serde_json::from_str(machines).expect("machines"),
        ..Profile::default()
    };
    Group::with_profile(profile, Behaviour::default()).expect("a group")
});

/// A node without patterns.
struct Facts;

impl Subject for Facts {
    fn identity(&self) -> &str {
        "web3.example.net"
    }

    fn any_agent(&self, test: &mut dyn FnMut(&str) -> bool) -> bool {
        ["discovery", "rpcutil"].into_iter().any(test)
    }

    fn any_class(&self, test: &mut dyn FnMut(&str) -> bool) -> bool {
        ["role::web", "base"].into_iter().any(test)
    }

    fn fact(&self, path: &FactPath) -> Option<Cow<'_, Value>> {
        path.get(&FACTS)
    }

    fn data(&self, plugin: &str, query: Option<&str>) -> Option<Value> {
        match (plugin, query) {
            ("choria", None) => Some(json!({ "version": "0.30.2", "machines": ["toggle"] })),
            ("config_item", Some("ttl")) => Some(json!({ "present": true, "value": "60" })),
            ("machine_state", Some("toggle")) => Some(json!({ "state": "off", "id": 1 })),
            ("config_item" | "machine_state" | "scout", Some(_)) => Some(Value::Null),
            _ => None,
        }
    }
}
