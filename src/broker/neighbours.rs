//! Whom a broker is joined with, as its monitoring says: the proof that a network has formed.
//!
//! `/healthz` says nothing about routes, leafs or gateways, and log lines come before listeners are
//! open (brokers-checked, 1.3): what counts are the peers that each side names.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::monitor::{Monitor, MonitorError};

/// Whom a broker is joined with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// Routes to each other broker of its cluster, by that one's identity: since 2.10 several.
    pub routes: BTreeMap<String, usize>,
    /// The other clusters that it has a connection of its own to.
    pub gateways: BTreeSet<String>,
    /// Leaf connections, on either side; `None`: the release does not say (before 2.0.4).
    pub leafs: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Routez {
    routes: Option<Vec<Route>>,
}

#[derive(Debug, Deserialize)]
struct Route {
    remote_id: String,
}

#[derive(Debug, Deserialize)]
struct Gatewayz {
    #[serde(default)]
    outbound_gateways: Option<BTreeMap<String, Gateway>>,
}

#[derive(Debug, Deserialize)]
struct Gateway {
    #[serde(default)]
    connection: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Varz {
    #[serde(default)]
    leafnodes: Option<u64>,
}

impl Monitor {
    /// Asks whom the broker is joined with.
    ///
    /// # Errors
    /// When there is no answer in time or it is not what nats-server answers.
    pub async fn neighbours(&self) -> Result<Neighbours, MonitorError> {
        let Routez { routes } = self.json("/routez").await?;
        let Gatewayz { outbound_gateways } = self.json("/gatewayz").await?;
        let Varz { leafnodes } = self.json("/varz").await?;
        let mut neighbours = Neighbours { leafs: leafnodes, ..Neighbours::default() };
        for Route { remote_id } in routes.into_iter().flatten() {
            *neighbours.routes.entry(remote_id).or_default() += 1;
        }
        let gateways = outbound_gateways.into_iter().flatten();
        let connected = gateways.filter(|(_, gateway)| gateway.connection.is_some());
        neighbours.gateways = connected.map(|(name, _)| name).collect();
        Ok(neighbours)
    }
}
