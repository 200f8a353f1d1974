//! What goes out, in which mode, and when.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use choria_emulator::driver::{BitSet, SendMode, WaveOrder};
use emulator::protocol::client::{DISCOVERY_BODY, RequestDraft, reply_subject};
use emulator::protocol::filter::Filter;
use reports::wave::{WaveKind, WaveMode};

use super::{Rig, caller_id, request_id};
use crate::support::SOON;

const FIVE: [&str; 5] = ["n0.example.net", "n1", "n2", "n3", "n4"];

/// An order with all the time of the world, over all stand-ins but n3.
fn without_n3(rig: &Rig, mode: SendMode) -> WaveOrder {
    let order = rig.order("proper", WaveKind::Request, mode);
    let expected = std::sync::Arc::new(BitSet::of(5, [0, 1, 2, 4]));
    WaveOrder { deadline: SOON, expected, ..order }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_direct_wave_sends_the_same_bytes_to_each_expected_node_in_roster_order() {
    let rig = Rig::start(&FIVE, &[1]).await;
    let order = without_n3(&rig, SendMode::Direct);
    let done = rig.run(vec![order.clone()]).await.remove(0);
    let seen = rig.stand_ins.seen();
    let subjects: Vec<&str> = seen.iter().map(|seen| seen.subject.as_str()).collect();
    let nodes = ["n0.example.net", "n1", "n2", "n4"];
    assert_eq!(subjects, nodes.map(|node| format!("mcollective.node.{node}")));
    assert!(seen.iter().all(|message| message.payload == seen[0].payload));
    assert_eq!((done.result.mode, done.result.on_time), (WaveMode::Direct, 4));
    assert_eq!(done.result.send_delay.count(), 4, "one value a message");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_sends_a_slice_only_when_the_one_before_has_answered() {
    let rig = Rig::start(&FIVE, &[1]).await;
    let sleep = Duration::from_millis(20);
    let order = without_n3(&rig, SendMode::Batch { size: 3, sleep });
    let done = rig.run(vec![order.clone()]).await.remove(0);
    let seen = rig.stand_ins.seen();
    assert_eq!(seen.len(), 4);
    assert!(seen.iter().all(|seen| seen.request["envelope"]["requestid"] == order.request_id));
    assert_eq!(seen[3].subject, "mcollective.node.n4");
    assert_eq!(seen[3].replies_before, 3, "the first slice was awaited");
    assert_eq!((done.result.mode, done.result.on_time, done.unsent), (WaveMode::Batch, 4, 0));
    assert!(done.result.send_delay.histogram().max() >= 20_000, "the pause between the slices");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_node_in_a_batch_costs_its_slice_and_not_the_others() {
    let rig = Rig::start(&FIVE, &[1]).await;
    let mode = SendMode::Batch { size: 1, sleep: Duration::ZERO };
    let order = rig.order("silent", WaveKind::Request, mode);
    let done = rig.run(vec![order]).await.remove(0);
    assert_eq!((done.result.on_time, done.result.missing(), done.unsent), (4, 1, 0));
    assert!(!done.on_time.contains(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_says_who_asks_what_and_when() {
    let rig = Rig::start(&["a"], &[1]).await;
    let unix = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let before = unix();
    let order = rig.order("proper", WaveKind::Request, SendMode::Broadcast);
    let order = WaveOrder { reply_collective: "main".into(), deadline: SOON, ..order };
    rig.run(vec![order.clone()]).await;
    let seen = &rig.stand_ins.seen()[0];
    let envelope = &seen.request["envelope"];
    assert_eq!(seen.subject, "mcollective.broadcast.agent.proper");
    assert_eq!(seen.reply_to, reply_subject("main", &caller_id(1), &order.request_id));
    assert_eq!(envelope["callerid"], caller_id(1));
    assert_eq!(envelope["requestid"], order.request_id);
    assert_eq!(envelope["filter"]["agent"][0], "proper");
    let time = envelope["time"].as_u64().unwrap();
    assert!((before..=unix() + 1).contains(&time), "{before} {time}");
    let transport: serde_json::Value = serde_json::from_slice(&seen.payload).unwrap();
    assert_eq!(transport["headers"]["seen-by"][0][0], rig.broker.url());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wave_whose_instant_has_passed_is_sent_at_once_and_what_it_missed_is_counted() {
    let rig = Rig::start(&["a"], &[1]).await;
    let now = rig.epoch.now();
    let order = WaveOrder {
        intended_at: now / 2,
        deadline: SOON,
        ..rig.order("proper", WaveKind::Request, SendMode::Broadcast)
    };
    let result = rig.run(vec![order]).await.remove(0).result;
    let missed_us = u64::try_from((now / 2).as_micros()).unwrap();
    // Three significant digits.
    let least = missed_us - missed_us / 500;
    assert!(result.send_delay.histogram().min() >= least);
    assert!(result.response_time.histogram().min() >= least);
    assert!(result.service_time.histogram().min() < result.response_time.histogram().min());
    assert_eq!((result.on_time, result.intended_at), (1, now / 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wave_knows_what_the_discovery_before_it_found() {
    let rig = Rig::start(&FIVE, &[1]).await;
    let discovery = rig.order("proper", WaveKind::Discover, SendMode::Broadcast);
    let first = rig.run(vec![WaveOrder { deadline: SOON, ..discovery }]).await.remove(0);
    let request = rig.order("proper", WaveKind::Request, SendMode::Broadcast);
    let second = rig.run(vec![WaveOrder { deadline: SOON, ..request }]).await.remove(0);
    assert_eq!((first.result.discovered, second.result.discovered), (0, 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_discovery_of_a_foreign_network_names_each_node_once() {
    let rig = Rig::start(&FIVE, &[1]).await;
    let draft = RequestDraft {
        caller_id: caller_id(1),
        sender_id: "client.example.net".into(),
        collective: "mcollective".into(),
        agent: "twice".into(),
        ttl_s: 60,
        filter: Filter::default(),
        body: DISCOVERY_BODY.into(),
    };
    let window = Duration::from_secs(1);
    let mut found = rig.driver.discover(&draft, &request_id(), window).await.unwrap();
    found.sort();
    assert_eq!(found, FIVE);

    let named = Filter { identity: vec!["x".into(), "y".into()], ..Filter::default() };
    let draft = RequestDraft { filter: named, ..draft };
    let found = rig.driver.discover(&draft, &request_id(), window).await.unwrap();
    assert_eq!(found, ["x", "y"]);
    assert_eq!(rig.stand_ins.seen().len(), 1, "the filter answered the second one");
}
