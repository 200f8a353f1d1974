//! What is seen of real brokers, held against counts that are known from the plan.

use std::collections::BTreeMap;
use std::time::Duration;

use reports::broker::BrokerFigure;

use super::apart::conduct;
use super::rig::{Left, external, left_in, real, run_alone, run_while, scenario};
use super::setup;

const NODES: u64 = 200;
const WAVES: u64 = 4;

/// The time series as rows of fields, by column name.
pub(super) struct Series {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Series {
    pub(super) fn of(left: &Left) -> Self {
        let text = std::fs::read_to_string(left.folder.join("timeseries.csv")).unwrap();
        let fields = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
        let mut rows: Vec<_> = text.lines().map(fields).collect();
        Self { columns: rows.remove(0), rows }
    }

    /// A column of the rows of one broker, or of the tool (empty).
    pub(super) fn column(&self, broker: &str, name: &str) -> Vec<f64> {
        let at = |name: &str| self.columns.iter().position(|column| column == name).unwrap();
        let (whose, column) = (at("broker"), at(name));
        let mine = self.rows.iter().filter(|row| row[whose] == broker);
        mine.map(|row| row[column].parse().unwrap_or(f64::NAN)).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_broker_counts_agrees_with_the_plan() {
    let quiet = "events: {startup: false, alive: false, shutdown: false}";
    let group = format!("web, nodes: {NODES}, {quiet}");
    let wave =
        format!("rpc, request: {{agent: emulated0, action: generate}}, every: 1s, count: {WAVES}");
    let text = scenario(&real().await, &[&group], &[&wave])
        + "thresholds:\n  \"broker.msgs_in{broker:n1}\": [\"value >= 804\"]\n  \
           broker.slow_consumers: [\"count == 0\"]\n  broker.rss_bytes: [\"max < 1GiB\"]\n  \
           broker.cpu_s: [\"value > 0\"]\n";
    let out = tempfile::tempdir().unwrap();
    let finished = run_alone(setup(&text, &[], out.path()).await).await.unwrap();
    let left = Left::by(&finished);
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{:?}", left.summary.thresholds);

    // A broadcast is one message in and one to each node; each reply is one in and one out. Beside
    // that the driver proves its connections and subscriptions with a few messages to itself.
    let broker = &left.summary.cost.brokers[0];
    let figure = |figure| broker.figure(figure).unwrap() as u64;
    let (msgs_in, msgs_out) = (figure(BrokerFigure::MsgsIn), figure(BrokerFigure::MsgsOut));
    let (sure_in, sure_out) = (WAVES * (1 + NODES), WAVES * 2 * NODES);
    let few = NODES / 2;
    assert!((sure_in..sure_in + few).contains(&msgs_in), "{msgs_in} in, {sure_in} by the plan");
    assert!((sure_out..sure_out + few).contains(&msgs_out), "{msgs_out} out, {sure_out} by plan");
    assert!(figure(BrokerFigure::BytesOut) > figure(BrokerFigure::BytesIn));
    assert_eq!(figure(BrokerFigure::SlowConsumers), 0);
    assert_eq!(figure(BrokerFigure::Links), 0);
    // Five subjects a node, and a few of the driver.
    let subscriptions = figure(BrokerFigure::Subscriptions);
    assert!(subscriptions >= 5 * NODES, "{subscriptions}");
    // The nodes, a publisher and a receiver.
    assert_eq!(figure(BrokerFigure::Connections), NODES + 2);

    // Once a second on the axis of the waves, counters that never go back.
    let series = Series::of(&left);
    let (at, seen_in) = (series.column("n1", "at_s"), series.column("n1", "msgs_in"));
    assert!(at.len() >= 4 && at.is_sorted() && seen_in.is_sorted(), "{at:?} {seen_in:?}");
    assert_eq!(seen_in.last().copied(), Some(msgs_in as f64));
    assert!(series.column("n1", "cpu_s").is_sorted());
    assert!(series.column("n1", "connected").iter().all(|value| value.is_nan()));
    let tool = series.column("", "connected");
    assert_eq!(tool.last().copied(), Some(NODES as f64));
    assert!(series.column("", "msgs_in").iter().all(|value| value.is_nan()));
    let first_wave = left.summary.waves[0].intended_at_s;
    let last_wave = left.summary.waves.last().unwrap().intended_at_s;
    let before = at.iter().zip(&seen_in).filter(|(at, _)| **at < first_wave);
    assert!(before.clone().all(|(_, seen)| *seen < few as f64), "no wave before the first");
    let between = at.iter().filter(|at| (first_wave..last_wave).contains(*at)).count();
    assert!(between >= 1, "{at:?} has nothing between {first_wave} and {last_wave}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_leaf_is_seen_and_its_silent_nodes_name_it() {
    let brokers = format!("topology: leafnodes, leaves: 2, {}", real().await);
    let groups = [
        "quick, nodes: 30, brokers: [leaf1]",
        "slow, nodes: 30, brokers: [leaf2], behaviour: {reply_delay: 700ms, no_reply: 20%}",
    ];
    let wave = "rpc, request: {agent: emulated0, action: generate}, every: 3s, warmup: 1, count: 2, \
         deadline: 2s";
    let text = scenario(&brokers, &groups, &[wave])
        + "late_grace: 0s\nthresholds:\n  \"completeness{wave:rpc,broker:leaf1}\": [\"min == 100%\"]\n  \
           \"response_time{broker:leaf2}\": [\"min >= 700ms\"]\n  \
           \"completeness{hops:1}\": [\"max < 100%\"]\n";
    let out = tempfile::tempdir().unwrap();
    let finished = run_alone(setup(&text, &[], out.path()).await).await.unwrap();
    let left = Left::by(&finished);
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{:?}", left.summary.thresholds);
    let places = left.summary.places.as_ref().unwrap();
    let (leaf1, leaf2) = (&places.by_broker["leaf1"], &places.by_broker["leaf2"]);
    assert_eq!((leaf1.expected, leaf1.on_time, leaf2.expected), (60, 60, 60));
    assert!(leaf2.missing > 0 && leaf2.on_time + leaf2.missing == 60, "{leaf2:?}");
    assert_eq!(places.by_hops[&1].expected, 120, "the client is on the hub");
    assert_eq!(left.summary.missing.by_broker, [("leaf2".to_owned(), leaf2.missing)].into());
    let missing = left.missing();
    let mut counted = missing.iter().filter(|node| !node.warmup);
    assert!(counted.all(|node| node.broker.as_deref() == Some("leaf2")), "{missing:?}");
    // Each broker is seen by its name: the hub has a leaf connection to each leaf.
    let series = Series::of(&left);
    assert_eq!(series.column("hub1", "links").last().copied(), Some(2.0));
    assert_eq!(series.column("leaf1", "links").last().copied(), Some(1.0));
    // A broadcast goes once to each leaf and to each of its nodes; the replies come back once each.
    let msgs_in =
        |at: usize| left.summary.cost.brokers[at].figure(BrokerFigure::MsgsIn).unwrap() as u64;
    let names: Vec<_> = left.summary.cost.brokers.iter().map(|b| b.name.as_str()).collect();
    assert_eq!(names, ["hub1", "leaf1", "leaf2"]);
    assert!(msgs_in(1) >= 2 * (1 + 30), "{}", msgs_in(1));
    assert!(msgs_in(0) >= 2 + leaf1.on_time + leaf2.on_time, "{}", msgs_in(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_reply_names_the_broker_that_the_node_was_on_and_not_its_home() {
    let brokers = format!("topology: cluster, size: 2, {}", real().await);
    let groups = [
        "loud, nodes: 5, brokers: n1",
        "silent, nodes: 20, brokers: n2, behaviour: {no_reply: 100%}",
    ];
    let wave = "rpc, request: {agent: emulated0, action: generate}, every: 1s, count: 14, \
         deadline: 500ms";
    let text = scenario(&brokers, &groups, &[wave])
        + "timeline: [{after: {wave: rpc, number: 2}, stop: n2}]\n";
    let out = tempfile::tempdir().unwrap();
    let left = Left::by(&run_alone(setup(&text, &[], out.path()).await).await.unwrap());
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{}", left.error());
    let missing = left.missing();
    for (number, broker) in [(1, "n2"), (14, "n1")] {
        let of_wave: Vec<_> = missing.iter().filter(|node| node.number == number).collect();
        assert_eq!(of_wave.len(), 20, "wave {number}");
        let there = of_wave.iter().all(|node| node.broker.as_deref() == Some(broker));
        assert!(there, "wave {number}: {of_wave:?}");
    }
}

/// Nodes that never answer, by the brokers that missing replies name them with, wave by wave.
fn missing_from(left: &Left, number: u32) -> BTreeMap<String, usize> {
    let mut by_broker = BTreeMap::new();
    for node in left.missing().into_iter().filter(|node| node.number == number) {
        *by_broker.entry(node.broker.unwrap_or_default()).or_default() += 1;
    }
    by_broker
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_knows_a_part_of_the_brokers_flees_to_one_of_these_and_is_missing_there() {
    let brokers = format!("topology: supercluster, size: 2, {}", real().await);
    let groups = ["silent, nodes: 20, brokers: c2-n1, behaviour: {no_reply: 100%}"];
    let wave = "rpc, request: {agent: emulated0, action: generate}, every: 1s, count: 14, \
         deadline: 500ms";
    let text = scenario(&brokers, &groups, &[wave])
        + "timeline: [{after: {wave: rpc, number: 2}, kill: c2-n1}]\n";
    let (out, far) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let here = run_alone(setup(&text, &[], out.path()).await).await.unwrap();
    conduct(far.path(), &text, "2", &[]).end();
    for left in [Left::by(&here), left_in(far.path())] {
        assert_eq!(left.code_on_a_quiet_machine(), 0, "{}", left.error());
        assert_eq!(missing_from(&left, 1), [("c2-n1".to_owned(), 20)].into());
        assert_eq!(missing_from(&left, 14), [("c2-n2".to_owned(), 20)].into());
        let counted = &left.summary.missing.by_broker;
        assert_eq!(counted.keys().collect::<Vec<_>>(), ["c2-n1", "c2-n2"], "{counted:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_fled_to_a_broker_that_it_was_told_of_is_missing_from_there() {
    let folder = tempfile::tempdir().unwrap();
    let [here, told] = super::watched::two(folder.path()).await;
    let place = told.client().to_string();
    let group = "silent, nodes: 20, behaviour: {no_reply: 100%}";
    let wave = "rpc, request: {agent: emulated0, action: generate}, every: 1s, count: 14, \
         deadline: 500ms";
    let text = scenario(&external(&here.url()), &[group], &[wave]);
    let out = tempfile::tempdir().unwrap();
    let (finished, ()) = run_while(setup(&text, &[], out.path()).await, async |mut told| {
        told.waves(2).await;
        here.stop(Duration::ZERO).await;
    })
    .await;
    let left = Left::by(&finished.unwrap());
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{}", left.error());
    assert_eq!(missing_from(&left, 1), [(String::new(), 20)].into());
    assert_eq!(missing_from(&left, 14), [(place, 20)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn goroutines_and_memory_are_looked_at_between_phases_where_profiling_is_on() {
    let brokers = format!("topology: cluster, size: 2, profiling: true, {}", real().await);
    let asked = "thresholds:\n  broker.goroutines: [\"count > 30\"]\n  \
                 \"broker.stack_inuse_bytes{broker:n2}\": [\"max < 1GiB\"]\n";
    let text = scenario(&brokers, &["web, nodes: 30"], &["all, discover: {}"]) + asked;
    let out = tempfile::tempdir().unwrap();
    let finished = run_alone(setup(&text, &[], out.path()).await).await.unwrap();
    let left = Left::by(&finished);
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{:?}", left.summary.thresholds);
    let series = Series::of(&left);
    for broker in &left.summary.cost.brokers {
        let seen = |figure: BrokerFigure| broker.figure(figure).unwrap();
        // One reads and one writes for each connection.
        assert!(seen(BrokerFigure::Goroutines) >= 30.0, "{broker:?}");
        let heap = seen(BrokerFigure::HeapInuseBytes);
        assert!(heap > 0.0 && heap < seen(BrokerFigure::RssBytes), "{broker:?}");
        assert!(seen(BrokerFigure::StackInuseBytes) > 0.0, "{broker:?}");
        let rows = series.column(&broker.name, "goroutines");
        assert_eq!(rows.iter().filter(|value| !value.is_nan()).count(), 3, "{rows:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_looked_at_before_and_after_each_phase() {
    let text = scenario(&real().await, &["web, nodes: 30"], &["all, discover: {}"]);
    let out = tempfile::tempdir().unwrap();
    let finished = run_alone(setup(&text, &[], out.path()).await).await.unwrap();
    let left = Left::by(&finished);
    let broker = &left.summary.cost.brokers[0];
    let looks: Vec<_> =
        broker.looks.iter().map(|(when, l)| (when.as_str(), l.connections)).collect();
    // A publisher, a receiver and the listener are there before the nodes.
    assert_eq!(looks, [("after waves", 33), ("before connect", 3), ("before waves", 33)]);
    assert_eq!(broker.silent_s, 0.0);
    let events = left.lines("events.jsonl");
    let seen = events.iter().filter(|event| event["kind"] == "broker_connections");
    assert_eq!(seen.count(), 3);
}
