//! Nodes that host agents beyond the usual: found by filters, listed in inventories, answering.

use super::answers::{answer, request, spec};
use emulator::agents::ddl::{Ddl, DdlAgent};
use emulator::node::{AnswerKind, Counters, Desk, Group, Silence};
use emulator::protocol::client;
use emulator::protocol::filter::Filter;
use emulator::spec::MoreAgents;
use serde_json::{Value, json};

const DDL: &str = r#"{
    "metadata": {"name": "parcel", "license": "MIT", "author": "A <a@example.net>", "timeout": 7,
        "version": "1.2.3", "url": "https://example.net", "description": "Parcels", "provider": "external"},
    "actions": [{"action": "send", "input": {"to": {"type": "string", "maxlength": 5}},
        "output": {"where": {"type": "string"}, "sent": {"type": "boolean", "default": false}}}]
}"#;

/// A group whose nodes host scout, choria_provision and the user's agent.
fn group() -> Group {
    let replies = json!({ "send": { "data": { "where": "shelf {index % 10}" } } });
    let own = DdlAgent {
        ddl: Ddl::parse(DDL).unwrap(),
        replies: serde_json::from_value(replies).unwrap(),
    };
    let stock = vec!["scout".to_owned(), "choria_provision".to_owned()];
    let more_agents = MoreAgents { stock, ddl: vec![own] };
    Group::new(&emulator::spec::GroupSpec { emulated_agents: 1, more_agents, ..spec() }).unwrap()
}

fn ask_with(filter: Filter, agent: &str, body: String, kind: AnswerKind) -> Result<Value, Silence> {
    let mut counters = Counters::default();
    let payload = request(agent, body, filter);
    let answer = answer(&mut Desk::default(), &group(), 142, &mut counters, &payload, kind);
    answer.map(|(_, body)| serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

fn ask(agent: &str, action: &str, data: &Value) -> Result<Value, Silence> {
    let body = client::rpc_body(agent, action, data);
    ask_with(Filter::default(), agent, body, AnswerKind::Normal)
}

#[test]
fn they_are_subscribed_after_the_usual_ones() {
    let expected =
        ["discovery", "rpcutil", "choria_util", "scout", "choria_provision", "emulated0", "parcel"];
    assert_eq!(group().agents(), expected);
}

#[test]
fn discovery_finds_them_by_name_and_by_expression() {
    for (agents, found) in [
        (&["parcel"][..], true),
        (&["/^par/", "scout"], true),
        (&["choria_provision"], true),
        (&["parcels"], false),
        (&["parcel", "emulated1"], false),
    ] {
        let agent = agents.iter().map(|agent| (*agent).to_owned()).collect();
        let filter = Filter { agent, ..Filter::default() };
        let body = client::DISCOVERY_BODY.to_owned();
        let expected = if found { Ok(json!("pong")) } else { Err(Silence::Filtered) };
        assert_eq!(ask_with(filter, "discovery", body, AnswerKind::Normal), expected, "{agents:?}");
    }
}

#[test]
fn inventories_list_them_with_what_their_ddl_says() {
    let names =
        ["choria_provision", "choria_util", "discovery", "emulated0", "parcel", "rpcutil", "scout"];
    let inventory = ask("rpcutil", "inventory", &json!({})).unwrap();
    assert_eq!(inventory["data"]["agents"], json!(names));
    let inventory = ask("rpcutil", "agent_inventory", &json!({})).unwrap();
    let shown = |name: &str| {
        let agents = inventory["data"]["agents"].as_array().unwrap();
        agents.iter().find(|agent| agent["agent"] == name).unwrap().clone()
    };
    let parcel = json!({
        "agent": "parcel", "license": "MIT", "author": "A <a@example.net>", "timeout": 7,
        "name": "parcel", "version": "1.2.3", "url": "https://example.net", "description": "Parcels",
        "provider": "external",
    });
    assert_eq!(shown("parcel"), parcel);
    for (name, timeout_s, description) in [
        ("scout", 20, "Choria Scout Agent Management API"),
        ("choria_provision", 20, "Choria Provisioner"),
    ] {
        let agent = shown(name);
        assert_eq!(
            (&agent["timeout"], &agent["description"]),
            (&json!(timeout_s), &json!(description))
        );
        assert!(agent.get("provider").is_none(), "{agent}");
    }
}

#[test]
fn they_answer_as_real_servers_do() {
    let reply = |action: &str, code: u8, message: &str, data: Value| {
        Ok(json!({ "action": action, "statuscode": code, "statusmsg": message, "data": data }))
    };
    for (agent, action, data, expected) in [
        (
            "parcel",
            "send",
            json!({ "to": "bob" }),
            reply("send", 0, "OK", json!({ "where": "shelf 2", "sent": false })),
        ),
        (
            "parcel",
            "send",
            json!({ "to": "bob", "by": "air" }),
            reply(
                "send",
                1,
                "Validation failed: request contains an input 'by' that is not declared in the DDL. \
                 Valid inputs are: to",
                json!({}),
            ),
        ),
        (
            "parcel",
            "sned",
            json!({}),
            reply("sned", 2, "Unknown action sned for agent parcel", json!({})),
        ),
        ("scout", "checks", json!({}), reply("checks", 0, "OK", json!({ "checks": [] }))),
        (
            "choria_provision",
            "jwt",
            json!({}),
            reply(
                "jwt",
                1,
                "Cannot reconfigure a server that is not in provisioning mode",
                json!({}),
            ),
        ),
        ("parcels", "send", json!({}), Err(Silence::NotHosted)),
    ] {
        assert_eq!(ask(agent, action, &data), expected, "{agent}#{action} {data}");
    }
    let unparsable = ask_with(Filter::default(), "parcel", "{".to_owned(), AnswerKind::Normal);
    assert_eq!(unparsable.unwrap()["statuscode"], 4);
    let body = client::rpc_body("parcel", "send", &json!({ "to": "bob" }));
    let error = ask_with(Filter::default(), "parcel", body, AnswerKind::Error);
    assert_eq!(error.unwrap()["statuscode"], 1);
}
