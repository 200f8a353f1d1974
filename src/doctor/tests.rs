//! Need against have, row by row.

use super::*;
use crate::plan::{Budget, DEFAULT_PORT_RANGE, Demand};

const GIB: u64 = 1024 * 1024 * 1024;

fn roomy() -> Host {
    Host {
        open_files_hard: 1_000_000,
        nr_open: Some(1_048_576),
        file_max: Some(10_000_000),
        port_range: Some((32_768, 60_999)),
        somaxconn: Some(4096),
        syn_backlog: Some(4096),
        memory_available_bytes: Some(64 * GIB),
        cgroup_left_bytes: None,
        conntrack: None,
        cores: 8,
    }
}

fn demand() -> Demand {
    Demand {
        nodes: 50_000,
        group_nodes: vec![50_000],
        subscriptions: 250_000,
        driver_connections: 2,
        brokers: 1,
        busiest_nodes: 50_000,
        own_subjects: 50_000,
        managed: true,
        loopback: true,
        in_flight: 500,
    }
}

fn examined(demand: &Demand, host: &Host) -> Vec<Check> {
    examine(&Budget::for_demand(demand.clone(), host.port_range_size().unwrap_or(28_232)), host)
}

#[test]
fn a_roomy_host_carries_fifty_thousand() {
    let checks = examined(&demand(), &roomy());
    assert_eq!(worst(&checks), Verdict::Ok, "{checks:#?}");
    assert!(checks.iter().all(|check| check.advice.is_empty()));
}

#[test]
fn each_limit_is_found_with_the_command_that_mends_it() {
    let remote = Demand { managed: false, loopback: false, ..demand() };
    let table = Some(Conntrack { max: 65_536, count: 10_000 });
    let rows: [(Host, Demand, &str, Verdict, &str); 13] = [
        (
            Host { open_files_hard: 20_000, ..roomy() },
            demand(),
            "open files, this process",
            Verdict::Fail,
            "sudo prlimit --pid $$ --nofile=52759:52759",
        ),
        (
            Host { open_files_hard: 53_000, ..roomy() },
            demand(),
            "open files, broker",
            Verdict::Fail,
            "--nofile=53503:53503",
        ),
        (
            Host { open_files_hard: 1024, nr_open: Some(4096), ..roomy() },
            demand(),
            "open files, this process",
            Verdict::Fail,
            "sudo sysctl -w fs.nr_open=52759 && sudo prlimit",
        ),
        (
            Host { file_max: Some(100_000), ..roomy() },
            demand(),
            "open files, host",
            Verdict::Fail,
            "sudo sysctl -w fs.file-max=120004",
        ),
        (roomy(), remote.clone(), "local ports", Verdict::Fail, "\"1024 65535\""),
        (
            Host { memory_available_bytes: Some(2 * GIB), ..roomy() },
            demand(),
            "memory",
            Verdict::Fail,
            "fewer nodes",
        ),
        (
            Host { memory_available_bytes: Some(4 * GIB), ..roomy() },
            demand(),
            "memory",
            Verdict::Warn,
            "fewer nodes",
        ),
        (
            Host { cgroup_left_bytes: Some(GIB), ..roomy() },
            demand(),
            "memory",
            Verdict::Fail,
            "memory.max",
        ),
        (
            Host { somaxconn: Some(128), ..roomy() },
            demand(),
            "listen backlog",
            Verdict::Warn,
            "sudo sysctl -w net.core.somaxconn=1000",
        ),
        (
            Host { syn_backlog: Some(128), ..roomy() },
            demand(),
            "SYN backlog",
            Verdict::Warn,
            "tcp_max_syn_backlog=512",
        ),
        (
            Host { conntrack: table, ..roomy() },
            demand(),
            "tracked connections",
            Verdict::Fail,
            "sudo sysctl -w net.netfilter.nf_conntrack_max=70002",
        ),
        (Host { cores: 1, ..roomy() }, demand(), "cores", Verdict::Warn, "share one core"),
        (
            Host { file_max: None, ..roomy() },
            demand(),
            "open files, host",
            Verdict::Warn,
            "fs.file-max",
        ),
    ];
    for (host, demand, name, verdict, advice) in rows {
        let checks = examined(&demand, &host);
        let found = checks.iter().find(|check| check.name == name).expect(name);
        assert_eq!(found.verdict, verdict, "{found:?}");
        assert!(found.advice.contains(advice), "{found:?}");
    }
}

#[test]
fn external_brokers_are_not_this_hosts_burden() {
    let host = Host { somaxconn: Some(1), memory_available_bytes: Some(GIB), ..roomy() };
    let remote =
        Demand { managed: false, loopback: false, brokers: 3, busiest_nodes: 16_667, ..demand() };
    assert_eq!(worst(&examined(&remote, &host)), Verdict::Ok);
}

#[test]
fn several_brokers_share_files_and_ports_but_not_memory() {
    let budget = |demand: Demand| Budget::for_demand(demand, DEFAULT_PORT_RANGE);
    let (one, three) =
        (budget(demand()), budget(Demand { brokers: 3, busiest_nodes: 16_667, ..demand() }));
    assert_eq!((one.broker_files, three.broker_files), (53_503, 18_503));
    assert_eq!((one.source_addresses, three.source_addresses), (2, 1));
    // Whoever is left must take in everybody.
    assert_eq!(one.broker_max_connections, three.broker_max_connections);
    assert!(three.broker_bytes > one.broker_bytes);
    let host = Host { open_files_hard: 53_000, ..roomy() };
    assert_eq!(worst(&examined(&three.demand, &host)), Verdict::Ok);
}

#[test]
fn the_largest_plan_that_fits_is_exact() {
    let host = Host { open_files_hard: 20_000, ..roomy() };
    let largest = largest(&demand(), &host, DEFAULT_PORT_RANGE);
    let verdict = |nodes| worst(&examined(&demand().with_nodes(nodes), &host));
    assert_eq!(verdict(largest), Verdict::Ok);
    assert_eq!(verdict(largest + 1), Verdict::Fail);
    assert!((18_000..19_100).contains(&largest), "{largest}");
    let none = Host { open_files_hard: 64, ..roomy() };
    assert_eq!(super::largest(&demand(), &none, DEFAULT_PORT_RANGE), 0);
}

#[test]
fn a_person_reads_need_have_verdict_and_command() {
    let host = Host { open_files_hard: 20_000, ..roomy() };
    let fits = largest(&demand(), &host, DEFAULT_PORT_RANGE);
    insta::assert_snapshot!(to_text(&examined(&demand(), &host), Some(fits)), @r"
      check                     need       have                         verdict
      open files, this process  52,759     20,000                       FAIL
      open files, broker        53,503     20,000                       FAIL
      open files, host          120,004    10,000,000                   ok
      local ports               50,002     25,408 x 2 source addresses  ok
      memory                    5,104 MiB  64.0 GiB                     ok
      listen backlog            1,000      4,096                        ok
      SYN backlog               512        4,096                        ok
      cores                     2          8                            ok
      open files, this process: sudo prlimit --pid $$ --nofile=52759:52759
      open files, broker: sudo prlimit --pid $$ --nofile=53503:53503
    this host cannot carry the plan as it is; it would carry 18,093 nodes
    ");
}

#[test]
fn this_host_can_be_read_and_its_file_limit_raised() {
    let host = Host::read().expect("a host");
    assert_eq!(raise_open_files().expect("raised"), host.open_files_hard);
    assert_eq!(Host::read().expect("a host").open_files_hard, host.open_files_hard);
    assert!(host.cores >= 1);
}
