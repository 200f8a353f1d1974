//! Series of sizes with known laws.

use proptest::prelude::*;

use super::*;
use crate::render;

/// A size that follows known laws: waves 2 ms + 18 us a node, 12 and 45 us an answer, memory 24 MiB + 3
/// KiB and 20 MiB + 66 KiB a node.
fn size(nodes: u64) -> Size {
    let n = nodes as f64;
    let wave = 2.0 + 0.018 * n;
    Size {
        nodes,
        folder: format!("linear-{nodes}"),
        verdict: Verdict::Passed,
        exit_code: 0,
        error: None,
        waves: vec![WaveTimes {
            name: "rpc".to_owned(),
            waves: 10,
            complete_waves: 10,
            min_ms: Some(wave * 0.9),
            median_ms: Some(wave),
            max_ms: Some(wave * 1.5),
        }],
        emulator_cpu_us_per_answer: Some(12.0),
        brokers_cpu_us_per_answer: Some(45.0),
        emulator_rss_bytes: Some(24 * 1024 * 1024 + 3 * 1024 * nodes),
        brokers_rss_bytes: Some(20 * 1024 * 1024 + 66 * 1024 * nodes),
    }
}

fn scaling(sizes: Vec<Size>) -> Scaling {
    Scaling {
        schema_version: SCHEMA_VERSION,
        tool: Tool::default(),
        scenario: "linear".to_owned(),
        started_at: "2026-10-05T14:22:33Z".to_owned(),
        partial: false,
        asked: sizes.iter().map(|size| size.nodes).collect(),
        sizes,
        confidence: fit::CONFIDENCE,
        bound: 0.25,
        laws: Vec::new(),
        why_no_laws: None,
        exit_code: 0,
    }
}

fn concluded(sizes: Vec<Size>, ended: Option<ExitCode>) -> Scaling {
    let mut scaling = scaling(sizes);
    scaling.conclude(&[50_000], ended);
    scaling
}

fn four() -> Vec<Size> {
    [1_000, 2_000, 5_000, 10_000].map(size).to_vec()
}

type Spoil = fn(&mut Size);

fn law_of<'a>(scaling: &'a Scaling, name: &str) -> &'a Law {
    scaling.laws.iter().find(|law| law.measure.name() == name).expect(name)
}

#[test]
fn a_linear_network_has_its_law_and_what_was_not_run_follows_from_it() {
    let scaling = concluded(four(), None);
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-6 * b.abs().max(1.0), "{a} {b}");
    for (name, fixed, each, predicted) in [
        ("wave:rpc", 2.0, 0.018, 902.0),
        ("emulator_cpu", 0.0, 12.0, 600_000.0),
        ("brokers_cpu", 0.0, 45.0, 2_250_000.0),
        ("emulator_memory", 25_165_824.0, 3072.0, 178_765_824.0),
        ("brokers_memory", 20_971_520.0, 67_584.0, 3_400_171_520.0),
    ] {
        let law = law_of(&scaling, name);
        close(law.fixed, fixed);
        close(law.each_node, each);
        let [prediction] = law.predictions[..] else { panic!("{law:?}") };
        close(prediction.value, predicted);
        let [low, high] = prediction.interval.expect("an interval");
        assert!(low <= prediction.value && prediction.value <= high);
        assert!(law.sizes.iter().all(|size| !size.departs), "{law:?}");
    }
    assert_eq!((scaling.laws.len(), scaling.exit_code), (5, 0));
}

#[test]
fn a_largest_size_that_costs_more_than_the_bound_is_a_regression() {
    let spoiled: [(&str, Spoil); 5] = [
        ("wave:rpc", |size| size.waves[0].median_ms = Some(182.0 * 1.3)),
        ("wave:rpc", |size| size.waves[0].median_ms = None),
        ("emulator_cpu", |size| size.emulator_cpu_us_per_answer = Some(16.0)),
        ("brokers_cpu", |size| size.brokers_cpu_us_per_answer = Some(90.0)),
        ("emulator_memory", |size| size.emulator_rss_bytes = Some(100 * 1024 * 1024)),
    ];
    for (name, spoil) in spoiled {
        let mut sizes = four();
        spoil(&mut sizes[3]);
        let scaling = concluded(sizes, None);
        let departing: Vec<_> =
            scaling.departing().iter().map(|(law, _)| law.measure.name()).collect();
        assert_eq!((departing, scaling.exit_code), (vec![name.to_owned()], 98));
    }
}

#[test]
fn cheaper_within_the_bound_or_smaller_than_the_largest_is_no_regression() {
    let harmless: [fn(&mut [Size]); 6] = [
        |sizes| sizes[3].waves[0].median_ms = Some(182.0 * 1.2),
        |sizes| sizes[3].waves[0].median_ms = Some(20.0),
        |sizes| sizes[0].waves[0].median_ms = Some(30.0),
        // Nobody looks at what external brokers use.
        |sizes| sizes.iter_mut().for_each(|size| size.brokers_cpu_us_per_answer = None),
        // Less CPU time than the system counts in.
        |sizes| sizes[3].emulator_cpu_us_per_answer = None,
        // A line through two sizes that points below nothing.
        |sizes| {
            sizes[0].emulator_cpu_us_per_answer = Some(333.0);
            sizes[1].emulator_cpu_us_per_answer = Some(20.0);
            sizes[2].emulator_cpu_us_per_answer = None;
        },
    ];
    for change in harmless {
        let mut sizes = four();
        change(&mut sizes);
        let scaling = concluded(sizes, None);
        assert_eq!((scaling.departing(), scaling.exit_code), (Vec::new(), 0));
    }
}

#[test]
fn a_size_whose_run_says_nothing_is_left_out_and_too_few_are_told() {
    let mut sizes = four();
    sizes[1].verdict = Verdict::Invalid;
    sizes[1].exit_code = 97;
    sizes[1].waves[0].median_ms = Some(9999.0);
    let scaling = concluded(sizes.clone(), None);
    let law = law_of(&scaling, "wave:rpc");
    assert!((law.each_node - 0.018).abs() < 1e-9, "{law:?}");
    assert_eq!((law.sizes.len(), scaling.exit_code), (3, 97));

    sizes[2].verdict = Verdict::Interrupted;
    sizes[2].exit_code = 130;
    let scaling = concluded(sizes, Some(ExitCode::Interrupted));
    assert!(scaling.laws.is_empty());
    assert_eq!(scaling.exit_code, 130);
    let why = scaling.why_no_laws.expect("a reason");
    assert!(why.starts_with("2 of the sizes gave a valid result"), "{why}");
    assert!(why.ends_with("name 1 more sizes with --nodes"), "{why}");
}

#[test]
fn three_sizes_have_a_law_and_the_largest_is_compared_without_an_interval() {
    let scaling = concluded(four()[..3].to_vec(), None);
    let law = law_of(&scaling, "wave:rpc");
    assert!(law.each_node_interval.is_some());
    let largest = law.sizes.last().expect("sizes");
    assert!(largest.judged && largest.interval.is_none() && largest.departure.is_some());
}

#[test]
fn a_series_reads_itself_again() {
    let scaling = concluded(four(), None);
    let text = serde_json::to_string(&scaling).expect("JSON");
    assert_eq!(serde_json::from_str::<Scaling>(&text).expect("a series"), scaling);
    let folder = tempfile::tempdir().expect("a folder");
    let name = crate::store::FolderName {
        scenario: "linear".to_owned(),
        timestamp: "20261005T142233Z".to_owned(),
        id: "4f2a".to_owned(),
        epoch: std::time::SystemTime::UNIX_EPOCH,
    };
    let files = ScalingFolder::create(folder.path(), &name).expect("made");
    assert!(files.path().ends_with("linear-scale-20261005T142233Z-4f2a"));
    files.write(&scaling).expect("written");
    let text = std::fs::read(files.path().join(FILE_NAME)).expect("read");
    assert_eq!(serde_json::from_slice::<Scaling>(&text).expect("a series"), scaling);
    let csv = std::fs::read_to_string(files.path().join(CSV_FILE_NAME)).expect("read");
    // Five figures: four measured sizes and a predicted one each.
    assert_eq!(csv.lines().count(), 1 + 5 * 5);
    let columns = |line: &str| line.split(',').count();
    assert!(csv.lines().all(|line| columns(line) == 10), "{csv}");
}

#[test]
fn a_person_reads_sizes_law_departures_and_prediction() {
    let mut sizes = four();
    sizes[3].waves[0].median_ms = Some(240.0);
    sizes[3].waves[0].complete_waves = 9;
    sizes[3].verdict = Verdict::ThresholdsFailed;
    let text = render::terminal::page(
        &render::scaling::content(&concluded(sizes, None)),
        None,
        render::terminal::Style::default(),
    );
    insta::assert_snapshot!(text);
}

proptest! {
    #[test]
    fn a_law_never_promises_less_than_nothing(
        times in prop::collection::vec(0.001..1e5_f64, 3..8), asked in 1_u64..1_000_000,
    ) {
        let sizes: Vec<_> = (1_u64..).zip(&times).map(|(number, time)| {
            let mut size = size(number * 1000);
            size.waves[0].median_ms = Some(*time);
            size
        }).collect();
        for law in laws(&sizes, &[asked], 0.25).expect("laws") {
            for Prediction { value, interval, .. } in law.predictions {
                let [low, high] = interval.expect("an interval");
                prop_assert!(0.0 <= low && low <= value + 1e-9 && value <= high + 1e-9);
            }
        }
    }
}
