//! A clock that jumps: it moves what messages say and which of them are in time, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use emulator::fleet::Fleet;
use emulator::fleet::ledger::Fate;
use emulator::spec::{Behaviour, Clock, Delay, Events, FleetSpec, GroupSpec, Lifecycle};

use super::script::Broker;
use super::{at_once, generate, group, msg, request_id, spec, until};

const DAY: i64 = 24 * 3600;
const YEAR: i64 = 365 * DAY;

/// A clock that shows the true time, plus what is added to it.
fn clock() -> (Clock, Arc<AtomicI64>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let hand = Arc::new(AtomicI64::new(i64::try_from(now).unwrap()));
    (Clock::Set(Arc::clone(&hand)), hand)
}

fn start(group: GroupSpec, clock: Clock) -> Fleet {
    Fleet::start(FleetSpec { clock, ..spec(vec![group]) }).unwrap()
}

#[tokio::test]
async fn requests_are_judged_by_the_clock_as_it_stands() {
    let broker = Broker::new().await;
    let (clock, hand) = clock();
    let fleet = start(group(1, &[&broker]), clock);
    let mut peer = broker.accept_ready().await;
    // Made now, with an hour to live.
    for (id, jump, in_time) in [
        (1, 0, true),
        (2, 1800, true),
        (3, DAY, false),
        (4, -DAY, true),
        (5, -DAY, false),
        (6, -YEAR, false),
        (7, YEAR + DAY - 1800, true),
    ] {
        hand.fetch_add(jump, Ordering::Relaxed);
        let ledger = fleet.open_ledger(&request_id(id));
        peer.send(msg(&generate(id, 10))).await;
        until(&fleet, "in", |counts| counts.messages_in == u64::from(id)).await;
        if in_time {
            assert_eq!(peer.reply().await.0, id, "after {jump} s");
        } else {
            assert_eq!(fleet.fate(&ledger, 0), Some(Fate::Refused), "after {jump} s");
        }
    }
    let counts = until(&fleet, "counted", |counts| counts.replies == 4).await;
    assert_eq!((counts.ttl_expired, counts.disconnects), (3, 0));
}

#[tokio::test]
async fn what_is_due_keeps_its_time_whatever_the_clock_does() {
    const DELAY: Duration = Duration::from_millis(300);
    let broker = Broker::new().await;
    let (clock, hand) = clock();
    let events = Events {
        startup: false,
        alive: true,
        shutdown: false,
        alive_every: Duration::from_millis(100),
        machines: false,
    };
    let behaviour = Behaviour { reply_delay: Delay::Fixed(DELAY), ..at_once() };
    let lifecycle = Lifecycle { events, ..Lifecycle::SILENT };
    let fleet = start(GroupSpec { behaviour, lifecycle, ..group(1, &[&broker]) }, clock);
    let mut peer = broker.accept_ready().await;
    let until_reply = async |peer: &mut super::script::Peer| {
        loop {
            let (subject, payload) = peer.publication().await;
            if subject.ends_with(".x.y") {
                return String::from_utf8(payload).unwrap();
            }
        }
    };
    for (id, jump) in [(1, YEAR), (2, -2 * YEAR), (3, YEAR)] {
        let sent = Instant::now();
        peer.send(msg(&generate(id, 10))).await;
        until(&fleet, "in", |counts| counts.messages_in == u64::from(id)).await;
        // While the reply waits.
        hand.fetch_add(jump, Ordering::Relaxed);
        let before = fleet.counts().alive_events;
        until_reply(&mut peer).await;
        assert!(sent.elapsed() >= DELAY, "{:?}", sent.elapsed());
        // Neither a year of events at once nor none for a year.
        let sent_meanwhile = fleet.counts().alive_events - before;
        let periods = sent.elapsed().as_millis() / 100 + 2;
        assert!(u128::from(sent_meanwhile) <= periods, "{sent_meanwhile} in {periods} periods");
        until(&fleet, "one more", |counts| counts.alive_events > before).await;
        hand.fetch_sub(jump, Ordering::Relaxed);
    }
    let counts = fleet.counts();
    assert_eq!((counts.disconnects, counts.ttl_expired, counts.lost_unconnected), (0, 0, 0));
}

#[tokio::test]
async fn a_jump_while_there_is_no_connection_is_survived() {
    for jump in [YEAR, -YEAR] {
        let broker = Broker::new().await;
        let (clock, hand) = clock();
        let delay = Delay::Fixed(Duration::from_millis(200));
        let behaviour = Behaviour { reply_delay: delay, ..at_once() };
        let fleet = start(GroupSpec { behaviour, ..group(1, &[&broker]) }, clock);
        let mut peer = broker.accept_ready().await;
        until(&fleet, "connected", |counts| counts.connected == 1).await;
        peer.send(msg(&generate(1, 10))).await;
        until(&fleet, "in", |counts| counts.messages_in == 1).await;
        drop(peer);
        hand.fetch_add(jump, Ordering::Relaxed);
        let mut peer = broker.accept().await;
        peer.hello().await;
        peer.send("PONG\r\n").await;
        for _ in 0..super::SUBSCRIPTIONS {
            assert!(peer.line().await.starts_with("SUB "));
        }
        assert_eq!(peer.reply().await.0, 1);
        // Back in time for another.
        hand.fetch_sub(jump, Ordering::Relaxed);
        peer.send("PONG\r\nPONG\r\n").await;
        until(&fleet, "connected", |counts| counts.connected == 1).await;
        peer.send(msg(&generate(2, 10))).await;
        assert_eq!(peer.reply().await.0, 2);
    }
}
