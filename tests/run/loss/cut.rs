//! A network that is cut, as against a process that stands still: a worker in a network namespace of its own whose
//! cable is pulled, for seconds and for good.

use std::time::Duration;

use jiff::Timestamp;
use nix::sys::signal::Signal;
use reports::missing::Cause;
use tempfile::TempDir;

use super::noticed_after_s;
use crate::run::apart::{TOKEN, worker};
use crate::run::hosts::{HERE, Hosts};
use crate::run::rig::{Ended, Left, Program, external, readable, scenario};
use crate::support::nats_server;

const NODES: u64 = 60;

/// A run of two workers: conductor, brokers and one worker on one host, the other worker apart.
struct Apart {
    hosts: Hosts,
    folders: [TempDir; 4],
    broker: Program,
    conductor: Program,
    near: Program,
    far: Program,
}

/// What all of them left.
struct Outcome {
    folders: [TempDir; 4],
    conductor: Ended,
    near: Ended,
    far: Ended,
}

impl Apart {
    /// `None`, and said, where the system lets us have no networks of our own.
    async fn start(test: &str, wave: &str, more: &str) -> Option<Self> {
        let hosts = Hosts::for_test(test)?;
        let folders = [(); 4].map(|()| tempfile::tempdir().unwrap());
        let [of_conductor, of_near, of_far, of_broker] = folders.each_ref().map(TempDir::path);
        let program = nats_server().await.path;
        let mut broker = hosts.here.command(program.to_str().unwrap());
        broker.args(["-a", HERE, "-p", "4222"]);
        let broker = Program::start(broker, of_broker);
        broker.wait_until_said("Server is ready");
        let group = format!("default, nodes: {NODES}");
        let text = scenario(&external(&format!("nats://{HERE}:4222")), &[&group], &[wave]) + more;
        let mut run = Program::command(of_conductor, &text);
        run.args(["--workers", "2", "--control-listen", &format!("{HERE}:4300")]);
        // In there is no way to a release: the control broker is the one that the tests have.
        run.args(TOKEN).args(["--cache", &format!("{}/cache", env!("CARGO_TARGET_TMPDIR"))]);
        let conductor = Program::start(hosts.here.with(&run), of_conductor);
        conductor.wait_until_said("waiting for workers");
        let url = format!("nats://{HERE}:4300");
        let worker = |name: &str| worker(&url, name, &TOKEN);
        let near = Program::start(hosts.here.with(&worker("near")), of_near);
        let far = Program::start(hosts.there.with(&worker("far")), of_far);
        conductor.wait_for("wave", 2);
        Some(Self { hosts, folders, broker, conductor, near, far })
    }

    /// Pulls the cable out; returns when that was.
    fn pull(&self) -> Timestamp {
        let now = Timestamp::now();
        self.hosts.there.ip("link set cable down").unwrap();
        now
    }

    fn plug_in(&self) {
        self.hosts.there.ip("link set cable up").unwrap();
    }

    fn end(self) -> Outcome {
        let Self { hosts: _hosts, folders, broker, conductor, near, far } = self;
        let (conductor, near, far) = (conductor.end(), near.end(), far.end());
        broker.signal(Signal::SIGKILL);
        broker.end();
        Outcome { folders, conductor, near, far }
    }
}

impl Outcome {
    fn left(&self) -> Left {
        readable(self.folders[0].path())
    }

    /// The worker that was cut off ends by itself. At the other end that is noticed after four seconds and told
    /// within the next; a busy machine is given some more.
    fn check_lost(&self, left: &Left, pulled: Timestamp) {
        assert_eq!(self.far.code, Some(5), "{}", self.far.said);
        let alone = "the conductor was not heard any more";
        assert!(self.far.said.contains(alone), "{}", self.far.said);
        let after = noticed_after_s(left, pulled);
        assert!(after < 10.0, "noticed after {after:.1} s: {}", self.conductor.said);
    }
}

const LONG: &str =
    "rpc, request: {agent: emulated0, action: generate}, every: 1s, count: 12, deadline: 15s";

#[tokio::test(flavor = "multi_thread")]
async fn a_cable_that_is_out_for_three_seconds_loses_no_node_no_reply_and_no_figure() {
    let Some(apart) = Apart::start("a cable that is out for seconds", LONG, "").await else {
        return;
    };
    apart.pull();
    std::thread::sleep(Duration::from_secs(3));
    apart.plug_in();
    let outcome = apart.end();
    let (left, said) = (outcome.left(), &outcome.conductor.said);
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{said}");
    assert_eq!((outcome.near.code, outcome.far.code), (Some(0), Some(0)), "{said}");
    let summary = &left.summary;
    assert_eq!(summary.waves.len(), 12);
    assert!(
        summary.waves.iter().all(|wave| (wave.on_time, wave.expected) == (NODES, NODES)),
        "{said}"
    );
    assert!(summary.waves.iter().all(|wave| wave.duplicate == 0), "{said}");
    assert_eq!(summary.fleet.answered, 12 * NODES, "{said}");
    assert!(summary.doubts.iter().all(|doubt| doubt.kind != "account_differs"), "{said}");
    assert!(
        summary.workers.iter().all(|worker| worker.lost.is_none() && worker.slices > 0),
        "{said}"
    );
    let delayed = summary.waves.iter().filter_map(|wave| wave.response_time_us.as_ref());
    assert!(delayed.map(|times| times.max).max() > Some(1_000_000), "nothing was cut: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_cable_is_out_for_good_is_lost_and_both_ends_say_so() {
    let test = "a cable that is out for good";
    let Some(apart) = Apart::start(test, LONG, "").await else { return };
    let pulled = apart.pull();
    let outcome = apart.end();
    let (left, said) = (outcome.left(), &outcome.conductor.said);
    assert_eq!((outcome.conductor.code, left.summary.exit_code), (Some(5), 5), "{said}");
    for text in ["worker far on ", "it was not heard for 4 s"] {
        assert!(left.error().contains(text), "{text:?} is not in {}", left.error());
    }
    assert!(left.summary.partial && left.summary.waves.len() >= 2, "what was measured is kept");
    outcome.check_lost(&left, pulled);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_loss_is_tolerated_the_nodes_behind_the_cable_are_missing_by_name() {
    let wave =
        "rpc, request: {agent: emulated0, action: generate}, every: 1s, count: 12, deadline: 1s";
    let test = "a cable that is out for good, and tolerated";
    let Some(apart) = Apart::start(test, wave, "workers: {tolerate: 50%}\n").await else { return };
    let pulled = apart.pull();
    let outcome = apart.end();
    let (left, said) = (outcome.left(), &outcome.conductor.said);
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{said}");
    assert_eq!(outcome.near.code, Some(0), "{}", outcome.near.said);
    outcome.check_lost(&left, pulled);
    let lost: Vec<_> = left.lines("events.jsonl");
    let lost = lost.iter().filter(|event| event["kind"] == "worker_lost").count();
    assert_eq!(lost, 1, "{said}");
    let last = left.summary.waves.last().unwrap();
    assert_eq!(
        (last.expected, last.on_time, last.missing),
        (NODES, NODES / 2, NODES / 2),
        "{said}"
    );
    let missing: Vec<_> = left.missing().into_iter().filter(|m| m.number == last.number).collect();
    assert_eq!(missing.len() as u64, NODES / 2);
    assert!(missing.iter().all(|node| node.cause == Cause::WorkerLost), "{missing:?}");
    let shares: std::collections::BTreeSet<_> =
        missing.iter().map(|m| m.index.unwrap() % 2).collect();
    assert_eq!(shares.len(), 1, "all of one worker");
}
