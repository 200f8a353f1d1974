//! Results of a run as values that merge: waves, latencies, tallies, thresholds, and their renderers.
//!
//! No tasks, sockets or clocks here: everything is a function of what was measured elsewhere.

pub mod broker;
pub mod format;
pub mod forming;
pub mod latency;
pub mod missing;
pub mod place;
pub mod recovery;
pub mod render;
pub mod run;
pub mod scaling;
pub mod store;
pub mod summary;
pub mod threshold;
pub mod verdict;
pub mod wave;
pub mod waves;
pub mod worker;
