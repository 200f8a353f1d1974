//! Too much for one message and too many messages, over a real broker.

use std::net::SocketAddr;

use emulator::fleet::ledger::Fate;
use emulator::protocol::client::rpc_body;
use emulator::spec::{Behaviour, Queue};
use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::learning::{NODES, discovered_at, nodes_behaving, request, until};
use crate::support::{SOON, launcher, start_spec};
use choria_emulator::broker::Broker;

const REQUESTS: u32 = 10_000;

async fn broker(folder: &std::path::Path) -> Broker {
    let spec = start_spec(folder).await;
    Broker::start(&spec, &launcher()).await.unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_beyond_max_payload_costs_its_sender_the_connection_and_no_node() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path()).await;
    let fleet = nodes_behaving(&broker, Behaviour::default());
    tokio::time::timeout(SOON, fleet.connected()).await.unwrap();
    let limit = async_nats::connect(broker.url()).await.unwrap().server_info().max_payload;
    let mut sender = TcpStream::connect(SocketAddr::from(broker.client())).await.unwrap();
    let subject = "mcollective.broadcast.agent.discovery";
    let line = format!("CONNECT {{\"verbose\":false}}\r\nPUB {subject} {}\r\n", limit + 1);
    sender.write_all(line.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    let read = tokio::time::timeout(SOON, sender.read_to_end(&mut said)).await.unwrap();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.contains("Maximum Payload Violation"), "{read:?} {said}");
    assert_eq!(discovered_at(&broker).await, NODES);
    let counts = until(&fleet, "counted", |counts| counts.replies == NODES).await;
    assert_eq!((counts.messages_in, counts.disconnects, counts.connected), (NODES, 0, NODES));
    fleet.stop().await;
}

/// Publishes ten thousand different requests, as fast as they go, to nodes with this queue: each is
/// answered or its loss is counted, and the books say which.
async fn press(queue: Queue) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path()).await;
    let fleet = nodes_behaving(&broker, Behaviour { queue, ..Behaviour::default() });
    tokio::time::timeout(SOON, fleet.connected()).await.unwrap();
    let client = async_nats::connect(broker.url()).await.unwrap();
    let mut replies = client.subscribe("mcollective.reply.x.*").await.unwrap();
    client.flush().await.unwrap();
    let ids: Vec<String> = (0..REQUESTS).map(|id| format!("{id:032}")).collect();
    let ledgers: Vec<_> = ids.iter().map(|id| fleet.open_ledger(id)).collect();
    for (number, id) in ids.iter().enumerate() {
        let body = rpc_body("emulated0", "generate", &serde_json::json!({ "size": number % 100 }));
        let to = format!("mcollective.reply.x.{number}");
        let payload = request(&broker, id, "emulated0", &body, &to);
        let subject = "mcollective.broadcast.agent.emulated0";
        client.publish(subject, payload.into()).await.unwrap();
    }
    client.flush().await.unwrap();
    let all = u64::from(REQUESTS) * NODES;
    let counts =
        until(&fleet, "all accounted for", |counts| counts.replies + counts.slow_consumer == all)
            .await;
    assert_eq!((counts.messages_in, counts.overflowed, counts.disconnects), (all, 0, 0));
    for _ in 0..counts.replies {
        tokio::time::timeout(SOON, replies.next()).await.unwrap().unwrap();
    }
    let (mut answered, mut lost) = (0, 0);
    for ledger in &ledgers {
        for node in 0..NODES {
            match fleet.fate(ledger, node) {
                Some(Fate::Answered) => answered += 1,
                Some(Fate::QueueFull) => lost += 1,
                fate => panic!("{fate:?}"),
            }
        }
    }
    assert_eq!((answered, lost), (counts.replies, counts.slow_consumer));
    fleet.stop().await;
    lost
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_different_requests_at_once_are_all_answered_where_no_queue_loses_them() {
    assert_eq!(press(Queue::AT_ONCE).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_different_requests_at_once_are_answered_or_lost_by_the_queue_and_counted() {
    let handling = std::time::Duration::from_millis(2);
    assert!(press(Queue { handling, ..Queue::REAL }).await > 0);
}
