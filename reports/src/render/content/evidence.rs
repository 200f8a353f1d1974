//! What speaks for or against a run: thresholds, doubts, departures, and who did not answer.

use std::cmp::Reverse;

use super::{Line, Mood, Section, Table};
use crate::format;
use crate::summary::Summary;
use crate::verdict::Severity;

/// The evidence; what there is nothing of is left out.
pub(super) fn evidence(summary: &Summary) -> Vec<Section> {
    [thresholds(summary), missing(summary), doubts(summary), departures(summary)]
        .into_iter()
        .flatten()
        .collect()
}

fn thresholds(summary: &Summary) -> Option<Section> {
    if summary.thresholds.is_empty() {
        return None;
    }
    let rows = summary.thresholds.iter().map(|threshold| {
        let (mood, mark) = if threshold.passed { (Mood::Good, "ok") } else { (Mood::Bad, "FAIL") };
        let cells = [mark, &threshold.metric, &threshold.expression, &threshold.detail];
        (mood, cells.map(str::to_owned).to_vec())
    });
    let columns = vec![("", false), ("threshold", false), ("asked", false), ("found", false)];
    let table = Table { columns, rows: rows.collect() };
    Some(Section { title: "Thresholds", table: Some(table), lines: Vec::new() })
}

fn missing(summary: &Summary) -> Option<Section> {
    let missing = &summary.missing;
    if missing.count == 0 {
        return None;
    }
    let mut lines = Vec::new();
    for (cause, count) in missing.by_cause.iter().filter(|(_, count)| **count > 0) {
        let times = format::counted(*count, "time", "times");
        lines.push(Line::new(Mood::Bad, format!("{cause}: {times} a node {}", cause.meaning())));
        let names = missing.examples.get(cause).map(Vec::as_slice).unwrap_or_default();
        let names: Vec<_> = names.iter().map(|node| node.identity.as_str()).collect();
        if !names.is_empty() {
            lines.push(Line::plain(format!("for example {}", names.join(", "))));
        }
    }
    // One group tells nothing.
    if summary.fleet.groups.len() > 1 {
        let groups = missing.by_group.iter();
        let groups: Vec<_> =
            groups.map(|(name, n)| format!("{name} {}", format::count(*n))).collect();
        lines.push(Line::plain(format!("by group: {}", groups.join(", "))));
    }
    if missing.by_broker.len() > 1 || summary.cost.brokers.len() > 1 {
        let brokers = missing.by_broker.iter();
        let brokers: Vec<_> =
            brokers.map(|(name, n)| format!("{name} {}", format::count(*n))).collect();
        lines.push(Line::plain(format!("by broker: {}", brokers.join(", "))));
    }
    lines.push(Line::plain("all of them, wave by wave: missing.jsonl"));
    Some(Section { title: "Who did not answer on time, and why?", table: None, lines })
}

fn doubts(summary: &Summary) -> Option<Section> {
    if summary.doubts.is_empty() {
        return None;
    }
    let mut doubts: Vec<_> = summary.doubts.iter().collect();
    doubts.sort_by_key(|doubt| Reverse(doubt.severity));
    let lines = doubts.into_iter().flat_map(|doubt| {
        let (mood, word) = match doubt.severity {
            Severity::Note => (Mood::Warning, "note"),
            Severity::Invalid => (Mood::Bad, "INVALID"),
        };
        [
            Line::new(mood, format!("{word}: {} ({})", doubt.detail, doubt.kind)),
            Line::plain(format!("advice: {}", doubt.advice)),
        ]
    });
    Some(Section { title: "Doubts", table: None, lines: lines.collect() })
}

fn departures(summary: &Summary) -> Option<Section> {
    let lines: Vec<_> = summary.departures.iter().map(Line::plain).collect();
    let title = "Where the nodes departed from a real server";
    (!lines.is_empty()).then_some(Section { title, table: None, lines })
}
