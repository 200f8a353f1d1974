//! Every message on a reply subject is counted in the right column.

use std::time::Duration;

use choria_emulator::driver::{SendMode, WaveDone, WaveOrder};
use reports::wave::{WaveKey, WaveKind, WaveResult};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Rig, caller_id};
use crate::support::SOON;

/// on time, late, missing, duplicate, unexpected, errors, undecodable
type Columns = [u64; 7];

fn columns(done: &WaveDone) -> Columns {
    let result = &done.result;
    let WaveResult { on_time, late, duplicate, unexpected, errors, undecodable, .. } = *result;
    [on_time, late, result.missing(), duplicate, unexpected, errors, undecodable]
}

const PROPER: Columns = [2, 0, 0, 0, 0, 0, 0];
const MISSING: Columns = [1, 0, 1, 0, 0, 0, 0];
const UNDECODABLE: Columns = [1, 0, 1, 0, 0, 0, 1];

/// What the first of two stand-ins does, and the columns as a request and as a discovery, for which
/// only the transport counts.
const HABITS: &[(&str, Columns, Columns)] = &[
    ("proper", PROPER, PROPER),
    ("silent", MISSING, MISSING),
    ("late", [1, 1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0]),
    ("twice", [2, 0, 0, 1, 0, 0, 0], [2, 0, 0, 1, 0, 0, 0]),
    ("garbage", UNDECODABLE, UNDECODABLE),
    ("empty", UNDECODABLE, UNDECODABLE),
    ("truncated", UNDECODABLE, UNDECODABLE),
    ("huge-garbage", UNDECODABLE, UNDECODABLE),
    ("huge", PROPER, PROPER),
    ("not-utf8", UNDECODABLE, PROPER),
    ("wrong-hash", UNDECODABLE, PROPER),
    ("stranger", [1, 0, 1, 0, 1, 0, 0], [1, 0, 1, 0, 1, 0, 0]),
    ("error", [2, 0, 0, 0, 0, 1, 0], PROPER),
    ("no-rpc-body", [2, 0, 0, 0, 0, 1, 0], PROPER),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_goes_into_its_column() {
    let rig = Rig::start(&["odd.example.net", "good.example.net"], &[1]).await;
    let mut orders = Vec::new();
    for (habit, ..) in HABITS {
        for kind in [WaveKind::Request, WaveKind::Discover] {
            let order = rig.order(habit, kind, SendMode::Broadcast);
            orders.push(WaveOrder { late_grace: SOON, ..order });
        }
    }
    // Who never answers keeps a wave listening for late replies: not in this many.
    for order in &mut orders {
        if order.key.name != "late" {
            order.late_grace = Duration::ZERO;
        }
    }
    // All at once: waves that overlap do not see each other's replies.
    let all = rig.run(orders).await;
    assert_eq!(all.len(), HABITS.len() * 2);
    for done in &all {
        let habit = HABITS.iter().find(|(habit, ..)| *habit == done.key.name).unwrap();
        let expected = if done.result.kind == WaveKind::Request { habit.1 } else { habit.2 };
        let shown = format!("{} {:?} {:?}", habit.0, done.result.kind, done.samples);
        assert_eq!(columns(done), expected, "{shown}");
        assert_eq!(done.on_time.count(), done.result.on_time, "{shown}");
        assert_eq!(done.late.count(), done.result.late, "{shown}");
        assert!(done.on_time.contains(1), "the good one is on time: {shown}");
        assert_eq!(done.late.contains(0), done.result.late == 1, "{shown}");
        assert_eq!(done.samples.undecodable.len() as u64, done.result.undecodable, "{shown}");
        assert_eq!(done.reply_offsets_ns.len() as u64, done.result.on_time + done.result.late);
        assert_eq!(done.result.response_time.count(), done.result.on_time + done.result.late);
        assert_eq!((done.unsent, done.interrupted, &done.failure), (0, false, &None), "{shown}");
        if habit.0 == "stranger" {
            assert_eq!(done.samples.unexpected, ["stranger.example.net"]);
        }
    }
    assert_eq!(rig.driver.incidents(), (Vec::new(), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wave_that_expects_nobody_listens_until_its_deadline_and_counts_who_answers() {
    let rig = Rig::start(&["a.example.net", "b.example.net"], &[1]).await;
    let mut order = rig.order("proper", WaveKind::Request, SendMode::Broadcast);
    order.expected = std::sync::Arc::new(choria_emulator::driver::BitSet::new(2));
    let all = rig.run(vec![order]).await;
    assert_eq!(columns(&all[0]), [0, 0, 0, 0, 2, 0, 0]);
    assert!(all[0].result.request_duration >= Duration::from_millis(1_500));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_after_the_last_expected_reply_is_counted_and_is_in_no_timing() {
    let rig = Rig::start(&["a", "b"], &[1]).await;
    let order = rig.order("proper", WaveKind::Request, SendMode::Broadcast);
    let order = WaveOrder { deadline: SOON * 10, linger: SOON * 10, ..order };
    let (sink, mut done) = mpsc::channel(1);
    let cancel = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let (driver, until) = (rig.driver.clone(), cancel.clone());
    tasks.spawn(async move { driver.run(vec![order], sink, until).await });
    // What is settled has passed through the connection on which the replies arrive.
    rig.stand_ins.answered(1).await;
    rig.driver.settle(SOON).await.unwrap();
    rig.stand_ins.answer_again(&rig.stand_ins.seen()[0], &["a", "stranger", "b", "b"]).await;
    rig.driver.settle(SOON).await.unwrap();
    cancel.cancel();
    let done = done.recv().await.unwrap();
    assert_eq!(columns(&done), [2, 0, 0, 3, 1, 0, 0]);
    assert_eq!((done.interrupted, &done.failure), (false, &None), "everybody had answered");
    assert_eq!((done.result.response_time.count(), done.reply_offsets_ns.len()), (2, 2));
    let last = Duration::from_nanos(done.reply_offsets_ns[1]);
    assert_eq!(done.result.request_duration, last);
    assert!(matches!(tasks.join_next().await, Some(Ok(Ok(_)))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_complete_wave_lingers_as_long_as_it_is_told_and_not_beyond_the_grace() {
    let rig = Rig::start(&["a", "b"], &[1]).await;
    let order = || rig.order("proper", WaveKind::Request, SendMode::Broadcast);
    let (linger, late_grace) = (Duration::from_millis(1), SOON);
    let short = WaveOrder { deadline: SOON * 10, linger, late_grace, ..order() };
    let bounded = WaveOrder { linger: SOON * 10, late_grace: Duration::ZERO, ..order() };
    let all = tokio::time::timeout(SOON, rig.run(vec![short, bounded])).await.unwrap();
    assert!(all.iter().all(|done| !done.interrupted && done.failure.is_none()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_clients_at_the_same_instant_each_get_everything() {
    let identities: Vec<String> = (0..50).map(|number| format!("n{number}.example.net")).collect();
    let identities: Vec<&str> = identities.iter().map(String::as_str).collect();
    // The last two share their replies among three connections, as the real client does.
    let rig = Rig::start(&identities, &[1, 1, 1, 1, 3, 3]).await;
    let at = rig.order("proper", WaveKind::Request, SendMode::Broadcast).intended_at;
    let orders = (1..=6).map(|client| {
        let mut order = rig.order("proper", WaveKind::Request, SendMode::Broadcast);
        order.intended_at = at;
        order.key = WaveKey { client, ..order.key };
        std::sync::Arc::make_mut(&mut order.draft).caller_id = caller_id(client);
        WaveOrder { deadline: SOON, ..order }
    });
    let mut all = rig.run(orders.collect()).await;
    all.sort_by_key(|done| done.key.client);
    for (client, done) in (1..).zip(&all) {
        assert_eq!(done.key.client, client);
        assert_eq!(columns(done), [50, 0, 0, 0, 0, 0, 0], "client {client}");
        assert_eq!(done.result.intended_at, at);
    }
    let callers: std::collections::BTreeSet<_> = rig
        .stand_ins
        .seen()
        .iter()
        .map(|seen| seen.request["envelope"]["callerid"].as_str().unwrap().to_owned())
        .collect();
    assert!(callers.into_iter().eq((1..=6).map(caller_id)));
}
