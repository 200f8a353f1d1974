//! Thresholds: what can be written, what is refused and how, and what they say of a run.

use std::time::Duration;

use reports::broker::{BrokerCost, BrokerFigure, BrokerFigures};
use reports::run::{Origin, RunResult};
use reports::threshold::{CATALOGUE, Threshold, ThresholdOutcome};
use reports::wave::{WaveKey, WaveKind, WaveResult};

use crate::examples::{self, NODES, key, wave};
use crate::recovering;

fn outcome(run: &RunResult, metric: &str, expression: &str) -> ThresholdOutcome {
    Threshold::parse(metric, expression).unwrap_or_else(|error| panic!("{error}")).evaluate(run)
}

#[test]
fn what_the_grammar_allows_is_accepted() {
    for (metric, expression) in [
        ("completeness", "min == 100%"),
        ("completeness{wave:rpc}", "min==100%"),
        ("completeness{wave:rpc,client:2}", "rate >= 99.9%"),
        ("completeness { wave : rpc , client : 2 }", "p( 99.9 ) != 12.5 %"),
        ("response_time", "p(99) < 5s"),
        ("response_time", "max <= 1m30s"),
        ("response_time", "avg > 1.5ms"),
        ("response_time", "med < 1500us"),
        ("response_time", "count > 0"),
        ("send_delay", "max < 0"),
        ("missing.no_reply{group:silent}", "rate == 10%"),
        ("fleet.connected", "value == 50000"),
        ("fleet.connected{group:web}", "rate == 100%"),
        ("fleet.disconnects", "rate < 30/m"),
        ("broker.rss_bytes{broker:n1}", "max < 1.5GiB"),
        ("broker.rss_bytes", "max < 1500000000"),
        ("broker.cpu_s", "value < 20"),
        ("broker.cpu_s", "value < 20s"),
        ("emulator.rss_bytes_per_node", "value < 3KiB"),
        ("driver.cpu_us_per_reply", "value <= 10"),
        ("scheduler_lag", "p(99) < 5ms"),
        ("events.lost{kind:alive}", "count == 0"),
        ("events.received", "rate >= 99%"),
        ("completeness{wave:rpc,broker:leaf1}", "min == 100%"),
        ("response_time{hops:1}", "p(99) < 1s"),
        ("missing{cluster:hub}", "count == 0"),
        ("broker.link_rtt_us{broker:n1}", "max < 5ms"),
        ("broker.msgs_in", "count > 0"),
    ] {
        assert!(Threshold::parse(metric, expression).is_ok(), "{metric}: {expression}");
    }
}

#[test]
fn what_is_refused_says_what_to_write_instead() {
    for (metric, expression, reason, help) in [
        ("completness", "min == 100%", "unknown metric", "did you mean `completeness`?"),
        ("rpc.p99", "max < 1s", "unknown metric", "write one of completeness, response_time"),
        ("missing.noreply", "count == 0", "unknown metric", "did you mean `missing.no_reply`?"),
        ("completeness{wave:rpc", "min == 100%", "not closed", "`completeness{wave:rpc}`"),
        ("completeness{}", "min == 100%", "no tag with a value", "write `tag:value`"),
        ("completeness{wave}", "min == 100%", "`wave` is no tag", "write `tag:value`"),
        ("completeness{waves:a}", "min == 100%", "no tag `waves`", "did you mean `wave`?"),
        ("completeness{group:a}", "min == 100%", "no tag `group`", "one of wave, client"),
        ("completeness{hops:one}", "min == 100%", "`one` is no number of hops", "from 0"),
        ("completeness{client:0}", "min == 100%", "`0` is no client", "from 1"),
        ("scheduler_lag{wave:a}", "max < 1s", "no tag `wave`", "takes no selector"),
        ("completeness", "100%", "no comparison", "`p(99) < 5s`"),
        ("completeness", "min = 100%", "alone is no comparison", "== !="),
        ("completeness", "min === 100%", "comparison is not known", "== !="),
        ("completeness", "min =< 100%", "alone is no comparison", "<="),
        ("completeness", "min == ", "no value", "`100%`"),
        ("completeness", "== 100%", "`` is no aggregation", "write one of avg"),
        ("completeness", "count == 100%", "has no `count`", "write one of avg, min, max"),
        ("completeness", "min == 1", "`1` has no unit", "`100%`"),
        ("completeness", "min == 5s", "`5s` is no percentage", "`100%`"),
        ("completeness", "min == -1%", "negative", "`100%`"),
        ("response_time", "p99 < 5s", "`p99` is no aggregation", "did you mean `p(99)`?"),
        ("response_time", "mean < 5s", "`mean` is no aggregation", "did you mean `avg`?"),
        ("response_time", "p(101) < 5s", "`101` is no percentile", "from 0 to 100"),
        ("response_time", "p(x) < 5s", "`x` is no percentile", "from 0 to 100"),
        ("response_time", "p(99.99999) < 5s", "is no percentile", "four decimals"),
        ("response_time", "p(99) < 5", "`5` has no unit", "`250ms`, `5s`"),
        ("response_time", "p(99) < 5x", "`5x` is no duration", "`5s`"),
        ("response_time", "p(99) < 12KiB", "`12KiB` is no duration", "`5s`"),
        ("response_time", "p(99) < 1e3", "`1e3` is no duration", "`5s`"),
        ("response_time", "p(99) < s", "`s` is no duration", "`5s`"),
        ("response_time", "p(99) < 99999999999999999999s", "is no duration", "`5s`"),
        ("response_time", "value < 5s", "has no `value`", "write one of avg"),
        ("on_time", "min > 5s", "`5s` is no count", "a plain number"),
        ("fleet.disconnects", "rate < 5", "`5` has no unit", "`500/s`"),
        ("broker.rss_bytes", "max < 12%", "`12%` is no size", "`12KiB`"),
        ("broker.rss_bytes", "count < 12MiB", "has no `count`", "write one of avg"),
    ] {
        let error = Threshold::parse(metric, expression).unwrap_err().to_string();
        let (first, last) = error.split_once('\n').unwrap();
        assert!(first.contains(reason), "{metric}: {expression}\n{error}");
        assert!(last.contains(help), "{metric}: {expression}\n{error}");
    }
}

#[test]
fn a_whole_error_reads_as_a_sentence_with_its_remedy() {
    let error = Threshold::parse("response_time{wave:rpc}", "p(99) < 5").unwrap_err();
    insta::assert_snapshot!(error, @r"
    threshold `response_time{wave:rpc}: p(99) < 5`: `5` has no unit
    write a duration as `250ms`, `5s` or `1m30s`
    ");
}

#[test]
fn every_metric_of_the_catalogue_is_documented_and_gives_a_value_for_a_whole_run() {
    let (calm, restarted) = (examples::passed(), recovering::restarted());
    for metric in CATALOGUE {
        assert!(!metric.about.is_empty());
        let run = if metric.name.starts_with("recovery.") { &restarted } else { &calm };
        for aggregation in metric.aggregations {
            let bound = match metric.unit_of(aggregation).dimension() {
                "duration" => "5s",
                "percentage" => "5%",
                "size" => "5KiB",
                "rate" => "5/s",
                _ => "5",
            };
            let expression = format!("{} < {bound}", aggregation.replace('N', "99"));
            let outcome = outcome(run, metric.name, &expression);
            assert!(outcome.value.is_some(), "{}: {expression}: {}", metric.name, outcome.detail);
        }
    }
}

#[test]
fn no_data_never_passes() {
    let empty = RunResult::default();
    for metric in CATALOGUE {
        for aggregation in metric.aggregations {
            // Zero with `>=` is met by every value there is.
            let expression = format!("{} >= 0", aggregation.replace('N', "99"));
            let outcome = outcome(&empty, metric.name, &expression);
            let found = (outcome.passed, outcome.value);
            assert_eq!(found, (false, None), "{}: {expression}", metric.name);
            assert!(outcome.detail.starts_with("no data: "), "{}", outcome.detail);
        }
    }
}

#[test]
fn values_are_found_and_compared_with_their_place() {
    let failed = examples::failed();
    for (metric, expression, passed, detail) in [
        ("completeness{wave:discovery}", "min == 100%", true, "100% (wave discovery 1)"),
        ("completeness{wave:rpc}", "min == 100%", false, "99.3% (wave rpc 4)"),
        ("completeness{wave:rpc}", "min == 99.3%", true, "99.3% (wave rpc 4)"),
        ("completeness{wave:rpc}", "min >= 99.30001%", false, "99.3% (wave rpc 4)"),
        ("completeness{wave:rpc}", "max == 100%", true, "100% (wave rpc 3)"),
        ("completeness{wave:rpc}", "med == 100%", true, "100% (of 4)"),
        ("completeness{wave:rpc}", "avg < 100%", true, "99.825% (of 4)"),
        ("completeness{wave:rpc}", "rate > 99.8%", true, "99.825% (7,986 of 8,000)"),
        ("completeness{wave:none}", "min == 100%", false, "no data: no counted wave matches"),
        ("completeness{client:2}", "min == 100%", false, "no data: no counted wave matches"),
        ("missing", "count == 13", true, "13"),
        ("missing", "max == 13", true, "13 (wave rpc 4)"),
        ("missing", "rate < 0.2%", true, "0.1083% (13 of 12,000)"),
        ("late", "count == 0", false, "1"),
        ("missing.no_reply", "count == 13", true, "13"),
        ("missing.no_reply{group:web}", "max == 13", true, "13 (wave rpc 4)"),
        ("missing.no_reply{group:db}", "count == 0", true, "0"),
        ("missing.late", "count == 1", true, "1"),
        ("missing.unknown", "count == 0", true, "0"),
        ("duplicate{wave:rpc}", "count <= 1", false, "2"),
        ("to_complete{wave:discovery}", "max < 50ms", true, "42.1 ms (wave discovery 2)"),
        (
            "to_complete{wave:rpc}",
            "max < 50ms",
            false,
            "no data: wave rpc 4 never completed, 1,987 of 2,000 answered",
        ),
        ("response_time{wave:discovery}", "max < 50ms", true, "42.1 ms (4,000 values)"),
        ("response_time", "max < 10s", false, "11 s (11,987 values)"),
        ("response_time", "count == 11987", true, "11,987 (11,987 values)"),
        ("send_delay", "max < 1ms", true, "150 us (6 values)"),
        ("fleet.connected", "value == 2000", true, "2,000 (2,000 of 2,000)"),
        ("fleet.connected{group:web}", "rate == 100%", true, "100% (2,000 of 2,000)"),
        ("fleet.connected{group:db}", "rate == 100%", false, "no data: no group `db`"),
        ("fleet.disconnects", "rate < 1/s", true, "0/s"),
        ("events.lost", "count == 3", true, "3 (3 of 2,070)"),
        ("events.lost{kind:startup}", "count == 0", true, "0 (0 of 2,000)"),
        ("events.received{kind:alive}", "count == 70", false, "67 (67 of 70)"),
        ("events.received{kind:startup}", "rate == 100%", true, "100% (2,000 of 2,000)"),
        ("events.lost{kind:shutdown}", "count == 0", false, "no data: no node published any"),
        ("broker.slow_consumers", "count == 0", true, "0"),
        ("broker.slow_consumers{broker:n2}", "count == 0", false, "no data: no broker matches"),
        ("broker.rss_bytes", "max < 128MiB", false, "134 MiB (broker n1)"),
        ("broker.cpu_s", "value < 2", true, "1.53 s (broker n1)"),
        ("emulator.rss_bytes_per_node", "value < 4KiB", true, "3.12 KiB"),
        ("emulator.cpu_us_per_answer", "value <= 12", true, "11.7 us"),
    ] {
        let found = outcome(&failed, metric, expression);
        assert_eq!(
            (found.passed, found.detail.as_str()),
            (passed, detail),
            "{metric}: {expression}"
        );
    }
}

#[test]
fn nothing_is_known_of_the_connections_of_other_nodes() {
    let mut run = examples::passed();
    run.about.origin = Origin::Discovered;
    for (metric, expression) in
        [("fleet.connected", "value >= 0"), ("fleet.disconnects", "count == 0")]
    {
        let found = outcome(&run, metric, expression);
        assert!(!found.passed && found.value.is_none(), "{found:?}");
    }
}

#[test]
fn a_part_of_the_network_is_judged_by_itself() {
    let run = examples::placed();
    for (metric, expression, passed, detail) in [
        ("completeness", "min == 100%", false, "99.95% (wave rpc 1)"),
        ("completeness{broker:n1}", "min == 100%", true, "100% (wave rpc 1)"),
        ("completeness{broker:leaf1}", "min == 100%", false, "99.8% (wave rpc 1)"),
        ("completeness{broker:leaf1}", "rate > 99%", true, "99.9% (999 of 1,000)"),
        ("completeness{cluster:hub}", "min == 100%", true, "100% (wave rpc 1)"),
        ("completeness{hops:1,wave:rpc}", "max == 100%", true, "100% (wave rpc 2)"),
        ("missing{hops:1}", "count == 0", false, "1"),
        ("missing{hops:0}", "count == 0", true, "0"),
        ("on_time{broker:leaf1}", "max == 500", true, "500 (wave rpc 2)"),
        ("response_time{broker:n1}", "max < 1s", true, "35 ms (3,000 values)"),
        ("response_time{hops:1}", "min > 1s", true, "2 s (999 values)"),
        ("response_time{broker:gone}", "max < 1s", false, "no data: nothing was measured"),
        ("completeness{broker:gone}", "min > 0%", false, "no data: no wave expected a node there"),
    ] {
        let found = outcome(&run, metric, expression);
        assert_eq!(
            (found.passed, found.detail.as_str()),
            (passed, detail),
            "{metric} {expression}"
        );
    }
}

#[test]
fn percentiles_over_waves_are_values_of_waves_by_nearest_rank() {
    let mut run = RunResult::default();
    for number in 1..=10 {
        let on_time = u64::from(number);
        run.tally.waves.add(key("rpc", number), &WaveResult { on_time, ..WaveResult::default() });
    }
    for (aggregation, value) in [
        ("min", 1.0),
        ("p(0)", 1.0),
        ("p(10)", 1.0),
        ("p(10.1)", 2.0),
        ("med", 5.0),
        ("p(50)", 5.0),
        ("p(90)", 9.0),
        ("p(99)", 10.0),
        ("p(100)", 10.0),
        ("max", 10.0),
        ("avg", 5.5),
        ("count", 55.0),
    ] {
        let found = outcome(&run, "on_time", &format!("{aggregation} >= 0"));
        assert_eq!(found.value, Some(value), "{aggregation}");
    }
}

#[test]
fn one_node_of_millions_is_not_rounded_away() {
    let mut run = RunResult::default();
    let almost = WaveResult {
        expected: 9_007_199_254_740_993,
        on_time: 9_007_199_254_740_992,
        ..WaveResult::default()
    };
    assert_eq!(almost.completeness(), Some(1.0), "as a float it is the whole");
    run.tally.waves.add(key("rpc", 1), &almost);
    for expression in ["min == 100%", "rate == 100%", "med >= 100%"] {
        assert!(!outcome(&run, "completeness", expression).passed, "{expression}");
    }
    assert!(outcome(&run, "completeness", "min != 100%").passed);
}

#[test]
fn a_wave_that_expected_nobody_is_no_data() {
    let mut run = RunResult::default();
    run.tally.waves.add(key("rpc", 1), &WaveResult::default());
    let found = outcome(&run, "completeness", "min == 100%");
    assert_eq!(
        (found.passed, found.detail.as_str()),
        (false, "no data: wave rpc 1 expected nobody")
    );
}

#[test]
fn warm_up_waves_are_never_selected() {
    let mut run = RunResult::default();
    let warmup = WaveKey { warmup: true, ..key("rpc", 1) };
    run.tally.waves.add(warmup, &wave(WaveKind::Request, Duration::ZERO, NODES));
    for metric in ["completeness", "on_time", "missing.late", "response_time", "to_complete"] {
        let found = outcome(&run, metric, "max >= 0");
        assert_eq!(found.detail, "no data: no counted wave matches", "{metric}");
    }
}

#[test]
fn one_value_of_several_brokers_has_to_be_asked_for_by_name() {
    let mut run = examples::passed();
    let figures = BrokerFigures::default().with(BrokerFigure::SlowConsumers, 3);
    let second = BrokerCost { figures, ..BrokerCost::default() };
    run.tally.cost.brokers.insert("n2".to_owned(), second);
    for (metric, expression, value) in [
        ("broker.slow_consumers", "value == 0", None),
        ("broker.slow_consumers{broker:n2}", "value == 3", Some(3.0)),
        ("broker.slow_consumers", "max == 3", Some(3.0)),
        ("broker.slow_consumers", "count == 3", Some(3.0)),
        ("broker.rss_bytes", "max > 0", None),
    ] {
        let found = outcome(&run, metric, expression);
        assert_eq!(found.value, value, "{metric}: {expression}: {}", found.detail);
        assert_eq!(found.passed, value.is_some());
    }
}

#[test]
fn nodes_that_leave_on_purpose_are_counted_and_a_share_of_the_nodes_planned() {
    let mut run = examples::passed();
    run.tally.fleet.counters.insert("left".to_owned(), 500);
    for (metric, expression, passed, says) in [
        ("fleet.left", "value == 500", true, "500"),
        ("fleet.left", "rate > 14%", true, "25% (500 of 2,000 nodes planned)"),
        ("fleet.left", "rate > 25%", false, "25%"),
        ("fleet.returned", "rate == 0%", true, "0%"),
    ] {
        let found = outcome(&run, metric, expression);
        assert_eq!(found.passed, passed, "{found:?}");
        assert!(found.detail.contains(says), "{found:?}");
    }
    run.tally.fleet.counters.clear();
    let found = outcome(&run, "fleet.left", "rate > 14%");
    assert_eq!((found.passed, found.detail.as_str()), (false, "no data: it was not measured"));
}
