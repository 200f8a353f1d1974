//! A server without a name that is asked through the system account: it is known by its identity, which is a
//! new one with each start, and then by the place at which it listens.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Deserialize;

/// Where a server listens, as its `/varz` says. Nothing there tells two hosts apart that listen on all their
/// addresses: `connect_urls` are those of the whole cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Place {
    host: String,
    port: u16,
    http_host: String,
    http_port: u16,
    https_port: u16,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Identities of servers without a name that somebody asks.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashSet<String>>);

impl Known {
    pub(super) fn add(&self, identity: &str) {
        self.lock().insert(identity.to_owned());
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A server without a name.
#[derive(Debug)]
pub(super) struct Nameless {
    place: Place,
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    identity: String,
    /// It did not answer by this identity when it was asked last.
    is_lost: bool,
}

impl Nameless {
    pub(super) fn new(identity: String, place: Place) -> Self {
        Self { place, now: Mutex::new(Now { identity, is_lost: false }) }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn identity(&self) -> String {
        self.lock().identity.clone()
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lock().is_lost
    }

    /// It does not answer by its identity: it may have started again.
    pub(super) fn lose(&self) {
        self.lock().is_lost = true;
    }

    /// Finds it among the servers without a name that have answered: by its identity, or as the only one at
    /// its place that nobody else is known to be. Of two that listen alike and start again at the same
    /// moment neither is guessed.
    pub(super) fn find(&self, heard: Vec<(String, Place)>, known: &Known) -> Option<String> {
        let mut now = self.lock();
        if !heard.iter().any(|(identity, _)| *identity == now.identity) {
            let mut known = known.lock();
            let mut here = heard
                .into_iter()
                .filter(|(identity, place)| *place == self.place && !known.contains(identity));
            let (identity, _) = here.next().filter(|_| here.next().is_none())?;
            known.remove(&now.identity);
            known.insert(identity.clone());
            now.identity = identity;
        }
        now.is_lost = false;
        Some(now.identity.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Place {
        Place { host: "0.0.0.0".to_owned(), port, http_port: 8222, ..Place::default() }
    }

    #[test]
    fn a_server_is_found_again_at_its_place_unless_that_would_be_a_guess() {
        // Who is known, who answers at which place, who it is then.
        for (known, heard, found) in [
            (&["A"][..], vec![("A", at(4222))], Some("A")),
            (&["A"], vec![("B", at(4222))], Some("B")),
            (&["A"], vec![("B", at(4223))], None),
            (&["A"], vec![("B", at(4223)), ("C", at(4222))], Some("C")),
            (&["A", "B"], vec![("B", at(4222)), ("C", at(4222))], Some("C")),
            (&["A"], vec![("B", at(4222)), ("C", at(4222))], None),
            (&["A"], vec![], None),
        ] {
            let all = Known::default();
            known.iter().for_each(|identity| all.add(identity));
            let server = Nameless::new("A".to_owned(), at(4222));
            server.lose();
            let heard = heard.into_iter().map(|(id, place)| (id.to_owned(), place)).collect();
            assert_eq!(server.find(heard, &all).as_deref(), found, "{known:?}");
            assert_eq!(server.is_lost(), found.is_none(), "{known:?}");
            assert_eq!(server.identity(), found.unwrap_or("A"), "{known:?}");
            assert!(found.is_none_or(|found| all.lock().contains(found)), "{known:?}");
        }
    }
}
