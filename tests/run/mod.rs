//! Whole runs: scenarios on real brokers with real nodes, from parsing to the result folder.

mod accounts;
mod answers;
mod apart;
mod brokers;
mod control_cost;
mod drivers;
mod external;
mod handmade;
mod host;
mod hosts;
mod joined;
mod lagging;
mod links;
mod loss;
mod micro;
mod muster;
mod reach;
mod rehearsal;
mod releases;
mod rig;
mod rivals;
mod scenarios;
mod signals;
mod strangers;
mod telemetry;
mod timeline;
mod topologies;
mod verdicts;
mod watched;
mod workers;

use std::path::Path;

use choria_emulator::conductor::{self, Finished, Progress, RunError, RunLog, Setup, Stop};
use choria_emulator::crew::Workers;
use choria_emulator::driver::ConnectionOptions;
use choria_emulator::plan;
use choria_emulator::scenario::Scenario;
use tokio::sync::mpsc;

use crate::support::{lasting_sources, launcher, nats_server};

/// What is needed to run a scenario's text with overrides; results go to `out`.
pub(crate) async fn setup(text: &str, overrides: &[&str], out: &Path) -> Setup {
    // Obtained once for all tests, so that no run waits for another's download.
    let _ = nats_server().await;
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let beside =
        |file: &str| std::fs::read_to_string(folder.join(file)).map_err(|error| error.to_string());
    let scenario = Scenario::parse_with(text, "test.yaml", &overrides, &beside).unwrap();
    Setup {
        plan: plan::resolve(&scenario).unwrap(),
        scenario_text: Scenario::text_as_run(text, "test.yaml", &overrides).unwrap(),
        out: out.to_owned(),
        sources: lasting_sources(),
        launcher: launcher(),
        login: emulator::spec::Login::default(),
        connection: ConnectionOptions::default(),
        workers: Workers::AsNeeded,
        system: None,
        strangers: None,
        discovery_timeout: None,
        log: RunLog::default(),
    }
}

/// Runs whose figures matter have the process for themselves: whoever writes. Small ones that wait most
/// of their time read.
static QUIET: tokio::sync::RwLock<()> = tokio::sync::RwLock::const_new(());

/// Runs it, with everything that was reported meanwhile.
pub(crate) async fn run(setup: Setup, stop: Stop) -> (Result<Finished, RunError>, Vec<Progress>) {
    let _quiet = QUIET.write().await;
    let (told, mut tell) = mpsc::channel(100_000);
    let finished = conductor::run(setup, stop, told).await;
    let mut progress = Vec::new();
    while let Ok(step) = tell.try_recv() {
        progress.push(step);
    }
    (finished, progress)
}
