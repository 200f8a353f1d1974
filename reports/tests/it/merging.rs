//! Merging: associative, commutative, `default()` is the identity, and no figure is lost.

use std::sync::Arc;
use std::time::Duration;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use reports::broker::{BrokerCost, BrokerFigure, BrokerFigures, ConnectionLook, PendingConnection};
use reports::forming::Forming;
use reports::latency::{Latency, LatencyDigest, Merge};
use reports::missing::{Cause, EXAMPLES_PER_CAUSE, Missing, MissingCount, MissingNode};
use reports::place::{Place, PlaceCounts, PlaceResult, Places};
use reports::recovery::{Instants, Recoveries, Recovery, RecoveryKey};
use reports::run::{
    ConnectTimes, Cost, DriverCost, EmulatorCost, EventTotals, FleetTotals, GroupTotals, Tally,
};
use reports::verdict::{Doubt, Severity};
use reports::wave::{WaveKey, WaveKind, WaveMode, WaveRecord, WaveResult};
use reports::waves::Waves;

/// Small counts: sums of a few never overflow, and equal ones are frequent.
fn n() -> impl Strategy<Value = u64> {
    0_u64..1_000
}

fn time() -> impl Strategy<Value = Duration> {
    // Now and then beyond ten minutes: those saturate.
    prop_oneof![9 => 0_u64..3_000_000, 1 => 0_u64..700_000_000].prop_map(Duration::from_micros)
}

fn latency() -> impl Strategy<Value = Latency> {
    vec(time(), 0..6).prop_map(|times| latency_of(&times))
}

fn latency_of(times: &[Duration]) -> Latency {
    let mut latency = Latency::default();
    times.iter().for_each(|time| latency.record(*time));
    latency
}

fn key() -> impl Strategy<Value = WaveKey> {
    ("[ab]", 1_u32..3, any::<bool>(), 1_u32..3).prop_map(|(name, number, warmup, client)| WaveKey {
        name,
        number,
        warmup,
        client,
    })
}

fn places() -> impl Strategy<Value = Places> {
    vec(("[ab]", 0_u32..2, vec(n(), 3), latency()), 0..3).prop_map(|places| {
        let place = |(broker, hops, counts, response_time): (_, _, Vec<u64>, _)| {
            let place = Place { broker, cluster: None, hops: Some(hops) };
            let counts = PlaceCounts { expected: counts[0], on_time: counts[1], late: counts[2] };
            (Arc::new(place), PlaceResult { counts, response_time })
        };
        places.into_iter().map(place).collect()
    })
}

fn wave() -> impl Strategy<Value = WaveResult> {
    let kind = prop_oneof![Just(WaveKind::Discover), Just(WaveKind::Request)];
    let mode =
        prop_oneof![Just(WaveMode::Broadcast), Just(WaveMode::Direct), Just(WaveMode::Batch)];
    (kind, mode, vec(n(), 9), vec(time(), 3), vec(latency(), 3), places()).prop_map(
        |(kind, mode, counts, times, latencies, places)| WaveResult {
            kind,
            mode,
            intended_at: times[0],
            expected: counts[0],
            on_time: counts[1],
            late: counts[2],
            duplicate: counts[3],
            unexpected: counts[4],
            errors: counts[5],
            undecodable: counts[6],
            payload_bytes: counts[7],
            discovered: counts[8],
            publish_duration: times[1],
            request_duration: times[2],
            response_time: latencies[0].clone(),
            service_time: latencies[1].clone(),
            send_delay: latencies[2].clone(),
            places,
        },
    )
}

fn waves() -> impl Strategy<Value = Waves> {
    vec((key(), wave()), 0..3).prop_map(|entries| {
        let mut waves = Waves::default();
        entries.into_iter().for_each(|(key, wave)| waves.add(key, &wave));
        waves
    })
}

fn missing() -> impl Strategy<Value = Missing> {
    let group = proptest::option::of("[gh]");
    vec((key(), 0_u64..40, group, 0..Cause::ALL.len()), 0..20).prop_map(|nodes| {
        let mut missing = Missing::default();
        for (key, index, group, cause) in nodes {
            let mut node = MissingNode::new(&key, format!("node-{index}"), Cause::ALL[cause]);
            node.index = Some(index);
            node.broker = group.clone();
            node.group = group;
            missing.add(&node);
        }
        missing
    })
}

fn missing_count() -> impl Strategy<Value = MissingCount> {
    vec((0..Cause::ALL.len(), 0_u64..5), 0..9).prop_map(|entries| {
        let mut count = MissingCount::default();
        entries.into_iter().for_each(|(cause, nodes)| count.add(Cause::ALL[cause], nodes));
        count
    })
}

fn fleet() -> impl Strategy<Value = FleetTotals> {
    let counters = btree_map("[abc]", n(), 0..3);
    let groups = vec(("[gh]", vec(n(), 5)), 0..3);
    (vec(n(), 9), counters, time(), vec(latency(), 5), groups).prop_map(
        |(counts, counters, connect_duration, l, groups)| FleetTotals {
            planned: counts[0],
            connected: counts[1],
            ever_connected: counts[2],
            connect_duration,
            subscriptions: counts[3],
            workers: counts[4],
            disconnects: counts[5],
            reconnects: counts[6],
            received: counts[7],
            answered: counts[8],
            counters,
            connect: ConnectTimes {
                tcp: l[0].clone(),
                info: l[1].clone(),
                pong: l[2].clone(),
                subscribed: l[3].clone(),
                total: l[4].clone(),
            },
            groups: groups.into_iter().map(|(name, counts)| (name, group(&counts))).collect(),
        },
    )
}

fn group(counts: &[u64]) -> GroupTotals {
    GroupTotals {
        planned: counts[0],
        connected: counts[1],
        agents: counts[2],
        collectives: counts[3],
        subscriptions_per_node: counts[4],
    }
}

fn figures() -> impl Strategy<Value = BrokerFigures> {
    vec((0..BrokerFigure::ALL.len(), n()), 0..5).prop_map(|readings| {
        let mut figures = BrokerFigures::default();
        readings.iter().for_each(|(at, n)| figures.set(BrokerFigure::ALL[*at], Some(*n)));
        figures
    })
}

fn look() -> impl Strategy<Value = ConnectionLook> {
    (n(), n(), vec(("[ab]", n()), 0..3)).prop_map(|(at_ms, connections, fullest)| ConnectionLook {
        at_ms,
        connections,
        fullest: fullest
            .into_iter()
            .map(|(name, pending_bytes)| PendingConnection { pending_bytes, name })
            .collect(),
    })
}

fn broker() -> impl Strategy<Value = BrokerCost> {
    let closed = vec(("[ab]", n()), 0..3);
    let built = (proptest::option::of("go1\\.[0-9]"), proptest::option::of("c[0-9]"));
    let left_out = proptest::collection::btree_set("[ab]", 0..3);
    let times = (proptest::option::of(time()), time());
    ("2\\.[0-9]", built, figures(), times, closed, vec(("[ab]", look()), 0..3), left_out).prop_map(
        |(version, (go, cluster), figures, (wave_cpu, silent), closed, looks, left_out)| {
            BrokerCost {
                version,
                go,
                cluster,
                figures,
                wave_cpu,
                silent,
                closed: closed.into_iter().collect(),
                looks: looks.into_iter().collect(),
                left_out,
            }
        },
    )
}

fn cost() -> impl Strategy<Value = Cost> {
    (vec(n(), 4), vec(time(), 3), vec(("n[12]", broker()), 0..3)).prop_map(
        |(counts, times, brokers)| Cost {
            emulator: EmulatorCost {
                rss_bytes: counts[0],
                rss_nodes: counts[1],
                cpu: times[0],
                wave_cpu: times[1],
                wave_answers: counts[2],
            },
            driver: DriverCost { cpu: times[2], replies: counts[3] },
            brokers: brokers.into_iter().collect(),
        },
    )
}

fn doubt() -> impl Strategy<Value = Doubt> {
    ("[ab]", any::<bool>()).prop_map(|(kind, invalid)| Doubt {
        kind,
        severity: if invalid { Severity::Invalid } else { Severity::Note },
        detail: String::new(),
        advice: String::new(),
    })
}

fn instants() -> impl Strategy<Value = Instants> {
    vec((0_u64..5_000, n()), 0..5).prop_map(|rows| {
        let mut instants = Instants::default();
        rows.iter().for_each(|(ms, times)| instants.add(Duration::from_millis(*ms), *times));
        instants
    })
}

fn recovery() -> impl Strategy<Value = Recovery> {
    let brokers = || vec(("n[12]", n()), 0..3);
    let times = vec(proptest::option::of(time()), 4);
    let counts = (vec(instants(), 3), n(), n());
    ("[ab]", brokers(), brokers(), times, counts).prop_map(
        |(action, before, after, times, (instants, away_before, client_away))| Recovery {
            action,
            brokers: before.iter().map(|(name, _)| name.clone()).collect(),
            began: times[0],
            done: times[1],
            ready: times[2],
            away_before,
            lost: instants[0].clone(),
            back: instants[1].clone(),
            dials: instants[2].clone(),
            client_back: times[3],
            client_away,
            connections_before: before.into_iter().collect(),
            connections_after: after.into_iter().collect(),
        },
    )
}

fn recoveries() -> impl Strategy<Value = Recoveries> {
    vec((1_u32..3, 1_u32..3, "[ab]", recovery()), 0..3).prop_map(|entries| {
        let mut recoveries = Recoveries::default();
        for (number, turn, step, recovery) in entries {
            recoveries.add(RecoveryKey { number, turn, step }, &recovery);
        }
        recoveries
    })
}

fn tally() -> impl Strategy<Value = Tally> {
    let events = vec(("[ab]", n(), n()), 0..3);
    let forming = (time(), proptest::option::of(time()), vec(("[ab]", n()), 0..3));
    let forming = forming.prop_map(|(formed, interest, links)| Forming {
        formed,
        interest,
        links: links.into_iter().collect(),
    });
    let forming = proptest::option::of(forming);
    let measured = (fleet(), waves(), missing(), cost(), latency());
    (measured, vec(doubt(), 0..3), events, recoveries(), forming).prop_map(
        |((fleet, waves, missing, cost, scheduler_lag), doubts, events, recovery, forming)| Tally {
            events: events
                .into_iter()
                .map(|(kind, published, received)| (kind, EventTotals { published, received }))
                .collect(),
            fleet,
            waves,
            missing,
            cost,
            scheduler_lag,
            doubts: doubts.into_iter().collect(),
            recovery,
            forming,
        },
    )
}

fn check_laws<T: Clone + Default + PartialEq + std::fmt::Debug>(
    merge: fn(&mut T, &T),
    [a, b, c]: [&T; 3],
) -> Result<(), TestCaseError> {
    let sum = |parts: &[&T]| {
        let mut sum = T::default();
        parts.iter().for_each(|part| merge(&mut sum, part));
        sum
    };
    prop_assert_eq!(&sum(&[a]), a, "default is an identity on the left");
    prop_assert_eq!(&sum(&[a, &T::default()]), a, "default is an identity on the right");
    prop_assert_eq!(sum(&[a, b]), sum(&[b, a]), "commutative");
    prop_assert_eq!(sum(&[&sum(&[a, b]), c]), sum(&[a, &sum(&[b, c])]), "associative");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn latencies_merge_lawfully(a in latency(), b in latency(), c in latency()) {
        check_laws(Latency::merge, [&a, &b, &c])?;
    }

    #[test]
    fn waves_merge_lawfully(a in wave(), b in wave(), c in wave()) {
        check_laws(WaveResult::merge, [&a, &b, &c])?;
    }

    #[test]
    fn digests_merge_lawfully(a in latency(), b in latency(), c in latency()) {
        let [a, b, c] = [a, b, c].map(|latency| LatencyDigest::of(&latency));
        check_laws(LatencyDigest::merge, [&a, &b, &c])?;
    }

    #[test]
    fn waves_that_are_over_merge_lawfully(a in wave(), b in wave(), c in wave()) {
        let [a, b, c] = [a, b, c].map(|wave| WaveRecord::of(&wave));
        check_laws(WaveRecord::merge, [&a, &b, &c])?;
    }

    #[test]
    fn a_digest_has_the_figures_of_its_distribution(latency in latency()) {
        prop_assert_eq!(LatencyDigest::of(&latency).figures(), latency.figures());
    }

    #[test]
    fn merged_digests_bound_the_percentiles_of_all_values_from_above(
        a in vec(time(), 1..40), b in vec(time(), 1..40),
    ) {
        let mut merged = LatencyDigest::of(&latency_of(&a));
        merged.merge(&LatencyDigest::of(&latency_of(&b)));
        let (bound, exact) = (merged.figures().unwrap(), latency_of(&[a, b].concat()));
        let exact = exact.figures().unwrap();
        prop_assert_eq!((bound.count, bound.min, bound.max), (exact.count, exact.min, exact.max));
        prop_assert!((bound.mean - exact.mean).abs() < exact.mean / 1e6 + 0.01);
        for (bound, exact) in [
            (bound.p50, exact.p50),
            (bound.p90, exact.p90),
            (bound.p99, exact.p99),
            (bound.p999, exact.p999),
        ] {
            prop_assert!(bound >= exact, "{bound} < {exact}");
        }
    }

    #[test]
    fn the_distributions_of_an_entry_are_those_of_all_its_counted_waves(
        waves in vec((1_u32..4, any::<bool>(), wave()), 0..6),
    ) {
        let mut all = Waves::default();
        let (mut counted, mut of_second) = (Latency::default(), Latency::default());
        for (number, (client, warmup, wave)) in (1..).zip(&waves) {
            let key = WaveKey { name: "a".into(), number, warmup: *warmup, client: *client };
            all.add(key, wave);
            if !warmup {
                counted.merge(&wave.response_time);
                if *client == 2 {
                    of_second.merge(&wave.response_time);
                }
            }
        }
        prop_assert_eq!(all.distributions(|_| true).response_time, counted);
        prop_assert_eq!(all.distributions(|key| key.client == 2).response_time, of_second);
        prop_assert_eq!(all.len(), waves.len());
    }

    #[test]
    fn collections_of_waves_merge_lawfully(a in waves(), b in waves(), c in waves()) {
        check_laws(Waves::merge, [&a, &b, &c])?;
    }

    #[test]
    fn missing_counts_merge_lawfully(
        a in missing_count(), b in missing_count(), c in missing_count(),
    ) {
        check_laws(MissingCount::merge, [&a, &b, &c])?;
        let mut sum = a.clone();
        sum.merge(&b);
        prop_assert_eq!(sum.total(), a.total() + b.total());
    }

    #[test]
    fn missing_nodes_merge_lawfully(a in missing(), b in missing(), c in missing()) {
        check_laws(Missing::merge, [&a, &b, &c])?;
    }

    #[test]
    fn fleets_merge_lawfully(a in fleet(), b in fleet(), c in fleet()) {
        check_laws(FleetTotals::merge, [&a, &b, &c])?;
    }

    #[test]
    fn costs_merge_lawfully(a in cost(), b in cost(), c in cost()) {
        check_laws(Cost::merge, [&a, &b, &c])?;
    }

    #[test]
    fn recoveries_merge_lawfully(a in recovery(), b in recovery(), c in recovery()) {
        check_laws(Recovery::merge, [&a, &b, &c])?;
    }

    #[test]
    fn tallies_merge_lawfully(a in tally(), b in tally(), c in tally()) {
        check_laws(Tally::merge, [&a, &b, &c])?;
    }

    #[test]
    fn merged_histograms_are_the_histogram_of_all_values(
        parts in vec(vec(time(), 0..40), 0..6),
    ) {
        let mut merged = Latency::default();
        parts.iter().for_each(|part| merged.merge(&latency_of(part)));
        prop_assert_eq!(merged, latency_of(&parts.concat()));
    }

    #[test]
    fn percentiles_ascend_and_none_exceeds_the_largest(times in vec(time(), 1..60)) {
        let figures = latency_of(&times).figures().unwrap();
        let ascending =
            [figures.min, figures.p50, figures.p90, figures.p99, figures.p999, figures.max];
        prop_assert!(ascending.is_sorted(), "{:?}", figures);
        prop_assert!(figures.mean >= figures.min as f64 && figures.mean <= figures.max as f64);
    }

    #[test]
    fn equal_values_give_equal_figures(us in 1_u64..600_000_000, times in 1_usize..50) {
        let latency = latency_of(&vec![Duration::from_micros(us); times]);
        let figures = latency.figures().unwrap();
        for figure in [figures.p50, figures.p90, figures.p99, figures.p999] {
            prop_assert_eq!(figure, figures.max);
        }
        // Three significant digits.
        prop_assert!(figures.max >= us && (figures.max - us) as f64 <= us as f64 / 1_000.0);
        prop_assert!(figures.min <= us && (us - figures.min) as f64 <= us as f64 / 1_000.0);
    }

    #[test]
    fn a_histogram_survives_its_text(latency in latency()) {
        let read = Latency::from_base64(&latency.to_base64()).unwrap();
        prop_assert_eq!(read.figures(), latency.figures());
        prop_assert_eq!(read.count(), latency.count());
    }

    #[test]
    fn the_time_to_complete_is_a_rank_over_the_expected(
        times in vec(time(), 0..40),
        silent in 0_u64..4,
    ) {
        let expected = times.len() as u64 + silent;
        let response_time = latency_of(&times);
        let wave = WaveResult { expected, response_time, ..WaveResult::default() };
        let found = wave.to_complete();
        prop_assert_eq!(found.first.is_some(), !times.is_empty());
        prop_assert_eq!(found.last.is_some(), silent == 0 && !times.is_empty());
        let ascending = [found.first, found.p50, found.p90, found.p99, found.last];
        let reached: Vec<_> = ascending.iter().flatten().collect();
        prop_assert!(reached.is_sorted());
        prop_assert!(ascending[reached.len()..].iter().all(Option::is_none), "{:?}", ascending);
        let mut sorted = times.clone();
        sorted.sort();
        for (per_cent, time) in [(50, found.p50), (90, found.p90), (99, found.p99)] {
            let rank = (expected * per_cent).div_ceil(100) as usize;
            let exact = rank.checked_sub(1).and_then(|index| sorted.get(index));
            let exact = exact.map(|time| (*time).clamp(
                Duration::from_micros(1),
                Duration::from_micros(reports::latency::MAX_US),
            ));
            prop_assert_eq!(time.is_some(), exact.is_some());
            if let (Some(time), Some(exact)) = (time, exact) {
                prop_assert!(time >= exact && time <= exact.mul_f64(1.001) + Duration::from_micros(1));
            }
        }
    }
}

#[test]
fn shares_of_one_wave_add_up_to_the_wave_of_the_whole_fleet() {
    let share = |nodes: u64, at_ms: u64| {
        let mut wave: WaveResult = WaveResult {
            intended_at: Duration::from_secs(3),
            expected: nodes,
            on_time: nodes - 2,
            late: 1,
            duplicate: 1,
            unexpected: 2,
            errors: 3,
            undecodable: 4,
            payload_bytes: 122,
            discovered: nodes,
            publish_duration: Duration::from_millis(at_ms),
            request_duration: Duration::from_millis(2 * at_ms),
            ..WaveResult::default()
        };
        wave.response_time.record(Duration::from_millis(at_ms));
        wave
    };
    let mut whole = share(30, 5);
    whole.merge(&share(70, 9));
    let response_time = latency_of(&[5, 9].map(Duration::from_millis));
    let expected = WaveResult {
        expected: 100,
        on_time: 96,
        late: 2,
        duplicate: 2,
        unexpected: 4,
        errors: 6,
        undecodable: 8,
        discovered: 100,
        response_time,
        ..share(70, 9)
    };
    assert_eq!(whole, expected);
    assert_eq!(whole.missing(), 2);
}

#[test]
fn what_is_longer_than_ten_minutes_is_counted_and_kept() {
    let latency = latency_of(&[Duration::from_secs(601), Duration::from_secs(1)]);
    assert_eq!(latency.count(), 2);
    assert_eq!(latency.saturated(), 1);
}

#[test]
fn a_text_that_is_no_histogram_is_refused_with_a_reason() {
    for text in ["", "%%%", "AAAA", "HISTFAAAAAB4"] {
        let error = Latency::from_base64(text).unwrap_err().to_string();
        assert!(error.starts_with("histogram is not base64"), "{text}: {error}");
    }
}

#[test]
fn only_the_first_names_of_a_cause_are_kept_and_warm_up_waves_are_not_counted() {
    let mut missing = Missing::default();
    for index in (0..100).rev() {
        for warmup in [false, true] {
            let key = WaveKey { name: "rpc".to_owned(), number: 1, warmup, client: 1 };
            let mut node = MissingNode::new(&key, format!("n{index}"), Cause::NoReply);
            node.index = Some(index);
            missing.add(&node);
        }
    }
    assert_eq!(missing.counted().total(), 100);
    let (cause, names) = missing.examples().next().unwrap();
    assert_eq!(cause, Cause::NoReply);
    assert_eq!(names.len(), EXAMPLES_PER_CAUSE);
    assert!(names.iter().map(|name| name.index).eq((0..5).map(Some)));
}
