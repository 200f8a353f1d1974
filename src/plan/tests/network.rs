//! Brokers, their links, and who is at home where.

use super::*;

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
fn brokers_are_on_loopback_unless_the_scenario_says_where() {
    for (brokers, listen, loopback) in [
        ("topology: cluster", None, true),
        ("topology: cluster, listen: 10.0.0.5", Some("10.0.0.5"), false),
        ("listen: 127.0.0.2", Some("127.0.0.2"), true),
    ] {
        let plan = on(brokers);
        let managed = plan.brokers.managed().expect("managed");
        assert_eq!(managed.listen.map(|at| at.to_string()).as_deref(), listen, "{brokers}");
        assert_eq!(Demand::of(&plan).loopback, loopback, "{brokers}");
        let shown = to_text(&plan, &Budget::of(&plan, DEFAULT_PORT_RANGE));
        let at = listen.unwrap_or("loopback");
        assert!(shown.contains(&format!("ended by the run, on {at}\n")), "{shown}");
        // A plan without a word about it is the plan that it was.
        assert_eq!(
            plan.digest() == on("topology: cluster").digest(),
            brokers == "topology: cluster"
        );
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
        // Whoever may choose begins at home, where a server begins anywhere.
        let departs = plan.groups[0].placement.departure(&plan.brokers).is_some();
        assert_eq!(departs, pools.iter().any(|pool| pool.len() > 1), "{brokers}, {group}");
        // The fleet is told the same.
        let server = |number: u16| emulator::spec::Server {
            addresses: vec![([127, 0, 0, 1], number).into()],
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
