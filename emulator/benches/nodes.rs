//! What a node costs: memory, CPU an answer, wave time, beside a bare node in the same run.
//!
//! `cargo bench -p emulator --bench nodes [-- NODES [BROKERS [SMALL]]]` (default 15,000 nodes on one broker, and a tenth
//! of them for the last comparison). Nodes run in child processes of their own, one for each of the clustered brokers, so
//! that their memory and CPU are theirs alone and the limit of open files can be met; a client that
//! only counts presses on them over real brokers.
//!
//! What is measured: `bare` nodes; `lean` ones, which go without flushes; a `node` as it is by default, with its
//! request queue, lifecycle events and a flush behind each reply; and `full`, with everything on: scout and
//! choria_provision, two autonomous agents with a check a minute, facts, classes, and the registration of its
//! inventory every five minutes.

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
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use emulator::fleet::Fleet;
use emulator::fleet::counts::FleetCounts;
use emulator::homes::Homes;
use emulator::protocol::client::{RequestDraft, encode_request};
use emulator::spec::{
    Behaviour, Clock, Connect, Fidelity, FleetSpec, GroupSpec, Lifecycle, Login, MoreAgents,
    Registration, RegistrationContent, Server, Share,
};
use support::{Counter, Nodes, Process, bare, median, start_brokers};

const REPLY_SUBJECT: &str = "mcollective.reply.bench.0123456789abcdef0123456789abcdef";
const REQUEST_SUBJECT: &str = "mcollective.broadcast.agent.emulated0";
const WAVES: usize = 11;
/// What a node with everything on hosts besides, runs and shows.
const STOCK: [&str; 2] = ["scout", "choria_provision"];
const MACHINES: &str = include_str!("../testdata/captures/machines.json");
const CLASSES: [&str; 3] = ["role::web", "base", "rack{index % 20}"];
const FACTS: &str = r#"{"dc": "dc{index % 4}", "rack": "r{index % 40}", "cores": 8,
    "os": {"name": "Debian", "release": {"major": "12"}}, "virtual": true}"#;
/// As a real server's `registerinterval`.
const REGISTRATION_EVERY: Duration = Duration::from_secs(300);

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
    fleet: Vec<Nodes>,
}

impl Running {
    fn start(kind: &str, site: Site, (agents, collectives): (u64, u64), reply_size: usize) -> Self {
        let brokers = start_brokers(site.brokers as usize);
        let starts = (0_u64..).zip(&brokers).map(|(number, (_, address))| {
            let nodes = Share { index: number, of: site.brokers }.count(0, site.nodes);
            let arguments = arguments(kind, nodes, agents, collectives, *address, reply_size);
            std::thread::spawn(move || Nodes::start(&arguments))
        });
        let starts: Vec<_> = starts.collect();
        let fleet = starts.into_iter().map(|start| start.join().expect("started")).collect();
        Self { brokers, fleet }
    }

    fn fleet_cpu(&self) -> f64 {
        self.fleet.iter().map(|nodes| nodes.process.cpu_s()).sum()
    }

    /// What the nodes have published without being asked.
    fn unasked(&mut self) -> u64 {
        self.fleet.iter_mut().map(Nodes::unasked).sum()
    }

    fn broker_cpu(&self) -> f64 {
        self.brokers.iter().map(|(process, _)| process.cpu_s()).sum()
    }
}

/// KiB a node, idle, whole processes.
fn memory(site: Site) {
    println!("idle memory, {} nodes, whole processes", site.nodes);
    for (kind, stock) in [("node", 0), ("full", STOCK.len() as u64)] {
        for (agents, collectives) in [(1, 1), (7, 5)] {
            let running = Running::start(kind, site, (agents, collectives), 0);
            let subscriptions = (agents + stock + 4) * collectives;
            let bytes: u64 = running.fleet.iter().map(|nodes| nodes.process.rss()).sum();
            let kib = bytes as f64 / 1024.0 / site.nodes as f64;
            println!("  {kind} with {subscriptions:>2} subscriptions: {kib:.2} KiB a node");
        }
    }
}

#[derive(Clone, Copy)]
struct Cost {
    node_us: f64,
    broker_us: f64,
    wave_s: f64,
    size: usize,
    /// Published without being asked while the waves ran.
    unasked: u64,
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
    let kinds = ["bare", "lean", "bare-flush", "node", "full"];
    for kind in kinds.into_iter().chain(kinds.into_iter().rev()) {
        let cost = measure(kind, site, probe.size);
        println!(
            "  {kind:<10} {:6.2} us node CPU an answer, {:6.2} us broker CPU, wave {:.3} s, \
             reply {} bytes, {} publications unasked",
            cost.node_us, cost.broker_us, cost.wave_s, cost.size, cost.unasked
        );
        rows.push((kind, cost));
    }
    let mean = |kind: &str, of: fn(&Cost) -> f64| {
        let values: Vec<f64> =
            rows.iter().filter(|(k, _)| *k == kind).map(|(_, cost)| of(cost)).collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    let pairs =
        [("lean", "bare"), ("node", "bare-flush"), ("full", "bare-flush"), ("full", "node")];
    for (kind, base) in pairs {
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
    for kind in ["node", "full"] {
        let each = |site: Site| measure(kind, site, 0).wave_s / site.nodes as f64;
        let (few, all) = (each(small), each(large));
        println!(
            "{kind}, wave time a node: {:.1} us at {}, {:.1} us at {}: {:.2}x",
            few * 1e6,
            small.nodes,
            all * 1e6,
            large.nodes,
            all / few
        );
    }
}

fn measure(kind: &str, site: Site, reply_size: usize) -> Cost {
    let mut running = Running::start(kind, site, (1, 1), reply_size);
    let mut client = Counter::connect(running.brokers[0].1, REPLY_SUBJECT);
    let (_, size) = client.wave(REQUEST_SUBJECT, &request(0), site.nodes);
    let before = (running.fleet_cpu(), running.broker_cpu(), running.unasked());
    let times = (1..WAVES)
        .map(|n| client.wave(REQUEST_SUBJECT, &request(n), site.nodes).0.as_secs_f64())
        .collect();
    let answers = (site.nodes as usize * (WAVES - 1)) as f64;
    Cost {
        node_us: (running.fleet_cpu() - before.0) * 1e6 / answers,
        broker_us: (running.broker_cpu() - before.1) * 1e6 / answers,
        wave_s: median(times),
        size,
        unasked: running.unasked() - before.2,
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

/// The nodes: says `ready` when all are connected, how much they have published unasked for each byte of its
/// input, and ends when that does.
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
    while std::io::stdin().read(&mut [0]).is_ok_and(|read| read > 0) {
        println!("{}", kept.as_ref().map_or(0, |fleet: &Fleet| unasked(&fleet.counts())));
    }
    drop(kept);
}

fn unasked(counts: &FleetCounts) -> u64 {
    let events = counts.startup_events + counts.alive_events + counts.shutdown_events;
    events + counts.registrations + counts.machine_transitions + counts.watcher_states
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
    let full = kind == "full";
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
            more_agents: MoreAgents {
                stock: STOCK.iter().filter(|_| full).map(|agent| (*agent).to_owned()).collect(),
                ddl: Vec::new(),
            },
            machines: if full { serde_json::from_str(MACHINES).unwrap() } else { Vec::new() },
            facts: if full { serde_json::from_str(FACTS).unwrap() } else { serde_json::Map::new() },
            classes: CLASSES.iter().filter(|_| full).map(|class| (*class).to_owned()).collect(),
            behaviour: Behaviour::default(),
            servers: vec![Server::at(server)],
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
            lifecycle: Lifecycle {
                registration: full.then_some(Registration {
                    content: RegistrationContent::Inventory,
                    interval: REGISTRATION_EVERY,
                    splay: true,
                    compression: true,
                    target: None,
                }),
                ..Lifecycle::default()
            },
        }],
    }
}

fn source(number: u64) -> IpAddr {
    IpAddr::from([127, 0, 1, number as u8])
}
