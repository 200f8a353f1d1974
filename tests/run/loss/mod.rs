//! Bad luck with workers: each process of a run killed and held still in each phase, a network that is cut, two
//! conductors at once, and whoever wants the end while a run ends. The real program, and nothing of it is left.

mod asked;
mod credentials;
mod cut;
mod phases;
mod rivals;
mod stage;

use std::fs;
use std::path::Path;
use std::process::Command;

use choria_emulator::broker::Broker;

use super::rig::{Left, Program, broker_with, left_in};

const TOKEN: [&str; 2] = ["--control-token", "secret"];

/// Lines of the configuration of a control broker of the test's own: JetStream beside what `more` says.
async fn control_with(folder: &Path, more: &str) -> Broker {
    let store = folder.join("store");
    broker_with(folder, &format!("jetstream {{ store_dir: {store:?} }}\n{more}")).await
}

/// A conductor that waits for so many workers over the control broker at `url`.
fn conductor(folder: &Path, text: &str, workers: usize, url: &str, login: &[&str]) -> Program {
    let mut command = Program::command(folder, text);
    command.args(["--workers", &workers.to_string(), "--control", url]).args(login);
    Program::start(command, folder)
}

/// A conductor that waits for two workers over a control broker of its own, and where that is.
fn conductor_that_listens(folder: &Path, text: &str) -> (Program, String) {
    let mut command = Program::command(folder, text);
    command.args(["--workers", "2", "--control-listen", "127.0.0.1:0"]).args(TOKEN);
    let program = Program::start(command, folder);
    program.wait_until_said("worker --control nats://");
    let said = fs::read_to_string(folder.join("said")).unwrap();
    let url = said.split("--control ").nth(1).unwrap().split_whitespace().next().unwrap();
    (program, url.to_owned())
}

/// The command of a worker of its own.
fn worker(name: &str, url: &str, login: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_choria-emulator"));
    command.args(["worker", "--control", url, "--name", name, "--progress", "plain"]).args(login);
    command
}

/// What is left in a folder, which `report` can read too.
fn readable(folder: &Path) -> Left {
    let left = left_in(folder);
    let mut report = Command::new(env!("CARGO_BIN_EXE_choria-emulator"));
    let report = report.arg("report").arg(&left.folder).output().unwrap();
    assert!(report.status.success(), "{}", String::from_utf8_lossy(&report.stderr));
    let printed = String::from_utf8(report.stdout).unwrap();
    assert!(printed.contains(&left.summary.scenario), "{printed}");
    left
}

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
