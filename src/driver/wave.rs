//! One wave from its subscription to its account: subscribe, wait for the intended instant, send,
//! collect until everybody has answered or the time is over, and listen on for a moment.
//!
//! A wave is one task and shares nothing with other waves but the connections, so that waves may
//! overlap. Its times end, as those of the real client's request do, when the last expected node has
//! answered. Unlike the real client it lingers then ([`WaveOrder::linger`]), since a second reply or a
//! stranger's often comes last; what comes after that is not seen.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use emulator::protocol::client::{
    ReplyScratch, broadcast_subject, decode_discovery_sender, decode_reply, encode_request,
    node_subject, reply_subject,
};
use futures_util::FutureExt;
use reports::wave::WaveKind;
use tokio_util::sync::CancellationToken;

use super::client::{Client, is_up};
use super::epoch::Epoch;
use super::inbox::{Arrival, Inbox};
use super::order::{SendMode, WaveDone, WaveFailure, WaveOrder};
use super::pacing::{LEAD_MAX, slice_wait};
use super::roster::Roster;
use super::tally::{SendLog, Tally};

/// A wave that had no time for its preparation waits this long at most for its subscription to be
/// confirmed; one that had waits until its intended instant. Then it is sent all the same.
const CONFIRM_MAX: Duration = Duration::from_millis(500);

/// Pause between two looks whether a connection that is away is back.
const AWAY_LOOK: Duration = Duration::from_millis(5);

/// Replies decoded before the subscriptions are looked at again: a fraction of a millisecond.
const DECODED_MAX: usize = 64;

/// What a wave needs beside its order.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) client: Arc<Client>,
    pub(super) roster: Arc<Roster>,
    pub(super) epoch: Epoch,
    pub(super) cancel: CancellationToken,
}

impl Surroundings {
    /// Waits until the broker has taken the subscription of a wave, and until the wave is about to begin: a receiver
    /// that comes back meanwhile subscribes anew, and its broker may not know yet. False: it has not in time.
    async fn confirmed(&self, order: &WaveOrder) -> bool {
        let Self { client, epoch, .. } = self;
        let end = order.intended_at + order.deadline;
        let patience = || {
            let left = order.intended_at.saturating_sub(epoch.now()).max(CONFIRM_MAX);
            left.min(end.saturating_sub(epoch.now()))
        };
        let Some(connects) = client.confirm(patience()).await else { return false };
        let soon = epoch.instant(order.intended_at.saturating_sub(LEAD_MAX));
        tokio::time::sleep_until(soon).await;
        client.has_stayed(connects) || client.confirm(patience()).await.is_some()
    }
}

/// Why collecting stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Reached,
    TimeOver,
    Cancelled,
    ReceiversEnded,
}

/// What collecting waits for.
#[derive(Clone, Copy)]
enum Goal<'a> {
    /// That the messages are with the connection.
    Sent,
    /// That everybody who is expected has answered.
    Complete,
    /// That these have answered.
    Answered(&'a [u32]),
    /// Nothing but the end of the time.
    Pause,
}

/// Carries out `order`. `None`: the run was cancelled before anything was sent.
pub(super) async fn run_wave(around: &Surroundings, order: &WaveOrder) -> Option<WaveDone> {
    let Surroundings { client, roster, epoch, cancel } = around;
    let reply_to =
        reply_subject(&order.reply_collective, &order.draft.caller_id, &order.request_id);
    // A connection that is away takes so many subscriptions and then makes the next one wait.
    let last = epoch.instant(order.intended_at + order.deadline);
    let subscribing = tokio::time::timeout_at(last, client.subscribe(&reply_to));
    let (subscribers, mut failure) = match cancel.run_until_cancelled(subscribing).await? {
        Err(_) => (Vec::new(), Some(WaveFailure::Subscribe("the connection is away".to_owned()))),
        Ok(Ok(subscribers)) => (subscribers, None),
        Ok(Err(error)) => (Vec::new(), Some(WaveFailure::Subscribe(error.to_string()))),
    };
    if failure.is_none() {
        let confirmed = cancel.run_until_cancelled(around.confirmed(order)).await?;
        failure = (!confirmed).then_some(WaveFailure::Unconfirmed);
    }
    let sends = match order.mode {
        SendMode::Broadcast => SendLog::broadcast(),
        SendMode::Direct | SendMode::Batch { .. } => SendLog::direct(roster.len()),
    };
    let post = Post { around, order, reply_to, sends: &sends };
    let first = post.encode();
    let until = epoch.instant(order.intended_at);
    cancel.run_until_cancelled(tokio::time::sleep_until(until)).await?;

    let discovered = client.discovered();
    let mut listener = Listener {
        inbox: Inbox::new(subscribers, *epoch),
        tally: Tally::new(order, roster.clone()),
        arrivals: VecDeque::new(),
        scratch: ReplyScratch::default(),
        kind: order.kind,
        epoch: *epoch,
        sends: &sends,
        cancel,
        failure,
    };
    let end = match listener.failure {
        Some(WaveFailure::Subscribe(_)) => End::ReceiversEnded,
        _ => listener.attend(&post, first).await,
    };
    if order.kind == WaveKind::Discover && end != End::Cancelled {
        client.note_discovered(listener.tally.answered());
    }
    let end = listener.linger(order, end).await;
    Some(listener.close(order, discovered, end))
}

/// The sending half of a wave.
struct Post<'a> {
    around: &'a Surroundings,
    order: &'a WaveOrder,
    reply_to: String,
    sends: &'a SendLog,
}

impl Post<'_> {
    /// The message with the time at which it will be sent: the intended instant, or now if that is
    /// past.
    fn encode(&self) -> Vec<u8> {
        let ahead = self.order.intended_at.saturating_sub(self.around.epoch.now());
        let sent = SystemTime::now() + ahead;
        let unix = sent.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let unix = i64::try_from(unix).unwrap_or(i64::MAX);
        let WaveOrder { draft, request_id, .. } = self.order;
        let broker = self.around.client.broker_url();
        encode_request(draft, request_id, &self.reply_to, &broker, unix)
    }

    /// Hands `message` to the connection for everybody at once; returns how long that took.
    async fn broadcast(&self, message: Vec<u8>) -> Result<Duration, WaveFailure> {
        let draft = &self.order.draft;
        let subject = broadcast_subject(&draft.collective, &draft.agent);
        let start = self.around.epoch.now();
        self.sends.note(0, start);
        self.publish(subject, message.into()).await?;
        self.flush(start).await
    }

    /// Hands the same `message` to the connection once for each of `targets`.
    async fn direct(&self, message: Vec<u8>, targets: &[u32]) -> Result<Duration, WaveFailure> {
        let message = bytes::Bytes::from(message);
        let start = self.around.epoch.now();
        for &index in targets {
            let identity = self.around.roster.identity(index);
            let subject = node_subject(&self.order.draft.collective, identity);
            self.sends.note(index, self.around.epoch.now());
            self.publish(subject, message.clone()).await?;
        }
        self.flush(start).await
    }

    async fn publish(&self, subject: String, message: bytes::Bytes) -> Result<(), WaveFailure> {
        let publisher = &self.around.client.publisher;
        // A request that is given to a connection which is away would be sent when it is back, though
        // its wave may be over by then. This wait ends with the wave.
        while !is_up(publisher) {
            tokio::time::sleep(AWAY_LOOK).await;
        }
        let published = publisher.publish(subject, message).await;
        published.map_err(|error| WaveFailure::Publish(error.to_string()))
    }

    async fn flush(&self, start: Duration) -> Result<Duration, WaveFailure> {
        let flushed = self.around.client.publisher.flush().await;
        flushed.map_err(|error| WaveFailure::Publish(error.to_string()))?;
        Ok(self.around.epoch.now().saturating_sub(start))
    }
}

/// The receiving half of a wave.
struct Listener<'a> {
    inbox: Inbox,
    tally: Tally,
    arrivals: VecDeque<Arrival>,
    scratch: ReplyScratch,
    kind: WaveKind,
    epoch: Epoch,
    sends: &'a SendLog,
    cancel: &'a CancellationToken,
    failure: Option<WaveFailure>,
}

impl Listener<'_> {
    /// Sends by way of `post` and collects until the wave's end; `first` is the encoded message.
    async fn attend(&mut self, post: &Post<'_>, first: Vec<u8>) -> End {
        let order = post.order;
        let deadline = order.intended_at + order.deadline;
        let targets: Vec<u32> = match order.mode {
            SendMode::Broadcast => Vec::new(),
            SendMode::Direct | SendMode::Batch { .. } => order.expected.iter().collect(),
        };
        let end = match order.mode {
            SendMode::Broadcast => {
                self.collect(post.broadcast(first), Goal::Complete, deadline).await
            }
            SendMode::Direct => {
                self.collect(post.direct(first, &targets), Goal::Complete, deadline).await
            }
            SendMode::Batch { size, sleep } => {
                self.batch(post, first, targets.chunks(size.max(1) as usize), sleep).await
            }
        };
        let grace = order.late_grace;
        if end != End::TimeOver || grace.is_zero() || order.expected.count() == 0 {
            return end;
        }
        self.listen(Goal::Complete, deadline + grace).await
    }

    /// Listens on after the last expected reply, if the wave has ended with that.
    async fn linger(&mut self, order: &WaveOrder, end: End) -> End {
        if end != End::Reached || order.linger.is_zero() {
            return end;
        }
        let last = order.intended_at + order.deadline + order.late_grace;
        let until = self.epoch.now() + order.linger;
        self.listen(Goal::Pause, until.min(last)).await
    }

    /// Sends slice by slice, each with a newly built message (protocol document 5.8).
    async fn batch(
        &mut self,
        post: &Post<'_>,
        first: Vec<u8>,
        slices: std::slice::Chunks<'_, u32>,
        sleep: Duration,
    ) -> End {
        let deadline = post.order.intended_at + post.order.deadline;
        let mut first = Some(first);
        let mut left = u32::try_from(slices.len()).unwrap_or(u32::MAX);
        for slice in slices {
            let message = first.take().unwrap_or_else(|| post.encode());
            let sent = self.collect(post.direct(message, slice), Goal::Sent, deadline).await;
            if sent != End::Reached {
                return sent;
            }
            let now = self.epoch.now();
            let wait = slice_wait(deadline.saturating_sub(now), left, sleep);
            let end = self.listen(Goal::Answered(slice), now + wait).await;
            left -= 1;
            if left == 0 || matches!(end, End::Cancelled | End::ReceiversEnded) {
                break;
            }
            let pause = self.epoch.now() + sleep;
            self.listen(Goal::Pause, pause.min(deadline)).await;
        }
        self.listen(Goal::Complete, deadline).await
    }

    /// Collects without sending.
    async fn listen(&mut self, goal: Goal<'_>, until: Duration) -> End {
        self.collect(std::future::ready(Ok(Duration::ZERO)), goal, until).await
    }

    /// Counts what arrives while `sending` runs, until `goal` is reached or the time is over.
    async fn collect(
        &mut self,
        sending: impl Future<Output = Result<Duration, WaveFailure>>,
        goal: Goal<'_>,
        until: Duration,
    ) -> End {
        let mut sending = std::pin::pin!(sending);
        let mut timer = std::pin::pin!(tokio::time::sleep_until(self.epoch.instant(until)));
        let cancel = self.cancel;
        let mut sent = false;
        loop {
            if sent && self.has_reached(goal) {
                return End::Reached;
            }
            // Not biased: neither a flood of replies nor a long list of targets may keep the others
            // from their turn.
            let end = tokio::select! {
                open = self.inbox.fill(&mut self.arrivals) => self.arrived(open).await,
                outcome = &mut sending, if !sent => {
                    sent = true;
                    self.handed_over(outcome)
                }
                () = &mut timer => Some(self.time_over(goal, sent)),
                () = cancel.cancelled() => Some(self.cancelled()),
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// Counts some of what has arrived; `open`: more may come.
    async fn arrived(&mut self, open: bool) -> Option<End> {
        if !open {
            return Some(End::ReceiversEnded);
        }
        self.count_arrivals(DECODED_MAX);
        // Other waves stamp their replies on the same threads.
        tokio::task::yield_now().await;
        None
    }

    /// Takes note that the connection has the messages, or why not. Collecting goes on.
    fn handed_over(&mut self, outcome: Result<Duration, WaveFailure>) -> Option<End> {
        match outcome {
            Ok(took) => self.tally.published(took),
            Err(failure) => self.failure = Some(failure),
        }
        None
    }

    /// The time for `goal` is over; `sent`: the connection has the messages.
    fn time_over(&mut self, goal: Goal<'_>, sent: bool) -> End {
        if !sent {
            self.failure.get_or_insert(WaveFailure::NotWritten);
        }
        // They came in time, whenever they are decoded.
        self.count_arrivals(usize::MAX);
        if sent && self.has_reached(goal) { End::Reached } else { End::TimeOver }
    }

    /// The run is cancelled: what is here already is taken in, and nothing is waited for.
    fn cancelled(&mut self) -> End {
        let _ = self.inbox.fill(&mut self.arrivals).now_or_never();
        self.count_arrivals(usize::MAX);
        End::Cancelled
    }

    fn has_reached(&self, goal: Goal<'_>) -> bool {
        match goal {
            Goal::Sent => true,
            Goal::Complete => self.tally.is_complete(),
            Goal::Answered(slice) => slice.iter().all(|&index| self.tally.has_answered(index)),
            Goal::Pause => false,
        }
    }

    /// Decodes and counts up to `most` of what was taken out of the subscriptions. A request's reply
    /// counts when transport, hash and reply decode; a discovery's by its transport alone (protocol
    /// document 5.5, 5.8).
    fn count_arrivals(&mut self, most: usize) {
        for Arrival { message, at } in self.arrivals.drain(..most.min(self.arrivals.len())) {
            let payload = message.payload.as_ref();
            let counted = match self.kind {
                WaveKind::Discover => decode_discovery_sender(payload, &mut self.scratch)
                    .map(|sender| self.tally.reply(&sender, false, at, self.sends)),
                WaveKind::Request => decode_reply(payload, &mut self.scratch).map(|reply| {
                    self.tally.reply(&reply.sender_id, !reply.is_ok(), at, self.sends);
                }),
            };
            if let Err(error) = counted {
                self.tally.undecodable(&error, payload);
            }
        }
    }

    /// Closes the account.
    fn close(mut self, order: &WaveOrder, discovered: u64, end: End) -> WaveDone {
        if end == End::ReceiversEnded {
            self.failure.get_or_insert(WaveFailure::ReceiversEnded);
        }
        self.count_arrivals(usize::MAX);
        let unsent = self.tally.unsent(self.sends);
        let interrupted = end == End::Cancelled && !self.tally.is_complete();
        let mut result = self.tally.close(self.sends, self.epoch.now());
        result.payload_bytes = order.draft.body.len() as u64;
        result.discovered = discovered;
        WaveDone {
            key: order.key.clone(),
            result,
            by_tag: self.tally.by_tag(),
            on_time: self.tally.on_time,
            late: self.tally.late,
            unsent,
            reply_offsets_ns: self.tally.reply_offsets_ns,
            samples: self.tally.samples,
            backlog_max: self.inbox.backlog_max as u64,
            interrupted,
            failure: self.failure,
        }
    }
}
