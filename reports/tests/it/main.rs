//! Tests of the `reports` crate through its public API.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking too")]

mod examples;
mod formats;
mod merging;
mod recovering;
mod rendering;
mod storing;
mod summaries;
mod thresholds;
mod verdicts;
