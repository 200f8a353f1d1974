//! What nodes of a fleet's group answer: values worked out per node, errors as the scenario asks,
//! actions that no recording shows.

use emulator::homes::Homes;
use emulator::machines::Machines;
use emulator::node::{self, AnswerKind, Counters, Desk, Group, NodeView, Silence};
use emulator::protocol::client::{self, ReplyScratch, RequestDraft};
use emulator::protocol::filter::{FactFilter, Filter};
use emulator::spec::{Behaviour, Connect, Fidelity, GroupSpec, Lifecycle, Login, MoreAgents};
use serde_json::{Value, json};
use std::time::Duration;

const NOW: i64 = 1_795_413_316;
const BROKER: &str = "nats://127.0.0.1:4222";
const REPLY_TO: &str = "mcollective.reply.x.y";

fn group() -> Group {
    Group::new(&spec()).unwrap()
}

pub(super) fn spec() -> GroupSpec {
    let facts = json!({ "dc": "dc{index % 4}", "rack": "{index / 10}", "site": "{group}" });
    GroupSpec {
        name: "web".to_owned(),
        first: 100,
        nodes: 50,
        identity: "{group}-{index:05}.example.net".to_owned(),
        collectives: vec!["mcollective".to_owned(), "eu".to_owned()],
        emulated_agents: 2,
        more_agents: MoreAgents::default(),
        machines: Vec::new(),
        facts: facts.as_object().unwrap().clone(),
        classes: vec!["role::{group}".to_owned(), "Base".to_owned(), "rack{index / 10}".to_owned()],
        behaviour: Behaviour::default(),
        servers: Vec::new(),
        homes: Homes::default(),
        login: Login::default(),
        source_addresses: Vec::new(),
        connect: Connect { rate_per_s: None, in_flight: 1, timeout: Duration::from_secs(2) },
        fidelity: Fidelity::default(),
        shown: None,
        lifecycle: Lifecycle::default(),
    }
}

pub(super) fn request(agent: &str, body: String, filter: Filter) -> Vec<u8> {
    request_in("mcollective", agent, body, filter)
}

pub(super) fn request_in(collective: &str, agent: &str, body: String, filter: Filter) -> Vec<u8> {
    let draft = RequestDraft {
        caller_id: "choria=ops1.example.net".to_owned(),
        sender_id: "ops1.example.net".to_owned(),
        collective: collective.to_owned(),
        agent: agent.to_owned(),
        ttl_s: 60,
        filter,
        body,
    };
    client::encode_request(&draft, "974662d8140b4a55ba53ca33103c7a4e", REPLY_TO, BROKER, NOW)
}

/// Judges and answers one request; the reply's sender and body.
pub(super) fn answer(
    desk: &mut Desk,
    group: &Group,
    index: u64,
    counters: &mut Counters,
    payload: &[u8],
    kind: AnswerKind,
) -> Result<(String, String), Silence> {
    let opened = desk.open(payload);
    let identity = group.identity(index);
    let mut node = NodeView {
        group,
        index,
        identity: &identity,
        broker: BROKER,
        counters,
        started_unix: NOW - 60,
        machines: &mut Machines::default(),
    };
    node::judge(&mut node, &opened, NOW)?;
    let mut out = Vec::new();
    node::compose(&mut node, &opened, kind, NOW, &mut out)?;
    assert_eq!(opened.reply_to(), Some(REPLY_TO));
    let mut scratch = ReplyScratch::default();
    let reply = client::decode_reply(&out, &mut scratch).unwrap();
    Ok((reply.sender_id.into_owned(), reply.body.to_owned()))
}

fn ask(agent: &str, action: &str, data: Value, kind: AnswerKind) -> Result<Value, Silence> {
    let payload = request(agent, client::rpc_body(agent, action, &data), Filter::default());
    let mut counters = Counters::default();
    let answer = answer(&mut Desk::default(), &group(), 142, &mut counters, &payload, kind);
    answer.map(|(_, body)| serde_json::from_str(&body).unwrap())
}

const ERROR: &str = "error reply of an emulated node, as its scenario asks";

/// The body of a reply.
fn reply(action: &str, code: u8, message: &str, data: Value) -> Value {
    json!({ "action": action, "statuscode": code, "statusmsg": message, "data": data })
}

#[test]
fn what_no_recording_shows_of_emulated_agents_is_answered_too() {
    let normal = AnswerKind::Normal;
    for (agent, action, data, kind, expected) in [
        (
            "emulated1",
            "generate",
            json!({ "size": 3 }),
            normal,
            Ok(reply("generate", 0, "OK", json!({ "message": "012" }))),
        ),
        (
            "emulated1",
            "generate",
            json!({ "size": 3 }),
            AnswerKind::Error,
            Ok(reply("generate", 1, ERROR, json!({}))),
        ),
        (
            "emulated1",
            "exit_emulator",
            json!({}),
            normal,
            Ok(reply(
                "exit_emulator",
                1,
                "exit_emulator is not obeyed by this emulator",
                json!({}),
            )),
        ),
        (
            "emulated1",
            "generate",
            json!({ "size": 1_000_000_000_000_i64 }),
            normal,
            Err(Silence::NotPublished),
        ),
        ("emulated2", "generate", json!({}), normal, Err(Silence::NotHosted)),
        ("rpcutil", "ping", json!({}), AnswerKind::Error, Ok(reply("ping", 1, ERROR, json!({})))),
    ] {
        assert_eq!(ask(agent, action, data, kind), expected, "{agent}#{action}");
    }
}

#[test]
fn what_no_recording_shows_of_stock_agents_is_answered_too() {
    for (agent, action, data, expected) in [
        (
            "choria_util",
            "machine_states",
            json!({}),
            reply(
                "machine_states",
                0,
                "OK",
                json!({ "machine_ids": [], "machine_names": [], "states": {} }),
            ),
        ),
        (
            "rpcutil",
            "get_data",
            json!({ "source": "scout", "query": "x" }),
            reply("get_data", 0, "OK", json!({})),
        ),
        (
            "rpcutil",
            "get_data",
            json!({ "source": "machine_state", "query": "x" }),
            reply("get_data", 0, "OK", Value::Null),
        ),
        (
            "rpcutil",
            "get_config_item",
            json!({ "item": "identity" }),
            reply(
                "get_config_item",
                0,
                "OK",
                json!({ "item": "identity", "value": "web-00142.example.net" }),
            ),
        ),
        (
            "rpcutil",
            "get_facts",
            json!({ "facts": "dc, rack,nope" }),
            reply(
                "get_facts",
                0,
                "OK",
                json!({ "values": { "dc": "dc2", "nope": null, "rack": 14 } }),
            ),
        ),
    ] {
        let answer = ask(agent, action, data, AnswerKind::Normal);
        assert_eq!(answer, Ok(expected), "{agent}#{action}");
    }
}

#[test]
fn nodes_show_what_their_index_makes_of_them() {
    let inventory = ask("rpcutil", "inventory", json!({}), AnswerKind::Normal).unwrap();
    let expected = json!({
        "agents": ["choria_util", "discovery", "emulated0", "emulated1", "rpcutil"],
        "classes": ["Base", "rack14", "role::web"],
        "collectives": ["mcollective", "eu"],
        "data_plugins": ["choria", "config_item", "machine_state", "scout"],
        "facts": { "dc": "dc2", "rack": 14, "site": "web" },
        "machines": [], "main_collective": "mcollective", "version": "0.30.2", "upgradable": false,
    });
    assert_eq!(inventory["data"], expected);
}

#[test]
fn one_request_is_answered_by_each_node_that_its_filter_means() {
    let dc = FactFilter { fact: "dc".into(), operator: "==".into(), value: "dc1".into() };
    let filter = Filter { fact: vec![dc], agent: vec!["emulated0".into()], ..Filter::default() };
    let payload = request("discovery", client::DISCOVERY_BODY.to_owned(), filter);
    let (group, mut desk) = (group(), Desk::default());
    let mut counters = Counters::default();
    let mut answered = Vec::new();
    for index in 100..108 {
        let kind = AnswerKind::Error;
        match answer(&mut desk, &group, index, &mut counters, &payload, kind) {
            Ok((sender, body)) => answered.push((sender, body)),
            Err(silence) => assert_eq!(silence, Silence::Filtered),
        }
    }
    // Discovery knows no error replies.
    let pong = |identity: &str| (identity.to_owned(), "pong".to_owned());
    assert_eq!(answered, [pong("web-00101.example.net"), pong("web-00105.example.net")]);
    let expected = Counters {
        total: 8,
        validated: 2,
        passed: 2,
        filtered: 6,
        replies: 2,
        ..Counters::default()
    };
    assert_eq!(counters, expected);
}

#[test]
fn a_node_tells_its_counters_without_the_reply_it_is_making() {
    let (group, mut desk) = (group(), Desk::default());
    let mut counters = Counters { total: 9, unvalidated: 4, ..Counters::default() };
    let body = client::rpc_body("rpcutil", "daemon_stats", &json!({}));
    let payload = request("rpcutil", body, Filter::default());
    let mut stats = Value::Null;
    for _ in 0..2 {
        let (_, body) =
            answer(&mut desk, &group, 100, &mut counters, &payload, AnswerKind::Normal).unwrap();
        stats = serde_json::from_str(&body).unwrap();
    }
    let data = &stats["data"];
    let counted =
        ["total", "unvalidated", "passed", "validated", "replies"].map(|name| &data[name]);
    assert_eq!(counted, [11, 4, 2, 2, 1]);
    assert_eq!(data["starttime"], NOW - 60);
}

/// As a server of go-choria 0.30.2 was seen to answer.
#[test]
fn inputs_of_the_wrong_type_are_refused_in_the_words_of_the_real_server() {
    let group = Group::new(&spec()).unwrap();
    for (agent, body, says) in [
        (
            "rpcutil",
            r#"{"agent":"rpcutil","action":"get_config_item","data":{"item":72}}"#,
            "rpcutil#get_config_item: json: cannot unmarshal number into Go struct field GetConfigItemRequest.item of type string",
        ),
        (
            "rpcutil",
            r#"{"agent":"rpcutil","action":"get_data","data":[]}"#,
            "rpcutil#get_data: json: cannot unmarshal array into Go value of type rpcutil.GetDataRequest",
        ),
        (
            "rpcutil",
            r#"{"action":"get_fact","data":"x"}"#,
            "#get_fact: json: cannot unmarshal string into Go value of type rpcutil.input",
        ),
        (
            "choria_util",
            r#"{"agent":"s t","action":"machine_state","data":1}"#,
            "s t#machine_state: json: cannot unmarshal number into Go value of type choriautil.machineStateRequest",
        ),
    ] {
        let payload = request(agent, body.to_owned(), Filter::default());
        let mut counters = Counters::default();
        let mut desk = Desk::default();
        let (_, reply) =
            answer(&mut desk, &group, 0, &mut counters, &payload, AnswerKind::Normal).unwrap();
        let reply: serde_json::Value = serde_json::from_str(&reply).unwrap();
        let said = format!("Could not parse request data for {says}");
        assert_eq!(
            (&reply["statuscode"], &reply["statusmsg"]),
            (&4.into(), &said.into()),
            "{body}"
        );
    }
}
