//! One process, workers, and several hosts: who does what, and what that takes.

use super::*;

#[test]
fn workers_share_the_files_and_too_few_of_them_are_told_how_many_suffice() {
    let host = Host { open_files_hard: 20_000, ..roomy() };
    let (own, each) = ("open files, this process", "open files, each worker");
    for (hands, name, need, verdict, says) in [
        (Hands::One, own, "52,759", Verdict::Fail, "prlimit"),
        (Hands::AsNeeded, each, "17,757", Verdict::Ok, ""),
        (Hands::AsNeeded, own, "271", Verdict::Ok, ""),
        (Hands::Workers(3), each, "17,757", Verdict::Ok, ""),
        (Hands::Workers(2), each, "26,506", Verdict::Fail, "--workers 3, or sudo prlimit"),
        (Hands::Workers(1), each, "52,756", Verdict::Fail, "--workers 3, or sudo prlimit"),
    ] {
        let checks = examined(&three(), hands, &host);
        let found = said_of(&checks, name);
        assert_eq!((found.need.as_str(), found.verdict), (need, verdict), "{hands:?}");
        assert!(found.advice.contains(says), "{found:?}");
    }
}

#[test]
fn few_files_are_answered_with_workers_and_brokers() {
    let host = Host { open_files_hard: 20_000, ..roomy() };
    for (demand, hands, expected) in [
        (demand(), Hands::One, Verdict::Fail),
        // The workers would do, the one broker does not.
        (demand(), Hands::AsNeeded, Verdict::Fail),
        (three(), Hands::One, Verdict::Fail),
        (three(), Hands::AsNeeded, Verdict::Ok),
        (demand().with_nodes(15_000), Hands::AsNeeded, Verdict::Ok),
    ] {
        assert_eq!(verdict(&demand, hands, &host), expected, "{demand:?} {hands:?}");
    }
    let checks = examined(&demand(), Hands::AsNeeded, &host);
    let advice = &said_of(&checks, "open files, each broker").advice;
    assert!(advice.contains("brokers: {topology: cluster, size: 3}"), "{advice}");
}

#[test]
fn a_duty_in_words_and_numbers() {
    let none = AtWorkers::default();
    let alone = |demand: &Demand, hands| Duty::alone(demand, hands, 20_000);
    for (duty, words) in [
        (
            alone(&demand().with_nodes(1), Hands::AsNeeded),
            "1 node in one process with the driver, 1 broker",
        ),
        (
            alone(&three(), Hands::AsNeeded),
            "50,000 nodes in 3 workers of up to 16,667, the driver, 3 brokers",
        ),
        (alone(&remote(), Hands::One), "50,000 nodes in one process with the driver"),
        (Duty::of_workers(&three(), (0, none), 20, true, 21), "the driver, 3 brokers"),
        (
            Duty::of_workers(&remote(), (1, none), 20, false, 21),
            "2,500 nodes in 1 worker of up to 2,500",
        ),
        (
            Duty::of_workers(&remote(), (7, none), 7, true, 1),
            "50,000 nodes in 7 workers of up to 7,143, the driver",
        ),
        (Duty::of_workers(&remote(), (0, none), 1, false, 2), "nothing to do"),
    ] {
        assert_eq!(duty.in_words(), words);
    }
}

#[test]
fn all_duties_together_are_the_plan() {
    let demand = Demand { group_nodes: vec![30_000, 20_000], ..remote() };
    let of = |here, driver| {
        let duty = Duty::of_workers(&demand, (here, AtWorkers::default()), 4, driver, 4);
        Need::of(&demand, &duty, 28_232, 2)
    };
    let whole = Need::of(&demand, &Duty::alone(&demand, Hands::Workers(4), 20_000), 28_232, 2);
    let parts = [of(0, true), of(1, false), of(1, false), of(2, false)];
    for (what, number) in [
        ("connections", (|need| need.connections) as fn(&Need) -> u64),
        ("memory", Need::bytes),
        ("TCP buffers", |need| need.tcp_bytes),
        ("tasks", |need| need.tasks),
    ] {
        assert_eq!(parts.iter().map(number).sum::<u64>(), number(&whole), "{what}");
    }
    // Rounded up on every host.
    let to_busiest: u64 = parts.iter().map(|part| part.to_busiest).sum();
    assert!((0..4).contains(&(to_busiest - whole.to_busiest)), "{to_busiest} {whole:?}");
}

#[test]
fn several_brokers_share_files_and_ports_but_not_memory() {
    let need =
        |demand: &Demand| Need::of(demand, &Duty::alone(demand, Hands::One, 1_000_000), 28_232, 2);
    let (one, three) = (need(&demand()), need(&three()));
    assert_eq!((one.files_of_broker, three.files_of_broker), (Some(53_503), Some(18_503)));
    assert_eq!((one.source_addresses, three.source_addresses), (5, 2));
    assert!(three.brokers_bytes > one.brokers_bytes);
    let host = Host { open_files_hard: 53_000, ..roomy() };
    assert_eq!(verdict(&super::three(), Hands::One, &host), Verdict::Ok);
}

/// A host of its own.
fn named(name: &str, host: Host) -> Host {
    Host { name: name.to_owned(), boot_id: Some(format!("boot of {name}")), ..host }
}

#[test]
fn twenty_hosts_carry_what_none_of_them_could() {
    let small =
        Host { open_files_hard: 4096, memory_available_bytes: Some(GIB / 4), cores: 1, ..roomy() };
    let workers: Vec<_> = (1..=20).map(|k| named(&format!("w{k}"), small.clone())).collect();
    let conductor = named("conductor", small);
    let all = Examination::of_workers(remote(), &conductor, &without_drivers(&workers));
    assert_eq!(all.verdict(), Verdict::Ok, "{}", all.to_text());
    assert_eq!(all.hosts.len(), 21);
    assert_eq!(all.hosts.iter().map(|host| host.duty.nodes).sum::<u64>(), 50_000);
    // Three of them are not enough: 16,667 nodes each is more than a process may have files.
    let few = Examination::of_workers(remote(), &conductor, &without_drivers(&workers[..3]));
    assert_eq!(few.verdict(), Verdict::Fail);
    let largest = few.largest.expect("a number");
    let again = |nodes| {
        let demand = remote().with_nodes(nodes);
        Examination::of_workers(demand, &conductor, &without_drivers(&workers[..3])).verdict()
    };
    assert_eq!((again(largest), again(largest + 1)), (Verdict::Ok, Verdict::Fail));
}

#[test]
fn the_host_that_cannot_is_named() {
    let mut workers: Vec<_> = (1..=4).map(|k| named(&format!("w{k}"), roomy())).collect();
    workers[2].control_group.memory_left_bytes = Some(GIB / 32);
    let all =
        Examination::of_workers(remote(), &named("conductor", roomy()), &without_drivers(&workers));
    let text = all.to_text();
    assert!(text.contains("\n1 of 5 hosts cannot carry the plan as it is: w3\n"), "{text}");
    assert!(text.contains("the largest fleet that fits: "), "{text}");
}

#[test]
fn workers_of_one_kernel_are_one_host_and_bound_by_the_narrowest() {
    let narrow = Host { open_files_hard: 2000, ..roomy() };
    let workers = [vec![roomy(); 19], vec![narrow]].concat();
    let all = Examination::of_workers(remote(), &roomy(), &without_drivers(&workers));
    let [host] = &all.hosts[..] else { panic!("{:?}", all.hosts) };
    assert_eq!((host.duty.workers, host.duty.nodes, host.duty.driver), (20, 50_000, true));
    assert_eq!((host.duty.hosts, host.host.open_files_hard), (1, 2000));
    assert_eq!(said_of(&host.checks, "open files, each worker").verdict, Verdict::Fail);
}

#[test]
fn brokers_on_loopback_are_out_of_reach_of_other_hosts() {
    let workers = [named("w1", roomy())];
    for (demand, conductor, expected) in [
        (three(), named("conductor", roomy()), Verdict::Fail),
        (three(), named("w1", roomy()), Verdict::Ok),
        (remote(), named("conductor", roomy()), Verdict::Ok),
    ] {
        let all = Examination::of_workers(demand, &conductor, &without_drivers(&workers));
        assert_eq!(all.verdict(), expected, "{}", all.to_text());
    }
}

#[test]
fn times_of_day_matter_between_hosts_only() {
    let workers = |clock_in_step| [named("w1", Host { clock_in_step, ..roomy() })];
    for (in_step, expected) in
        [(Some(true), Verdict::Ok), (Some(false), Verdict::Warn), (None, Verdict::Warn)]
    {
        let workers = workers(in_step);
        let apart = Examination::of_workers(
            remote(),
            &named("conductor", roomy()),
            &without_drivers(&workers),
        );
        assert_eq!(apart.verdict(), expected, "{in_step:?}");
        let together = Examination::of_workers(remote(), &workers[0], &without_drivers(&workers));
        assert_eq!(together.verdict(), Verdict::Ok, "{in_step:?}");
    }
}

#[test]
fn connections_of_drivers_at_workers_count_where_they_are() {
    let at_workers = AtWorkers::default().with(0).with(8).with(2);
    assert_eq!(at_workers, AtWorkers { drivers: 2, connections: 10, most: 8 });
    let (without, with) = (remote(), Demand { at_workers, ..remote() });
    let none = AtWorkers::default();
    let need = |demand: &Demand, at| {
        Need::of(demand, &Duty::of_workers(demand, (2, at), 4, false, 3), 28_232, 2)
    };
    let (bare, busy) = (need(&without, none), need(&with, at_workers));
    assert_eq!(busy.connections, bare.connections + 10);
    assert_eq!(busy.to_busiest, bare.to_busiest + 10);
    assert_eq!(busy.ours_bytes, bare.ours_bytes + 2 * with.bytes_of_driver());
    // With five per cent: one worker has eight of them.
    assert_eq!((bare.files_of_worker, busy.files_of_worker), (Some(13_381), Some(13_390)));
    assert_eq!(need(&with, none), bare, "they are on other hosts");
    let (mut demand, hosts) = (with, [(roomy(), 8), (named("b", roomy()), 2)]);
    demand.managed = true;
    let all = Examination::of_workers(demand, &roomy(), &hosts);
    let at: Vec<_> = all.hosts.iter().map(|host| host.duty.at_workers.connections).collect();
    assert_eq!(at, [8, 2]);
    assert_eq!(all.hosts[0].need.connections, 50_012, "all end at brokers here");
    let words = all.hosts[0].duty.in_words();
    assert!(words.ends_with("the driver, a driver at a worker, 3 brokers"), "{words}");
}
