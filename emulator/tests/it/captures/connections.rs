//! The conversations of the real client with its broker: what ours writes for the same ping, and reads.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use emulator::protocol::client::{self, ReplyScratch, RequestDraft};
use emulator::protocol::filter::Filter;
use emulator::protocol::request::Request;
use serde_json::Value;

use super::lines;

const CALLER: &str = "choria=ops1.example.net";

/// All that one side of a conversation wrote.
fn written(conversation: &Value, from: &str) -> String {
    let steps = conversation["conversation"].as_array().unwrap().iter();
    steps.filter(|step| step["from"] == from).map(|step| step["bytes"].as_str().unwrap()).collect()
}

#[test]
fn a_ping_of_ours_is_that_of_the_real_client_byte_for_byte_and_its_answers_are_read() {
    let recorded: BTreeMap<String, Value> = lines("connections.jsonl")
        .into_iter()
        .map(|line| (line["name"].as_str().unwrap().to_owned(), line))
        .collect();
    let names: Vec<&str> = recorded.keys().map(String::as_str).collect();
    // The two of a server are replayed on nodes (`fleet::handshake`, `fleet::lifecycle`).
    let expected = [
        "client-ping-publisher",
        "client-ping-receiver0",
        "client-ping-receiver1",
        "client-ping-receiver2",
        "server-start",
        "server-stop",
    ];
    assert_eq!(names, expected);

    let publisher = written(&recorded["client-ping-publisher"], "peer");
    let publication = publisher.split("\r\n").skip_while(|line| !line.starts_with("PUB "));
    let [head, payload] = publication.take(2).collect::<Vec<_>>()[..] else {
        panic!("{publisher}")
    };
    let request = Request::decode(payload.as_bytes()).unwrap();
    let id = &request.request_id;
    let draft = RequestDraft {
        caller_id: CALLER.to_owned(),
        sender_id: "ops1.example.net".to_owned(),
        collective: "web".to_owned(),
        agent: "discovery".to_owned(),
        ttl_s: 60,
        filter: Filter::default(),
        body: STANDARD.encode("ping"),
    };
    let reply_to = client::reply_subject("web", CALLER, id);
    let broker = "nats://127.0.0.1:14230";
    let ours = client::encode_request(&draft, id, &reply_to, broker, request.time_unix);
    assert_eq!(String::from_utf8(ours).unwrap(), payload);
    let subject = client::broadcast_subject("web", "discovery");
    assert_eq!(head, format!("PUB {subject} {}", payload.len()));

    let mut heard = Vec::new();
    for receiver in 0..3 {
        let conversation = &recorded[&format!("client-ping-receiver{receiver}")];
        // All of them share the replies in a queue group that is called after the caller.
        let subscription = format!("\r\nSUB {reply_to} {CALLER} 1\r\nPING\r\n");
        assert!(written(conversation, "peer").contains(&subscription));
        let told = written(conversation, "broker");
        for message in told.split("MSG ").skip(1) {
            let (head, rest) = message.split_once("\r\n").unwrap();
            let (subject, size) = head.rsplit_once(' ').unwrap();
            assert_eq!(subject, format!("{reply_to} 1"));
            let payload = &rest.as_bytes()[..size.parse::<usize>().unwrap()];
            let mut scratch = ReplyScratch::default();
            let sender = client::decode_discovery_sender(payload, &mut scratch).unwrap();
            heard.push(sender.into_owned());
        }
    }
    heard.sort();
    assert_eq!(heard, ["web1.example.net", "web3.example.net"]);
}
