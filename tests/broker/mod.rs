//! Brokers: obtained, started, watched, ended, for real.

mod obtaining;
mod releases;
mod running;
