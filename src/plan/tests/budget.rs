//! What a plan takes of a host and of a network adds up.

use super::*;

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
    // Two fifths of the default range are 11,292 ports.
    for (nodes, busiest_nodes, ports, sources) in [
        (11_292, 11_292, 28_232, 1),
        (11_293, 11_293, 28_232, 2),
        (200_000, 200_000, 28_232, 18),
        (200_000, 25_000, 28_232, 3),
        (200_000, 66_667, 2_000, 84),
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
