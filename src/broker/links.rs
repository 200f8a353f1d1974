//! Connections between brokers as their monitoring shows them: `/routez`, `/gatewayz`, `/leafz`. Nobody else reads
//! these: the proof of a network and the looks at it once a second ask for the same ([`super::Monitor::look`]).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

/// A connection of a broker to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkSample {
    /// `route`, `gateway` or `leaf`.
    pub kind: &'static str,
    /// Whom it leads to: the name that the other broker has, its identity or address where the release
    /// does not tell; of a gateway the name of the other cluster.
    pub peer: String,
    /// The identity of the other broker; routes tell.
    pub peer_id: Option<String>,
    /// Bytes that wait for the other side; leaf connections do not tell.
    pub pending_bytes: Option<u64>,
    /// Round trip as the broker measured it last, once it has.
    pub rtt: Option<Duration>,
}

impl LinkSample {
    /// Its round trip in whole microseconds.
    pub(crate) fn rtt_us(&self) -> Option<u64> {
        u64::try_from(self.rtt?.as_micros()).ok()
    }
}

/// Part of `/routez`.
#[derive(Debug, Deserialize)]
pub(super) struct Routez {
    #[serde(default)]
    routes: Option<Vec<Route>>,
}

#[derive(Debug, Deserialize)]
struct Route {
    remote_id: String,
    /// Since 2.9 (nats-server, `server/monitor.go`).
    #[serde(default)]
    remote_name: String,
    #[serde(default)]
    pending_size: u64,
    #[serde(default)]
    rtt: Option<String>,
}

impl Routez {
    pub(super) fn links(self) -> impl Iterator<Item = LinkSample> {
        self.routes.into_iter().flatten().map(|route| LinkSample {
            kind: "route",
            peer: first_of([route.remote_name, route.remote_id.clone()]),
            peer_id: Some(route.remote_id),
            pending_bytes: Some(route.pending_size),
            rtt: rtt(route.rtt),
        })
    }
}

/// Part of `/gatewayz`: incoming ones are the outgoing ones of others.
#[derive(Debug, Deserialize)]
pub(super) struct Gatewayz {
    #[serde(default)]
    outbound_gateways: Option<BTreeMap<String, Gateway>>,
}

#[derive(Debug, Deserialize)]
struct Gateway {
    #[serde(default)]
    connection: Option<Connection>,
}

#[derive(Debug, Deserialize)]
struct Connection {
    #[serde(default)]
    pending_bytes: u64,
    #[serde(default)]
    rtt: Option<String>,
}

impl Gatewayz {
    pub(super) fn links(self) -> impl Iterator<Item = LinkSample> {
        self.outbound_gateways.into_iter().flatten().filter_map(|(peer, gateway)| {
            let connection = gateway.connection?;
            Some(LinkSample {
                kind: "gateway",
                peer,
                peer_id: None,
                pending_bytes: Some(connection.pending_bytes),
                rtt: rtt(connection.rtt),
            })
        })
    }
}

/// Part of `/leafz` (since 2.1.0).
#[derive(Debug, Deserialize)]
pub(super) struct Leafz {
    #[serde(default)]
    leafs: Option<Vec<Leaf>>,
}

#[derive(Debug, Deserialize)]
struct Leaf {
    /// Since 2.9.25 (brokers-checked, 3).
    #[serde(default)]
    name: String,
    #[serde(default)]
    ip: String,
    #[serde(default)]
    port: u16,
    #[serde(default)]
    rtt: Option<String>,
}

impl Leafz {
    pub(super) fn links(self) -> impl Iterator<Item = LinkSample> {
        self.leafs.into_iter().flatten().map(|leaf| LinkSample {
            kind: "leaf",
            peer: first_of([leaf.name, format!("{}:{}", leaf.ip, leaf.port)]),
            peer_id: None,
            pending_bytes: None,
            rtt: rtt(leaf.rtt),
        })
    }
}

fn first_of(names: [String; 2]) -> String {
    names.into_iter().find(|name| !name.is_empty()).unwrap_or_default()
}

/// Zero stands for none: it is measured a moment after the connection is there.
fn rtt(text: Option<String>) -> Option<Duration> {
    go_duration(&text?).filter(|rtt| !rtt.is_zero())
}

/// A duration as Go prints it (`time.Duration.String`): `1.5ms`, `1m2.5s`, `0s`.
pub(super) fn go_duration(text: &str) -> Option<Duration> {
    // Longer units first: `m` begins `ms`.
    const UNITS: [(&str, f64); 8] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("\u{b5}s", 1e-6),
        ("\u{3bc}s", 1e-6),
        ("ms", 1e-3),
        ("h", 3600.0),
        ("m", 60.0),
        ("s", 1.0),
    ];
    let (mut seconds, mut rest) = (0.0, text);
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let (unit, factor) = UNITS.iter().find(|(unit, _)| rest[digits..].starts_with(unit))?;
        seconds += number * factor;
        rest = &rest[digits + unit.len()..];
        if rest.is_empty() {
            return Duration::try_from_secs_f64(seconds).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, us) in [
            ("0s", Some(0.0)),
            ("105\u{b5}s", Some(105.0)),
            ("1.5ms", Some(1500.0)),
            ("712ns", Some(0.712)),
            ("2s", Some(2e6)),
            ("1m2.5s", Some(62.5e6)),
            ("1h0m0s", Some(3600e6)),
            ("", None),
            ("5", None),
            ("ms", None),
            ("-1s", None),
            ("1x", None),
        ] {
            let expected = us.map(|us: f64| Duration::from_secs_f64(us / 1e6));
            assert_eq!(go_duration(text), expected, "{text}");
        }
    }

    #[test]
    fn links_are_found_in_what_servers_answer_and_a_list_that_is_null_is_empty() {
        let links = |path: &str, text: &str| -> Vec<LinkSample> {
            match path {
                "routez" => serde_json::from_str::<Routez>(text).unwrap().links().collect(),
                "gatewayz" => serde_json::from_str::<Gatewayz>(text).unwrap().links().collect(),
                _ => serde_json::from_str::<Leafz>(text).unwrap().links().collect(),
            }
        };
        let link = |kind, peer: &str, pending_bytes, us| {
            let (peer, rtt) = (peer.to_owned(), Some(Duration::from_micros(us)));
            let peer_id = (kind == "route").then(|| "NB".to_owned());
            vec![LinkSample { kind, peer, peer_id, pending_bytes, rtt }]
        };
        let route = r#"{"num_routes":1,"routes":[{"rid":5,"remote_id":"NB","remote_name":"n2",
            "pending_size":9,"rtt":"80us"}]}"#;
        let nameless = route.replace(r#""remote_name":"n2","#, "");
        let gateway = r#"{"name":"c1","outbound_gateways":{"c2":{"configured":true,
            "connection":{"cid":7,"pending_bytes":3,"rtt":"1ms"}},"c3":{"configured":true}}}"#;
        let leaf = r#"{"leafnodes":1,"leafs":[{"name":"leaf1","account":"$G","ip":"127.0.0.1",
            "port":4000,"rtt":"2ms"}]}"#;
        let nobody = leaf.replace(r#""name":"leaf1","#, "");
        assert_eq!(links("routez", route), link("route", "n2", Some(9), 80));
        assert_eq!(links("routez", &nameless), link("route", "NB", Some(9), 80));
        assert_eq!(links("gatewayz", gateway), link("gateway", "c2", Some(3), 1000));
        assert_eq!(links("leafz", leaf), link("leaf", "leaf1", None, 2000));
        assert_eq!(links("leafz", &nobody), link("leaf", "127.0.0.1:4000", None, 2000));
        let young = links("routez", &route.replace("80us", "0s"));
        assert_eq!(young[0].rtt, None, "not measured yet");
        for (path, text) in [
            ("routez", r#"{"num_routes":0,"routes":null}"#),
            ("gatewayz", r#"{"outbound_gateways":null}"#),
            ("leafz", r#"{"leafnodes":0,"leafs":null}"#),
        ] {
            assert_eq!(links(path, text), []);
        }
    }
}
