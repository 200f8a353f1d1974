//! What was seen of a broker's connections to another one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The connections of a broker to another one: a route is several since nats-server 2.10. Merging takes
/// the extremes of both.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// `route`, `gateway` or `leaf`.
    pub kind: String,
    /// Most connections at once.
    pub connections: u64,
    /// Most bytes that waited for one of them; leaf connections do not tell.
    #[serde(default)]
    pub pending_bytes: Option<u64>,
    /// Shortest round trip of any of them, microseconds.
    #[serde(default)]
    pub rtt_us_min: Option<u64>,
    /// Longest round trip of any of them, microseconds.
    #[serde(default)]
    pub rtt_us_max: Option<u64>,
}

impl Link {
    /// Takes over what was seen of it otherwise, or at another time.
    pub fn merge(&mut self, other: &Self) {
        let Self { kind, connections, pending_bytes, rtt_us_min, rtt_us_max } = other;
        if *kind > self.kind {
            self.kind.clone_from(kind);
        }
        self.connections = self.connections.max(*connections);
        self.pending_bytes = self.pending_bytes.max(*pending_bytes);
        self.rtt_us_min = [self.rtt_us_min, *rtt_us_min].into_iter().flatten().min();
        self.rtt_us_max = self.rtt_us_max.max(*rtt_us_max);
    }
}

/// The links of a broker by whom they lead to: the other broker, or through a gateway the other cluster.
pub type Links = BTreeMap<String, Link>;
