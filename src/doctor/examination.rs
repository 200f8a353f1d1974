//! A plan against this host from beginning to end: what every command that starts something asks first.

use super::{Check, Host, HostError, Verdict, examine, largest, to_text, worst};
use crate::plan::{Budget, DEFAULT_PORT_RANGE, Plan};

/// What the doctor found.
#[derive(Debug, Clone)]
pub struct Examination {
    /// Need and have, in the order of the table.
    pub checks: Vec<Check>,
    /// What the plan needs.
    pub budget: Budget,
    /// The largest number of nodes that would fit, when the plan does not.
    pub largest: Option<u64>,
}

impl Examination {
    /// Holds `plan` against this host.
    ///
    /// # Errors
    /// If not even the limit of open files can be read.
    pub fn of(plan: &Plan) -> Result<Self, HostError> {
        let host = Host::read()?;
        let port_range = host.port_range_size().unwrap_or(DEFAULT_PORT_RANGE);
        let budget = Budget::of(plan, port_range);
        let checks = examine(&budget, &host);
        let fails = worst(&checks) == Verdict::Fail;
        let largest = fails.then(|| largest(&budget.demand, &host, port_range));
        Ok(Self { checks, budget, largest })
    }

    /// The worst of all.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        worst(&self.checks)
    }

    /// The table for people, with the commands that mend what is too small.
    #[must_use]
    pub fn to_text(&self) -> String {
        to_text(&self.checks, self.largest)
    }
}
