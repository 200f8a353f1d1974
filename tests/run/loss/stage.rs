//! Runs with workers that are held in a phase, and what must be true of them after something was done to one of
//! their processes there.

use std::fs;

use choria_emulator::crew::TOKEN_VARIABLE;
use futures_util::StreamExt as _;
use nix::sys::signal::Signal;
use reports::verdict::Verdict;
use tempfile::TempDir;
use tokio::runtime::Handle;

use super::{last_instant, noticed};
use crate::run::apart::{TOKEN, conduct, conductor, worker};
use crate::run::rig::{Program, processes_about, readable, scenario, signal};
use crate::support::{SOON, is_running, wait_until};

const NODES: u64 = 60;
const RPC: &str = "rpc, request: {agent: emulated0, action: generate}";

/// What a run does when it is hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// One of two workers is there. Brokers under test are started when both are.
    Muster,
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
}

impl Stage {
    /// Brings a run into this phase; `brokers` is the scenario's.
    pub(super) fn reach(phase: Phase, brokers: &str, handle: &Handle) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = phase.scenario(brokers);
        if phase == Phase::Muster {
            return Self::mustering(folder, &text);
        }
        let program = conduct(folder.path(), &text, "2", &[]);
        let stage = Self { phase, folder, program, beside: None };
        match phase {
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
        Self { phase: Phase::Muster, folder, program, beside: Some((place, east)) }
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
            if order.payload.as_ref() == br#""stop""# {
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
        let before = last_instant(&self.folder.path().join("results/latest"));
        self.deal(blow);
        let Self { phase, folder, program, beside } = self;
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
        if failed && blow.who == Who::Worker && phase != Phase::Muster {
            let lost = summary.workers.iter().filter(|worker| worker.lost.is_some());
            assert!(lost.map(|worker| &worker.name).eq(["w1"]), "{:?}", summary.workers);
        }
        if matches!(phase, Phase::Waves | Phase::Stop) {
            assert!(!summary.waves.is_empty(), "what was measured is kept: {told}");
        }
        if failed && !blow.is(Who::Conductor, Signal::SIGSTOP) {
            let noticed = noticed(&left) - before;
            assert!(noticed < phase.noticed_within_s(), "noticed after {noticed:.1} s: {told}");
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
            Self::Muster => (vec![group], format!("{RPC}, count: 1")),
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

    /// From what was last written before the blow to the event that tells of it: silence is noticed after 4 s, and
    /// told within the next. Before there are nodes, and when they leave, it is told when all has ended, which takes
    /// a control broker that stands still five seconds, and nodes whose broker does so as many before.
    fn noticed_within_s(self) -> f64 {
        match self {
            Self::Connect | Self::Waves => 10.0,
            Self::Muster => 15.0,
            Self::Stop => 25.0,
        }
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
