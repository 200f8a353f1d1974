//! What machines do in time, and what is bounded about it.

use super::*;
use crate::node::{self, Counters, Desk, Group, NodeView, Profile, Silence};
use crate::protocol::client::{self, RequestDraft};
use crate::protocol::filter::Filter;
use crate::spec::Behaviour;
use serde_json::{Value, json};
use std::collections::HashSet;

const NOW: i64 = 1_000_000;

fn machine(value: Value) -> Machine {
    serde_json::from_value(value).unwrap()
}

/// A check every minute that finds `status`.
fn heartbeat(status: &str) -> Machine {
    machine(json!({
        "name": "heartbeat", "version": "1.0.0", "initial_state": "UNKNOWN",
        "transitions": [
            { "name": "OK", "from": ["UNKNOWN", "FORCE_CHECK"], "destination": "OK" },
            { "name": "WARNING", "from": ["OK", "UNKNOWN"], "destination": "WARNING" },
            { "name": "FORCE_CHECK", "from": ["OK", "WARNING"], "destination": "FORCE_CHECK" },
            { "name": "MAINTENANCE", "from": ["OK", "WARNING"], "destination": "MAINTENANCE" },
        ],
        "watchers": [{ "name": "check", "state_match": ["UNKNOWN", "OK", "WARNING"],
            "watches": { "nagios": { "interval_s": 60, "plugin": "p", "status": status, "output": " x " } } }],
    }))
}

fn toggle() -> Machine {
    machine(json!({
        "name": "toggle", "version": "0.2.0", "initial_state": "off", "path": "/m/t",
        "transitions": [
            { "name": "on", "from": ["off"], "destination": "on" },
            { "name": "again", "from": ["on"], "destination": "on" },
            { "name": "off", "from": ["on"], "destination": "off" },
        ],
        "watchers": [{ "name": "alarm", "state_match": ["on"],
            "watches": { "timer": { "seconds": 10, "fail_transition": "off" } } }],
    }))
}

fn group(machines: &[Machine]) -> Group {
    let profile = Profile {
        identity: "web1".to_owned(),
        collectives: vec!["mcollective".to_owned()],
        agents: vec!["rpcutil".to_owned()],
        machines: machines.to_vec(),
        ..Profile::default()
    };
    Group::with_profile(profile, Behaviour::default()).unwrap()
}

fn start(group: &Group, index: u64, stays: u16) -> Machines {
    let (seed, identity, now_unix, publishes) = (7, "web1", NOW, true);
    Machines::start(&Start { group, seed, index, identity, stays, now_unix, publishes })
}

fn states(machines: &Machines) -> Vec<&str> {
    machines.by_name().iter().map(View::state).collect()
}

fn told(machines: &Machines, now_unix: i64) -> Value {
    serde_json::from_str(&machines.by_name()[0].full(now_unix)).unwrap()
}

fn events(machines: &mut Machines) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(event) = machines.take_event() {
        let event: Value = serde_json::from_slice(&event.payload).unwrap();
        let data = &event["data"];
        let what = [&data["transition"], &data["status"], &data["state"]];
        told.push(what.into_iter().find_map(Value::as_str).unwrap().to_owned());
    }
    told
}

#[test]
fn transitions_are_made_or_refused_in_the_words_of_a_real_server() {
    let group = group(&[toggle(), heartbeat("OK")]);
    let none = "could not find machine matching criteria name='', version='', path='', id=''";
    let refused = |state: &str| Err(format!("transition on is not valid while in {state} state"));
    let id = start(&group, 0, 0).by_name()[1].id();
    for (wanted, expected) in [
        (["toggle", "", "", ""], Ok(())),
        (["", "0.2.0", "", ""], Ok(())),
        (["", "", "/m/t", ""], Ok(())),
        (["", "", "", &id], Ok(())),
        (["toggle", "", "", &id], Ok(())),
        (["heartbeat", "", "", ""], refused("UNKNOWN")),
        (["", "", "", ""], Err(none.to_owned())),
        (
            ["heartbeat", "", "", &id],
            Err(none
                .replace("name=''", "name='heartbeat'")
                .replace("id=''", &format!("id='{id}'"))),
        ),
    ] {
        let mut machines = start(&group, 0, 0);
        assert_eq!(machines.transition(wanted, "on", NOW), expected, "{wanted:?}");
        if expected.is_ok() {
            assert_eq!(machines.transition(wanted, "on", NOW), refused("on"));
        }
    }
    let mut nothing = Machines::default();
    let uninitialized = Err("autonomous agent host not initialized".to_owned());
    assert_eq!(nothing.transition(["toggle", "", "", ""], "on", NOW), uninitialized);
}

#[test]
fn a_timer_runs_in_its_states_and_a_transition_to_the_same_state_is_none() {
    let group = group(&[toggle()]);
    let mut machines = start(&group, 0, 0);
    assert_eq!(machines.next_unix(), None);
    machines.transition(["toggle", "", "", ""], "on", NOW).unwrap();
    assert_eq!(machines.next_unix(), Some(NOW), "its events wait");
    assert_eq!(events(&mut machines), ["on", "running"]);
    machines.transition(["toggle", "", "", ""], "again", NOW + 4).unwrap();
    assert_eq!((events(&mut machines), machines.next_unix()), (Vec::new(), Some(NOW + 10)));
    machines.advance(NOW + 9);
    assert_eq!(states(&machines), ["on"]);
    machines.advance(NOW + 10);
    assert_eq!((states(&machines), machines.next_unix()), (vec!["off"], Some(NOW + 10)));
    assert_eq!(events(&mut machines), ["stopped", "off"]);
    // Whoever switches it off early stops the timer.
    machines.transition(["toggle", "", "", ""], "on", NOW + 20).unwrap();
    machines.transition(["toggle", "", "", ""], "off", NOW + 21).unwrap();
    assert_eq!(events(&mut machines), ["on", "running", "off", "stopped"]);
    assert_eq!(machines.next_unix(), None);
}

#[test]
fn checks_run_at_their_interval_when_forced_and_never_in_other_states() {
    let group = group(&[heartbeat("WARNING")]);
    let mut machines = start(&group, 3, 0);
    let first = machines.next_unix().unwrap();
    assert!((NOW + 60..NOW + 120).contains(&first));
    let current = |machines: &Machines| told(machines, NOW)["current_state"].clone();
    let before = current(&machines);
    assert_eq!(
        json!([before["status"], before["status_code"], before["plugin"], before["history"]]),
        json!(["NOTCHECKED", 5, "", []])
    );
    machines.advance(first + 65);
    let after = current(&machines);
    assert_eq!(
        json!([after["status"], after["status_code"], after["output"], after["check_time"]]),
        json!(["WARNING", 1, "x", first + 60])
    );
    assert_eq!(after["history"].as_array().unwrap().len(), 2);
    assert_eq!(events(&mut machines), ["WARNING", "WARNING", "WARNING"]);
    machines.transition(["heartbeat", "", "", ""], "FORCE_CHECK", first + 70).unwrap();
    // There is no way to WARNING from there.
    assert_eq!(events(&mut machines).len(), 2);
    assert_eq!(states(&machines), ["FORCE_CHECK"]);
    machines.advance(first + 500);
    assert_eq!(current(&machines)["history"].as_array().unwrap().len(), 3, "no check out there");
}

#[test]
fn a_check_that_is_maintained_shows_ok_as_on_a_real_server() {
    let group = group(&[heartbeat("WARNING")]);
    let mut machines = start(&group, 0, 0);
    machines.advance(machines.next_unix().unwrap());
    machines.transition(["heartbeat", "", "", ""], "MAINTENANCE", NOW + 200).unwrap();
    assert_eq!(told(&machines, NOW)["current_state"]["status"], "OK");
    assert_eq!(told(&machines, NOW)["available_transitions"], Value::Null);
}

#[test]
fn a_clock_that_jumps_costs_little_and_delays_nothing() {
    const YEAR: i64 = 365 * 86_400;
    let group = group(&[heartbeat("WARNING"), toggle()]);
    for jump in [YEAR, i64::MAX - NOW, -YEAR, -NOW, i64::MIN + 1] {
        let mut machines = start(&group, 0, 0);
        machines.transition(["toggle", "", "", ""], "on", NOW).unwrap();
        assert_eq!(events(&mut machines).len(), 2);
        let now = NOW.saturating_add(jump);
        assert_eq!(machines.next_in_s(now), Some(0), "whoever waits for it wakes up");
        machines.advance(now);
        let waiting = events(&mut machines).len();
        assert!(waiting <= 12, "{waiting} events after {jump}");
        assert_eq!(machines.take_lost() > 0, jump > 0);
        assert_eq!(states(&machines)[1], if jump > 0 { "off" } else { "on" });
        let history = told(&machines, now)["current_state"]["history"].as_array().unwrap().len();
        assert_eq!(history, if jump > 0 { 15 } else { 0 });
        // The next check is no further away than before.
        if let Some(next) = machines.next_unix() {
            assert!(next.saturating_sub(now) <= 120, "{} s", next.saturating_sub(now));
        }
    }
}

#[test]
fn checks_that_force_checks_come_to_an_end() {
    let mut endless = heartbeat("OK");
    endless.transitions = ["OK", "FORCE_CHECK"]
        .map(|to| Transition {
            name: "OK".to_owned(),
            from: vec![if to == "OK" { "FORCE_CHECK" } else { "OK" }.to_owned()],
            destination: to.to_owned(),
        })
        .into();
    endless.initial_state = "OK".to_owned();
    endless.watchers[0].state_match.clear();
    let mut machines = start(&group(&[endless]), 0, 0);
    machines.advance(machines.next_unix().unwrap());
    assert!(told(&machines, NOW)["current_state"]["history"].as_array().unwrap().len() <= 15);
}

#[test]
fn a_node_has_the_same_machines_everywhere_and_other_ids_than_any_other() {
    let group = group(&[heartbeat("OK"), toggle()]);
    let mut ids = HashSet::new();
    let mut phases = HashSet::new();
    for index in 0..50 {
        for stays in 0..3 {
            let machines = start(&group, index, stays);
            assert_eq!(told(&machines, NOW), told(&start(&group, index, stays), NOW));
            assert!(machines.by_name().iter().all(|machine| ids.insert(machine.id())));
            phases.insert(machines.next_unix());
        }
    }
    assert!(phases.len() > 30, "{phases:?}");
}

#[test]
fn expressions_may_ask_for_machines_and_checks() {
    let group = group(&[heartbeat("OK"), toggle()]);
    for (expression, meant) in [
        ("scout('heartbeat').state == 'OK'", true),
        ("scout('heartbeat').state == 'CRITICAL'", false),
        ("machine_state('toggle').state == 'off'", true),
        ("machine_state('/m/t').version == '0.2.0'", true),
        ("scout('toggle').state == 'off'", false),
        ("machine_state('nosuch').state == 'off'", false),
        ("machine_state('nosuch').state != 'off'", true),
        ("machine_state('nosuch') == nil", true),
        ("machine_state('nosuch').state.deeper == nil", false),
        ("scout('nosuch') == nil", false),
        // Nil, and a map without members all the same.
        ("len(machine_state('nosuch')) == 0", true),
        ("(machine_state('nosuch') ?? machine_state('other')).state == nil", true),
        ("machine_state('nosuch')?.state.deeper == nil", true),
        // Refused, as no map is any of these.
        ("machine_state('nosuch') != 'off'", false),
        ("true or scout('nosuch')", false),
    ] {
        let compound = vec![vec![expression.to_owned()]];
        let draft = RequestDraft {
            caller_id: "choria=bob".to_owned(),
            sender_id: "bob".to_owned(),
            collective: "mcollective".to_owned(),
            agent: "rpcutil".to_owned(),
            ttl_s: 60,
            filter: Filter { compound, ..Filter::default() },
            body: client::rpc_body("rpcutil", "ping", &json!({})),
        };
        let now = NOW + 200;
        let request = client::encode_request(&draft, &"0".repeat(32), "reply", "", now);
        let opened = Desk::default().open(&request);
        let mut node = NodeView {
            group: &group,
            index: 0,
            identity: "web1",
            broker: "",
            counters: &mut Counters::default(),
            started_unix: NOW,
            machines: &mut start(&group, 0, 0),
        };
        let judged = node::judge(&mut node, &opened, now);
        assert_eq!(judged, if meant { Ok(()) } else { Err(Silence::Filtered) }, "{expression}");
    }
}
