//! Autonomous agents ("machines") of a server: finite state machines with watchers (protocol document
//! 6.4; go-choria `aagent`).
//!
//! A node runs the states, transitions and timers of a machine, and its checks in time; what a check
//! would execute is not executed: its definition says what comes of it. Known watchers are `nagios`,
//! whose machines are the checks of Choria Scout, and `timer`. A departure: transitions that follow
//! upon each other are not slowed down, as a real server does from the second within a minute on.

mod definition;
mod run;
mod show;
#[cfg(test)]
mod tests;

pub(crate) use definition::Compiled;
pub use definition::{Check, Machine, MachineError, Status, Transition, Watcher, Watches};
pub use run::{Event, Machines, Start, Topic};
pub(crate) use show::View;
