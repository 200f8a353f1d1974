//! A plan is the same every time, its schedule is known in advance, its arithmetic adds up.

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
fn the_budget_adds_up() {
    let plan = plan(SMALL);
    assert_eq!(plan.groups[0].subscriptions_per_node(), (10 + 1) * 2);
    assert_eq!(plan.groups[1].subscriptions_per_node(), 5);
    assert_eq!(plan.groups[1].connect_time(), Duration::from_secs(5));
    let budget = Budget::of(&plan, DEFAULT_PORT_RANGE);
    assert_eq!(budget.connections, 4_000 + 7);
    assert_eq!(budget.demand.subscriptions, 3_000 * 22 + 1_000 * 5);
    assert_eq!(budget.emulator_files, 4_007 + 201 + 256);
    assert_eq!(budget.broker_files, 4_007 + 201 + 1_000);
    assert_eq!(budget.source_addresses, 1);
    assert!(budget.loopback_sources().is_empty(), "the system's choice suffices");
    assert_eq!(budget.broker_max_connections, DEFAULT_MAX_CONNECTIONS);
}

/// The plan of [`SMALL`] on these brokers.
fn on(brokers: &str) -> Plan {
    plan(&format!("{SMALL}brokers: {{{brokers}}}\n"))
}

#[test]
fn topologies_have_the_links_that_make_them() {
    for (brokers, names, links) in [
        ("topology: single", "n1", ""),
        ("topology: cluster", "n1 n2 n3", "n1-n2 n1-n3 n2-n3"),
        ("topology: leafnodes", "hub1 leaf1 leaf2", "leaf1>hub1 leaf2>hub1"),
        (
            "topology: leafnodes, size: 2, leaves: 3",
            "hub1 hub2 leaf1 leaf2 leaf3",
            "hub1-hub2 leaf1>hub1 leaf2>hub2 leaf3>hub1",
        ),
        (
            "topology: supercluster, size: 2",
            "c1-n1 c1-n2 c2-n1 c2-n2",
            "c1-n1-c1-n2 c1-n1=c2-n1 c1-n2=c2-n1 c2-n1=c1-n1 c2-n1-c2-n2 c2-n2=c1-n1",
        ),
    ] {
        let plan = on(brokers);
        let managed = plan.brokers.managed().expect("managed");
        let name = |at: usize| managed.brokers[at].name.as_str();
        let all: Vec<&str> = (0..managed.brokers.len()).map(name).collect();
        assert_eq!(all.join(" "), names);
        let link = |link: &Link| {
            let sign = match link.kind {
                LinkKind::Route => "-",
                LinkKind::Gateway => "=",
                LinkKind::Leaf => ">",
            };
            format!("{}{sign}{}", name(link.from), name(link.to))
        };
        let all: Vec<String> = managed.links.iter().map(link).collect();
        assert_eq!(all.join(" "), links);
    }
}

#[test]
fn hops_count_the_connections_between_brokers() {
    for (brokers, rows) in [
        ("topology: cluster", &[("n1", "n1", 0), ("n1", "n3", 1)][..]),
        (
            "topology: leafnodes, size: 2, leaves: 3",
            &[
                ("hub1", "leaf1", 1),
                ("leaf2", "hub1", 2),
                ("leaf1", "leaf3", 2),
                ("leaf1", "leaf2", 3),
                ("leaf1", "leaf1", 0),
            ],
        ),
        ("topology: supercluster", &[("c1-n1", "c1-n2", 1), ("c1-n3", "c2-n2", 1)]),
    ] {
        let plan = on(brokers);
        let managed = plan.brokers.managed().expect("managed");
        let at = |name: &str| managed.position(name).expect("a broker");
        for (from, to, hops) in rows {
            assert_eq!(managed.hops(at(from), at(to)), *hops, "{from} to {to}");
            assert_eq!(managed.hops(at(to), at(from)), *hops, "{to} to {from}");
        }
    }
}

#[test]
fn each_broker_is_the_release_and_has_the_keys_that_are_meant_for_it() {
    let plan = on("topology: leafnodes, nats: {hub1: 2.9.25, \"leaf*\": v2.14.5}, \
         config: {a: {b: 1, c: 2}}, config_for: {leaf2: {a: {c: 3}}, hub1: \"debug: true\"}");
    let managed = plan.brokers.managed().expect("managed");
    let seen: Vec<_> = managed
        .brokers
        .iter()
        .map(|broker| {
            let NatsServer::Version(version) = &broker.nats_server else { panic!("{broker:?}") };
            (version.as_str(), broker.config["a"]["c"].as_u64(), broker.config_text.as_str())
        })
        .collect();
    assert_eq!(
        seen,
        [("2.9.25", Some(2), "debug: true\n"), ("2.14.5", Some(2), ""), ("2.14.5", Some(3), "")]
    );
    let partly = on("topology: cluster, size: 2, nats: {n2: 2.9.25}");
    let managed = partly.brokers.managed().expect("managed");
    assert_eq!(managed.brokers[0].nats_server, NatsServer::Newest);
}

#[test]
fn nodes_are_at_home_where_the_scenario_says_and_flee_where_a_server_would() {
    for (brokers, group, homes, first_pools) in [
        ("topology: single", "", &[4000][..], &[&[0][..], &[0]][..]),
        ("topology: cluster, size: 2", "", &[2000, 2000], &[&[0, 1], &[1, 0]]),
        ("topology: leafnodes", "", &[0, 2000, 2000], &[&[1], &[2]]),
        ("topology: leafnodes", "brokers: hub1", &[3000, 500, 500], &[&[0], &[0]]),
        ("topology: leafnodes", "brokers: {leaf1: 3, leaf2: 1}", &[0, 2750, 1250], &[&[1], &[1]]),
        (
            "topology: leafnodes",
            "brokers: leaf1, fallback: [hub1]",
            &[0, 3500, 500],
            &[&[1, 0], &[1, 0]],
        ),
        ("topology: supercluster, size: 1", "brokers: c2", &[500, 3500], &[&[1], &[1]]),
        (
            "topology: external, urls: [\"nats://a\", \"nats://b\"]",
            "",
            &[2000, 2000],
            &[&[0, 1], &[1, 0]],
        ),
    ] {
        let text = SMALL.replace("agents: 7}", &format!("agents: 7, {group}}}"));
        let plan = self::plan(&format!("{text}brokers: {{{brokers}}}\n"));
        let mut sums = vec![0; homes.len()];
        for dealt in plan.at_home() {
            sums.iter_mut().zip(dealt).for_each(|(sum, nodes)| *sum += nodes);
        }
        assert_eq!(sums, homes, "{brokers}, {group}");
        let pools: Vec<_> = (0..2).map(|n| plan.pool(&plan.groups[0], n)).collect();
        assert_eq!(pools, first_pools, "{brokers}, {group}");
        // The fleet is told the same.
        let server = |number: u16| emulator::spec::Server {
            address: ([127, 0, 0, 1], number).into(),
            url: number.to_string(),
        };
        let spec = plan.fleet_spec(&Seat {
            share: emulator::spec::Share::WHOLE,
            shards: 1,
            servers: (0..).take(homes.len()).map(server).collect(),
            source_addresses: Vec::new(),
            login: emulator::spec::Login::default(),
        });
        for n in 0..100 {
            let group = &spec.groups[0];
            let order = group.homes.configured(n).iter();
            let urls: Vec<_> =
                order.map(|at| group.servers[usize::from(*at)].url.clone()).collect();
            let planned = plan.pool(&plan.groups[0], n).into_iter().map(|at| at.to_string());
            assert_eq!(urls, planned.collect::<Vec<_>>());
        }
    }
}

#[test]
fn clients_connect_where_the_scenario_says() {
    for (brokers, client, pools) in [
        ("topology: cluster", "", &[&[0, 1, 2][..], &[0, 1, 2]]),
        ("topology: cluster", "brokers: [n3, n2]", &[&[1, 0, 2], &[2, 0, 1]]),
        ("topology: leafnodes", "", &[&[0], &[0]]),
        ("topology: leafnodes", "brokers: \"*\"", &[&[0], &[1]]),
    ] {
        let plan = plan(&format!("{SMALL}brokers: {{{brokers}}}\nclient: {{{client}}}\n"));
        assert_eq!([plan.client_pool(1), plan.client_pool(2)], *pools, "{brokers}, {client}");
    }
}

#[test]
fn a_person_sees_the_network_drawn() {
    let drawn = |brokers: &str| {
        let plan = on(brokers);
        let text = to_text(&plan, &Budget::of(&plan, DEFAULT_PORT_RANGE));
        let from = text.find("Brokers").expect("brokers");
        text[from..text.find("\nFleet").expect("fleet")].to_owned()
    };
    let all = [
        "topology: cluster, nats: 2.9.25",
        "topology: leafnodes, size: 2, leaves: 3",
        "topology: supercluster, size: 2",
        "topology: external, urls: [\"nats://a:4222\", \"nats://b:4222\"]",
    ]
    .map(drawn);
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn the_messages_of_a_wave_follow_its_mode_and_clients() {
    let plan = plan(SMALL);
    let messages = |entry: usize| {
        let m = plan.entries[entry].messages(&plan.groups);
        (m.requests, m.delivered, m.replies, m.broker_in, m.broker_out)
    };
    assert_eq!(messages(0), (3, 12_000, 12_000, 12_003, 24_000));
    assert_eq!(messages(1), (3_000, 3_000, 3_000, 6_000, 6_000));
    assert_eq!(messages(2), (4_000, 4_000, 4_000, 8_000, 8_000));
    // Four slices have three pauses of a second between them.
    assert!(plan.entries[2].messages(&plan.groups).expected > Duration::from_secs(3));
}

#[test]
fn a_large_plan_raises_the_brokers_connection_limit() {
    let demand = Demand::of(&plan(SMALL)).with_nodes(200_000);
    assert_eq!(demand.subscriptions, 200_000 / 4 * 3 * 22 + 200_000 / 4 * 5);
    assert!(Budget::for_demand(demand, DEFAULT_PORT_RANGE).broker_max_connections > 200_006);
}

#[test]
fn source_addresses_grow_with_the_busiest_broker_and_shrink_with_ports() {
    let demand = Demand { driver_connections: 0, ..Demand::of(&plan(SMALL)) };
    // One default range carries 25,408 connections to one broker with a tenth in reserve.
    for (nodes, busiest_nodes, ports, sources) in [
        (25_408, 25_408, 28_232, 1),
        (25_409, 25_409, 28_232, 2),
        (200_000, 200_000, 28_232, 8),
        (200_000, 25_000, 28_232, 1),
        (200_000, 66_667, 2_000, 38),
    ] {
        let demand = Demand { busiest_nodes, ..demand.with_nodes(nodes) };
        let budget = Budget::for_demand(demand, ports);
        assert_eq!(budget.source_addresses, sources, "{nodes} nodes");
        let addresses = budget.loopback_sources();
        assert_eq!(
            addresses.len(),
            if sources == 1 { 0 } else { usize::try_from(sources).expect("few") }
        );
        assert!(addresses.iter().all(std::net::IpAddr::is_loopback));
    }
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
    assert_eq!(spec.groups[0].source_addresses.len(), 3);
}

#[test]
fn every_shipped_scenario_is_valid_and_says_its_question() {
    let validator = jsonschema::validator_for(&crate::scenario::json_schema()).expect("a schema");
    let mut names = Vec::new();
    for (name, text) in shipped() {
        let plan = plan(&text);
        assert_eq!(plan.name, name);
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("# yaml-language-server: $schema=./schema.json"), "{name}");
        let question = lines.next().unwrap_or_default();
        assert!(question.starts_with("# ") && question.ends_with('?'), "{name}: {question}");
        let value = crate::scenario::as_json(&text).expect("yaml");
        let errors: Vec<String> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
        names.push(name);
    }
    names.sort();
    let expected = [
        "agents-and-collectives",
        "broker-restart",
        "churn",
        "cluster-of-five",
        "cluster-of-three",
        "direct-and-batch",
        "drivers-apart",
        "fifteen-thousand",
        "first-look",
        "leafnodes",
        "lifecycle-storm",
        "many-clients",
        "mixed-versions",
        "one-stuck-node",
        "own-agents",
        "registration-storm",
        "rolling-upgrade",
        "slow-and-silent",
        "supercluster",
    ];
    assert_eq!(names, expected);
}

#[test]
fn ten_agents_in_five_collectives_are_55_subscriptions() {
    let (_, text) = shipped().find(|(name, _)| name == "agents-and-collectives").expect("shipped");
    let plan = plan(&text);
    assert_eq!(
        (plan.groups[0].agents_per_node(), plan.groups[0].subscriptions_per_node()),
        (10, 55)
    );
}

#[test]
fn agents_of_the_users_own_are_planned_with_what_their_files_say() {
    let (_, text) = shipped().find(|(name, _)| name == "own-agents").expect("shipped");
    let plan = plan(&text);
    let agents: Vec<_> = plan
        .groups
        .iter()
        .map(|group| {
            (group.agents_per_node(), group.subscriptions_per_node(), group.hosts("patching"))
        })
        .collect();
    // Three of every node, scout and the user's own; and the node's own subject.
    assert_eq!(agents, [(5, 6, true), (5, 6, true), (3, 4, false)]);
    assert_eq!(Demand::of(&plan).subscriptions, 500 * (6 + 6 + 4));
    let inputs = plan.entries.iter().map(|entry| match &entry.question {
        Question::Request { data, .. } => serde_json::to_string(data).expect("json"),
        Question::Discover => String::new(),
    });
    let expected = ["", r#"{"severity":"any"}"#, r#"{"name":"openssl","dry_run":false}"#, "{}"];
    assert_eq!(inputs.collect::<Vec<_>>(), expected);
    let expected: Vec<_> =
        plan.entries.iter().map(|entry| (entry.expected.nodes, entry.expected.exact)).collect();
    assert_eq!(expected, [(1000, true), (1000, true), (1000, false), (1000, true)]);
    let locked = &plan.groups[1].ddl_agents[0];
    assert_eq!((locked.ddl.name(), locked.replies["install"].statuscode), ("patching", 1));
    let seat = Seat {
        share: emulator::spec::Share::WHOLE,
        shards: 1,
        servers: Vec::new(),
        source_addresses: Vec::new(),
        login: emulator::spec::Login::default(),
    };
    let more = &plan.fleet_spec(&seat).groups[1].more_agents;
    assert_eq!((&more.stock, &more.ddl), (&vec!["scout".to_owned()], &plan.groups[1].ddl_agents));
}

#[test]
fn a_person_reads_the_plan_with_its_arithmetic() {
    let plan = plan(SMALL);
    insta::assert_snapshot!(to_text(&plan, &Budget::of(&plan, DEFAULT_PORT_RANGE)));
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
