//! What one answer costs a node, and one reply the client, without sockets:
//! `cargo bench -p emulator --bench compose`. Prints nanoseconds of the fastest of several rounds,
//! beside the cost of hashing and encoding the reply in one piece, which any node would pay.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up has no figures")]

use base64::Engine as _;
use emulator::homes::Homes;
use emulator::lifecycle::registration::{self, Publication};
use emulator::machines::Machines;
use emulator::node::{self, AnswerKind, Counters, Desk, Group, NodeView};
use emulator::protocol::client::{self, ReplyScratch, RequestDraft};
use emulator::protocol::filter::Filter;
use emulator::spec::{
    Behaviour, Connect, Fidelity, GroupSpec, Lifecycle, Login, MoreAgents, Registration,
    RegistrationContent,
};
use sha2::{Digest, Sha256};
use std::hint::black_box;
use std::time::{Duration, Instant};

const NOW: i64 = 1_795_413_316;
const BROKER: &str = "nats://127.0.0.1:4222";

fn main() {
    for (name, agent, body) in [
        ("pong", "discovery", client::DISCOVERY_BODY.to_owned()),
        ("generate(100)", "emulated0", generate(100)),
        ("generate(10000)", "emulated0", generate(10_000)),
        ("rpcutil#ping", "rpcutil", client::rpc_body("rpcutil", "ping", &serde_json::json!({}))),
    ] {
        answer(name, agent, body);
    }
    for (name, compression) in [("plain", false), ("compressed", true)] {
        register(name, compression);
    }
}

/// Measures putting together what a node registers with: its inventory.
fn register(name: &str, compression: bool) {
    let group = Group::new(&spec()).expect("the group is sound");
    let identity = group.identity(42);
    let node = NodeView {
        group: &group,
        index: 42,
        identity: &identity,
        broker: BROKER,
        counters: &mut Counters::default(),
        started_unix: NOW,
        machines: &mut Machines::default(),
    };
    let registration = Registration {
        content: RegistrationContent::Inventory,
        interval: Duration::from_secs(300),
        splay: true,
        compression,
        target: None,
    };
    let publication = Publication { seed: 1, number: 1, last_message_unix: NOW, now_unix: NOW };
    let size = registration::compose(&node, &registration, publication).len();
    let compose =
        fastest(|| drop(black_box(registration::compose(&node, &registration, publication))));
    println!("{name} inventory: registration of {size} bytes, compose {compose} ns");
}

fn generate(size: u32) -> String {
    client::rpc_body("emulated0", "generate", &serde_json::json!({ "size": size }))
}

/// Measures opening, judging and answering a broadcast, and reading the answer.
fn answer(name: &str, agent: &str, body: String) {
    let group = Group::new(&spec()).expect("the group is sound");
    let payload = request(agent, body);
    let identity = group.identity(42);
    let mut counters = Counters::default();
    let mut node = NodeView {
        group: &group,
        index: 42,
        identity: &identity,
        broker: BROKER,
        counters: &mut counters,
        started_unix: NOW,
        machines: &mut Machines::default(),
    };
    let mut desk = Desk::default();
    let opened = desk.open(&payload);
    let mut out = Vec::new();
    let fresh = fastest(|| drop(black_box(Desk::default().open(black_box(&payload)))));
    let again = fastest(|| drop(black_box(desk.open(black_box(&payload)))));
    let judge = fastest(|| {
        let _ = black_box(node::judge(&mut node, black_box(&opened), NOW));
    });
    let compose = fastest(|| {
        out.clear();
        let _ = black_box(node::compose(&mut node, &opened, AnswerKind::Normal, NOW, &mut out));
    });
    let mut scratch = ReplyScratch::default();
    let decode = fastest(|| drop(black_box(client::decode_reply(&out, &mut scratch))));
    let sender = fastest(|| drop(black_box(client::decode_discovery_sender(&out, &mut scratch))));
    let mut encoded = vec![0; out.len() * 2];
    let plain = fastest(|| {
        let digest = Sha256::digest(black_box(&out[..out.len() / 2]));
        let engine = base64::engine::general_purpose::STANDARD;
        let _ = black_box(engine.encode_slice(&out[..out.len() * 3 / 4], &mut encoded));
        black_box(digest);
    });
    println!("{name}: reply of {} bytes", out.len());
    println!("  open {fresh} ns, again {again} ns, judge {judge} ns, compose {compose} ns");
    println!("  decode_reply {decode} ns, decode_discovery_sender {sender} ns");
    println!("  hash and base64 in one piece {plain} ns");
}

/// Nanoseconds of one call in the fastest of many short rounds.
fn fastest(mut call: impl FnMut()) -> u128 {
    const CALLS: u32 = 200;
    let began = Instant::now();
    let mut best = Duration::MAX;
    while began.elapsed() < Duration::from_millis(200) {
        let round = Instant::now();
        for _ in 0..CALLS {
            call();
        }
        best = best.min(round.elapsed());
    }
    best.as_nanos() / u128::from(CALLS)
}

fn request(agent: &str, body: String) -> Vec<u8> {
    let draft = RequestDraft {
        caller_id: "choria=ops1.example.net".to_owned(),
        sender_id: "ops1.example.net".to_owned(),
        collective: "mcollective".to_owned(),
        agent: agent.to_owned(),
        ttl_s: 60,
        filter: Filter::default(),
        body,
    };
    let request_id = "974662d8140b4a55ba53ca33103c7a4e";
    let reply_to = client::reply_subject(&draft.collective, &draft.caller_id, request_id);
    client::encode_request(&draft, request_id, &reply_to, BROKER, NOW)
}

fn spec() -> GroupSpec {
    GroupSpec {
        name: "default".to_owned(),
        first: 0,
        nodes: 1000,
        identity: "{group}-{index:06}.choria.local".to_owned(),
        collectives: vec!["mcollective".to_owned()],
        emulated_agents: 1,
        more_agents: MoreAgents::default(),
        machines: Vec::new(),
        facts: serde_json::Map::new(),
        classes: Vec::new(),
        behaviour: Behaviour::default(),
        servers: Vec::new(),
        homes: Homes::default(),
        login: Login::default(),
        source_addresses: Vec::new(),
        connect: Connect { rate_per_s: None, in_flight: 1, timeout: Duration::from_secs(2) },
        fidelity: Fidelity::default(),
        shown: None,
        lifecycle: Lifecycle::default(),
    }
}
