//! `summary.json`: its members, and that it survives being read back.

use std::fs;
use std::time::Duration;

use reports::place::PlaceSummary;
use reports::run::RunResult;
use reports::summary::Summary;
use reports::wave::WaveKind;

use crate::examples;

/// The samples' histograms are long: their presence is all that a snapshot shows.
fn without_texts(summary: &Summary) -> serde_json::Value {
    let mut value = serde_json::to_value(summary).unwrap();
    for entry in value["entries"].as_array_mut().unwrap() {
        for text in entry["histograms"].as_object_mut().unwrap().values_mut() {
            *text = "(base64)".into();
        }
    }
    // One wave of each entry shows the members.
    value["waves"]
        .as_array_mut()
        .unwrap()
        .retain(|wave| wave["number"] == 4 || wave["warmup"] == true);
    value
}

#[test]
fn the_members_are_those_that_scripts_rely_on() {
    let summary = Summary::of(&examples::failed());
    let text = serde_json::to_string_pretty(&without_texts(&summary)).unwrap();
    insta::assert_snapshot!("summary_json", text);
}

#[test]
fn a_summary_that_was_written_reads_back_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("summary.json");
    for run in [
        examples::placed(),
        examples::passed(),
        examples::failed(),
        examples::invalid(),
        RunResult::default(),
    ] {
        let summary = Summary::of(&run);
        fs::write(&path, summary.to_json().unwrap()).unwrap();
        assert_eq!(Summary::read(&path).unwrap(), summary, "by file");
        assert_eq!(Summary::read(folder.path()).unwrap(), summary, "by folder");
    }
}

#[test]
fn the_histograms_of_an_entry_are_those_of_its_waves() {
    let run = examples::failed();
    let summary = Summary::of(&run);
    assert_eq!(summary.entries.len(), 2);
    for entry in &summary.entries {
        let merged = run.tally.waves.distributions(|key| key.name == entry.name);
        let texts = entry.histograms.as_ref().unwrap();
        assert_eq!(texts.response_time().unwrap(), merged.response_time);
        assert_eq!(texts.service_time().unwrap(), merged.service_time);
        assert_eq!(texts.send_delay().unwrap(), merged.send_delay);
        assert_eq!(texts.response_time().unwrap().figures(), entry.response_time_us);
    }
}

#[test]
fn the_counts_of_waves_entries_and_missing_agree() {
    let summary = Summary::of(&examples::failed());
    for wave in &summary.waves {
        assert_eq!(wave.on_time + wave.late + wave.missing, wave.expected);
    }
    let counted = || summary.waves.iter().filter(|wave| !wave.warmup);
    let silent: u64 = counted().map(|wave| wave.missing + wave.late).sum();
    assert_eq!(summary.missing.count, silent);
    assert_eq!(summary.missing.count, summary.missing.by_cause.values().sum::<u64>());
    let expected: u64 = counted().map(|wave| wave.expected).sum();
    assert_eq!(summary.entries.iter().map(|entry| entry.expected).sum::<u64>(), expected);
}

#[test]
fn a_wave_with_a_late_reply_is_not_complete_yet_everyone_got_there() {
    let mut run = RunResult::default();
    let mut wave = examples::wave(WaveKind::Request, Duration::ZERO, examples::NODES - 1);
    wave.late = 1;
    wave.response_time.record(Duration::from_secs(11));
    run.tally.waves.add(examples::key("rpc", 1), &wave);
    let entry = &Summary::of(&run).entries[0];
    assert_eq!((entry.complete_waves, entry.missing), (0, 0));
    let slowest_ms = entry.to_complete_ms.max.unwrap();
    assert!((11_000.0..11_011.0).contains(&slowest_ms), "{slowest_ms}");
}

#[test]
fn answers_by_broker_cluster_and_hops_add_up_to_all_of_them() {
    let summary = Summary::of(&examples::placed());
    assert_eq!(summary.entries[0].places, summary.places, "there is one entry");
    let places = summary.places.unwrap();
    let names: Vec<_> = places.by_broker.keys().map(String::as_str).collect();
    assert_eq!(names, ["leaf1", "n1"]);
    assert_eq!(places.by_cluster.keys().collect::<Vec<_>>(), ["hub"]);
    assert_eq!(places.by_hops[&1], places.by_broker["leaf1"]);
    assert_eq!(places.by_hops[&0], places.by_cluster["hub"]);
    let sum = |count: fn(&PlaceSummary) -> u64| places.by_broker.values().map(count).sum::<u64>();
    let entry = &summary.entries[0];
    assert_eq!(sum(|place| place.expected), entry.expected);
    assert_eq!(sum(|place| place.on_time), entry.on_time);
    assert_eq!(sum(|place| place.missing), entry.missing);
    let replies = sum(|place| place.response_time_us.map_or(0, |figures| figures.count));
    assert_eq!(replies, entry.response_time_us.unwrap().count);
    assert_eq!(summary.missing.by_broker["leaf1"], 1);
    // One place says nothing that is not said already.
    assert_eq!(Summary::of(&examples::failed()).places, None);
}

#[test]
fn a_broker_that_was_replaced_is_what_it_was_last_and_says_what_it_was_before() {
    let summary = Summary::of(&examples::placed());
    let [leaf, hub] = &summary.cost.brokers[..] else { panic!("{:?}", summary.cost.brokers) };
    assert_eq!((leaf.version.as_str(), leaf.go.as_deref()), ("2.14.5", Some("go1.26.8")));
    let ran: Vec<_> =
        leaf.ran.iter().map(|ran| (ran.since_s, ran.build.version.as_str())).collect();
    assert_eq!(ran, [(0.0, "2.9.25"), (7.0, "2.14.5")]);
    assert!(hub.ran.is_empty());
    let json = serde_json::to_value(&summary).unwrap();
    assert_eq!(json["cost"]["brokers"][0]["ran"][0]["go"], "go1.19.13");
    assert_eq!(json["cost"]["brokers"][1]["peers"]["n2"]["pending_bytes"], 3 << 20);
    assert_eq!(serde_json::from_value::<Summary>(json).unwrap(), summary);
}

#[test]
fn waves_stand_in_the_order_in_which_they_ran() {
    let summary = Summary::of(&examples::passed());
    assert!(summary.waves.is_sorted_by_key(|wave| wave.intended_at_s));
    let names: Vec<_> = summary.entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["discovery", "rpc"]);
}

#[test]
fn what_is_no_summary_is_refused_with_the_path_and_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("summary.json");
    let error = || Summary::read(folder.path()).unwrap_err().to_string();
    let text = error();
    assert!(text.contains("cannot read") && text.contains("results/latest"), "{text}");
    for (content, expected) in [
        ("", "is no summary of a run"),
        ("{\"schema_version\": 1", "is no summary of a run"),
        ("[]", "is no summary of a run: it holds no JSON object"),
        ("{\"schema_version\": 2}", "has schema_version 2, and this version reads 1"),
    ] {
        fs::write(&path, content).unwrap();
        let text = error();
        assert!(text.contains(expected) && text.contains(path.to_str().unwrap()), "{text}");
        assert_eq!(text.lines().count(), 2, "{text}");
    }
}

#[cfg(unix)]
#[test]
fn what_has_no_end_is_not_read_as_a_summary() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("summary.json");
    let refused = |why: &str| {
        let text = Summary::read(folder.path()).unwrap_err().to_string();
        assert!(text.starts_with(&format!("cannot read {}: {why}", path.display())), "{text}");
        assert!(text.ends_with("\nname the folder of a result"), "{text}");
    };
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    refused("it is no regular file");
    fs::remove_file(&path).unwrap();
    // A hole: it takes no room.
    fs::File::create(&path).unwrap().set_len((1 << 30) + 1).unwrap();
    refused("it is larger than any summary");
}
