//! What a node costs: memory, CPU an answer, wave time, beside a bare node in the same run.
//!
//! `cargo bench -p emulator --bench nodes [-- NODES [BROKERS [SMALL]]]` (default 15,000 nodes on one broker, and a tenth
//! of them for the last comparison). Nodes run in child processes of their own, one for each of the clustered brokers, so
//! that their memory and CPU are theirs alone and the limit of open files can be met; a client that
//! only counts presses on them over real brokers.

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
use std::net::{IpAddr, SocketAddr};
use std::process::ChildStdin;
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
use support::{Counter, Process, bare, median, start_brokers, start_child};

const REPLY_SUBJECT: &str = "mcollective.reply.bench.0123456789abcdef0123456789abcdef";
const REQUEST_SUBJECT: &str = "mcollective.broadcast.agent.emulated0";
const WAVES: usize = 11;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if args.first().is_some_and(|a| a == "--child") {
        return child(&args[1..]);
    }
    let numbers: Vec<u64> = args.iter().map(|n| n.parse().expect("a number")).collect();
    let nodes = numbers.first().copied().unwrap_or(15_000);
    let site = Site { nodes, brokers: numbers.get(1).copied().unwrap_or(1) };
    let small = Site { nodes: numbers.get(2).copied().unwrap_or(nodes / 10), ..site };
    memory(site);
    waves(site);
    linear(small, site);
}

/// How many nodes on how many brokers.
#[derive(Clone, Copy)]
struct Site {
    nodes: u64,
    brokers: u64,
}

/// The brokers of a site, and their nodes in a process for each.
struct Running {
    brokers: Vec<(Process, SocketAddr)>,
    fleet: Vec<(Process, ChildStdin)>,
}

impl Running {
    fn start(kind: &str, site: Site, (agents, collectives): (u64, u64), reply_size: usize) -> Self {
        let brokers = start_brokers(site.brokers as usize);
        let starts = (0_u64..).zip(&brokers).map(|(number, (_, address))| {
            let nodes = Share { index: number, of: site.brokers }.count(0, site.nodes);
            let arguments = arguments(kind, nodes, agents, collectives, *address, reply_size);
            std::thread::spawn(move || start_child(&arguments))
        });
        let starts: Vec<_> = starts.collect();
        let fleet = starts.into_iter().map(|start| start.join().expect("started")).collect();
        Self { brokers, fleet }
    }

    fn fleet_cpu(&self) -> f64 {
        self.fleet.iter().map(|(process, _)| process.cpu_s()).sum()
    }

    fn broker_cpu(&self) -> f64 {
        self.brokers.iter().map(|(process, _)| process.cpu_s()).sum()
    }
}

/// KiB a node, idle, whole processes.
fn memory(site: Site) {
    println!("idle memory, {} nodes, whole processes", site.nodes);
    for (agents, collectives) in [(1, 1), (7, 5)] {
        let running = Running::start("node", site, (agents, collectives), 0);
        let subscriptions = (agents + 4) * collectives;
        let bytes: u64 = running.fleet.iter().map(|(process, _)| process.rss()).sum();
        let kib = bytes as f64 / 1024.0 / site.nodes as f64;
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
fn waves(site: Site) {
    let Site { nodes, brokers } = site;
    println!(
        "waves of {nodes} nodes on {brokers} brokers, generate(100), medians of {} waves",
        WAVES - 1
    );
    // The size of a real reply, for the bare nodes.
    let probe = measure("lean", Site { nodes: 10, brokers: 1 }, 0);
    let mut rows = Vec::new();
    for kind in ["bare", "lean", "bare-flush", "node", "node", "bare-flush", "lean", "bare"] {
        let cost = measure(kind, site, probe.size);
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

/// Time a node of a wave, few nodes against all.
fn linear(small: Site, large: Site) {
    let each = |site: Site| measure("node", site, 0).wave_s / site.nodes as f64;
    let (few, all) = (each(small), each(large));
    println!(
        "wave time a node: {:.1} us at {}, {:.1} us at {}: {:.2}x",
        few * 1e6,
        small.nodes,
        all * 1e6,
        large.nodes,
        all / few
    );
}

fn measure(kind: &str, site: Site, reply_size: usize) -> Cost {
    let running = Running::start(kind, site, (1, 1), reply_size);
    let mut client = Counter::connect(running.brokers[0].1, REPLY_SUBJECT);
    let (_, size) = client.wave(REQUEST_SUBJECT, &request(0), site.nodes);
    let before = (running.fleet_cpu(), running.broker_cpu());
    let times = (1..WAVES)
        .map(|n| client.wave(REQUEST_SUBJECT, &request(n), site.nodes).0.as_secs_f64())
        .collect();
    let answers = (site.nodes as usize * (WAVES - 1)) as f64;
    Cost {
        node_us: (running.fleet_cpu() - before.0) * 1e6 / answers,
        broker_us: (running.broker_cpu() - before.1) * 1e6 / answers,
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
            // As a run does: two fifths of a range each.
            source_addresses: (1..=nodes.div_ceil(11_000)).map(source).collect(),
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

fn source(number: u64) -> IpAddr {
    IpAddr::from([127, 0, 1, number as u8])
}
