//! A control broker that was there before: a run under which it is started again, and what a conductor that was killed
//! leaves in it.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, Info, StorageType};
use async_nats::jetstream::{self, Context};
use choria_emulator::broker::{Broker, By, Control};
use choria_emulator::control::Subjects;
use choria_emulator::control::messages::{Answer, Order, Report};
use futures_util::TryStreamExt as _;
use futures_util::future::join_all;
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use crate::run::apart::{TOKEN, conductor_over, control_broker, worker};
use crate::run::handmade::ConductorByHand;
use crate::run::muster::mute_assignment;
use crate::run::rig::{Left, Program, left_in, readable, real, scenario};
use crate::support::SOON;

const NODES: u64 = 20;

/// A control broker, and a run over it with two workers.
pub(super) struct Given {
    folders: [TempDir; 4],
    pub(super) control: Broker,
}

/// The processes of a run.
pub(super) struct Processes {
    pub(super) conductor: Program,
    pub(super) workers: [Program; 2],
}

impl Given {
    pub(super) async fn start() -> Self {
        let folders = [(); 4].map(|()| tempfile::tempdir().unwrap());
        let control = control_broker(folders[0].path(), "").await;
        Self { folders, control }
    }

    /// Where it listens.
    pub(super) fn url(&self) -> String {
        self.control.url()
    }

    async fn run(&self, wave: &str, more: &str) -> Processes {
        let url = self.url();
        self.run_over([&url, &url, &url], wave, more).await
    }

    /// A run whose conductor and workers reach the control broker over these URLs.
    pub(super) async fn run_over(
        &self,
        [to_conductor, to_east, to_west]: [&str; 3],
        wave: &str,
        more: &str,
    ) -> Processes {
        let wave = format!("rpc, request: {{agent: emulated0, action: generate}}, {wave}");
        let group = format!("default, nodes: {NODES}{more}");
        let text = scenario(&real().await, &[&group], &[&wave]);
        let [_, of_conductor, of_east, of_west] = &self.folders;
        let conductor = conductor_over((to_conductor, &TOKEN), of_conductor.path(), &text, "2");
        let workers = [("east", to_east, of_east), ("west", to_west, of_west)]
            .map(|(name, url, at)| Program::start(worker(url, name, &TOKEN), at.path()));
        Processes { conductor, workers }
    }

    async fn jetstream(&self) -> Context {
        let options = async_nats::ConnectOptions::with_token("secret".to_owned());
        jetstream::new(options.connect(self.control.url()).await.unwrap())
    }

    async fn streams(&self) -> Vec<String> {
        self.jetstream().await.stream_names().try_collect().await.unwrap()
    }

    async fn stream(&self) -> Info {
        let stream = self.jetstream().await.get_stream(Subjects::STREAM).await.unwrap();
        stream.cached_info().clone()
    }

    pub(super) fn left(&self) -> Left {
        readable(self.folders[1].path())
    }
}

/// Kills a control broker and starts it again.
pub(super) async fn start_again(control: &Control) {
    control.end(By::Kill).await.unwrap();
    control.start(None).await.unwrap();
}

/// A stream that holds slices, with none of the limits that ours has.
pub(super) fn memory() -> Config {
    Config {
        name: Subjects::STREAM.to_owned(),
        subjects: vec![Subjects::ALL_SLICES.to_owned()],
        storage: StorageType::Memory,
        ..Config::default()
    }
}

impl Processes {
    /// The run ends in order, with every answer, and every figure adds up.
    pub(super) fn check_whole(self, left: impl Fn() -> Left, waves: usize) {
        let said = self.conductor.end().said;
        for worker in self.workers {
            let ended = worker.end();
            assert_eq!(ended.code, Some(0), "{}\n{said}", ended.said);
        }
        let left = left();
        assert_eq!(left.code_on_a_quiet_machine(), 0, "{said}");
        let summary = &left.summary;
        assert!(!summary.partial && summary.waves.len() == waves, "{said}");
        let complete = |(on_time, expected)| (on_time, expected) == (NODES, NODES);
        assert!(summary.waves.iter().all(|wave| complete((wave.on_time, wave.expected))), "{said}");
        assert_eq!(summary.fleet.answered, waves as u64 * NODES, "{said}");
        let differs = |kind: &str| kind == "account_differs";
        assert!(summary.doubts.iter().all(|doubt| !differs(&doubt.kind)), "{said}");
        let heard = |slices: u64, lost: &Option<String>| slices > 0 && lost.is_none();
        assert!(summary.workers.iter().all(|worker| heard(worker.slices, &worker.lost)), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_killed_and_started_again_while_waves_run_loses_no_figure() {
    let given = Given::start().await;
    let processes = given.run("every: 500ms, count: 24", "").await;
    for waves in [2, 5] {
        processes.conductor.wait_for("wave", waves);
        start_again(&given.control.control()).await;
    }
    let made = async {
        while given.streams().await.is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, made).await.unwrap();
    let events = left_in(given.folders[1].path()).lines("events.jsonl");
    let over = events.iter().filter(|event| event["kind"] == "wave").count();
    assert!(over < 24, "the stream is made again while waves run: {over} are over");
    processes.check_whole(|| given.left(), 24);
    assert_eq!(given.streams().await, Vec::<String>::new());
    given.control.stop(Duration::ZERO).await;
}

/// A worker that has its share, of a conductor made by hand, and what its nodes are to connect to.
pub(super) async fn prepared(folders: &[TempDir; 3]) -> (ConductorByHand, Program, TcpListener) {
    let mut conductor = ConductorByHand::start(folders[0].path()).await;
    let context = jetstream::new(conductor.line.client().clone());
    context.create_stream(memory()).await.unwrap();
    let worker = worker(&conductor.broker.url(), "w1", &TOKEN);
    let worker = Program::start(worker, folders[1].path());
    conductor.let_in().await;
    let (mute, plan, assignment, _) = mute_assignment(folders[2].path()).await;
    assert_eq!(conductor.prepare(&plan, assignment).await, Answer::Done);
    (conductor, worker, mute)
}

/// Waits until a stream holds at least so many messages; the payload of each.
async fn payloads(context: &Context, at_least: u64) -> Vec<Value> {
    let read = async {
        let stream = context.get_stream(Subjects::STREAM).await.unwrap();
        while stream.get_info().await.unwrap().state.messages < at_least {
            sleep(Duration::from_millis(20)).await;
        }
        let each = (1..=at_least).map(async |number| {
            let message = stream.get_raw_message(number).await.unwrap();
            serde_json::from_slice(&message.payload).unwrap()
        });
        join_all(each).await
    };
    timeout(SOON, read).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn slices_that_it_had_confirmed_and_nobody_had_read_come_again() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let (conductor, east, _mute) = prepared(&folders).await;
    let context = jetstream::new(conductor.line.client().clone());
    assert_eq!(conductor.order(&Order::Start { at_us: 0 }).await, Answer::Done);
    let numbers =
        |slices: Vec<Value>| slices.iter().map(|slice| slice["number"].as_u64()).collect();
    let before: Vec<_> = numbers(payloads(&context, 2).await);
    assert_eq!(before, [Some(1), Some(2)]);
    start_again(&conductor.broker.control()).await;
    while context.create_stream(memory()).await.is_err() {}
    let after: Vec<_> = numbers(payloads(&context, 3).await);
    assert_eq!(after, [Some(1), Some(2), Some(3)]);
    east.signal(Signal::SIGTERM);
    assert_eq!(east.end().code, Some(143));
    conductor.broker.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_slices_come_again_as_long_as_their_worker_is_there() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let (conductor, worker, _mute) = prepared(&folders).await;
    let context = jetstream::new(conductor.line.client().clone());
    assert_eq!(conductor.order(&Order::Start { at_us: 0 }).await, Answer::Done);
    let told = conductor.order(&Order::Stop).await;
    let Answer::Report(Report { slices, .. }) = told else { panic!("{told:?}") };
    payloads(&context, slices).await;
    start_again(&conductor.broker.control()).await;
    while context.create_stream(memory()).await.is_err() {}
    let numbers = payloads(&context, slices).await.into_iter();
    let numbers: Vec<_> = numbers.map(|slice| slice["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=slices).collect::<Vec<_>>());
    conductor.dismiss().await;
    assert_eq!(worker.end().code, Some(0));
    conductor.broker.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_conductor_leaves_in_it_is_bounded_and_goes_with_the_next_run() {
    let given = Given::start().await;
    let killed = given.run("every: 500ms, count: 60", "").await;
    killed.conductor.wait_for("wave", 3);
    killed.conductor.signal(Signal::SIGKILL);
    assert_eq!(killed.conductor.end().code, None);
    for worker in killed.workers {
        assert_eq!(worker.end().code, Some(5), "it misses its conductor");
    }
    let left = given.stream().await;
    let Config { storage, max_age, max_bytes, .. } = left.config;
    assert_eq!(storage, StorageType::Memory);
    assert!(!max_age.is_zero() && max_age <= Duration::from_secs(60), "{max_age:?}");
    assert!(max_bytes > 0 && left.state.messages > 0, "{max_bytes} {:?}", left.state);
    let next = given.run("every: 500ms, count: 2", "").await;
    next.check_whole(|| given.left(), 2);
    assert_eq!(given.streams().await, Vec::<String>::new());
    given.control.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_another_build_has_left_in_it_is_used_and_removed() {
    let given = Given::start().await;
    given.jetstream().await.create_stream(memory()).await.unwrap();
    let processes = given.run("every: 500ms, count: 2", "").await;
    processes.check_whole(|| given.left(), 2);
    assert_eq!(given.streams().await, Vec::<String>::new());
    given.control.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_interrupted_while_workers_muster_leaves_nothing_in_it() {
    let given = Given::start().await;
    let Processes { conductor, workers: [east, west] } = given.run("count: 1", "").await;
    west.signal(Signal::SIGKILL);
    assert_eq!(west.end().code, None);
    conductor.wait_until_said("waiting for workers: ");
    let made = async {
        while given.streams().await.is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, made).await.unwrap();
    conductor.signal(Signal::SIGINT);
    assert_eq!(conductor.end().code, Some(130));
    assert_eq!(east.end().code, Some(3));
    assert_eq!(given.streams().await, Vec::<String>::new());
    given.control.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_is_larger_than_its_messages_may_be_reaches_all_workers() {
    let given = Given::start().await;
    let facts = format!(", facts: {{long: \"{}\"}}", "ä\\\"x".repeat(700_000));
    let processes = given.run("every: 500ms, count: 2", &facts).await;
    processes.check_whole(|| given.left(), 2);
    let plan = std::fs::metadata(given.left().folder.join("plan.json")).unwrap().len();
    assert!(plan > 2 << 20, "{plan} bytes are not more than a message may have");
    given.control.stop(Duration::ZERO).await;
}
