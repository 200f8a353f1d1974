//! Which nodes a fleet starts, and when.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use emulator::fleet::{Fleet, FleetError};
use emulator::spec::{Connect, FleetSpec, Share};

use super::script::Broker;
use super::{LONG, group, spec, start, until};

#[tokio::test]
async fn only_so_many_nodes_connect_at_once() {
    let broker = Broker::new().await;
    let mut group = group(7, &[&broker]);
    group.connect = Connect { rate_per_s: None, in_flight: 2, timeout: LONG };
    let fleet = Fleet::start(FleetSpec { shards: 2, ..spec(vec![group]) }).unwrap();
    let mut waiting = vec![broker.accept().await, broker.accept().await];
    let mut complete = Vec::new();
    while let Some(mut peer) = waiting.pop() {
        let done = complete.len() as u64;
        assert!(fleet.counts().dials <= done + 2);
        peer.welcome().await;
        complete.push(peer);
        if complete.len() + waiting.len() < 7 {
            waiting.push(broker.accept().await);
        }
    }
    let counts = until(&fleet, "all", |counts| counts.connected == 7).await;
    assert_eq!((counts.planned, counts.dials), (7, 7));
}

#[tokio::test]
async fn nodes_start_no_faster_than_at_their_rate() {
    let broker = Broker::new().await;
    let mut group = group(5, &[&broker]);
    group.connect = Connect { rate_per_s: Some(20.0), in_flight: 100, timeout: LONG };
    let began = Instant::now();
    let _fleet = start(vec![group]);
    let mut peers = Vec::new();
    for number in 0..5 {
        peers.push(broker.accept().await);
        assert!(began.elapsed() >= number * Duration::from_millis(50), "node {number}");
    }
}

#[tokio::test]
async fn a_rate_that_is_none_is_refused() {
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let broker = Broker::new().await;
        let mut group = group(1, &[&broker]);
        group.connect.rate_per_s = Some(rate);
        let error = Fleet::start(spec(vec![group])).err();
        assert!(matches!(error, Some(FleetError::Rate(name)) if name == "web"), "{rate}");
    }
    let nobody = Fleet::start(spec(vec![group(1, &[])])).err();
    assert!(matches!(nobody, Some(FleetError::NoServers(name)) if name == "web"));
}

#[tokio::test]
async fn a_node_that_is_never_due_stops_with_the_others() {
    let broker = Broker::new().await;
    let mut group = group(2, &[&broker]);
    group.connect.rate_per_s = Some(f64::MIN_POSITIVE);
    let fleet = start(vec![group]);
    let _peer = broker.accept_ready().await;
    until(&fleet, "the first", |counts| counts.connected == 1).await;
    assert!(fleet.failures().is_empty());
    assert_eq!(fleet.stop().await.planned, 2);
}

#[tokio::test]
async fn two_shares_connect_every_node_once() {
    let broker = Broker::new().await;
    let group = super::GroupSpec { first: 5, ..group(7, &[&broker]) };
    let share =
        |index| FleetSpec { share: Share { index, of: 2 }, shards: 2, ..spec(vec![group.clone()]) };
    let fleets = [0, 1].map(|index| Fleet::start(share(index)).unwrap());
    let (mut names, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..7 {
        let mut peer = broker.accept().await;
        names.push(peer.welcome().await.0);
        peers.push(peer);
    }
    for fleet in &fleets {
        fleet.connected().await;
    }
    assert_eq!(fleets.each_ref().map(|fleet| fleet.counts().connected), [3, 4]);
    let all: BTreeSet<_> = (5..12).map(|index| format!("web{index}.example.net")).collect();
    assert_eq!(names.into_iter().collect::<BTreeSet<_>>(), all);
    for index in 5..12 {
        let carried = fleets.each_ref().map(|fleet| fleet.is_connected(index));
        assert_eq!(carried, [index % 2 == 0, index % 2 == 1], "node {index}");
    }
    let mut sum = fleets[0].counts();
    sum.merge(&fleets[1].counts());
    assert_eq!((sum.planned, sum.connected, sum.dials), (7, 7, 7));
}
