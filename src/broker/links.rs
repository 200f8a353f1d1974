//! Connections between brokers as their monitoring shows them: `/routez`, `/gatewayz`, `/leafz`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

/// A connection of a broker to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkSample {
    /// Bytes that wait for the other side; leaf connections do not tell.
    pub pending_bytes: Option<u64>,
    /// Round trip as the broker measured it last.
    pub rtt: Option<Duration>,
}

impl LinkSample {
    fn new(pending_bytes: Option<u64>, rtt: Option<&String>) -> Self {
        Self { pending_bytes, rtt: rtt.and_then(|text| go_duration(text)) }
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
    #[serde(default)]
    pending_size: u64,
    #[serde(default)]
    rtt: Option<String>,
}

impl Routez {
    pub(super) fn links(self) -> impl Iterator<Item = LinkSample> {
        let routes = self.routes.into_iter().flatten();
        routes.map(|route| LinkSample::new(Some(route.pending_size), route.rtt.as_ref()))
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
        let gateways = self.outbound_gateways.into_iter().flat_map(BTreeMap::into_values);
        gateways.filter_map(|gateway| {
            let Connection { pending_bytes, rtt } = gateway.connection?;
            Some(LinkSample::new(Some(pending_bytes), rtt.as_ref()))
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
    #[serde(default)]
    rtt: Option<String>,
}

impl Leafz {
    pub(super) fn links(self) -> impl Iterator<Item = LinkSample> {
        self.leafs.into_iter().flatten().map(|leaf| LinkSample::new(None, leaf.rtt.as_ref()))
    }
}

/// A duration as Go prints it (`time.Duration.String`): `1.5ms`, `1m2.5s`, `0s`.
fn go_duration(text: &str) -> Option<Duration> {
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
        let link = |pending_bytes, us| {
            vec![LinkSample { pending_bytes, rtt: Some(Duration::from_micros(us)) }]
        };
        let route = r#"{"num_routes":1,"routes":[{"rid":5,"pending_size":9,"rtt":"80us"}]}"#;
        let gateway = r#"{"name":"c1","outbound_gateways":{"c2":{"configured":true,
            "connection":{"cid":7,"pending_bytes":3,"rtt":"1ms"}},"c3":{"configured":true}}}"#;
        let leaf = r#"{"leafnodes":1,"leafs":[{"account":"$G","rtt":"2ms"}]}"#;
        assert_eq!(links("routez", route), link(Some(9), 80));
        assert_eq!(links("gatewayz", gateway), link(Some(3), 1000));
        assert_eq!(links("leafz", leaf), link(None, 2000));
        for (path, text) in [
            ("routez", r#"{"num_routes":0,"routes":null}"#),
            ("gatewayz", r#"{"outbound_gateways":null}"#),
            ("leafz", r#"{"leafnodes":0,"leafs":null}"#),
        ] {
            assert_eq!(links(path, text), []);
        }
    }
}
