//! What falls due while a node has no connection.

use std::time::Duration;

use emulator::fleet::ledger::Fate;
use emulator::spec::{Behaviour, Delay, Events, GroupSpec, Lifecycle};

use super::script::{Broker, Peer};
use super::{at_once, generate, group, msg, request_id, start, until};

/// Kept of what is published without a connection (go-choria, `choria/connection.go`).
const BUFFER: usize = 10 * 1024;
/// Shorter than any wait for a new connection.
const DELAY: Duration = Duration::from_millis(200);

fn delayed(broker: &Broker) -> GroupSpec {
    let behaviour = Behaviour { reply_delay: Delay::Fixed(DELAY), ..at_once() };
    GroupSpec { behaviour, ..group(1, &[broker]) }
}

/// Everything from the last `SUB` to the `PONG` of the next connection's broker, in which the node says
/// what it kept: the size of each publication on the wire, and its payload.
async fn come_back(peer: &mut Peer) -> Vec<(usize, Vec<u8>)> {
    peer.hello().await;
    peer.send("PONG\r\n").await;
    for _ in 0..super::SUBSCRIPTIONS {
        assert!(peer.line().await.starts_with("SUB "));
    }
    let mut kept = Vec::new();
    let mut pings = 0;
    loop {
        let line = peer.line().await;
        if line == "PING" {
            pings += 1;
            if pings > kept.len() {
                return kept;
            }
            continue;
        }
        let payload = peer.payload_of(&line).await;
        // With both line ends and the flush behind it.
        kept.push((line.len() + payload.len() + 4 + "PING\r\n".len(), payload));
    }
}

#[tokio::test]
async fn replies_due_without_a_connection_go_out_behind_the_subscriptions() {
    let broker = Broker::new().await;
    let fleet = start(vec![delayed(&broker)]);
    let mut peer = broker.accept_ready().await;
    until(&fleet, "connected", |counts| counts.connected == 1).await;
    let sent = std::time::Instant::now();
    peer.send(msg(&generate(1, 10))).await;
    assert_eq!(peer.reply().await.0, 1);
    assert!(sent.elapsed() >= DELAY);
    let ledger = fleet.open_ledger(&request_id(2));
    for id in 2..5 {
        peer.send(msg(&generate(id, 10))).await;
    }
    until(&fleet, "arrived", |counts| counts.messages_in == 4).await;
    drop(peer);
    let mut peer = broker.accept().await;
    let kept = come_back(&mut peer).await;
    let texts: Vec<_> = kept.iter().map(|(_, payload)| String::from_utf8_lossy(payload)).collect();
    assert_eq!(texts.len(), 3);
    for text in &texts {
        // They were made while the node was connected to nobody.
        assert!(text.contains(r#""seen-by":[["","web0.example.net",""]]"#), "{text}");
    }
    let counts = until(&fleet, "counted", |counts| counts.replies == 4).await;
    assert_eq!(counts.lost_unconnected, 0);
    assert_eq!(fleet.fate(&ledger, 0), Some(Fate::Answered));
}

#[tokio::test]
async fn beyond_ten_kibibytes_replies_are_lost_and_counted() {
    const REQUESTS: u32 = 40;
    let broker = Broker::new().await;
    let fleet = start(vec![delayed(&broker)]);
    let mut peer = broker.accept_ready().await;
    until(&fleet, "connected", |counts| counts.connected == 1).await;
    let ledgers: Vec<_> = (0..REQUESTS).map(|id| fleet.open_ledger(&request_id(id))).collect();
    for id in 0..REQUESTS {
        peer.send(msg(&generate(id, 300))).await;
    }
    let arrived = |counts: &super::FleetCounts| counts.messages_in == u64::from(REQUESTS);
    let before = until(&fleet, "arrived", arrived).await;
    assert_eq!(before.replies, 0, "a machine so slow shows nothing");
    drop(peer);
    let mut peer = broker.accept().await;
    let kept = come_back(&mut peer).await;
    let sizes: Vec<usize> = kept.iter().map(|(size, _)| *size).collect();
    let without_last: usize = sizes[..sizes.len() - 1].iter().sum();
    assert!(without_last < BUFFER && sizes.iter().sum::<usize>() >= BUFFER, "{sizes:?}");
    let written = kept.len() as u64;
    let counts = until(&fleet, "counted", |counts| counts.replies == written).await;
    assert_eq!(counts.lost_unconnected, u64::from(REQUESTS) - written);
    for (id, ledger) in ledgers.iter().enumerate() {
        let fate = if id < kept.len() { Fate::Answered } else { Fate::Disconnected };
        assert_eq!(fleet.fate(ledger, 0), Some(fate), "request {id}");
    }
    // Whoever is connected loses nothing.
    peer.send("PONG\r\n".repeat(kept.len() + 1)).await;
    until(&fleet, "connected again", |counts| counts.connected == 1).await;
    for id in 100..120 {
        peer.send(msg(&generate(id, 3000))).await;
    }
    for id in 100..120 {
        assert_eq!(peer.reply().await.0, id);
    }
    assert_eq!(fleet.counts().lost_unconnected, counts.lost_unconnected);
}

#[tokio::test]
async fn alive_events_share_the_buffer_and_are_not_flushed_one_by_one() {
    let events = Events {
        startup: false,
        shutdown: false,
        alive: true,
        alive_every: Duration::from_millis(1),
        machines: false,
    };
    let broker = Broker::new().await;
    let lifecycle = Lifecycle { events, ..Lifecycle::SILENT };
    let fleet = start(vec![GroupSpec { lifecycle, ..group(1, &[&broker]) }]);
    let peer = broker.accept_ready().await;
    until(&fleet, "alive", |counts| counts.alive_events > 0).await;
    drop(peer);
    let mut peer = broker.accept().await;
    peer.hello().await;
    peer.send("PONG\r\n").await;
    for _ in 0..super::SUBSCRIPTIONS {
        assert!(peer.line().await.starts_with("SUB "));
    }
    let mut sizes = Vec::new();
    loop {
        let line = peer.line().await;
        if line == "PING" {
            break;
        }
        sizes.push(line.len() + peer.payload_of(&line).await.len() + 4);
    }
    let without_last: usize = sizes[..sizes.len() - 1].iter().sum();
    assert!(without_last < BUFFER && sizes.iter().sum::<usize>() >= BUFFER, "{sizes:?}");
    // The shortest wait is 375 ms.
    let lost = fleet.counts().lost_unconnected;
    assert!(lost + sizes.len() as u64 >= 375, "{lost} and {}", sizes.len());
}
