//! Merging: associative, commutative, `default()` is the identity, and no figure is lost.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use reports::latency::{Latency, LatencyDigest, Merge};
use reports::missing::{Cause, EXAMPLES_PER_CAUSE, Missing, MissingCount, MissingNode};
use reports::recovery::Recovery;
use reports::run::{Cost, FleetTotals, Tally};
use reports::wave::{WaveKey, WaveRecord, WaveResult};
use reports::waves::Waves;

use super::results::{
    cost, fleet, latency, latency_of, missing, missing_count, recovery, tally, time, wave, waves,
};

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
fn only_the_first_names_of_a_cause_are_kept_each_once_and_warm_up_waves_are_not_counted() {
    let mut missing = Missing::default();
    for index in (0..100).rev() {
        for (warmup, broker) in [(false, "n2"), (false, "n1"), (true, "n0")] {
            let key = WaveKey { name: "rpc".to_owned(), number: 1, warmup, client: 1 };
            let mut node = MissingNode::new(&key, format!("n{index}"), Cause::NoReply);
            node.index = Some(index);
            node.broker = Some(broker.to_owned());
            missing.add(&node);
        }
    }
    assert_eq!(missing.counted().total(), 200);
    let (cause, names) = missing.examples().next().unwrap();
    assert_eq!(cause, Cause::NoReply);
    assert_eq!(names.len(), EXAMPLES_PER_CAUSE);
    assert!(names.iter().map(|name| name.index).eq((0..5).map(Some)));
    assert!(names.iter().all(|name| name.broker.as_deref() == Some("n1")), "{names:?}");
}
