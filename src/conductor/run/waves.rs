//! The phase in which waves are sent, and each is written down when it is over.

use std::future::pending;
use std::time::Duration;

use futures_util::future::BoxFuture;
use reports::run::Ending;
use reports::store::StoreError;
use reports::verdict::Severity;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Run, SAMPLE_EVERY};
use crate::conductor::Progress;
use crate::conductor::book::Witness;
use crate::conductor::crowd::Crowd;
use crate::conductor::early::{broken, fault, trouble};
use crate::conductor::network::{Look, Network};
use crate::conductor::orders::orders;
use crate::conductor::pending::Pending;
use crate::driver::{WaveDone, WaveFailure};
use crate::watch::Usage;

/// From the last preparation to the first wave.
const LEAD: Duration = Duration::from_millis(500);
/// Finished waves that may wait to be written down; then finished waves wait, running ones do not.
const WAVES_WAITING: usize = 64;

impl Run<'_> {
    /// Sends all waves and writes each down when it is over.
    pub(super) async fn waves(&mut self, crowd: &Crowd) -> Result<(), Ending> {
        let plan = &self.setup.plan;
        let go = self.epoch.now() + LEAD;
        let orders = orders(plan, crowd, go).map_err(|error| fault(&error.to_string()))?;
        self.reporter.tell(Progress::Waves { total: orders.len() as u64, longest: plan.longest() });
        let mut pending = Pending::new(&orders);
        let (sink, mut done) = mpsc::channel(WAVES_WAITING);
        let cancel = CancellationToken::new();
        let Some(driver) = self.driver.take() else { return Err(fault("no driver")) };
        let mut driving = Box::pin(driver.run(orders, sink, cancel.clone()));
        let mut driven = None;
        let before = Usage::now();
        self.lag.record(true);
        let mut ending = None;
        let mut next_sample = tokio::time::Instant::now();
        let mut looking = None;
        loop {
            if ending.is_none() {
                pending.open(self.crew.as_ref(), self.epoch.now());
            }
            let wake = pending.next(self.epoch).unwrap_or(next_sample).min(next_sample);
            tokio::select! {
                biased;
                wave = done.recv() => match wave {
                    Some(wave) => {
                        if let Err(error) = self.take(wave, crowd, &mut pending) {
                            ending.get_or_insert(broken(error));
                            cancel.cancel();
                        }
                    }
                    None if driven.is_some() => break,
                    // The sink is gone; the driver has only its last words left.
                    None => driven = Some((&mut driving).await),
                },
                result = &mut driving, if driven.is_none() => driven = Some(result),
                early = trouble(&self.network, &self.crew, self.stop), if ending.is_none() => {
                    ending = Some(early);
                    cancel.cancel();
                }
                look = seen(&mut looking) => {
                    looking = None;
                    if let Err(early) = self.note_sample("waves", look) {
                        ending.get_or_insert(early);
                        cancel.cancel();
                    }
                }
                () = tokio::time::sleep_until(wake) => {
                    if next_sample <= tokio::time::Instant::now() {
                        next_sample += SAMPLE_EVERY;
                        // A look that still goes on stands for this one.
                        looking.get_or_insert_with(|| self.look());
                    }
                }
            }
        }
        self.lag.record(false);
        self.waves_usage = Usage::now().since(&before);
        drop(driving);
        self.driver = Some(driver);
        if let Some(Err(error)) = driven {
            ending.get_or_insert(fault(&error.to_string()));
        }
        ending.map_or(Ok(()), Err)
    }

    fn take(
        &mut self,
        wave: WaveDone,
        crowd: &Crowd,
        pending: &mut Pending,
    ) -> Result<(), StoreError> {
        let Some(order) = pending.take(&wave) else { return Ok(()) };
        let books = self.crew.as_ref().map(|crew| (crew, crew.close(&order.request_id)));
        let broker = self.network.as_ref().and_then(Network::name);
        let witness = Witness { crew: books, broker };
        self.replies += wave.result.on_time
            + wave.result.late
            + wave.result.duplicate
            + wave.result.unexpected
            + wave.result.undecodable;
        if let Some(failure) = &wave.failure {
            let text = format!("wave {} {}: {failure}", wave.key.name, wave.key.number);
            self.reporter.tell(Progress::Warning(text.clone()));
            // Nothing that is complete was lost for want of a confirmation.
            let complete = wave.result.on_time == wave.result.expected;
            let severity = match failure {
                WaveFailure::Unconfirmed if complete => Severity::Note,
                _ => Severity::Invalid,
            };
            self.wave_failures.push((text, severity));
        }
        self.book.wave(&wave, &order.expected, crowd, &witness)?;
        self.reporter.tell(Progress::Wave {
            name: wave.key.name.clone(),
            number: wave.key.number,
            warmup: wave.key.warmup,
            client: wave.key.client,
            result: Box::new(wave.result),
        });
        Ok(())
    }
}

/// What a look has seen, if one goes on.
async fn seen(looking: &mut Option<BoxFuture<'static, Look>>) -> Look {
    match looking {
        Some(look) => look.await,
        None => pending().await,
    }
}
