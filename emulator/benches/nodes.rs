//! What a node costs: memory, CPU an answer, wave time, beside a bare node in the same run.
//!
//! `cargo bench -p emulator --bench nodes [-- NODES]` (default 15,000; the open file limit must allow it).
//! Nodes run in a child process of their own, so that its memory and CPU are theirs alone; a client that
//! only counts presses on them over a real broker.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::panic,
    unreachable_pub,
    reason = "a bench is a program for the person who runs it"
)]

mod support;

use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use emulator::fleet::Fleet;
use emulator::homes::Homes;
use emulator::protocol::client::{RequestDraft, encode_request};
use emulator::spec::{
    Behaviour, Clock, Connect, Fidelity, FleetSpec, GroupSpec, Lifecycle, Login, MoreAgents,
    Server, Share,
};
use support::{Counter, Process, bare, median, start_broker, start_child};

const REPLY_SUBJECT: &str = "mcollective.reply.bench.0123456789abcdef0123456789abcdef";
const REQUEST_SUBJECT: &str = "mcollective.broadcast.agent.emulated0";
const WAVES: usize = 11;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if args.first().is_some_and(|a| a == "--child") {
        return child(&args[1..]);
    }
    let nodes: u64 = args.first().map_or(15_000, |n| n.parse().expect("a number of nodes"));
    memory(nodes);
    waves(nodes);
    linear(nodes);
}

/// KiB a node, idle, whole process.
fn memory(nodes: u64) {
    println!("idle memory, {nodes} nodes, whole process");
    for (agents, collectives) in [(1, 1), (7, 5)] {
        let (_broker, address) = start_broker();
        let (fleet, _input) =
            start_child(&arguments("node", nodes, agents, collectives, address, 0));
        let subscriptions = (agents + 4) * collectives;
        let kib = fleet.rss() as f64 / 1024.0 / nodes as f64;
        println!("  {subscriptions:>3} subscriptions a node: {kib:.2} KiB a node");
    }
}

#[derive(Clone, Copy)]
struct Cost {
    node_us: f64,
    broker_us: f64,
    wave_s: f64,
    size: usize,
}

/// CPU an answer and wave time: bare nodes, nodes, and both with a flush behind every reply.
fn waves(nodes: u64) {
    println!("waves of {nodes} nodes, generate(100), medians of {} waves", WAVES - 1);
    // The size of a real reply, for the bare nodes.
    let probe = measure("lean", 10, 0);
    let mut rows = Vec::new();
    for kind in ["bare", "lean", "bare-flush", "node", "node", "bare-flush", "lean", "bare"] {
        let cost = measure(kind, nodes, probe.size);
        println!(
            "  {kind:<10} {:6.2} us node CPU an answer, {:6.2} us broker CPU, wave {:.3} s, \
             reply {} bytes",
            cost.node_us, cost.broker_us, cost.wave_s, cost.size
        );
        rows.push((kind, cost));
    }
    let mean = |kind: &str, of: fn(&Cost) -> f64| {
        let values: Vec<f64> =
            rows.iter().filter(|(k, _)| *k == kind).map(|(_, cost)| of(cost)).collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    for (kind, base) in [("lean", "bare"), ("node", "bare-flush")] {
        println!(
            "  {kind} / {base}: CPU {:.2}x, wave {:.2}x; {kind} CPU / broker CPU {:.2}x",
            mean(kind, |c| c.node_us) / mean(base, |c| c.node_us),
            mean(kind, |c| c.wave_s) / mean(base, |c| c.wave_s),
            mean(kind, |c| c.node_us) / mean(kind, |c| c.broker_us),
        );
    }
}

/// Time a node of a wave, a tenth of the nodes against all.
fn linear(nodes: u64) {
    let small = measure("node", nodes / 10, 0).wave_s / (nodes / 10) as f64;
    let large = measure("node", nodes, 0).wave_s / nodes as f64;
    println!(
        "wave time a node: {:.1} us at {}, {:.1} us at {nodes}: {:.2}x",
        small * 1e6,
        nodes / 10,
        large * 1e6,
        large / small
    );
}

fn measure(kind: &str, nodes: u64, reply_size: usize) -> Cost {
    let (broker, address) = start_broker();
    let (fleet, _input) = start_child(&arguments(kind, nodes, 1, 1, address, reply_size));
    let mut client = Counter::connect(address, REPLY_SUBJECT);
    let (_, size) = client.wave(REQUEST_SUBJECT, &request(0), nodes);
    let cpu = |process: &Process| process.cpu_s();
    let before = (cpu(&fleet), cpu(&broker));
    let times = (1..WAVES)
        .map(|n| client.wave(REQUEST_SUBJECT, &request(n), nodes).0.as_secs_f64())
        .collect();
    let answers = (nodes as usize * (WAVES - 1)) as f64;
    Cost {
        node_us: (cpu(&fleet) - before.0) * 1e6 / answers,
        broker_us: (cpu(&broker) - before.1) * 1e6 / answers,
        wave_s: median(times),
        size,
    }
}

fn arguments(
    kind: &str,
    nodes: u64,
    agents: u64,
    collectives: u64,
    address: SocketAddr,
    reply_size: usize,
) -> Vec<String> {
    let numbers = [nodes, agents, collectives, reply_size as u64].map(|n| n.to_string());
    [vec![kind.to_owned(), address.to_string()], numbers.to_vec()].concat()
}

fn request(number: usize) -> Vec<u8> {
    let draft = RequestDraft {
        caller_id: "choria=bench.mcollective".into(),
        sender_id: "bench.example.net".into(),
        collective: "mcollective".into(),
        agent: "emulated0".into(),
        ttl_s: 60,
        filter: emulator::protocol::filter::Filter::default(),
        body: r#"{"agent":"emulated0","action":"generate","data":{"size":100}}"#.into(),
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let id = format!("{number:032x}");
    encode_request(&draft, &id, REPLY_SUBJECT, "nats://127.0.0.1", now.as_secs() as i64)
}

/// The nodes: says `ready` when all are connected, and ends when its input does.
fn child(args: &[String]) {
    let [kind, address, numbers @ ..] = args else { panic!("KIND ADDRESS NUMBERS") };
    let numbers: Vec<u64> = numbers.iter().map(|n| n.parse().unwrap()).collect();
    let [nodes, agents, collectives, reply_size] = numbers[..] else { panic!("four numbers") };
    let server: SocketAddr = address.parse().unwrap();
    let shards = std::thread::available_parallelism().map_or(1, usize::from);
    let mut kept = None;
    if kind.starts_with("bare") {
        let connected = Arc::new(AtomicU64::new(0));
        let bare = bare::Bare {
            server,
            subjects: (0..5)
                .map(|n| if n == 0 { REQUEST_SUBJECT.into() } else { format!("s{n}") })
                .collect(),
            reply_subject: REPLY_SUBJECT.into(),
            reply_size: reply_size as usize,
            flush: kind.ends_with("flush"),
        };
        bare::run(bare, nodes, shards as u64, Arc::clone(&connected));
        while connected.load(Ordering::Relaxed) < nodes {
            std::thread::sleep(Duration::from_millis(20));
        }
    } else {
        let fleet = Fleet::start(spec(kind, server, nodes, agents, collectives, shards)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(fleet.connected());
        kept = Some(fleet);
    }
    println!("ready");
    let _ = std::io::stdin().read(&mut [0]);
    drop(kept);
}

fn spec(
    kind: &str,
    server: SocketAddr,
    nodes: u64,
    agents: u64,
    collectives: u64,
    shards: usize,
) -> FleetSpec {
    let names =
        (0..collectives).map(|n| if n == 0 { "mcollective".into() } else { format!("c{n}") });
    FleetSpec {
        seed: 1,
        share: Share::WHOLE,
        shards,
        clock: Clock::System,
        groups: vec![GroupSpec {
            name: "default".into(),
            first: 0,
            nodes,
            identity: "{group}-{index}.choria.local".into(),
            collectives: names.collect(),
            emulated_agents: agents as u32,
            more_agents: MoreAgents::default(),
            machines: Vec::new(),
            facts: serde_json::Map::new(),
            classes: Vec::new(),
            behaviour: Behaviour::default(),
            servers: vec![Server { address: server, url: format!("nats://{server}") }],
            homes: Homes::default(),
            source_addresses: Vec::new(),
            connect: Connect { rate_per_s: None, in_flight: 300, timeout: Duration::from_secs(10) },
            login: Login::default(),
            fidelity: Fidelity {
                flush_each_subscription: kind != "lean",
                flush_each_reply: kind != "lean",
            },
            shown: None,
            lifecycle: Lifecycle::default(),
        }],
    }
}
