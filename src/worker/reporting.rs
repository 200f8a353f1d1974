//! What a worker says unasked: pulses, which may get lost, and slices, which may not.
//!
//! One slice at a time is under way to JetStream, under a number of its own, and is sent again until the stream
//! has it (which tells a second copy by its number). What happens meanwhile is one further slice: slices
//! are differences to the one before, so that they add up, and nothing piles up however long the way is closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream;
use bytes::Bytes;
use emulator::fleet::counts::{FleetCounts, StepTimes};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::carrier::Carrier;
use crate::control::messages::{Slice, Spent, Steps, micros};
use crate::control::{Line, PULSE_EVERY, SLICE_EVERY};

/// Time for the stream to confirm a slice, before it is sent again.
const CONFIRM_WITHIN: Duration = Duration::from_secs(2);
/// After a refusal.
const RETRY_AFTER: Duration = Duration::from_millis(200);
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
    /// The one that delivers; it goes with this.
    tasks: JoinSet<()>,
}

impl Outbox {
    /// Sends slices to `subject`; the run has been going on for `at`.
    pub(super) fn start(line: &Line, subject: String, at: Duration) -> Self {
        let (latest, standings) = watch::channel(Standing::default());
        let (lag_us_max, sent) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let post = Post {
            context: jetstream::new(line.client().clone()),
            subject,
            began: Instant::now(),
            at,
            lag_us_max: Arc::clone(&lag_us_max),
            sent: Arc::clone(&sent),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(post.deliver(standings));
        Self { latest, lag_us_max, sent, tasks }
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

    /// Sends what is left and waits until it is confirmed, for a while. Returns the number of slices.
    pub(super) async fn finish(
        mut self,
        counts: FleetCounts,
        steps: StepTimes,
        spent: Spent,
    ) -> u64 {
        self.latest.send_modify(|standing| {
            *standing = Standing { counts, steps, spent, look: standing.look + 1, last: true };
        });
        if timeout(FINISH_WITHIN, self.tasks.join_next()).await.is_err() {
            tracing::warn!("the last figures were not confirmed");
        }
        self.sent()
    }
}

/// What delivers slices, one after the other.
struct Post {
    context: jetstream::Context,
    subject: String,
    began: Instant,
    at: Duration,
    lag_us_max: Arc<AtomicU64>,
    sent: Arc<AtomicU64>,
}

impl Post {
    async fn deliver(self, mut standings: watch::Receiver<Standing>) {
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
            while let Err(error) = self.post(number, payload.clone()).await {
                tracing::warn!(number, "a slice was not confirmed and is sent again: {error}");
                sleep(RETRY_AFTER).await;
            }
            self.sent.store(number, Ordering::Relaxed);
            if now.last {
                return;
            }
            before = now;
        }
    }

    async fn post(&self, number: u64, payload: Bytes) -> Result<(), String> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, format!("{} {number}", self.subject));
        let sent = async {
            let context = &self.context;
            let sent = context.publish_with_headers(self.subject.clone(), headers, payload).await;
            sent.map_err(|error| error.to_string())?.await.map_err(|error| error.to_string())
        };
        match timeout(CONFIRM_WITHIN, sent).await {
            Ok(confirmed) => confirmed.map(drop),
            Err(_) => Err(format!("nothing was heard within {CONFIRM_WITHIN:?}")),
        }
    }
}
