//! Tests of the `reports` crate through its public API.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking too")]

mod examples;
mod formats;
mod latencies;
mod merging;
mod recovering;
mod rendering;
mod results;
mod storing;
mod summaries;
mod thresholds;
mod verdicts;
