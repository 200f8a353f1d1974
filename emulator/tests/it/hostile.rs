//! Recorded requests and replies, damaged at any layer: whatever the bytes, nobody panics, counters
//! stay consistent, and what is answered is what a client accepts.

use crate::captures::lines;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use emulator::machines::Machines;
use emulator::node::{self, AnswerKind, Counters, Desk, Group, NodeView, Profile};
use emulator::protocol::client::{self, ReplyScratch};
use emulator::spec::Behaviour;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;
use std::sync::LazyLock;

/// Pieces that decoders stumble over.
const PIECES: [&str; 16] = [
    "null",
    "{}",
    "[]",
    "\"\"",
    "-0",
    "1e999",
    "9223372036854775808",
    "\\ud800",
    "\\u0000",
    "\"",
    "{\"",
    "[[",
    "\u{0}",
    "\r\n",
    "/(a*)*b/",
    "\u{17f}",
];

static PAYLOADS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let files = ["exchanges.jsonl", "edge-cases.jsonl", "reply-cases.jsonl"];
    let mut payloads = Vec::new();
    for line in files.into_iter().flat_map(lines) {
        let replies = line["replies"].as_array().into_iter().flatten();
        let texts = replies.chain([&line["request"]]).filter_map(|m| m["payload"].as_str());
        payloads.extend(texts.filter(|text| text.len() < 4096).map(str::to_owned));
    }
    payloads
});

static GROUP: LazyLock<Group> = LazyLock::new(|| {
    let server = lines("exchanges.jsonl").swap_remove(0)["server"].take();
    let names = |list: &Value| {
        list.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let profile = Profile {
        name: "hostile".to_owned(),
        identity: "web{index}.example.net".to_owned(),
        collectives: names(&server["collectives"]),
        agents: ["discovery", "rpcutil", "choria_util", "scout", "emulated0"]
            .map(str::to_owned)
            .into(),
        facts: serde_json::json!({ "role": "web", "index": "{index}", "os": {"family": "Debian"} })
            .as_object()
            .unwrap()
            .clone(),
        classes: names(&server["classes"]),
        servers: vec!["nats://127.0.0.1:4222".to_owned()],
        ..Profile::default()
    };
    Group::with_profile(profile, Behaviour::default()).unwrap()
});

#[derive(Debug, Clone)]
enum Edit {
    Set(Index, u8),
    Cut(Index, u8),
    Repeat(Index, u8),
    Insert(Index, Index),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        (any::<Index>(), 1u8..40).prop_map(|(at, length)| Edit::Cut(at, length)),
        (any::<Index>(), 1u8..40).prop_map(|(at, length)| Edit::Repeat(at, length)),
        (any::<Index>(), any::<Index>()).prop_map(|(at, piece)| Edit::Insert(at, piece)),
    ];
    prop::collection::vec(edit, 1..4)
}

fn damage(bytes: &mut Vec<u8>, edits: &[Edit]) {
    for edit in edits.iter().filter(|_| !bytes.is_empty()).cloned().collect::<Vec<_>>() {
        let length = bytes.len().max(1);
        let span = |at: usize, span: u8| at..bytes.len().min(at + usize::from(span));
        match edit {
            Edit::Set(at, byte) => bytes.splice(span(at.index(length), 1), [byte]).for_each(drop),
            Edit::Cut(at, cut) => bytes.drain(span(at.index(length), cut)).for_each(drop),
            Edit::Repeat(at, length_repeated) => {
                let at = at.index(length);
                let again = bytes[span(at, length_repeated)].to_vec();
                bytes.splice(at..at, again).for_each(drop);
            }
            Edit::Insert(at, piece) => {
                let at = at.index(length);
                bytes.splice(at..at, piece.get(&PIECES).bytes()).for_each(drop);
            }
        }
    }
}

/// Damages a payload at a layer: 0 the transport, 1 the secure document, 2 the request or reply,
/// 3 the body. A payload without that layer is damaged as it is.
fn damaged(payload: &str, layer: u8, edits: &[Edit]) -> Vec<u8> {
    damage_layer(payload, layer, edits).unwrap_or_else(|| {
        let mut bytes = payload.as_bytes().to_vec();
        damage(&mut bytes, edits);
        bytes
    })
}

fn damage_layer(payload: &str, layer: u8, edits: &[Edit]) -> Option<Vec<u8>> {
    if layer == 0 {
        return None;
    }
    let mut transport: Value = serde_json::from_str(payload).ok()?;
    let mut secure = STANDARD.decode(transport["data"].as_str()?).ok()?;
    if layer == 1 {
        damage(&mut secure, edits);
    } else {
        let mut document: Value = serde_json::from_slice(&secure).ok()?;
        let mut message = document["message"].as_str()?.as_bytes().to_vec();
        if layer == 2 {
            damage(&mut message, edits);
        } else {
            let mut request: Value = serde_json::from_slice(&message).ok()?;
            let mut body = request["message"].as_str()?.as_bytes().to_vec();
            damage(&mut body, edits);
            request["message"] = String::from_utf8_lossy(&body).into();
            message = request.to_string().into_bytes();
        }
        document["message"] = String::from_utf8_lossy(&message).into();
        secure = document.to_string().into_bytes();
    }
    transport["data"] = STANDARD.encode(secure).into();
    Some(transport.to_string().into_bytes())
}

/// The clock of the recording, so that requests are in time.
fn clock(payload: &[u8]) -> i64 {
    let mut secure = Vec::new();
    let transport: Value = serde_json::from_slice(payload).unwrap_or_default();
    let _ = STANDARD.decode_vec(transport["data"].as_str().unwrap_or_default(), &mut secure);
    let text = String::from_utf8_lossy(&secure);
    let digits = text.split("\\\"time\\\":").nth(1).unwrap_or_default();
    let digits: String = digits.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(1_795_413_316)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn nodes_survive_damaged_messages(
        which in any::<Index>(), layer in 0u8..4, edits in edits(), error in any::<bool>(),
    ) {
        let payload = damaged(which.get::<String>(&PAYLOADS), layer, &edits);
        let now = clock(&payload);
        let mut counters = Counters::default();
        let identity = GROUP.identity(1);
        let mut node = NodeView {
            group: &GROUP,
            index: 1,
            identity: &identity,
            broker: "nats://127.0.0.1:4222",
            counters: &mut counters,
            started_unix: now,
            machines: &mut Machines::default(),
        };
        let opened = Desk::default().open(&payload);
        let judged = node::judge(&mut node, &opened, now);
        let kind = if error { AnswerKind::Error } else { AnswerKind::Normal };
        let mut out = Vec::new();
        let composed = judged.and_then(|()| node::compose(&mut node, &opened, kind, now, &mut out));
        prop_assert_eq!(composed.is_ok(), !out.is_empty());
        if composed.is_ok() {
            let subject = opened.reply_to().unwrap_or_default();
            prop_assert!(!subject.contains([' ', '\t', '\r', '\n']) && !subject.is_empty());
            let mut scratch = ReplyScratch::default();
            let reply = client::decode_reply(&out, &mut scratch).unwrap();
            prop_assert_eq!(&*reply.sender_id, &identity);
            prop_assert_eq!(Some(&*reply.request_id), opened.request_id());
        }
        let Counters { total, validated, unvalidated, filtered, ttl_expired, .. } = counters;
        prop_assert_eq!(total, 1);
        prop_assert_eq!(validated + unvalidated + filtered + ttl_expired, 1);
        prop_assert!(counters.replies >= u32::from(composed.is_ok()));
    }

    #[test]
    fn clients_survive_damaged_messages(which in any::<Index>(), layer in 0u8..4, edits in edits()) {
        let payload = damaged(which.get::<String>(&PAYLOADS), layer, &edits);
        let mut scratch = ReplyScratch::default();
        let accepted = client::decode_reply(&payload, &mut scratch).is_ok();
        let named = client::decode_discovery_sender(&payload, &mut scratch).is_ok();
        // What RPC accepts, discovery, which looks less closely, accepts too.
        prop_assert!(named || !accepted);
    }

    #[test]
    fn any_bytes_are_silence(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut scratch = ReplyScratch::default();
        prop_assert!(client::decode_reply(&bytes, &mut scratch).is_err());
        prop_assert!(Desk::default().open(&bytes).request_id().is_none());
    }
}
