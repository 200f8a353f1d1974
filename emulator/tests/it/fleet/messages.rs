//! Messages, however they arrive.

use super::script::Broker;
use super::{generate, group, msg, start, until};

#[tokio::test]
async fn a_message_cut_anywhere_is_answered() {
    let broker = Broker::new().await;
    let fleet = start(vec![group(1, &[&broker])]);
    let mut peer = broker.accept_ready().await;
    until(&fleet, "connected", |counts| counts.connected == 1).await;
    let request = msg(&generate(7, 10));
    for cut in 0..=request.len() {
        let before = fleet.counts().bytes_in;
        peer.send(&request[..cut]).await;
        // The node has read the first part before the second is sent.
        until(&fleet, "read", |counts| counts.bytes_in == before + cut as u64).await;
        peer.send(&request[cut..]).await;
        let (subject, _) = peer.publication().await;
        assert_eq!(subject, "mcollective.reply.x.y", "cut at {cut}");
    }
    let counts = fleet.counts();
    assert_eq!(counts.messages_in, request.len() as u64 + 1);
    assert_eq!((counts.protocol_errors, counts.refused), (0, 0));
}

#[tokio::test]
async fn half_a_message_and_then_silence_leaves_the_node_where_it_is() {
    let broker = Broker::new().await;
    let fleet = start(vec![group(1, &[&broker])]);
    let mut peer = broker.accept_ready().await;
    until(&fleet, "connected", |counts| counts.connected == 1).await;
    let request = msg(&generate(7, 10));
    for part in [0..10, 10..request.len() - 1, request.len() - 1..request.len()] {
        assert_eq!(fleet.counts().messages_in, 0);
        let before = fleet.counts().bytes_in;
        let size = part.len() as u64;
        peer.send(&request[part]).await;
        until(&fleet, "read", |counts| counts.bytes_in == before + size).await;
    }
    assert_eq!(peer.reply().await.0, 7);
    assert_eq!(fleet.counts().disconnects, 0);
}

#[tokio::test]
async fn many_messages_of_one_read_are_answered_in_their_order() {
    let broker = Broker::new().await;
    let fleet = start(vec![group(1, &[&broker])]);
    let mut peer = broker.accept_ready().await;
    let all: Vec<u8> = (0..300).flat_map(|id| msg(&generate(id, 10))).collect();
    peer.send(&all).await;
    for id in 0..300 {
        assert_eq!(peer.reply().await.0, id);
    }
    until(&fleet, "counted", |counts| counts.replies == 300).await;
}

#[tokio::test]
async fn a_request_of_a_megabyte_and_one_with_headers_are_answered() {
    let broker = Broker::new().await;
    let _fleet = start(vec![group(1, &[&broker])]);
    let mut peer = broker.accept_ready().await;
    let mut large = generate(1, 10);
    // White space is JSON.
    large.resize(1 << 20, b' ');
    peer.send(msg(&large)).await;
    assert_eq!(peer.reply().await.0, 1);
    let payload = generate(2, 10);
    let headers = "NATS/1.0\r\nA: b\r\n\r\n";
    let size = headers.len();
    let line = format!("HMSG mcollective.node.x 9 re.ply {size} {}\r\n", size + payload.len());
    peer.send([line.as_bytes(), headers.as_bytes(), &payload, b"\r\n"].concat()).await;
    assert_eq!(peer.reply().await.0, 2);
}
