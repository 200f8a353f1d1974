//! Distributions: what their figures promise, and what survives their text.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use reports::latency::Latency;
use reports::wave::WaveResult;

use super::results::{latency, latency_of, time};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

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
