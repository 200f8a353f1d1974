//! What real servers published without being asked, beside what our nodes do: the same members in the
//! same types, and equal values but for ids.

use std::collections::{BTreeMap, HashSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use emulator::lifecycle::event::{self, Kind, Source};
use emulator::lifecycle::registration::{self, Publication};
use emulator::lifecycle::status;
use emulator::machines::{Event, Machine, Machines, Start, Topic};
use emulator::node::{self, AnswerKind, Counters, Desk, Group, NodeView, Profile};
use emulator::protocol::client::{self, RequestDraft};
use emulator::protocol::filter::Filter;
use emulator::spec::{Behaviour, Registration, RegistrationContent};
use serde_json::{Value, json};

use super::lines;

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// The payload of a line; a reader relies on its being JSON.
fn payload(line: &Value) -> Value {
    serde_json::from_str(line["payload"].as_str().unwrap()).unwrap()
}

/// Names of members with their kind of value, at every depth, in order.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            Value::Array(members.iter().map(|(name, value)| json!([name, shape(value)])).collect())
        }
        Value::String(_) => "text".into(),
        Value::Number(number) if number.is_f64() => "fraction".into(),
        Value::Number(_) => "integer".into(),
        Value::Bool(_) => "boolean".into(),
        Value::Array(_) | Value::Null => "other".into(),
    }
}

fn is_uuid_4(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && parts.concat().bytes().all(|byte| b"0123456789abcdef".contains(&byte))
        && parts[2].starts_with('4')
        && "89ab".contains(&parts[3][..1])
}

fn check_event(kind: Kind, line: &Value) {
    let mut theirs = payload(line);
    let (identity, version) = (text(&theirs["subject"]), theirs["data"]["version"].clone());
    let timestamp = theirs["data"]["timestamp"].as_i64().unwrap();
    let version = version.as_str().unwrap_or("1.2.3");
    let source = Source { seed: 1, index: 2, stays: 0, identity: &identity, version };
    let mut ours = Vec::new();
    event::write(kind, &source, timestamp, &mut ours);
    let mut ours: Value = serde_json::from_slice(&ours).unwrap();
    assert_eq!(shape(&ours), shape(&theirs), "{line}");
    assert_eq!(kind.subject(), line["subject"]);
    for event in [&mut ours, &mut theirs] {
        assert!(is_uuid_4(event["id"].as_str().unwrap()), "{event}");
        assert_eq!(event["id"], event["data"]["id"]);
        event["id"] = Value::Null;
        event["data"]["id"] = Value::Null;
    }
    assert_eq!(ours, theirs);
}

/// The machines of the recorded servers.
fn definitions() -> Vec<Machine> {
    serde_json::from_value(super::document("machines.json")).unwrap()
}

/// The machines of a node that starts at this second after so many stays.
fn start(group: &Group, identity: &str, stays: u16, now_unix: i64) -> Machines {
    let (seed, index, publishes) = (1, 2, true);
    Machines::start(&Start { group, seed, index, identity, stays, now_unix, publishes })
}

/// What the recorded machines do when they do it at the recorded seconds: one transition is asked for,
/// everything else follows.
fn machine_events(identity: &str, lines: &[Value]) -> Vec<Event> {
    let group = group(
        identity,
        &json!({ "agents": [{ "name": "choria_util" }],
        "collectives": ["mcollective"], "machines": definitions() }),
    );
    let times: Vec<i64> =
        lines.iter().map(|line| payload(line)["data"]["timestamp"].as_i64().unwrap()).collect();
    let mut events = Vec::new();
    // The recorded check ran at its first tick.
    let wait = start(&group, identity, 0, 0).next_unix().unwrap();
    let mut machines = start(&group, identity, 0, times[0] - wait);
    machines.advance(times[0] - 1);
    assert_eq!(machines.take_event(), None);
    machines.advance(times[0]);
    events.extend(std::iter::from_fn(|| machines.take_event()));
    // The transition that it made was not kept by the recording.
    events.retain(|event| event.topic != Topic::Transition);
    let mut machines = start(&group, identity, 1, times[1]);
    let draft = RequestDraft {
        caller_id: "choria=bob".to_owned(),
        sender_id: "ops1.example.net".to_owned(),
        collective: "mcollective".to_owned(),
        agent: "choria_util".to_owned(),
        ttl_s: 60,
        filter: Filter::default(),
        body: client::rpc_body(
            "choria_util",
            "machine_transition",
            &json!({ "name": "toggle", "transition": "switch_on" }),
        ),
    };
    let request = client::encode_request(&draft, &"0".repeat(32), "reply", "", times[1]);
    let opened = Desk::default().open(&request);
    let mut node = NodeView {
        group: &group,
        index: 2,
        identity,
        broker: "",
        counters: &mut Counters::default(),
        started_unix: times[1],
        machines: &mut machines,
    };
    node::judge(&mut node, &opened, times[1]).unwrap();
    node::compose(&mut node, &opened, AnswerKind::Normal, times[1], &mut Vec::new()).unwrap();
    machines.advance(*times.last().unwrap());
    events.extend(std::iter::from_fn(|| machines.take_event()));
    events
}

#[test]
fn machines_say_what_the_recorded_ones_said() {
    let about_machines = |line: &Value| text(&line["subject"]).starts_with("choria.machine.");
    let lines: Vec<Value> = lines("lifecycle.jsonl").into_iter().filter(about_machines).collect();
    assert_eq!(lines.len(), 5);
    let identity = text(&payload(&lines[0])["subject"]);
    let events = machine_events(&identity, &lines);
    let subjects: Vec<&str> = events.iter().map(|event| event.topic.subject()).collect();
    let recorded: Vec<String> = lines.iter().map(|line| text(&line["subject"])).collect();
    assert_eq!(subjects, recorded);
    let mut ids = HashSet::new();
    for (event, line) in events.iter().zip(&lines) {
        let mut ours: Value = serde_json::from_slice(&event.payload).unwrap();
        let mut theirs = payload(line);
        assert_eq!(shape(&ours), shape(&theirs), "{line}");
        for event in [&mut ours, &mut theirs] {
            assert!(is_uuid_4(event["id"].as_str().unwrap()), "{event}");
            assert!(is_uuid_4(event["data"]["id"].as_str().unwrap()), "{event}");
            assert!(ids.insert(event["id"].take()));
            event["data"]["id"].take();
            // The tick of its clock within a second, and how long it took.
            for execution in event["data"]["history"].as_array_mut().into_iter().flatten() {
                let second = execution["execute"].as_str().unwrap()[..19].to_owned();
                execution["execute"] = second.into();
            }
            event["data"]["runtime"].take();
        }
        assert_eq!(ours, theirs);
    }
}

/// The layers of a request: transport, secure request and request without what they carry, and body.
fn layers(transport: &str) -> [Value; 4] {
    let mut transport: Value = serde_json::from_str(transport).unwrap();
    let secure = STANDARD.decode(text(&transport["data"].take())).unwrap();
    let mut secure: Value = serde_json::from_slice(&secure).unwrap();
    let mut request: Value = serde_json::from_str(&text(&secure["message"].take())).unwrap();
    let body = serde_json::from_str(&text(&request["message"].take())).unwrap();
    [transport, secure, request, body]
}

/// The definitions of the machines with these names.
fn names_of(machines: &Value) -> Vec<Machine> {
    let named = |machine: &Machine| {
        let mut names = machines.as_array().into_iter().flatten().map(|shown| &shown["name"]);
        names.any(|name| *name == machine.name.as_str())
    };
    definitions().into_iter().filter(named).collect()
}

/// Our node as the recorded one shows itself.
fn group(identity: &str, content: &Value) -> Group {
    let texts = |value: &Value| value.as_array().into_iter().flatten().map(text).collect();
    let agents = content["agents"].as_array().into_iter().flatten();
    let facts = content["facts"].as_object().cloned().unwrap_or_default();
    let profile = Profile {
        name: "recorded".to_owned(),
        identity: identity.to_owned(),
        collectives: texts(&content["collectives"]),
        agents: agents.map(|agent| text(&agent["name"])).collect(),
        facts,
        classes: texts(&content["classes"]),
        machines: names_of(&content["machines"]),
        version: content["build_info"]["version"].as_str().unwrap_or_default().to_owned(),
        ..Profile::default()
    };
    Group::with_profile(profile, Behaviour::default()).unwrap()
}

fn check_registration(content: RegistrationContent, compression: bool, line: &Value) {
    let [transport, secure, mut request, theirs] = layers(line["payload"].as_str().unwrap());
    let identity = text(&line["server"]);
    let mut shown = theirs["content"].clone();
    if content == RegistrationContent::File {
        shown = json!({ "collectives": ["mcollective"] });
    }
    let group = group(&identity, &shown);
    let now_unix = request["envelope"]["time"].as_i64().unwrap();
    let status = &shown["status"];
    let mut counters = Counters { events: 1, ..Counters::default() };
    let mut machines = start(&group, &identity, 0, now_unix);
    let node = NodeView {
        group: &group,
        index: 3,
        identity: &identity,
        broker: "nats://127.0.0.1:14222",
        counters: &mut counters,
        started_unix: now_unix - status["uptime"].as_i64().unwrap_or(0),
        machines: &mut machines,
    };
    let (interval, splay, target) = (std::time::Duration::ZERO, false, None);
    let registration = Registration { content, interval, splay, compression, target };
    assert_eq!(line["subject"], registration::subject(&registration, "mcollective"));
    let publication = Publication { seed: 1, number: 0, last_message_unix: 0, now_unix };
    let ours = registration::compose(&node, &registration, publication);
    let ours = layers(std::str::from_utf8(&ours).unwrap());
    let id = ours[2]["envelope"]["requestid"].clone();
    assert_eq!(id.as_str().unwrap().len(), 32);
    request["envelope"]["requestid"] = id;
    assert_eq!(ours[..3], [transport, secure, request]);
    assert_eq!(shape(&ours[3]), shape(&theirs));
    if content == RegistrationContent::Inventory {
        assert_eq!(ours[3], json!({ "protocol": theirs["protocol"], "content": shown }));
    }
}

#[test]
fn what_nodes_publish_unasked_has_the_recorded_members_in_the_recorded_types() {
    let mut counts = BTreeMap::<String, usize>::new();
    let mut alives = Vec::new();
    for line in lines("lifecycle.jsonl") {
        let (subject, about) = (text(&line["subject"]), text(&line["about"]));
        let event = Kind::ALL.into_iter().find(|kind| kind.subject() == subject);
        if let Some(kind) = event {
            check_event(kind, &line);
            if kind == Kind::Alive {
                alives.push(payload(&line));
            }
        } else if about.starts_with("registration inventory_content, compression off") {
            check_registration(RegistrationContent::Inventory, false, &line);
        } else if about.starts_with("registration file_content, compressed") {
            check_registration(RegistrationContent::File, true, &line);
        } else {
            // What machines say has a test of its own.
            assert!(subject.starts_with("choria.machine."), "{subject}");
        }
        *counts.entry(subject).or_default() += 1;
    }
    assert_eq!(alives.len(), 2);
    assert_eq!(alives[0], alives[1], "all alive events of a process are the same");
    let expected = [
        ("choria.lifecycle.event.alive.server", 2),
        ("choria.lifecycle.event.shutdown.server", 3),
        ("choria.lifecycle.event.startup.server", 2),
        ("choria.machine.transition", 2),
        ("choria.machine.watcher.nagios.state", 1),
        ("choria.machine.watcher.timer.state", 2),
        ("mcollective.broadcast.agent.registration", 2),
    ];
    assert_eq!(counts, BTreeMap::from(expected.map(|(subject, n)| (subject.to_owned(), n))));
}

#[test]
fn the_status_is_that_of_the_recorded_file() {
    let theirs = super::document("status-file.json");
    let count = |name: &str| u32::try_from(theirs["stats"][name].as_u64().unwrap()).unwrap();
    let mut counters = Counters {
        total: count("total"),
        validated: count("valid"),
        unvalidated: count("invalid"),
        passed: count("passed"),
        filtered: count("filtered"),
        ttl_expired: count("ttlexpired"),
        replies: count("replies"),
        events: count("events"),
    };
    let identity = text(&theirs["identity"]);
    let group = group(&identity, &json!({}));
    let now = theirs["last_message"].as_i64().unwrap();
    let node = NodeView {
        group: &group,
        index: 0,
        identity: &identity,
        broker: theirs["connected_server"].as_str().unwrap(),
        counters: &mut counters,
        started_unix: now - theirs["uptime"].as_i64().unwrap(),
        machines: &mut Machines::default(),
    };
    let ours: Value = serde_json::from_str(&status::compose(&node, now, now)).unwrap();
    assert_eq!(shape(&ours), shape(&theirs));
    assert_eq!(ours, theirs);
}
