//! The expensive looks at a broker's connections: `/connz`.
//!
//! Each costs a broker with 15,000 connections 30 ms under its own lock, whatever the limit
//! (brokers-checked, 7). They are for before and after a phase, never for a loop.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::monitor::{Monitor, MonitorError};

/// How many of the fullest connections are asked for.
const FULLEST: usize = 10;
/// How many ended connections a server remembers (nats-server, `DEFAULT_MAX_CLOSED_CLIENTS`).
const CLOSED: usize = 10_000;
/// How many of them are asked for where the answer is one message: half a MiB.
const CLOSED_BY_MESSAGE: usize = 1_000;

/// The connections of a broker at one instant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connections {
    /// How many there are.
    pub count: u64,
    /// Up to ten for which bytes wait in the broker, the fullest first, by the name that the client gave
    /// itself.
    pub fullest: Vec<(u64, String)>,
    /// Connections that ended by the reason that the broker gives, of the last 10,000.
    pub closed: BTreeMap<String, u64>,
}

#[derive(Debug, Deserialize)]
struct Connz {
    /// Connections that match, in this answer or not.
    #[serde(default)]
    total: u64,
    #[serde(default)]
    connections: Option<Vec<Connection>>,
}

#[derive(Debug, Deserialize)]
struct Connection {
    #[serde(default)]
    cid: u64,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    pending_bytes: u64,
    #[serde(default)]
    reason: Option<String>,
}

impl Monitor {
    /// Looks at the connections: open ones by what waits for them, ended ones by the reason.
    ///
    /// # Errors
    /// When monitoring does not answer.
    pub async fn connections(&self) -> Result<Connections, MonitorError> {
        let open: Connz = self.json(&format!("/connz?sort=pending&limit={FULLEST}")).await?;
        let limit = if self.is_by_message() { CLOSED_BY_MESSAGE } else { CLOSED };
        let closed: Connz = self.json(&format!("/connz?state=closed&limit={limit}")).await?;
        Ok(Connections::of(open, closed))
    }
}

impl Connections {
    fn of(open: Connz, closed: Connz) -> Self {
        let mut fullest: Vec<_> = open
            .connections
            .into_iter()
            .flatten()
            .filter(|connection| connection.pending_bytes > 0)
            .map(|Connection { cid, name, pending_bytes, .. }| {
                (pending_bytes, name.unwrap_or_else(|| format!("cid {cid}")))
            })
            .collect();
        fullest.sort_by(|one, other| other.cmp(one));
        let mut reasons = BTreeMap::new();
        for connection in closed.connections.into_iter().flatten() {
            let reason = connection.reason.unwrap_or_else(|| "no reason given".to_owned());
            *reasons.entry(reason).or_default() += 1;
        }
        Self { count: open.total, fullest, closed: reasons }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_waits_is_full_and_every_end_has_a_reason() {
        let open = r#"{"total":12000,"connections":[{"cid":1,"name":"a","pending_bytes":5},
            {"cid":2,"pending_bytes":70},{"cid":3,"pending_bytes":0}]}"#;
        let closed = r#"{"total":3,"connections":[{"cid":4,"reason":"Client Closed"},
            {"cid":5,"reason":"Client Closed"},{"cid":6}]}"#;
        let read = |text| serde_json::from_str(text).unwrap();
        let found = Connections::of(read(open), read(closed));
        assert_eq!(found.count, 12_000);
        assert_eq!(found.fullest, [(70, "cid 2".to_owned()), (5, "a".to_owned())]);
        let reasons: Vec<_> = found.closed.iter().map(|(why, n)| (why.as_str(), *n)).collect();
        assert_eq!(reasons, [("Client Closed", 2), ("no reason given", 1)]);
        let none = Connections::of(read(r#"{"connections":null}"#), read("{}"));
        assert_eq!(none, Connections::default());
    }
}
