//! What each topology costs for the same nodes, as ratios to a single broker in the same run.
//!
//! `cargo bench --bench topologies [-- NODES [WAVES [ROUNDS]]]` (default 6,000 nodes, 8 waves, 3 rounds: some
//! six minutes). In each round every topology is started, proved and pressed in turn by a whole run, whose
//! waves all have to be complete; printed are medians over the rounds. The client is on the first broker, the
//! nodes are spread evenly over all of them, behind leaves over the leaves. Memory and CPU time are those
//! of all brokers together, everything on the same processors.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench says what it finds, or that it found nothing by a panic"
)]

mod shared;

use reports::broker::BrokerFigure;
use reports::summary::Summary;
use shared::{numbers, run};

/// Name, brokers, where the nodes are.
const TOPOLOGIES: [(&str, &str, &str); 5] = [
    ("single", "topology: single", "*"),
    ("cluster of 3", "topology: cluster, size: 3", "*"),
    ("cluster of 5", "topology: cluster, size: 5", "*"),
    ("hub and 3 leaves", "topology: leafnodes, leaves: 3", "leaf*"),
    ("supercluster 2 x 3", "topology: supercluster, clusters: 2, size: 3", "*"),
];

/// What one run showed.
struct Seen {
    /// From the intended instant of a wave until the last node had answered: the wave in the middle.
    wave_ms: f64,
    /// CPU time of all brokers while waves ran, for each answer.
    broker_us: f64,
    /// Resident memory of all brokers.
    rss_mib: f64,
    /// From the start of the brokers until the network was proved; none of a single one.
    formed_s: Option<f64>,
}

fn main() {
    shared::block_on(measure());
}

async fn measure() {
    let mut numbers = numbers();
    let nodes = numbers.next().unwrap_or(6_000);
    let waves = numbers.next().unwrap_or(8);
    let rounds = numbers.next().unwrap_or(3);
    let program = shared::nats_server().await;
    println!("nats-server {}, {nodes} nodes, {waves} waves, {rounds} rounds", program.version);
    let mut seen: Vec<Vec<Seen>> = TOPOLOGIES.iter().map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        for ((name, brokers, at), seen) in TOPOLOGIES.iter().zip(&mut seen) {
            let text = format!(
                "version: 1\nname: bench\n\
                 brokers: {{{brokers}, path: {:?}}}\n\
                 fleet: [{{group: default, nodes: {nodes}, brokers: \"{at}\", connect: {{rate: 3000/s}}}}]\n\
                 waves: [{{name: rpc, request: {{agent: emulated0, action: generate, data: {{size: 100}}}}, \
                 every: 2s, warmup: 1, count: {waves}, deadline: 30s}}]\n",
                program.path
            );
            let one = Seen::of(&run(&text).await);
            println!(
                "round {round}  {name:<18}  wave {:>7.1} ms  broker {:>5.1} us an answer  {:>6.1} MiB",
                one.wave_ms, one.broker_us, one.rss_mib
            );
            seen.push(one);
        }
    }
    report(&seen);
}

impl Seen {
    fn of(summary: &Summary) -> Self {
        let brokers = &summary.cost.brokers;
        let answers: u64 = summary.waves.iter().map(|wave| wave.on_time).sum();
        let cpu_s: f64 = brokers.iter().filter_map(|broker| broker.wave_cpu_s).sum();
        let rss = brokers.iter().filter_map(|broker| broker.figure(BrokerFigure::RssBytes));
        Self {
            wave_ms: summary.entries[0].to_complete_ms.median.unwrap(),
            broker_us: cpu_s * 1e6 / answers as f64,
            rss_mib: rss.sum::<f64>() / f64::from(1 << 20),
            formed_s: summary.forming.as_ref().map(|forming| forming.formed_s),
        }
    }
}

fn report(seen: &[Vec<Seen>]) {
    let middle =
        |rounds: &[Seen], pick: fn(&Seen) -> f64| median(rounds.iter().map(pick).collect());
    let figures: [fn(&Seen) -> f64; 3] = [|s| s.wave_ms, |s| s.broker_us, |s| s.rss_mib];
    let single = figures.map(|pick| middle(&seen[0], pick));
    println!(
        "\n{:<18}  {:>16}  {:>20}  {:>18}  {:>8}",
        "", "wave", "broker, an answer", "memory", "formed"
    );
    for ((name, ..), rounds) in TOPOLOGIES.iter().zip(seen) {
        let [wave, cpu, rss] = figures.map(|pick| middle(rounds, pick));
        let formed: Vec<f64> = rounds.iter().filter_map(|seen| seen.formed_s).collect();
        let formed =
            if formed.is_empty() { "-".to_owned() } else { format!("{:.2} s", median(formed)) };
        println!(
            "{name:<18}  {wave:>7.1} ms {:>4.2}x  {cpu:>11.1} us {:>4.2}x  {rss:>8.1} MiB {:>4.2}x  {formed:>8}",
            wave / single[0],
            cpu / single[1],
            rss / single[2],
        );
    }
    let slowest = seen.last().into_iter().flatten().filter_map(|seen| seen.formed_s);
    let slowest = slowest.fold(0.0, f64::max);
    println!("\nslowest forming of the supercluster: {slowest:.2} s (mark: 5 s)");
}

/// The one in the middle; of an even number that above it.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
