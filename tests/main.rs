//! Integration tests, on real brokers.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends by panicking, its helpers too")]

mod broker;
mod cli;
mod driver;
mod run;
mod support;
