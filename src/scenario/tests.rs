//! A scenario is read, overridden and refused as promised.

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

#[test]
fn what_nodes_say_unasked_must_be_what_a_server_can_do() {
    for (keys, says) in [
        ("events: {alive_every: 1ms}", "write `100ms` or more"),
        ("events: {alive_every: 8days}", "longer than a week"),
        ("events: {startup: 1}", "expected a boolean"),
        ("events: {alife: false}", "did you mean `alive`?"),
        ("registration: {}", "`content` is missing"),
        ("registration: {content: inventory}", "inventory_content"),
        ("registration: {content: file_content, interval: 1500ms}", "write whole seconds"),
        ("registration: {content: file_content, interval: 0s}", "write whole seconds"),
        ("registration: {content: file_content, target: \"a b\"}", "NATS subjects forbid"),
        ("status_files: {every: 30s}", "`folder` is missing"),
        ("status_files: {folder: \"\"}", "without a name"),
        ("status_files: {folder: x, every: 10ms}", "write `1s` or more"),
        ("status_files: {folder: x, nodes: 1001}", "from 1 to 1000"),
    ] {
        let text = FULL.replacen("    agents: 2", &format!("    agents: 2\n    {keys}"), 1);
        let told = refusal(&text, &[]);
        assert!(told.contains("full.yaml:14:") && told.contains(says), "{keys}: {told}");
    }
    check("wave:rpc", "kind:rpc", &["has no tag `kind`"]);
    check(
        "\"completeness{wave:rpc}\": [\"min == 100%\"]",
        "\"events.lost{kind:alife}\": [\"count == 0\"]",
        &["did you mean `alive`?"],
    );
}

#[test]
fn a_request_queue_has_a_bound() {
    let with = |queue: &str| {
        FULL.replacen("    agents: 2", &format!("    agents: 2\n    queue: {queue}"), 1)
    };
    for (queue, says) in [
        ("unbounded", "a queue without a bound"),
        ("unbounded", "write `queue: 10`"),
        ("many", "`many` is no number of places"),
        ("0", "a queue of 0 places"),
        ("{size: 0}", "a queue of 0 places"),
        ("100000", "from 1 to 65536"),
        ("-1", "expected a number of places"),
        ("[10]", "expected a number of places"),
        ("{handling: 5}", "`5s` for seconds"),
        ("{handling: 8days}", "longer than a week"),
        ("{sise: 10}", "did you mean `size`?"),
    ] {
        let told = refusal(&with(queue), &[]);
        assert!(told.contains("full.yaml:14:") && told.contains(says), "{queue}: {told}");
    }
    let us = Duration::from_micros;
    for (queue, size, handling, departs) in [
        ("10", 10, us(100), false),
        ("{}", 10, us(100), false),
        ("{handling: 2ms}", 10, us(2000), false),
        ("5", 5, us(100), true),
        ("{size: 20, handling: 1ms}", 20, us(1000), true),
        ("{handling: 0s}", 10, us(0), true),
    ] {
        let scenario = parse(&with(queue), &[]).unwrap_or_else(|errors| panic!("{errors}"));
        let plan = crate::plan::resolve(&scenario).expect("a plan");
        assert_eq!(plan.groups[0].queue, crate::plan::Queue { size, handling }, "{queue}");
        assert_eq!(!plan.groups[0].queue.departures().is_empty(), departs, "{queue}");
        // Who says nothing has what a real server has.
        assert!(plan.groups[1].queue.departures().is_empty());
    }
}

#[test]
fn values_of_the_wrong_kind_or_unit_are_refused_where_they_stand() {
    for (this, that, says) in [
        ("version: 1", "version: 2", "write `version: 1`"),
        ("nodes: 5", "nodes: 0", "zero nodes"),
        ("nodes: 5", "nodes: -5", "negative"),
        ("nodes: 5", "nodes: many", "whole number"),
        ("nodes: 5", "nodes: [5]", "expected a whole number, found a list"),
        ("rate: 30/m", "rate: -30/m", "negative rate"),
        ("rate: 30/m", "rate: 30", "`30/s`"),
        ("in_flight: 5", "in_flight: 0", "in flight"),
        ("timeout: 3s", "timeout: 3", "`3s` for seconds"),
        ("timeout: 3s", "timeout: 0s", "above zero"),
        ("[10ms, 50ms]", "[50ms, 10ms]", "uniform: [10ms, 50ms]"),
        ("[10ms, 50ms]", "[50ms]", "1"),
        ("{uniform: [10ms, 50ms]}", "20", "`20s` for seconds"),
        ("{uniform: [10ms, 50ms]}", "{lognormal: {median: 1ms, sigma: 9}}", "0 to 5"),
        ("no_reply: 1%", "no_reply: 1", "`1%`"),
        ("no_reply: 1%", "no_reply: 101%", "between 0% and 100%"),
        ("no_reply: 1%", "churn: {share: 0%}", "nobody leaves"),
        ("no_reply: 1%", "churn: {every: 1m}", "share"),
        ("no_reply: 1%", "churn: {share: 5%, away: 60s}", "shorter than a round"),
        ("no_reply: 1%", "churn: {share: 5%, every: 10s}", "shorter than a round"),
        ("no_reply: 1%", "churn: {share: 5%, away: 0s}", "above zero"),
        ("no_reply: 1%", "churn: {share: 5%, each: 1m}", "every"),
        ("no_reply: 1%", "stuck: {}", "after"),
        ("no_reply: 1%", "stuck: {after: 10}", "`10s`"),
        ("callerid: choria=bob", "callerid: bob", "choria=emulator"),
        ("ttl: 60s", "ttl: 10s", "at least `30s`"),
        ("ttl: 60s", "ttl: 60s, receivers: 0", "from 1 to 16"),
        ("every: 2s", "every: 2", "`2s` for seconds"),
        ("every: 2s", "every: 0s", "above zero"),
        ("every: 2s", "every: 30days", "a week"),
        ("count: 3", "count: 0", "from 1"),
        ("size: 4", "size: 0", "zero nodes"),
        ("late_grace: 500ms", "late_grace: soon", "500ms"),
        ("seed: 7", "seed: 7.5", "whole number"),
        ("nats: 2.12.15", "nats: 2.12", "three numbers"),
    ] {
        check(this, that, &[says]);
    }
}

#[test]
fn a_fleet_beyond_all_measure_is_refused() {
    let text = FULL.replace("nodes: 5", "nodes: 2000000");
    assert!(refusal(&text, &[]).contains("at most 1000000 nodes"));
}

#[test]
fn names_must_serve_as_folders_subjects_and_selectors() {
    for (this, that, says) in [
        ("name: full", "name: a/b", "result folder"),
        ("name: full", "name: ..", "result folder"),
        ("group: db", "group: web", "group `web` is there already"),
        ("group: db", "group: a.b", "one word"),
        ("group: db", "group: \"a b\"", "one word"),
        ("[mcollective, eu]", "[mcollective, \"e*\"]", "one word"),
        ("[mcollective, eu]", "[eu, eu]", "listed twice"),
        ("[mcollective, eu]", "[]", "at least the main one"),
        ("name: batch", "name: rpc", "wave `rpc` is there already"),
        ("{group}-{index}.example.net", "{group}.example.net", "two nodes of group `web`"),
        ("{group}-{index}.example.net", "{group}-{indx}", "ind"),
        ("{group}-{index}.example.net", "{group} {index}", "NATS subjects forbid"),
        ("{group}-{index}.example.net", "{group}-{index}..net", "empty part"),
        ("dc{index % 4}", "dc{index % 0}", "dc"),
        ("role::web", "role::{web", "{"),
    ] {
        check(this, that, &[says]);
    }
    let same = FULL.replace(
        "    nodes: 5\n",
        "    nodes: 5\n    identity: \"web-{index - 10}.example.net\"\n",
    );
    assert!(refusal(&same, &[]).contains("a node of group `web` and one of `db`"));
}

#[test]
fn identities_that_subjects_forbid_are_refused_by_name() {
    for (identity, says) in [
        ("a b", "holds ' '"),
        ("a\\tb", "holds '\\t'"),
        ("a\\r\\nPUB x 0", "holds '\\r'"),
        ("a\\0b", "holds '\\0'"),
        ("a\\u00a0b", "NATS subjects forbid"),
        ("a.*.b", "holds '*'"),
        ("a.>", "holds '>'"),
        (".a", "empty part"),
        ("a.", "empty part"),
        ("a..b", "empty part"),
        ("", "an empty name"),
    ] {
        let that = format!("identity: \"{identity}\"");
        check("identity: \"{group}-{index}.example.net\"", &that, &[says, "write an identity"]);
    }
    let fine = FULL.replace("{group}-{index}.example.net", "{group}-{index}.Zürich_1");
    assert!(parse(&fine, &[]).is_ok());
}

#[test]
fn two_nodes_have_one_identity_only_where_every_group_concerned_wants_it() {
    const KEY: &str = "    shared_identities: true\n";
    let web = |text: &str| text.replacen("    agents: 2\n", &format!("    agents: 2\n{KEY}"), 1);
    let within = FULL.replace("{group}-{index}.example.net", "{group}.example.net");
    let told = refusal(&within, &[]);
    assert!(told.contains("two nodes of group `web` have identity `web.example.net`"), "{told}");
    assert!(told.contains("shared_identities: true"), "{told}");
    assert!(parse(&web(&within), &[]).is_ok());
    let between = FULL.replace("    nodes: 5\n", "    nodes: 1\n    identity: web-3.example.net\n");
    let text = between.replace("    nodes: 1\n", &format!("    nodes: 1\n{KEY}"));
    for one in [&between, &text, &web(&between)] {
        assert!(refusal(one, &[]).contains("a node of group `web` and one of `db`"));
    }
    let both = parse(&web(&text), &[]).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(crate::plan::resolve(&both).expect("a plan").groups[1].shared_identities);
}

#[test]
fn waves_and_thresholds_that_cannot_mean_anything_are_refused() {
    for (this, that, says) in [
        (
            "agent: emulated1, action",
            "agent: nosuch, action",
            "no group in collective `mcollective` hosts agent `nosuch`",
        ),
        (
            "agent: rpcutil, action: ping",
            "agent: rpcutil, action: ping, collective: us",
            "no group is in collective `us`",
        ),
        ("batch: {size: 4}", "mode: batch", "batch: {size: 100, sleep: 1s}"),
        ("batch: {size: 4}", "{mode: direct, batch: {size: 4}}", ""),
        ("[\"dc=dc1\"]", "[\"dc\"]", "fact=value"),
        ("topology: single", "topology: federation", "not there yet"),
        ("topology: single", "topology: external", "needs the URLs"),
        ("nats: 2.12.15", "urls: [\"nats://127.0.0.1:4222\"]", "topology: external"),
        ("min == 100%", "min == 5s", "100%"),
        ("min == 100%", "mean == 100%", "`mean` is no aggregation"),
        ("[\"min == 100%\"]", "[]", "at least one"),
        ("completeness{wave:rpc}", "response_times", "response_time"),
        ("completeness{wave:rpc}", "nosuch", "write one of completeness, response_time, "),
        (
            "\"completeness{wave:rpc}\": [\"min == 100%\"]",
            "\"missing.late{group:wob}\": [\"count == 0\"]",
            "there is no group `wob`",
        ),
        ("completeness{wave:rpc}", "completeness{client:2}", "from 1 to 1"),
    ] {
        check(this, that, &[says]);
    }
    let both = "    every: 2s\n    discover: {}";
    assert!(refusal(&FULL.replace("    every: 2s", both), &[]).contains("not both"));
    let none = FULL.replace("    request: {agent: rpcutil, action: ping}\n", "");
    assert!(refusal(&none, &[]).contains("asks nothing"));
}

#[test]
fn more_waves_than_a_run_can_remember_are_refused() {
    const TEXT: &str = "version: 1\nname: a\nfleet: [{group: a, nodes: 1}]\nwaves:\n";
    let text = |rows: &[&str]| {
        let row = |(number, row): (usize, &&str)| format!("  - {{name: w{number}, {row}}}\n");
        format!("{TEXT}{}", rows.iter().enumerate().map(row).collect::<String>())
    };
    for (rows, says) in [
        (&["discover: {}, count: 100000"][..], None),
        (&["discover: {}, count: 50000, clients: 2"], None),
        (&["discover: {}, count: 50000, clients: 2", "discover: {}"], Some("100001 waves")),
        (&["discover: {}, count: 99999, warmup: 2"], Some("100001 waves")),
        (&["discover: {}, clients: 1000", "discover: {}, clients: 1000"], None),
        (
            &["discover: {}, clients: 1000", "discover: {}, clients: 1000", "discover: {}"],
            Some("2001 entries"),
        ),
    ] {
        let told = parse(&text(rows), &[]).err().map(|error| error.to_string());
        match says {
            None => assert_eq!(told, None, "{rows:?}"),
            Some(says) => {
                let told = told.unwrap_or_default();
                assert!(told.contains(says) && told.contains("several scenarios"), "{told}");
            }
        }
    }
}

#[test]
fn brokers_that_cannot_be_meant_are_refused() {
    let watched =
        |url: &str| format!("topology: external\n  urls: [\"nats://a\"]\n  monitoring: [{url:?}]");
    for (that, says) in [
        ("size: 3", "`size` is for how brokers are joined, not for topology `single`"),
        ("topology: cluster\n  size: 1", "for one broker write `topology: single`"),
        ("topology: cluster\n  size: 101", "from 2 to 100"),
        ("topology: cluster\n  size: 999999999999", "from 2 to 100"),
        ("topology: supercluster\n  clusters: 20\n  size: 20", "at most 100 brokers"),
        ("topology: supercluster\n  clusters: 1", "write `topology: cluster`"),
        ("topology: leafnodes\n  clusters: 2", "`topology: supercluster` beside it"),
        ("topology: leafnodes\n  leaves: 0", "without leaves"),
        ("topology: leafnodes\n  nats: 1.4.1", "no leafnodes: 2.0.0 is the first release"),
        ("topology: supercluster\n  nats: 1.4.1", "no gateways: 2.0.0 is the first release"),
        ("topology: cluster\n  nats: {n1: 2.9.25, n2: 1.4.1}", "2.0.0 is the first release"),
        ("topology: cluster\n  nats: {n1: 2.9.25, n7: 2.14.5}", "there is no broker `n7`"),
        ("topology: cluster\n  nats: {n1: newest}", "three numbers"),
        ("topology: cluster\n  nats: [2.9.25, 2.14.5]", "`{n1: \"2.9.25\"}`"),
        ("nats: 2.14.5\n  path: {n1: /bin/nats-server}", "both say which nats-server n1 is"),
        ("config: {port: 4222}", "`port` is ours to say"),
        ("config: 7", "a map or text"),
        ("config_for: {leaf1: {debug: true}}", "there is no broker `leaf1`"),
        ("environment: {\"GO-GC\": 50}", "cannot name a variable"),
        ("environment: {GOGC: [50]}", "expected"),
        ("form_within: 0s", "above zero"),
        ("urls: [\"nats://a\"]", "`topology: external` beside it"),
        ("monitoring: [\"http://a\"]", "`topology: external` beside it"),
        ("system_creds: sys.creds", "`topology: external` beside it"),
        (&watched("nats://a:4222"), "no URL of a web server"),
        (&watched("a:8222"), "no URL of a web server"),
        (&watched("http://bob:pass@a"), "a user or a password"),
        (&watched("http://a/varz?x=1"), "more than an address"),
        ("topology: external\n  urls: [\"nats://a\"]\n  profiling: true", "started here"),
    ] {
        let told = refusal(&FULL.replace("topology: single\n  nats: 2.12.15", that), &[]);
        assert!(told.contains(says), "{that}: {told}");
        assert!(told.starts_with("full.yaml:"), "{told}");
    }
    let leaves = FULL.replace("topology: single", "topology: leafnodes");
    for (key, value, says) in [
        ("fleet.web.brokers", "leef1", "did you mean `leaf1`?"),
        ("fleet.web.brokers", "[]", "no broker at all"),
        ("fleet.web.brokers", "{leaf1: 0}", "from 1 to 1000"),
        ("fleet.web.brokers", "7", "`{leaf1: 3, leaf2: 1}`"),
        ("fleet.web.fallback", "[n1]", "there is no broker `n1`"),
        ("client.brokers", "c1", "there is no broker `c1`"),
    ] {
        let told = refusal(&leaves, &[&format!("{key}={value}")]);
        assert!(told.contains(says), "{key}={value}: {told}");
    }
}

#[test]
fn actions_and_sizes_that_our_nodes_do_not_answer_are_refused() {
    for (this, that, says) in [
        ("action: ping", "action: pnig", "did you mean `ping`?"),
        ("action: generate", "action: nosuch", "there are: generate, exit_emulator"),
        ("rpcutil, action: ping", "choria_util, action: inf", "did you mean `info`?"),
        ("size: 9", "size: -1", "from 0 to 8388608"),
        ("size: 9", "size: 8388609", "an answer of 8388609 bytes"),
        ("size: 9", "size: 99999999999999", "from 0 to 8388608"),
        ("size: 9", "size: 1.5", "a whole number"),
        ("size: 9", "size: many", "a whole number"),
    ] {
        check(this, that, &[says]);
    }
    assert!(parse(&FULL.replace("size: 9", "size: 8388608"), &[]).is_ok());
    let told = refusal(&FULL.replace("size: 9", "size: -1"), &[]);
    assert!(told.starts_with("full.yaml:25:64: "), "{told}");
    assert!(refusal(FULL, &["waves.batch.request.action=pong"]).starts_with("-P waves.batch"));
}

#[test]
fn what_is_quoted_is_cut_around_the_place() {
    for (text, says) in [
        ("[".repeat(100_000), "full.yaml:1:"),
        (FULL.replace("name: full", &format!("name: {}/", "x".repeat(5000))), "result folder"),
        (FULL.replace("seed: 7", &format!("{}: 7", "s".repeat(900))), "unknown key"),
    ] {
        let told = refusal(&text, &[]);
        assert!(told.contains(says) && told.contains('…') && told.contains('^'), "{told}");
        assert!(told.lines().all(|line| line.chars().count() < 200), "{told}");
        let lines: Vec<&str> = told.lines().collect();
        let caret = lines.iter().position(|line| line.contains('^')).expect("a caret");
        assert!(lines[caret].chars().count() <= lines[caret - 1].chars().count(), "{told}");
    }
    // The place is shown also where it is far to the right, under its caret.
    let text = FULL.replace("seed: 7", &format!("x-a: {{b: {}, c: [}}", "1".repeat(300)));
    let told = refusal(&text, &[]);
    assert!(told.contains("c: [}") && told.contains(" | …"), "{told}");
    // Neither is a secret, however long the line.
    let url = format!("nats://bob:{}hunter2@broker", "h".repeat(300));
    let told = refusal(&FULL.replace("nats: 2.12.15", &format!("urls: [{url:?}]")), &[]);
    assert!(!told.contains("hunter2") && !told.contains("hhh"), "{told}");
}

#[test]
fn what_is_wrong_with_the_yaml_is_said_to_whoever_writes_it() {
    let many = format!("x-many: [{}]\n{FULL}", "1,".repeat(300_000));
    let deep = format!("x-deep: {}{}\n{FULL}", "[".repeat(70), "]".repeat(70));
    for (text, says) in [
        (FULL.replace("seed: 7", "name: full"), "the key `name` is there already\n"),
        (format!("{FULL}---\n{FULL}"), "a second document begins here\n"),
        (many, "than any scenario needs\n"),
        (deep, "than any scenario needs\n"),
    ] {
        let told = refusal(&text, &[]);
        assert!(told.contains(says), "{told}");
        for word in ["Options", "from_str", "breach", "Policy"] {
            assert!(!told.contains(word), "{told}");
        }
    }
}

#[test]
fn secrets_in_urls_are_refused_and_not_repeated() {
    for url in ["nats://bob:hunter2@broker:4222", "nats://hunter2@broker", "bob:hunter2@broker"] {
        let told = refusal(&FULL.replace("nats: 2.12.15", &format!("urls: [{url:?}]")), &[]);
        assert!(told.contains("a user, a password or a token"), "{told}");
        assert!(told.contains("--creds") && told.contains("@broker"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
        let told = refusal(FULL, &[&format!("brokers.urls=[{url:?}]")]);
        assert!(told.contains("-P brokers.urls") && !told.contains("hunter2"), "{told}");
    }
}

#[test]
fn broken_yaml_is_refused_with_its_place() {
    for (text, place) in [
        ("version: 1\nname: [a\n", "full.yaml:"),
        ("version: 1\nversion: 1\n", "full.yaml:2:1"),
        ("", "full.yaml:1:1"),
        ("- 1\n", "full.yaml:1:"),
        ("version: 1\n\tname: x\n", "full.yaml:1:"),
    ] {
        let told = refusal(text, &[]);
        assert!(told.contains(place), "{text:?}: {told}");
    }
}

#[test]
fn overrides_reach_maps_lists_by_name_and_by_index_and_what_is_not_written_yet() {
    let scenario = parse(
        FULL,
        &[
            "seed=8",
            "fleet.db.nodes=500",
            "fleet.0.agents=4",
            "waves.rpc.count=9",
            "client.identity=me.example.net",
            "brokers.nats=2.10.29",
            "fleet.db.behaviour.reply_delay={lognormal: {median: 40ms, sigma: 0.6}}",
            "thresholds.broker.slow_consumers=[\"count == 0\"]",
        ],
    )
    .unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(scenario.seed, Some(Count(8)));
    assert_eq!(scenario.fleet[1].nodes, Count(500));
    assert_eq!(scenario.fleet[0].agents, Some(Count(4)));
    assert_eq!(scenario.waves[0].count, Some(Count(9)));
    assert_eq!(scenario.client.and_then(|c| c.identity).as_deref(), Some("me.example.net"));
    let nats = scenario.brokers.and_then(|brokers| brokers.nats);
    assert_eq!(nats, Some(PerBroker::All("2.10.29".to_owned())));
    assert_eq!(scenario.thresholds.map(|t| t.0.len()), Some(2));
    assert!(scenario.fleet[1].behaviour.is_some());
}

#[test]
fn an_override_that_finds_nothing_names_what_is_there() {
    for (text, says) in [
        ("seed", "fleet.default.nodes=500"),
        ("=5", "empty name"),
        ("fleet.dbb.nodes=5", "did you mean `db`?"),
        ("fleet.default.nodes=5", "entries here: web, db"),
        ("fleet.9.nodes=5", "entries here: web, db"),
        ("fleet.web.classes.5=x", "index from 0 to 0"),
        ("fleet.web.noodes=5", "did you mean `nodes`?"),
        ("fleet.web.nodes.x=5", "end the path there"),
        ("fleet.web.nodes=0", "zero nodes"),
        ("waves.rpc.every=5", "`5s` for seconds"),
        ("seed=[1", "YAML value after the `=`"),
    ] {
        let told = refusal(FULL, &[text]);
        assert!(told.starts_with(&format!("-P {text}: ")), "{text}: {told}");
        assert!(told.contains(says), "{text}: no {says:?} in: {told}");
    }
}

#[test]
fn what_was_run_is_the_file_with_its_overrides_written_in() {
    let overrides = ["fleet.db.nodes=500", "seed=8", "client={identity: \"a: #b\"}", "name=2.10"];
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
    let commented = format!("# A question?\n{FULL}");
    let written = |overrides: &[String]| Scenario::text_as_run(&commented, "full.yaml", overrides);
    assert_eq!(written(&[]).expect("as it stands"), commented);
    let text = written(&overrides[..2]).expect("written");
    assert!(
        text.starts_with("# A question?\n# run with -P fleet.db.nodes=500\n# run with -P seed=8\n")
    );
    let read =
        |text: &str, overrides| Scenario::parse(text, "full.yaml", overrides).expect("valid");
    assert_eq!(read(&text, &[]), read(FULL, &overrides[..2]));
    // Texts that look like something else stay texts.
    let odd = yaml::parse(&written(&overrides).expect("written")).expect("yaml");
    let odd = read::read::<serde_json::Value>(&odd).expect("any value");
    assert_eq!(odd["client"]["identity"], "a: #b");
    assert!(Scenario::text_as_run(FULL, "full.yaml", &["fleet.x.nodes=1".to_owned()]).is_err());
}

#[test]
fn only_a_network_that_is_there_already_may_have_nodes_of_its_own() {
    let text = "version: 1\nname: there\nfleet: []\nwaves: [{name: a, request: {agent: package, action: status}}]\n";
    assert!(refusal(text, &[]).contains("a fleet without groups"));
    let external =
        format!("{text}brokers: {{topology: external, urls: [\"nats://127.0.0.1:4222\"]}}\n");
    let scenario = parse(&external, &[]).unwrap_or_else(|errors| panic!("{errors}"));
    let plan = crate::plan::resolve(&scenario).expect("resolves");
    assert_eq!((plan.nodes(), plan.entries[0].collective.as_str()), (0, MAIN_COLLECTIVE));
}

#[test]
fn the_checked_in_schema_is_the_one_of_the_types() {
    let checked_in = include_str!("../../scenarios/schema.json");
    assert!(
        checked_in == json_schema_text(),
        "scenarios/schema.json is not current: cargo run -- schema > scenarios/schema.json"
    );
}

#[test]
fn the_schema_accepts_what_the_reader_accepts_and_refuses_its_mistakes() {
    let validator = jsonschema::validator_for(&json_schema()).expect("a schema");
    let valid = |text: &str| validator.is_valid(&as_json(text).expect("yaml"));
    let quoted = FULL.replace("nats: 2.12.15", "nats: \"2.12.15\"");
    assert!(valid(&quoted));
    for (this, that) in [
        ("seed: 7", "sed: 7"),
        ("nodes: 5", "nodes: 0"),
        ("rate: 30/m", "rate: 30"),
        ("every: 2s", "every: 2"),
        ("topology: single", "topology: mesh"),
        ("topology: single", "topology: cluster\n  size: 0"),
        ("no_reply: 1%", "no_reply: 1"),
        ("no_reply: 1%", "churn: {}"),
        ("no_reply: 1%", "stuck: {after: 5}"),
        ("{uniform: [10ms, 50ms]}", "{uniform: [10ms]}"),
    ] {
        assert!(!valid(&quoted.replacen(this, that, 1)), "{that}");
    }
}

#[test]
fn a_timeline_that_cannot_be_carried_out_is_refused_with_what_to_write() {
    let base = "version: 1\nname: t\nfleet: [{group: a, nodes: 1}]\n\
                waves: [{name: rpc, discover: {}, every: 1s, count: 5}]\n";
    for (more, says) in [
        ("timeline: [{at: 1s, restart: n2}]", &["no broker `n2`", "did you mean `n1`?"][..]),
        ("timeline: [{at: 1s, restart: []}]", &["no broker is named", "n1"]),
        ("timeline: [{restart: n1}]", &["without its time", "at: 20s"]),
        ("timeline: [{at: 1s, after: {wave: rpc}, restart: n1}]", &["both say when"]),
        ("timeline: [{after: {wave: rpd}, restart: n1}]", &["no wave `rpd`", "`rpc`"]),
        ("timeline: [{after: {wave: rpc, number: 6}, kill: n1}]", &["no wave rpc 6", "1 to 5"]),
        ("timeline: [{after: {wave: rpc}, kill: n1}]", &["no wave is sent after", "at 4s"]),
        ("timeline: [{at: 5s, kill: n1}]", &["no wave is sent after", "at 4s"]),
        ("timeline: [{at: 1s}]", &["does nothing", "`lame_duck`"]),
        ("timeline: [{at: 1s, kill: n1, start: n1}]", &["one thing: `start` or `kill`"]),
        ("timeline: [{at: 1s, pause: n1}]", &["pause without its length", "for: 5s"]),
        ("timeline: [{at: 1s, kill: n1, for: 1s}]", &["`for` has no meaning for `kill`"]),
        ("timeline: [{at: 1s, replace: n1}]", &["nothing to replace it with"]),
        ("timeline: [{at: 1s, replace: n1, nats: new}]", &["no version of nats-server"]),
        ("timeline: [{at: 1s, restart: n1, rolling: hole}]", &["`whole`"]),
        ("timeline: [{at: 1s, kill: n1}, {at: 2s, kill: n1}]", &["is called `kill` as well"]),
        ("timeline: [{at: 1s, restrat: n1}]", &["did you mean `restart`?"]),
        (
            "brokers: {topology: external, urls: [\"nats://a:4222\"]}\n\
             timeline: [{at: 1s, kill: n1}]",
            &["brokers that are started here"],
        ),
        (
            "timeline: [{at: 1s, kill: n1}]\n\
             thresholds: {\"recovery.nodes_lost{step:kil}\": [\"max == 0\"]}",
            &["no step `kil`", "did you mean `kill`?"],
        ),
        (
            "thresholds: {recovery.time_to_full: [\"max < 1s\"]}",
            &["nothing is done to the brokers", "timeline: ["],
        ),
    ] {
        let text = format!("{base}{more}\n");
        let told = refusal(&text, &[]);
        for say in says {
            assert!(told.contains(say), "{more}: no {say:?} in: {told}");
        }
    }
}
