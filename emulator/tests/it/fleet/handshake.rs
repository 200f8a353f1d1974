//! How a node introduces itself.

use emulator::spec::Fidelity;

use super::script::Broker;
use super::{SUBSCRIPTIONS, generate, group, msg, start, until};
use crate::captures::lines;

#[tokio::test]
async fn a_node_starts_byte_for_byte_as_the_recorded_server() {
    let recorded =
        lines("connections.jsonl").into_iter().find(|line| line["name"] == "server-start");
    let broker = Broker::new().await;
    let mut group = group(1, &[&broker]);
    group.first = 3;
    let fleet = start(vec![group]);
    let mut peer = broker.accept().await;
    let mut checked = 0;
    for step in recorded.unwrap()["conversation"].as_array().unwrap() {
        let Some(bytes) = step["bytes"].as_str() else { continue };
        // The recorded server hosts scout where ours host the emulated agent; it announces its start.
        let bytes = bytes.replace("agent.scout", "agent.emulated0");
        if step["from"] == "broker" {
            peer.send(&bytes).await;
        } else if !bytes.starts_with("PUB ") {
            assert_eq!(peer.chunk().await, bytes, "in one write");
            checked += 1;
        }
    }
    assert_eq!(checked, 12, "CONNECT, ten SUB, PONG");
    let counts = until(&fleet, "connected", |counts| counts.connected == 1).await;
    assert_eq!((counts.subscriptions, counts.ever_connected, counts.reconnects), (10, 1, 0));
    assert!(fleet.is_connected(3) && !fleet.is_connected(2));
}

#[tokio::test]
async fn the_pong_of_a_reply_confirms_no_subscription() {
    let broker = Broker::new().await;
    let fleet = start(vec![group(1, &[&broker])]);
    let mut peer = broker.accept().await;
    peer.hello().await;
    for number in 1..SUBSCRIPTIONS {
        peer.send("PONG\r\n").await;
        assert!(peer.line().await.ends_with(&format!("  {number}")));
        assert_eq!(peer.line().await, "PING");
    }
    // The last but one is not confirmed yet when a request comes on an earlier one.
    peer.send(msg(&generate(1, 10))).await;
    assert!(peer.line().await.starts_with("PUB mcollective.reply.x.y "));
    peer.line().await;
    assert_eq!(peer.line().await, "PING", "behind the reply");
    peer.send("PONG\r\n").await;
    assert!(peer.line().await.ends_with(&format!("  {SUBSCRIPTIONS}")));
    assert_eq!(peer.line().await, "PING");
    peer.send("PONG\r\n").await;
    peer.is_silent_and_alive().await;
    assert_eq!(fleet.counts().connected, 0, "that was the reply's");
    peer.send("PONG\r\n").await;
    until(&fleet, "connected", |counts| counts.connected == 1).await;
}

#[tokio::test]
async fn without_flushes_all_subscriptions_come_at_once() {
    let broker = Broker::new().await;
    let mut group = group(1, &[&broker]);
    group.fidelity = Fidelity { flush_each_subscription: false, flush_each_reply: false };
    let fleet = start(vec![group]);
    let mut peer = broker.accept().await;
    peer.hello().await;
    peer.send("PONG\r\n").await;
    let all = peer.chunk().await;
    assert_eq!(all.matches("SUB ").count() as u64, SUBSCRIPTIONS);
    assert_eq!(all.matches("PING\r\n").count(), 1);
    peer.send("PONG\r\n").await;
    until(&fleet, "connected", |counts| counts.connected == 1).await;
    peer.send(msg(&generate(1, 10))).await;
    assert_eq!(peer.reply().await.0, 1);
    peer.is_silent_and_alive().await;
}
