//! Nodes in worker processes: the same nodes, the same results, and what happens when one of all these processes
//! is lost. The real program with its real children.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reports::missing::Cause;
use reports::verdict::Verdict;

use super::rig::{Ended, Left, Program, left_in, processes_about, real, scenario};
use crate::support::wait_until;

const RPC: &str = "rpc, request: {agent: emulated0, action: generate}, every: 500ms";
const NODES: u64 = 60;

/// A run of 60 nodes in three workers.
pub(super) async fn text(wave: &str, more: &str) -> String {
    let group = format!("default, nodes: {NODES}");
    format!("{}{more}", scenario(&real().await, &[&group], &[wave]))
}

fn start(folder: &Path, text: &str) -> Program {
    conduct(folder, text, "3", &[])
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

fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn three_workers_carry_a_fleet_and_every_figure_adds_up() {
    let folder = tempfile::tempdir().unwrap();
    let ended = start(folder.path(), &text(&format!("{RPC}, count: 4"), "").await).end();
    let left = left_in(folder.path());
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{}", ended.said);
    let summary = &left.summary;
    assert!(summary.doubts.iter().all(|doubt| doubt.kind != "account_differs"), "{}", ended.said);
    assert!(summary.waves.iter().all(|wave| (wave.on_time, wave.expected) == (NODES, NODES)));
    let fleet = &summary.fleet;
    assert_eq!((fleet.workers, fleet.planned, fleet.connected), (3, NODES, NODES));
    assert_eq!(fleet.answered, 4 * NODES);
    assert_eq!(summary.events["shutdown"].published, NODES, "counted after the last wave");
    let workers = summary.workers.iter().map(|w| (w.name.as_str(), w.nodes, w.answered));
    assert!(workers.eq([("w1", 20, 80), ("w2", 20, 80), ("w3", 20, 80)]), "{:?}", summary.workers);
    assert!(summary.workers.iter().all(|worker| worker.slices > 0 && worker.lost.is_none()));
    let config = std::fs::read_to_string(left.folder.join("control/control.conf")).unwrap();
    assert_eq!(config.matches("authorization").count(), 1, "{config}");
    assert!(!config.contains("from the scenario"), "{config}");
    let rows = std::fs::read_to_string(left.folder.join("workers.csv")).unwrap();
    assert!(["w1", "w2", "w3"].iter().all(|name| rows.contains(&format!(",{name},"))), "{rows}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_the_same_nodes_whichever_process_carries_them() {
    let groups = [
        "web, nodes: 23, facts: {dc: \"dc{index % 3}\"}, behaviour: {no_reply: 30%}",
        "db, nodes: 8, behaviour: {error_reply: 40%}",
    ];
    let waves =
        ["rpc, request: {agent: emulated0, action: generate}, every: 1s, count: 3, deadline: 1s"];
    let text = scenario(&real().await, &groups, &waves);
    let run = |more: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Program::command(folder.path(), &text);
        command.args(more);
        Program::start(command, folder.path()).end();
        let left = left_in(folder.path());
        // Who keeps silent, and who answers with an error, is the dice of seed, node and request.
        let missing: Vec<_> =
            left.missing().into_iter().map(|m| (m.number, m.identity, m.index, m.cause)).collect();
        let errors: Vec<_> = left.summary.waves.iter().map(|w| (w.number, w.errors)).collect();
        (missing, errors)
    };
    let alone = run(&[]);
    assert!(!alone.0.is_empty() && alone.1.iter().any(|(_, errors)| *errors > 0), "{alone:?}");
    assert!(alone.0.iter().all(|(.., cause)| *cause == Cause::NoReply), "{alone:?}");
    assert_eq!(run(&["--workers", "2"]), alone);
    assert_eq!(run(&["--workers", "20"]), alone);
}

/// Runs, does something to a process once `reached` returns, and expects exit code 5 and these words.
async fn check_lost(
    victim: &str,
    how: Signal,
    wave: &str,
    reached: impl Fn(&Program),
    says: &[&str],
) -> Left {
    let folder = tempfile::tempdir().unwrap();
    let program = start(folder.path(), &text(wave, "").await);
    program.wait_for("mustered", 1);
    reached(&program);
    signal(processes(folder.path())[victim], how);
    check_ended(folder.path(), program.end(), says)
}

fn check_ended(folder: &Path, ended: Ended, says: &[&str]) -> Left {
    assert_eq!(ended.code, Some(5), "{}", ended.said);
    let left = left_in(folder);
    assert_eq!((left.summary.exit_code, left.summary.verdict), (5, Verdict::Error));
    assert!(left.summary.partial);
    for text in says {
        assert!(left.error().contains(text), "{text:?} is not in {}", left.error());
    }
    left
}

pub(super) const LONG: &str =
    "rpc, request: {agent: emulated0, action: generate}, every: 500ms, count: 200";

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_while_waves_go_on_fails_the_run_and_is_named() {
    let reached = |program: &Program| program.wait_for("wave", 2);
    let says = ["worker w2 on ", "with 20 nodes is lost", "signal 9"];
    let left = check_lost("w2", Signal::SIGKILL, LONG, reached, &says).await;
    assert!(left.summary.waves.len() >= 2, "what was measured is kept");
    let lost = left.summary.workers.iter().find(|worker| worker.name == "w2").unwrap();
    assert!(lost.lost.as_deref().unwrap().contains("signal 9"), "{lost:?}");
    assert!(left.summary.workers.iter().filter(|worker| worker.lost.is_some()).count() == 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_hangs_is_noticed_and_nothing_waits_for_it() {
    let reached = |program: &Program| program.wait_for("wave", 1);
    let says = ["worker w3 on ", "it was not heard for 4 s"];
    check_lost("w3", Signal::SIGSTOP, LONG, reached, &says).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_lost_before_its_nodes_are_connected_fails_the_run() {
    for (how, says) in [(Signal::SIGKILL, "signal 9"), (Signal::SIGSTOP, "it was not heard")] {
        let folder = tempfile::tempdir().unwrap();
        let group = format!("default, nodes: {NODES}, connect: {{rate: 2/s}}");
        let text = scenario(&real().await, &[&group], &[LONG]);
        let program = start(folder.path(), &text);
        program.wait_until_series("connected", 2);
        signal(processes(folder.path())["w1"], how);
        check_ended(folder.path(), program.end(), &["worker w1 on ", says]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_hangs_when_all_waves_are_over_fails_the_run_too() {
    let folder = tempfile::tempdir().unwrap();
    let program = start(folder.path(), &text(&format!("{RPC}, count: 3"), "").await);
    program.wait_for("wave", 2);
    // The third wave has its answers before anybody misses the worker.
    program.wait_for("wave", 3);
    signal(processes(folder.path())["w1"], Signal::SIGSTOP);
    let left = check_ended(folder.path(), program.end(), &["worker w1 on "]);
    assert_eq!(left.summary.waves.len(), 3, "what was measured is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_do_not_outlive_a_conductor_that_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let program = start(folder.path(), &text(LONG, "").await);
    program.wait_for("wave", 1);
    let mut all = processes(folder.path());
    all.remove("control");
    program.signal(Signal::SIGSTOP);
    wait_until("workers that left by themselves", || {
        // The conductor cannot reap them while it hangs.
        all.values().all(|pid| !crate::support::is_running(*pid))
    });
    program.signal(Signal::SIGCONT);
    check_ended(folder.path(), program.end(), &["is lost"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_lost_while_others_are_waited_for_ends_the_muster() {
    let folders: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let (program, url) = conductor(folders[0].path(), &text(LONG, "").await, "2");
    let east = Program::start(worker(&url, "east", "secret"), folders[1].path());
    east.wait_until_said("worker 1 of 2");
    east.signal(Signal::SIGKILL);
    assert_eq!(east.end().code, None);
    let ended = program.end();
    assert_eq!(ended.code, Some(5), "{}", ended.said);
    assert!(ended.said.contains("worker east on "), "{}", ended.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_control_broker_a_run_ends_and_says_so() {
    let reached = |program: &Program| program.wait_for("wave", 1);
    for (how, says) in [
        (Signal::SIGKILL, &["the control broker was ended by signal 9"][..]),
        (Signal::SIGSTOP, &["w1 on ", "w2 on ", "w3 on ", "look at the control broker"]),
    ] {
        check_lost("control", how, LONG, reached, says).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_under_test_that_dies_ends_a_run_with_workers_as_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let program = start(folder.path(), &text(LONG, "").await);
    program.wait_for("wave", 1);
    let brokers = processes_about(folder.path()).into_iter().filter(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("n1.conf")
    });
    signal(brokers.max().unwrap(), Signal::SIGKILL);
    let ended = program.end();
    assert_eq!(ended.code, Some(4), "{}", ended.said);
    assert!(left_in(folder.path()).error().contains("broker n1 was ended by signal 9"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conductor_that_is_killed_takes_workers_and_brokers_with_it() {
    for reached in ["mustered", "wave"] {
        let folder = tempfile::tempdir().unwrap();
        let program = start(folder.path(), &text(LONG, "").await);
        program.wait_for(reached, 1);
        program.signal(Signal::SIGKILL);
        let ended = program.end();
        assert_eq!(ended.code, None, "{}", ended.said);
        assert!(left_in(folder.path()).summary.partial);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_reaches_workers_while_they_muster_connect_and_answer() {
    let slow = format!("default, nodes: {NODES}, connect: {{rate: 2/s}}");
    let slow = scenario(&real().await, &[&slow], &[LONG]);
    for (text, reached) in
        [(slow.clone(), "network"), (slow, "mustered"), (text(LONG, "").await, "wave")]
    {
        let folder = tempfile::tempdir().unwrap();
        let program = start(folder.path(), &text);
        program.wait_for(reached, 1);
        program.signal(Signal::SIGINT);
        let ended = program.end();
        assert_eq!(ended.code, Some(130), "{reached}: {}", ended.said);
        assert_eq!(left_in(folder.path()).summary.verdict, Verdict::Interrupted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_within_what_the_scenario_tolerates_is_told_and_the_rest_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let wave =
        "rpc, request: {agent: emulated0, action: generate}, every: 1s, count: 8, deadline: 1s";
    let tolerant =
        text(wave, "workers: {tolerate: 40%}\nthresholds: {completeness: [\"min > 60%\"]}\n");
    let program = start(folder.path(), &tolerant.await);
    program.wait_for("wave", 1);
    signal(processes(folder.path())["w2"], Signal::SIGKILL);
    let ended = program.end();
    let left = left_in(folder.path());
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{}", ended.said);
    assert!(left.summary.doubts.iter().any(|doubt| doubt.kind == "worker_lost"), "{}", ended.said);
    assert_eq!(left.lines("events.jsonl").iter().filter(|e| e["kind"] == "worker_lost").count(), 1);
    let last = left.summary.waves.last().unwrap();
    assert_eq!((last.expected, last.on_time, last.missing), (NODES, 40, 20));
    let missing: Vec<_> = left.missing().into_iter().filter(|m| m.number == last.number).collect();
    assert!(missing.iter().all(|m| m.cause == Cause::WorkerLost), "{missing:?}");
    // Node i belongs to share i % 3; which share a worker has is the order in which they came.
    let shares: std::collections::BTreeSet<_> =
        missing.iter().map(|m| m.index.unwrap() % 3).collect();
    assert_eq!((missing.len(), shares.len()), (20, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_lost_and_comes_back_is_told_so_and_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let wave =
        "rpc, request: {agent: emulated0, action: generate}, every: 1s, count: 14, deadline: 1s";
    let program = start(folder.path(), &text(wave, "workers: {tolerate: 50%}\n").await);
    program.wait_for("wave", 1);
    let back = processes(folder.path())["w2"];
    signal(back, Signal::SIGSTOP);
    program.wait_for("worker_lost", 1);
    signal(back, Signal::SIGCONT);
    wait_until("a worker that leaves", || !crate::support::is_running(back));
    let ended = program.end();
    let left = left_in(folder.path());
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{}", ended.said);
    let last = left.summary.waves.last().unwrap();
    assert_eq!((last.expected, last.on_time), (NODES, 40), "its nodes are not counted again");
    let log = std::fs::read_to_string(left.folder.join("workers/w2.log")).unwrap();
    assert!(log.contains("the run goes on without this worker"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_lost_before_it_has_its_share_may_be_if_the_scenario_tolerates_it() {
    let folders: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    let wave = format!("{RPC}, count: 2, deadline: 1s");
    let tolerant = text(&wave, "workers: {tolerate: 40%}\n").await;
    let (program, url) = conductor(folders[0].path(), &tolerant, "3");
    let start =
        |at: usize, name: &str| Program::start(worker(&url, name, "secret"), folders[at].path());
    let (a, b) = (start(1, "a"), start(2, "b"));
    a.wait_until_said("of 3");
    b.wait_until_said("of 3");
    a.signal(Signal::SIGKILL);
    assert_eq!(a.end().code, None);
    program.wait_until_said("worker a on ");
    let c = start(3, "c");
    let ended = program.end();
    let left = left_in(folders[0].path());
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{}", ended.said);
    assert!(left.summary.waves.iter().all(|wave| (wave.expected, wave.on_time) == (NODES, 40)));
    assert_eq!((b.end().code, c.end().code), (Some(0), Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_broker_that_is_away_for_two_seconds_loses_no_figure() {
    let folder = tempfile::tempdir().unwrap();
    let wave =
        "rpc, request: {agent: emulated0, action: generate}, every: 3s, count: 3, deadline: 2s";
    let program = start(folder.path(), &text(wave, "").await);
    program.wait_for("wave", 1);
    let control = processes(folder.path())["control"];
    signal(control, Signal::SIGSTOP);
    std::thread::sleep(Duration::from_secs(2));
    signal(control, Signal::SIGCONT);
    let ended = program.end();
    let left = left_in(folder.path());
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{}", ended.said);
    let doubts = || left.summary.doubts.iter();
    assert!(doubts().all(|doubt| doubt.kind != "account_differs"), "{}", ended.said);
    assert_eq!(left.summary.fleet.answered, 3 * NODES);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_held_up_for_two_seconds_is_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let wave =
        "rpc, request: {agent: emulated0, action: generate}, every: 1s, count: 6, deadline: 10s";
    let program = start(folder.path(), &text(wave, "").await);
    program.wait_for("wave", 1);
    let slow = processes(folder.path())["w1"];
    signal(slow, Signal::SIGSTOP);
    std::thread::sleep(Duration::from_secs(2));
    signal(slow, Signal::SIGCONT);
    let ended = program.end();
    let left = left_in(folder.path());
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{}", ended.said);
    assert!(left.summary.waves.iter().all(|wave| wave.on_time == NODES), "{}", ended.said);
}

/// A worker of its own, beside whatever runs.
pub(super) fn worker(url: &str, name: &str, token: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_choria-emulator"));
    command.args(["worker", "--control", url, "--name", name, "--control-token", token]);
    command.args(["--progress", "plain"]);
    command
}

/// What lets conductors and workers in.
pub(super) const TOKEN: [&str; 2] = ["--control-token", "secret"];

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
    let said = std::fs::read_to_string(folder.join("said")).unwrap();
    let url = said.split("--control ").nth(1).unwrap().split_whitespace().next().unwrap();
    (program, url.to_owned())
}

/// A conductor that waits for workers over this control broker.
pub(super) fn conductor_over(url: &str, folder: &Path, text: &str, workers: &str) -> Program {
    conduct(folder, text, workers, &[&["--control", url], &TOKEN[..]].concat())
}

/// A conductor of so many workers.
pub(super) fn conduct(folder: &Path, text: &str, workers: &str, more: &[&str]) -> Program {
    let mut command = Program::command(folder, text);
    command.args(["--workers", workers]).args(more);
    Program::start(command, folder)
}
