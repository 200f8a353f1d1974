//! The servers that the nodes of a group have heard of: those of their configuration and those that brokers tell of,
//! each once and with a number, so that a node's [`Pool`](super::pool::Pool) holds numbers alone.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use crate::fleet::Refuge;
use crate::spec;

/// Port of a URL that names none (nats.go, `defaultPortString`).
const DEFAULT_PORT: &str = "4222";

/// Most servers of a group, those of its configuration included: brokers that name more are not
/// believed, and the rest is passed over.
pub(super) const MAX_SERVERS: usize = 1024;

/// A server that nodes may connect to.
#[derive(Debug)]
pub(crate) struct Server {
    /// `HOST:PORT`, by which servers are told apart.
    place: Box<str>,
    /// As it stands in `seen-by`.
    pub(crate) url: String,
    /// Where it is; none: `place` has to be looked up.
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Server {
    /// What to look up where no address is known.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }
}

/// All servers that the nodes of a group have heard of.
#[derive(Debug)]
pub(crate) struct Directory {
    /// How many stand in the configuration: the first ones.
    configured: usize,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    servers: Vec<Arc<Server>>,
    numbers: HashMap<Box<str>, u16>,
}

impl Known {
    fn add(&mut self, place: &str, url: String, addresses: Vec<SocketAddr>) -> Option<u16> {
        if self.servers.len() >= MAX_SERVERS {
            return None;
        }
        let number = u16::try_from(self.servers.len()).ok()?;
        self.servers.push(Arc::new(Server { place: place.into(), url, addresses }));
        self.numbers.entry(place.into()).or_insert(number);
        Some(number)
    }
}

impl Directory {
    /// The servers of a configuration.
    pub(crate) fn new(servers: &[spec::Server]) -> Self {
        let mut known = Known::default();
        for server in servers {
            known.add(&place_of(&server.url), server.url.clone(), server.addresses.clone());
        }
        Self { configured: known.servers.len(), known: RwLock::new(known) }
    }

    /// The server with this number.
    pub(crate) fn server(&self, number: u16) -> Option<Arc<Server>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.servers.get(usize::from(number)).cloned()
    }

    /// The number of a server that a broker told of; `None` if there are too many.
    pub(super) fn number(&self, place: &str) -> Option<u16> {
        {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(number) = known.numbers.get(place) {
                return Some(*number);
            }
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = known.numbers.get(place) {
            return Some(*number);
        }
        known.add(place, format!("nats://{place}"), place.parse().into_iter().collect())
    }

    /// What the server with this number is to whoever knows the configuration alone: one that was told of may be
    /// one of those, by its address.
    pub(crate) fn refuge(&self, number: u16) -> Option<Refuge> {
        if !self.is_learnt(number) {
            return Some(Refuge::Configured(number));
        }
        let told = self.server(number)?;
        let is_it = |other: &u16| {
            let other = self.server(*other);
            other.is_some_and(|other| told.addresses.iter().any(|at| other.addresses.contains(at)))
        };
        let configured = (0..).take(self.configured).find(is_it);
        Some(configured.map_or_else(|| Refuge::Told(told.place().to_owned()), Refuge::Configured))
    }

    /// Whether it does not stand in the configuration.
    pub(super) fn is_learnt(&self, number: u16) -> bool {
        usize::from(number) >= self.configured
    }
}

/// `HOST:PORT` of a URL.
fn place_of(url: &str) -> String {
    let bare = url.split_once("://").map_or(url, |(_, bare)| bare);
    let bare = bare.split('/').next().unwrap_or(bare);
    let place = bare.rsplit_once('@').map_or(bare, |(_, place)| place);
    let port =
        place.rsplit_once(':').filter(|(host, _)| !host.starts_with('[') || host.ends_with(']'));
    if port.is_some() { place.to_owned() } else { format!("{place}:{DEFAULT_PORT}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_was_told_of_is_known_by_its_address_where_it_is_configured_by_name() {
        let addresses = vec![([127, 0, 0, 2], 1).into(), ([127, 0, 0, 3], 1).into()];
        let named = spec::Server { addresses, url: "nats://brokers.test:1".to_owned() };
        let directory = Directory::new(&[spec::Server::at(([127, 0, 0, 1], 1).into()), named]);
        for (place, expected) in [
            ("127.0.0.1:1", Refuge::Configured(0)),
            ("127.0.0.3:1", Refuge::Configured(1)),
            ("127.0.0.3:2", Refuge::Told("127.0.0.3:2".to_owned())),
            ("far.test:1", Refuge::Told("far.test:1".to_owned())),
        ] {
            let number = directory.number(place).unwrap();
            assert_eq!(directory.refuge(number), Some(expected), "{place}");
        }
        assert_eq!(directory.refuge(77), None);
    }

    #[test]
    fn servers_are_told_apart_by_host_and_port() {
        for (url, expected) in [
            ("nats://127.0.0.1:4222", "127.0.0.1:4222"),
            ("nats://broker", "broker:4222"),
            ("broker:5222", "broker:5222"),
            ("nats://user:secret@broker:5222/", "broker:5222"),
            ("nats://[::1]:4222", "[::1]:4222"),
            ("nats://[::1]", "[::1]:4222"),
        ] {
            assert_eq!(place_of(url), expected);
        }
    }
}
