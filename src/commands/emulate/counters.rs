//! The counters of a fleet over HTTP: `/metrics` as Prometheus text, `/debug/vars` as JSON in the
//! predecessor's form. It listens on loopback only and serves what was last looked at.

use std::fmt::{self, Write as _};

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use emulator::connection::server_error::ServerError;
use emulator::fleet::counts::{ConnectStep, FleetCounts, StepTimes};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::plan::Plan;

const PREFIX: &str = "choria_emulator";
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Counters that also go down.
const GAUGES: [&str; 4] = ["planned", "connected", "ever_connected", "subscriptions"];
const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 1.0];
const INDEX: &str =
    "choria-emulator\n/metrics     counters as Prometheus text\n/debug/vars  counters as JSON\n";

/// What the predecessor told about itself.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Config {
    instances: u64,
    agents: u32,
    collectives: usize,
    pid: u32,
}

impl Config {
    /// Of groups that differ the largest figures are told.
    pub(super) fn of(plan: &Plan) -> Self {
        let groups = || plan.groups.iter();
        Self {
            instances: plan.nodes(),
            agents: groups().map(|group| group.emulated_agents).max().unwrap_or(0),
            collectives: groups().map(|group| group.collectives.len()).max().unwrap_or(0),
            pid: std::process::id(),
        }
    }
}

/// The counters at one moment.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    config: Config,
    counts: FleetCounts,
    steps: StepTimes,
}

impl Snapshot {
    pub(super) fn empty(config: Config) -> Self {
        Self { config, counts: FleetCounts::default(), steps: StepTimes::default() }
    }

    pub(super) fn update(&mut self, counts: FleetCounts, steps: StepTimes) {
        self.counts = counts;
        self.steps = steps;
    }

    fn errors(&self) -> impl Iterator<Item = (ServerError, u64)> {
        ServerError::ALL.into_iter().zip(self.counts.server_errors)
    }

    fn to_json(&self) -> Value {
        let counters = self.counts.each().map(|(name, value)| (name.to_owned(), value.into()));
        let errors = self.errors().map(|(kind, value)| (kind.name().to_owned(), value.into()));
        json!({
            "name": "choria-emulator",
            "config": self.config,
            "counters": counters.collect::<Map<_, _>>(),
            "server_errors": errors.collect::<Map<_, _>>(),
        })
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_text(&mut text);
        text
    }

    fn write_text(&self, out: &mut String) -> fmt::Result {
        for (name, value) in self.counts.each() {
            let (end, kind) = match GAUGES.contains(&name) {
                true => ("", "gauge"),
                false => ("_total", "counter"),
            };
            writeln!(out, "# TYPE {PREFIX}_{name}{end} {kind}\n{PREFIX}_{name}{end} {value}")?;
        }
        writeln!(out, "# TYPE {PREFIX}_server_errors_total counter")?;
        for (kind, value) in self.errors() {
            writeln!(out, "{PREFIX}_server_errors_total{{kind=\"{}\"}} {value}", kind.name())?;
        }
        writeln!(out, "# TYPE {PREFIX}_connect_seconds summary")?;
        for step in ConnectStep::ALL {
            let times = self.steps.of(step);
            let name = step.name();
            for quantile in QUANTILES.into_iter().filter(|_| !times.is_empty()) {
                let seconds = seconds(times.value_at_quantile(quantile));
                writeln!(
                    out,
                    "{PREFIX}_connect_seconds{{step=\"{name}\",quantile=\"{quantile}\"}} {seconds}"
                )?;
            }
            writeln!(out, "{PREFIX}_connect_seconds_count{{step=\"{name}\"}} {}", times.len())?;
        }
        Ok(())
    }
}

/// Where counters are served.
pub(super) fn router(snapshots: watch::Receiver<Snapshot>) -> Router {
    Router::new()
        .route("/", get(async || INDEX))
        .route("/metrics", get(metrics))
        .route("/debug/vars", get(vars))
        .with_state(snapshots)
}

async fn metrics(State(snapshots): State<watch::Receiver<Snapshot>>) -> impl IntoResponse {
    let text = snapshots.borrow().to_text();
    ([(CONTENT_TYPE, TEXT_FORMAT)], text)
}

async fn vars(State(snapshots): State<watch::Receiver<Snapshot>>) -> Json<Value> {
    let value = snapshots.borrow().to_json();
    Json(value)
}

#[expect(clippy::cast_precision_loss, reason = "times are far below 2^52 microseconds")]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        let config = Config { instances: 3, agents: 2, collectives: 1, pid: 7 };
        let mut counts = FleetCounts { planned: 3, connected: 2, ..FleetCounts::default() };
        counts.replies = 9;
        counts.server_errors[ServerError::MaxConnections as usize] = 4;
        Snapshot { config, counts, steps: StepTimes::default() }
    }

    #[test]
    fn prometheus_text_tells_gauges_from_counters() {
        let text = snapshot().to_text();
        for line in [
            "# TYPE choria_emulator_connected gauge",
            "choria_emulator_connected 2",
            "# TYPE choria_emulator_replies_total counter",
            "choria_emulator_replies_total 9",
            "choria_emulator_server_errors_total{kind=\"max_connections\"} 4",
            "choria_emulator_connect_seconds_count{step=\"total\"} 0",
        ] {
            assert!(text.lines().any(|is| is == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn every_gauge_is_a_counter_that_there_is() {
        let names: Vec<&str> = FleetCounts::default().each().map(|(name, _)| name).collect();
        assert!(GAUGES.iter().all(|gauge| names.contains(gauge)), "{names:?}");
    }

    #[test]
    fn json_has_the_members_of_the_predecessor() {
        let json = snapshot().to_json();
        assert_eq!(
            json["config"],
            json!({"instances": 3, "agents": 2, "collectives": 1, "pid": 7})
        );
        assert_eq!(
            (&json["name"], &json["counters"]["replies"]),
            (&json!("choria-emulator"), &json!(9))
        );
    }
}
