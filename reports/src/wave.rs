//! One wave as one client saw it: counts and latencies, mergeable over shares of the fleet.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::latency::Latency;

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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WaveKind {
    /// A discovery: every matching node answers `pong`.
    #[default]
    Discover,
    /// An RPC request.
    Request,
}

/// How the request reached the nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// One wave as one client saw it. `on_time + late + missing() == expected`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WaveResult {
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
    pub response_time: Latency,
    /// Sending to reply, of replies on time and late.
    pub service_time: Latency,
    /// Intended instant to sending, one value a message.
    pub send_delay: Latency,
}

impl WaveResult {
    /// Expected nodes that had not answered when the driver stopped listening.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.expected.saturating_sub(self.on_time + self.late)
    }
}
