//! Values and names that cannot be meant are refused where they stand.

use super::*;

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
        ("status_files: {folder: x, every: 10ms}", "write whole seconds"),
        ("status_files: {folder: x, every: 1500ms}", "write whole seconds"),
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
        ("version: 1", "version: \"1\"", "write `1` without quotes"),
        ("version: 1", "version: 1.0", "`1.0` is no whole number"),
        ("version: 1", "version: true", "expected a whole number, found true or false"),
        ("nodes: 5", "nodes: '5'", "write `5` without quotes"),
        ("nodes: 5", "nodes: 0", "zero nodes"),
        ("nodes: 5", "nodes: -5", "negative"),
        ("nodes: 5", "nodes: many", "whole number"),
        ("nodes: 5", "nodes: [5]", "expected a whole number, found a list"),
        ("rate: 30/m", "rate: -30/m", "negative rate"),
        ("rate: 30/m", "rate: 30", "`30/s`"),
        ("in_flight: 5", "in_flight: 0", "in flight"),
        ("timeout: 3s", "timeout: 3", "`3s` for seconds"),
        ("timeout: 3s", "timeout: 0s", "above zero"),
        ("timeout: 3s", "timeout: 121s", "write `2m` or less"),
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
    let long = |bytes: usize| {
        FULL.replace(
            "{group}-{index}.example.net",
            &format!("{{index:06}}{}", "a".repeat(bytes - 6)),
        )
    };
    assert!(refusal(&long(256), &[]).contains("has 256 bytes, of 255 at most"));
    for fine in [FULL.replace("{group}-{index}.example.net", "{group}-{index}.Zürich_1"), long(255)]
    {
        assert!(parse(&fine, &[]).is_ok());
    }
}

#[test]
fn identities_that_name_files_hold_no_slash() {
    let slash = FULL.replace("{group}-{index}.example.net", "{group}/{index}");
    assert!(parse(&slash, &[]).is_ok(), "a subject may hold one");
    let files = slash.replacen("agents: 2", "agents: 2\n    status_files: {folder: x}", 1);
    assert!(refusal(&files, &[]).contains("`web/0` holds a slash, and names a status file"));
}

#[test]
fn a_status_file_is_one_nodes() {
    let group = |name: &str, more: &str| {
        format!("  - {{group: {name}, identity: twin, shared_identities: true, {more}}}\n")
    };
    let one = |folder: &str| format!("nodes: 2, status_files: {{folder: {folder}, nodes: 1}}");
    for (web, db, says) in [
        ("nodes: 2, status_files: {folder: x}".to_owned(), "nodes: 1".to_owned(), true),
        ("nodes: 1, status_files: {folder: x}".to_owned(), "nodes: 5".to_owned(), false),
        (one("x"), "nodes: 1".to_owned(), false),
        (one("x"), one("x"), true),
        (one("x"), one("./x/"), true),
        (one("x"), one("y"), false),
    ] {
        let text = format!(
            "version: 1\nname: a\nfleet:\n{}{}waves: [{{name: w, discover: {{}}}}]\n",
            group("web", &web),
            group("db", &db)
        );
        let told = parse(&text, &[]).err().map(|error| error.to_string()).unwrap_or_default();
        let said = told.contains("two nodes write the status file `x/twin.json`");
        assert_eq!(said, says, "{text}{told}");
        assert_eq!(told.is_empty(), !says, "{told}");
    }
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
    // A name that stands twice is listed once.
    let again = "  - {name: rpc, discover: {}}\nthresholds:\n";
    let twice = FULL.replace("thresholds:\n", again).replace("wave:rpc", "wave:zzz");
    let told = refusal(&twice, &[]);
    assert!(told.lines().any(|line| line.trim() == "there are: rpc, batch"), "{told}");
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
