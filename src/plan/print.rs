//! A plan for people, with the arithmetic written out, and for scripts as JSON.

use std::fmt::{self, Write as _};
use std::time::Duration;

use emulator::agents::stock_timeout_s;
use serde_json::{Value, json};

use super::departures::departs;
use super::text::{Table, mib, percent, thousands};
use super::{
    Act, Brokers, Budget, By, Demand, Entry, EntryClient, Expected, Filter, Group, NatsServer,
    Plan, Question, Rolling, When,
};

mod network;

/// The hard limit of open files for which a plan says how many processes it takes; that of a host is the doctor's
/// business.
const OPEN_FILES_FOR_EXAMPLE: u64 = 20_000;

/// The plan, its digest, its budget and its schedule.
#[must_use]
pub fn to_json(plan: &Plan, budget: &Budget) -> Value {
    let entries = plan.entries.iter();
    let messages: Vec<Value> = entries
        .map(|entry| json!({"name": entry.name, "wave": entry.messages(&plan.groups)}))
        .collect();
    json!({
        "digest": plan.digest(),
        "plan": plan,
        "budget": budget,
        "messages": messages,
        "schedule": plan.schedule(),
        "longest_us": u64::try_from(plan.longest().as_micros()).unwrap_or(u64::MAX),
    })
}

/// The plan as a person reads it.
#[must_use]
pub fn to_text(plan: &Plan, budget: &Budget) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_all(&mut out, plan, budget);
    out
}

fn write_all(out: &mut String, plan: &Plan, budget: &Budget) -> fmt::Result {
    writeln!(out, "{}", plan.name)?;
    if let Some(description) = &plan.description {
        writeln!(out, "  {description}")?;
    }
    writeln!(out, "  seed {}, {}", plan.seed, plan.digest())?;
    network::write(out, plan)?;
    write_fleet(out, plan)?;
    write_waves(out, plan)?;
    write_timeline(out, plan)?;
    write_steps(out, plan)?;
    write_budget(out, plan, budget)?;
    write_thresholds(out, plan)
}

fn write_fleet(out: &mut String, plan: &Plan) -> fmt::Result {
    writeln!(out, "\nFleet")?;
    let mut table =
        Table::new(&["group", "nodes", "collectives", "agents", "subscriptions", "connect"]);
    for group in &plan.groups {
        table.row([
            group.name.clone(),
            thousands(group.nodes),
            group.collectives.join(" "),
            group.agents_per_node().to_string(),
            format!(
                "{} = ({} agents + 1) x {} {}",
                group.subscriptions_per_node(),
                group.agents_per_node(),
                group.collectives.len(),
                if group.collectives.len() == 1 { "collective" } else { "collectives" },
            ),
            connect_text(group),
        ]);
    }
    table.write(out)?;
    for group in &plan.groups {
        if let Some(text) = behaviour_text(group) {
            writeln!(out, "  {}: {text}", group.name)?;
        }
    }
    Ok(())
}

fn connect_text(group: &Group) -> String {
    let pace = match group.connect.rate_per_s {
        Some(rate) => format!("{}/s", thousands_f(rate)),
        None => "unpaced".to_owned(),
    };
    format!("{pace}, about {}", short(group.connect_time()))
}

/// How a group departs from answering at once and always; `None`: it does not.
fn behaviour_text(group: &Group) -> Option<String> {
    use super::ReplyDelay as Delay;
    let mut parts = Vec::new();
    let (after, often) = match group.behaviour.reply_delay {
        Delay::None => (None, Duration::ZERO),
        Delay::Fixed { delay } => (Some(short(delay)), delay),
        Delay::Uniform { low, high } => (Some(format!("{} to {}", short(low), short(high))), high),
        Delay::Lognormal { median, sigma } => {
            let median_text = short(median);
            (Some(format!("a lognormal delay of median {median_text}, sigma {sigma}")), median)
        }
    };
    parts.extend(after.map(|after| format!("answers after {after}")));
    let shortest = Duration::from_secs(stock_timeout_s("discovery").into());
    if often >= shortest {
        parts.push(format!(
            "not at all where that takes an agent's timeout (discovery and rpcutil {})",
            short(shortest)
        ));
    }
    for (share, what) in [
        (group.behaviour.no_reply, "requests without an answer"),
        (group.behaviour.error_reply, "RPC requests with an error reply"),
    ] {
        if share > 0.0 {
            parts.push(departs(&format!("{} of {what}", percent(share))));
        }
    }
    if let Some(churn) = group.behaviour.churn {
        let (share, every, away) = (percent(churn.share), short(churn.every), short(churn.away));
        parts.push(format!("{share} of the nodes leave every {every} and return after {away}"));
    }
    if let Some(stuck) = group.behaviour.stuck {
        parts.push(format!("hangs {} after connecting", short(stuck.after)));
        parts.push(departs("sockets that take a few KiB without being read"));
    }
    if !group.fidelity.flush_each_subscription {
        parts.push(departs("one flush for all subscriptions"));
    }
    if !group.fidelity.flush_each_reply {
        parts.push(departs("no flush with replies"));
    }
    parts.extend(group.queue.in_words());
    if group.shared_identities {
        parts.push("several nodes may have one identity".to_owned());
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn write_waves(out: &mut String, plan: &Plan) -> fmt::Result {
    writeln!(out, "\nWaves")?;
    let mut table =
        Table::new(&["entry", "asks", "waves", "expected", "clients", "in", "out", "takes about"]);
    for entry in &plan.entries {
        let messages = entry.messages(&plan.groups);
        table.row([
            entry.name.clone(),
            asks(entry),
            waves(entry),
            match entry.each_client.is_empty() {
                true => expected_text(&entry.expected),
                false => "each its own".to_owned(),
            },
            entry.clients.to_string(),
            thousands(messages.broker_in),
            thousands(messages.broker_out),
            short(messages.expected),
        ]);
    }
    table.write(out)?;
    writeln!(
        out,
        "  in and out: messages of one wave at the broker, all clients; out = requests delivered + replies"
    )?;
    for entry in &plan.entries {
        for (number, client) in (1_u32..).zip(&entry.each_client) {
            let EntryClient { at, selects, expected, .. } = client;
            let (nodes, filter) = (expected_text(expected), filter_text(selects));
            writeln!(out, "  {}, client {number} at {at}: {nodes} nodes{filter}", entry.name)?;
        }
    }
    Ok(())
}

fn expected_text(expected: &Expected) -> String {
    format!("{}{}", if expected.exact { "" } else { "up to " }, thousands(expected.nodes))
}

/// What a filter wants, behind a comma; empty where it wants nothing of single nodes.
fn filter_text(filter: &Filter) -> String {
    let Filter { identity, classes, facts, agents: _, compound } = filter;
    let parts = [("identity", identity), ("class", classes), ("fact", facts), ("of", compound)];
    let wanted =
        parts.iter().flat_map(|(what, each)| each.iter().map(move |one| format!(", {what} {one}")));
    wanted.collect()
}

fn asks(entry: &Entry) -> String {
    let what = match &entry.question {
        Question::Discover => match entry.selects.agents.first() {
            Some(agent) => format!("discover {agent}"),
            None => "discover".to_owned(),
        },
        Question::Request { agent, action, .. } => format!("{agent}#{action}"),
    };
    let mode = format!("{:?}", entry.mode).to_lowercase();
    match entry.batch {
        Some(batch) => {
            format!("{what}, {mode} of {}, pause {}", thousands(batch.size), short(batch.sleep))
        }
        None => format!("{what}, {mode}"),
    }
}

fn waves(entry: &Entry) -> String {
    match entry.warmup {
        0 => entry.count.to_string(),
        warmup => format!("{warmup} warm-up + {}", entry.count),
    }
}

/// What is done to brokers, and when.
fn write_steps(out: &mut String, plan: &Plan) -> fmt::Result {
    if plan.timeline.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nWhat happens to brokers")?;
    let mut table = Table::new(&["step", "when", "what", "brokers", "watched"]);
    for step in &plan.timeline {
        let when = match (step.when, plan.wave_before(&step.when)) {
            (_, Some((entry, number))) => format!("after {entry} {number}"),
            (When::At { at }, None) => format!("at {}", short(at)),
            (When::After { .. }, None) => String::new(),
        };
        let brokers = match step.rolling {
            None => step.brokers.join(" "),
            Some(Rolling::Whole) => format!("{}, each when all is back", step.brokers.join(" ")),
            Some(Rolling::Pause { pause }) => {
                format!("{}, each {} after the other", step.brokers.join(" "), short(pause))
            }
        };
        table.row([step.name.clone(), when, act_text(&step.act), brokers, short(step.watch)]);
    }
    table.write(out)
}

fn act_text(act: &Act) -> String {
    let word = act.word();
    match act {
        Act::End { .. } | Act::Start => word.to_owned(),
        Act::Pause { length } => format!("{word} for {}", short(*length)),
        Act::Restart { by, away, nats_server } => {
            let by = match by {
                By::Term => "SIGTERM",
                By::Kill => "SIGKILL",
                By::LameDuck => "lame duck",
            };
            let away = match away.is_zero() {
                true => String::new(),
                false => format!(", away for {}", short(*away)),
            };
            let with = match nats_server {
                None => String::new(),
                Some(NatsServer::Version(version)) => format!(" by nats-server {version}"),
                Some(NatsServer::Path(path)) => format!(" by {path}"),
                Some(NatsServer::Newest) => " by the newest nats-server at hand".to_owned(),
            };
            format!("{word}{with} ({by}{away})")
        }
    }
}

fn write_timeline(out: &mut String, plan: &Plan) -> fmt::Result {
    writeln!(out, "\nTimeline, from the moment that all nodes are connected")?;
    let mut table = Table::new(&["entry", "first", "last", "every", "deadline"]);
    for entry in &plan.entries {
        let last = entry.starts_at + entry.every * entry.waves().saturating_sub(1);
        table.row([
            entry.name.clone(),
            short(entry.starts_at),
            short(last),
            short(entry.every),
            short(entry.deadline),
        ]);
    }
    table.write(out)?;
    let connect = plan.groups.iter().map(Group::connect_time).max().unwrap_or_default();
    writeln!(
        out,
        "  connecting about {}, then at most {}: the last deadline and {} of listening for late replies",
        short(connect),
        short(plan.longest()),
        short(plan.late_grace),
    )
}

fn connections_in_words(demand: &Demand) -> String {
    let Demand { nodes, driver_connections, at_workers, .. } = demand;
    let nodes = thousands(*nodes);
    match at_workers.connections {
        0 => format!("{nodes} nodes + {driver_connections} of the driver"),
        more => format!(
            "{nodes} nodes + {driver_connections} of the driver + {more} of those at workers"
        ),
    }
}

fn write_budget(out: &mut String, plan: &Plan, budget: &Budget) -> fmt::Result {
    let demand = &budget.demand;
    let ports = format!(
        "{} connections of the busiest broker / ({} ports x 0.4)",
        thousands(budget.busiest_connections),
        thousands(budget.port_range),
    );
    let sources = match budget.source_addresses {
        1 => "1, the system's choice".to_owned(),
        many => format!("{many}, 127.0.1.1 onwards on loopback"),
    };
    let broker_memory = match (&plan.brokers, demand.brokers) {
        (Brokers::External { .. }, _) => "not on this host",
        (_, 1) => "20 MiB + 62 KiB a connection + 0.9 KiB a subscription",
        _ => {
            "20 MiB each + 62 KiB a connection + 0.9 KiB a subscription, of all brokers for own subjects"
        }
    };
    let busiest = thousands(budget.busiest_connections);
    let broker_files = format!("{busiest} connections of the busiest + 5 % + 1,000");
    writeln!(out, "\nBudget")?;
    let mut table = Table::new(&["what", "need", "how"]);
    let rows = [
        ("connections", thousands(budget.connections), connections_in_words(demand)),
        ("subscriptions", thousands(demand.subscriptions), "nodes x subscriptions each".to_owned()),
        ("source addresses", sources, ports),
        (
            "open files, our own",
            thousands(budget.emulator_files),
            format!(
                "connections + 5 % + 256; where a process may open 20,000: {}",
                processes(demand.workers_needed(OPEN_FILES_FOR_EXAMPLE))
            ),
        ),
        ("open files, broker", thousands(budget.broker_files), broker_files),
        (
            "broker max_connections",
            thousands(budget.broker_max_connections),
            "65,536, or all connections + 5 % + 100".to_owned(),
        ),
        ("memory, our own", mib(budget.emulator_bytes), "24 MiB + 5 KiB a node".to_owned()),
        ("memory, brokers", mib(budget.broker_bytes), broker_memory.to_owned()),
        ("memory, kernel", mib(budget.kernel_bytes), "8 KiB a connection".to_owned()),
    ];
    for (what, need, how) in rows {
        table.row([what.to_owned(), need, how]);
    }
    table.write(out)
}

/// How many processes carry the nodes, in words.
fn processes(workers: Option<u64>) -> String {
    match workers {
        Some(1) => "one process".to_owned(),
        Some(workers) => format!("{} workers", thousands(workers)),
        None => "not possible".to_owned(),
    }
}

fn write_thresholds(out: &mut String, plan: &Plan) -> fmt::Result {
    writeln!(out, "\nThresholds")?;
    if plan.thresholds.is_empty() {
        return writeln!(out, "  none: the run passes whatever it finds");
    }
    for threshold in &plan.thresholds {
        writeln!(out, "  {} {}", threshold.metric, threshold.expression)?;
    }
    Ok(())
}

/// A rate, whole when it is.
fn thousands_f(number: f64) -> String {
    if number.fract() == 0.0 && (0.0..1e15).contains(&number) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number in range"
        )]
        return thousands(number as u64);
    }
    format!("{number:.3}")
}

/// A duration for a table: `40ms`, `1.8s`, `2m5s`.
fn short(span: Duration) -> String {
    let millis = span.as_millis();
    match millis {
        0 => humantime::format_duration(span).to_string().replace(' ', ""),
        1..1000 => format!("{millis}ms"),
        1000..60_000 if (millis / 100).is_multiple_of(10) => format!("{}s", millis / 1000),
        1000..60_000 => format!("{}.{}s", millis / 1000, millis / 100 % 10),
        _ => {
            let seconds = Duration::from_secs(span.as_secs());
            humantime::format_duration(seconds).to_string().replace(' ', "")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_as_exact_as_a_person_reads() {
        for (micros, text) in [
            (0, "0s"),
            (700, "700us"),
            (40_000, "40ms"),
            (1_000_000, "1s"),
            (1_849_000, "1.8s"),
            (59_990_000, "59.9s"),
            (125_400_000, "2m5s"),
        ] {
            assert_eq!(short(Duration::from_micros(micros)), text);
        }
    }
}
