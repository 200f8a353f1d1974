//! The timeline of a run: what is done to brokers while waves go on, carried out at its instants.
//!
//! Beside the waves and never in their way: steps are futures of one task, whatever they measure is
//! in [`SoFar`] at any moment, and what there is to tell goes through a bounded queue. A run that
//! ends drops them where they stand: a broker that stood still goes on, one that was coming up is
//! killed, and the rest is stopped with the network.

mod watch;

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use futures_util::stream::{FuturesUnordered, StreamExt};
use reports::recovery::{Recoveries, Recovery, RecoveryKey};
use serde_json::json;
use tokio::sync::{mpsc, watch as channel};
use tokio::time::{sleep, sleep_until};

use super::{Progress, Reporter, RunError, Setup, network};
use crate::broker::{self, By, Control, ControlError, Obtained, Stopped};
use crate::crew::Meter;
use crate::driver::{Epoch, Presence};
use crate::plan::{self, Act, Plan, Rolling, Step, When};

/// What happened that waits to be written down: a rolling step tells three things a broker. When it
/// is full the timeline waits for the books, a moment.
const HAPPENINGS: usize = 256;
/// How long before its instant a step asks the brokers for their connections.
const BALANCE_LEAD: Duration = Duration::from_millis(300);

/// Waves that are over, by entry and number, and for how many clients.
pub(super) type WavesOver = HashMap<(String, u32), u32>;

/// Something that happened, for the books and for whoever watches.
pub(super) struct Happening {
    pub(super) kind: &'static str,
    pub(super) text: String,
    pub(super) figures: serde_json::Value,
}

/// A step that could not be carried out.
#[derive(Debug, thiserror::Error)]
#[error("step {step} of the timeline: {source}")]
pub(super) struct StepError {
    step: String,
    source: ControlError,
}

/// What was measured so far, readable at any moment.
#[derive(Debug, Clone, Default)]
pub(super) struct SoFar(Arc<Mutex<Recoveries>>);

impl SoFar {
    /// Everything at this moment.
    pub(super) fn snapshot(&self) -> Recoveries {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, key: &RecoveryKey, change: impl FnOnce(&mut Recovery)) {
        change(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()));
    }
}

/// The programs that the steps of a plan put in place of others, by position of the step; each is
/// there before anything is started.
pub(super) type Programs = Vec<Option<Obtained>>;

/// Finds or obtains the programs of all steps.
pub(super) async fn programs(setup: &Setup, reporter: &Reporter) -> Result<Programs, RunError> {
    let mut programs = Vec::new();
    for step in &setup.plan.timeline {
        let Act::Restart { nats_server: Some(wanted), .. } = &step.act else {
            programs.push(None);
            continue;
        };
        let (told, whose) = (reporter.clone(), step.brokers.join(" "));
        let progress = move |step| told.tell(Progress::Obtaining(whose.clone(), step));
        let found =
            broker::obtain::obtain(network::request(wanted), setup.sources.clone(), progress);
        programs.push(Some(found.await.map_err(network::unreachable)?));
    }
    Ok(programs)
}

/// What the timeline acts on and looks at.
#[derive(Clone)]
pub(super) struct Scene {
    pub(super) brokers: Vec<Control>,
    pub(super) programs: Programs,
    pub(super) meter: Meter,
    pub(super) presence: Presence,
    pub(super) epoch: Epoch,
    /// The instant of the first wave, since the epoch.
    pub(super) go: Duration,
    pub(super) waves: channel::Receiver<WavesOver>,
}

/// The steps under way.
pub(super) struct Timeline {
    plan: Plan,
    scene: Scene,
    so_far: SoFar,
    tell: mpsc::Sender<Happening>,
    /// Nodes connected before anything was done.
    nodes: u64,
}

impl Timeline {
    /// The timeline of a plan, what it tells, and what it measures.
    pub(super) fn new(plan: &Plan, scene: Scene) -> (Self, mpsc::Receiver<Happening>, SoFar) {
        let (tell, told) = mpsc::channel(HAPPENINGS);
        let so_far = SoFar::default();
        let nodes = scene.meter.counts().connected;
        let timeline = Self { plan: plan.clone(), scene, so_far: so_far.clone(), tell, nodes };
        for (position, step) in timeline.plan.timeline.iter().enumerate() {
            for (turn, brokers) in turns(step) {
                // Whatever is not carried out is in the result as that.
                so_far.change(&key(position, turn, step), |recovery| {
                    recovery.action = step.act.word().to_owned();
                    recovery.brokers = brokers.iter().cloned().collect();
                });
            }
        }
        (timeline, told, so_far)
    }

    /// Carries out all steps and ends when nothing of them is watched any more.
    pub(super) async fn run(self) -> Result<(), StepError> {
        let timeline = &self;
        let steps = timeline.plan.timeline.iter().enumerate();
        let steps = steps.map(|(position, step)| async move {
            let carried_out = timeline.step(position, step).await;
            carried_out.map_err(|source| StepError { step: step.name.clone(), source })
        });
        try_join_all(steps).await.map(drop)
    }

    async fn step(&self, position: usize, step: &Step) -> Result<(), ControlError> {
        self.wait_for(step).await;
        let mut watching = FuturesUnordered::new();
        for (turn, brokers) in turns(step) {
            if turn > 1 {
                match step.rolling {
                    Some(Rolling::Pause { pause }) => beside(&mut watching, sleep(pause)).await,
                    Some(Rolling::Whole) | None => while watching.next().await.is_some() {},
                }
            }
            let key = key(position, turn, step);
            let watch = self.begin(&key, step, brokers).await;
            watching.push(watch.run());
            beside(&mut watching, self.act_on_all(position, step, &key, brokers)).await?;
        }
        while watching.next().await.is_some() {}
        Ok(())
    }

    /// Waits for the time of a step, which may never come.
    async fn wait_for(&self, step: &Step) {
        match step.when {
            When::At { at } => {
                let at = (self.scene.go + at).saturating_sub(BALANCE_LEAD);
                sleep_until(self.scene.epoch.instant(at)).await;
            }
            When::After { entry, number } => {
                let Some(entry) = self.plan.entries.get(entry) else { return };
                let wave = (entry.name.clone(), number);
                let mut waves = self.scene.waves.clone();
                let over = |over: &WavesOver| over.get(&wave).is_some_and(|n| *n >= entry.clients);
                // Nobody tells any more: the run ends, and with it this wait.
                if waves.wait_for(over).await.is_err() {
                    std::future::pending().await
                }
            }
        }
    }

    /// Takes note of how things are before an action, and of its instant.
    async fn begin(&self, key: &RecoveryKey, step: &Step, brokers: &[String]) -> watch::Watch {
        let before = watch::connections(&self.scene.brokers).await;
        if let (When::At { at }, 1) = (step.when, key.turn) {
            sleep_until(self.scene.epoch.instant(self.scene.go + at)).await;
        }
        let watch = watch::Watch::begin(self, key, step.watch);
        self.so_far.change(key, |recovery| recovery.connections_before = before);
        let names = brokers.join(" ");
        let text = format!("{}: {} {names}", step.name, step.act.word());
        let figures = json!({ "step": step.name, "turn": key.turn, "action": step.act.word(),
            "brokers": brokers });
        self.tell("timeline_action", text, figures).await;
        watch
    }

    /// Does what the step says, to all these brokers at once.
    async fn act_on_all(
        &self,
        position: usize,
        step: &Step,
        key: &RecoveryKey,
        brokers: &[String],
    ) -> Result<(), ControlError> {
        let program = self.scene.programs.get(position).and_then(Option::as_ref);
        let meant = self.scene.brokers.iter().filter(|b| brokers.iter().any(|n| n == b.name()));
        let acting = meant.map(async |broker| {
            let killed = act(&step.act, broker, program).await?;
            Ok(killed.then(|| broker.name().to_owned()))
        });
        let acted: Result<Vec<_>, _> = join_all(acting).await.into_iter().collect();
        let killed: Vec<String> = match acted {
            Ok(killed) => killed.into_iter().flatten().collect(),
            Err(error) => {
                self.so_far.change(key, |recovery| recovery.began = None);
                return Err(error);
            }
        };
        let ready = !matches!(step.act, Act::End { .. });
        let mut took = Duration::ZERO;
        self.so_far.change(key, |recovery| {
            let began = recovery.began.unwrap_or_default();
            took = self.scene.epoch.now().saturating_sub(began);
            recovery.done = Some(took);
            recovery.ready = ready.then_some(took);
        });
        let state = if ready { "ready" } else { "gone" };
        let had_to = match killed.as_slice() {
            [] => String::new(),
            names => format!(", {} had to be killed: asked to end, it went on", names.join(" ")),
        };
        let text = format!(
            "{}: {} {state} after {:.3} s{had_to}",
            step.name,
            brokers.join(" "),
            took.as_secs_f64()
        );
        let figures = json!({ "step": step.name, "turn": key.turn, "brokers": brokers,
            "ready": ready, "took_s": took.as_secs_f64(), "killed": killed });
        self.tell("timeline_done", text, figures).await;
        Ok(())
    }

    async fn tell(&self, kind: &'static str, text: String, figures: serde_json::Value) {
        // Nobody listens any more when the run ends.
        let _ = self.tell.send(Happening { kind, text, figures }).await;
    }
}

/// The turns of a step with their brokers: all at once, or each for itself.
fn turns(step: &Step) -> impl Iterator<Item = (u32, &[String])> {
    let size = if step.rolling.is_some() { 1 } else { step.brokers.len().max(1) };
    (1..).zip(step.brokers.chunks(size))
}

fn key(position: usize, turn: u32, step: &Step) -> RecoveryKey {
    let number = u32::try_from(position).unwrap_or(u32::MAX).saturating_add(1);
    RecoveryKey { number, turn, step: step.name.clone() }
}

/// Acts on a broker, and says whether it had to be killed although it was asked to end.
async fn act(
    act: &Act,
    broker: &Control,
    program: Option<&Obtained>,
) -> Result<bool, ControlError> {
    match act {
        Act::End { by } => {
            let stopped = broker.end(ended_by(*by)).await?;
            Ok(had_to_be_killed(&stopped, *by))
        }
        Act::Start => broker.start(None).await.map(|()| false),
        Act::Pause { length } => broker.pause(*length).await.map(|()| false),
        Act::Restart { by, away, .. } => {
            let stopped = broker.restart(ended_by(*by), *away, program.cloned()).await?;
            Ok(had_to_be_killed(&stopped, *by))
        }
    }
}

fn had_to_be_killed(stopped: &Stopped, by: plan::By) -> bool {
    stopped.killed && by != plan::By::Kill
}

fn ended_by(by: plan::By) -> By {
    match by {
        plan::By::Term => By::Term,
        plan::By::Kill => By::Kill,
        plan::By::LameDuck => By::LameDuck,
    }
}

/// Does some work while the watches go on.
async fn beside<W: Future<Output = ()>, T>(
    watching: &mut FuturesUnordered<W>,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            Some(()) = watching.next() => {}
        }
    }
}
