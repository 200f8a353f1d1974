//! Bad luck with workers: each process of a run killed and held still in each phase, a network that is cut, a control
//! broker that is started again, ways into it, and whoever wants the end while a run ends. The real program, and nothing
//! of it is left.

mod asked;
mod control;
mod credentials;
mod cut;
mod orders;
mod phases;
mod stage;

use jiff::{SignedDuration, Timestamp};

use super::rig::Left;

/// Seconds from an instant until the run told of a loss: as an event of its own, or as its end.
fn noticed_after_s(left: &Left, instant: Timestamp) -> f64 {
    let events = left.lines("events.jsonl");
    let tells =
        |event: &&serde_json::Value| event["kind"] == "worker_lost" || event["kind"] == "end";
    let at_s = events.iter().find(tells).unwrap()["at_s"].as_f64().unwrap();
    let began: Timestamp = left.summary.started_at.parse().unwrap();
    (began + SignedDuration::from_secs_f64(at_s)).duration_since(instant).as_secs_f64()
}
