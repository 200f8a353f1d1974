//! Every configuration item that a real server knows, as `testdata/configuration` has it.

use crate::answers::{answer, request_in, spec};
use emulator::fidelity::{config_items, config_text};
use emulator::homes::{Home, Homes};
use emulator::node::{AnswerKind, Counters, Desk, Group, Profile};
use emulator::protocol::client;
use emulator::protocol::filter::Filter;
use emulator::spec::{
    Behaviour, GroupSpec, Lifecycle, Login, MoreAgents, Registration, RegistrationContent, Server,
    StatusFiles,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// A server that was asked.
#[derive(Debug, Deserialize)]
struct Asked {
    identity: String,
    config_file: String,
    config: BTreeMap<String, String>,
    items: Map<String, Value>,
}

/// All servers, each with the values of all items.
fn asked() -> Vec<Asked> {
    let path = format!("{}/testdata/configuration/items.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let mut asked: Vec<Asked> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let usual = asked[0].items.clone();
    for one in &mut asked {
        let others = std::mem::replace(&mut one.items, usual.clone());
        one.items.extend(others);
    }
    asked
}

/// A node configured as that server.
fn group(asked: &Asked) -> Group {
    let collectives = asked.items["collectives"].as_array().unwrap();
    let profile = Profile {
        identity: asked.identity.clone(),
        collectives: collectives.iter().map(|name| name.as_str().unwrap().to_owned()).collect(),
        agents: vec!["rpcutil".to_owned()],
        config_file: asked.config_file.clone(),
        config: asked.config.clone(),
        ..Profile::default()
    };
    Group::with_profile(profile, Behaviour::default()).unwrap()
}

/// The reply's body.
fn ask(group: &Group, action: &str, data: &Value) -> Value {
    ask_node(group, 0, "rpcutil", action, data)
}

fn ask_node(group: &Group, index: u64, agent: &str, action: &str, data: &Value) -> Value {
    let body = client::rpc_body(agent, action, data);
    let collective = &group.profile().collectives[0];
    let payload = request_in(collective, agent, body, Filter::default());
    let mut desk = Desk::default();
    let mut counters = Counters::default();
    let (_, body) =
        answer(&mut desk, group, index, &mut counters, &payload, AnswerKind::Normal).unwrap();
    serde_json::from_str(&body).unwrap()
}

#[test]
fn every_item_of_every_configuration_is_shown_as_the_real_server_shows_it() {
    let (mut compared, mut different) = (0, Vec::new());
    for asked in asked() {
        let group = group(&asked);
        for (item, value) in &asked.items {
            compared += 1;
            let got = ask(&group, "get_config_item", &json!({ "item": item }));
            let expected = json!({ "action": "get_config_item", "statuscode": 0,
                "statusmsg": "OK", "data": { "item": item, "value": value } });
            if got != expected {
                let text = asked.config.get(item);
                different.push(format!("{item} = {text:?}: {value}, not {}", got["data"]));
            }
            let got = ask(&group, "get_data", &json!({ "source": "config_item", "query": item }));
            if got["data"] != json!({ "present": true, "value": value }) {
                different.push(format!("config_item {item}: {value}, not {}", got["data"]));
            }
        }
    }
    assert!(different.is_empty(), "{} differ\n{}", different.len(), different.join("\n"));
    assert_eq!(compared, 163 * 20);
}

#[test]
fn what_a_server_shows_tells_what_it_is_configured_with() {
    for mut asked in asked() {
        let text =
            |(item, value): (&String, &Value)| Some((item.clone(), config_text(item, value)?));
        asked.config = asked.items.iter().filter_map(text).collect();
        let group = group(&asked);
        for (item, value) in &asked.items {
            let got = ask(&group, "get_config_item", &json!({ "item": item }));
            assert_eq!(got["data"]["value"], *value, "{item} = {:?}", asked.config.get(item));
        }
    }
    assert_eq!(config_items().collect::<Vec<_>>(), asked()[0].items.keys().collect::<Vec<_>>());
}

#[test]
fn what_is_no_items_exact_name_is_an_unknown_key() {
    let group = group(&asked()[0]);
    let unknown = json!({ "action": "get_config_item", "statuscode": 1,
        "statusmsg": "Unknown key", "data": {} });
    for item in
        ["", "nosuch", "TTL", "ttl ", "plugin", "plugin.choria", "Identity", "plugin.yaml.x"]
    {
        assert_eq!(ask(&group, "get_config_item", &json!({ "item": item })), unknown, "{item}");
    }
}

#[test]
fn a_node_shows_what_a_server_is_configured_with_that_does_what_it_does() {
    let server = |port| Server::at(([127, 0, 0, 1], port).into());
    let home = |servers: &[u16]| Home { weight: 1, servers: servers.to_vec() };
    let registration = Registration {
        content: RegistrationContent::File,
        interval: Duration::from_secs(60),
        splay: false,
        compression: false,
        target: Some("inventory.x".to_owned()),
    };
    let status = StatusFiles { folder: "/run/x".into(), every: Duration::from_secs(9), nodes: 1 };
    let text = |text: &str| Some(text.to_owned());
    let mut does_much = GroupSpec {
        servers: vec![server(1), server(2), server(3)],
        homes: Homes::new(vec![home(&[0]), home(&[2, 1])]),
        login: Login { user: text("node"), password: text("secret"), token: None },
        lifecycle: Lifecycle {
            registration: Some(registration),
            status_files: Some(status),
            ..Lifecycle::default()
        },
        ..spec()
    };
    does_much.connect.timeout = Duration::from_millis(1500);
    let scout = MoreAgents { stock: vec!["scout".to_owned()], ..MoreAgents::default() };
    let does_little = GroupSpec { more_agents: scout, ..spec() };
    let [much, little] = [does_much, does_little].map(|spec| Group::new(&spec).unwrap());
    // The indexes of the first two nodes.
    for (item, first, second, plain) in [
        ("identity", json!("web-00100.example.net"), json!("web-00101.example.net"), None),
        ("collectives", json!(["mcollective", "eu"]), json!(["mcollective", "eu"]), None),
        (
            "plugin.choria.middleware_hosts",
            json!(["127.0.0.1:1"]),
            json!(["127.0.0.1:3", "127.0.0.1:2"]),
            Some(Value::Null),
        ),
        (
            "plugin.choria.network.connect_timeout",
            json!(1_500_000_000),
            json!(1_500_000_000),
            Some(json!(2_000_000_000)),
        ),
        (
            "plugin.choria.status_file_path",
            json!("/run/x/web-00100.example.net.json"),
            json!(""),
            Some(json!("")),
        ),
        ("plugin.choria.status_update_interval", json!(9), json!(9), Some(json!(30))),
        ("plugin.scout.agent_disabled", json!(true), json!(true), Some(json!(false))),
        ("registration", json!(["file_content"]), json!(["file_content"]), Some(Value::Null)),
        ("registerinterval", json!(60), json!(60), Some(json!(300))),
        ("registration_splay", json!(false), json!(false), Some(json!(true))),
        (
            "plugin.choria.registration.file_content.compression",
            json!(false),
            json!(false),
            Some(json!(true)),
        ),
        (
            "plugin.choria.registration.file_content.target",
            json!("inventory.x"),
            json!("inventory.x"),
            Some(json!("")),
        ),
        (
            "plugin.choria.registration.file_content.data",
            json!("/etc/choria/facts.json"),
            json!("/etc/choria/facts.json"),
            Some(json!("")),
        ),
        ("plugin.yaml", json!("/etc/choria/facts.json"), json!("/etc/choria/facts.json"), None),
        ("plugin.nats.user", json!("node"), json!("node"), Some(json!(""))),
        ("plugin.nats.pass", json!(""), json!(""), None),
    ] {
        let shown = |group, index| {
            let asked = json!({ "item": item });
            ask_node(group, index, "rpcutil", "get_config_item", &asked)["data"]["value"].take()
        };
        let plain = plain.unwrap_or_else(|| first.clone());
        let got = [shown(&much, 100), shown(&much, 101), shown(&little, 100)];
        assert_eq!(got, [first, second, plain], "{item}");
    }
    let info = &ask_node(&much, 101, "choria_util", "info", &json!({}))["data"];
    assert_eq!(info["middleware_servers"], json!(["127.0.0.1:3", "127.0.0.1:2"]));
    assert_eq!([&info["srv_domain"], &info["using_srv"]], [&json!(""), &json!(false)]);
    let options = &info["client_options"];
    assert_eq!(options["servers"], json!(["nats://127.0.0.1:3", "nats://127.0.0.1:2"]));
    assert_eq!(options["connect_timeout"], json!(1.5));
}
