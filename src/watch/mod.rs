//! The tool watching itself: CPU and memory by part, lag of its own tasks, and what follows for the result.
//!
//! It measures and doubts; the verdict is made of its doubts elsewhere.

mod activity;
mod doubts;
mod lag;
mod usage;

pub use activity::{Activity, note_beginnings};
pub use doubts::{Backlog, Evidence, FarEvidence, WaveDelay, doubts};
pub use lag::LagWatch;
pub use usage::Usage;
