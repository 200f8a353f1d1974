//! Conductors, workers and control brokers that are started each by itself, as on many machines.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use choria_emulator::broker::Broker;

use super::rig::{Left, Program, broker_with, left_in};

/// What lets conductors and workers in.
pub(super) const TOKEN: [&str; 2] = ["--control-token", "secret"];

/// A control broker of the test's own, whose token is `secret`, with JetStream and these settings.
pub(super) async fn control_broker(folder: &Path, more: &str) -> Broker {
    control_broker_with(folder, &format!("authorization {{ token: secret }}\n{more}")).await
}

/// One with JetStream and these settings alone.
pub(super) async fn control_broker_with(folder: &Path, settings: &str) -> Broker {
    let store = folder.join("store");
    broker_with(folder, &format!("jetstream {{ store_dir: {store:?} }}\n{settings}")).await
}

/// A worker of its own, beside whatever runs.
pub(super) fn worker(url: &str, name: &str, login: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_choria-emulator"));
    command.args(["worker", "--control", url, "--name", name, "--progress", "plain"]).args(login);
    command
}

/// A conductor that waits for workers of other hosts; where its control broker listens.
pub(super) fn conductor(folder: &Path, text: &str, workers: &str) -> (Program, String) {
    conductor_with(folder, text, workers, &[])
}

/// The same with more options.
pub(super) fn conductor_with(
    folder: &Path,
    text: &str,
    workers: &str,
    more: &[&str],
) -> (Program, String) {
    let listen = [&["--control-listen", "127.0.0.1:0"], &TOKEN[..], more].concat();
    let program = conduct(folder, text, workers, &listen);
    program.wait_until_said("worker --control nats://");
    let said = fs::read_to_string(folder.join("said")).unwrap();
    let url = said.split("--control ").nth(1).unwrap().split_whitespace().next().unwrap();
    (program, url.to_owned())
}

/// A conductor that waits for workers over this control broker, which lets it in by `login`.
pub(super) fn conductor_over(
    (url, login): (&str, &[&str]),
    folder: &Path,
    text: &str,
    workers: &str,
) -> Program {
    conduct(folder, text, workers, &[&["--control", url], login].concat())
}

/// A conductor of so many workers.
pub(super) fn conduct(folder: &Path, text: &str, workers: &str, more: &[&str]) -> Program {
    let mut command = Program::command(folder, text);
    command.args(["--workers", workers]).args(more);
    Program::start(command, folder)
}

/// Processes of the run by name, as the event `mustered` tells them; `control` is the control broker.
pub(super) fn processes(folder: &Path) -> BTreeMap<String, i32> {
    let left = Left { folder: folder.join("results/latest"), summary: left_in(folder).summary };
    let events = left.lines("events.jsonl");
    let event = events.iter().find(|event| event["kind"] == "mustered").unwrap();
    let workers = event["workers"].as_array().unwrap().iter();
    let pid = |value: &serde_json::Value| i32::try_from(value.as_i64().unwrap()).unwrap();
    let mut all: BTreeMap<String, i32> = workers
        .map(|worker| (worker["name"].as_str().unwrap().to_owned(), pid(&worker["pid"])))
        .collect();
    all.insert("control".to_owned(), pid(&event["control_pid"]));
    all
}
