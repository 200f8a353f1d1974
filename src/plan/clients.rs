//! Where the clients of a plan are, and what each asks of whom.

use super::{Client, Entry, Expected, Filter, Plan};
use crate::scenario::{CONDUCTOR, Places};

/// Whom one client of an entry asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    /// Which nodes must answer.
    pub selects: &'a Filter,
    /// The filter in the request.
    pub wire: &'a Filter,
    /// Who must answer.
    pub expected: &'a Expected,
}

impl Client {
    /// Where client `number` (from 1) is, unless its entry says otherwise: `conductor`, or the name of a
    /// worker.
    #[must_use]
    pub fn place(&self, number: u32) -> &str {
        let turn = position(number) % self.at.len().max(1);
        self.at.get(turn).map_or(CONDUCTOR, String::as_str)
    }
}

impl Entry {
    /// Whom client `number` (from 1) asks.
    #[must_use]
    pub fn asked(&self, number: u32) -> Asked<'_> {
        match self.each_client.get(position(number)) {
            Some(one) => Asked { selects: &one.selects, wire: &one.wire, expected: &one.expected },
            None => {
                Asked { selects: &self.selects, wire: &self.wire, expected: &self.expected }
            }
        }
    }
}

impl Plan {
    /// Where client `number` (from 1) of an entry is.
    #[must_use]
    pub fn place<'a>(&'a self, entry: &'a Entry, number: u32) -> &'a str {
        let own = entry.each_client.get(position(number));
        own.map_or_else(|| self.client.place(number), |one| one.at.as_str())
    }

    /// Numbers of the clients that are at `place` in any entry, ascending.
    #[must_use]
    pub fn clients_at(&self, place: &str) -> Vec<u32> {
        let most = self.most_clients();
        let is_there = |number: &u32| {
            let mut having = self.entries.iter().filter(|entry| entry.clients >= *number);
            having.any(|entry| self.place(entry, *number) == place)
        };
        (1..=most).filter(is_there).collect()
    }

    /// The workers that clients are at, each once, in the order of the scenario.
    #[must_use]
    pub fn clients_places(&self) -> Vec<&str> {
        let mut places = Vec::new();
        for entry in &self.entries {
            for number in 1..=entry.clients {
                let place = self.place(entry, number);
                if place != CONDUCTOR && !places.contains(&place) {
                    places.push(place);
                }
            }
        }
        places
    }

    /// The most clients that any entry has, at least 1.
    #[must_use]
    pub fn most_clients(&self) -> u32 {
        self.entries.iter().map(|entry| entry.clients).max().unwrap_or(1).max(1)
    }

    /// Connections of the clients at `place`: one that publishes beside those that receive.
    #[must_use]
    pub fn client_connections(&self, place: &str) -> u64 {
        self.clients_at(place).len() as u64 * (1 + u64::from(self.client.receivers))
    }
}

/// The places of a scenario with the default written in: none where all are at the conductor.
pub(super) fn places(given: Option<&Places>) -> Vec<String> {
    let names = given.map(Places::names).unwrap_or_default();
    match names.iter().all(|name| name == CONDUCTOR) {
        true => Vec::new(),
        false => names.to_vec(),
    }
}

fn position(number: u32) -> usize {
    usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX)
}
