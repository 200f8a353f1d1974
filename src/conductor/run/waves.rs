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
use super::{Run, SAMPLE_EVERY};
use crate::conductor::Progress;
use crate::conductor::book::Witness;
use crate::conductor::crowd::Crowd;
use crate::conductor::early::{broken, fault, trouble};
use crate::conductor::network::Network;
use crate::conductor::orders::orders;
use crate::conductor::pending::{Attendant, Pending};
use crate::conductor::telemetry::WAVES;
use crate::crew::Crew;
use crate::driver::{Driver, DriverError, RunSummary, WaveDone, WaveFailure};
use crate::watch::{Activity, Backlog, Usage};

/// From the last preparation to the first wave.
const LEAD: Duration = Duration::from_millis(500);
/// Finished waves that may wait to be written down; then finished waves wait, running ones do not.
const WAVES_WAITING: usize = 64;

/// The driver, back from its waves.
type Driven = (Driver, Result<RunSummary, DriverError>);

impl Run<'_> {
    /// Sends all waves and writes each down when it is over.
    pub(super) async fn waves(&mut self, crowd: &Crowd) -> Result<(), Ending> {
        self.inspect("before waves").await;
        self.enter(WAVES);
        let plan = &self.setup.plan;
        let go = self.epoch.now() + LEAD;
        let orders = orders(plan, crowd, go).map_err(|error| fault(&error.to_string()))?;
        self.reporter.tell(Progress::Waves { total: orders.len() as u64, longest: plan.longest() });
        let mut pending = Pending::new(&orders);
        let activity = Arc::new(Mutex::new(Activity::default()));
        let books = self.crew.as_ref().map(Crew::books);
        let attendant = Attendant::new(&orders, self.epoch, books, Arc::clone(&activity));
        let (sink, mut done) = mpsc::channel(WAVES_WAITING);
        let cancel = CancellationToken::new();
        let Some(driver) = self.driver.take() else { return Err(fault("no driver")) };
        let presence = driver.presence();
        // All end with this function: the attendant is dropped, driver and timeline are awaited.
        let mut attending = JoinSet::new();
        attending.spawn(attendant.attend());
        let mut driving: JoinSet<Driven> = JoinSet::new();
        let cancelled = cancel.clone();
        driving.spawn(async move {
            let driven = driver.run(orders, sink, cancelled).await;
            (driver, driven)
        });
        let mut course = Course::begin(self, presence, go);
        self.lag.record(true);
        let mut ending = None;
        let mut next_sample = tokio::time::Instant::now();
        loop {
            let outcome = tokio::select! {
                biased;
                early = trouble(&self.network, &self.crew, self.stop), if ending.is_none() => {
                    Err(early)
                }
                happened = course.next() => self.follow(happened, &course),
                wave = done.recv() => match wave {
                    Some(wave) => {
                        course.note(&wave);
                        self.take(wave, crowd, &mut pending, &activity).await.map_err(broken)
                    }
                    // The driver has ended and with it the sink.
                    None => break,
                },
                () = tokio::time::sleep_until(next_sample) => {
                    next_sample += SAMPLE_EVERY;
                    self.sample(WAVES)
                }
            };
            if let Err(early) = outcome {
                ending.get_or_insert(early);
                cancel.cancel();
            }
        }
        self.lag.record(false);
        let told = self.end_course(course).await.map_err(broken);
        (self.waves_wall, self.waves_usage) = lock(&activity).total();
        let ended = self.driven(driving.join_next().await);
        ending.map_or(ended.and(told), Err)
    }

    /// Takes the driver back.
    fn driven(
        &mut self,
        driven: Option<Result<Driven, tokio::task::JoinError>>,
    ) -> Result<(), Ending> {
        match driven {
            Some(Ok((driver, driven))) => {
                self.driver = Some(driver);
                driven.map(|_| ()).map_err(|error| fault(&error.to_string()))
            }
            Some(Err(error)) => Err(fault(&format!("the driver broke: {error}"))),
            None => Err(fault("the driver is gone")),
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
        self.note_failure(&wave)?;
        self.note_backlog(&wave);
        let broker = self.network.as_ref().and_then(Network::name);
        let asked = (&order, &wave);
        let witness = Witness::hear(self.crew.as_ref(), asked, crowd, broker).await;
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

fn lock(activity: &Mutex<Activity>) -> std::sync::MutexGuard<'_, Activity> {
    activity.lock().unwrap_or_else(PoisonError::into_inner)
}
