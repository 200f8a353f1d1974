//! An entry of the scenario's `waves` as `summary.json` has it: all its waves merged.

use serde::{Deserialize, Serialize};

use super::histograms::HistogramTexts;
use super::units::millis;
use crate::latency::LatencyFigures;
use crate::place::PlacesSummary;
use crate::wave::{WaveFigures, WaveKey, WaveKind, WaveMode, WaveRecord};
use crate::waves::{Distributions, Waves};

/// One entry of the scenario's `waves` with all its counted waves and clients merged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntrySummary {
    /// Its name.
    pub name: String,
    /// What was asked.
    pub kind: WaveKind,
    /// How it was sent.
    pub mode: WaveMode,
    /// Clients that sent it.
    pub clients: u64,
    /// Waves, one for each client.
    pub waves: u64,
    /// Waves in which every expected node was on time.
    pub complete_waves: u64,
    /// Nodes that had to answer, over all waves.
    pub expected: u64,
    /// Answers within the deadline.
    pub on_time: u64,
    /// Answers after it.
    pub late: u64,
    /// Answers that never came.
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
    /// Intended instant until the last expected node had answered, over the waves that got there.
    pub to_complete_ms: WholeMs,
    /// Intended instant to reply.
    pub response_time_us: Option<LatencyFigures>,
    /// Sending to reply.
    pub service_time_us: Option<LatencyFigures>,
    /// Intended instant to sending.
    pub send_delay_us: Option<LatencyFigures>,
    /// The answers by where the nodes are; left out where all are in one place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub places: Option<PlacesSummary>,
    /// The distributions whole; left out while the run goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub histograms: Option<HistogramTexts>,
}

/// Times until everybody had answered, over waves, in milliseconds; `null`: no wave got there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct WholeMs {
    /// The fastest wave.
    pub min: Option<f64>,
    /// The wave in the middle.
    pub median: Option<f64>,
    /// The slowest wave.
    pub max: Option<f64>,
}

impl EntrySummary {
    pub(super) fn of_all(waves: &Waves, histograms: bool) -> Vec<Self> {
        let mut names: Vec<&str> = Vec::new();
        let counted = waves.counted();
        for (key, _) in &counted {
            if !names.contains(&key.name.as_str()) {
                names.push(&key.name);
            }
        }
        let of_name = |name: &str| {
            let mine: Vec<_> =
                counted.iter().copied().filter(|(key, _)| key.name == name).collect();
            let merged = waves.distributions(|key| key.name == name);
            Self::of(name, &mine, &merged, histograms)
        };
        names.into_iter().map(of_name).collect()
    }

    fn of(
        name: &str,
        waves: &[(&WaveKey, &WaveRecord)],
        merged: &Distributions,
        histograms: bool,
    ) -> Self {
        let Distributions { response_time, service_time, send_delay, places } = merged;
        let mut all = WaveFigures::default();
        waves.iter().for_each(|(_, wave)| all.merge(&wave.result));
        let is_complete = |wave: &WaveFigures| wave.on_time == wave.expected;
        let complete = waves.iter().filter(|(_, wave)| is_complete(&wave.result));
        let mut times: Vec<_> = waves.iter().filter_map(|(_, w)| w.to_complete.last).collect();
        times.sort();
        Self {
            name: name.to_owned(),
            kind: all.kind,
            mode: all.mode,
            clients: waves.iter().map(|(key, _)| u64::from(key.client)).max().unwrap_or_default(),
            waves: waves.len() as u64,
            complete_waves: complete.count() as u64,
            expected: all.expected,
            on_time: all.on_time,
            late: all.late,
            missing: all.missing(),
            duplicate: all.duplicate,
            unexpected: all.unexpected,
            errors: all.errors,
            undecodable: all.undecodable,
            completeness: all.completeness(),
            to_complete_ms: WholeMs {
                min: times.first().copied().map(millis),
                median: times.get(times.len().saturating_sub(1) / 2).copied().map(millis),
                max: times.last().copied().map(millis),
            },
            response_time_us: response_time.figures(),
            service_time_us: service_time.figures(),
            send_delay_us: send_delay.figures(),
            places: PlacesSummary::of(places),
            histograms: histograms
                .then(|| HistogramTexts::of([response_time, service_time, send_delay])),
        }
    }
}
