//! Runs with workers that are held in a phase, and what must be true of them after something was done to one of
//! their processes there.

use std::fs;

use choria_emulator::broker::Broker;
use choria_emulator::control::messages::{Numbered, Order};
use choria_emulator::crew::TOKEN_VARIABLE;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use nix::sys::signal::Signal;
use reports::verdict::Verdict;
use tempfile::TempDir;
use tokio::runtime::Handle;

use super::noticed_after_s;
use crate::run::apart::{TOKEN, conduct, conductor, worker};
use crate::run::rig::{Program, broker_with, processes_about, readable, scenario, signal};
use crate::support::{SOON, is_running, wait_until};

const NODES: u64 = 60;
/// From a blow to the event that tells of it: silence is noticed after 4 s, and told within the next; a busy machine is
/// given some more.
const NOTICED_WITHIN_S: f64 = 10.0;
/// A broker that lets everybody in and passes nothing on.
const MUTE: &str = "no_auth_user: guest\n\
    authorization { users: [{user: guest, password: x, permissions: {publish: {deny: \">\"}}}] }";
const RPC: &str = "rpc, request: {agent: emulated0, action: generate}";

/// What a run does when it is hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// One of two workers is there. Brokers under test are started when both are.
    Muster,
    /// The workers are there and have no shares yet: their brokers are not joined, which takes a minute to be sure of.
    Network,
    /// They have none yet: the driver waits for a word to itself that its broker does not pass on.
    Driver,
    /// The first of its nodes are connected.
    Connect,
    /// Waves go on.
    Waves,
    /// Waves are over, and the nodes have been told to leave, which takes them two seconds: their broker stands still.
    Stop,
}

/// A process of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Conductor,
    Control,
    Broker,
    Worker,
}

/// What is done to whom, and what comes of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blow {
    pub(super) who: Who,
    pub(super) how: Signal,
    /// `None`: killed.
    pub(super) code: Option<u8>,
    /// What the result says.
    pub(super) says: &'static [&'static str],
}

/// A run in a phase.
pub(super) struct Stage {
    pub(super) phase: Phase,
    pub(super) folder: TempDir,
    pub(super) program: Program,
    /// The worker that came, where the run has none of its own.
    beside: Option<(TempDir, Program)>,
    /// The brokers that are there, where the run has none of its own.
    _there: Vec<(TempDir, Broker)>,
}

impl Stage {
    /// Brings a run into this phase; `brokers` is the scenario's.
    pub(super) fn reach(phase: Phase, brokers: &str, handle: &Handle) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let there = handle.block_on(phase.brokers_there());
        let brokers = match there.as_slice() {
            [] => brokers.to_owned(),
            there => {
                let urls: Vec<_> = there.iter().map(|(_, broker)| broker.url()).collect();
                format!("topology: external, urls: {urls:?}, form_within: 1m")
            }
        };
        let text = phase.scenario(&brokers);
        if phase == Phase::Muster {
            return Self::mustering(folder, &text);
        }
        // Where no broker is its own, the control broker is the one that the tests have.
        let cache = format!("{}/cache", env!("CARGO_TARGET_TMPDIR"));
        let program = conduct(folder.path(), &text, "2", &["--cache", &cache]);
        let stage = Self { phase, folder, program, beside: None, _there: there };
        match phase {
            Phase::Network => stage.program.wait_for("mustered", 1),
            Phase::Driver => stage.program.wait_for("network", 1),
            Phase::Muster | Phase::Connect => stage.program.wait_until_series("connected", 2),
            Phase::Waves => stage.program.wait_for("wave", 1),
            Phase::Stop => handle.block_on(stage.begin_to_stop()),
        }
        stage
    }

    fn mustering(folder: TempDir, text: &str) -> Self {
        let (program, url) = conductor(folder.path(), text, "2");
        let place = tempfile::tempdir().unwrap();
        let east = Program::start(worker(&url, "east", &TOKEN), place.path());
        east.wait_until_said("worker 1 of 2");
        let (beside, _there) = (Some((place, east)), Vec::new());
        Self { phase: Phase::Muster, folder, program, beside, _there }
    }

    /// Holds the broker still while the last wave waits for a node that never answers, and returns when the workers
    /// have been told to end their nodes.
    async fn begin_to_stop(&self) {
        self.program.wait_for("connected", 1);
        let mut orders = orders_to(self.pid(Who::Worker)).await;
        self.program.wait_until_series("received", NODES);
        signal(self.pid(Who::Broker), Signal::SIGSTOP);
        let mut told = std::collections::BTreeSet::new();
        while told.len() < 2 {
            let order = tokio::time::timeout(SOON, orders.next()).await.unwrap().unwrap();
            let numbered: Numbered = serde_json::from_slice(&order.payload).unwrap();
            if numbered.order == Order::Stop {
                told.insert(order.subject.to_string());
            }
        }
    }

    /// The process; of workers one.
    fn pid(&self, who: Who) -> i32 {
        let named = |sign: &[&str]| {
            let all = processes_about(self.folder.path()).into_iter();
            all.filter(|pid| {
                sign.iter().all(|word| words(*pid).iter().any(|it| it.ends_with(word)))
            })
            .max()
            .unwrap_or_else(|| panic!("no process with {sign:?}"))
        };
        match (who, &self.beside) {
            (Who::Conductor, _) => self.program.pid(),
            (Who::Control, _) => named(&["control.conf"]),
            (Who::Broker, _) => named(&["n1.conf"]),
            (Who::Worker, Some((_, east))) => east.pid(),
            (Who::Worker, None) => named(&["worker", "w1"]),
        }
    }

    /// All workers.
    fn workers(&self) -> Vec<i32> {
        match &self.beside {
            Some((_, east)) => vec![east.pid()],
            None => {
                let all = processes_about(self.folder.path()).into_iter();
                all.filter(|pid| words(*pid).iter().any(|word| word == "worker")).collect()
            }
        }
    }

    /// Deals the blow, and sees that the run ends as it says and that the rest is in order.
    pub(super) fn suffer(self, blow: Blow) {
        let dealt = Timestamp::now();
        self.deal(blow);
        let Self { phase, folder, program, beside, _there } = self;
        let ended = program.end();
        if let Some((_place, east)) = beside {
            blow.check_worker(east);
        }
        let told = format!("{phase:?}, {blow:?}: {}", ended.said);
        let left = readable(folder.path());
        let summary = &left.summary;
        for text in blow.says {
            assert!(left.error().contains(text), "{text:?} is not in {:?}: {told}", left.error());
        }
        let Some(code) = blow.code else {
            assert_eq!((ended.code, summary.verdict), (None, Verdict::Interrupted), "{told}");
            return assert!(summary.partial, "{told}");
        };
        assert_eq!(ended.code, Some(i32::from(summary.exit_code)), "{told}");
        assert_eq!(left.code_on_a_quiet_machine(), code, "{told}");
        let failed = matches!(code, 4 | 5);
        assert_eq!(summary.verdict == Verdict::Error, failed, "{told}");
        assert_eq!(summary.partial, failed, "{told}");
        if failed && blow.who == Who::Worker {
            let name = if phase == Phase::Muster { "east" } else { "w1" };
            let lost = summary.workers.iter().filter(|worker| worker.lost.is_some());
            assert!(lost.map(|worker| &worker.name).eq([name]), "{:?}", summary.workers);
        }
        // Without its control broker nobody is known to be lost.
        if code == 5 && !blow.is(Who::Control, Signal::SIGKILL) {
            let events = left.lines("events.jsonl");
            let named = |event: &serde_json::Value| {
                let detail = event["detail"].as_str().unwrap();
                event["kind"] == "worker_lost" && detail.starts_with("worker ")
            };
            assert!(events.iter().any(named), "{told}");
        }
        if matches!(phase, Phase::Waves | Phase::Stop) {
            assert!(!summary.waves.is_empty(), "what was measured is kept: {told}");
        }
        if failed && !blow.is(Who::Conductor, Signal::SIGSTOP) {
            let noticed = noticed_after_s(&left, dealt);
            assert!(noticed < NOTICED_WITHIN_S, "noticed after {noticed:.1} s: {told}");
        }
    }

    /// Deals the blow; a conductor that stood still goes on when its workers have gone.
    fn deal(&self, blow: Blow) {
        let (victim, workers) = (self.pid(blow.who), self.workers());
        signal(victim, blow.how);
        if blow.is(Who::Conductor, Signal::SIGSTOP) {
            let gone = || workers.iter().all(|pid| !is_running(*pid));
            wait_until("workers that left by themselves", gone);
            signal(victim, Signal::SIGCONT);
        }
    }
}

impl Blow {
    fn is(&self, who: Who, how: Signal) -> bool {
        (self.who, self.how) == (who, how)
    }

    /// The worker that came to the muster ends too, and says why, also one that stood still.
    fn check_worker(&self, east: Program) {
        if self.is(Who::Worker, Signal::SIGSTOP) {
            east.signal(Signal::SIGCONT);
        }
        let ended = east.end();
        if !self.is(Who::Worker, Signal::SIGKILL) {
            let why = ["the conductor was not heard any more", "turned away: "];
            assert!(why.iter().any(|why| ended.said.contains(why)), "{self:?}: {}", ended.said);
        }
    }
}

impl Phase {
    fn scenario(self, brokers: &str) -> String {
        let group = format!("default, nodes: {NODES}");
        let slow = format!("{group}, connect: {{rate: 2/s}}");
        let silent = format!("default, nodes: {}", NODES - 1);
        let (groups, wave) = match self {
            Self::Muster | Self::Network | Self::Driver => {
                (vec![group], format!("{RPC}, count: 1"))
            }
            Self::Connect => (vec![slow], format!("{RPC}, every: 1s, count: 2, deadline: 1s")),
            Self::Waves => (vec![group], format!("{RPC}, every: 500ms, count: 24, deadline: 1s")),
            Self::Stop => (
                vec![silent, "silent, nodes: 1, behaviour: {no_reply: 100%}".to_owned()],
                format!("{RPC}, count: 1, deadline: 4s"),
            ),
        };
        let groups: Vec<_> = groups.iter().map(String::as_str).collect();
        // A broker that stands still loses answers, and no process: it is for thresholds to say.
        let thresholds = "thresholds: {completeness: [\"avg > 90%\"]}\n";
        scenario(brokers, &groups, &[&wave]) + thresholds
    }

    /// The brokers that have to be there for it.
    async fn brokers_there(self) -> Vec<(TempDir, Broker)> {
        let configs = match self {
            Self::Network => &["", ""][..],
            Self::Driver => &[MUTE],
            Self::Muster | Self::Connect | Self::Waves | Self::Stop => &[],
        };
        let start = async |config: &&str| {
            let folder = tempfile::tempdir().unwrap();
            let broker = broker_with(folder.path(), config).await;
            (folder, broker)
        };
        futures_util::future::join_all(configs.iter().map(start)).await
    }
}

/// The orders that workers get, heard with what lets this one in.
async fn orders_to(worker: i32) -> async_nats::Subscriber {
    let words = words(worker);
    let url = words.iter().skip_while(|word| *word != "--control").nth(1).unwrap();
    let environment =
        String::from_utf8(fs::read(format!("/proc/{worker}/environ")).unwrap()).unwrap();
    let name = format!("{TOKEN_VARIABLE}=");
    let token = environment.split('\0').find_map(|variable| variable.strip_prefix(&name)).unwrap();
    let options = async_nats::ConnectOptions::with_token(token.to_owned());
    let client = options.connect(url.as_str()).await.unwrap();
    let orders = client.subscribe("choria_emulator.*.order.*").await.unwrap();
    client.flush().await.unwrap();
    orders
}

fn words(pid: i32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).split('\0').map(str::to_owned).collect()
}
