//! One wave as one client saw it: counts and latencies, mergeable over shares of the fleet.
//!
//! While it runs its latencies are whole distributions. When it is over, [`WaveRecord`] keeps its
//! figures and the distributions go into those of its entry ([`crate::waves`]).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::latency::{Latency, LatencyDigest, Merge};
use crate::place::{self, Place, PlaceCounts, Places};

/// Which wave, as which client saw it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WaveKey {
    /// Name of the entry in the scenario's `waves`.
    pub name: String,
    /// Number of the wave within its entry, from 1; warm-up waves count from 1 on their own.
    pub number: u32,
    /// True for a warm-up wave, which no total or threshold includes.
    pub warmup: bool,
    /// Client, from 1.
    pub client: u32,
}

/// What was asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WaveKind {
    /// A discovery: every matching node answers `pong`.
    #[default]
    Discover,
    /// An RPC request.
    Request,
}

/// How the request reached the nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WaveMode {
    /// One message on the agent's broadcast subject.
    #[default]
    Broadcast,
    /// One message per node with the same bytes.
    Direct,
    /// Direct, in slices with a pause between them.
    Batch,
}

/// One wave as one client saw it. `on_time + late + missing() == expected`. Its latencies are whole
/// distributions, or what stays of them (`L`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WaveResult<L = Latency> {
    /// What was asked.
    pub kind: WaveKind,
    /// How it was sent.
    pub mode: WaveMode,
    /// When the wave was to be sent, since the run's epoch: known before the run.
    pub intended_at: Duration,
    /// Nodes that had to answer.
    pub expected: u64,
    /// First replies of expected nodes within the deadline.
    pub on_time: u64,
    /// First replies of expected nodes after the deadline, while the driver still listened.
    pub late: u64,
    /// Further replies of nodes that had answered.
    pub duplicate: u64,
    /// Replies from senders that were not expected.
    pub unexpected: u64,
    /// Replies on time whose statuscode was not 0.
    pub errors: u64,
    /// Messages on the reply subject that were no valid reply; their senders stay missing.
    pub undecodable: u64,
    /// Bytes of the request's payload inside the protocol layers.
    pub payload_bytes: u64,
    /// Nodes that the latest discovery before this wave had found (0: none ran).
    pub discovered: u64,
    /// Time it took to hand the request to the connection: the first to the last message.
    pub publish_duration: Duration,
    /// Time from sending to the last reply on time, or to the deadline when some stayed away.
    pub request_duration: Duration,
    /// Intended instant to reply, of replies on time and late.
    pub response_time: L,
    /// Sending to reply, of replies on time and late.
    pub service_time: L,
    /// Intended instant to sending, one value a message.
    pub send_delay: L,
    /// The answers by where the nodes are; empty where all are in one place. Whoever reads a result knows the
    /// places by the plan.
    #[serde(skip)]
    pub places: Places<L>,
}

impl<L> WaveResult<L> {
    /// Expected nodes that had not answered when the driver stopped listening.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.expected.saturating_sub(self.on_time + self.late)
    }

    /// The counts of the places that are meant.
    #[must_use]
    pub fn answers_of(&self, meant: impl Fn(&Place) -> bool) -> PlaceCounts {
        let mut counts = PlaceCounts::default();
        let places = self.places.iter().filter(|(place, _)| meant(place));
        places.for_each(|(_, place)| counts.merge(&place.counts));
        counts
    }

    /// The counts of all places.
    #[must_use]
    pub fn answers(&self) -> PlaceCounts {
        PlaceCounts { expected: self.expected, on_time: self.on_time, late: self.late }
    }

    /// Replies on time over nodes expected; `None` when none was expected.
    #[must_use]
    pub fn completeness(&self) -> Option<f64> {
        (self.expected > 0).then(|| self.on_time as f64 / self.expected as f64)
    }
}

impl WaveResult {
    /// Times from the intended instant until parts of the expected nodes had answered.
    #[must_use]
    pub fn to_complete(&self) -> ToComplete {
        if self.expected == 0 {
            return ToComplete::default();
        }
        let rank = |per_cent: u64| {
            (self.expected / 100 * per_cent) + (self.expected % 100 * per_cent).div_ceil(100)
        };
        let ranks = [1, rank(50), rank(90), rank(99), self.expected];
        let times = self.response_time.at_ranks_us(ranks);
        let [first, p50, p90, p99, last] = times.map(|us| us.map(Duration::from_micros));
        ToComplete { first, p50, p90, p99, last }
    }

    /// The same wave with digests in place of its distributions.
    fn digested(&self) -> WaveFigures {
        let Self {
            kind,
            mode,
            intended_at,
            expected,
            on_time,
            late,
            duplicate,
            unexpected,
            errors,
            undecodable,
            payload_bytes,
            discovered,
            publish_duration,
            request_duration,
            response_time,
            service_time,
            send_delay,
            places,
        } = self;
        WaveResult {
            kind: *kind,
            mode: *mode,
            intended_at: *intended_at,
            expected: *expected,
            on_time: *on_time,
            late: *late,
            duplicate: *duplicate,
            unexpected: *unexpected,
            errors: *errors,
            undecodable: *undecodable,
            payload_bytes: *payload_bytes,
            discovered: *discovered,
            publish_duration: *publish_duration,
            request_duration: *request_duration,
            response_time: LatencyDigest::of(response_time),
            service_time: LatencyDigest::of(service_time),
            send_delay: LatencyDigest::of(send_delay),
            places: place::digested(places),
        }
    }
}

impl<L: Merge + Default> WaveResult<L> {
    /// Takes over what another share of the fleet gave in the same wave.
    pub fn merge(&mut self, other: &Self) {
        let Self {
            kind,
            mode,
            intended_at,
            expected,
            on_time,
            late,
            duplicate,
            unexpected,
            errors,
            undecodable,
            payload_bytes,
            discovered,
            publish_duration,
            request_duration,
            response_time,
            service_time,
            send_delay,
            places,
        } = other;
        self.kind = self.kind.max(*kind);
        self.mode = self.mode.max(*mode);
        self.intended_at = self.intended_at.max(*intended_at);
        self.expected += expected;
        self.on_time += on_time;
        self.late += late;
        self.duplicate += duplicate;
        self.unexpected += unexpected;
        self.errors += errors;
        self.undecodable += undecodable;
        self.payload_bytes = self.payload_bytes.max(*payload_bytes);
        self.discovered += discovered;
        self.publish_duration = self.publish_duration.max(*publish_duration);
        self.request_duration = self.request_duration.max(*request_duration);
        self.response_time.merge(response_time);
        self.service_time.merge(service_time);
        self.send_delay.merge(send_delay);
        place::merge(&mut self.places, places);
    }
}

/// A wave's counts with the figures of its latencies.
pub type WaveFigures = WaveResult<LatencyDigest>;

/// Times from a wave's intended instant until a part of the expected nodes had answered, late
/// replies included; `None` where that many never did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ToComplete {
    /// The first reply.
    pub first: Option<Duration>,
    /// Half of the expected nodes.
    pub p50: Option<Duration>,
    /// 90 % of the expected nodes.
    pub p90: Option<Duration>,
    /// 99 % of the expected nodes.
    pub p99: Option<Duration>,
    /// Every expected node.
    pub last: Option<Duration>,
}

/// A wave that is over: its counts and figures, less than a KiB whatever it held.
///
/// Two shares of one wave merge even so: times are those of the slower share, since the whole was
/// only that far when the slower one was.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WaveRecord {
    /// The counts, and the figures of the latencies.
    pub result: WaveFigures,
    /// Times until parts of the expected nodes had answered.
    pub to_complete: ToComplete,
}

impl WaveRecord {
    /// What stays of `wave`.
    #[must_use]
    pub fn of(wave: &WaveResult) -> Self {
        Self { result: wave.digested(), to_complete: wave.to_complete() }
    }

    /// Takes over what another share of the fleet gave in the same wave.
    pub fn merge(&mut self, other: &Self) {
        let Self { result, to_complete } = other;
        self.to_complete = match (self.result.expected, result.expected) {
            (0, _) => *to_complete,
            (_, 0) => self.to_complete,
            _ => self.to_complete.slower(*to_complete),
        };
        self.result.merge(result);
    }
}

impl ToComplete {
    fn slower(self, other: Self) -> Self {
        let both = |a: Option<Duration>, b: Option<Duration>| a.zip(b).map(|(a, b)| a.max(b));
        Self {
            first: self.first.into_iter().chain(other.first).min(),
            p50: both(self.p50, other.p50),
            p90: both(self.p90, other.p90),
            p99: both(self.p99, other.p99),
            last: both(self.last, other.last),
        }
    }
}
