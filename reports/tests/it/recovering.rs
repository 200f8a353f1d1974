//! What a run with a timeline says: in its summary, its thresholds and its reports.

use std::time::Duration;

use reports::recovery::{Recovery, RecoveryKey};
use reports::render::terminal;
use reports::run::RunResult;
use reports::summary::Summary;
use reports::threshold::{Threshold, ThresholdOutcome};
use reports::wave::WaveKind;

use crate::examples::{self, NODES, key, wave};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A restart of one of two brokers at the instant of the second request: a wave short, then all well.
pub(crate) fn restarted() -> RunResult {
    let mut run = examples::passed();
    let mut short = wave(WaveKind::Request, ms(9_000), NODES - 900);
    short.request_duration = ms(1_500);
    run.tally.waves.add(key("rpc", 4), &short);
    run.tally.waves.add(key("rpc", 5), &wave(WaveKind::Request, ms(12_000), NODES));
    run.tally.waves.add(key("discovery", 3), &wave(WaveKind::Discover, ms(13_000), NODES));
    let mut recovery = Recovery {
        action: "restart".to_owned(),
        brokers: ["n1".to_owned()].into(),
        began: Some(ms(9_100)),
        done: Some(ms(400)),
        ready: Some(ms(400)),
        connections_before: [("n1".to_owned(), 1_002), ("n2".to_owned(), 1_001)].into(),
        connections_after: [("n1".to_owned(), 0), ("n2".to_owned(), 2_003)].into(),
        ..Recovery::default()
    };
    recovery.lost.add(ms(50), 1_000);
    for (at, nodes) in [(100, 400), (150, 590), (900, 9), (1_100, 1)] {
        recovery.back.add(ms(at), nodes);
        recovery.dials.add(ms(at), nodes + 10);
    }
    run.tally.recovery.add(step(1), &recovery);
    run
}

fn step(turn: u32) -> RecoveryKey {
    RecoveryKey { number: 1, turn, step: "restart".to_owned() }
}

fn outcome(run: &RunResult, metric: &str, expression: &str) -> ThresholdOutcome {
    Threshold::parse(metric, expression).unwrap_or_else(|error| panic!("{error}")).evaluate(run)
}

#[test]
fn thresholds_on_a_recovery_judge_what_was_measured() {
    let run = restarted();
    for (metric, expression, passed, says) in [
        ("recovery.time_to_half", "max <= 150ms", true, "150 ms (restart n1)"),
        ("recovery.time_to_99", "max < 150ms", false, "150 ms"),
        ("recovery.time_to_full{step:restart}", "max < 1200ms", true, "1.1 s"),
        ("recovery.time_to_full{broker:n2}", "max < 45s", false, "no step"),
        ("recovery.ready_to_full", "max == 700ms", true, "700 ms"),
        ("recovery.time_to_ready", "max == 400ms", true, "400 ms"),
        ("recovery.nodes_lost", "count == 1000", true, "1000"),
        ("recovery.nodes_lost", "max == 1000", true, "1000"),
        ("recovery.nodes_lost{step:restart}", "rate == 50%", true, "50% (1,000 of 2,000)"),
        ("recovery.nodes_lost{broker:n2}", "rate == 0%", false, "no step"),
        ("recovery.requests_lost", "max < 900", false, "900"),
        ("recovery.connect_rate", "max < 1000/s", true, "999"),
        ("recovery.balance", "min > 50%", false, "0%"),
        ("recovery.first_discovery", "max < 4s", true, "3.94 s"),
        ("recovery.first_complete", "max < 3s", true, "2.94 s"),
    ] {
        let found = outcome(&run, metric, expression);
        assert_eq!(found.passed, passed, "{found:?}");
        assert!(found.detail.contains(says), "{found:?}");
    }
}

#[test]
fn waves_are_selected_by_where_they_lie_around_a_step() {
    let run = restarted();
    for (metric, expression, passed) in [
        ("completeness{wave:rpc}", "min == 100%", false),
        ("completeness{wave:rpc,before:restart}", "min == 100%", true),
        ("completeness{wave:rpc,during:restart}", "max == 55%", true),
        ("completeness{wave:rpc,after:restart}", "min == 100%", true),
        ("on_time{after:restart}", "count == 4000", true),
        ("on_time{during:restart}", "count == 1100", true),
        ("completeness{wave:rpc,after:other}", "min == 100%", false),
    ] {
        let found = outcome(&run, metric, expression);
        assert_eq!(found.passed, passed, "{found:?}");
    }
}

#[test]
fn a_network_that_does_not_come_back_fails_every_threshold_on_it() {
    let mut never = restarted();
    let lost = Recovery { away_before: 1, ..Recovery::default() };
    never.tally.recovery.add(step(1), &lost);
    let mut undone = restarted();
    undone.tally.recovery.add(step(2), &Recovery::default());
    for (run, says) in [
        (&never, "did not come to that"),
        (&undone, "was not carried out"),
        (&examples::passed(), "no step of the timeline matches"),
    ] {
        let found = outcome(run, "recovery.time_to_full", "max < 45s");
        assert!(!found.passed && found.detail.contains(says), "{found:?}");
        let after = outcome(run, "completeness{after:restart}", "min == 100%");
        assert!(!after.passed && after.detail.starts_with("no data"), "{after:?}");
    }
}

#[test]
fn the_report_answers_how_long_the_network_is_away() {
    let mut run = restarted();
    run.tally.recovery.add(
        step(2),
        &Recovery {
            action: "restart".to_owned(),
            brokers: ["n2".to_owned()].into(),
            ..Recovery::default()
        },
    );
    let summary = Summary::of(&run);
    let text = terminal::render(&summary, None, terminal::Style::default());
    let from = text.find("How long is the network away?").unwrap();
    let section = text[from..].split("\n\n").next().unwrap();
    insta::assert_snapshot!(section, @r"
    How long is the network away?
      step     brokers   lost   ready  half back    99 %    all  first wave  answers lost  peak
      restart  n1       1,000  400 ms     150 ms  150 ms  1.1 s      2.94 s           900   999
      restart  n2           -       -          -       -      -           -             -     -
      connections around restart n1: n1 1,002 -> 0, n2 1,001 -> 2,003
      times since the action; lost: connections of nodes; first wave: complete again; answers lost:
        not on time, in waves under way until all was back; peak: connections made in a second
    ");
    let json = serde_json::to_value(&summary).unwrap();
    assert_eq!(json["recovery"][0]["time_to_s"]["all"], 1.1);
    assert_eq!(json["recovery"][1]["at_s"], serde_json::Value::Null);
    let read: Summary = serde_json::from_value(json).unwrap();
    assert_eq!(read, summary);
    let without = serde_json::to_value(Summary::of(&examples::passed())).unwrap();
    assert!(without.get("recovery").is_none(), "what was not planned is not there");
}
