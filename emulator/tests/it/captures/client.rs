//! Odd replies, given to the real client, given to ours: the same tally.

use super::lines;
use emulator::protocol::client::{self, ReplyError, ReplyScratch};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What the client's deadline was for `req`; discovery and ping waited 2 s (captures' README).
const DEADLINE_S: f64 = 4.0;

#[derive(Default)]
struct Tally {
    ok: u64,
    failed: u64,
    responses: BTreeSet<String>,
    unexpected: Vec<String>,
    crashed: bool,
}

/// Counts replies as the real client does (protocol document 14, "client tally").
fn tally(case: &Value) -> Tally {
    let mut tally = Tally::default();
    let mut scratch = ReplyScratch::default();
    let mut waiting: BTreeSet<String> = names(&case["expected_nodes"]).into_iter().collect();
    for reply in case["replies"].as_array().unwrap() {
        if reply["delay_s"].as_f64().unwrap() > DEADLINE_S {
            continue;
        }
        match client::decode_reply(&payload(reply), &mut scratch) {
            Err(ReplyError::HeadersNull) => tally.crashed = true,
            Err(_) => tally.failed += 1,
            Ok(reply) => {
                if reply.is_ok() {
                    tally.ok += 1;
                } else {
                    tally.failed += 1;
                }
                if waiting.remove(&*reply.sender_id) {
                    tally.responses.insert(reply.sender_id.into_owned());
                } else {
                    tally.unexpected.push(reply.sender_id.into_owned());
                }
            }
        }
    }
    tally
}

fn names(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// The payload, built where the line only describes it.
fn payload(reply: &Value) -> Vec<u8> {
    if let Some(payload) = reply["payload"].as_str() {
        return payload.as_bytes().to_vec();
    }
    assert_eq!(reply["payload_omitted"], "data.pad is 400,000 times the letter p");
    let body = json!({ "action": "ping", "statuscode": 0, "statusmsg": "OK",
        "data": { "pad": "p".repeat(400_000) } });
    let document = json!({ "protocol": "choria:reply:1", "message": body.to_string(),
        "envelope": { "requestid": "0".repeat(32), "senderid": "node1.example.net",
            "agent": "rpcutil", "time": 1 } });
    super::transport_of(&document.to_string())
}

#[test]
fn every_recorded_reply_is_counted_as_the_real_client_counts_it() {
    let (mut requests, mut discoveries, mut different) = (0, 0, Vec::new());
    for case in lines("reply-cases.jsonl") {
        let id = case["id"].as_str().unwrap().to_owned();
        if case["expected_nodes"].is_null() {
            discoveries += 1;
            let (printed, seen) = discovery(&case);
            if printed != seen {
                different.push(format!("{id}\n  real: {printed:?}\n  ours: {seen:?}"));
            }
            continue;
        }
        requests += 1;
        let tally = tally(&case);
        let expected = names(&case["expected_nodes"]);
        let missing: Vec<_> =
            expected.iter().filter(|name| !tally.responses.contains(*name)).collect();
        let ours = if tally.crashed {
            json!({ "crashed": true })
        } else {
            json!({ "no_responses": missing, "unexpected_responses": tally.unexpected,
                "discovered": expected.len(), "failed": tally.failed, "ok": tally.ok,
                "responses": tally.responses.len() })
        };
        let real = match case["client"]["crashed"].as_bool() {
            Some(true) => json!({ "crashed": true }),
            _ => case["client"]["stats"].clone(),
        };
        if ours != real {
            different.push(format!("{id}\n  real: {real}\n  ours: {ours}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
    assert_eq!((requests, discoveries), (39, 8));
}

/// Names printed by the real client's discovery or ping, and names that ours finds.
fn discovery(case: &Value) -> (Vec<String>, Vec<String>) {
    let printed = case["client"]["printed"].as_str().unwrap();
    let ping = case["command"].as_str().unwrap().starts_with("choria ping");
    let named = |line: &str| line.split("  ").next().unwrap_or_default().trim().to_owned();
    let printed = match ping {
        true => printed.lines().take_while(|line| line.contains("time=")).map(named).collect(),
        false => printed.lines().map(named).collect(),
    };
    let mut scratch = ReplyScratch::default();
    let on_time = |reply: &&Value| reply["delay_s"].as_f64().unwrap() <= 2.0;
    let seen = case["replies"].as_array().unwrap().iter().filter(on_time).filter_map(|reply| {
        let payload = payload(reply);
        client::decode_discovery_sender(&payload, &mut scratch).ok().map(|name| name.into_owned())
    });
    (printed, seen.collect())
}
