//! Drivers elsewhere than at the conductor: clients on workers, alone and several at once, each with a filter of its
//! own, and what happens when one of their processes is lost. The real program with its real children.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use choria_emulator::broker::Broker;
use choria_emulator::control::parcel::Parcel;
use nix::sys::signal::Signal;
use reports::verdict::Verdict;
use tempfile::TempDir;

use super::apart::{TOKEN, conduct, conductor_over, control_broker, processes, worker};
use super::handmade::{line, next};
use super::rig::{Ended, Left, Program, broker_with, external, left_in, real, scenario, signal};
use crate::support::nats_server;

const GROUP: &str = "web, nodes: 60, facts: {dc: \"dc{index % 3}\"}";
const RPC: &str = "rpc, request: {agent: emulated0, action: generate}, every: 500ms";

/// A run of 60 nodes, a third of them in each of three data centres, in three workers.
async fn text(wave: &str, more: &str) -> String {
    format!("{}{more}", scenario(&real().await, &[GROUP], &[wave]))
}

fn start(folder: &Path, text: &str) -> Program {
    conduct(folder, text, "3", &[])
}

/// Name, number, client, expected, on time, all others of each wave.
fn columns(left: &Left) -> BTreeSet<(u32, u32, u64, u64, u64)> {
    let waves = left.summary.waves.iter().filter(|wave| !wave.warmup);
    let row = |wave: &reports::summary::WaveSummary| {
        let odd = wave.late + wave.missing + wave.duplicate + wave.unexpected + wave.undecodable;
        (wave.number, wave.client, wave.expected, wave.on_time, odd)
    };
    waves.map(row).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_on_a_worker_gets_every_answer_and_the_result_is_that_of_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let at = "client: {at: w2}\nthresholds: {completeness: [\"min == 100%\"]}\n";
    let ended = start(folder.path(), &text(&format!("{RPC}, count: 4"), at).await).end();
    let left = left_in(folder.path());
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{}", ended.said);
    assert_eq!(columns(&left), (1..=4).map(|number| (number, 1, 60, 60, 0)).collect());
    assert_eq!(left.summary.fleet.answered, 4 * 60, "every book was opened and closed");
    let replies: Vec<u64> = left.summary.entries.iter().map(|entry| entry.on_time).collect();
    assert_eq!(replies, [4 * 60]);
    let events = left.lines("events.jsonl");
    let clock = events.iter().find(|event| event["kind"] == "clock").unwrap();
    assert_eq!(clock["worker"], "w2");
    // Instants are those of the plan, on the conductor's clock.
    let mut instants: Vec<_> = left.summary.waves.iter().map(|wave| wave.intended_at_s).collect();
    instants.sort_by(f64::total_cmp);
    let apart: Vec<_> = instants.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(apart.iter().all(|apart| (apart - 0.5).abs() < 1e-6), "{instants:?}");
    // What is kept of single replies has come along.
    let replies = std::fs::read_to_string(left.folder.join("times.csv")).unwrap();
    let counts = replies.lines().map(|row| row.split(',').filter(|time| !time.is_empty()).count());
    assert!(counts.eq([60; 4]), "{replies}");
}

#[tokio::test(flavor = "multi_thread")]
async fn conductor_and_workers_drive_at_once_and_each_expects_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let clients = "clients: [{}, {at: w1, filter: {facts: [dc=dc1]}}, \
                   {at: w3, filter: {identity: [\"/^web-(0|1|2|3|4).choria/\"]}}]";
    let wave = format!("{RPC}, count: 3, warmup: 1, {clients}");
    let ended = start(folder.path(), &text(&wave, "").await).end();
    let left = left_in(folder.path());
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{}", ended.said);
    let expected = [(1, 60), (2, 20), (3, 5)];
    let rows = (1..=3)
        .flat_map(|number| expected.map(|(client, nodes)| (number, client, nodes, nodes, 0)));
    assert_eq!(columns(&left), rows.collect());
    let entries = left.summary.entries.iter().map(|entry| (entry.expected, entry.on_time));
    assert!(entries.eq([(3 * 85, 3 * 85)]), "{}", ended.said);
    assert!(left.missing().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stays_silent_to_a_driver_on_a_worker_is_named_with_the_cause() {
    let folder = tempfile::tempdir().unwrap();
    let group = "web, nodes: 30, behaviour: {no_reply: 100%}";
    let wave = format!("{RPC}, count: 1, deadline: 1s, clients: [{{at: w1}}, {{at: w2}}]");
    start(folder.path(), &scenario(&real().await, &[group], &[&wave])).end();
    let left = left_in(folder.path());
    assert_eq!(columns(&left), [(1, 1, 30, 0, 30), (1, 2, 30, 0, 30)].into());
    let missing = left.missing();
    let silent = missing.iter().filter(|node| node.cause == reports::missing::Cause::NoReply);
    assert_eq!(silent.count(), 60, "{missing:?}");
}

fn check_ended(folder: &Path, ended: &Ended, code: i32, says: &[&str]) -> Left {
    assert_eq!(ended.code, Some(code), "{}", ended.said);
    let left = left_in(folder);
    for text in says {
        assert!(left.error().contains(text), "{text:?} is not in {}", left.error());
    }
    left
}

const LONG: &str = "rpc, request: {agent: emulated0, action: generate}, every: 500ms, count: 200";

#[tokio::test(flavor = "multi_thread")]
async fn without_the_worker_that_has_the_driver_a_run_ends_whatever_it_tolerates() {
    for (how, says) in [(Signal::SIGKILL, "signal 9"), (Signal::SIGSTOP, "it was not heard")] {
        let folder = tempfile::tempdir().unwrap();
        let more = "client: {at: w2}\nworkers: {tolerate: 90%}\n";
        let program = start(folder.path(), &text(LONG, more).await);
        program.wait_for("wave", 2);
        signal(processes(folder.path())["w2"], how);
        let ended = program.end();
        let left = check_ended(folder.path(), &ended, 5, &["worker w2 on ", "is lost", says]);
        assert!(left.summary.waves.len() >= 2, "what was measured is kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_drivers_in_mid_wave_wherever_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let group = "web, nodes: 30, behaviour: {no_reply: 50%}";
    let wave = format!("{RPC}, count: 2, deadline: 60s, clients: [{{}}, {{at: w1}}, {{at: w2}}]");
    let program = start(folder.path(), &scenario(&real().await, &[group], &[&wave]));
    // Half of the nodes have answered a wave that waits for a minute.
    program.wait_until_series("answered", 30);
    program.signal(Signal::SIGINT);
    let ended = program.end();
    assert_eq!(ended.code, Some(130), "{}", ended.said);
    let left = left_in(folder.path());
    assert_eq!(left.summary.verdict, Verdict::Interrupted);
    let events = left.lines("events.jsonl");
    let interrupted = events.iter().filter(|event| event["kind"] == "wave_interrupted");
    let clients: BTreeSet<_> = interrupted.filter_map(|event| event["client"].as_u64()).collect();
    assert_eq!(clients, [1, 2, 3].into(), "what drivers had was handed in: {events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_no_worker_is_called_by_is_refused_with_the_names_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let wave = format!("{RPC}, clients: 3");
    let more = "client: {at: [w1, west, conductor]}\n";
    let ended = start(folder.path(), &text(&wave, more).await).end();
    assert_eq!(ended.code, Some(2), "{}", ended.said);
    for says in ["clients at `west`", "`at`: conductor, w1, w2, w3"] {
        assert!(ended.said.contains(says), "{}", ended.said);
    }
    // Before anything is started, and so without a result.
    assert!(!folder.path().join("results").exists());
}

/// Messages of 8 KiB at the most.
const NARROW: &str = "max_payload: 8192";

/// A run over that control broker, with the workers `east` and `west` beside it; each in a folder of its own.
fn start_apart(folders: &[TempDir; 3], control: &Broker, text: &str) -> (Program, [Program; 2]) {
    let program = conductor_over((&control.url(), &TOKEN), folders[0].path(), text, "2");
    let near =
        |name: &str, at: &TempDir| Program::start(worker(&control.url(), name, &TOKEN), at.path());
    (program, [near("east", &folders[1]), near("west", &folders[2])])
}

fn check_released(workers: [Program; 2]) {
    for worker in workers {
        let ended = worker.end();
        assert_eq!(ended.code, Some(0), "the run is over: {}", ended.said);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waves_larger_than_a_message_come_in_parts_also_where_the_way_is_closed_for_seconds() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    // At least two bytes a reply, as base64, and 3.5 KiB of text in a message.
    let (beside, nodes) = (tempfile::tempdir().unwrap(), 2_500);
    let control = control_broker(beside.path(), NARROW).await;
    let listener = line(&control.url(), "listener").await;
    let mut parcels = listener.listen("choria_emulator.*.wave.*").await.unwrap();
    let group = format!("web, nodes: {nodes}");
    let wave = format!("{RPC}, count: 8, deadline: 30s, clients: [{{at: east}}, {{at: west}}]");
    let text = scenario(&real().await, &[&group], &[&wave]);
    let (program, workers) = start_apart(&folders, &control, &text);
    program.wait_for("wave", 2);
    signal(control.pid(), Signal::SIGSTOP);
    std::thread::sleep(Duration::from_secs(2));
    signal(control.pid(), Signal::SIGCONT);
    let ended = program.end();
    check_released(workers);
    let mut in_parts = BTreeSet::new();
    while in_parts.len() < 16 {
        let (message, parcel): (_, Parcel) = next(&mut parcels).await;
        if parcel.of > 1 {
            in_parts.insert((message.subject.to_string(), parcel.number));
        }
    }
    control.stop(Duration::ZERO).await;
    let left = left_in(folders[0].path());
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{}", ended.said);
    let rows = (1..=8).flat_map(|n| [1, 2].map(|client| (n, client, nodes, nodes, 0)));
    assert_eq!(columns(&left), rows.collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_only_a_driver_on_a_worker_has_met_is_in_the_result() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let beside = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let control = control_broker(beside[0].path(), NARROW).await;
    let broker = broker_with(beside[1].path(), "").await;
    let text = scenario(&external(&broker.url()), &[GROUP], &[&format!("{RPC}, count: 2")]);
    let text = format!("{text}client: {{at: west}}\n");
    let (program, workers) = start_apart(&folders, &control, &text);
    let ended = program.end();
    check_released(workers);
    control.stop(Duration::ZERO).await;
    broker.stop(Duration::ZERO).await;
    let left = left_in(folders[0].path());
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{}", ended.said);
    assert_eq!(columns(&left), (1..=2).map(|number| (number, 1, 60, 60, 0)).collect());
    let met: Vec<_> = left.summary.cost.brokers.iter().map(|met| met.name.as_str()).collect();
    assert_eq!(met, ["n1"], "{}", ended.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn drivers_on_both_sides_of_a_supercluster_get_every_answer_of_their_own_side() {
    let folder = tempfile::tempdir().unwrap();
    let shipped = include_str!("../../scenarios/drivers-apart.yaml");
    let mut command = Program::command(folder.path(), shipped);
    let path = format!("brokers.path={}", nats_server().await.path.display());
    let small = ["fleet.east.nodes=60", "fleet.west.nodes=50"];
    let brisk = ["waves.discovery.every=1s", "waves.rpc.every=1s"];
    for change in small.into_iter().chain(brisk).chain([path.as_str()]) {
        command.args(["-P", change]);
    }
    command.args(["--workers", "2"]);
    let ended = Program::start(command, folder.path()).end();
    let left = left_in(folder.path());
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{}", ended.said);
    let expected: BTreeSet<_> = left
        .summary
        .waves
        .iter()
        .map(|wave| (wave.name.as_str(), wave.client, wave.expected, wave.on_time))
        .collect();
    let rows = [("discovery", 1, 110), ("discovery", 2, 110), ("rpc", 1, 110), ("rpc", 2, 50)];
    assert_eq!(expected, rows.map(|(name, client, nodes)| (name, client, nodes, nodes)).into());
    let places = left.summary.places.unwrap();
    assert_eq!(places.by_broker.len(), 4, "answers by broker come along");
    // Six waves ask all, from one side each; five from the west ask the west alone.
    assert_eq!(places.by_hops[&0].expected + places.by_hops[&1].expected, 3 * 220 + 5 * 160);
    assert!(places.by_hops.values().all(|place| place.missing == 0 && place.late == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_restarted_under_a_driver_on_a_worker_is_watched_until_all_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let wave = "rpc, request: {agent: emulated0, action: generate}, every: 250ms, count: 24, \
                deadline: 1s";
    let more =
        "client: {at: w1}\nlate_grace: 250ms\ntimeline: [{at: 1s, restart: n1, for: 500ms}]\n";
    let ended = start(folder.path(), &text(wave, more).await).end();
    let left = left_in(folder.path());
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{}", ended.said);
    let recovery = &left.summary.recovery[0];
    assert_eq!((recovery.nodes_lost, recovery.nodes_back), (60, 60), "{}", ended.said);
    assert!(recovery.whole_s.is_some() && recovery.first_complete_s.is_some(), "{recovery:?}");
    // Its own connections were away too, on purpose: no reason to doubt.
    let doubts = left.summary.doubts.iter().map(|doubt| doubt.kind.as_str());
    assert!(doubts.clone().all(|kind| kind != "driver_disconnected"), "{}", ended.said);
    assert!(left.summary.waves.iter().any(|wave| wave.on_time < 60), "{}", ended.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conductor_that_is_killed_takes_drivers_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let program = start(folder.path(), &text(LONG, "client: {at: [w1]}\n").await);
    program.wait_for("wave", 1);
    program.signal(Signal::SIGKILL);
    // It sees that nothing is left running.
    assert_eq!(program.end().code, None);
    assert!(left_in(folder.path()).summary.partial);
}
