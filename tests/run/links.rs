//! What is seen of each connection between brokers, and of connections that read too slowly.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use futures_util::StreamExt;
use reports::broker::{BrokerFigure, Link};
use reports::summary::BrokerSummary;

use super::rig::{Left, Told, real, run_alone, run_while, scenario};
use super::telemetry::Series;
use super::{Progress, setup};

const QUIET: &str =
    "web, nodes: 12, brokers: \"*\", events: {startup: false, alive: false, shutdown: false}";
const MIB: usize = 1 << 20;

/// Waves every second for so many seconds.
fn rpc(seconds: u32) -> String {
    format!(
        "rpc, request: {{agent: emulated0, action: generate}}, every: 1s, count: {seconds}, deadline: 900ms"
    )
}

fn broker<'a>(left: &'a Left, name: &str) -> &'a BrokerSummary {
    let mut brokers = left.summary.cost.brokers.iter();
    brokers.find(|broker| broker.name == name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_link_has_its_round_trip_and_the_name_of_whom_it_leads_to() {
    // Who sees how many connections of which kind to whom.
    for (topology, from, to, kind, connections) in [
        ("topology: cluster, size: 3", "n1", &["n2", "n3"][..], "route", 4),
        ("topology: leafnodes, leaves: 2", "hub1", &["leaf1", "leaf2"], "leaf", 1),
        ("topology: leafnodes, leaves: 2", "leaf2", &["hub1"], "leaf", 1),
        ("topology: supercluster, size: 1", "c1-n1", &["c2"], "gateway", 1),
    ] {
        let out = tempfile::tempdir().unwrap();
        let text = scenario(&format!("{topology}, {}", real().await), &[QUIET], &[&rpc(2)]);
        let left = Left::by(&run_alone(setup(&text, &[], out.path()).await).await.unwrap());
        assert_eq!(left.code_on_a_quiet_machine(), 0, "{topology}: {}", left.error());
        let seen = broker(&left, from);
        assert_eq!(seen.peers.keys().collect::<Vec<_>>(), to, "{topology}: {:?}", seen.peers);
        for link in seen.peers.values() {
            assert_eq!((link.kind.as_str(), link.connections), (kind, connections), "{topology}");
            // Loopback takes microseconds, and a busy machine some more.
            let (least, most) = (link.rtt_us_min.unwrap(), link.rtt_us_max.unwrap());
            assert!(0 < least && least <= most && most < 5_000_000, "{topology}: {link:?}");
            assert_eq!(link.pending_bytes.is_some(), kind != "leaf", "{topology}: {link:?}");
        }
        let slowest = seen.peers.values().filter_map(|link| link.rtt_us_max).max().unwrap();
        let figure = seen.figure(BrokerFigure::LinkRttUs).unwrap();
        assert!((figure - slowest as f64).abs() < 1.0, "{topology}: {figure} and {slowest}");
        let series = Series::of(&left).column(from, "link_rtt_us");
        assert!(series.iter().any(|rtt| *rtt > 0.0), "{topology}: {series:?}");
    }
}

/// The URLs of the brokers of a run, by name.
async fn urls(told: &mut Told, count: usize) -> BTreeMap<String, String> {
    let mut urls = BTreeMap::new();
    while urls.len() < count {
        let found = told.until(|step| match step {
            Progress::Broker { name, url, .. } => Some((name, url)),
            _ => None,
        });
        urls.extend([found.await]);
    }
    urls
}

/// Publishes so many MiB of what nobody of the run hears.
async fn publish_junk(url: &str, mib: usize) {
    let client = async_nats::connect(url).await.unwrap();
    for _ in 0..2 * mib {
        client.publish("junk", vec![b'.'; MIB / 2].into()).await.unwrap();
        client.flush().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_to_a_broker_that_stands_still_fills_up_and_is_told_from_others() {
    let brokers = format!("topology: cluster, size: 3, {}", real().await);
    let text =
        scenario(&brokers, &[QUIET], &[&rpc(12)]) + "timeline: [{at: 1s, pause: n2, for: 6s}]\n";
    let out = tempfile::tempdir().unwrap();
    let (finished, ()) = run_while(setup(&text, &[], out.path()).await, async |mut told| {
        let urls = urls(&mut told, 3).await;
        // Somebody there wants to hear it, so that it goes over the link.
        let ears = async |name: &str| {
            let client = async_nats::connect(&urls[name]).await.unwrap();
            let heard = client.subscribe("junk").await.unwrap();
            client.flush().await.unwrap();
            (client, heard)
        };
        let (mut paused, mut other) = (ears("n2").await, ears("n3").await);
        let paused_now = |step| match step {
            Progress::Timeline(text) => text.contains("pause").then_some(()),
            _ => None,
        };
        told.until(paused_now).await;
        tokio::select! {
            () = async { while paused.1.next().await.is_some() {} } => {}
            () = async { while other.1.next().await.is_some() {} } => {}
            // More than both sockets take; below the 64 MiB at which the broker ends the connection.
            () = publish_junk(&urls["n1"], 40) => {}
        }
    })
    .await;
    let left = Left::by(&finished.unwrap());
    let peers = &broker(&left, "n1").peers;
    let waited = |link: &Link| link.pending_bytes.unwrap();
    assert!(waited(&peers["n2"]) > 4 * MIB as u64, "{peers:?}");
    assert!(waited(&peers["n2"]) > 2 * waited(&peers["n3"]), "{peers:?}");
    let most = broker(&left, "n1").figure(BrokerFigure::LinkPendingBytes).unwrap();
    assert!(most >= waited(&peers["n2"]) as f64, "{most}: {peers:?}");
    let series = Series::of(&left).column("n1", "link_pending_bytes");
    assert!(series.iter().any(|waited| *waited > 4e6), "{series:?}");
    let report = reports::render::terminal::render(
        &left.summary,
        None,
        reports::render::terminal::Style::default(),
    );
    assert!(report.contains("fullest link: n1 to n2 (route), up to"), "{report}");
}

/// A client that asks for everything and reads nothing.
fn deaf_client(url: &str) -> std::net::TcpStream {
    let mut stream = std::net::TcpStream::connect(url.strip_prefix("nats://").unwrap()).unwrap();
    stream
        .write_all(b"CONNECT {\"verbose\":false,\"name\":\"deaf\"}\r\nSUB junk 1\r\nPING\r\n")
        .unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn stalls_and_slow_consumers_by_kind_are_seen_with_who_was_cut_off() {
    let brokers = format!("{}, config: {{max_pending: 4194304}}", real().await);
    let asked = "thresholds:\n  broker.slow_consumers: [\"count == 1\"]\n  \
                 \"broker.slow_clients{broker:n1}\": [\"value == 1\"]\n  \
                 broker.stalls: [\"count > 0\"]\n  broker.slow_routes: [\"count == 0\"]\n";
    let text = scenario(&brokers, &[QUIET], &[&rpc(5)]) + asked;
    let out = tempfile::tempdir().unwrap();
    let (finished, ()) = run_while(setup(&text, &[], out.path()).await, async |mut told| {
        let url = told.broker().await;
        told.waves(1).await;
        let deaf = deaf_client(&url);
        tokio::time::timeout(Duration::from_secs(60), publish_junk(&url, 40)).await.unwrap();
        drop(deaf);
    })
    .await;
    let left = Left::by(&finished.unwrap());
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{:?}", left.summary.thresholds);
    let seen = broker(&left, "n1");
    assert_eq!(seen.figure(BrokerFigure::SlowClients), Some(1.0));
    assert_eq!(seen.closed.get("Slow Consumer (Pending Bytes)"), Some(&1), "{:?}", seen.closed);
    let series = Series::of(&left);
    for column in ["slow_consumers", "slow_clients", "stalls"] {
        let series = series.column("n1", column);
        assert_eq!(series.first().copied(), Some(0.0), "{column}");
        assert!(series.is_sorted() && series.last() > Some(&0.0), "{column}: {series:?}");
    }
}
