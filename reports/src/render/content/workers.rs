//! What the report says of worker processes, where there were any.

use super::{Line, Mood, Section, Table};
use crate::format;
use crate::summary::Summary;
use crate::worker::WorkerSummary;

/// Rows of workers that are shown; lost ones are, in any case.
const SHOWN: usize = 12;

pub(super) fn workers(summary: &Summary) -> Option<Section> {
    let workers = &summary.workers;
    if workers.is_empty() {
        return None;
    }
    let columns = vec![
        ("worker", false),
        ("host", false),
        ("nodes", true),
        ("connected", true),
        ("answered", true),
        ("memory", true),
        ("CPU", true),
        ("longest lag", true),
    ];
    let shown =
        workers.iter().enumerate().filter(|(at, worker)| *at < SHOWN || worker.lost.is_some());
    let rows: Vec<_> = shown.map(|(_, worker)| row(worker)).collect();
    let left_out = (workers.len() - rows.len()) as u64;
    let mut lines: Vec<Line> = workers.iter().filter_map(loss).collect();
    if left_out > 0 {
        let more = format!("and {} more in summary.json", format::count(left_out));
        lines.push(Line::plain(more));
    }
    let table = Some(Table { columns, rows });
    Some(Section { title: "Which processes carried the nodes?", table, lines })
}

fn row(worker: &WorkerSummary) -> (Mood, Vec<String>) {
    let mood = if worker.lost.is_some() { Mood::Bad } else { Mood::Plain };
    let cells = vec![
        worker.name.clone(),
        worker.host.clone(),
        format::count(worker.nodes),
        format::count(worker.connected),
        format::count(worker.answered),
        format::bytes(worker.rss_bytes as f64),
        format::micros(worker.cpu_s * 1e6),
        format::micros(worker.lag_max_ms * 1e3),
    ];
    (mood, cells)
}

fn loss(worker: &WorkerSummary) -> Option<Line> {
    let why = worker.lost.as_ref()?;
    Some(Line::new(Mood::Bad, format!("{} was lost: {why}", worker.name)))
}
