//! What the brokers carry, how they are linked, and which releases they were.

use std::collections::BTreeMap;

use super::sections::nothing;
use super::{Line, Mood, Section, Table};
use crate::broker::{BrokerFigure, Build};
use crate::format;
use crate::summary::{BrokerSummary, Summary};

pub(super) fn brokers(summary: &Summary) -> Option<Section> {
    let brokers = &summary.cost.brokers;
    if brokers.is_empty() {
        return None;
    }
    let columns = vec![
        ("broker", false),
        ("version", false),
        ("connections", true),
        ("memory", true),
        ("CPU", true),
        ("messages in", true),
        ("out", true),
        ("slow consumers", true),
    ];
    let rows = brokers.iter().map(broker_row).collect();
    let topology = Line::plain(format!("topology: {}", summary.topology));
    let trouble = brokers.iter().flat_map(broker_trouble);
    let told = formed(summary).into_iter().chain(learned(summary)).chain(links(brokers));
    let ended = ended(brokers);
    let lines = std::iter::once(topology).chain(told).chain(trouble).chain(ended).collect();
    Some(Section {
        title: "What do the brokers carry?",
        table: Some(Table { columns, rows }),
        lines,
    })
}

/// What brokers that are not ours say of how they are joined.
fn learned(summary: &Summary) -> Option<Line> {
    let brokers = summary.cost.brokers.iter().filter(|_| summary.topology == "external");
    let said = brokers.filter_map(|broker| {
        let cluster = broker.cluster.as_ref()?;
        let links = broker.figure(BrokerFigure::Links).unwrap_or_default() as u64;
        let links = format::counted(links, "link", "links");
        Some(format!("{} in cluster {cluster} with {links}", broker.name))
    });
    let said: Vec<_> = said.collect();
    (!said.is_empty()).then(|| Line::plain(said.join(", ")))
}

/// The slowest link of all, and the fullest where anything waited.
fn links(brokers: &[BrokerSummary]) -> Vec<Line> {
    let mut all = Vec::new();
    for broker in brokers {
        all.extend(broker.peers.iter().map(|(peer, link)| (&broker.name, peer, link)));
    }
    let micros = |us: Option<u64>| format::micros(us.unwrap_or_default() as f64);
    let slowest = all.iter().filter(|(_, _, link)| link.rtt_us_max.is_some());
    let slowest = slowest.max_by_key(|(_, _, link)| (link.rtt_us_min, link.rtt_us_max));
    let slowest = slowest.map(|(from, to, link)| {
        let (least, most) = (micros(link.rtt_us_min), micros(link.rtt_us_max));
        format!("slowest link: {from} to {to} ({}), round trip {least} to {most}", link.kind)
    });
    let fullest = all.iter().filter(|(_, _, link)| link.pending_bytes > Some(0));
    let fullest = fullest.max_by_key(|(_, _, link)| link.pending_bytes).map(|(from, to, link)| {
        let waited = format::bytes(link.pending_bytes.unwrap_or_default() as f64);
        format!("fullest link: {from} to {to} ({}), up to {waited} waited", link.kind)
    });
    slowest.into_iter().chain(fullest).map(Line::plain).collect()
}

/// How several brokers became a network.
fn formed(summary: &Summary) -> Option<Line> {
    let forming = summary.forming.as_ref()?;
    let kinds = forming.links.iter().filter(|(_, count)| **count > 0);
    let links: Vec<_> = kinds
        .map(|(kind, count)| {
            let kind = if kind == "leaf" { "leaf connection" } else { kind };
            format::counted(*count, kind, &format!("{kind}s"))
        })
        .collect();
    let formed = format::micros(forming.formed_s * 1e6);
    // Of brokers that are not ours it is not known how they are joined.
    let links = match links.as_slice() {
        [] => "a message each way between the brokers that are named:".to_owned(),
        links => format!("{} formed in", links.join(", ")),
    };
    let spread = forming.interest_s.map(|interest| {
        format!(", interest of all nodes spread in {}", format::micros(interest * 1e6))
    });
    let text = format!("{links} {formed}{}", spread.unwrap_or_default());
    Some(Line::plain(text))
}

fn broker_row(broker: &BrokerSummary) -> (Mood, Vec<String>) {
    let figure = |figure| broker.figure(figure);
    let show = |value: Option<f64>, as_text: fn(f64) -> String| value.map_or_else(nothing, as_text);
    let count = |name| show(figure(name), |n| format::count(n as u64));
    let slow = figure(BrokerFigure::SlowConsumers).unwrap_or_default();
    let mood = if slow > 0.0 { Mood::Warning } else { Mood::Plain };
    let cells = vec![
        broker.name.clone(),
        ran(broker).iter().map(|build| build.version.as_str()).collect::<Vec<_>>().join(", then "),
        count(BrokerFigure::Connections),
        show(figure(BrokerFigure::RssBytes), format::bytes),
        show(figure(BrokerFigure::CpuUs), |s| format::micros(s * 1e6)),
        count(BrokerFigure::MsgsIn),
        count(BrokerFigure::MsgsOut),
        count(BrokerFigure::SlowConsumers),
    ];
    (mood, cells)
}

/// How connections ended, said once for brokers that say the same.
fn ended(brokers: &[BrokerSummary]) -> Vec<Line> {
    let mut alike: BTreeMap<&BTreeMap<String, u64>, Vec<&str>> = BTreeMap::new();
    for broker in brokers.iter().filter(|broker| !broker.closed.is_empty()) {
        alike.entry(&broker.closed).or_default().push(&broker.name);
    }
    let told = alike.into_iter().map(|(closed, names)| {
        let closed = closed.iter().map(|(reason, n)| format!("{reason} {}", format::count(*n)));
        let closed: Vec<_> = closed.collect();
        let each = if names.len() > 1 { " each" } else { "" };
        let names = names.join(", ");
        Line::plain(format!("{names}, connections ended: {}{each}", closed.join(", ")))
    });
    told.collect()
}

/// What was wrong with reading, or with monitoring.
fn broker_trouble(broker: &BrokerSummary) -> Vec<Line> {
    let mut lines = Vec::new();
    let name = &broker.name;
    let kinds = [
        (BrokerFigure::SlowClients, "client", "clients"),
        (BrokerFigure::SlowRoutes, "route", "routes"),
        (BrokerFigure::SlowGateways, "gateway", "gateways"),
        (BrokerFigure::SlowLeafs, "leaf connection", "leaf connections"),
    ];
    let slow = kinds.into_iter().filter_map(|(figure, one, many)| {
        let count = broker.figure(figure).filter(|count| *count > 0.0)? as u64;
        Some(format::counted(count, one, many))
    });
    let slow: Vec<_> = slow.collect();
    if !slow.is_empty() {
        lines
            .push(Line::new(Mood::Warning, format!("{name}, slow consumers: {}", slow.join(", "))));
    }
    if broker.silent_s > 0.0 {
        let silent = format::micros(broker.silent_s * 1e6);
        let text = format!("{name}: its monitoring did not answer for {silent}");
        lines.push(Line::new(Mood::Warning, text));
    }
    lines
}

pub(super) fn versions(summary: &Summary) -> Option<Section> {
    let version = |build: Build| match build.go {
        Some(go) => format!("{} ({go})", build.version),
        None => build.version,
    };
    let mut brokers: Vec<_> = summary.cost.brokers.iter().flat_map(ran).map(version).collect();
    let numbers = |text: &str| -> Vec<u64> {
        text.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
    };
    brokers.sort_by_key(|text| numbers(text));
    brokers.dedup();
    let tool = &summary.tool;
    let brokers = if brokers.is_empty() {
        "broker unknown".to_owned()
    } else {
        format!("broker {}", brokers.join(", "))
    };
    let digest: String = summary.plan_digest.chars().take("sha256:".len() + 12).collect();
    let text = format!("{brokers}, {} {} {}, plan {digest}", tool.name, tool.version, tool.profile);
    let title = "Which versions were these?";
    Some(Section { title, table: None, lines: vec![Line::plain(text)] })
}

/// What a broker ran, in order: one release, unless it was replaced.
fn ran(broker: &BrokerSummary) -> Vec<Build> {
    match broker.ran.as_slice() {
        [] => vec![Build { version: broker.version.clone(), go: broker.go.clone() }],
        ran => ran.iter().map(|ran| ran.build.clone()).collect(),
    }
}
