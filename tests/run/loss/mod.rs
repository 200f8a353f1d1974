//! Bad luck with workers: each process of a run killed and held still in each phase, a network that is cut, ways
//! into the control broker, and whoever wants the end while a run ends. The real program, and nothing of it is left.

mod asked;
mod control;
mod credentials;
mod cut;
mod phases;
mod stage;

use std::fs;
use std::path::Path;

use super::rig::Left;

/// The last instant that a run has written down, in seconds since it began.
fn last_instant(folder: &Path) -> f64 {
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
    let events = read("events.jsonl");
    let events = events
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()?["at_s"].as_f64());
    let samples = read("timeseries.csv");
    let samples = samples.lines().filter_map(|row| row.split(',').next()?.parse().ok());
    events.chain(samples).fold(0.0, f64::max)
}

/// When the run told of a loss first: as an event of its own, or as its end.
fn noticed(left: &Left) -> f64 {
    let events = left.lines("events.jsonl");
    let tells =
        |event: &&serde_json::Value| event["kind"] == "worker_lost" || event["kind"] == "end";
    events.iter().find(tells).unwrap()["at_s"].as_f64().unwrap()
}
