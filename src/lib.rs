//! The program: scenario to plan, brokers, driver, conductor, commands.

pub mod plan;
pub mod scenario;
