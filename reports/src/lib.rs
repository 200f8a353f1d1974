//! Results of a run as values that merge: waves, latencies, tallies, thresholds, and their renderers.
//!
//! No tasks, sockets or clocks here: everything is a function of what was measured elsewhere.

pub mod latency;
pub mod wave;
