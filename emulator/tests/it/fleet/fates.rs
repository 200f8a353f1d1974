//! What the books say of each node, and behaviours as they show on the wire.

use std::collections::BTreeMap;

use emulator::fleet::ledger::Fate;
use emulator::protocol::client::{DISCOVERY_BODY, rpc_body};
use emulator::protocol::filter::Filter;
use emulator::spec::{Behaviour, GroupSpec};

use super::script::{Broker, Peer};
use super::{
    at_once, generate, generate_for, group, msg, patient, request, request_id, start, until, wait,
};

fn behaving(behaviour: Behaviour, broker: &Broker) -> GroupSpec {
    GroupSpec { behaviour, ..group(1, &[broker]) }
}

#[tokio::test]
async fn every_fate_is_seen() {
    let broker = Broker::new().await;
    let plain = group(5, &[&broker]);
    let special = |name: &str, first, behaviour| GroupSpec {
        name: name.to_owned(),
        first,
        ..behaving(behaviour, &broker)
    };
    let silent = special("silent", 5, Behaviour { no_reply: 1.0, ..at_once() });
    let slow = GroupSpec { name: "slow".to_owned(), first: 6, ..patient(1, &[&broker]) };
    let fleet = start(vec![plain, silent, slow]);
    let mut peers: BTreeMap<String, Peer> = BTreeMap::new();
    for _ in 0..7 {
        let mut peer = broker.accept().await;
        let connect = peer.hello().await;
        let name = connect["name"].as_str().unwrap().to_owned();
        if name != "web0.example.net" {
            peer.subscribe().await;
        }
        peers.insert(name, peer);
    }
    until(&fleet, "connected", |counts| counts.connected == 6).await;
    let ledger = fleet.open_ledger(&request_id(1));
    let mut take = |index: u32| peers.remove(&format!("web{index}.example.net")).unwrap();
    let (_never, lost, _untold, mut refused, mut answered) =
        (take(0), take(1), take(2), take(3), take(4));
    let (mut silent, mut slow) = (take(5), take(6));
    let foreign = Filter { identity: vec!["web4.example.net".to_owned()], ..Filter::default() };
    drop(lost);
    refused.send(msg(&generate_for(1, 10, "mcollective.reply.x.y", foreign))).await;
    answered.send(msg(&generate(1, 10))).await;
    silent.send(msg(&generate(1, 10))).await;
    slow.send(msg(&wait(1))).await;
    assert_eq!(answered.reply().await, (1, Some(0), "web4.example.net".to_owned()));
    for peer in [&mut silent, &mut refused, &mut slow] {
        peer.is_silent_and_alive().await;
    }
    until(&fleet, "all known", |counts| counts.replies == 1 && counts.disconnects == 1).await;
    let fates: Vec<_> = (0..8).map(|index| fleet.fate(&ledger, index)).collect();
    let expected = [
        Some(Fate::NeverConnected),
        Some(Fate::Disconnected),
        Some(Fate::NotDelivered),
        Some(Fate::Refused),
        Some(Fate::Answered),
        Some(Fate::Silent),
        Some(Fate::Pending),
        // No such node: it never connected.
        Some(Fate::NeverConnected),
    ];
    assert_eq!(fates, expected);
    assert_eq!((ledger.arrived(), ledger.answered()), (4, 1));
    let counts = fleet.counts();
    assert_eq!((counts.silent, counts.filtered, counts.messages_in), (1, 1, 4));
    let closed = fleet.close_ledger(&request_id(1)).unwrap();
    assert!(std::sync::Arc::ptr_eq(&closed, &ledger));
    assert!(fleet.close_ledger(&request_id(1)).is_none());
}

#[tokio::test]
async fn errors_are_replies_with_a_status_and_only_of_rpc_agents() {
    let broker = Broker::new().await;
    let behaviour = Behaviour { error_reply: 1.0, ..at_once() };
    let fleet = start(vec![behaving(behaviour, &broker)]);
    let mut peer = broker.accept_ready().await;
    peer.send(msg(&generate(1, 10))).await;
    assert_eq!(peer.reply().await.1, Some(1));
    let discovery = request(2, "discovery", DISCOVERY_BODY);
    peer.send(msg(&discovery)).await;
    let (subject, _) = peer.publication().await;
    assert_eq!(subject, "mcollective.reply.x.y");
    let counts = until(&fleet, "both", |counts| counts.replies == 2).await;
    assert_eq!(counts.error_replies, 1);
}

#[tokio::test]
async fn a_share_of_the_requests_gets_no_answer_and_the_rest_does() {
    let broker = Broker::new().await;
    let behaviour = Behaviour { no_reply: 0.5, ..at_once() };
    let fleet = start(vec![behaving(behaviour, &broker)]);
    let mut peer = broker.accept_ready().await;
    let ledgers: Vec<_> = (0..60).map(|id| fleet.open_ledger(&request_id(id))).collect();
    for id in 0..60 {
        peer.send(msg(&generate(id, 10))).await;
    }
    let counts = until(&fleet, "all", |counts| counts.silent + counts.replies == 60).await;
    assert!(counts.silent > 10 && counts.replies > 10, "{counts:?}");
    for (id, ledger) in (0..).zip(&ledgers) {
        match fleet.fate(ledger, 0) {
            Some(Fate::Answered) => assert_eq!(peer.reply().await.0, id),
            fate => assert_eq!(fate, Some(Fate::Silent)),
        }
    }
}

#[tokio::test]
async fn a_node_holds_back_only_so_many_replies() {
    let broker = Broker::new().await;
    let fleet = start(vec![patient(1, &[&broker])]);
    let mut peer = broker.accept_ready().await;
    let first = fleet.open_ledger(&request_id(0));
    let last = fleet.open_ledger(&request_id(1024));
    for id in 0..1025 {
        peer.send(msg(&wait(id))).await;
    }
    let counts = until(&fleet, "one too many", |counts| counts.messages_in == 1025).await;
    assert_eq!((counts.overflowed, counts.replies), (1, 0));
    assert_eq!(fleet.fate(&first, 0), Some(Fate::Pending));
    assert_eq!(fleet.fate(&last, 0), Some(Fate::Refused));
}

#[tokio::test]
async fn an_agent_that_takes_longer_than_it_may_is_given_up() {
    let broker = Broker::new().await;
    let fleet = start(vec![patient(1, &[&broker])]);
    let mut peer = broker.accept_ready().await;
    let ledgers = [1, 2, 3].map(|id| fleet.open_ledger(&request_id(id)));
    peer.send(msg(&request(1, "discovery", DISCOVERY_BODY))).await;
    peer.send(msg(&request(2, "rpcutil", &rpc_body("rpcutil", "ping", &serde_json::json!({})))))
        .await;
    peer.send(msg(&wait(3))).await;
    let counts = until(&fleet, "all in", |counts| counts.messages_in == 3).await;
    assert_eq!((counts.silent, counts.replies), (2, 0));
    let fates = ledgers.map(|ledger| fleet.fate(&ledger, 0));
    assert_eq!(fates, [Some(Fate::Silent), Some(Fate::Silent), Some(Fate::Pending)]);
}
