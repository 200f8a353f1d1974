//! Brokers: obtained, started, watched, ended, for real.

mod again;
mod obtaining;
mod releases;
mod running;
