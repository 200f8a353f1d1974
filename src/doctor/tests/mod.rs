//! Need against have on invented hosts, row by row.

mod control_groups;
mod duties;
mod limits;
mod reports;

use super::*;
use crate::plan::{AtWorkers, Demand};

const GIB: u64 = 1024 * 1024 * 1024;

/// A host that carries everything below.
fn roomy() -> Host {
    Host {
        name: "roomy".to_owned(),
        boot_id: Some("one".to_owned()),
        open_files_hard: 1_000_000,
        nr_open: Some(1_048_576),
        file_max: Some(10_000_000),
        port_range: Some((1024, 65_535)),
        somaxconn: Some(4096),
        syn_backlog: Some(4096),
        tcp_memory_bytes: Some(2 * GIB),
        memory_available_bytes: Some(64 * GIB),
        control_group: ControlGroup::default(),
        conntrack: None,
        cores: 8,
        clock_source: Some("tsc".to_owned()),
        clock_in_step: Some(true),
    }
}

/// Fifty thousand nodes on one broker, all on one host.
fn demand() -> Demand {
    Demand {
        nodes: 50_000,
        group_nodes: vec![50_000],
        subscriptions: 250_000,
        driver_connections: 2,
        at_workers: AtWorkers::default(),
        brokers: 1,
        busiest_nodes: 50_000,
        own_subjects: 50_000,
        managed: true,
        loopback: true,
        in_flight: 500,
    }
}

/// The same nodes on three brokers.
fn three() -> Demand {
    Demand { brokers: 3, busiest_nodes: 16_667, ..demand() }
}

/// The same nodes on three brokers elsewhere.
fn remote() -> Demand {
    Demand { managed: false, loopback: false, ..three() }
}

fn examined(demand: &Demand, hands: Hands, host: &Host) -> Vec<Check> {
    let examination = Examination::of_host(demand.clone(), hands, host.clone());
    examination.hosts.into_iter().flat_map(|host| host.checks).collect()
}

fn verdict(demand: &Demand, hands: Hands, host: &Host) -> Verdict {
    worst(&examined(demand, hands, host))
}

/// These hosts, each with a worker that has no driver.
fn without_drivers(hosts: &[Host]) -> Vec<(Host, u64)> {
    hosts.iter().map(|host| (host.clone(), 0)).collect()
}

/// What is said of one thing.
fn said_of<'a>(checks: &'a [Check], name: &str) -> &'a Check {
    checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("{name} in {checks:?}"))
}
