//! What the control plane costs: bytes a second at the control broker, which do not grow with the nodes of a worker.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::apart::{TOKEN, conductor_over, control_broker, worker};
use super::rig::{Program, real, scenario};

/// The bound in ARCHITECTURE.md, for each direction: bytes a second and worker.
const BOUND: f64 = 12_000.0;
/// Two waves and ten slices.
const LOOKS_FOR: Duration = Duration::from_secs(10);

/// Bytes a second into the control broker and out of it, while waves ask so many nodes of one worker.
async fn rates(nodes: u64) -> [f64; 2] {
    let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let control = control_broker(folders[0].path(), "").await;
    let url = control.url();
    let wave = "rpc, request: {agent: emulated0, action: generate}, every: 5s, count: 20";
    let text = scenario(&real().await, &[&format!("default, nodes: {nodes}")], &[wave]);
    let program = conductor_over((&url, &TOKEN), folders[1].path(), &text, "1");
    let east = Program::start(worker(&url, "east", &TOKEN), folders[2].path());
    program.wait_for("wave", 1);
    let bytes = async || {
        let varz = control.sample().await.unwrap().varz;
        (Instant::now(), [varz.in_bytes, varz.out_bytes])
    };
    let (from, before) = bytes().await;
    tokio::time::sleep(LOOKS_FOR).await;
    let (until, after) = bytes().await;
    program.signal(Signal::SIGINT);
    let ended = program.end();
    assert_eq!(ended.code, Some(130), "{}", ended.said);
    assert_eq!(east.end().code, Some(0));
    control.stop(Duration::ZERO).await;
    let each = |at: usize| (after[at] - before[at]) as f64 / (until - from).as_secs_f64();
    [each(0), each(1)]
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_times_the_nodes_are_no_more_bytes_a_second() {
    let (few, many) = (rates(500).await, rates(5_000).await);
    for (few, many) in few.into_iter().zip(many) {
        assert!(few > 500.0, "nothing was said: {few}");
        assert!(few < BOUND && many < BOUND, "{few} {many}");
        // A digit more in some counters.
        assert!(many < 1.25 * few + 300.0, "{few} became {many}");
    }
}
