//! A scenario is read, overridden and refused as promised.

mod course;
mod network;
mod overriding;
mod refusals;
mod schema;
mod text;

use std::time::Duration;

use super::*;

/// A scenario that uses most keys, whose lines the rows below replace.
const FULL: &str = "\
version: 1
name: full
seed: 7
x-note: {mine: [1, 2]}
brokers:
  topology: single
  nats: 2.12.15
fleet:
  - group: web
    nodes: 10
    x-team: web
    collectives: [mcollective, eu]
    agents: 2
    identity: \"{group}-{index}.example.net\"
    facts: {dc: \"dc{index % 4}\", x-ray: 1}
    classes: [\"role::web\"]
    connect: {rate: 30/m, in_flight: 5, timeout: 3s}
    behaviour: {reply_delay: {uniform: [10ms, 50ms]}, no_reply: 1%}
    fidelity: {subscribe_flush: once, reply_flush: none}
  - group: db
    nodes: 5
client: {callerid: choria=bob, ttl: 60s}
waves:
  - name: rpc
    request: {agent: emulated1, action: generate, data: {size: 9}, filter: {facts: [\"dc=dc1\"]}}
    every: 2s
    count: 3
    deadline: 1m30s
  - name: batch
    request: {agent: rpcutil, action: ping}
    batch: {size: 4}
thresholds:
  \"completeness{wave:rpc}\": [\"min == 100%\"]
  x-later: 1
late_grace: 500ms
";

fn parse(text: &str, overrides: &[&str]) -> Result<Scenario, ScenarioErrors> {
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
    Scenario::parse(text, "full.yaml", &overrides)
}

fn refusal(text: &str, overrides: &[&str]) -> String {
    parse(text, overrides).expect_err("must be refused").to_string()
}

#[test]
fn every_key_is_read_and_own_keys_are_left_alone() {
    let scenario = parse(FULL, &[]).unwrap_or_else(|errors| panic!("{errors}"));
    let web = &scenario.fleet[0];
    assert_eq!(web.nodes, Count(10));
    assert_eq!(web.connect.as_ref().and_then(|c| c.rate), Some(Rate { per_s: 0.5 }));
    let ms = |ms| Span(Duration::from_millis(ms));
    let delay = web.behaviour.as_ref().and_then(|behaviour| behaviour.reply_delay);
    assert_eq!(delay, Some(ReplyDelay::Spread(Spread::Uniform([ms(10), ms(50)]))));
    // A fact may be called as it likes.
    assert_eq!(web.facts.as_ref().map(|facts| facts.0.len()), Some(2));
    assert_eq!(scenario.waves[0].deadline, Some(ms(90_000)));
    assert_eq!(scenario.late_grace, Some(ms(500)));
    let thresholds = scenario.thresholds.map(|thresholds| thresholds.0.len());
    assert_eq!(thresholds, Some(1), "x-later is no threshold");
}

#[test]
fn an_error_shows_file_line_column_the_line_a_caret_and_what_to_write() {
    let text = FULL.replace("    agents: 2", "    agentss: 2").replace("every: 2s", "evrey: 2");
    insta::assert_snapshot!(refusal(&text, &[]), @r"
    full.yaml:13:5: unknown key `agentss`
      13 |     agentss: 2
         |     ^^^^^^^
      did you mean `agents`?
    full.yaml:26:5: unknown key `evrey`
      26 |     evrey: 2
         |     ^^^^^
      did you mean `every`?
    ");
}

/// Replaces `this` by `that` and expects the error at the line of `that` (0: somewhere else), with
/// all of `says` in it.
#[track_caller]
fn check(this: &str, that: &str, says: &[&str]) {
    assert!(FULL.contains(this), "{this} is not in the scenario");
    let text = FULL.replacen(this, that, 1);
    let told = refusal(&text, &[]);
    let line = FULL.lines().position(|line| line.contains(this.lines().next().unwrap_or(this)));
    let place = format!("full.yaml:{}:", line.expect("one line") + 1);
    assert!(told.contains(&place), "{this} -> {that}: not at {place}: {told}");
    for say in says {
        assert!(told.contains(say), "{this} -> {that}: no {say:?} in: {told}");
    }
}

#[test]
fn misspelt_keys_and_values_get_a_suggestion() {
    for (this, that, says) in [
        ("seed: 7", "sed: 7", "did you mean `seed`?"),
        ("topology: single", "topologie: single", "did you mean `topology`?"),
        ("topology: single", "topology: singel", "did you mean `single`?"),
        ("in_flight: 5", "inflight: 5", "did you mean `in_flight`?"),
        ("{uniform: [10ms, 50ms]}", "{unifrom: [10ms, 50ms]}", "did you mean `uniform`?"),
        ("subscribe_flush: once", "subscribe_flush: onse", "did you mean `once`?"),
        ("agent: emulated1", "agent: emulatde1", "did you mean `emulated1`?"),
        ("agent: emulated1", "agent: emulated4", "write `agents: 5`"),
        ("agent: rpcutil", "agent: rpcutils", "did you mean `rpcutil`?"),
        ("{facts: [\"dc=dc1\"]}", "{fatcs: [\"dc=dc1\"]}", "did you mean `facts`?"),
        ("wave:rpc", "wave:rcp", "did you mean `rpc`?"),
        ("completeness{wave:rpc}", "completenes{wave:rpc}", "completeness"),
        ("size: 4", "zzz: 4", "keys here: size, sleep"),
    ] {
        check(this, that, &[says]);
    }
}
