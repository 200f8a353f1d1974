//! The emulated Choria nodes: thousands of Choria servers as tasks, each with its own NATS connection,
//! subscriptions, agents, facts and replies.
//!
//! This crate measures no latency and reads no scenario: it is handed a [`spec::FleetSpec`] and
//! reports counts and, per request, who received it and who answered ([`fleet`]).

pub mod agents;
pub mod connection;
pub mod fidelity;
pub mod filter;
pub mod fleet;
pub mod homes;
pub mod lifecycle;
pub mod machines;
pub mod node;
pub mod pattern;
pub mod protocol;
pub mod spec;
