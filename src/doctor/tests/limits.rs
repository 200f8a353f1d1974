//! Each limit alone: the host is roomy but for it.

use super::*;

/// A host, what is asked of it, and what is said of one limit.
struct Row(Host, Demand, &'static str, Verdict, &'static str);

fn check(rows: impl IntoIterator<Item = Row>) {
    for Row(host, demand, name, verdict, advice) in rows {
        let checks = examined(&demand, Hands::One, &host);
        let found = said_of(&checks, name);
        assert_eq!(found.verdict, verdict, "{found:?}");
        assert!(found.advice.contains(advice), "{found:?}");
        assert_eq!(found.advice.is_empty(), verdict == Verdict::Ok, "{found:?}");
        // Nothing else is affected, but for the same limit elsewhere.
        let head = |name: &'static str| name.split(',').next();
        let mut others = checks.iter().filter(|check| head(check.name) != head(name));
        assert!(others.all(|check| check.verdict == Verdict::Ok), "{name}: {checks:#?}");
    }
}

#[test]
fn a_roomy_host_carries_fifty_thousand() {
    for demand in [demand(), three(), remote()] {
        let checks = examined(&demand, Hands::One, &roomy());
        assert_eq!(worst(&checks), Verdict::Ok, "{checks:#?}");
        assert!(checks.iter().all(|check| check.advice.is_empty()));
    }
}

#[test]
fn open_files_of_process_broker_and_host() {
    let files = |open_files_hard, nr_open| Host { open_files_hard, nr_open, ..roomy() };
    let (ours, broker) = ("open files, this process", "open files, each broker");
    let raise = "sudo sysctl -w fs.nr_open=52759 && sudo prlimit";
    check([
        Row(files(20_000, None), demand(), ours, Verdict::Fail, "--nofile=52759:52759"),
        Row(files(1024, Some(4096)), demand(), ours, Verdict::Fail, raise),
        Row(files(53_000, None), demand(), broker, Verdict::Fail, "--nofile=53503:53503"),
        Row(files(53_000, None), demand(), broker, Verdict::Fail, "size: 2}, or sudo"),
        Row(files(53_503, None), demand(), broker, Verdict::Ok, ""),
    ]);
    let (name, max) = ("open files, host", |file_max| Host { file_max, ..roomy() });
    check([
        Row(max(Some(100_000)), demand(), name, Verdict::Fail, "sysctl -w fs.file-max=120004"),
        Row(max(Some(100_000)), remote(), name, Verdict::Ok, ""),
        Row(max(None), demand(), name, Verdict::Warn, "fs.file-max"),
    ]);
}

#[test]
fn ports_of_each_source_address_to_each_broker() {
    let name = "local ports, to a broker";
    let far = |busiest_nodes| Demand { busiest_nodes, ..remote() };
    let narrow = |first, last| Host { port_range: Some((first, last)), ..roomy() };
    check([
        Row(narrow(32_768, 60_999), far(11_290), name, Verdict::Ok, ""),
        Row(narrow(32_768, 60_999), far(11_291), name, Verdict::Warn, "searches milliseconds"),
        Row(narrow(32_768, 60_999), far(25_406), name, Verdict::Warn, "searches milliseconds"),
        Row(narrow(32_768, 60_999), far(25_407), name, Verdict::Fail, "\"1024 65535\""),
        // Loopback has as many source addresses as are needed.
        Row(narrow(40_000, 41_999), demand(), name, Verdict::Ok, ""),
        Row(narrow(40_000, 41_999), remote(), name, Verdict::Fail, "\"1024 65535\""),
        Row(narrow(1024, 65_535), far(25_000), name, Verdict::Ok, ""),
        Row(Host { port_range: None, ..roomy() }, remote(), name, Verdict::Warn, "look at"),
    ]);
    let all = Demand { nodes: 70_000, group_nodes: vec![70_000], ..far(70_000) };
    check([Row(narrow(1024, 65_535), all, name, Verdict::Fail, "more brokers in `urls`")]);
}

#[test]
fn memory_of_fleet_brokers_and_kernel() {
    let free = |bytes| Host { memory_available_bytes: Some(bytes), ..roomy() };
    let left = |bytes| {
        let control_group = ControlGroup { memory_left_bytes: Some(bytes), ..Default::default() };
        Host { control_group, ..roomy() }
    };
    let tcp = |tcp_memory_bytes| Host { tcp_memory_bytes, ..roomy() };
    let buffers = "memory, TCP buffers";
    check([
        Row(free(2 * GIB), demand(), "memory", Verdict::Fail, "free memory, or take fewer nodes"),
        Row(free(4 * GIB), demand(), "memory", Verdict::Warn, "fewer nodes"),
        Row(free(GIB), remote(), "memory", Verdict::Ok, ""),
        Row(left(GIB), demand(), "memory", Verdict::Fail, "memory.max, or memory.limit_in_bytes"),
        Row(left(4 * GIB), demand(), "memory", Verdict::Warn, "memory.max"),
        Row(left(8 * GIB), demand(), "memory", Verdict::Ok, ""),
        Row(
            tcp(Some(GIB / 4)),
            demand(),
            buffers,
            Verdict::Warn,
            "tcp_mem=\"75003 100004 150006\"",
        ),
        Row(tcp(Some(GIB / 4)), remote(), buffers, Verdict::Ok, ""),
        Row(tcp(None), demand(), buffers, Verdict::Warn, "tcp_mem"),
    ]);
    let unknown = Host { memory_available_bytes: None, ..roomy() };
    assert_eq!(said_of(&examined(&demand(), Hands::One, &unknown), "memory").have, "unknown");
}

#[test]
fn queues_of_listening_sockets_and_the_table_of_connections() {
    let somaxconn = |somaxconn| Host { somaxconn, ..roomy() };
    let syn = |syn_backlog| Host { syn_backlog, ..roomy() };
    let few = Demand { in_flight: 5, ..demand() };
    let listen = "listen backlog";
    check([
        Row(somaxconn(Some(999)), demand(), listen, Verdict::Warn, "core.somaxconn=1000"),
        Row(somaxconn(Some(1000)), demand(), listen, Verdict::Ok, ""),
        Row(somaxconn(None), demand(), listen, Verdict::Warn, "smaller `in_flight`"),
        Row(syn(Some(511)), few, "SYN backlog", Verdict::Warn, "tcp_max_syn_backlog=512"),
        Row(syn(Some(512)), demand(), "SYN backlog", Verdict::Ok, ""),
    ]);
    let name = "tracked connections";
    let table = |max| Host { conntrack: Some(Conntrack { max, count: 10_000 }), ..roomy() };
    check([
        Row(table(65_536), demand(), name, Verdict::Fail, "nf_conntrack_max=70002"),
        Row(table(70_002), demand(), name, Verdict::Ok, ""),
        Row(table(70_001), remote(), name, Verdict::Fail, "nf_conntrack_max=70002"),
    ]);
}

#[test]
fn tasks_processors_and_clocks() {
    let tasks = |left| {
        let control_group = ControlGroup { tasks_left: Some(left), ..Default::default() };
        Host { control_group, ..roomy() }
    };
    let quota = |milli| {
        let control_group = ControlGroup { cpu_milli: Some(milli), ..Default::default() };
        Host { control_group, ..roomy() }
    };
    let cores = |cores| Host { cores, ..roomy() };
    let clock = |source: &str| Host { clock_source: Some(source.to_owned()), ..roomy() };
    check([
        // A process of ours and a broker, on eight processors.
        Row(tasks(63), demand(), "tasks", Verdict::Fail, "pids.max of the control group by 1"),
        Row(tasks(64), demand(), "tasks", Verdict::Ok, ""),
        Row(tasks(32), remote(), "tasks", Verdict::Ok, ""),
        Row(cores(1), demand(), "cores", Verdict::Warn, "share one core"),
        Row(cores(1), remote(), "cores", Verdict::Ok, ""),
        Row(quota(1900), demand(), "cores", Verdict::Warn, "cpu.max, or cpu.cfs_quota_us"),
        Row(quota(2000), demand(), "cores", Verdict::Ok, ""),
        Row(clock("hpet"), demand(), "clock source", Verdict::Warn, "echo tsc | sudo tee"),
        Row(clock("kvm-clock"), demand(), "clock source", Verdict::Ok, ""),
        Row(Host { clock_source: None, ..roomy() }, demand(), "clock source", Verdict::Warn, ""),
    ]);
    let text = |host| said_of(&examined(&demand(), Hands::One, &host), "cores").have.clone();
    assert_eq!((text(quota(1900)), text(quota(64_000))), ("1.9 by quota".into(), "8".into()));
}

#[test]
fn what_is_not_there_is_not_asked_for() {
    let names = |demand: &Demand| {
        let checks = examined(demand, Hands::One, &roomy());
        checks.iter().map(|check| check.name).collect::<Vec<_>>()
    };
    for name in ["open files, each broker", "listen backlog", "SYN backlog"] {
        assert!(names(&demand()).contains(&name) && !names(&remote()).contains(&name), "{name}");
    }
    for name in ["open files, each worker", "tracked connections", "tasks", "time of day"] {
        assert!(!names(&demand()).contains(&name), "{name}");
    }
}
