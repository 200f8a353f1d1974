//! A worker that gets its turn late: it is waited for, nothing is lost, and the result says which one it was.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::apart::{TOKEN, conductor, worker};
use super::rig::{Program, readable, real, scenario};
use super::workers::NODES;

const RPC: &str =
    "rpc, request: {agent: emulated0, action: generate}, every: 1s, count: 3, deadline: 15s";
/// Far below the four seconds after which a worker is lost.
const HELD_FOR: Duration = Duration::from_millis(1200);
const MOVES_FOR: Duration = Duration::from_millis(100);

/// The longest lag of each row of `workers.csv` that is about this worker.
fn lags(rows: &str, name: &str) -> Vec<f64> {
    let mut rows = rows.lines().map(|row| row.split(',').collect::<Vec<_>>());
    let head = rows.next().unwrap();
    let at = |column| head.iter().position(|name| *name == column).unwrap();
    let (worker, lag) = (at("worker"), at("lag_max_us"));
    rows.filter(|row| row[worker] == name).map(|row| row[lag].parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_connects_lag_is_waited_for_and_named_by_its_figures() {
    let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let group = format!("default, nodes: {NODES}, connect: {{rate: 10/s}}");
    let text = scenario(&real().await, &[&group], &[RPC]);
    let (program, url) = conductor(folders[0].path(), &text, "2");
    let start =
        |at: usize, name: &str| Program::start(worker(&url, name, &TOKEN), folders[at].path());
    let (east, slow) = (start(1, "east"), start(2, "slow"));
    program.wait_until_series("connected", 2);
    // Its nodes are due all the while.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        slow.signal(Signal::SIGSTOP);
        std::thread::sleep(HELD_FOR);
        slow.signal(Signal::SIGCONT);
        std::thread::sleep(MOVES_FOR);
    }
    let ended = program.end();
    let left = readable(folders[0].path());
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{}", ended.said);
    let summary = &left.summary;
    assert_eq!((summary.fleet.connected, summary.waves.len()), (NODES, 3), "{}", ended.said);
    assert!(summary.waves.iter().all(|wave| wave.on_time == NODES), "{}", ended.said);
    assert_eq!((summary.fleet.answered, summary.missing.count), (3 * NODES, 0), "{}", ended.said);
    assert!(summary.doubts.iter().all(|doubt| doubt.kind != "account_differs"), "{}", ended.said);
    assert!(summary.workers.iter().all(|worker| worker.lost.is_none()), "{}", ended.said);
    let of = |name: &str| summary.workers.iter().find(|worker| worker.name == name).unwrap();
    let (lag_east, lag_slow) = (of("east").lag_max_ms, of("slow").lag_max_ms);
    assert!(lag_slow >= 1_000.0 && lag_slow > lag_east, "{lag_slow} {lag_east}: {}", ended.said);
    let rows = fs::read_to_string(left.folder.join("workers.csv")).unwrap();
    let times = lags(&rows, "slow").into_iter().filter(|us| *us >= 1e6).count();
    assert!(times >= 2, "each time that it was held shows: {rows}");
    assert_eq!((east.end().code, slow.end().code), (Some(0), Some(0)));
}
