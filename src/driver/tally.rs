//! The account of one wave: every message on the reply subject goes into exactly one column.
//!
//! No clock and no socket: arrivals are handed in as instants since the run's epoch.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reports::latency::Latency;
use reports::place::{PlaceCounts, PlaceResult};
use reports::wave::WaveResult;

use super::bitset::BitSet;
use super::order::{Samples, WaveOrder};
use super::roster::Roster;

/// Marks a message that was not sent yet.
const UNSENT: u64 = u64::MAX;

/// When each message of a wave was sent. Written by whoever publishes while the replies to earlier
/// messages are being counted, hence atomic.
pub(super) struct SendLog {
    /// Nanoseconds since the epoch: one for a broadcast, one per roster entry otherwise.
    sent_ns: Box<[AtomicU64]>,
    first_ns: AtomicU64,
}

impl SendLog {
    /// The log of a broadcast: everybody is asked by the same message.
    pub(super) fn broadcast() -> Self {
        Self::with_entries(1)
    }

    /// The log of a wave that asks every node of a roster of `size` by a message of its own.
    pub(super) fn direct(size: u32) -> Self {
        Self::with_entries(size as usize)
    }

    fn with_entries(entries: usize) -> Self {
        let sent_ns = (0..entries).map(|_| AtomicU64::new(UNSENT)).collect();
        Self { sent_ns, first_ns: AtomicU64::new(UNSENT) }
    }

    /// Notes that the message to `index` (0 for a broadcast) is sent at `at`.
    pub(super) fn note(&self, index: u32, at: Duration) {
        let ns = nanoseconds(at);
        self.first_ns.fetch_min(ns, Ordering::Relaxed);
        if let Some(sent) = self.sent_ns.get(index as usize) {
            sent.store(ns, Ordering::Relaxed);
        }
    }

    /// When the first message was sent.
    pub(super) fn first(&self) -> Option<Duration> {
        known(self.first_ns.load(Ordering::Relaxed))
    }

    /// When the node at `index` was asked; an answer to no message counts from the first one.
    fn of(&self, index: u32) -> Option<Duration> {
        let own = if self.sent_ns.len() == 1 { 0 } else { index as usize };
        let own = self.sent_ns.get(own).and_then(|sent| known(sent.load(Ordering::Relaxed)));
        own.or_else(|| self.first())
    }

    /// When each message was sent.
    fn all(&self) -> impl Iterator<Item = Duration> + '_ {
        self.sent_ns.iter().filter_map(|sent| known(sent.load(Ordering::Relaxed)))
    }
}

fn nanoseconds(at: Duration) -> u64 {
    u64::try_from(at.as_nanos()).unwrap_or(UNSENT - 1)
}

fn known(ns: u64) -> Option<Duration> {
    (ns != UNSENT).then(|| Duration::from_nanos(ns))
}

/// The columns of one wave while it runs.
pub(super) struct Tally {
    roster: Arc<Roster>,
    expected: Arc<BitSet>,
    intended_at: Duration,
    deadline_at: Duration,
    result: WaveResult,
    pub(super) on_time: BitSet,
    pub(super) late: BitSet,
    pub(super) reply_offsets_ns: Vec<u64>,
    pub(super) samples: Samples,
    last_on_time: Option<Duration>,
    /// Response times by the roster's tags: a histogram each while the wave runs.
    by_tag: Vec<Latency>,
}

impl Tally {
    /// An empty account of `order`.
    pub(super) fn new(order: &WaveOrder, roster: Arc<Roster>) -> Self {
        let expected = order.expected.count();
        let result = WaveResult {
            kind: order.kind,
            mode: order.mode.kind(),
            intended_at: order.intended_at,
            expected,
            ..WaveResult::default()
        };
        Self {
            on_time: BitSet::new(roster.len()),
            late: BitSet::new(roster.len()),
            reply_offsets_ns: Vec::with_capacity(usize::try_from(expected).unwrap_or(0)),
            samples: Samples::default(),
            expected: order.expected.clone(),
            intended_at: order.intended_at,
            deadline_at: order.intended_at + order.deadline,
            last_on_time: None,
            by_tag: vec![Latency::default(); roster.tag_count().into()],
            result,
            roster,
        }
    }

    /// Counts a valid reply of `sender` that arrived at `at`; `error`: its statuscode was not 0.
    pub(super) fn reply(&mut self, sender: &str, error: bool, at: Duration, sends: &SendLog) {
        let mut expected =
            self.roster.all(sender).filter(|&index| self.expected.contains(index)).peekable();
        if expected.peek().is_none() {
            self.result.unexpected += 1;
            self.samples.unexpected(sender);
            return;
        }
        // Of nodes that share an identity, the first that has not answered is taken to have.
        let Some(index) = expected.find(|&index| !self.has_answered(index)) else {
            self.result.duplicate += 1;
            return;
        };
        if at <= self.deadline_at {
            self.on_time.insert(index);
            self.result.on_time += 1;
            self.result.errors += u64::from(error);
            self.last_on_time = Some(at);
        } else {
            self.late.insert(index);
            self.result.late += 1;
        }
        let since = |sent: Option<Duration>| at.saturating_sub(sent.unwrap_or(self.intended_at));
        let response_time = at.saturating_sub(self.intended_at);
        self.result.response_time.record(response_time);
        let tag = self.roster.tag(index).map(usize::from);
        if let Some(mine) = tag.and_then(|tag| self.by_tag.get_mut(tag)) {
            mine.record(response_time);
        }
        self.result.service_time.record(since(sends.of(index)));
        self.reply_offsets_ns.push(nanoseconds(since(sends.first())));
    }

    /// Counts a message that is no valid reply.
    pub(super) fn undecodable(&mut self, reason: &dyn std::fmt::Display, payload: &[u8]) {
        self.result.undecodable += 1;
        self.samples.undecodable(reason, payload);
    }

    /// Whether the node at `index` has answered, on time or late.
    pub(super) fn has_answered(&self, index: u32) -> bool {
        self.on_time.contains(index) || self.late.contains(index)
    }

    /// How many expected nodes have answered, on time or late.
    pub(super) fn answered(&self) -> u64 {
        self.result.on_time + self.result.late
    }

    /// Whether everybody has answered. Only the deadline shows that nobody does: a wave that
    /// expects nobody is never complete before it.
    pub(super) fn is_complete(&self) -> bool {
        self.result.expected > 0 && self.result.missing() == 0
    }

    /// How many expected nodes were never asked.
    pub(super) fn unsent(&self, sends: &SendLog) -> u64 {
        if sends.sent_ns.len() == 1 && sends.first().is_some() {
            return 0;
        }
        self.result.expected.saturating_sub(sends.all().count() as u64)
    }

    /// Adds to the time that handing messages to the connection took.
    pub(super) fn published(&mut self, took: Duration) {
        self.result.publish_duration += took;
    }

    /// The answers by the roster's tags, in their order; none where it has none.
    pub(super) fn by_tag(&mut self) -> Vec<PlaceResult> {
        let result = |response_time| PlaceResult { counts: PlaceCounts::default(), response_time };
        let mut results: Vec<_> = self.by_tag.drain(..).map(result).collect();
        let mut count = |set: &BitSet, column: fn(&mut PlaceCounts) -> &mut u64| {
            for index in set.iter() {
                let tag = self.roster.tag(index).map(usize::from);
                if let Some(result) = tag.and_then(|tag| results.get_mut(tag)) {
                    *column(&mut result.counts) += 1;
                }
            }
        };
        count(&self.expected, |counts| &mut counts.expected);
        count(&self.on_time, |counts| &mut counts.on_time);
        count(&self.late, |counts| &mut counts.late);
        results
    }

    /// Closes the account at `ended_at`, with everything that was sent and received.
    pub(super) fn close(&mut self, sends: &SendLog, ended_at: Duration) -> WaveResult {
        for sent in sends.all() {
            self.result.send_delay.record(sent.saturating_sub(self.intended_at));
        }
        let end = match self.last_on_time {
            Some(last) if self.result.on_time == self.result.expected => last,
            _ => self.deadline_at.min(ended_at),
        };
        self.result.request_duration =
            sends.first().map_or(Duration::ZERO, |first| end.saturating_sub(first));
        std::mem::take(&mut self.result)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use emulator::protocol::client::RequestDraft;
    use emulator::protocol::filter::Filter;
    use reports::latency::Latency;
    use reports::wave::{WaveKey, WaveKind, WaveResult};

    use super::super::{BitSet, Roster, SendMode, WaveOrder};
    use super::{SendLog, Tally};

    const INTENDED_MS: u64 = 1000;
    const DEADLINE_MS: u64 = 500;

    /// A tally over the nodes a, b, c, d, of which a, b and c are expected.
    fn tally(mode: SendMode) -> Tally {
        tally_of(mode, ["a", "b", "c", "d"])
    }

    /// A tally over four nodes, of which the first three are expected.
    fn tally_of(mode: SendMode, names: [&str; 4]) -> Tally {
        let roster = Roster::new(names.into_iter().zip(0..)).expect("a roster");
        let draft = RequestDraft {
            caller_id: "choria=test.mcollective".into(),
            sender_id: "test".into(),
            collective: "mcollective".into(),
            agent: "rpcutil".into(),
            ttl_s: 60,
            filter: Filter::default(),
            body: String::new(),
        };
        let key = WaveKey { name: "w".into(), number: 1, warmup: false, client: 1 };
        let order = WaveOrder {
            key,
            kind: WaveKind::Request,
            mode,
            intended_at: Duration::from_millis(INTENDED_MS),
            deadline: Duration::from_millis(DEADLINE_MS),
            late_grace: Duration::ZERO,
            linger: Duration::ZERO,
            draft: Arc::new(draft),
            reply_collective: "mcollective".into(),
            request_id: "0".repeat(32),
            expected: Arc::new(BitSet::of(4, [0, 1, 2])),
        };
        Tally::new(&order, Arc::new(roster))
    }

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    /// on_time, late, duplicate, unexpected, errors, undecodable, missing
    fn columns(result: &WaveResult) -> [u64; 7] {
        let WaveResult { on_time, late, duplicate, unexpected, errors, undecodable, .. } = result;
        [*on_time, *late, *duplicate, *unexpected, *errors, *undecodable, result.missing()]
    }

    #[test]
    fn every_reply_goes_into_its_column() {
        // Sender, whether it is an error, when it came in ms.
        type Reply = (&'static str, bool, u64);
        let rows: [(&[Reply], _); 8] = [
            (&[], [0, 0, 0, 0, 0, 0, 3]),
            (&[("a", false, 1001), ("b", false, 1500), ("c", true, 1200)], [3, 0, 0, 0, 1, 0, 0]),
            (&[("a", false, 1501)], [0, 1, 0, 0, 0, 0, 2]),
            (&[("a", true, 1501)], [0, 1, 0, 0, 0, 0, 2]),
            (&[("a", false, 1001), ("a", true, 1501)], [1, 0, 1, 0, 0, 0, 2]),
            (&[("a", false, 1501), ("a", false, 1502)], [0, 1, 1, 0, 0, 0, 2]),
            (&[("d", false, 1001), ("d", false, 1002)], [0, 0, 0, 2, 0, 0, 3]),
            (&[("", false, 1001), ("A", false, 1001)], [0, 0, 0, 2, 0, 0, 3]),
        ];
        for (replies, expected) in rows {
            let sends = SendLog::broadcast();
            sends.note(0, ms(1000));
            let mut tally = tally(SendMode::Broadcast);
            for &(sender, error, at) in replies {
                tally.reply(sender, error, ms(at), &sends);
            }
            let answered = tally.on_time.count() + tally.late.count();
            assert_eq!(tally.reply_offsets_ns.len() as u64, answered, "{replies:?}");
            let result = tally.close(&sends, ms(2000));
            assert_eq!(columns(&result), expected, "{replies:?}");
            assert_eq!(result.response_time.count(), answered, "{replies:?}");
            assert_eq!(result.service_time.count(), answered, "{replies:?}");
        }
    }

    #[test]
    fn nodes_that_share_an_identity_answer_once_each() {
        let sends = SendLog::broadcast();
        let mut tally = tally_of(SendMode::Broadcast, ["a", "a", "b", "a"]);
        for (sender, at) in [("a", 1001), ("b", 1002), ("a", 1600), ("a", 1601)] {
            tally.reply(sender, false, ms(at), &sends);
        }
        // The fourth is not expected: a third answer of `a` is one too many.
        assert_eq!(columns(&tally.close(&sends, ms(2000))), [2, 1, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn answers_are_also_counted_by_the_tags_of_those_who_answer() {
        let sends = SendLog::broadcast();
        sends.note(0, ms(1000));
        let mut tally = tally(SendMode::Broadcast);
        assert!(tally.by_tag().is_empty(), "nobody has a tag");
        let roster = Roster::new([("a", 0), ("b", 1), ("c", 2), ("d", 3)]).expect("a roster");
        tally.roster = Arc::new(roster.tagged(vec![1, 0, 1, 1]));
        tally.by_tag = vec![Latency::default(); 2];
        // d is not expected; a second reply of a counts nowhere.
        for (sender, at) in [("a", 1010), ("a", 1020), ("c", 1600), ("d", 1030)] {
            tally.reply(sender, false, ms(at), &sends);
        }
        let found: Vec<_> = tally.by_tag().into_iter().collect();
        let counts: Vec<_> =
            found.iter().map(|f| (f.counts.expected, f.counts.on_time, f.counts.late)).collect();
        assert_eq!(counts, [(1, 0, 0), (2, 1, 1)]);
        let replies: Vec<_> = found.iter().map(|place| place.response_time.count()).collect();
        assert_eq!(replies, [0, 2]);
    }

    #[test]
    fn the_three_latencies_are_told_apart() {
        // Sent 30 ms late: the response time includes that, the service time does not.
        let sends = SendLog::broadcast();
        sends.note(0, ms(1030));
        let mut tally = tally(SendMode::Broadcast);
        tally.reply("a", false, ms(1050), &sends);
        let offsets = tally.reply_offsets_ns.clone();
        let result = tally.close(&sends, ms(2000));
        assert_eq!(result.send_delay.histogram().max(), 30_015, "three digits of 30 ms");
        assert_eq!(result.response_time.histogram().max(), 50_015, "three digits of 50 ms");
        assert_eq!(result.service_time.histogram().max(), 20_015, "three digits of 20 ms");
        assert_eq!(offsets, [20_000_000]);
    }

    #[test]
    fn in_direct_mode_every_node_has_its_own_instant_of_sending() {
        let sends = SendLog::direct(4);
        sends.note(0, ms(1000));
        sends.note(1, ms(1100));
        let mut tally = tally(SendMode::Direct);
        tally.reply("b", false, ms(1101), &sends);
        // c was never asked: it counts from the first message.
        tally.reply("c", false, ms(1102), &sends);
        assert_eq!(tally.unsent(&sends), 1);
        let result = tally.close(&sends, ms(2000));
        assert_eq!(result.send_delay.count(), 2);
        assert_eq!(result.service_time.histogram().min(), 1000);
        assert!(result.service_time.histogram().max() >= 102_000);
    }

    #[test]
    fn a_request_lasts_to_its_last_reply_or_to_its_deadline() {
        type Reply = (&'static str, u64);
        let rows: [(&[Reply], _, _); 4] = [
            (&[("a", 1100), ("b", 1200), ("c", 1300)], 1300, 290),
            (&[("a", 1100)], 1700, 490),
            (&[("a", 1100), ("b", 1300), ("c", 1600)], 1600, 490),
            (&[("a", 1100)], 1200, 190),
        ];
        for (replies, ended_at, expected) in rows {
            let sends = SendLog::broadcast();
            sends.note(0, ms(1010));
            let mut tally = tally(SendMode::Broadcast);
            for &(sender, at) in replies {
                tally.reply(sender, false, ms(at), &sends);
            }
            let result = tally.close(&sends, ms(ended_at));
            assert_eq!(result.request_duration, ms(expected), "{replies:?} {ended_at}");
        }
    }

    #[test]
    fn examples_of_odd_messages_are_bounded_in_number_and_length() {
        let mut tally = tally(SendMode::Broadcast);
        let sends = SendLog::broadcast();
        for _ in 0..100 {
            tally.reply(&"x".repeat(100_000), false, ms(1001), &sends);
            tally.undecodable(&"not a reply", &[0xff; 1_000_000]);
        }
        assert_eq!(tally.samples.unexpected.len(), 20);
        assert_eq!(tally.samples.undecodable.len(), 20);
        let samples = tally.samples.unexpected.iter().chain(&tally.samples.undecodable);
        assert!(samples.map(String::len).max() < Some(1000));
        assert_eq!(columns(&tally.close(&sends, ms(2000))), [0, 0, 0, 100, 0, 100, 3]);
    }
}
