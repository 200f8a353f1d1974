//! What the real client printed, beside what our client reads in the replies that it was given: the
//! same nodes, statuses and data.

use std::collections::{BTreeMap, BTreeSet};

use emulator::fidelity::{Case, RECORDINGS, parse, reply_body, reply_time_unix};
use emulator::lifecycle::event::Kind;
use emulator::protocol::client::{self, ReplyScratch};
use emulator::protocol::request::Request;
use serde_json::{Value, json};

use super::{lines, text_of};

/// Nodes of the predecessor that answered beside the one whose replies were kept.
fn others(name: &str) -> usize {
    if name.starts_with("emulated-") { 2 } else { 0 }
}

/// A reply as our client reads it.
struct Read {
    agent: String,
    sender: String,
    ok: bool,
    body: Value,
    time_unix: i64,
}

fn read(case: &Case) -> Option<Read> {
    let request = Request::decode(&case.payload().unwrap()).unwrap();
    let payload = case.replies.first()?.payload.as_bytes();
    let mut scratch = ReplyScratch::default();
    let (sender, ok) = match request.agent.as_str() {
        "discovery" => {
            (client::decode_discovery_sender(payload, &mut scratch).unwrap().into_owned(), true)
        }
        _ => {
            let reply = client::decode_reply(payload, &mut scratch).unwrap();
            (reply.sender_id.clone().into_owned(), reply.is_ok())
        }
    };
    let (body, time_unix) = (reply_body(payload).unwrap(), reply_time_unix(payload).unwrap());
    Some(Read { agent: request.agent, sender, ok, body, time_unix })
}

/// The replies behind a printout.
fn replies(line: &Value, cases: &BTreeMap<String, Case>) -> Vec<Read> {
    let ids = line["exchanges"].as_array().unwrap();
    ids.iter().filter_map(|id| read(&cases[id.as_str().unwrap()])).collect()
}

fn senders<'a>(replies: impl IntoIterator<Item = &'a Read>) -> BTreeSet<&'a str> {
    replies.into_iter().map(|reply| reply.sender.as_str()).collect()
}

/// `choria req --json`: each reply with all that it holds, and the tally.
fn check_json(printed: &Value, replies: &[Read], name: &str) {
    let mine: Vec<&Read> = replies.iter().filter(|r| r.agent == printed["agent"]).collect();
    let shown = printed["replies"].as_array().unwrap();
    assert_eq!(shown.len(), mine.len() + others(name), "{name}");
    for reply in &mine {
        let shown = shown.iter().find(|shown| shown["sender"] == reply.sender.as_str()).unwrap();
        for member in ["statuscode", "statusmsg", "data"] {
            assert_eq!(shown[member], reply.body[member], "{name} {member}");
        }
        let time = shown["time_utc"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        assert_eq!(time.as_second(), reply.time_unix, "{name}");
    }
    let ok = mine.iter().filter(|reply| reply.ok).count();
    let stats = &printed["request_stats"];
    let all = mine.len() + others(name);
    let tally = json!({ "ok": ok + others(name), "failed": mine.len() - ok, "responses": all });
    for (member, count) in tally.as_object().unwrap() {
        assert_eq!(&stats[member], count, "{name} {member}");
    }
    let silent = stats["no_responses"].as_array().unwrap().len();
    assert_eq!(stats["discovered"], json!(all + silent), "{name}");
    assert_eq!(stats["unexpected_responses"], json!([]), "{name}");
}

/// `choria discover`: who answered.
fn check_discovered(printed: &str, replies: &[Read], name: &str) {
    let listed: Vec<String> = match serde_json::from_str(printed) {
        Ok(listed) => listed,
        Err(_) => printed.lines().filter(|line| !line.contains(' ')).map(str::to_owned).collect(),
    };
    let listed: BTreeSet<&str> =
        listed.iter().map(String::as_str).filter(|line| !line.is_empty()).collect();
    assert!(listed.is_superset(&senders(replies)), "{name}");
    assert_eq!(listed.len(), replies.len() + others(name), "{name}");
}

/// `choria ping`: who answered, by name or in number.
fn check_pinged(printed: &str, replies: &[Read], name: &str) {
    let mut named = BTreeSet::new();
    for line in printed.lines().take_while(|line| !line.starts_with("----")) {
        named.extend(line.split_whitespace().next());
    }
    // One was told to be silent, another to leave after two.
    let all = if name == "ping-expect-2" { 2 } else { replies.len() + others(name) };
    assert!(named.is_subset(&senders(replies)) || others(name) > 0, "{name}");
    assert_eq!(named.len(), if name == "ping-silent" { 0 } else { all }, "{name}");
    match printed.lines().find_map(|line| line.split_once(" replies max")) {
        Some((count, _)) => assert_eq!(count, all.to_string(), "{name}"),
        None => assert!(replies.is_empty() || name == "ping-names", "{name}"),
    }
}

/// `Finished processing N / M hosts`.
fn check_finished(printed: &str, replies: &[Read], name: &str) -> bool {
    let finished = printed.lines().find_map(|line| line.strip_prefix("Finished processing "));
    let Some((processed, _)) = finished.and_then(|rest| rest.split_once(" / ")) else {
        return false;
    };
    let answered = replies.iter().filter(|reply| reply.agent != "discovery");
    let answered = senders(answered).len() + others(name);
    assert_eq!(processed, answered.to_string(), "{name}");
    true
}

/// `choria facts --json`: which nodes have which value; all of them answered.
fn check_facts(printed: &Value, replies: &[Read], name: &str) {
    for (value, found) in printed.as_object().unwrap() {
        let has = |reply: &&Read| match &reply.body["data"]["value"] {
            Value::Null => value == "nil",
            shown => shown == value.as_str(),
        };
        let identities: Vec<&str> =
            found["identities"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let expected = senders(replies.iter().filter(|r| r.agent == "rpcutil").filter(has));
        assert_eq!(BTreeSet::from_iter(identities), expected, "{name}");
    }
}

/// `choria tool event`: kind, identity, component and version of what our nodes publish, too.
fn check_events(printed: &str) {
    let mut events = printed.lines();
    assert!(events.next().unwrap().contains("choria.lifecycle.event.>"));
    for event in events {
        let (kind, rest) = event.split_once('[').unwrap().1.split_once("] ").unwrap();
        let kind = Kind::ALL.into_iter().find(|known| known.name() == kind).unwrap();
        let version = if kind == Kind::Shutdown { "" } else { " version 0.29.4" };
        assert_eq!(rest, format!("db1.example.net: server{version}"));
    }
}

#[test]
fn everything_that_the_real_client_printed_is_what_ours_reads() {
    let recorded = RECORDINGS.iter().flat_map(|(_, lines)| parse(lines).unwrap());
    let cases: BTreeMap<String, Case> = recorded.map(|case| (case.id.clone(), case)).collect();
    let mut counts = BTreeMap::<&str, usize>::new();
    for line in lines("client-output/index.jsonl") {
        let name = line["name"].as_str().unwrap();
        let printed = text_of(&format!("client-output/{}", line["file"].as_str().unwrap()));
        let replies = replies(&line, &cases);
        let json = serde_json::from_str::<Value>(&printed).ok();
        let command = line["command"].as_str().unwrap().split(' ').nth(1).unwrap();
        let kind = match (command, json) {
            // Names that were given: nobody is asked.
            ("discover", _) if line["exchanges"] == json!([]) => "listed without asking",
            ("discover", _) => {
                check_discovered(&printed, &replies, name);
                "discovered"
            }
            ("ping", _) => {
                check_pinged(&printed, &replies, name);
                "pinged"
            }
            ("tool", _) => {
                check_events(&printed);
                "events"
            }
            ("facts", Some(facts)) => {
                check_facts(&facts, &replies, name);
                "facts"
            }
            (_, Some(printed)) => {
                check_json(&printed, &replies, name);
                "requested as json"
            }
            _ if check_finished(&printed, &replies, name) => "requested as text",
            _ if line["exit_code"] == 1 => {
                assert!(replies.is_empty() && !printed.is_empty(), "{name}");
                "refused by the client"
            }
            // Tables, the id of a request that answers elsewhere, results one a line, inventories.
            _ => {
                let shown = replies.iter().filter(|reply| printed.contains(&reply.sender)).count();
                let report = name.starts_with("inventory-collectives") || name.contains("reply-to");
                assert!(shown == replies.len() || report, "{name}");
                "shown otherwise"
            }
        };
        *counts.entry(kind).or_default() += 1;
    }
    let counts: Vec<String> = counts.iter().map(|(kind, n)| format!("{kind}: {n}")).collect();
    let expected = [
        "discovered: 97",
        "events: 1",
        "facts: 1",
        "listed without asking: 3",
        "pinged: 12",
        "refused by the client: 6",
        "requested as json: 66",
        "requested as text: 11",
        "shown otherwise: 6",
    ];
    assert_eq!(counts, expected);
}
