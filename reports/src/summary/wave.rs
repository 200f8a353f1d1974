//! One wave as `summary.json` has it.

use serde::{Deserialize, Serialize};

use super::histograms::HistogramTexts;
use super::units::{millis, seconds};
use crate::latency::LatencyFigures;
use crate::wave::{ToComplete, WaveKey, WaveKind, WaveMode, WaveRecord};

/// One wave as one client saw it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WaveSummary {
    /// Name of its entry.
    pub name: String,
    /// Its number within the entry, from 1.
    pub number: u32,
    /// Client, from 1.
    pub client: u32,
    /// True for a warm-up wave, which nothing else counts.
    pub warmup: bool,
    /// What was asked.
    pub kind: WaveKind,
    /// How it was sent.
    pub mode: WaveMode,
    /// When it was to be sent, since the run's epoch.
    pub intended_at_s: f64,
    /// Nodes that had to answer.
    pub expected: u64,
    /// Nodes that answered within the deadline.
    pub on_time: u64,
    /// Nodes that answered after it.
    pub late: u64,
    /// Nodes that never answered: `on_time + late + missing` is `expected`.
    pub missing: u64,
    /// Further replies of nodes that had answered.
    pub duplicate: u64,
    /// Replies of senders that were not expected.
    pub unexpected: u64,
    /// Replies on time that report an error.
    pub errors: u64,
    /// Messages that were no valid reply.
    pub undecodable: u64,
    /// `on_time` over `expected`; `null` when nobody was expected.
    pub completeness: Option<f64>,
    /// Bytes of the request's payload.
    pub payload_bytes: u64,
    /// Nodes that the discovery before had found.
    pub discovered: u64,
    /// First to last message of the request handed to the connection.
    pub publish_ms: f64,
    /// Sending to the last reply on time, or to the deadline.
    pub request_ms: f64,
    /// Intended instant until that part of the expected nodes had answered; `null`: never.
    pub to_complete_ms: ToCompleteMs,
    /// Intended instant to reply.
    pub response_time_us: Option<LatencyFigures>,
    /// Sending to reply.
    pub service_time_us: Option<LatencyFigures>,
    /// Intended instant to sending.
    pub send_delay_us: Option<LatencyFigures>,
    /// The distributions whole. Left out while the run goes on, and of the last waves of a long run
    /// (`latency.hlog` has the response times of all).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub histograms: Option<HistogramTexts>,
}

/// Times until parts of the expected nodes had answered, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ToCompleteMs {
    /// The first reply.
    pub first: Option<f64>,
    /// Half of the expected nodes.
    pub p50: Option<f64>,
    /// 90 % of them.
    pub p90: Option<f64>,
    /// 99 % of them.
    pub p99: Option<f64>,
    /// All of them.
    pub last: Option<f64>,
}

impl ToCompleteMs {
    fn of(times: ToComplete) -> Self {
        let ToComplete { first, p50, p90, p99, last } = times;
        let [first, p50, p90, p99, last] = [first, p50, p90, p99, last].map(|t| t.map(millis));
        Self { first, p50, p90, p99, last }
    }
}

impl WaveSummary {
    /// The key of the wave.
    #[must_use]
    pub fn key(&self) -> WaveKey {
        let Self { name, number, warmup, client, .. } = self;
        WaveKey { name: name.clone(), number: *number, warmup: *warmup, client: *client }
    }

    pub(super) fn of(key: &WaveKey, record: &WaveRecord) -> Self {
        let WaveRecord { result: wave, to_complete } = record;
        Self {
            name: key.name.clone(),
            number: key.number,
            client: key.client,
            warmup: key.warmup,
            kind: wave.kind,
            mode: wave.mode,
            intended_at_s: seconds(wave.intended_at),
            expected: wave.expected,
            on_time: wave.on_time,
            late: wave.late,
            missing: wave.missing(),
            duplicate: wave.duplicate,
            unexpected: wave.unexpected,
            errors: wave.errors,
            undecodable: wave.undecodable,
            completeness: wave.completeness(),
            payload_bytes: wave.payload_bytes,
            discovered: wave.discovered,
            publish_ms: millis(wave.publish_duration),
            request_ms: millis(wave.request_duration),
            to_complete_ms: ToCompleteMs::of(*to_complete),
            response_time_us: wave.response_time.figures(),
            service_time_us: wave.service_time.figures(),
            send_delay_us: wave.send_delay.figures(),
            histograms: None,
        }
    }
}
