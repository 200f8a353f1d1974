//! What looking at brokers costs them, as a part of the CPU time that they use while waves run.
//!
//! `cargo bench --bench telemetry [-- NODES [LOOKS]]` (default 6,000 nodes, 1,000 looks: two minutes). For a
//! single broker and for a cluster of three a whole run with a wave every two seconds tells what the
//! brokers use in a second. Then as many nodes are connected to such brokers, which are left alone, and looked at
//! as in a run, one look right after the other: what that costs beyond being left alone, a look, is what a
//! second costs in a run. The expensive looks before and after the phases are told apart.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench says what it finds, or that it found nothing by a panic"
)]

mod shared;

use std::path::Path;
use std::time::{Duration, Instant};

use choria_emulator::broker::config::Cluster;
use choria_emulator::broker::{
    Broker, Obtained, Ports, ProcessSample, StartSpec, Wiring, start_together,
};
use choria_emulator::plan::Seat;
use emulator::fleet::Fleet;
use emulator::spec::{Login, Server, Share};
use shared::{launcher, numbers, plan, run};

/// How long brokers are left alone, twice: before and after they are looked at.
const ALONE: Duration = Duration::from_secs(10);
/// From one wave to the next.
const EVERY_S: u32 = 2;
/// How often the expensive look is taken, to tell what one costs.
const INSPECTIONS: u32 = 20;

fn main() {
    shared::block_on(measure());
}

async fn measure() {
    let mut numbers = numbers();
    let nodes = numbers.next().unwrap_or(6_000);
    let looks = numbers.next().and_then(|looks| u32::try_from(looks).ok()).unwrap_or(1_000);
    let program = shared::nats_server().await;
    println!("nats-server {}, {nodes} nodes, {looks} looks at each broker", program.version);
    for (name, brokers, topology) in
        [("single", 1, "single"), ("cluster of 3", 3, "cluster, size: 3")]
    {
        let text = format!(
            "version: 1\nname: bench\nbrokers: {{topology: {topology}, path: {:?}}}\n\
             fleet: [{{group: default, nodes: {nodes}, brokers: \"*\", connect: {{rate: 3000/s}}}}]\n\
             waves: [{{name: rpc, request: {{agent: emulated0, action: generate, data: {{size: 100}}}}, \
             every: {EVERY_S}s, count: 10, deadline: 30s}}]\n",
            program.path
        );
        let summary = run(&text).await;
        let waves = f64::from(EVERY_S) * summary.waves.len() as f64;
        let used = summary.cost.brokers.iter().filter_map(|broker| broker.wave_cpu_s);
        let in_a_second = used.sum::<f64>() / waves;
        let (look, inspection) = looked_at(&text, brokers, looks, &program).await;
        println!(
            "{name:<12}  brokers use {:.1} ms a second while waves run; a look at all of them takes {:.2} ms, \
             {:.2} % of it (mark: 2 %); an expensive look {:.1} ms, three a run",
            in_a_second * 1e3,
            look * 1e3,
            look / in_a_second * 100.0,
            inspection * 1e3,
        );
    }
}

/// CPU time in seconds of one cheap and of one expensive look at all brokers, with all nodes connected.
async fn looked_at(text: &str, count: usize, looks: u32, program: &Obtained) -> (f64, f64) {
    let folder = tempfile::tempdir().unwrap();
    let specs = |ports: &[Ports]| specs(folder.path(), ports, program);
    let brokers = start_together(count, specs, &launcher()).await.unwrap();
    let server = |broker: &Broker| Server::at(broker.client().into());
    let fleet = Fleet::start(plan(text).fleet_spec(&Seat {
        share: Share::WHOLE,
        shards: 2,
        servers: brokers.iter().map(server).collect(),
        source_addresses: Vec::new(),
        login: Login::default(),
    }))
    .unwrap();
    fleet.connected().await;
    let before = alone(&brokers).await;
    let began = (Instant::now(), cpu_s(&brokers));
    for _ in 0..looks {
        for broker in &brokers {
            broker.monitoring().look().await.unwrap();
        }
    }
    let looked = (began.0.elapsed().as_secs_f64(), cpu_s(&brokers) - began.1);
    let idle = f64::midpoint(before, alone(&brokers).await);
    let began = (Instant::now(), cpu_s(&brokers));
    for _ in 0..INSPECTIONS {
        for broker in &brokers {
            broker.monitoring().connections().await.unwrap();
        }
    }
    let inspected = (began.0.elapsed().as_secs_f64(), cpu_s(&brokers) - began.1);
    fleet.stop().await;
    for broker in brokers {
        broker.stop(ALONE).await;
    }
    let beyond =
        |(took, used): (f64, f64), times: u32| (used - idle * took).max(0.0) / f64::from(times);
    (beyond(looked, looks), beyond(inspected, INSPECTIONS))
}

/// CPU seconds that brokers use in a second when nobody wants anything.
async fn alone(brokers: &[Broker]) -> f64 {
    let before = cpu_s(brokers);
    tokio::time::sleep(ALONE).await;
    (cpu_s(brokers) - before) / ALONE.as_secs_f64()
}

fn cpu_s(brokers: &[Broker]) -> f64 {
    let used = brokers.iter().map(|broker| ProcessSample::read(broker.pid()).unwrap().cpu);
    used.sum::<Duration>().as_secs_f64()
}

/// One broker, or a cluster of several.
fn specs(folder: &Path, ports: &[Ports], program: &Obtained) -> Vec<StartSpec> {
    let routes: Vec<u16> = ports.iter().map(|ports| ports.cluster).collect();
    let spec = |(at, own): (usize, &Ports)| {
        let cluster = Cluster { name: "c1".to_owned(), port: own.cluster, routes: routes.clone() };
        let wiring = Wiring { cluster: (routes.len() > 1).then_some(cluster), ..Wiring::default() };
        StartSpec {
            name: format!("n{}", at + 1),
            ports: own.choice(),
            wiring,
            ..StartSpec::alone(program.clone(), folder.to_owned(), Duration::from_secs(30))
        }
    };
    ports.iter().enumerate().map(spec).collect()
}
