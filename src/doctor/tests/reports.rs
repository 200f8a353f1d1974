//! What people and scripts read, and the host that this test runs on.

use super::*;

#[test]
fn the_largest_plan_that_fits_is_exact() {
    let host = Host { open_files_hard: 20_000, ..roomy() };
    for (demand, hands, range) in [
        (demand(), Hands::One, 18_000..19_100),
        (demand(), Hands::AsNeeded, 18_000..19_100),
        (three(), Hands::One, 18_000..19_100),
        (three().with_nodes(200_000), Hands::AsNeeded, 54_000..56_000),
        (three().with_nodes(200_000), Hands::Workers(2), 37_000..38_500),
    ] {
        let largest = Examination::of_host(demand.clone(), hands, host.clone()).largest;
        let largest = largest.expect("it does not fit");
        assert!(range.contains(&largest), "{largest} {hands:?}");
        assert_eq!(verdict(&demand.with_nodes(largest), hands, &host), Verdict::Ok);
        assert_eq!(verdict(&demand.with_nodes(largest + 1), hands, &host), Verdict::Fail);
    }
    let none = Host { open_files_hard: 64, ..roomy() };
    let none = Examination::of_host(demand(), Hands::One, none);
    assert_eq!(none.largest, Some(0));
    assert!(none.to_text().ends_with("\nno fleet fits, however small\n"));
}

#[test]
fn a_person_reads_need_have_verdict_and_command() {
    let host = Host { open_files_hard: 20_000, ..roomy() };
    let examination = Examination::of_host(demand(), Hands::AsNeeded, host);
    insta::assert_snapshot!(examination.to_text(), @r#"
    roomy: 50,000 nodes in 3 workers of up to 16,667, the driver, 1 broker
      check                     need                     have                         verdict
      open files, each worker   17,757                   20,000                       ok
      open files, this process  271                      20,000                       ok
      open files, each broker   53,503                   20,000                       FAIL
      open files, host          120,004                  10,000,000                   ok
      local ports, to a broker  50,002                   58,060 x 2 source addresses  ok
      memory                    5,197 MiB                64.0 GiB                     ok
      memory, TCP buffers       391 MiB                  2,048 MiB                    ok
      listen backlog            1,000                    4,096                        ok
      SYN backlog               512                      4,096                        ok
      cores                     2                        8                            ok
      clock source              read without the kernel  tsc                          ok
      open files, each broker: brokers: {topology: cluster, size: 3}, or sudo prlimit --pid $$ --nofile=53503:53503
    this host cannot carry the plan as it is
    the largest fleet that fits: 18,093 nodes on 1 broker
    "#);
}

#[test]
fn warnings_do_not_refuse_and_are_told() {
    let host = Host { cores: 1, ..roomy() };
    let examination = Examination::of_host(demand(), Hands::One, host);
    assert_eq!((examination.verdict(), examination.largest), (Verdict::Warn, None));
    assert!(examination.to_text().ends_with("this host carries the plan; mind the warnings\n"));
    let warnings = examination.warnings();
    assert!(warnings.iter().any(|(told, _)| told == "cores: 1, needed 2"), "{warnings:?}");
}

#[test]
fn a_warning_of_one_host_among_several_names_it() {
    let named = |name: &str| Host {
        name: name.to_owned(),
        boot_id: Some(name.to_owned()),
        memory_available_bytes: None,
        ..roomy()
    };
    let workers = without_drivers(&[named("east"), named("west"), roomy()]);
    let demand = Demand { driver_connections: 0, ..remote() };
    let warnings = Examination::of_workers(demand, &roomy(), &workers).warnings();
    let told: Vec<_> = warnings.iter().map(|(told, _)| told.as_str()).collect();
    let of = |host: &str| told.iter().filter(|told| told.starts_with(host)).count();
    assert_eq!((of("east: memory: unknown, "), of("west: memory: unknown, ")), (1, 1), "{told:?}");
    assert_eq!(told.len(), 2, "{told:?}");
}

#[test]
fn a_script_finds_numbers_and_verdicts() {
    let host = Host { open_files_hard: 20_000, ..roomy() };
    let json = Examination::of_host(three().with_nodes(200_000), Hands::AsNeeded, host).to_json();
    let at = |pointer: &str| json.pointer(pointer).unwrap_or_else(|| panic!("{pointer} {json:#}"));
    assert_eq!(at("/verdict"), "fail");
    assert_eq!(at("/largest/brokers"), 3);
    assert!(at("/largest/nodes").as_u64() > Some(50_000));
    assert_eq!(at("/hosts/0/duty/workers"), 11);
    assert_eq!(at("/hosts/0/host/open_files_hard"), 20_000);
    assert_eq!(at("/hosts/0/need/files_of_broker"), 71_004);
    assert_eq!(at("/hosts/0/checks/2/name"), "open files, each broker");
    assert_eq!(at("/hosts/0/checks/2/verdict"), "fail");
}

#[test]
fn a_host_travels_as_json() {
    let host = Host { conntrack: Some(Conntrack { max: 2, count: 1 }), ..roomy() };
    let text = serde_json::to_string(&host).expect("JSON");
    assert_eq!(serde_json::from_str::<Host>(&text).expect("a host"), host);
}

#[test]
fn this_host_can_be_read_and_its_file_limit_raised() {
    let host = Host::read().expect("a host");
    assert_eq!(raise_open_files().expect("raised"), host.open_files_hard);
    assert_eq!(Host::read().expect("a host").open_files_hard, host.open_files_hard);
    assert!(host.cores >= 1 && !host.name.is_empty() && host.boot_id.is_some());
    assert!(host.tcp_memory_bytes > Some(0) && host.memory_available_bytes > Some(0));
}
