//! The scenario with every default written in and every number worked out: pure data with a digest.
//!
//! Nothing here reads a clock, the environment or the file system, so that the same scenario gives
//! the same plan on every machine (law 1).

mod digest;
mod fleet;
mod micros;
mod resolve;
mod schedule;
mod types;

pub use fleet::Seat;
pub use resolve::{ResolveErrors, resolve};
pub use schedule::{PlannedWave, request_id};
pub use types::{
    Batch, Behaviour, Brokers, Client, Connect, Entry, Expected, Fidelity, Filter, Group,
    NatsServer, Plan, Question, ReplyDelay, Threshold,
};
