//! Brokers that talk nonsense, and strangers whose requests are none.

use emulator::fleet::ledger::Fate;
use emulator::protocol::filter::{FactFilter, Filter};
use futures_util::future::join_all;

use super::script::{Broker, INFO};
use super::{generate, generate_for, group, msg, request_id, start, until};

#[tokio::test]
async fn nonsense_in_the_place_of_info_is_left_at_once_and_tried_again() {
    let nonsense: [&[u8]; 7] = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"INFO nonsense\r\n",
        b"\x00\xff\xfe",
        b"SSH-2.0-OpenSSH_9.2",
        b"PONG\r\n",
        b"MSG a 1 1\r\nx\r\n",
        b"\r\n",
    ];
    join_all(nonsense.map(|bytes| async move {
        let broker = Broker::new().await;
        let fleet = start(vec![group(1, &[&broker])]);
        let mut peer = broker.accept().await;
        peer.send(bytes).await;
        peer.closed().await;
        let counts = until(&fleet, "left", |counts| counts.handshake_failures == 1).await;
        assert_eq!((counts.protocol_errors, counts.messages_in, counts.bytes_out), (1, 0, 0));
        broker.accept_ready().await;
        until(&fleet, "connected", |counts| counts.ever_connected == 1).await;
    }))
    .await;
}

#[tokio::test]
async fn a_message_before_the_connection_is_complete_is_no_protocol() {
    let broker = Broker::new().await;
    let fleet = start(vec![group(1, &[&broker])]);
    let mut peer = broker.accept().await;
    peer.hello().await;
    peer.send(msg(&generate(1, 10))).await;
    peer.closed().await;
    let counts = until(&fleet, "left", |counts| counts.handshake_failures == 1).await;
    assert_eq!((counts.protocol_errors, counts.messages_in, counts.replies), (1, 0, 0));
}

#[tokio::test]
async fn nonsense_on_a_complete_connection_costs_the_connection_not_the_node() {
    let long = format!("INFO {}", "x".repeat(65 * 1024));
    let nonsense: [&[u8]; 7] = [
        b"GARBAGE\r\n",
        b"\x80\x81\x82\x83",
        b"MSG a 1 x\r\n",
        b"MSG a 1 99999999999\r\n",
        b"MSG a 1 3\r\nabcde\r\n",
        b"HMSG a 1 5 3\r\nabc\r\n",
        long.as_bytes(),
    ];
    join_all(nonsense.map(|bytes| async move {
        let broker = Broker::new().await;
        let fleet = start(vec![group(1, &[&broker])]);
        let mut peer = broker.accept_ready().await;
        until(&fleet, "connected", |counts| counts.connected == 1).await;
        peer.send(bytes).await;
        peer.closed().await;
        let counts = until(&fleet, "left", |counts| counts.disconnects == 1).await;
        assert_eq!((counts.protocol_errors, counts.connected, counts.subscriptions), (1, 0, 0));
        let mut peer = broker.accept_ready().await;
        peer.send(msg(&generate(2, 10))).await;
        assert_eq!(peer.reply().await.0, 2);
        assert_eq!(fleet.counts().reconnects, 1);
    }))
    .await;
}

#[tokio::test]
async fn requests_that_are_none_are_counted_and_kept_silent_about() {
    let broker = Broker::new().await;
    let fleet = start(vec![group(1, &[&broker])]);
    let mut peer = broker.accept_ready().await;
    let good = generate(1, 10);
    let mut not_text = good.clone();
    not_text[40] = 0xff;
    let large = vec![b'{'; 1 << 20];
    let bad: [&[u8]; 7] =
        [b"", b"garbage", &good[..good.len() / 2], &not_text, &large, b"\r\nPUB x 1\r\n", b"{}"];
    for payload in bad {
        peer.send(msg(payload)).await;
    }
    peer.send(msg(&good)).await;
    assert_eq!(peer.reply().await.0, 1);
    let counts = until(&fleet, "counted", |counts| counts.replies == 1).await;
    assert_eq!((counts.messages_in, counts.refused), (8, 7));
    assert_eq!((counts.disconnects, counts.protocol_errors), (0, 0));
}

#[tokio::test]
async fn replies_that_must_not_be_written_are_not() {
    let broker = Broker::new().await;
    let fleet = start(vec![group(1, &[&broker])]);
    let mut peer = broker.accept().await;
    peer.hello_with(&INFO.replace("1048576", "2000")).await;
    peer.subscribe().await;
    let subjects = ["a b", "a\r\nPUB choria.x 0\r\n", "a\nb", "a\tb", "", " "];
    let mut ledgers = Vec::new();
    for (id, subject) in (1..).zip(subjects) {
        ledgers.push(fleet.open_ledger(&request_id(id)));
        peer.send(msg(&generate_for(id, 10, subject, Filter::default()))).await;
    }
    // Larger than the broker takes.
    ledgers.push(fleet.open_ledger(&request_id(50)));
    peer.send(msg(&generate(50, 4000))).await;
    peer.send(msg(&generate(100, 10))).await;
    assert_eq!(peer.reply().await.0, 100);
    let counts = until(&fleet, "counted", |counts| counts.replies == 1).await;
    assert_eq!((counts.unpublishable, counts.refused), (7, 0));
    for ledger in ledgers {
        assert_eq!(fleet.fate(&ledger, 0), Some(Fate::Refused));
    }
    // A later INFO may allow more.
    peer.send(INFO).await;
    peer.send(msg(&generate(101, 4000))).await;
    assert_eq!(peer.reply().await.0, 101);
}

#[tokio::test]
async fn a_request_larger_than_the_broker_takes_is_answered_where_one_comes_all_the_same() {
    let broker = Broker::new().await;
    let _fleet = start(vec![group(1, &[&broker])]);
    let mut peer = broker.accept().await;
    peer.hello_with(&INFO.replace("1048576", "2000")).await;
    peer.subscribe().await;
    // The limit is for those who publish; what came is there.
    let mut large = generate(1, 10);
    large.resize(3 << 20, b' ');
    peer.send(msg(&large)).await;
    assert_eq!(peer.reply().await.0, 1);
}

#[tokio::test]
async fn expressions_built_to_explode_match_nobody_and_hold_nobody_up() {
    let broker = Broker::new().await;
    let fleet = start(vec![group(1, &[&broker])]);
    let mut peer = broker.accept_ready().await;
    let nested = |inner: &str| format!("/{}{inner}{}/", "(".repeat(90), "+)".repeat(90));
    let bad = [
        "/(a*)*q/".to_owned(),
        "/^(([a-z])+.)+[0-9]([a-z])+$/".to_owned(),
        "/((a{0,1000}){0,1000}){0,1000}/".to_owned(),
        format!("/{}nobody/", r"\pL{1000}".repeat(10)),
        format!("/{}{}q/", "a?".repeat(500), "a".repeat(500)),
        nested("q"),
    ];
    for (id, expression) in (0..).zip(&bad) {
        let filter = Filter { identity: vec![expression.clone()], ..Filter::default() };
        peer.send(msg(&generate_for(id, 10, "mcollective.reply.x.y", filter))).await;
    }
    peer.send(msg(&generate(100, 10))).await;
    assert_eq!(peer.reply().await.0, 100);
    let counts = until(&fleet, "counted", |counts| counts.replies == 1).await;
    assert_eq!((counts.filtered, counts.replies, counts.refused), (6, 1, 0));
}

#[tokio::test]
async fn facts_of_a_megabyte_are_looked_into_and_shown_as_far_as_a_message_holds_them() {
    let mut many: serde_json::Map<_, _> =
        (0..10_000).map(|n| (format!("fact{n}"), format!("{n:090}").into())).collect();
    many.insert("text".to_owned(), "x".repeat(200_000).into());
    let facts = serde_json::json!({ "many": many, "role": "web", "index": "{index}" });
    assert!(facts.to_string().len() > 1 << 20);
    let broker = Broker::new().await;
    let mut group = group(3, &[&broker]);
    group.facts = facts.as_object().unwrap().clone();
    let fleet = start(vec![group]);
    let mut peers = Vec::new();
    for _ in 0..3 {
        peers.push(broker.accept_ready().await);
    }
    let ask = |id, action: &str, data| {
        let data = serde_json::json!({"agent": "rpcutil", "action": action, "data": data});
        msg(&super::request(id, "rpcutil", &data.to_string()))
    };
    let fact = |name: &str, operator: &str, value: String| Filter {
        fact: vec![FactFilter { fact: name.to_owned(), operator: operator.to_owned(), value }],
        ..Filter::default()
    };
    let to = "mcollective.reply.x.y";
    for peer in &mut peers {
        peer.send(ask(1, "get_fact", serde_json::json!({"fact": "role"}))).await;
        let (id, status, _) = peer.reply().await;
        assert_eq!((id, status), (1, Some(0)));
        // The whole of it is more than the broker takes in one message.
        peer.send(ask(2, "inventory", serde_json::json!({}))).await;
        let deep = fact("many.fact9999", "==", format!("{:090}", 9999));
        peer.send(msg(&generate_for(3, 10, to, deep))).await;
        assert_eq!(peer.reply().await.0, 3);
        let long = fact("many.text", "=~", "/(x+x+)+y/".to_owned());
        peer.send(msg(&generate_for(4, 10, to, long))).await;
        peer.send(msg(&generate(5, 10))).await;
        assert_eq!(peer.reply().await.0, 5);
    }
    let counts = until(&fleet, "counted", |counts| counts.replies == 9).await;
    assert_eq!((counts.unpublishable, counts.filtered), (3, 3));
}
