//! What a worker says unasked: pulses, which may get lost, and slices, which may not.
//!
//! One slice at a time is under way to JetStream, under a number of its own, and is sent again until the stream
//! has it. What happens meanwhile is one further slice: slices are differences to the one before, so that they add
//! up, and nothing piles up however long the way is closed. The stream is in memory: a control broker that was started
//! again has forgotten it, and slices that it had confirmed and nobody had read. So the last few go once more, before
//! the next one, whenever the way was closed, and after the last one as long as the worker is there. The conductor
//! knows a second copy by its number.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_nats::jetstream;
use bytes::Bytes;
use emulator::fleet::counts::{FleetCounts, StepTimes};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::carrier::Carrier;
use crate::control::messages::{Slice, Spent, Steps, micros};
use crate::control::{LOST_AFTER, Line, PULSE_EVERY, SLICE_EVERY};

/// Time for the stream to confirm a slice, before it is sent again.
const CONFIRM_WITHIN: Duration = Duration::from_secs(2);
/// After a refusal.
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// Slices that are kept to be sent once more: more than there can be while a conductor does not read them and is not
/// taken for gone.
const KEPT: usize = 8;
const _: () = assert!(KEPT as u128 * SLICE_EVERY.as_millis() > LOST_AFTER.as_millis());
/// Time for the last slices to be confirmed when the worker ends.
const FINISH_WITHIN: Duration = Duration::from_secs(15);

/// Shows that the worker is there, until it is dropped.
pub(super) async fn pulse(line: Line, subject: String, carrier: Arc<Carrier>) {
    let mut ticks = interval(PULSE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut next_slice = Instant::now();
    loop {
        ticks.tick().await;
        let due = next_slice <= Instant::now();
        if due {
            next_slice = Instant::now() + SLICE_EVERY;
        }
        line.say(&subject, &carrier.pulse(due)).await;
    }
}

/// A state of everything that a worker counts.
#[derive(Debug, Clone, Default)]
struct Standing {
    counts: FleetCounts,
    steps: StepTimes,
    spent: Spent,
    /// Which look at the counters it is, from 1; 0: none yet.
    look: u64,
    /// Nothing comes after it.
    last: bool,
}

/// Slices on their way.
pub(super) struct Outbox {
    latest: watch::Sender<Standing>,
    lag_us_max: Arc<AtomicU64>,
    sent: Arc<AtomicU64>,
    /// Whether the last one is confirmed.
    over: watch::Receiver<bool>,
    /// The one that delivers; it goes with this.
    tasks: JoinSet<()>,
}

impl Outbox {
    /// Sends slices to `subject`; the run has been going on for `at`.
    pub(super) fn start(line: &Line, subject: String, at: Duration) -> Self {
        let (latest, standings) = watch::channel(Standing::default());
        let (lag_us_max, sent) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let (is_over, over) = watch::channel(false);
        let post = Post {
            context: jetstream::new(line.client().clone()),
            line: line.clone(),
            connections: Some(line.connections()),
            kept: VecDeque::with_capacity(KEPT + 1),
            subject,
            began: Instant::now(),
            at,
            lag_us_max: Arc::clone(&lag_us_max),
            sent: Arc::clone(&sent),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(post.deliver(standings, is_over));
        Self { latest, lag_us_max, sent, over, tasks }
    }

    /// A node's task had to wait so long for its turn.
    pub(super) fn note(&self, lag_us_max: u64) {
        self.lag_us_max.fetch_max(lag_us_max, Ordering::Relaxed);
    }

    /// This is how things stand: sent as soon as the slice before is confirmed, or made up for by a later one.
    pub(super) fn offer(&self, counts: FleetCounts, steps: StepTimes, spent: Spent) {
        self.latest.send_modify(|standing| {
            *standing = Standing { counts, steps, spent, look: standing.look + 1, last: false };
        });
    }

    /// Slices that the stream has confirmed.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Sends what is left and waits until it is confirmed, for a while. Returns the number of slices, which goes up no
    /// more.
    pub(super) async fn finish(
        &mut self,
        counts: FleetCounts,
        steps: StepTimes,
        spent: Spent,
    ) -> u64 {
        self.latest.send_modify(|standing| {
            *standing = Standing { counts, steps, spent, look: standing.look + 1, last: true };
        });
        if timeout(FINISH_WITHIN, self.over.wait_for(|over| *over)).await.is_err() {
            tracing::warn!("the last figures were not confirmed");
            self.tasks.shutdown().await;
        }
        self.sent()
    }

    /// Ends what delivers.
    pub(super) async fn close(mut self) {
        self.tasks.shutdown().await;
    }
}

/// What delivers slices, one after the other.
struct Post {
    context: jetstream::Context,
    line: Line,
    /// How often the connection had been made when all that is kept was known to be in the stream; `None`: an attempt
    /// has failed since.
    connections: Option<u64>,
    /// The last slices, oldest first.
    kept: VecDeque<Bytes>,
    subject: String,
    began: Instant,
    at: Duration,
    lag_us_max: Arc<AtomicU64>,
    sent: Arc<AtomicU64>,
}

impl Post {
    async fn deliver(
        mut self,
        mut standings: watch::Receiver<Standing>,
        over: watch::Sender<bool>,
    ) {
        let mut before = Standing::default();
        while standings.wait_for(|standing| standing.look > before.look).await.is_ok() {
            let now = standings.borrow().clone();
            let number = self.sent.load(Ordering::Relaxed) + 1;
            let steps = now.steps.since(&before.steps);
            let slice = Slice {
                number,
                at_us: micros(self.at + self.began.elapsed()),
                counts: now.counts.since(&before.counts).numbers(),
                steps: (!steps.is_empty()).then(|| Steps::of(&steps)),
                lag_us_max: self.lag_us_max.swap(0, Ordering::Relaxed),
                spent: now.spent,
            };
            let payload = Bytes::from(serde_json::to_vec(&slice).unwrap_or_default());
            self.kept.push_back(payload);
            self.insist(number).await;
            if self.kept.len() > KEPT {
                self.kept.pop_front();
            }
            self.sent.store(number, Ordering::Relaxed);
            if now.last {
                let _ = over.send(true);
                return self.keep(number).await;
            }
            before = now;
        }
    }

    /// Sends the last slices again whenever the stream may have forgotten them.
    async fn keep(&mut self, number: u64) {
        while let Some(connections) = self.connections {
            self.line.made_again(connections).await;
            self.insist(number).await;
        }
    }

    /// Sends until the stream has everything up to this slice.
    async fn insist(&mut self, number: u64) {
        while let Err(error) = self.attempt().await {
            tracing::warn!(number, "a slice was not confirmed and is sent again: {error}");
            self.connections = None;
            sleep(RETRY_AFTER).await;
        }
    }

    /// Sends the last slice, and before it those that the stream may have forgotten.
    async fn attempt(&mut self) -> Result<(), String> {
        let connections = self.line.connections();
        let known = match self.connections == Some(connections) {
            true => self.kept.len().saturating_sub(1),
            false => 0,
        };
        for payload in self.kept.range(known..) {
            self.post(payload.clone()).await?;
        }
        if self.line.connections() != connections {
            return Err("the connection was lost meanwhile".to_owned());
        }
        self.connections = Some(connections);
        Ok(())
    }

    async fn post(&self, payload: Bytes) -> Result<(), String> {
        let sent = async {
            let sent = self.context.publish(self.subject.clone(), payload).await;
            sent.map_err(|error| error.to_string())?.await.map_err(|error| error.to_string())
        };
        match timeout(CONFIRM_WITHIN, sent).await {
            Ok(confirmed) => confirmed.map(drop),
            Err(_) => Err(format!("nothing was heard within {CONFIRM_WITHIN:?}")),
        }
    }
}
