//! Figures in the units that end the names of `summary.json`'s members.

use std::time::Duration;

/// Seconds with a microsecond's precision, so that JSON shows few digits.
pub(super) fn seconds(d: Duration) -> f64 {
    d.as_micros() as f64 / 1e6
}

pub(super) fn millis(d: Duration) -> f64 {
    d.as_micros() as f64 / 1e3
}

pub(super) fn two_decimals(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
