//! Latencies as mergeable HDR histograms.
//!
//! Values are recorded in microseconds with three significant digits up to ten minutes; larger ones
//! are recorded as ten minutes and counted in [`Latency::saturated`], never dropped.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Largest value that is told apart, in microseconds: ten minutes.
pub const MAX_US: u64 = 600_000_000;

/// A latency distribution in microseconds. Merging adds counts: percentiles are never averaged.
#[derive(Debug, Clone, PartialEq)]
pub struct Latency {
    histogram: Histogram<u64>,
    saturated: u64,
}

impl Default for Latency {
    fn default() -> Self {
        // 1 us to ten minutes with three digits is a constant and valid configuration.
        #[expect(clippy::expect_used, reason = "the bounds are constants and valid")]
        let histogram = Histogram::new_with_bounds(1, MAX_US, 3).expect("constant bounds");
        Self { histogram, saturated: 0 }
    }
}

impl Latency {
    /// Records one latency; below a microsecond it counts as one microsecond.
    pub fn record(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        if us > MAX_US {
            self.saturated += 1;
        }
        self.histogram.saturating_record(us.clamp(1, MAX_US));
    }

    /// Takes over everything that `other` holds.
    pub fn merge(&mut self, other: &Self) {
        let Self { histogram, saturated } = other;
        self.saturated += saturated;
        #[expect(clippy::expect_used, reason = "both have the same constant bounds")]
        self.histogram.add(histogram).expect("equal bounds");
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

    /// How many values were larger than [`MAX_US`].
    #[must_use]
    pub fn saturated(&self) -> u64 {
        self.saturated
    }
}
