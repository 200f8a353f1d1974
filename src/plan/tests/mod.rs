//! A plan is the same every time, its schedule is known in advance, its arithmetic adds up.

mod budget;
mod network;
mod shipped;

use std::collections::HashSet;
use std::time::Duration;

use super::*;
use crate::scenario::Scenario;

const SMALL: &str = "\
version: 1
name: small
fleet:
  - {group: web, nodes: 3000, collectives: [mcollective, eu], agents: 7}
  - {group: db, nodes: 1000, connect: {rate: 200/s}}
waves:
  - {name: all, discover: {}, every: 2s, count: 2, warmup: 1, clients: 3}
  - {name: some, request: {agent: emulated6, action: generate, filter: {facts: [a=b]}}, mode: direct}
  - {name: slices, request: {agent: rpcutil, action: ping}, batch: {size: 1000}}
";

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");

fn plan(text: &str) -> Plan {
    let beside =
        |file: &str| std::fs::read_to_string(format!("{FOLDER}/{file}")).map_err(|e| e.to_string());
    let scenario = Scenario::parse_with(text, "small.yaml", &[], &beside);
    let scenario = scenario.unwrap_or_else(|e| panic!("{e}"));
    resolve(&scenario).expect("resolves")
}

fn shipped() -> impl Iterator<Item = (String, String)> {
    let files =
        std::fs::read_dir(FOLDER).expect("scenarios").map(|entry| entry.expect("entry").path());
    files.filter(|path| path.extension().is_some_and(|end| end == "yaml")).map(|path| {
        let text = std::fs::read_to_string(&path).expect("readable");
        (path.file_stem().expect("a name").to_string_lossy().into_owned(), text)
    })
}

#[test]
fn the_same_scenario_has_the_same_digest_on_every_machine() {
    assert_eq!(plan(SMALL), plan(SMALL));
    // Whoever changes this changes plans: results of before and after do not compare.
    insta::assert_snapshot!(plan(SMALL).digest(), @"sha256:2d686235d9a2a223c75092b3bc6cb53cb78501ea2174911948ce196fe3a5c6ef");
    assert_ne!(plan(SMALL).digest(), plan(&SMALL.replace("3000", "3001")).digest());
}

#[test]
fn the_order_of_keys_in_the_file_does_not_change_the_plan() {
    let turned = SMALL.replace("{group: db, nodes: 1000,", "{nodes: 1000, group: db,");
    assert_ne!(turned, SMALL);
    assert_eq!(plan(&turned).digest(), plan(SMALL).digest());
}

#[test]
fn a_plan_survives_its_json() {
    for text in shipped().map(|(_, text)| text).chain([SMALL.to_owned()]) {
        let plan = plan(&text);
        let json = serde_json::to_string(&plan).expect("json");
        let again: Plan = serde_json::from_str(&json).expect("plan");
        assert_eq!(again, plan);
        assert_eq!(again.digest(), plan.digest());
    }
}

#[test]
fn nodes_say_unasked_what_a_real_server_says_unless_told_otherwise() {
    let usual = plan(SMALL);
    assert_eq!(usual.event_kinds(), ["startup", "alive", "shutdown"]);
    assert!(usual.registration_subjects().is_empty());
    assert!(usual.groups.iter().all(|group| group.event_departures().is_empty()));
    let mut told = usual.clone();
    for group in &mut told.groups {
        group.events.startup = false;
        group.registration = Some(super::Registration {
            content: super::RegistrationContent::FileContent,
            interval: Duration::from_secs(300),
            splay: true,
            compression: true,
            target: Some("inventory.in".to_owned()),
        });
    }
    told.groups[0].events.alive_every = Duration::from_secs(1);
    assert_eq!(told.event_kinds(), ["alive", "shutdown", "registration"]);
    assert_eq!(told.registration_subjects(), ["inventory.in"]);
    assert_eq!(
        told.groups[0].event_departures(),
        ["no startup event, where a server publishes one", "alive events every 1s, not 30m"]
    );
    assert_ne!(told.digest(), usual.digest());
}

#[test]
fn what_no_server_does_by_itself_departs_and_what_one_can_come_to_does_not() {
    for (habits, departs) in [
        (
            "behaviour: {no_reply: 10%}",
            Some("10 % of requests without an answer, where a server answers each"),
        ),
        (
            "behaviour: {error_reply: 2.5%}",
            Some("2.5 % of RPC requests with an error reply, whatever they ask for"),
        ),
        (
            "behaviour: {stuck: {after: 5s}}",
            Some("sockets take a few KiB without being read (`stuck`), where a server's take more"),
        ),
        (
            "fidelity: {reply_flush: none}",
            Some("no flush after a reply, where a server flushes after each"),
        ),
        ("queue: 20", Some("a request queue of 20, where a server has 10")),
        ("events: {startup: false}", Some("no startup event, where a server publishes one")),
        ("behaviour: {no_reply: 0%, error_reply: 0%}", None),
        // A slow agent is given up as by a server.
        ("behaviour: {reply_delay: 600s}", None),
        ("behaviour: {churn: {share: 5%}}", None),
    ] {
        let plan = plan(&SMALL.replacen("agents: 7", &format!("agents: 7, {habits}"), 1));
        let expected: Vec<_> = departs.iter().map(|what| format!("group web: {what}")).collect();
        assert_eq!(plan.departures(), expected, "{habits}");
        let told = to_text(&plan, &Budget::of(&plan, DEFAULT_PORT_RANGE));
        let marks = departs.is_some() && !habits.contains("events");
        assert_eq!(told.contains("(departs from the real server)"), marks, "{told}");
    }
}

#[test]
fn entries_run_one_after_the_other_and_warm_up_first() {
    let schedule: Vec<_> = plan(SMALL)
        .schedule()
        .into_iter()
        .map(|wave| (wave.entry, wave.warmup, wave.number, wave.intended_at.as_secs()))
        .collect();
    let expected =
        [(0, true, 1, 0), (0, false, 1, 2), (0, false, 2, 4), (1, false, 1, 6), (2, false, 1, 11)];
    assert_eq!(schedule, expected);
    assert_eq!(plan(SMALL).longest(), Duration::from_secs(11 + 10 + 1));
}

#[test]
fn request_ids_can_be_repeated_and_never_collide() {
    let text = SMALL.replace("count: 2", "count: 500");
    let ids = |(seed, nonce)| -> Vec<String> {
        let schedule = plan(&text).schedule();
        schedule
            .iter()
            .flat_map(|w| (1..=3).map(move |client| request_id(seed, nonce, w, client)))
            .collect()
    };
    let runs = [(1, 0), (2, 0), (1, 1), (1, 2), (2, 1), (1, u64::MAX)];
    for run in runs {
        assert_eq!(ids(run), ids(run), "{run:?}");
    }
    let all: HashSet<String> = runs.into_iter().flat_map(ids).collect();
    assert_eq!(all.len(), runs.len() * 503 * 3);
    assert!(all.iter().all(|id| id.len() == 32 && id.chars().all(|c| c.is_ascii_hexdigit())));
    // Whoever changes this changes what is on the wire: recorded traffic of a run does not compare.
    insta::assert_snapshot!(ids((1, 0))[0], @"904f5044a5ae4490968cf3bdbd481bb6");
}

#[test]
fn the_expected_set_follows_collective_and_agent() {
    let plan = plan(SMALL);
    let expected: Vec<_> = plan
        .entries
        .iter()
        .map(|entry| (entry.expected.groups.clone(), entry.expected.nodes, entry.expected.exact))
        .collect();
    // emulated6 is hosted by `web` alone, and its facts decide which of them answer.
    let all = vec![0, 1];
    assert_eq!(expected, [(all.clone(), 4_000, true), (vec![0], 3_000, false), (all, 4_000, true)]);
    assert_eq!(plan.entries[0].wire, Filter::default());
    let agent = |agent: &str| Filter { agents: vec![agent.to_owned()], ..Filter::default() };
    // Direct requests carry the agent only, whatever selected their targets.
    assert_eq!(plan.entries[1].wire, agent("emulated6"));
    assert_eq!(plan.entries[1].selects.facts, ["a=b"]);
    assert_eq!(plan.entries[2].wire, agent("rpcutil"));
}

#[test]
fn the_fleet_has_every_group_of_the_plan() {
    let plan = plan(SMALL);
    let spec = plan.fleet_spec(&Seat {
        share: emulator::spec::Share { index: 1, of: 2 },
        shards: 2,
        servers: Vec::new(),
        source_addresses: Budget::of(&plan, 2_000).loopback_sources(),
        login: emulator::spec::Login::default(),
    });
    assert_eq!((spec.seed, spec.shards, spec.share.index), (1, 2, 1));
    let groups: Vec<_> = spec
        .groups
        .iter()
        .map(|g| (g.name.as_str(), g.first, g.nodes, g.emulated_agents))
        .collect();
    assert_eq!(groups, [("web", 0, 3_000, 7), ("db", 3_000, 1_000, 1)]);
    assert_eq!(spec.groups[1].connect.rate_per_s, Some(200.0));
    assert_eq!(spec.groups[0].behaviour, emulator::spec::Behaviour::default());
    assert_eq!(spec.groups[0].fidelity, emulator::spec::Fidelity::default());
    assert_eq!(spec.groups[0].source_addresses.len(), 6);
}

#[test]
fn a_person_reads_the_plan_with_its_arithmetic() {
    let plan = plan(SMALL);
    insta::assert_snapshot!(to_text(&plan, &Budget::of(&plan, DEFAULT_PORT_RANGE)));
}

#[test]
fn a_plan_says_where_a_delay_means_silence() {
    for (delay, never) in [
        ("1999ms", false),
        ("2s", true),
        ("{uniform: [0s, 2s]}", true),
        ("{lognormal: {median: 40ms, sigma: 0.6}}", false),
        ("{lognormal: {median: 3s, sigma: 0.6}}", true),
    ] {
        let behaviour = format!("agents: 7, behaviour: {{reply_delay: {delay}}}");
        let plan = plan(&SMALL.replacen("agents: 7", &behaviour, 1));
        let told = to_text(&plan, &Budget::of(&plan, DEFAULT_PORT_RANGE));
        assert!(told.contains("  web: answers after "), "{told}");
        let says = "not at all where that takes an agent's timeout (discovery and rpcutil 2s)";
        assert_eq!(told.contains(says), never, "{delay}: {told}");
    }
}

#[test]
fn a_script_reads_the_plan_as_json() {
    let plan = plan(SMALL);
    let json = to_json(&plan, &Budget::of(&plan, DEFAULT_PORT_RANGE));
    assert_eq!(json["digest"], plan.digest());
    assert_eq!(json["schedule"].as_array().map(Vec::len), Some(5));
    assert_eq!(json["budget"]["connections"], 4_007);
    assert_eq!(json["plan"]["entries"][0]["every_us"], 2_000_000);
}
