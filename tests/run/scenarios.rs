//! Every shipped scenario runs, at a size for tests, and says what its first comment asks.

use std::path::Path;

use choria_emulator::conductor::Stop;
use reports::broker::BrokerFigure;
use reports::run::Ending;
use reports::summary::Summary;
use reports::verdict::Severity;

use super::{run, setup};
use crate::support::is_about_machine;

/// Runs a shipped scenario so: valid, to its end, every threshold met.
pub(super) async fn check(name: &str, overrides: &[&str]) -> Summary {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name);
    let text = std::fs::read_to_string(file).unwrap();
    let out = tempfile::tempdir().unwrap();
    let (finished, _) = run(setup(&text, overrides, out.path()).await, Stop::default()).await;
    let finished = finished.unwrap();
    let summary = Summary::read(&finished.folder).unwrap();
    let terminal = reports::render::terminal::render(
        &summary,
        Some(&finished.folder),
        reports::render::terminal::Style::default(),
    );
    assert!(summary.thresholds.iter().all(|t| t.passed), "{name}\n{terminal}");
    assert_eq!(finished.result.ending, Ending::Completed, "{name}\n{terminal}");
    let mut invalid = summary.doubts.iter().filter(|d| d.severity == Severity::Invalid);
    assert!(invalid.all(is_about_machine(&summary)), "{name}\n{terminal}");
    summary
}

const FAST: [&str; 2] = ["waves.discovery.every=500ms", "waves.rpc.every=500ms"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [FAST.as_slice(), more].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn first_look_is_complete() {
    let summary = check("first-look.yaml", &with(&["fleet.default.nodes=200"])).await;
    assert_eq!((summary.fleet.connected, summary.fleet.subscriptions), (200, 1000));
    assert_eq!(summary.waves.len(), 1 + 3 + 5);
    assert!(summary.waves.iter().all(|wave| wave.completeness == Some(1.0)));
    assert!(summary.waves.iter().all(|wave| (wave.on_time, wave.expected) == (200, 200)));
    assert_eq!(summary.missing.count, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_and_collectives_reach_their_own_nodes_only() {
    let small = ["fleet.default.nodes=100", "fleet.default.connect.rate=500/s"];
    let summary = check("agents-and-collectives.yaml", &small).await;
    assert_eq!(summary.fleet.subscriptions, 100 * 55);
    let expected =
        |name: &str| summary.waves.iter().find(|wave| wave.name == name).map(|wave| wave.expected);
    assert_eq!(expected("everybody"), Some(100));
    assert_eq!(expected("one-datacentre"), Some(25));
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_silent_nodes_are_named_with_their_cause() {
    let small = [
        "fleet.steady.nodes=60",
        "fleet.slow.nodes=40",
        "fleet.silent.nodes=40",
        "waves.discovery.every=2s",
        "waves.discovery.deadline=2s",
        "waves.rpc.every=2s",
        "waves.rpc.deadline=2s",
        "waves.rpc.count=3",
        "fleet.silent.behaviour.no_reply=5%",
        "fleet.slow.behaviour.reply_delay.lognormal.median=300ms",
    ];
    let summary = check("slow-and-silent.yaml", &small).await;
    let silent = summary.missing.count;
    assert!(silent > 0, "nobody kept silent in 5 waves of 40 nodes at 5 %");
    assert_eq!(summary.missing.by_group.get("silent"), Some(&silent));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_each_get_everything() {
    let summary = check("many-clients.yaml", &with(&["fleet.default.nodes=100"])).await;
    let mut clients: Vec<u32> = summary.waves.iter().map(|wave| wave.client).collect();
    clients.sort_unstable();
    clients.dedup();
    assert_eq!(clients, [1, 2, 3, 4, 5, 6]);
    assert!(summary.waves.iter().all(|wave| wave.on_time == 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn own_agents_answer_from_the_nodes_that_host_them() {
    let small = ["fleet.plain.nodes=60", "fleet.locked.nodes=40", "fleet.others.nodes=40"];
    let summary = check("own-agents.yaml", &small).await;
    assert_eq!(summary.fleet.subscriptions, 100 * 6 + 40 * 4);
    let waves = |name: &str| {
        let waves = summary.waves.iter().filter(|wave| wave.name == name && !wave.warmup);
        waves.map(|wave| (wave.expected, wave.on_time, wave.errors)).collect::<Vec<_>>()
    };
    assert_eq!(waves("hosts"), [(100, 100, 0); 3]);
    assert_eq!(waves("pending"), [(100, 100, 0); 5]);
    // A quarter of the nodes is meant; those of group locked say that they failed.
    assert_eq!(waves("install"), [(25, 25, 10); 3]);
    assert_eq!(waves("checks"), [(100, 100, 0); 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_move_when_they_are_asked_and_every_event_of_theirs_is_counted() {
    let small = ["fleet.default.nodes=50", "waves.toggle.every=2s", "waves.trigger.every=1s"];
    let summary = check("autonomous-agents.yaml", &small).await;
    let count = |kind: &str| summary.events[kind].published;
    // On and off again; checked and found to be well, whether it was before or not.
    assert!(count("machine_transition") >= 50 * 4, "{:?}", summary.events);
    // A timer that was started and ended; a check.
    assert!(count("watcher_state") >= 50 * 3, "{:?}", summary.events);
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_and_batch_reach_everybody() {
    let small = ["fleet.default.nodes=100", "waves.batch.batch.size=25"];
    let summary = check("direct-and-batch.yaml", &small).await;
    let modes = summary.entries.iter().map(|entry| entry.name.as_str());
    assert_eq!(modes.collect::<Vec<_>>(), ["broadcast", "direct", "batch"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_scenarios_run_at_a_hundredth_and_less() {
    let fifty = check("fifty-thousand.yaml", &with(&["fleet.default.nodes=500"])).await;
    assert_eq!((fifty.fleet.connected, fifty.waves.len(), fifty.cost.brokers.len()), (500, 10, 3));
    let brisk = with(&["fleet.default.nodes=600"]);
    let largest = check("two-hundred-thousand.yaml", &brisk).await;
    assert_eq!((largest.fleet.connected, largest.cost.brokers.len()), (600, 12));
    assert!(largest.waves.iter().all(|wave| wave.on_time == 600));
}

#[tokio::test(flavor = "multi_thread")]
async fn fifteen_thousand_runs_at_a_tenth() {
    let summary = check("fifteen-thousand.yaml", &with(&["fleet.default.nodes=1500"])).await;
    assert_eq!(summary.fleet.connected, 1500);
    assert_eq!(summary.cost.brokers[0].figure(BrokerFigure::SlowConsumers), Some(0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn lifecycle_storm_loses_no_event() {
    let small = ["fleet.default.nodes=400", "fleet.default.events.alive_every=1s"];
    let summary = check("lifecycle-storm.yaml", &small).await;
    for kind in ["startup", "shutdown"] {
        let totals = summary.events[kind];
        assert_eq!((totals.published, totals.received), (400, 400), "{kind}");
    }
    let alive = summary.events["alive"];
    assert!(alive.published > 400 && alive.received == alive.published, "{alive:?}");
    assert!(!summary.events.contains_key("registration"));
    assert_eq!(summary.departures, ["group default: alive events every 1s, not 30m"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn registration_storm_goes_on_after_the_outage() {
    const NODES: u64 = 300;
    const EVERY_S: u64 = 3;
    let small = [
        "fleet.default.nodes=300",
        "fleet.default.registration.interval=3s",
        "timeline.0.at=4s",
        "timeline.0.for=2s",
        "waves.rpc.every=1s",
        "waves.rpc.count=25",
    ];
    let summary = check("registration-storm.yaml", &small).await;
    let recovery = &summary.recovery[0];
    assert_eq!((recovery.nodes_lost, recovery.nodes_back), (NODES, NODES), "{recovery:?}");
    // Had every node been there since the run began: the first after a second, and one an interval.
    let before = (recovery.at_s.unwrap() as u64 / EVERY_S + 1) * NODES;
    let registrations = summary.events["registration"];
    // Twice each, though no node registers more than once an interval.
    assert!(registrations.received >= before + 2 * NODES, "{registrations:?}, {before} before");
    assert_eq!(
        summary.events["startup"].received, NODES,
        "a node that connects again is no new one"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn broker_restart_says_how_long_the_network_is_away() {
    let small =
        ["fleet.default.nodes=200", "waves.discovery.every=500ms", "waves.discovery.count=40"];
    let summary = check("broker-restart.yaml", &small).await;
    let recovery = &summary.recovery[0];
    assert_eq!((recovery.nodes_lost, recovery.nodes_back), (200, 200));
    assert!(recovery.ready_s.unwrap() >= 2.0, "{recovery:?}");
    assert!(recovery.first_discovery_s >= recovery.ready_s, "{recovery:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rolling_upgrade_takes_the_brokers_one_after_the_other_and_ends_whole() {
    let small = [
        "fleet.default.nodes=90",
        // A lame duck takes twenty seconds; ended at once, a broker takes its nodes' answers with it, and
        // all answers of a wave under way where it is the client's.
        "timeline.0.by=term",
        "thresholds.completeness{during:upgrade}=[\"min >= 0%\"]",
        "timeline.0.at=1s",
        "waves.discovery.every=250ms",
        "waves.discovery.count=60",
    ];
    let summary = check("rolling-upgrade.yaml", &small).await;
    let turns: Vec<_> = summary.recovery.iter().map(|r| (r.turn, r.brokers.join(" "))).collect();
    assert_eq!(turns, [(1, "n1".to_owned()), (2, "n2".to_owned()), (3, "n3".to_owned())]);
    for [before, after] in summary.recovery.windows(2).map(|two| [&two[0], &two[1]]) {
        let whole = before.at_s.unwrap() + before.whole_s.unwrap();
        assert!(after.at_s.unwrap() >= whole, "{after:?} before {before:?} was over");
    }
    let last = &summary.recovery[2];
    assert!(last.nodes_lost > 0 && last.time_to_s.all.is_some(), "{last:?}");
    // Nobody goes back to a broker that is there again: the last one has nodes no more.
    let [n2, n3] = ["n2", "n3"].map(|name| last.connections_after[name]);
    assert!(n3 < n2, "{last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn churn_is_missed_while_it_is_away_and_nobody_else_is() {
    let small = [
        "fleet.default.nodes=200",
        // The same at a tenth of the time: two rounds and a half.
        "fleet.default.behaviour.churn={share: 10%, every: 3s, away: 500ms}",
        "waves.discovery.every=200ms",
    ];
    let summary = check("churn.yaml", &small).await;
    let [left, returned] = ["left", "returned"].map(|counter| summary.fleet.counters[counter]);
    // Twenty nodes in each round; at the end no more are away than leave in two.
    assert!(left >= 28 && returned <= left && left - returned <= 40, "{left}, {returned}");
    // Counted when all has ended: who came back since the counters were taken has said so too.
    let startups = summary.events["startup"].published;
    assert!((200 + returned..=200 + left).contains(&startups), "{startups}, {left}, {returned}");
    assert_eq!(summary.fleet.ever_connected, 200);
    // Everybody stays for a whole round.
    let first: Vec<_> = summary.waves.iter().take(4).map(|wave| wave.on_time).collect();
    assert_eq!(first, [200; 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_stuck_node_is_cut_off_and_disturbs_nobody() {
    let small = [
        "fleet.default.nodes=60",
        "fleet.stuck.behaviour.stuck.after=2s",
        "brokers.config={write_deadline: 1s}",
        "waves.rpc.every=100ms",
        "waves.rpc.count=150",
    ];
    let summary = check("one-stuck-node.yaml", &small).await;
    let waves: Vec<_> = summary.waves.iter().map(|wave| (wave.on_time, wave.missing)).collect();
    assert_eq!((waves[0], waves[149]), ((61, 0), (60, 1)));
    let broker = &summary.cost.brokers[0];
    let reasons: Vec<_> = broker.closed.keys().filter(|key| key.starts_with("Slow")).collect();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    // As far as the node knows it is connected.
    assert_eq!((summary.fleet.disconnects, summary.fleet.reconnects), (0, 0));
}

/// A scenario of several brokers at a reduced size: complete, formed, its brokers all there.
async fn check_network(name: &str, brokers: usize, more: &[&str]) -> Summary {
    let summary = check(name, &with(more)).await;
    assert!(summary.waves.iter().all(|wave| wave.completeness == Some(1.0)), "{name}");
    assert_eq!(summary.cost.brokers.len(), brokers, "{name}");
    let formed = summary.forming.as_ref().is_some_and(|forming| forming.interest_s.is_some());
    assert!(formed, "{name}");
    summary
}

#[tokio::test(flavor = "multi_thread")]
async fn clusters_leafnodes_and_superclusters_are_complete() {
    let small = ["fleet.default.nodes=150", "thresholds.forming.time=[\"value > 0s\"]"];
    let cluster = check_network("cluster-of-three.yaml", 3, &small).await;
    let [departure] = &cluster.departures[..] else { panic!("{:?}", cluster.departures) };
    assert!(departure.contains("first that they are at home on"), "{departure}");
    check_network("cluster-of-five.yaml", 5, &small).await;
    let small = ["fleet.site.nodes=100", "fleet.central.nodes=20", small[1]];
    check_network("leafnodes.yaml", 4, &small).await;
    let small = ["fleet.east.nodes=60", "fleet.west.nodes=60", small[2]];
    check_network("supercluster.yaml", 6, &small).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "builds old releases: minutes, and needs Go; run with --ignored"]
async fn releases_from_three_years_in_one_cluster_are_complete() {
    check_network("mixed-versions.yaml", 3, &["fleet.default.nodes=150"]).await;
}
