//! Managed brokers that are not there, are not what they should be, or die.

use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reports::missing::Cause;
use reports::verdict::Verdict;

use super::rig::{
    Ears, Left, check_no_threads_left, processes_about, real, run_alone, run_while, scenario,
};
use super::setup;
use crate::support::script;

const RPC: &str = "rpc, request: {agent: emulated0, action: generate}";

/// A run whose broker is this file ends with code 4, a text that says so, and a readable result.
async fn check_no_broker(file: &str, make: impl FnOnce(&std::path::Path), says: &[&str]) {
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join(file);
    make(&path);
    let brokers = format!("path: {}", path.display());
    let text = scenario(&brokers, &["default, nodes: 5"], &[RPC]);
    let finished = run_alone(setup(&text, &[], out.path()).await).await.unwrap();
    let left = Left::by(&finished);
    assert_eq!((left.summary.exit_code, left.summary.verdict), (4, Verdict::Error));
    assert!(left.summary.partial && left.summary.waves.is_empty());
    for text in [&path.display().to_string()[..]].iter().chain(says) {
        assert!(left.error().contains(text), "{file}: {text:?} is not in\n{}", left.error());
    }
    assert_eq!(left.lines("events.jsonl").last().unwrap()["exit_code"], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_no_broker_is_an_error_that_names_the_file() {
    check_no_broker("missing", |_| {}, &["does not exist"]).await;
    let plain = |path: &std::path::Path| fs::write(path, "nats").unwrap();
    check_no_broker("not-executable", plain, &["chmod +x"]).await;
    let other = |path: &std::path::Path| drop(script(path, "echo pong"));
    check_no_broker("other-program", other, &["pong"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_dies_at_its_start_is_quoted() {
    let out = tempfile::tempdir().unwrap();
    let body = "[ \"$1\" = --version ] && echo 'nats-server: v2.14.5' && exit 0\n\
                echo out of luck; exit 7";
    let program = script(&out.path().join("nats-server"), body);
    let brokers = format!("path: {}", program.display());
    let text = scenario(&brokers, &["default, nodes: 5"], &[RPC]);
    let finished = run_alone(setup(&text, &[], out.path()).await).await.unwrap();
    let left = Left::by(&finished);
    assert_eq!(left.summary.exit_code, 4);
    for says in ["broker n1 exited with code 7", "out of luck", "n1.log"] {
        assert!(left.error().contains(says), "{}", left.error());
    }
    assert!(fs::read_to_string(left.folder.join("brokers/n1.log")).unwrap().contains("luck"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_dies_in_mid_wave_ends_the_run_at_once_with_the_waves_so_far() {
    let groups = [
        "quick, nodes: 20",
        // Nobody waits for these: the run ends long before.
        "slow, nodes: 10, behaviour: {reply_delay: 300s}",
    ];
    let ask = |name, group| {
        format!(
            "{name}, request: {{agent: emulated0, action: generate, \
             filter: {{identity: [\"/^{group}/\"]}}}}, deadline: 600s, every: 600ms, count: 2"
        )
    };
    let (first, second) = (ask("first", "quick"), ask("second", "slow"));
    let text = scenario(&real().await, &groups, &[&first, &second]);
    let out = tempfile::tempdir().unwrap();
    let (finished, pid) = run_while(setup(&text, &[], out.path()).await, async |mut told| {
        let url = told.broker().await;
        let mut ears = Ears::on(&url).await;
        for _ in 0..3 {
            ears.request().await;
        }
        told.waves(2).await;
        let pids = processes_about(out.path());
        assert_eq!(pids.len(), 1, "one broker");
        kill(Pid::from_raw(pids[0]), Signal::SIGKILL).unwrap();
        pids[0]
    })
    .await;
    let left = Left::by(&finished.unwrap());
    let summary = &left.summary;
    assert_eq!((summary.exit_code, summary.verdict, summary.partial), (4, Verdict::Error, true));
    assert!(!crate::support::is_running(pid));
    for says in ["broker n1 was ended by signal 9", "Server is ready", "brokers/"] {
        assert!(left.error().contains(says), "{}", left.error());
    }
    let waves: Vec<_> = summary.waves.iter().map(|w| (w.name.as_str(), w.on_time)).collect();
    assert_eq!(waves, [("first", 20), ("first", 20)], "nothing is invented");
    assert_eq!((summary.missing.count, left.missing().len()), (0, 0));
    assert!(summary.thresholds.is_empty());
    let events = left.lines("events.jsonl");
    assert!(events.iter().any(|event| event["kind"] == "wave_interrupted"), "{events:?}");
    assert_eq!(fs::read_to_string(left.folder.join("requests.csv")).unwrap().lines().count(), 3);
    check_no_threads_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_dies_while_nodes_connect_ends_the_run_with_the_fleet_so_far() {
    let groups = ["default, nodes: 50, connect: {rate: 5/s}"];
    let text = scenario(&real().await, &groups, &[RPC]);
    let out = tempfile::tempdir().unwrap();
    let (finished, ()) = run_while(setup(&text, &[], out.path()).await, async |mut told| {
        told.first_node().await;
        for pid in processes_about(out.path()) {
            kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        }
    })
    .await;
    let left = Left::by(&finished.unwrap());
    assert_eq!(left.summary.exit_code, 4);
    assert!(left.error().contains("broker n1 was ended by signal 9"), "{}", left.error());
    let fleet = &left.summary.fleet;
    assert_eq!(fleet.planned, 50);
    assert!((1..50).contains(&fleet.ever_connected), "{fleet:?}");
    check_no_threads_left().await;
}

/// A run whose broker hangs from when the first nodes are connected until `then` is over.
async fn hung_while_nodes_connect(then: impl AsyncFnOnce(Pid)) -> Left {
    let groups = ["default, nodes: 30, connect: {rate: 20/s, timeout: 1s}"];
    let rpc = format!("{RPC}, deadline: 1s");
    let text = scenario(&real().await, &groups, &[&rpc]);
    let out = tempfile::tempdir().unwrap();
    let (finished, ()) = run_while(setup(&text, &[], out.path()).await, async |mut told| {
        told.first_node().await;
        let pid = Pid::from_raw(processes_about(out.path())[0]);
        kill(pid, Signal::SIGSTOP).unwrap();
        then(pid).await;
    })
    .await;
    Left::by(&finished.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_hangs_while_nodes_connect_is_waited_for_and_everybody_comes() {
    let left = hung_while_nodes_connect(async |pid| {
        tokio::time::sleep(Duration::from_secs(3)).await;
        kill(pid, Signal::SIGCONT).unwrap();
    })
    .await;
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{:?}", left.summary.doubts);
    assert_eq!((left.summary.fleet.connected, left.summary.waves[0].on_time), (30, 30));
    assert!(left.summary.fleet.connect_s >= 3.0, "{:?}", left.summary.fleet);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_hangs_for_good_while_nodes_connect_ends_in_bounded_time_and_is_gone() {
    let left = hung_while_nodes_connect(async |_| ()).await;
    let summary = &left.summary;
    assert!(summary.fleet.ever_connected < 30, "{:?}", summary.fleet);
    assert!(summary.waves.iter().all(|wave| wave.on_time == 0), "{:?}", summary.waves);
    assert!(summary.doubts.iter().any(|doubt| doubt.kind == "fleet_incomplete"));
    check_no_threads_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_hangs_for_good_is_said_loudly_where_no_threshold_judges_it() {
    let rpc = format!("{RPC}, every: 1s, count: 3, deadline: 1s");
    let text = scenario(&real().await, &["default, nodes: 5"], &[&rpc]) + "late_grace: 0s\n";
    let out = tempfile::tempdir().unwrap();
    let (finished, ()) = run_while(setup(&text, &[], out.path()).await, async |mut told| {
        told.waves(1).await;
        kill(Pid::from_raw(processes_about(out.path())[0]), Signal::SIGSTOP).unwrap();
    })
    .await;
    let left = Left::by(&finished.unwrap());
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{:?}", left.summary.doubts);
    assert_eq!(left.summary.waves[2].on_time, 0);
    let doubt = left.summary.doubts.iter().find(|doubt| doubt.kind == "incomplete_unjudged");
    let away = left.summary.missing.count;
    assert!(doubt.unwrap().detail.starts_with(&format!("{away} of 15 answers were not on time")));
    let report = fs::read_to_string(left.folder.join("summary.md")).unwrap();
    assert!(report.contains("PASSED, BUT INCOMPLETE"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_hangs_for_a_while_costs_time_and_no_knowledge() {
    let groups = ["good, nodes: 5", "silent, nodes: 5, behaviour: {no_reply: 100%}"];
    let rpc = format!("{RPC}, every: 4s, count: 2, deadline: 15s");
    let text = scenario(&real().await, &groups, &[&rpc]) + "late_grace: 0s\n";
    let out = tempfile::tempdir().unwrap();
    let (finished, ()) = run_while(setup(&text, &[], out.path()).await, async |mut told| {
        let mut ears = Ears::on(&told.broker().await).await;
        ears.request().await;
        let pids = processes_about(out.path());
        kill(Pid::from_raw(pids[0]), Signal::SIGSTOP).unwrap();
        // The instant of the second wave passes, in which its book is to be opened.
        tokio::time::sleep(Duration::from_millis(4500)).await;
        kill(Pid::from_raw(pids[0]), Signal::SIGCONT).unwrap();
    })
    .await;
    let left = Left::by(&finished.unwrap());
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{:?}", left.summary.doubts);
    let waves: Vec<_> = left.summary.waves.iter().map(|w| (w.on_time, w.missing)).collect();
    assert_eq!(waves, [(5, 5), (5, 5)]);
    assert_eq!(left.summary.missing.by_cause[&Cause::NoReply], 10, "{:?}", left.summary.missing);
    // The broker stood still for 4.5 s: the second wave was sent at its instant all the same.
    let delay = left.summary.waves[1].send_delay_us.as_ref().unwrap();
    assert!(delay.max < 3_000_000, "{delay:?}");
}
