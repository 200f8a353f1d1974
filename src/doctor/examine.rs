//! The comparison itself: a pure function of a budget and a host.

use super::{Check, Host, Verdict};
use crate::plan::{Budget, Demand, mib, thousands};

/// Memory is asked for with a reserve: the figures of the budget are means.
const MEMORY_RESERVE_PERCENT: u64 = 130;
/// Files of the rest of the host.
const OTHER_FILES: u64 = 20_000;
/// A backlog below this drops connections at any rate that is worth a test.
const LEAST_SYN_BACKLOG: u64 = 512;

/// Holds `budget` against `host`. The order is that of the table that people read.
#[must_use]
pub fn examine(budget: &Budget, host: &Host) -> Vec<Check> {
    let checks = [
        Some(files_of_emulator(budget, host)),
        budget.demand.managed.then(|| files_of_broker(budget, host)),
        Some(files_of_host(budget, host)),
        Some(ports(budget, host)),
        Some(memory(budget, host)),
        budget.demand.managed.then(|| backlog(budget, host)),
        budget.demand.managed.then(|| syn_backlog(budget, host)),
        host.conntrack.is_some().then(|| conntrack(budget, host)),
        Some(cores(host)),
    ];
    checks.into_iter().flatten().collect()
}

/// The largest number of nodes, groups in proportion, that this host carries; 0: none.
#[must_use]
pub fn largest(demand: &Demand, host: &Host, port_range: u64) -> u64 {
    let fits = |nodes: u64| {
        let budget = Budget::for_demand(demand.with_nodes(nodes), port_range);
        examine(&budget, host).iter().all(|check| check.verdict < Verdict::Fail)
    };
    // Every need grows with the nodes, so the numbers that fit are all below those that do not.
    let (mut fitting, mut failing) = (0, demand.nodes + 1);
    while fitting + 1 < failing {
        let middle = fitting + (failing - fitting) / 2;
        if fits(middle) { fitting = middle } else { failing = middle }
    }
    fitting
}

/// The usual case: a number that must be at least another.
fn at_least(
    name: &'static str,
    need: u64,
    have: Option<u64>,
    short_is: Verdict,
    advice: String,
) -> Check {
    let verdict = match have {
        Some(have) if have >= need => Verdict::Ok,
        Some(_) => short_is,
        None => Verdict::Warn,
    };
    Check {
        name,
        need: thousands(need),
        have: have.map_or_else(|| "unknown".to_owned(), thousands),
        verdict,
        advice: if verdict == Verdict::Ok { String::new() } else { advice },
    }
}

fn raise_files(need: u64, host: &Host) -> String {
    let limit = format!("sudo prlimit --pid $$ --nofile={need}:{need}");
    match host.nr_open {
        Some(most) if most < need => format!("sudo sysctl -w fs.nr_open={need} && {limit}"),
        _ => limit,
    }
}

fn files_of_emulator(budget: &Budget, host: &Host) -> Check {
    let need = budget.emulator_files;
    let advice = raise_files(need, host);
    at_least("open files, this process", need, Some(host.open_files_hard), Verdict::Fail, advice)
}

fn files_of_broker(budget: &Budget, host: &Host) -> Check {
    // A managed broker inherits the hard limit of this process.
    let need = budget.broker_files;
    let advice = raise_files(need, host);
    at_least("open files, broker", need, Some(host.open_files_hard), Verdict::Fail, advice)
}

fn files_of_host(budget: &Budget, host: &Host) -> Check {
    let ends = if budget.demand.managed { 2 } else { 1 };
    let need = ends * budget.connections + OTHER_FILES;
    let advice = format!("sudo sysctl -w fs.file-max={need}");
    at_least("open files, host", need, host.file_max, Verdict::Fail, advice)
}

fn ports(budget: &Budget, host: &Host) -> Check {
    let need = budget.busiest_connections;
    let range = budget.port_range;
    let sources = budget.source_addresses;
    let one = range * 9 / 10;
    let widest = 64_512 * 9 / 10;
    let (verdict, advice) = match (sources, budget.demand.loopback, host.port_range) {
        (_, _, None) => (Verdict::Warn, "look at net.ipv4.ip_local_port_range".to_owned()),
        (1, _, _) | (_, true, _) => (Verdict::Ok, String::new()),
        _ if need <= widest => {
            (Verdict::Fail, "sudo sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"".to_owned())
        }
        _ => (
            Verdict::Fail,
            "name more brokers in `urls`: ports are taken per broker address".to_owned(),
        ),
    };
    let have = match sources {
        1 => thousands(one),
        _ if budget.demand.loopback => {
            format!("{} x {sources} source addresses", thousands(one))
        }
        _ => thousands(one),
    };
    Check { name: "local ports", need: thousands(need), have, verdict, advice }
}

fn memory(budget: &Budget, host: &Host) -> Check {
    let least = budget.host_bytes();
    let need = least / 100 * MEMORY_RESERVE_PERCENT;
    let have = match (host.memory_available_bytes, host.cgroup_left_bytes) {
        (Some(free), Some(left)) => Some(free.min(left)),
        (free, left) => free.or(left),
    };
    let limited = host.cgroup_left_bytes.is_some() && have == host.cgroup_left_bytes;
    let verdict = match have {
        Some(have) if have >= need => Verdict::Ok,
        Some(have) if have < least => Verdict::Fail,
        _ => Verdict::Warn,
    };
    let advice = match verdict {
        Verdict::Ok => String::new(),
        _ if limited => "raise memory.max of the control group, or take fewer nodes".to_owned(),
        _ => "free memory, or take fewer nodes".to_owned(),
    };
    let have = have.map_or_else(|| "unknown".to_owned(), mib);
    Check { name: "memory", need: mib(need), have, verdict, advice }
}

fn backlog(budget: &Budget, host: &Host) -> Check {
    // A SYN that finds the backlog full is sent again a second later, which spoils connect times.
    let need = budget.demand.in_flight * 2;
    let advice = format!("sudo sysctl -w net.core.somaxconn={need}, or a smaller `in_flight`");
    at_least("listen backlog", need, host.somaxconn, Verdict::Warn, advice)
}

fn syn_backlog(budget: &Budget, host: &Host) -> Check {
    let need = budget.demand.in_flight.max(LEAST_SYN_BACKLOG);
    let advice = format!("sudo sysctl -w net.ipv4.tcp_max_syn_backlog={need}");
    at_least("SYN backlog", need, host.syn_backlog, Verdict::Warn, advice)
}

fn conntrack(budget: &Budget, host: &Host) -> Check {
    let need = budget.connections + budget.connections / 5;
    let free = host.conntrack.map(|table| table.max.saturating_sub(table.count));
    let total = host.conntrack.map_or(0, |table| table.count) + need;
    let advice = format!("sudo sysctl -w net.netfilter.nf_conntrack_max={total}");
    at_least("tracked connections", need, free, Verdict::Fail, advice)
}

fn cores(host: &Host) -> Check {
    let advice = "broker and nodes share one core: read latencies as an upper bound".to_owned();
    at_least("cores", 2, Some(host.cores), Verdict::Warn, advice)
}
