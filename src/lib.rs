//! The program: scenario to plan, brokers, driver, conductor, commands.

pub mod broker;
pub mod child;
pub mod commands;
pub mod conductor;
pub mod control;
pub mod crew;
pub mod doctor;
pub mod driver;
pub mod fidelity;
mod orders;
pub mod plan;
pub mod scale;
pub mod scenario;
pub mod watch;
pub mod worker;
