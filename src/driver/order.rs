//! What the driver is asked to do and what it hands back: plain values, worked out by others.

use std::sync::Arc;
use std::time::Duration;

use emulator::protocol::client::RequestDraft;
use reports::place::PlaceResult;
use reports::wave::{WaveKey, WaveKind, WaveMode, WaveResult};
use serde::{Deserialize, Serialize};

use super::bitset::BitSet;

/// Examples kept of each kind of odd message.
const SAMPLES_MAX: usize = 20;
/// Characters kept of one example.
const SAMPLE_CHARS_MAX: usize = 120;

/// How a request reaches the nodes (protocol document 2.2, 5.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendMode {
    /// One message on the agent's broadcast subject.
    Broadcast,
    /// The same bytes once per expected node, in the order of the roster.
    Direct,
    /// Direct, slice by slice: each is sent and awaited, then comes a pause.
    Batch {
        /// Nodes in a slice, at least 1.
        size: u32,
        /// Pause after a slice.
        sleep: Duration,
    },
}

impl SendMode {
    /// The mode's name in results.
    #[must_use]
    pub fn kind(self) -> WaveMode {
        match self {
            Self::Broadcast => WaveMode::Broadcast,
            Self::Direct => WaveMode::Direct,
            Self::Batch { .. } => WaveMode::Batch,
        }
    }
}

/// One wave of one client.
#[derive(Debug, Clone)]
pub struct WaveOrder {
    /// Which wave, by which client.
    pub key: WaveKey,
    /// What kind of answer counts.
    pub kind: WaveKind,
    /// How the request reaches the nodes.
    pub mode: SendMode,
    /// When it is to be sent, since the run's epoch. It never moves.
    pub intended_at: Duration,
    /// From the intended instant: replies after it are late.
    pub deadline: Duration,
    /// How long after the deadline late replies are still counted.
    pub late_grace: Duration,
    /// How long the driver listens on when everybody has answered, at most until the end of
    /// `late_grace`: duplicates and strangers of that time are counted. It is in no timing.
    pub linger: Duration,
    /// What is asked, by whom: its caller id is that of the client.
    pub draft: Arc<RequestDraft>,
    /// Collective of the reply subject: the main collective for RPC requests, the addressed one for
    /// discoveries (protocol document 2.3).
    pub reply_collective: String,
    /// 32 hexadecimal characters, unique in the run.
    pub request_id: String,
    /// Who has to answer, over the indexes of the driver's roster.
    pub expected: Arc<BitSet>,
}

/// Why a wave could not be carried out as ordered. What was received is counted nevertheless.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq, Serialize, Deserialize)]
pub enum WaveFailure {
    /// Replies would have had nowhere to go.
    #[error("cannot subscribe to the replies: {0}\ncheck the permissions of the driver's user")]
    Subscribe(String),
    /// The broker did not show in time that the subscription is in force; the wave was sent anyway.
    #[error("the broker did not confirm the reply subscription in time\ncheck the broker's load")]
    Unconfirmed,
    /// The connection took no more messages.
    #[error("cannot publish the request: {0}\ncheck the size of the request and the connection")]
    Publish(String),
    /// The connection had not taken the whole request by the deadline.
    #[error("the request was not written in time\ncheck that the broker is reachable and reads")]
    NotWritten,
    /// The receiving connections ended during the wave.
    #[error("the driver's receiving connections ended\nsee the driver's incidents")]
    ReceiversEnded,
}

/// Everything that is known of a wave when the driver stops listening.
#[derive(Debug)]
pub struct WaveDone {
    /// Which wave, by which client.
    pub key: WaveKey,
    /// The counts and latencies.
    pub result: WaveResult,
    /// Who answered within the deadline, over the roster.
    pub on_time: BitSet,
    /// Who answered after it.
    pub late: BitSet,
    /// The answers by the tags of the roster, in their order; empty where it has none.
    pub by_tag: Vec<PlaceResult>,
    /// Expected nodes to which nothing was sent by the deadline: a batch had not come that far, or
    /// the connection was away.
    pub unsent: u64,
    /// Nanoseconds from the first message to each first reply, in order of arrival.
    pub reply_offsets_ns: Vec<u64>,
    /// Examples of messages that were no valid reply of an expected node.
    pub samples: Samples,
    /// Most replies that waited to be decoded. Their arrival was stamped before, up to
    /// [`BACKLOG_MAX`](super::BACKLOG_MAX) of them: then the driver fell behind, and later stamps are
    /// too late.
    pub backlog_max: u64,
    /// The run was cancelled before everybody had answered: who has not was not given the time.
    pub interrupted: bool,
    /// What kept the wave from being carried out as ordered.
    pub failure: Option<WaveFailure>,
}

/// Up to 20 examples of each kind of odd message, for the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Samples {
    /// What was wrong, and the beginning of the message.
    pub undecodable: Vec<String>,
    /// Senders that were not expected.
    pub unexpected: Vec<String>,
}

impl Samples {
    pub(super) fn undecodable(&mut self, reason: &dyn std::fmt::Display, payload: &[u8]) {
        if self.undecodable.len() < SAMPLES_MAX {
            let start = &payload[..payload.len().min(SAMPLE_CHARS_MAX)];
            let start = String::from_utf8_lossy(start);
            let length = payload.len();
            self.undecodable.push(format!("{reason}, {length} bytes: {start:?}"));
        }
    }

    pub(super) fn unexpected(&mut self, sender: &str) {
        if self.unexpected.len() < SAMPLES_MAX {
            self.unexpected.push(sender.chars().take(SAMPLE_CHARS_MAX).collect());
        }
    }
}
