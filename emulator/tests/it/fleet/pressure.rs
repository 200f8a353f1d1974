//! A broker that takes no answers: the node takes no requests, and loses nothing.

use std::time::Duration;

use emulator::fleet::ledger::Fate;

use super::script::Broker;
use super::{generate, group, msg, request_id, start, until};

/// Far more than all socket buffers together hold, `tcp_wmem` of the system included.
const REQUESTS: u32 = 250;
const REPLY_SIZE: u64 = 100_000;

#[tokio::test]
async fn a_node_stops_reading_while_nobody_takes_its_answers_and_then_gives_all_in_order() {
    let broker = Broker::with_small_buffers();
    let fleet = start(vec![group(1, &[&broker])]);
    let mut peer = broker.accept_ready().await;
    until(&fleet, "connected", |counts| counts.connected == 1).await;
    let ledgers: Vec<_> = (0..REQUESTS).map(|id| fleet.open_ledger(&request_id(id))).collect();
    let requests: Vec<u8> = (0..REQUESTS).flat_map(|id| msg(&generate(id, REPLY_SIZE))).collect();
    peer.send(&requests).await;

    // Until the node is stuck; what is asserted holds at every moment.
    let (mut written, mut since) = (0, 0);
    while since < 30 {
        let before = fleet.counts();
        let after = fleet.counts();
        assert!(before.replies * REPLY_SIZE <= after.bytes_out, "counted before it was written");
        let composed = (before.messages_in * REPLY_SIZE).saturating_sub(after.bytes_out);
        assert!(composed < 500_000, "{composed} bytes held back");
        let stuck = after.bytes_out == written && after.messages_in > 0;
        since = if stuck { since + 1 } else { 0 };
        written = after.bytes_out;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let counts = fleet.counts();
    assert!(counts.messages_in < u64::from(REQUESTS), "it went on: {counts:?}");
    let answered = ledgers.iter().map(|ledger| ledger.answered()).sum::<u64>();
    assert!(answered >= counts.replies && answered <= counts.messages_in);
    let last = ledgers.last().unwrap();
    assert_eq!((last.answered(), fleet.fate(last, 0)), (0, Some(Fate::NotDelivered)));

    for id in 0..REQUESTS {
        assert_eq!(peer.reply().await.0, id);
    }
    until(&fleet, "all counted", |counts| counts.replies == u64::from(REQUESTS)).await;
    assert!(ledgers.iter().all(|ledger| ledger.answered() == 1));
}

#[tokio::test]
async fn what_was_not_written_when_the_connection_is_lost_is_not_answered() {
    let broker = Broker::with_small_buffers();
    let fleet = start(vec![group(1, &[&broker])]);
    let mut peer = broker.accept_ready().await;
    until(&fleet, "connected", |counts| counts.connected == 1).await;
    let ledgers: Vec<_> = (0..REQUESTS).map(|id| fleet.open_ledger(&request_id(id))).collect();
    let requests: Vec<u8> = (0..REQUESTS).flat_map(|id| msg(&generate(id, REPLY_SIZE))).collect();
    peer.send(&requests).await;
    until(&fleet, "some arrived", |counts| counts.messages_in > 0).await;
    drop(peer);
    until(&fleet, "lost", |counts| counts.disconnects == 1).await;
    let answered = ledgers.iter().filter(|ledger| ledger.answered() == 1).count();
    let counts = fleet.counts();
    assert_eq!(answered as u64, counts.replies);
    assert!(counts.replies < u64::from(REQUESTS));
    for ledger in ledgers.iter().filter(|ledger| ledger.answered() == 0) {
        assert_eq!(fleet.fate(ledger, 0), Some(Fate::Disconnected));
    }
    let mut peer = broker.accept_ready().await;
    peer.send(msg(&generate(999, 10))).await;
    assert_eq!(peer.reply().await.0, 999, "nothing of the lost connection comes on the new one");
}
