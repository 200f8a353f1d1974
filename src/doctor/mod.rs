//! Hosts against a plan: what is needed, what is there, and the command that mends it.
//!
//! [`Examination::of`] is the whole of it for this host, [`Examination::of_workers`] for many. [`Host`] is
//! read once ([`Host::read`]), on the host that it is about; [`examine`] is a pure function of what is
//! asked, what a host does of it ([`Duty`]), and the host. Nothing here changes a host, but for
//! [`raise_open_files`], which moves this process' own soft limit.

mod control_group;
mod duty;
mod examination;
mod examine;
mod host;
mod render;

use serde::Serialize;

pub use control_group::ControlGroup;
pub use duty::{Duty, Hands, Need};
pub use examination::{Examination, Examined};
pub(crate) use examine::reach_advice;
pub use examine::{examine, largest};
pub use host::{Conntrack, Host, HostError, raise_open_files};

/// One comparison of need and have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What is compared.
    pub name: &'static str,
    /// What the plan needs.
    pub need: String,
    /// What the host has.
    pub have: String,
    /// How they compare.
    pub verdict: Verdict,
    /// The command that mends it, or what else to do; empty when all is well.
    pub advice: String,
}

/// How need and have compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It suffices.
    Ok,
    /// It may disturb the figures.
    Warn,
    /// The plan cannot work.
    Fail,
}

/// The worst verdict of `checks`.
#[must_use]
pub fn worst(checks: &[Check]) -> Verdict {
    checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Ok)
}

#[cfg(test)]
mod tests;
