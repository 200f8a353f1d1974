//! Runs as examples: one that passed, one that failed, one that is invalid.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reports::broker::{BrokerCost, BrokerFigure, BrokerFigures, Build, Builds, Link};
use reports::forming::Forming;
use reports::missing::{Cause, MissingNode};
use reports::place::{Place, PlaceCounts, PlaceResult};
use reports::run::{
    About, DriverCost, EmulatorCost, Ending, EventTotals, GroupTotals, Host, Origin, RunResult,
    Tool,
};
use reports::threshold::Threshold;
use reports::verdict::{Doubt, Severity};
use reports::wave::{WaveKey, WaveKind, WaveResult};

pub(crate) const NODES: u64 = 2_000;

pub(crate) fn key(name: &str, number: u32) -> WaveKey {
    WaveKey { name: name.to_owned(), number, warmup: false, client: 1 }
}

/// A wave in which the first `answers` of [`NODES`] nodes answer, 20 us after one another.
pub(crate) fn wave(kind: WaveKind, at: Duration, answers: u64) -> WaveResult {
    let mut wave: WaveResult = WaveResult {
        kind,
        intended_at: at,
        expected: NODES,
        on_time: answers,
        payload_bytes: 122,
        discovered: NODES,
        publish_duration: Duration::from_micros(80),
        request_duration: Duration::from_micros(2_000 + 20 * answers),
        ..WaveResult::default()
    };
    wave.send_delay.record(Duration::from_micros(150));
    for node in 0..answers {
        let service = Duration::from_micros(2_000 + 20 * node);
        wave.service_time.record(service);
        wave.response_time.record(service + Duration::from_micros(150));
    }
    wave
}

pub(crate) fn passed() -> RunResult {
    let mut run = RunResult {
        about: about(),
        duration: Duration::from_millis(12_345),
        ending: Ending::Completed,
        ..RunResult::default()
    };
    for (key, wave) in waves_of_passed() {
        run.tally.waves.add(key, &wave);
    }
    fleet_and_cost(&mut run);
    with_thresholds(run)
}

/// The waves of [`passed`] as they were when they ended, in run order.
pub(crate) fn waves_of_passed() -> Vec<(WaveKey, WaveResult)> {
    let warmup = WaveKey { warmup: true, ..key("rpc", 1) };
    let mut waves = vec![(warmup, wave(WaveKind::Request, Duration::ZERO, NODES - 7))];
    let discover = (1..=2).map(|n| ("discovery", WaveKind::Discover, n));
    let request = (1..=3).map(|n| ("rpc", WaveKind::Request, n));
    for (i, (name, kind, n)) in discover.chain(request).enumerate() {
        let at = Duration::from_secs(1 + i as u64);
        waves.push((key(name, n), wave(kind, at, NODES)));
    }
    waves
}

/// The same with 13 silent nodes and one late one in the last wave.
pub(crate) fn failed() -> RunResult {
    let mut run = passed();
    let mut last = wave(WaveKind::Request, Duration::from_secs(6), NODES - 14);
    last.late = 1;
    last.response_time.record(Duration::from_secs(11));
    last.service_time.record(Duration::from_secs(11));
    last.duplicate = 2;
    last.request_duration = Duration::from_secs(10);
    run.tally.waves.add(key("rpc", 4), &last);
    for i in 0..14 {
        let cause = if i < 13 { Cause::NoReply } else { Cause::Late };
        let mut node = MissingNode::new(&key("rpc", 4), format!("web-{i}.choria.local"), cause);
        node.index = Some(i);
        node.group = Some("web".to_owned());
        node.broker = Some("n1".to_owned());
        run.tally.missing.add(&node);
    }
    with_thresholds(run)
}

/// The same as the failed one, by a tool that was too slow.
pub(crate) fn invalid() -> RunResult {
    let mut run = failed();
    run.tally.doubts.extend([
        Doubt {
            kind: "generator_saturated".to_owned(),
            severity: Severity::Invalid,
            detail: "the emulator used 1.96 of 2 cores while waves ran".to_owned(),
            advice: "run fewer nodes on this machine, or give it more cores".to_owned(),
        },
        Doubt {
            kind: "debug_build".to_owned(),
            severity: Severity::Note,
            detail: "this is a debug build".to_owned(),
            advice: "build with --release".to_owned(),
        },
    ]);
    run.about.departures = vec!["nodes do not flush each reply".to_owned()];
    run
}

/// Two waves over two brokers: a quick one with three quarters of the nodes and a slow leaf, of which
/// one node keeps silent in the first wave.
pub(crate) fn placed() -> RunResult {
    let mut run = RunResult { about: about(), ending: Ending::Completed, ..RunResult::default() };
    for number in 1..=2 {
        let mut wave = wave(WaveKind::Request, Duration::from_secs(number.into()), 0);
        let silent = u64::from(number == 1);
        for (broker, cluster, hops, nodes, silent, ms) in
            [("n1", Some("hub"), 0, 1_500, 0, 35), ("leaf1", None, 1, 500, silent, 2_000)]
        {
            let cluster = cluster.map(str::to_owned);
            let place = Place { broker: broker.to_owned(), cluster, hops: Some(hops) };
            let on_time = nodes - silent;
            let mut result: PlaceResult = PlaceResult {
                counts: PlaceCounts { expected: nodes, on_time, late: 0 },
                ..PlaceResult::default()
            };
            for _ in 0..on_time {
                result.response_time.record(Duration::from_millis(ms));
            }
            wave.on_time += on_time;
            wave.response_time.merge(&result.response_time);
            wave.places.insert(Arc::new(place), result);
        }
        run.tally.waves.add(key("rpc", number), &wave);
    }
    let mut node = MissingNode::new(&key("rpc", 1), "web-1900.choria.local", Cause::NoReply);
    node.broker = Some("leaf1".to_owned());
    run.tally.missing.add(&node);
    fleet_and_cost(&mut run);
    run.tally.cost.brokers.insert("leaf1".to_owned(), replaced_leaf());
    let link = |kind: &str, pending_bytes, rtt_us_min, rtt_us_max| Link {
        kind: kind.to_owned(),
        connections: 1,
        pending_bytes,
        rtt_us_min: Some(rtt_us_min),
        rtt_us_max: Some(rtt_us_max),
    };
    if let Some(hub) = run.tally.cost.brokers.get_mut("n1") {
        hub.links.insert("n2".to_owned(), link("route", Some(3 << 20), 80, 9_000));
        hub.links.insert("leaf1".to_owned(), link("leaf", None, 1_900, 2_400));
    }
    run
}

/// A broker that became another release in mid run.
fn replaced_leaf() -> BrokerCost {
    let mut builds = Builds::one("2.9.25", Some("go1.19.13".to_owned()));
    let after = Build { version: "2.14.5".to_owned(), go: Some("go1.26.8".to_owned()) };
    builds.note(Duration::from_secs(7), after);
    BrokerCost { builds, ..BrokerCost::default() }
}

fn about() -> About {
    About {
        tool: Tool {
            name: "choria-emulator".to_owned(),
            version: "0.1.0".to_owned(),
            profile: "release".to_owned(),
        },
        scenario: "first-look".to_owned(),
        plan_digest: format!("sha256:{}", "0123456789abcdef".repeat(4)),
        certificate_digest: None,
        started_at: "2026-10-05T14:22:33Z".to_owned(),
        topology: "single".to_owned(),
        departures: Vec::new(),
        origin: Origin::Started,
        host: Host {
            cores: 2,
            memory_bytes: 24 << 30,
            kernel: "6.1.0".to_owned(),
            open_files_limit: 20_000,
        },
    }
}

fn fleet_and_cost(run: &mut RunResult) {
    let fleet = &mut run.tally.fleet;
    fleet.planned = NODES;
    fleet.connected = NODES;
    fleet.ever_connected = NODES;
    fleet.connect_duration = Duration::from_millis(912);
    fleet.subscriptions = 5 * NODES;
    fleet.workers = 1;
    fleet.received = 6 * NODES;
    fleet.answered = 6 * NODES - 7;
    fleet.counters.insert("slow_consumer".to_owned(), 3);
    fleet.connect.total.record(Duration::from_millis(4));
    let web = GroupTotals {
        planned: NODES,
        connected: NODES,
        agents: 4,
        collectives: 1,
        subscriptions_per_node: 5,
    };
    fleet.groups.insert("web".to_owned(), web);
    let cost = &mut run.tally.cost;
    cost.emulator = EmulatorCost {
        rss_bytes: 6_400_000,
        rss_nodes: NODES,
        cpu: Duration::from_millis(480),
        wave_cpu: Duration::from_millis(140),
        wave_answers: 6 * NODES,
    };
    cost.driver = DriverCost { cpu: Duration::from_millis(96), replies: 6 * NODES };
    let broker = BrokerCost {
        builds: Builds::one("2.14.5", Some("go1.26.8".to_owned())),
        figures: broker_figures(),
        closed: BTreeMap::from([("Client Closed".to_owned(), 3)]),
        ..BrokerCost::default()
    };
    cost.brokers.insert("n1".to_owned(), broker);
    run.tally.forming = Some(Forming {
        links: BTreeMap::from([("route".to_owned(), 3)]),
        formed: Duration::from_millis(180),
        interest: Some(Duration::from_millis(4)),
    });
    run.tally.scheduler_lag.record(Duration::from_micros(1_100));
    for (kind, published, received) in [("startup", NODES, NODES), ("alive", 70, 67)] {
        run.tally.events.insert(kind.to_owned(), EventTotals { published, received });
    }
}

fn broker_figures() -> BrokerFigures {
    let mut figures = BrokerFigures::default();
    for figure in BrokerFigure::ALL {
        let value = match figure {
            BrokerFigure::RssBytes => 141_000_000,
            BrokerFigure::CpuUs => 1_530_000,
            BrokerFigure::Connections => NODES + 1,
            BrokerFigure::Subscriptions => 5 * NODES,
            BrokerFigure::MsgsIn => 6 + 6 * NODES,
            BrokerFigure::MsgsOut => 12 * NODES,
            BrokerFigure::BytesIn | BrokerFigure::BytesOut => 900 * NODES,
            _ => 0,
        };
        figures.set(figure, Some(value));
    }
    figures
}

fn with_thresholds(mut run: RunResult) -> RunResult {
    let thresholds = [
        ("completeness{wave:discovery}", "min == 100%"),
        ("completeness{wave:rpc}", "min == 100%"),
        ("response_time{wave:rpc}", "p(99) < 5s"),
        ("broker.slow_consumers", "count == 0"),
    ];
    run.thresholds = thresholds
        .iter()
        .map(|(metric, expression)| Threshold::parse(metric, expression).unwrap().evaluate(&run))
        .collect();
    run
}
