//! The answers: one section for each question that the measurements can answer.

use std::collections::BTreeMap;

use super::brokers::{brokers, versions};
use super::workers::workers;
use super::{Line, Mood, Section, Table};
use crate::format;
use crate::latency::LatencyFigures;
use crate::place::PlaceSummary;
use crate::run::Origin;
use crate::summary::{EntrySummary, RecoverySummary, Summary};
use crate::wave::WaveKind;

const LEGEND: &str =
    "all in: the last node had answered, median and slowest wave; p50, p99, max: single replies";

/// The answers in the order of the questions; a question without figures is left out.
pub(super) fn answers(summary: &Summary) -> Vec<Section> {
    let foreign = summary.fleet.origin.is_foreign();
    let mut requests = waves(summary, WaveKind::Request, "Does every node answer, and how fast?");
    let mut discoveries =
        waves(summary, WaveKind::Discover, "How long until discovery finds everybody?");
    // Said once, below the last table of its kind.
    if let Some(section) = discoveries.as_mut().or(requests.as_mut()) {
        section.lines.push(Line::plain(LEGEND));
    }
    [
        requests,
        discoveries,
        places(summary),
        if foreign { strangers(summary) } else { carried(summary) },
        workers(summary),
        brokers(summary),
        connections(summary).filter(|_| !foreign),
        recovery(summary),
        events(summary),
        versions(summary),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn waves(summary: &Summary, kind: WaveKind, title: &'static str) -> Option<Section> {
    let entries: Vec<_> = summary.entries.iter().filter(|entry| entry.kind == kind).collect();
    if entries.is_empty() {
        return None;
    }
    let columns = vec![
        ("wave", false),
        ("complete", true),
        ("on time", true),
        ("all in", true),
        ("slowest", true),
        ("p50", true),
        ("p99", true),
        ("max", true),
    ];
    let rows = entries.iter().map(|entry| wave_row(entry)).collect();
    let lines = entries.iter().filter_map(|entry| trouble(entry)).collect();
    Some(Section { title, table: Some(Table { columns, rows }), lines })
}

/// Which part of the network is slow, where there are several.
fn places(summary: &Summary) -> Option<Section> {
    let places = summary.places.as_ref()?;
    let columns = vec![
        ("nodes at home on", false),
        ("on time", true),
        ("p50", true),
        ("p99", true),
        ("max", true),
    ];
    let brokers = places.by_broker.iter().map(|(name, place)| place_row(name.clone(), place));
    let clusters = places.by_cluster.iter().filter(|_| places.by_cluster.len() > 1);
    let clusters = clusters.map(|(name, place)| place_row(format!("cluster {name}"), place));
    let hops = places.by_hops.iter().filter(|_| places.by_hops.len() > 1);
    let hops = hops.map(|(hops, place)| {
        place_row(format::counted(u64::from(*hops), "hop away", "hops away"), place)
    });
    let table = Table { columns, rows: brokers.chain(clusters).chain(hops).collect() };
    let title = "Is a part of the network slow?";
    Some(Section { title, table: Some(table), lines: Vec::new() })
}

fn place_row(name: String, place: &PlaceSummary) -> (Mood, Vec<String>) {
    let reply = |pick: fn(&LatencyFigures) -> u64| {
        let figures = place.response_time_us.as_ref();
        figures.map_or_else(nothing, |figures| format::micros(pick(figures) as f64))
    };
    let share = format::share(place.on_time, place.expected);
    let cells = vec![
        name,
        format!("{share} of {}", format::count(place.expected)),
        reply(|figures| figures.p50),
        reply(|figures| figures.p99),
        reply(|figures| figures.max),
    ];
    (if place.on_time == place.expected { Mood::Plain } else { Mood::Bad }, cells)
}

fn wave_row(entry: &EntrySummary) -> (Mood, Vec<String>) {
    let reply = |pick: fn(&LatencyFigures) -> u64| {
        let figures = entry.response_time_us.as_ref();
        figures.map_or_else(nothing, |figures| format::micros(pick(figures) as f64))
    };
    let all_in =
        |ms: Option<f64>| ms.map_or_else(|| "never".to_owned(), |ms| format::micros(ms * 1e3));
    let share = format::share(entry.on_time, entry.expected);
    let name = match entry.clients {
        0 | 1 => entry.name.clone(),
        clients => format!("{} ({clients} clients)", entry.name),
    };
    let cells = vec![
        name,
        format!("{} of {}", format::count(entry.complete_waves), format::count(entry.waves)),
        format!("{share} of {}", format::count(entry.expected)),
        all_in(entry.to_complete_ms.median),
        // A wave that never completed is slower than every other.
        all_in(entry.to_complete_ms.max.filter(|_| entry.missing == 0)),
        reply(|figures| figures.p50),
        reply(|figures| figures.p99),
        reply(|figures| figures.max),
    ];
    (if entry.on_time == entry.expected { Mood::Plain } else { Mood::Bad }, cells)
}

pub(super) fn nothing() -> String {
    "-".to_owned()
}

/// Everything that should be zero and is not.
fn trouble(entry: &EntrySummary) -> Option<Line> {
    let counts = [
        (entry.missing, "missing"),
        (entry.late, "late"),
        (entry.errors, "with an error"),
        (entry.duplicate, "duplicate"),
        (entry.unexpected, "unexpected"),
        (entry.undecodable, "undecodable"),
    ];
    let seen = counts.iter().filter(|(n, _)| *n > 0);
    let parts: Vec<_> = seen.map(|(n, what)| format!("{} {what}", format::count(*n))).collect();
    let mood = if entry.missing + entry.late > 0 { Mood::Bad } else { Mood::Warning };
    (!parts.is_empty()).then(|| Line::new(mood, format!("{}: {}", entry.name, parts.join(", "))))
}

fn carried(summary: &Summary) -> Option<Section> {
    if summary.fleet.planned == 0 {
        return None;
    }
    let columns = vec![
        ("group", false),
        ("nodes", true),
        ("agents", true),
        ("collectives", true),
        ("subscriptions a node", true),
    ];
    let rows = summary.fleet.groups.iter().map(|(name, group)| {
        let figures =
            [group.planned, group.agents, group.collectives, group.subscriptions_per_node];
        let cells = figures.into_iter().map(format::count);
        (Mood::Plain, std::iter::once(name.clone()).chain(cells).collect())
    });
    let rows: Vec<_> = rows.collect();
    let table = (!rows.is_empty()).then_some(Table { columns, rows });
    let (emulator, driver) = (&summary.cost.emulator, &summary.cost.driver);
    let figures = [
        Some(format::counted(summary.fleet.subscriptions, "subscription", "subscriptions")),
        emulator.rss_bytes_per_node.map(|n| format!("emulator {} a node", format::bytes(n))),
        emulator.cpu_us_per_answer.map(|us| format!("{} CPU an answer", format::micros(us))),
        driver.cpu_us_per_reply.map(|us| format!("driver {} CPU a reply", format::micros(us))),
    ];
    let figures: Vec<_> = figures.into_iter().flatten().collect();
    let lines = vec![Line::plain(figures.join(", "))];
    Some(Section { title: "What do agents and collectives add up to?", table, lines })
}

/// Nodes that are not ours: how many have to answer, and how we know of them.
fn strangers(summary: &Summary) -> Option<Section> {
    let planned = summary.fleet.planned;
    if planned == 0 {
        return None;
    }
    let (mood, known) = match summary.fleet.origin {
        Origin::Counted { expected, seen } => (
            if seen < expected { Mood::Warning } else { Mood::Plain },
            format!(
                "{} expected, {} answered a first discovery",
                format::count(expected),
                format::count(seen)
            ),
        ),
        Origin::Listed => (Mood::Plain, "listed by name".to_owned()),
        Origin::Discovered | Origin::Started => {
            (Mood::Plain, "all that answered a first discovery".to_owned())
        }
    };
    let nodes = format!("{}: {known}", format::counted(planned, "node", "nodes"));
    let driver = summary.cost.driver.cpu_us_per_reply;
    let cost = driver.map(|us| Line::plain(format!("driver {} CPU a reply", format::micros(us))));
    let lines = std::iter::once(Line::new(mood, nodes)).chain(cost).collect();
    Some(Section { title: "Which nodes have to answer?", table: None, lines })
}

fn events(summary: &Summary) -> Option<Section> {
    let seen = summary.events.iter().filter(|(_, totals)| totals.published + totals.received > 0);
    let rows: Vec<_> = seen
        .map(|(kind, totals)| {
            let mood = if totals.lost() > 0 { Mood::Warning } else { Mood::Plain };
            let figures = [totals.published, totals.received, totals.lost()].map(format::count);
            (mood, std::iter::once(kind.clone()).chain(figures).collect())
        })
        .collect();
    if rows.is_empty() {
        return None;
    }
    let columns = vec![("event", false), ("published", true), ("received", true), ("lost", true)];
    let title = "Do events and registrations arrive?";
    Some(Section { title, table: Some(Table { columns, rows }), lines: Vec::new() })
}

fn connections(summary: &Summary) -> Option<Section> {
    let fleet = &summary.fleet;
    if fleet.planned == 0 {
        return None;
    }
    let connected = Line::new(
        if fleet.connected < fleet.planned { Mood::Bad } else { Mood::Plain },
        format!(
            "{} of {} connected in {}",
            format::count(fleet.connected),
            format::counted(fleet.planned, "node", "nodes"),
            format::micros(fleet.connect_s * 1e6)
        ),
    );
    let single = fleet.connect_time_us.total.map(|one| {
        let [p50, p99, max] = [one.p50, one.p99, one.max].map(|us| format::micros(us as f64));
        Line::plain(format!("a single node took p50 {p50}, p99 {p99}, max {max}"))
    });
    let lost = Line::new(
        if fleet.disconnects > 0 { Mood::Warning } else { Mood::Plain },
        format!(
            "{} lost, {} made again",
            format::counted(fleet.disconnects, "connection", "connections"),
            format::count(fleet.reconnects)
        ),
    );
    let overwhelmed = [
        ("slow_consumer", "request", "requests", "lost in full request queues of nodes"),
        ("lost_unconnected", "message", "messages", "of nodes without a connection lost"),
    ];
    let overwhelmed = overwhelmed.into_iter().filter_map(|(counter, one, many, what)| {
        let count = fleet.counters.get(counter)?;
        Some(Line::new(Mood::Warning, format!("{} {what}", format::counted(*count, one, many))))
    });
    let counter = |name| fleet.counters.get(name).copied().unwrap_or_default();
    let churn = (counter("left") > 0).then(|| {
        let left = format::counted(counter("left"), "time a node", "times a node");
        let returned = format::count(counter("returned"));
        Line::plain(format!("{left} left on purpose, {returned} times one returned"))
    });
    Some(Section {
        title: "How do connections come, go and come back?",
        table: None,
        lines: [Some(connected), single, Some(lost), churn]
            .into_iter()
            .flatten()
            .chain(overwhelmed)
            .collect(),
    })
}

/// What followed each action of the timeline.
fn recovery(summary: &Summary) -> Option<Section> {
    if summary.recovery.is_empty() {
        return None;
    }
    let columns = vec![
        ("step", false),
        ("brokers", false),
        ("lost", true),
        ("ready", true),
        ("half back", true),
        ("99 %", true),
        ("all", true),
        ("first wave", true),
        ("answers lost", true),
        ("peak", true),
    ];
    let rows = summary.recovery.iter().map(recovery_row).collect();
    let mut lines: Vec<_> = summary.recovery.iter().filter_map(balance).collect();
    lines.push(Line::plain(
        "times since the action; lost: connections of nodes; first wave: complete again; answers lost: \
         not on time, in waves under way until all was back; peak: connections made in a second",
    ));
    let title = "How long is the network away?";
    Some(Section { title, table: Some(Table { columns, rows }), lines })
}

fn recovery_row(recovery: &RecoverySummary) -> (Mood, Vec<String>) {
    let time = |s: Option<f64>| s.map_or_else(|| "never".to_owned(), |s| format::micros(s * 1e6));
    let carried_out = recovery.at_s.is_some();
    let when_done = |text: String| if carried_out { text } else { nothing() };
    let cells = vec![
        recovery.step.clone(),
        recovery.brokers.join(" "),
        when_done(format::count(recovery.nodes_lost)),
        recovery.ready_s.map_or_else(nothing, |s| format::micros(s * 1e6)),
        when_done(time(recovery.time_to_s.p50)),
        when_done(time(recovery.time_to_s.p99)),
        when_done(time(recovery.time_to_s.all)),
        when_done(time(recovery.first_complete_s)),
        when_done(format::count(recovery.requests_lost)),
        when_done(format::count(recovery.connects_per_s_max)),
    ];
    let mood = match (carried_out, recovery.time_to_s.all) {
        (false, _) => Mood::Bad,
        (true, None) => Mood::Warning,
        (true, Some(_)) => Mood::Plain,
    };
    (mood, cells)
}

/// Connections of each broker before and after, where there are several brokers.
fn balance(recovery: &RecoverySummary) -> Option<Line> {
    let (before, after) = (&recovery.connections_before, &recovery.connections_after);
    if before.len().max(after.len()) < 2 {
        return None;
    }
    let mut names: Vec<_> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    let count =
        |of: &BTreeMap<String, u64>, name| of.get(name).map_or_else(nothing, |n| format::count(*n));
    let each = names
        .into_iter()
        .map(|name| format!("{name} {} -> {}", count(before, name), count(after, name)));
    let each: Vec<_> = each.collect();
    let (step, brokers) = (&recovery.step, recovery.brokers.join(" "));
    Some(Line::plain(format!("connections around {step} {brokers}: {}", each.join(", "))))
}
