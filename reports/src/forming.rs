//! How a network of several brokers came to be, before anything was measured on it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What forming took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forming {
    /// Connections between brokers that had to be there, by kind: `route`, `gateway`, `leaf`.
    pub links: BTreeMap<String, u64>,
    /// From the start of the brokers until each named all its neighbours and messages passed every
    /// connection.
    pub formed: Duration,
    /// From the moment that the fleet was connected until its interest had reached the brokers of the
    /// clients; `None`: there was no fleet, or it was not got so far.
    pub interest: Option<Duration>,
}

impl Forming {
    /// Takes over what another observer saw.
    pub fn merge(&mut self, other: &Self) {
        let Self { links, formed, interest } = other;
        for (kind, count) in links {
            let mine = self.links.entry(kind.clone()).or_default();
            *mine = (*mine).max(*count);
        }
        self.formed = self.formed.max(*formed);
        self.interest = self.interest.max(*interest);
    }
}

/// The same in `summary.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FormingSummary {
    /// Connections between brokers that had to be there, by kind.
    pub links: BTreeMap<String, u64>,
    /// From the start of the brokers until all of these carried messages.
    pub formed_s: f64,
    /// From the connected fleet until its interest had reached the brokers of the clients.
    pub interest_s: Option<f64>,
}

impl FormingSummary {
    pub(crate) fn of(forming: &Forming) -> Self {
        let seconds = |span: Duration| span.as_micros() as f64 / 1e6;
        Self {
            links: forming.links.clone(),
            formed_s: seconds(forming.formed),
            interest_s: forming.interest.map(seconds),
        }
    }
}
