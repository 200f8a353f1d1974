//! The phase in which waves are sent, and each is written down when it is over.
//!
//! The driver and the attendant of the books are tasks of their own: what is done here, however long it
//! takes, makes no wave late.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reports::run::Ending;
use reports::store::StoreError;
use reports::verdict::Severity;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::course::Course;
use super::{Run, SAMPLE_EVERY, note_if_possible, note_losses};
use crate::conductor::Progress;
use crate::conductor::book::Witness;
use crate::conductor::early::{LOOK_EVERY, broken, fault, meanwhile, noting, trouble, without};
use crate::conductor::network::Network;
use crate::conductor::pending::{Attendant, Pending};
use crate::conductor::telemetry::WAVES;
use crate::control::LOST_AFTER;
use crate::crew::{Clock, Crew, CrewError, Drivers, FarDriver, Start};
use crate::driver::{Driver, DriverError, RunSummary, WaveDone, WaveFailure, WaveOrder};
use crate::orders::{Crowd, at_place, begin_at, orders};
use crate::scenario::CONDUCTOR;
use crate::watch::{Activity, Backlog, Usage};

/// From the last preparation to the first wave.
const LEAD: Duration = Duration::from_millis(500);
/// The same where drivers on workers are to have their word before: as long as one may be away and is not lost, so that
/// a word that is lost with its connection makes no wave late. Beside it, what the way to them takes.
const FAR_LEAD: Duration = LOST_AFTER;
/// Ways to a worker and back until its driver has its word: one to listen to it, one to give it, and as many again.
const WAYS: u32 = 4;
/// Finished waves that may wait to be written down; then finished waves wait, running ones do not.
const WAVES_WAITING: usize = 64;

/// A driver, or those of the workers, back from their waves.
enum Driven {
    Here(Driver, Result<RunSummary, DriverError>),
    Far(Drivers, Result<Vec<FarDriver>, CrewError>),
}

/// All drivers at work; they are awaited.
struct Driving {
    tasks: JoinSet<Driven>,
    done: mpsc::Receiver<WaveDone>,
    cancel: CancellationToken,
}

impl Run<'_> {
    /// Sends all waves and writes each down when it is over.
    pub(super) async fn waves(&mut self, crowd: &Crowd) -> Result<(), Ending> {
        self.inspect("before waves").await;
        self.enter(WAVES);
        let plan = &self.setup.plan;
        let mut orders = orders(plan, crowd, self.nonce).map_err(|e| fault(&e.to_string()))?;
        let clocks = self.clocks().await?;
        let go = self.epoch.now() + lead(&clocks);
        begin_at(&mut orders, go);
        self.reporter.tell(Progress::Waves { total: orders.len() as u64, longest: plan.longest() });
        let mut pending = Pending::new(&orders);
        let activity = Arc::new(Mutex::new(Activity::default()));
        let books = self.crew.as_ref().map(Crew::books);
        let attendant = Attendant::new(&orders, self.epoch, books, Arc::clone(&activity));
        // All end with this function: the attendant is dropped, drivers and timeline are awaited.
        let mut attending = JoinSet::new();
        attending.spawn(attendant.attend());
        let presence = self.driver.as_ref().map(Driver::presence);
        let Some(presence) = presence else { return Err(fault("no driver")) };
        let start = Start { go, roster: crowd.roster.len(), clocks };
        let mut driving = self.drive(&orders, start)?;
        let mut course = Course::begin(self, presence, go);
        self.lag.record(true);
        let mut ending = None;
        let mut next_sample = tokio::time::Instant::now();
        loop {
            let outcome = tokio::select! {
                biased;
                early = trouble(&self.network, &self.losses, &self.crew, self.stop), if ending.is_none() => {
                    Err(early)
                }
                happened = course.next() => self.follow(happened, &course),
                wave = driving.done.recv() => match wave {
                    Some(wave) => {
                        course.note(&wave);
                        self.take(wave, crowd, &mut pending, &activity).await.map_err(broken)
                    }
                    // All drivers have ended and with them the sink.
                    None => break,
                },
                () = tokio::time::sleep_until(next_sample) => {
                    next_sample += SAMPLE_EVERY;
                    self.sample(WAVES)
                }
                () = tokio::time::sleep(LOOK_EVERY) => {
                    note_losses(&self.losses, &mut self.book, self.reporter).map_err(broken)
                }
            };
            if let Err(early) = outcome {
                ending.get_or_insert(early);
                driving.cancel.cancel();
            }
        }
        self.lag.record(false);
        let told = self.end_course(course).await.map_err(broken);
        (self.waves_wall, self.waves_usage) = lock(&activity).total();
        let mut ended = Ok(());
        while let Some(driven) = driving.tasks.join_next().await {
            ended = ended.and(self.driven(driven));
        }
        ending.map_or(ended.and(told), Err)
    }

    /// Reads the clocks of the workers that have drivers.
    async fn clocks(&mut self) -> Result<Vec<Clock>, Ending> {
        let Some(drivers) = &self.drivers else { return Ok(Vec::new()) };
        let trouble = trouble(&self.network, &self.losses, &self.crew, self.stop);
        let note = || note_losses(&self.losses, &mut self.book, self.reporter);
        let clocks = meanwhile(drivers.clocks(self.epoch), trouble, note).await?;
        let clocks = clocks.map_err(without)?;
        for Clock { name, within, .. } in &clocks {
            let within = within.as_secs_f64();
            let text = format!("the clock of worker {name} is known within {:.3} ms", within * 1e3);
            let figures = json!({ "worker": name, "within_s": within });
            self.book.event("clock", text, figures).map_err(broken)?;
        }
        Ok(clocks)
    }

    /// Sets all drivers to work: each sends the waves of its own clients.
    fn drive(&mut self, orders: &[WaveOrder], start: Start) -> Result<Driving, Ending> {
        let (sink, done) = mpsc::channel(WAVES_WAITING);
        let (cancel, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let Some(driver) = self.driver.take() else { return Err(fault("no driver")) };
        if let Some(drivers) = self.drivers.take() {
            let (sink, cancel) = (sink.clone(), cancel.clone());
            tasks.spawn(async move {
                let heard = drivers.run(start, sink, cancel).await;
                Driven::Far(drivers, heard)
            });
        }
        let (here, cancelled) = (at_place(&self.setup.plan, orders, CONDUCTOR), cancel.clone());
        tasks.spawn(async move {
            let driven = driver.run(here, sink, cancelled).await;
            Driven::Here(driver, driven)
        });
        Ok(Driving { tasks, done, cancel })
    }

    /// Takes a driver back.
    fn driven(&mut self, driven: Result<Driven, tokio::task::JoinError>) -> Result<(), Ending> {
        match driven {
            Ok(Driven::Here(driver, driven)) => {
                self.driver = Some(driver);
                driven.map(|_| ()).map_err(|error| fault(&error.to_string()))
            }
            Ok(Driven::Far(drivers, heard)) => {
                self.drivers = Some(drivers);
                self.far = heard.map_err(without)?;
                Ok(())
            }
            Err(error) => Err(fault(&format!("the driver broke: {error}"))),
        }
    }

    async fn take(
        &mut self,
        mut wave: WaveDone,
        crowd: &Crowd,
        pending: &mut Pending,
        activity: &Mutex<Activity>,
    ) -> Result<(), StoreError> {
        lock(activity).end(Instant::now(), Usage::now);
        let Some(order) = pending.take(&wave.key) else { return Ok(()) };
        // One of another host was told the instant on its own clock.
        wave.result.intended_at = order.intended_at;
        self.note_failure(&wave)?;
        self.note_backlog(&wave);
        let broker = self.network.as_ref().and_then(Network::name);
        let asked = (&order, &wave);
        let witness = Witness::hear(self.crew.as_ref(), asked, crowd, broker);
        // A loss is told before the first wave that lacks the nodes, and however long a worker takes to tell of it.
        let note = || note_if_possible(&self.losses, &mut self.book, self.reporter);
        let witness = noting(witness, note).await;
        self.replies += wave.result.on_time
            + wave.result.late
            + wave.result.duplicate
            + wave.result.unexpected
            + wave.result.undecodable;
        wave.result.places = crowd.places(wave.key.client, std::mem::take(&mut wave.by_tag));
        self.book.wave(&wave, &order.expected, crowd, &witness)?;
        self.reporter.tell(Progress::Wave {
            name: wave.key.name.clone(),
            number: wave.key.number,
            warmup: wave.key.warmup,
            client: wave.key.client,
            interrupted: wave.interrupted,
            result: Box::new(wave.result),
        });
        Ok(())
    }

    fn note_backlog(&mut self, wave: &WaveDone) {
        if self.backlog.as_ref().is_none_or(|most| most.replies < wave.backlog_max) {
            let name = format!("wave {} {}", wave.key.name, wave.key.number);
            self.backlog = Some(Backlog { wave: name, replies: wave.backlog_max });
        }
    }

    /// A wave that could not be carried out as ordered spoils the run, unless all that happened is that
    /// the broker was slow: whether replies were lost by that, the thresholds say.
    fn note_failure(&mut self, wave: &WaveDone) -> Result<(), StoreError> {
        let Some(failure) = &wave.failure else { return Ok(()) };
        let text = format!("wave {} {}: {failure}", wave.key.name, wave.key.number);
        self.reporter.tell(Progress::Warning(text.clone()));
        self.book.event("wave_failed", text.clone(), json!({ "wave": wave.key.name }))?;
        let severity = match failure {
            WaveFailure::Unconfirmed => {
                self.waited_for_broker.insert(wave.key.clone());
                Severity::Note
            }
            // A connection that was away because the timeline took its broker away.
            _ if self.was_disturbed(wave) => Severity::Note,
            _ => Severity::Invalid,
        };
        self.wave_failures.push((text, severity));
        Ok(())
    }
}

/// How long before the schedule's beginning drivers are given the word.
fn lead(clocks: &[Clock]) -> Duration {
    // Half a way and back is what a clock may be off.
    let longest = clocks.iter().map(|clock| 2 * clock.within).max();
    longest.map_or(LEAD, |longest| FAR_LEAD + WAYS * longest)
}

fn lock(activity: &Mutex<Activity>) -> std::sync::MutexGuard<'_, Activity> {
    activity.lock().unwrap_or_else(PoisonError::into_inner)
}
