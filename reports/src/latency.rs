//! Latencies as mergeable HDR histograms.
//!
//! Values are recorded in microseconds with three significant digits up to ten minutes; larger ones
//! are recorded as ten minutes and counted in [`Latency::saturated`], never dropped. A histogram
//! grows with its largest value, so that an idle one stays at 16 KiB.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer as _, V2DeflateSerializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Largest value that is told apart, in microseconds: ten minutes.
pub const MAX_US: u64 = 600_000_000;

/// A latency distribution in microseconds. Merging adds counts: percentiles are never averaged.
#[derive(Debug, Clone)]
pub struct Latency {
    histogram: Histogram<u64>,
    saturated: u64,
}

/// A histogram's text could not be read back.
#[derive(Debug, thiserror::Error)]
#[error(
    "histogram is not base64 of an HdrHistogram in V2 deflate form: {reason}\n\
     take the value from a summary.json of this tool, unchanged"
)]
pub struct HistogramTextError {
    reason: String,
}

impl Default for Latency {
    fn default() -> Self {
        // Three digits are a constant and valid configuration.
        #[expect(clippy::expect_used, reason = "the precision is a constant and valid")]
        let histogram = Histogram::new(3).expect("constant precision");
        Self { histogram, saturated: 0 }
    }
}

impl PartialEq for Latency {
    /// Same counts of the same values; how far the arrays have grown does not matter.
    fn eq(&self, other: &Self) -> bool {
        self.saturated == other.saturated && self.values().eq(other.values())
    }
}

impl Latency {
    /// Records one latency; below a microsecond it counts as one microsecond.
    pub fn record(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        if us > MAX_US {
            self.saturated += 1;
        }
        #[expect(clippy::expect_used, reason = "growth to ten minutes fits every usize")]
        self.histogram.record(us.clamp(1, MAX_US)).expect("clamped to what it can grow to");
    }

    /// Takes over everything that `other` holds.
    pub fn merge(&mut self, other: &Self) {
        let Self { histogram, saturated } = other;
        self.saturated += saturated;
        #[expect(clippy::expect_used, reason = "growth to ten minutes fits every usize")]
        self.histogram.add(histogram).expect("equal precision");
    }

    /// The histogram itself, in microseconds.
    #[must_use]
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }

    /// How many values were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// True when nothing was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.histogram.is_empty()
    }

    /// How many values were larger than [`MAX_US`].
    #[must_use]
    pub fn saturated(&self) -> u64 {
        self.saturated
    }

    /// The values in microseconds that have these ascending ranks (from 1); `None` where fewer
    /// values were recorded.
    #[must_use]
    pub fn at_ranks_us<const N: usize>(&self, ranks: [u64; N]) -> [Option<u64>; N] {
        let mut values = self.values();
        let (mut seen, mut at) = (0, None);
        ranks.map(|rank| {
            while seen < rank {
                let (us, count) = values.next()?;
                seen += count;
                at = Some(us);
            }
            at
        })
    }

    /// The figures that reports show; `None` when nothing was recorded.
    #[must_use]
    pub fn figures(&self) -> Option<LatencyFigures> {
        let h = &self.histogram;
        (!h.is_empty()).then(|| LatencyFigures {
            count: h.len(),
            min: h.min(),
            // Three decimals: nanoseconds.
            mean: (h.mean().clamp(h.min() as f64, h.max() as f64) * 1e3).round() / 1e3,
            p50: h.value_at_quantile(0.5),
            p90: h.value_at_quantile(0.9),
            p99: h.value_at_quantile(0.99),
            p999: h.value_at_quantile(0.999),
            max: h.max(),
        })
    }

    /// The histogram as base64 of HdrHistogram's V2 deflate form, as `summary.json` has it.
    /// [`Latency::saturated`] is not part of that form.
    #[must_use]
    pub fn to_base64(&self) -> String {
        let mut bytes = Vec::new();
        #[expect(clippy::expect_used, reason = "a Vec takes every write")]
        V2DeflateSerializer::new().serialize(&self.histogram, &mut bytes).expect("write to memory");
        STANDARD.encode(bytes)
    }

    /// Reads what [`Latency::to_base64`] wrote.
    ///
    /// # Errors
    /// When the text is not that form.
    pub fn from_base64(text: &str) -> Result<Self, HistogramTextError> {
        let bytes = STANDARD
            .decode(text)
            .map_err(|error| HistogramTextError { reason: error.to_string() })?;
        let read: Histogram<u64> = hdrhistogram::serialization::Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| HistogramTextError { reason: error.to_string() })?;
        let mut latency = Self::default();
        latency
            .histogram
            .add(&read)
            .map_err(|error| HistogramTextError { reason: error.to_string() })?;
        Ok(latency)
    }

    /// Recorded values in microseconds with their counts, ascending.
    fn values(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.histogram.iter_recorded().map(|step| {
            (
                self.histogram.highest_equivalent(step.value_iterated_to()),
                step.count_since_last_iteration(),
            )
        })
    }
}

/// A distribution in whole, as processes hand it to each other.
#[derive(Serialize, Deserialize)]
struct Whole {
    /// [`Latency::to_base64`].
    hdr: String,
    /// [`Latency::saturated`].
    #[serde(default, skip_serializing_if = "is_zero")]
    saturated: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands in a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Whole { hdr: self.to_base64(), saturated: self.saturated }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Whole { hdr, saturated } = Whole::deserialize(deserializer)?;
        let read = Self::from_base64(&hdr).map_err(de::Error::custom)?;
        Ok(Self { saturated, ..read })
    }
}

/// What stays of a distribution when it is closed: 100 bytes, whatever it held.
///
/// Closed ones merge as well: counts add up and each percentile is the larger of the two. At least
/// that part of all values is at most that large: an upper bound, never an average. The empty digest
/// is the identity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LatencyDigest {
    count: u64,
    /// Exact sums merge in any order; those of floats do not.
    sum_ns: u128,
    min: u64,
    p50: u64,
    p90: u64,
    p99: u64,
    p999: u64,
    max: u64,
}

impl LatencyDigest {
    /// The digest of a distribution.
    #[must_use]
    pub fn of(latency: &Latency) -> Self {
        let Some(figures) = latency.figures() else { return Self::default() };
        let LatencyFigures { count, min, mean, p50, p90, p99, p999, max } = figures;
        let sum_ns = (mean * 1e3).round() as u128 * u128::from(count);
        Self { count, sum_ns, min, p50, p90, p99, p999, max }
    }

    /// The smallest value in microseconds; `None` when nothing was recorded.
    #[must_use]
    pub fn min_us(&self) -> Option<u64> {
        (self.count > 0).then_some(self.min)
    }

    /// The figures that reports show; `None` when nothing was recorded.
    #[must_use]
    pub fn figures(&self) -> Option<LatencyFigures> {
        let &Self { count, sum_ns, min, p50, p90, p99, p999, max } = self;
        let mean = sum_ns.checked_div(u128::from(count))? as f64 / 1e3;
        Some(LatencyFigures { count, min, mean, p50, p90, p99, p999, max })
    }
}

/// What can be merged into a whole, as [`WaveResult`](crate::wave::WaveResult) needs it.
pub trait Merge {
    /// Takes over everything that `other` holds.
    fn merge(&mut self, other: &Self);
}

impl Merge for Latency {
    fn merge(&mut self, other: &Self) {
        Self::merge(self, other);
    }
}

impl Merge for LatencyDigest {
    fn merge(&mut self, other: &Self) {
        let Self { count, sum_ns, min, p50, p90, p99, p999, max } = other;
        self.min = match (self.count, *count) {
            (0, _) => *min,
            (_, 0) => self.min,
            _ => self.min.min(*min),
        };
        self.count += count;
        self.sum_ns += sum_ns;
        self.p50 = self.p50.max(*p50);
        self.p90 = self.p90.max(*p90);
        self.p99 = self.p99.max(*p99);
        self.p999 = self.p999.max(*p999);
        self.max = self.max.max(*max);
    }
}

/// What reports show of a latency distribution, in microseconds; the precision is three digits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LatencyFigures {
    /// How many values.
    pub count: u64,
    /// Smallest.
    pub min: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Half of the values are at most this.
    pub p50: u64,
    /// 90 % of the values are at most this.
    pub p90: u64,
    /// 99 % of the values are at most this.
    pub p99: u64,
    /// 99.9 % of the values are at most this.
    pub p999: u64,
    /// Largest.
    pub max: u64,
}
