//! The request queue in front of a node's one handler, and what it loses.

use std::time::{Duration, Instant};

use emulator::fleet::ledger::Fate;
use emulator::spec::{Behaviour, GroupSpec, Queue};

use super::script::Broker;
use super::{LONG, generate, group, msg, patient, request_id, start, until, wait};

const BURST: u32 = 500;

fn queueing(queue: Queue, broker: &Broker) -> GroupSpec {
    GroupSpec { behaviour: Behaviour { queue, ..Behaviour::default() }, ..group(1, &[broker]) }
}

fn burst() -> Vec<u8> {
    (0..BURST).flat_map(|id| msg(&generate(id, 10))).collect()
}

#[tokio::test]
async fn a_busy_node_takes_what_its_queue_holds_and_loses_the_rest() {
    for (size, places) in [(10, 22), (1, 4), (100, 202)] {
        let broker = Broker::new().await;
        let fleet = start(vec![queueing(Queue { size, handling: LONG }, &broker)]);
        let mut peer = broker.accept_ready().await;
        let ledgers: Vec<_> = (0..BURST).map(|id| fleet.open_ledger(&request_id(id))).collect();
        peer.send(burst()).await;
        let counts = until(&fleet, "all in", |counts| counts.messages_in == u64::from(BURST)).await;
        let lost = u64::from(BURST - places);
        assert_eq!((counts.slow_consumer, counts.overflowed, counts.replies), (lost, 0, 0));
        for (id, ledger) in (0..).zip(&ledgers) {
            let fate = if id < places { Fate::Pending } else { Fate::QueueFull };
            assert_eq!(fleet.fate(ledger, 0), Some(fate), "size {size}, request {id}");
            assert_eq!(ledger.arrived(), 1, "the broker has delivered it");
        }
    }
}

#[tokio::test]
async fn every_request_of_a_burst_is_answered_or_counted_as_lost() {
    let broker = Broker::new().await;
    let fleet = start(vec![queueing(Queue::REAL, &broker)]);
    let mut peer = broker.accept_ready().await;
    let ledgers: Vec<_> = (0..BURST).map(|id| fleet.open_ledger(&request_id(id))).collect();
    peer.send(burst()).await;
    let all = u64::from(BURST);
    let accounted = |counts: &super::FleetCounts| counts.replies + counts.slow_consumer == all;
    let counts = until(&fleet, "accounted for", accounted).await;
    assert!(counts.replies >= 22, "{counts:?}");
    let fates = |fate| ledgers.iter().filter(|l| fleet.fate(l, 0) == Some(fate)).count() as u64;
    assert_eq!(
        (fates(Fate::Answered), fates(Fate::QueueFull)),
        (counts.replies, counts.slow_consumer)
    );
    for _ in 0..counts.replies {
        peer.reply().await;
    }
    // The handler is free again.
    peer.send(msg(&generate(1000, 10))).await;
    assert_eq!(peer.reply().await.0, 1000);
}

#[tokio::test]
async fn requests_are_looked_at_one_after_the_other() {
    let broker = Broker::new().await;
    let handling = Duration::from_millis(50);
    let _fleet = start(vec![queueing(Queue { size: 10, handling }, &broker)]);
    let mut peer = broker.accept_ready().await;
    let began = Instant::now();
    peer.send((0..4).flat_map(|id| msg(&generate(id, 10))).collect::<Vec<u8>>()).await;
    for id in 0..4 {
        assert_eq!(peer.reply().await.0, id);
        assert!(began.elapsed() >= handling * (id + 1), "{id} after {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn agents_that_take_their_time_do_not_hold_up_the_queue() {
    let broker = Broker::new().await;
    let mut group = patient(1, &[&broker]);
    group.behaviour.queue = Queue::REAL;
    let fleet = start(vec![group]);
    let mut peer = broker.accept_ready().await;
    for id in 0..60 {
        peer.send(msg(&wait(id))).await;
        until(&fleet, "arrived", |counts| counts.messages_in == u64::from(id) + 1).await;
    }
    let counts = fleet.counts();
    assert_eq!((counts.slow_consumer, counts.overflowed, counts.replies), (0, 0, 0));
}
