//! The scenario with every default written in and every number worked out: pure data with a digest.
//!
//! Nothing here reads a clock, the environment or the file system, so that the same scenario gives
//! the same plan on every machine (law 1).

mod brokers;
mod budget;
mod clients;
mod departures;
pub(crate) mod digest;
mod fleet;
mod lifecycle;
mod micros;
mod placement;
mod print;
mod processes;
mod queue;
mod resolve;
mod schedule;
mod text;
mod timeline;
mod types;

pub use brokers::{Brokers, Link, LinkKind, Managed, NatsServer, PlannedBroker, Topology};
pub use budget::{
    AtWorkers, Budget, DEFAULT_MAX_CONNECTIONS, DEFAULT_PORT_RANGE, Demand, WaveMessages,
};
pub(crate) use budget::{is_loopback, source_addresses, with_reserve};
pub use clients::Asked;
pub use fleet::Seat;
pub(crate) use lifecycle::{EVENT_KINDS, MACHINE_TRANSITION, STATUS_NODES, WATCHER_STATE};
pub use lifecycle::{Events, Registration, RegistrationContent, StatusFiles};
pub use placement::{Home, Placement};
pub use print::{to_json, to_text};
pub(crate) use processes::FILES_ASIDE_EMULATOR;
pub use processes::{brokers_needed, clients_of_broker, connections_of_emulator};
pub use queue::Queue;
pub(crate) use resolve::{CHURN_AWAY, CHURN_EVERY, IDENTITY};
pub use resolve::{ResolveErrors, resolve};
pub use schedule::{PlannedWave, request_id};
pub(crate) use text::{Table, mib, thousands};
pub(crate) use timeline::instants;
pub use timeline::{Act, By, Rolling, Step, When};
pub use types::{
    Batch, Behaviour, Churn, Client, Connect, Entry, EntryClient, Expected, Fidelity, Filter,
    Group, Plan, Question, ReplyDelay, Stuck, Threshold,
};

pub use crate::scenario::Role;

#[cfg(test)]
mod tests;
