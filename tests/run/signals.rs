//! Ctrl-C, SIGTERM and SIGKILL in each phase of a run: the real program, and what it leaves.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reports::verdict::Verdict;

use super::rig::{Program, left_in, processes_about, real, scenario};
use crate::support::{script, wait_until};

const RPC: &str = "rpc, request: {agent: emulated0, action: generate}";

/// Both ways to ask for the end, with their exit codes.
const ASKED: [(Signal, u8); 2] = [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)];

/// Does it for both, side by side: they wait more than they work.
fn each(check: impl Fn((Signal, u8)) + Sync) {
    let check = &check;
    std::thread::scope(|scope| {
        for asked in ASKED {
            scope.spawn(move || check(asked));
        }
    });
}

/// A run that is asked to end where `reached` returns leaves a partial result with so many waves.
fn check(scenario: &str, reached: impl Fn(&Program) + Sync, waves: usize) {
    each(|asked| {
        let folder = tempfile::tempdir().unwrap();
        let program = Program::run(folder.path(), scenario);
        check_ended(program, folder.path(), asked, &reached, waves);
    });
}

fn check_ended(
    program: Program,
    folder: &Path,
    (signal, code): (Signal, u8),
    reached: impl Fn(&Program),
    waves: usize,
) {
    reached(&program);
    program.signal(signal);
    let ended = program.end();
    assert_eq!(ended.code, Some(i32::from(code)), "{}", ended.said);
    assert!(ended.said.contains("results so far are kept"), "{}", ended.said);
    let left = left_in(folder);
    let summary = &left.summary;
    assert_eq!((summary.verdict, summary.exit_code), (Verdict::Interrupted, code));
    assert!(summary.partial && summary.error.is_none());
    assert_eq!(summary.waves.len(), waves, "{}", ended.said);
    assert_eq!(summary.missing.count, 0, "nobody is blamed");
    assert_eq!(left.lines("events.jsonl").last().unwrap()["kind"], "end");
    let report = std::process::Command::new(env!("CARGO_BIN_EXE_choria-emulator"))
        .arg("report")
        .arg(&left.folder)
        .output()
        .unwrap();
    let report = String::from_utf8(report.stdout).unwrap();
    assert!(report.to_lowercase().contains("interrupted"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_broker_is_downloaded() {
    let text = scenario("nats: \"2.10.7\"", &["default, nodes: 5"], &[RPC]);
    each(|asked| {
        let folder = tempfile::tempdir().unwrap();
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let releases = format!("http://{}", silent.local_addr().unwrap());
        let mut command = Program::command(folder.path(), &text);
        command.args(["--cache", "cache", "--releases", &releases]);
        let program = Program::start(command, folder.path());
        // Somebody came for the release, and gets no answer.
        let visitor = std::cell::OnceCell::new();
        let reached = |_: &Program| visitor.set(silent.accept().unwrap()).unwrap();
        check_ended(program, folder.path(), asked, reached, 0);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_broker_starts() {
    let programs = tempfile::tempdir().unwrap();
    let body =
        "[ \"$1\" = --version ] && echo 'nats-server: v2.14.5' && exit 0\nexec tail -f \"$2\"";
    let never_ready = script(&programs.path().join("nats-server"), body);
    let brokers = format!("path: {}", never_ready.display());
    let text = scenario(&brokers, &["default, nodes: 5"], &[RPC]);
    each(|asked| {
        let folder = tempfile::tempdir().unwrap();
        let started = |_: &Program| {
            wait_until("a broker that starts", || {
                let about = processes_about(folder.path());
                about.into_iter().any(|pid| name(pid) == "tail")
            });
        };
        check_ended(Program::run(folder.path(), &text), folder.path(), asked, started, 0);
    });
}

fn name(pid: i32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nodes_connect() {
    let groups = ["default, nodes: 100, connect: {rate: 4/s}"];
    let text = scenario(&real().await, &groups, &[RPC]);
    check(&text, |program| program.wait_until_series("connected", 1), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn between_waves() {
    let rpc = format!("{RPC}, count: 2, every: 300s");
    let text = scenario(&real().await, &["default, nodes: 20"], &[&rpc]);
    check(&text, |program| program.wait_for("wave", 1), 1);
}

/// Nobody waits for these replies: the run ends long before.
const OPEN_WAVE: [&str; 1] = ["default, nodes: 20, behaviour: {reply_delay: 300s}"];

fn open_wave(program: &Program) {
    program.wait_until_series("received", 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_mid_wave() {
    let rpc = format!("{RPC}, deadline: 600s");
    let text = scenario(&real().await, &OPEN_WAVE, &[&rpc]);
    check(&text, open_wave, 0);
}

/// A run with an open wave whose broker has stopped moving: it takes long to end in order.
async fn stuck(folder: &Path, deadline: &str) -> Program {
    let rpc = format!("{RPC}, deadline: {deadline}");
    let text = scenario(&real().await, &OPEN_WAVE, &[&rpc]);
    let program = Program::run(folder, &text);
    open_wave(&program);
    let about = processes_about(folder);
    let broker = about.into_iter().find(|pid| name(*pid).starts_with("nats")).unwrap();
    kill(Pid::from_raw(broker), Signal::SIGSTOP).unwrap();
    program
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_ctrl_c_ends_at_once_and_takes_the_broker_along() {
    let folder = tempfile::tempdir().unwrap();
    let program = stuck(folder.path(), "600s").await;
    program.signal(Signal::SIGINT);
    program.wait_until_said("Ctrl-C again ends at once");
    program.signal(Signal::SIGINT);
    let ended = program.end();
    assert_eq!(ended.code, Some(130), "{}", ended.said);
    let left = left_in(folder.path());
    assert!(left.summary.partial);
    // It did not come as far as its orderly end.
    let events = left.lines("events.jsonl");
    assert!(events.iter().all(|event| event["kind"] != "end"), "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_finishes_the_exit_code_is_that_of_the_result() {
    let folder = tempfile::tempdir().unwrap();
    let program = stuck(folder.path(), "3s").await;
    program.wait_for("wave", 1);
    program.signal(Signal::SIGTERM);
    let ended = program.end();
    let left = left_in(folder.path());
    assert_eq!(ended.code, Some(i32::from(left.summary.exit_code)), "{}", ended.said);
    assert_eq!(left.summary.waves.len(), 1);
    assert_eq!(left.lines("events.jsonl").last().unwrap()["kind"], "end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_leaves_no_broker_and_a_result_that_says_it_is_partial() {
    let folder = tempfile::tempdir().unwrap();
    let rpc = format!("{RPC}, count: 2, every: 300s");
    let text = scenario(&real().await, &["default, nodes: 20"], &[&rpc]);
    let program = Program::run(folder.path(), &text);
    program.wait_for("wave", 1);
    // The summary follows the event.
    wait_until("a summary with the wave", || left_in(folder.path()).summary.waves.len() == 1);
    assert!(!processes_about(folder.path()).is_empty(), "its broker runs");
    program.signal(Signal::SIGKILL);
    let ended = program.end();
    assert_eq!(ended.code, None, "{}", ended.said);
    let left = left_in(folder.path());
    assert!(left.summary.partial && left.summary.verdict == Verdict::Interrupted);
    assert_eq!(left.summary.waves[0].on_time, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_was_held_up_says_that_its_result_is_invalid() {
    let folder = tempfile::tempdir().unwrap();
    // A threshold fails too: that the tool was the bottleneck weighs more.
    let thresholds = "thresholds: {\"completeness{wave:rpc}\": [\"max < 100%\"]}\n";
    let rpc = format!("{RPC}, count: 3, every: 2s");
    let text = scenario(&real().await, &["default, nodes: 20"], &[&rpc]) + thresholds;
    let program = Program::run(folder.path(), &text);
    program.wait_for("wave", 1);
    program.signal(Signal::SIGSTOP);
    // The next instant passes.
    std::thread::sleep(Duration::from_secs(3));
    program.signal(Signal::SIGCONT);
    let ended = program.end();
    let left = left_in(folder.path());
    let doubts = &left.summary.doubts;
    assert!(doubts.iter().any(|doubt| doubt.kind == "waves_sent_late"), "{doubts:?}");
    assert_eq!((ended.code, left.summary.exit_code), (Some(97), 97), "{}", ended.said);
    assert_eq!(left.summary.verdict, Verdict::Invalid);
    assert!(!left.summary.partial && !left.summary.thresholds[0].passed);
    assert!(
        left.summary
            .waves
            .iter()
            .any(|wave| { wave.send_delay_us.as_ref().is_some_and(|delay| delay.min > 250_000) })
    );
}
