//! Nodes in worker processes: the same nodes, the same results, and what happens when one of all these processes
//! is lost. The real program with its real children.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use reports::missing::Cause;
use reports::verdict::Verdict;

use super::apart::{TOKEN, conduct, conductor, processes, worker};
use super::rig::{Program, left_in, real, scenario, signal};
use crate::support::wait_until;

const RPC: &str = "rpc, request: {agent: emulated0, action: generate}, every: 500ms";
pub(super) const NODES: u64 = 60;
pub(super) const LONG: &str =
    "rpc, request: {agent: emulated0, action: generate}, every: 500ms, count: 200";

/// A run of 60 nodes in three workers.
pub(super) async fn text(wave: &str, more: &str) -> String {
    let group = format!("default, nodes: {NODES}");
    format!("{}{more}", scenario(&real().await, &[&group], &[wave]))
}

fn start(folder: &Path, text: &str) -> Program {
    conduct(folder, text, "3", &[])
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
async fn a_loss_is_told_before_the_first_wave_that_lacks_the_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let wave =
        "rpc, request: {agent: emulated0, action: generate}, every: 50ms, count: 160, deadline: 1s";
    let program = start(folder.path(), &text(wave, "workers: {tolerate: 40%}\n").await);
    program.wait_for("wave", 1);
    signal(processes(folder.path())["w2"], Signal::SIGSTOP);
    let ended = program.end();
    let left = left_in(folder.path());
    let lost: Vec<_> =
        left.missing().into_iter().filter(|missing| missing.cause == Cause::WorkerLost).collect();
    let events = left.lines("events.jsonl");
    let first = events.iter().position(|event| {
        event["kind"] == "wave" && lost.iter().any(|lost| event["number"] == lost.number)
    });
    let told = events.iter().position(|event| event["kind"] == "worker_lost");
    assert!(told.is_some() && told < first, "{told:?} {first:?}: {}", ended.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_lost_before_it_has_its_share_may_be_if_the_scenario_tolerates_it() {
    let folders: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    let wave = format!("{RPC}, count: 2, deadline: 1s");
    let tolerant = text(&wave, "workers: {tolerate: 40%}\n").await;
    let (program, url) = conductor(folders[0].path(), &tolerant, "3");
    let start =
        |at: usize, name: &str| Program::start(worker(&url, name, &TOKEN), folders[at].path());
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
    let events = left.lines("events.jsonl");
    let at = |kind: &str| events.iter().position(|event| event["kind"] == kind).unwrap();
    assert!(at("worker_lost") < at("mustered"), "told when it was noticed: {events:?}");
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
