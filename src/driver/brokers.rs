//! Who is at the other end: what brokers say of themselves when a connection comes up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Driver;

/// A broker as it introduced itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenBroker {
    /// The name that it was given; `None` where it only has the identity that it gave itself.
    pub name: Option<String>,
    /// Its version.
    pub version: String,
    /// The Go toolchain that built it, where it says so.
    pub go: Option<String>,
    /// Its URL, without credentials.
    pub url: String,
}

impl Driver {
    /// Whether a broker that the clients are connected to takes nobody without TLS.
    #[must_use]
    pub fn is_behind_tls(&self) -> bool {
        let connections = self.clients.iter().flat_map(|client| client.connections());
        let mut infos = connections.filter_map(async_nats::Client::try_server_info);
        infos.any(|info| info.tls_required)
    }

    /// The brokers that the clients are connected to, each once, ordered by URL.
    #[must_use]
    pub fn brokers(&self) -> Vec<SeenBroker> {
        let mut seen = BTreeMap::new();
        for client in &self.clients {
            for connection in client.connections() {
                let Some(info) = connection.try_server_info() else { continue };
                let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
                let broker = SeenBroker {
                    // A server without a name uses its identity (nats-server, `server/server.go`).
                    name: given(&info.server_name).filter(|name| *name != info.server_id),
                    version: info.version,
                    go: given(&info.go),
                    url: client.url_of(connection),
                };
                seen.entry(info.server_id).or_insert(broker);
            }
        }
        let mut brokers: Vec<_> = seen.into_values().collect();
        brokers.sort_by(|one, other| one.url.cmp(&other.url));
        brokers
    }
}
