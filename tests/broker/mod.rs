//! Brokers: obtained, started, watched, ended, for real.

mod again;
mod learning;
mod obtaining;
mod pressing;
mod releases;
mod running;
mod texts;
