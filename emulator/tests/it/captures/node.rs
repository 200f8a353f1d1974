//! Requests that real servers received, given to our nodes: the same replies, silence and counters.

use emulator::fidelity::{Case, Published, RECORDINGS, Seen, parse};
use emulator::machines::{Machines, Start};
use emulator::node::{self, AnswerKind, Counters, Desk, Group, NodeView, Silence};
use emulator::protocol::client;
use std::collections::BTreeMap;

/// How long the node has been running: a check every minute has run some times.
const UP_S: i64 = 505;

/// A node in the place of a recorded server.
struct Node<'a> {
    case: &'a Case,
    group: Group,
    identity: String,
    counters: Counters,
    machines: Machines,
}

impl<'a> Node<'a> {
    fn of(case: &'a Case) -> Self {
        let nowhere = ([127, 0, 0, 1], 1).into();
        let group = Group::new(&case.server.group(nowhere)).unwrap();
        let identity = group.identity(0);
        assert_eq!(identity, case.server.identity);
        let machines = Machines::start(&Start {
            group: &group,
            seed: 0,
            index: 0,
            identity: &identity,
            stays: 0,
            now_unix: case.clock_unix() - UP_S,
            publishes: false,
        });
        Self { case, group, identity, counters: Counters::default(), machines }
    }

    fn replay(mut self) -> (Seen, Option<Silence>) {
        let (mut replies, mut silence) = (Vec::new(), None);
        let mut desk = Desk::default();
        let mut arriving = vec![self.case.payload().unwrap(); self.case.subjects().len()];
        while let Some(payload) = arriving.pop() {
            match self.answer(&mut desk, &payload) {
                Ok(reply) => {
                    // A node hears what it publishes to its own subject.
                    let mut own = self.group.profile().collectives.iter();
                    if own.any(|c| client::node_subject(c, &self.identity) == reply.subject) {
                        arriving.push(reply.payload.clone());
                    }
                    replies.push(reply);
                }
                Err(silent) => silence = Some(silent),
            }
        }
        (Seen { replies, counters: self.counters }, silence)
    }

    fn answer(&mut self, desk: &mut Desk, payload: &[u8]) -> Result<Published, Silence> {
        let opened = desk.open(payload);
        let now = self.case.clock_unix();
        let mut node = NodeView {
            group: &self.group,
            index: 0,
            identity: &self.identity,
            broker: &self.case.server.connected_broker,
            counters: &mut self.counters,
            started_unix: now - UP_S,
            machines: &mut self.machines,
        };
        node::judge(&mut node, &opened, now)?;
        let mut out = Vec::new();
        node::compose(&mut node, &opened, AnswerKind::Normal, now, &mut out)?;
        Ok(Published { subject: opened.reply_to().unwrap().to_owned(), payload: out })
    }
}

/// How our node differs from the recorded server; empty if it does not.
fn differences(case: &Case) -> Vec<String> {
    let (seen, silence) = Node::of(case).replay();
    let mut found = case.compare(&seen);
    if let (Some(real), [], Some(silence)) = (&case.why, &seen.replies[..], silence)
        && silence.why() != real
    {
        found.differs("why", real, &silence.why());
    }
    found.differences
}

/// Replays a recording and counts its lines.
fn replay(name: &str) -> Vec<String> {
    let (_, recording) = RECORDINGS.into_iter().find(|(other, _)| *other == name).unwrap();
    let mut counts = BTreeMap::<String, usize>::new();
    let mut different = Vec::new();
    for case in parse(recording).unwrap() {
        let what = match case.lacks() {
            Some(need) => format!("skipped: {}", need.name()),
            None => case.why.clone().unwrap_or_else(|| case.outcome.clone()),
        };
        *counts.entry(what).or_default() += 1;
        if case.lacks().is_none() {
            let found = differences(&case);
            if !found.is_empty() {
                different.push(format!("{}\n  {}", case.id, found.join("\n  ")));
            }
        }
    }
    assert!(different.is_empty(), "{} differ\n{}", different.len(), different.join("\n"));
    counts.into_iter().map(|(what, count)| format!("{what}: {count}")).collect()
}

#[test]
fn every_exchange_is_answered_as_the_real_server_answered_it() {
    assert_eq!(replay("exchanges"), ["reply: 236", "silence: 195"]);
}

#[test]
fn every_edge_case_ends_as_it_ended_on_the_real_server() {
    let expected = [
        "agent gave no answer: 1",
        "agent not hosted: 2",
        "answered: 131",
        "collective not ours: 2",
        "crash: 1",
        "filtered: 37",
        "outside the ttl window: 6",
        "reply not published: 5",
        "request refused: 56",
        "secure request refused: 13",
        "transport refused: 20",
    ];
    assert_eq!(replay("edge-cases"), expected);
}

#[test]
fn every_request_to_the_predecessor_is_answered_as_a_server_of_today_would() {
    assert_eq!(replay("predecessor"), ["reply: 16"]);
}
