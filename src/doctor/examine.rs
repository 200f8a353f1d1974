//! The comparison itself: a pure function of what is asked, what a host does of it, and the host.

use super::{Check, Duty, Host, Need, Verdict};
use crate::plan::{DEFAULT_PORT_RANGE, Demand, brokers_needed, mib, thousands};

/// Memory is asked for with a reserve: the figures of the budget are means.
const MEMORY_RESERVE_PERCENT: u64 = 130;
/// A backlog below this drops connections at any rate that is worth a test.
const LEAST_SYN_BACKLOG: u64 = 512;
/// Ports of a source address where the range is as wide as it can be, with a tenth in reserve.
const WIDEST: u64 = 64_512 * 9 / 10;
/// Clock sources that each reading asks the kernel for, in a microsecond and more.
const SLOW_CLOCKS: [&str; 5] = ["acpi_pm", "hpet", "jiffies", "pit", "refined-jiffies"];

/// Holds what `duty` takes of `demand` against `host`. The order is that of the table that people read.
#[must_use]
pub fn examine(demand: &Demand, duty: &Duty, host: &Host) -> Vec<Check> {
    let case = Case { demand, duty, host, need: need(demand, duty, host) };
    let checks = [
        case.files_of_worker(),
        case.files_of_driver(),
        case.files_of_broker(),
        Some(case.files_of_host()),
        case.reach(),
        Some(case.ports()),
        Some(case.memory()),
        Some(case.tcp_memory()),
        case.backlog(),
        case.syn_backlog(),
        case.conntrack(),
        case.tasks(),
        Some(case.cores()),
        Some(case.clock()),
        case.time_of_day(),
    ];
    checks.into_iter().flatten().collect()
}

/// What `duty` takes of `host`.
pub(super) fn need(demand: &Demand, duty: &Duty, host: &Host) -> Need {
    let port_range = host.port_range_size().unwrap_or(DEFAULT_PORT_RANGE);
    Need::of(demand, duty, port_range, host.cores)
}

/// The largest number of nodes, groups in proportion, that these hosts carry; 0: none. `duties` says who
/// does what where there are that many.
#[must_use]
pub fn largest<'a>(demand: &Demand, duties: impl Fn(&Demand) -> Vec<(Duty, &'a Host)>) -> u64 {
    let fits = |nodes: u64| {
        let demand = demand.with_nodes(nodes);
        let mut hosts = duties(&demand).into_iter();
        hosts.all(|(duty, host)| super::worst(&examine(&demand, &duty, host)) < Verdict::Fail)
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
    let have_text = have.map_or_else(|| "unknown".to_owned(), thousands);
    check(name, (need, thousands(need)), (have, have_text), short_is, advice)
}

/// The same with numbers that people read otherwise.
fn check(
    name: &'static str,
    (need, need_text): (u64, String),
    (have, have_text): (Option<u64>, String),
    short_is: Verdict,
    advice: String,
) -> Check {
    let verdict = match have {
        Some(have) if have >= need => Verdict::Ok,
        Some(_) => short_is,
        None => Verdict::Warn,
    };
    let advice = if verdict == Verdict::Ok { String::new() } else { advice };
    Check { name, need: need_text, have: have_text, verdict, advice }
}

/// How brokers come into the reach of other hosts; `managed`: they are started here.
#[must_use]
pub(crate) fn reach_advice(managed: bool) -> &'static str {
    match managed {
        true => {
            "run it with -P brokers.listen=ADDRESS, an address of the conductor's host that all workers reach, or with \
             brokers that are there already: -P 'brokers={topology: external, urls: [\"nats://HOST:PORT\"]}'"
        }
        false => "write URLs with hosts that all workers reach",
    }
}

/// One host, and what is asked of it.
struct Case<'a> {
    demand: &'a Demand,
    duty: &'a Duty,
    host: &'a Host,
    need: Need,
}

impl Case<'_> {
    fn files(&self, name: &'static str, need: u64, instead: Option<String>) -> Check {
        let limit = format!("sudo prlimit --pid $$ --nofile={need}:{need}");
        let raise = match self.host.nr_open {
            Some(most) if most < need => format!("sudo sysctl -w fs.nr_open={need} && {limit}"),
            _ => limit,
        };
        let advice = instead.map_or(raise.clone(), |instead| format!("{instead}, or {raise}"));
        at_least(name, need, Some(self.host.open_files_hard), Verdict::Fail, advice)
    }

    fn files_of_worker(&self) -> Option<Check> {
        let need = self.need.files_of_worker?;
        let enough = self.demand.workers_needed(self.host.open_files_hard);
        let more = enough.map(|enough| format!("--workers {enough}"));
        Some(self.files("open files, each worker", need, more))
    }

    fn files_of_driver(&self) -> Option<Check> {
        Some(self.files("open files, this process", self.need.files_of_driver?, None))
    }

    fn files_of_broker(&self) -> Option<Check> {
        // A managed broker inherits the hard limit of the process that starts it.
        let need = self.need.files_of_broker?;
        let Demand { nodes, brokers, .. } = *self.demand;
        let drivers = self.demand.connections_of_drivers();
        let enough = brokers_needed(nodes, drivers, self.host.open_files_hard);
        let more = enough.filter(|enough| *enough > brokers);
        let more = more.map(|enough| format!("brokers: {{topology: cluster, size: {enough}}}"));
        Some(self.files("open files, each broker", need, more))
    }

    fn files_of_host(&self) -> Check {
        let need = self.need.files_of_host;
        let advice = format!("sudo sysctl -w fs.file-max={need}");
        at_least("open files, host", need, self.host.file_max, Verdict::Fail, advice)
    }

    /// Brokers on loopback are out of the reach of other hosts.
    fn reach(&self) -> Option<Check> {
        let elsewhere = self.duty.hosts > 1 && self.duty.brokers == 0;
        (elsewhere && self.demand.loopback && self.duty.nodes > 0).then(|| Check {
            name: "brokers in reach",
            need: "an address of the network".to_owned(),
            have: "loopback of another host".to_owned(),
            verdict: Verdict::Fail,
            advice: reach_advice(self.demand.managed).to_owned(),
        })
    }

    fn ports(&self) -> Check {
        let (need, sources) = (self.need.to_busiest, self.need.source_addresses);
        let one = self.host.port_range_size().map(|range| range * 9 / 10);
        let many = if self.demand.loopback { sources } else { 1 };
        let advice = match need {
            _ if one.is_none() => "look at net.ipv4.ip_local_port_range",
            ..=WIDEST => "sudo sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"",
            _ => {
                "name more brokers in `urls`, or take more hosts for the workers: ports are taken \
                 per source and broker address"
            }
        };
        let have = one.map_or_else(|| "unknown".to_owned(), thousands);
        let have = if many > 1 { format!("{have} x {many} source addresses") } else { have };
        let mut check = check(
            "local ports, to a broker",
            (need, thousands(need)),
            (one.map(|one| one * many), have),
            Verdict::Fail,
            advice.to_owned(),
        );
        // There are enough, yet the kernel will look for them; on loopback we have taken care of that.
        if check.verdict == Verdict::Ok && self.need.source_addresses > many {
            check.verdict = Verdict::Warn;
            check.advice = "sudo sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\", or take more hosts: \
                            beyond two fifths of the range the kernel searches milliseconds for each further port"
                .to_owned();
        }
        check
    }

    fn memory(&self) -> Check {
        let least = self.need.bytes();
        let need = least / 100 * MEMORY_RESERVE_PERCENT;
        let left = self.host.control_group.memory_left_bytes;
        let have = match (self.host.memory_available_bytes, left) {
            (Some(free), Some(left)) => Some(free.min(left)),
            (free, left) => free.or(left),
        };
        let short_is = if have < Some(least) { Verdict::Fail } else { Verdict::Warn };
        let advice = match left.is_some() && have == left {
            true => {
                "raise the memory limit of the control group (memory.max, or \
                 memory.limit_in_bytes), or take fewer nodes"
            }
            false => "free memory, or take fewer nodes",
        };
        let have_text = have.map_or_else(|| "unknown".to_owned(), mib);
        check("memory", (need, mib(need)), (have, have_text), short_is, advice.to_owned())
    }

    fn tcp_memory(&self) -> Check {
        let (need, have) = (self.need.tcp_bytes, self.host.tcp_memory_bytes);
        let pages = need.div_ceil(4096);
        let advice = format!(
            "sudo sysctl -w net.ipv4.tcp_mem=\"{} {pages} {}\", or the kernel holds messages up",
            pages / 4 * 3,
            pages / 2 * 3
        );
        let have_text = have.map_or_else(|| "unknown".to_owned(), mib);
        check("memory, TCP buffers", (need, mib(need)), (have, have_text), Verdict::Warn, advice)
    }

    fn backlog(&self) -> Option<Check> {
        // A SYN that finds the backlog full is sent again a second later, which spoils connect times.
        let need = self.demand.in_flight * 2;
        let advice = format!("sudo sysctl -w net.core.somaxconn={need}, or a smaller `in_flight`");
        (self.duty.brokers > 0)
            .then(|| at_least("listen backlog", need, self.host.somaxconn, Verdict::Warn, advice))
    }

    fn syn_backlog(&self) -> Option<Check> {
        let need = self.demand.in_flight.max(LEAST_SYN_BACKLOG);
        let advice = format!("sudo sysctl -w net.ipv4.tcp_max_syn_backlog={need}");
        (self.duty.brokers > 0)
            .then(|| at_least("SYN backlog", need, self.host.syn_backlog, Verdict::Warn, advice))
    }

    fn conntrack(&self) -> Option<Check> {
        let table = self.host.conntrack?;
        let need = self.need.connections + self.need.connections / 5;
        let free = table.max.saturating_sub(table.count);
        let advice =
            format!("sudo sysctl -w net.netfilter.nf_conntrack_max={}", table.count + need);
        Some(at_least("tracked connections", need, Some(free), Verdict::Fail, advice))
    }

    fn tasks(&self) -> Option<Check> {
        let left = self.host.control_group.tasks_left?;
        let need = self.need.tasks;
        let advice = format!(
            "raise pids.max of the control group by {}, as with TasksMax= of a unit",
            need.saturating_sub(left)
        );
        Some(at_least("tasks", need, Some(left), Verdict::Fail, advice))
    }

    fn cores(&self) -> Check {
        let (need, cores) = (self.need.cores, self.host.cores * 1000);
        let quota = self.host.control_group.cpu_milli.filter(|quota| *quota < cores);
        let (have, have_text, advice) = match quota {
            Some(quota) => (
                quota,
                format!("{}.{} by quota", quota / 1000, quota % 1000 / 100),
                "raise the quota of the control group (cpu.max, or cpu.cfs_quota_us), or read \
                 latencies as an upper bound",
            ),
            None => (
                cores,
                thousands(self.host.cores),
                "broker and nodes share one core: read latencies as an upper bound",
            ),
        };
        check(
            "cores",
            (need * 1000, thousands(need)),
            (Some(have), have_text),
            Verdict::Warn,
            advice.to_owned(),
        )
    }

    fn clock(&self) -> Check {
        let source = self.host.clock_source.as_deref();
        let fast = source.map(|source| u64::from(!SLOW_CLOCKS.contains(&source)));
        let file = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
        check(
            "clock source",
            (1, "read without the kernel".to_owned()),
            (fast, source.unwrap_or("unknown").to_owned()),
            Verdict::Warn,
            format!("echo tsc | sudo tee {file}, if available_clocksource beside it has tsc"),
        )
    }

    /// Latencies are differences of one clock; only what hosts write of times of day needs theirs in step.
    fn time_of_day(&self) -> Option<Check> {
        let in_step = self.host.clock_in_step;
        let have = match in_step {
            Some(true) => "in step",
            Some(false) => "not in step",
            None => "unknown",
        };
        (self.duty.hosts > 1).then(|| {
            check(
                "time of day",
                (1, "in step".to_owned()),
                (in_step.map(u64::from), have.to_owned()),
                Verdict::Warn,
                "sudo timedatectl set-ntp true; latencies do not depend on it, times in logs do"
                    .to_owned(),
            )
        })
    }
}
