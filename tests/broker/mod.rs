//! Brokers: obtained, started, watched, ended, for real.

mod obtaining;
mod running;
