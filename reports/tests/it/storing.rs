//! The result folder: what is in it, while a run goes on and afterwards, and when a disk fails.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use reports::broker::{BrokerFigure, BrokerFigures};
use reports::missing::{Cause, MissingNode};
use reports::run::{Ending, RunResult};
use reports::store::{BrokerRow, Event, FolderName, ResultFolder, Sample, timeseries_columns};
use reports::summary::Summary;
use reports::verdict::Verdict;
use reports::wave::{WaveKey, WaveKind};

use crate::examples::{self, NODES, key, wave};

fn name(id: &str) -> FolderName {
    FolderName {
        scenario: "first look/2".to_owned(),
        timestamp: "20261005T142233Z".to_owned(),
        id: id.to_owned(),
        epoch: SystemTime::UNIX_EPOCH + Duration::from_secs(1_791_210_153),
    }
}

fn folder(out: &Path) -> ResultFolder {
    ResultFolder::create(out, &name("7f3a")).unwrap()
}

fn read(folder: &ResultFolder, file: &str) -> String {
    fs::read_to_string(folder.path().join(file)).unwrap()
}

#[test]
fn a_folder_is_named_by_what_it_was_given_and_latest_points_at_it() {
    let out = tempfile::tempdir().unwrap();
    let results = out.path().join("deep/results");
    let first = ResultFolder::create(&results, &name("7f3a")).unwrap();
    assert_eq!(first.path(), results.join("first-look-2-20261005T142233Z-7f3a"));
    let link = || fs::read_link(results.join("latest")).unwrap();
    assert_eq!(link(), PathBuf::from("first-look-2-20261005T142233Z-7f3a"));
    ResultFolder::create(&results, &name("7f3b")).unwrap();
    assert_eq!(link(), PathBuf::from("first-look-2-20261005T142233Z-7f3b"));
    let left: Vec<_> = fs::read_dir(&results).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "nothing but two folders and the link: {left:?}");
}

#[test]
fn the_predecessors_files_have_its_columns_in_nanoseconds() {
    let out = tempfile::tempdir().unwrap();
    let mut folder = folder(out.path());
    let warmup = WaveKey { warmup: true, ..key("rpc", 1) };
    let whole = wave(WaveKind::Request, Duration::from_secs(1), NODES);
    folder.record_wave(&warmup, &whole, &[1, 2]).unwrap();
    folder
        .record_wave(&key("rpc", 1), &whole, &[2_000_000, 9_999_999, 10_000_000, 35_000_000])
        .unwrap();
    let mut poor = wave(WaveKind::Request, Duration::from_secs(2), NODES - 14);
    poor.late = 1;
    poor.errors = 5;
    poor.unexpected = 3;
    folder.record_wave(&WaveKey { client: 2, ..key("a,b", 2) }, &poor, &[]).unwrap();
    insta::assert_snapshot!(read(&folder, "requests.csv"), @r#"
    test,description,payload_bytes,expected,discovered,publish_duration,request_duration,failed,ok,noresponses,unexpected,responded
    1,rpc 1 client 1,122,2000,2000,80000,42000000,0,2000,0,0,2000
    2,"a,b 2 client 2",122,2000,2000,80000,41720000,5,1981,14,3,1986
    "#);
    assert_eq!(read(&folder, "times.csv"), "2000000,9999999,10000000,35000000\n\n");
    assert_eq!(read(&folder, "time_buckets.csv"), "2,1,0,1\n0\n");
    folder.describe_requests("a \"test\"".to_owned());
    for client in [1, 2] {
        folder.record_wave(&WaveKey { client, ..key("measure", 1) }, &whole, &[]).unwrap();
    }
    let rows = read(&folder, "requests.csv");
    assert_eq!(
        rows.lines().skip(3).collect::<Vec<_>>(),
        [
            r#"3,"a ""test""",122,2000,2000,80000,42000000,0,2000,0,0,2000"#,
            r#"4,"a ""test"" client 2",122,2000,2000,80000,42000000,0,2000,0,0,2000"#,
        ]
    );
}

#[test]
fn the_histograms_of_waves_are_in_the_summary_and_in_a_log_that_its_own_reader_reads() {
    let out = tempfile::tempdir().unwrap();
    let mut folder = folder(out.path());
    let run = examples::passed();
    for (key, wave) in examples::waves_of_passed() {
        folder.record_wave(&key, &wave, &[]).unwrap();
    }
    folder.finish(&run).unwrap();
    let summary = Summary::read(folder.path()).unwrap();
    assert_eq!(summary.waves.len(), 6);
    for (written, (_, wave)) in summary.waves.iter().zip(examples::waves_of_passed()) {
        let texts = written.histograms.as_ref().unwrap();
        assert_eq!(texts.response_time().unwrap(), wave.response_time);
        assert_eq!(texts.service_time().unwrap(), wave.service_time);
        assert_eq!(texts.send_delay().unwrap(), wave.send_delay);
    }
    let log = fs::read(folder.path().join("latency.hlog")).unwrap();
    let mut tags = Vec::new();
    let mut count = 0;
    for entry in IntervalLogIterator::new(&log) {
        match entry.unwrap() {
            LogEntry::Interval(interval) => {
                let bytes = base64_decode(interval.encoded_histogram());
                let read: Histogram<u64> =
                    Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
                count += read.len();
                tags.push(interval.tag().unwrap().as_str().to_owned());
            }
            LogEntry::BaseTime(time) | LogEntry::StartTime(time) => {
                assert_eq!(time, Duration::from_secs(1_791_210_153));
            }
        }
    }
    assert_eq!(tags, ["warmup:rpc", "discovery", "discovery", "rpc", "rpc", "rpc"]);
    assert_eq!(count, 6 * NODES - 7);
}

fn base64_decode(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

#[test]
fn lines_of_json_and_samples_are_written_as_they_come() {
    let out = tempfile::tempdir().unwrap();
    let mut folder = folder(out.path());
    let mut node = MissingNode::new(&key("rpc", 1), "web-1.choria.local", Cause::NotDelivered);
    node.index = Some(1);
    folder.record_missing(&node).unwrap();
    let event = Event {
        at_s: 0.25,
        kind: "broker_started".to_owned(),
        detail: "n1 is ready".to_owned(),
        fields: serde_json::Map::from_iter([("pid".to_owned(), 42.into())]),
    };
    folder.record_event(&event).unwrap();
    let sample = Sample {
        at: Duration::from_millis(1_500),
        phase: "connect".to_owned(),
        connected: 7,
        cpu: Duration::from_millis(30),
        ..Sample::default()
    };
    let figures = BrokerFigures::default()
        .with(BrokerFigure::CpuUs, 1_234_567)
        .with(BrokerFigure::MsgsIn, 12)
        .with(BrokerFigure::LinkRttUs, 70);
    let (at, phase) = (Duration::from_millis(1_400), "connect".to_owned());
    let broker = BrokerRow { at, broker: "leaf1".to_owned(), phase, figures };
    folder.record_sample(&sample, &[broker]).unwrap();
    folder
        .record_wave(&key("rpc", 1), &examples::wave(WaveKind::Request, Duration::ZERO, 1), &[])
        .unwrap();

    assert_eq!(
        read(&folder, "missing.jsonl"),
        "{\"wave\":\"rpc\",\"number\":1,\"warmup\":false,\"client\":1,\
         \"identity\":\"web-1.choria.local\",\"index\":1,\"group\":null,\"broker\":null,\
         \"cause\":\"not_delivered\",\"detail\":null}\n"
    );
    let read_back: MissingNode = serde_json::from_str(&read(&folder, "missing.jsonl")).unwrap();
    assert_eq!(read_back, node);
    assert_eq!(serde_json::from_str::<Event>(&read(&folder, "events.jsonl")).unwrap(), event);
    let timeseries = read(&folder, "timeseries.csv");
    let rows: Vec<Vec<&str>> = timeseries.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows[0].join(","), timeseries_columns());
    assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{timeseries}");
    insta::assert_snapshot!(timeseries, @r"
    at_s,broker,phase,rss_bytes,cpu_s,connected,disconnects,received,answered,replies,scheduler_lag_max_us,connections,subscriptions,msgs_in,msgs_out,bytes_in,bytes_out,slow_consumers,slow_clients,slow_routes,slow_gateways,slow_leafs,stalls,stale_connections,links,link_pending_bytes,link_rtt_us,goroutines,heap_inuse_bytes,stack_inuse_bytes
    1.400,leaf1,connect,,1.235,,,,,,,,,12,,,,,,,,,,,,,70,,,
    1.500,,connect,0,0.030,7,0,0,0,0,0,,,,,,,,,,,,,,,,,,,
    ");
}

#[test]
fn a_run_that_is_killed_leaves_a_summary_that_says_partial() {
    let out = tempfile::tempdir().unwrap();
    let mut run = RunResult { ending: Ending::Running, ..examples::passed() };
    run.thresholds.clear();
    let path = {
        let mut folder = folder(out.path());
        folder.refresh(&run).unwrap();
        let wave = wave(WaveKind::Request, Duration::from_secs(9), NODES);
        folder.record_wave(&key("rpc", 9), &wave, &[1_000]).unwrap();
        run.tally.waves.add(key("rpc", 9), &wave);
        folder.refresh(&run).unwrap();
        let path = folder.path().to_owned();
        // As SIGKILL would: nothing is flushed or dropped.
        std::mem::forget(folder);
        path
    };
    let summary = Summary::read(&path).unwrap();
    assert!(summary.partial);
    assert_eq!(summary.verdict, Verdict::Interrupted);
    assert_eq!(summary.waves.last().unwrap().number, 9);
    assert!(summary.waves.iter().all(|wave| wave.histograms.is_none()));
    assert!(summary.entries.iter().all(|entry| entry.histograms.is_none()));
    assert_eq!(fs::read_to_string(path.join("times.csv")).unwrap(), "1000\n");
}

#[test]
fn a_finished_run_has_its_summaries_and_nothing_temporary() {
    let out = tempfile::tempdir().unwrap();
    let mut folder = folder(out.path());
    let run = examples::failed();
    folder.refresh(&RunResult::default()).unwrap();
    folder.write_file("plan.json", b"{}").unwrap();
    assert_eq!(folder.subfolder("brokers").unwrap(), folder.path().join("brokers"));
    folder.finish(&run).unwrap();
    assert_eq!(Summary::read(&out.path().join("latest")).unwrap(), Summary::of(&run));
    let entries = fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "brokers",
            "events.jsonl",
            "latency.hlog",
            "missing.jsonl",
            "plan.json",
            "requests.csv",
            "summary.json",
            "summary.md",
            "time_buckets.csv",
            "times.csv",
            "timeseries.csv",
        ]
    );
}

#[test]
fn a_place_that_cannot_be_written_is_named_with_a_remedy() {
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("file");
    fs::write(&file, "").unwrap();
    let error = |out: &Path| ResultFolder::create(out, &name("7f3a")).unwrap_err().to_string();

    let text = error(&file);
    assert!(text.contains(file.to_str().unwrap()) && text.contains("--out DIR"), "{text}");

    folder(out.path());
    let text = error(out.path());
    assert!(text.contains("7f3a") && text.contains("move it away"), "{text}");

    let latest = out.path().join("other");
    fs::create_dir_all(latest.join("latest")).unwrap();
    let text = error(&latest);
    assert!(text.contains("latest") && text.contains("move it away"), "{text}");
    assert_eq!(fs::read_dir(&latest).unwrap().count(), 1, "no folder is left half made");
}

#[test]
fn a_full_disk_is_an_error_and_leaves_the_summary_before() {
    let out = tempfile::tempdir().unwrap();
    let mut folder = folder(out.path());
    folder.refresh(&examples::passed()).unwrap();
    let before = read(&folder, "summary.json");
    // The kernel's own full device stands for a full disk.
    let fresh = folder.path().join(".summary.json.new");
    std::os::unix::fs::symlink("/dev/full", &fresh).unwrap();
    let error = folder.finish(&examples::passed()).unwrap_err();
    assert_eq!(error.path(), folder.path().join("summary.json"));
    let text = error.to_string();
    assert!(text.contains("free space on that disk"), "{text}");
    let source = std::error::Error::source(&error).unwrap();
    let source = source.downcast_ref::<std::io::Error>().unwrap();
    assert_eq!(source.kind(), ErrorKind::StorageFull);
    assert_eq!(read(&folder, "summary.json"), before);
    assert!(!fresh.exists(), "the leftover is gone");
}

#[test]
fn a_place_that_the_kernel_keeps_to_itself_is_named_with_a_remedy() {
    // Nobody makes folders in sysfs, root neither.
    let place = Path::new("/sys/kernel/results");
    let text = ResultFolder::create(place, &name("7f3a")).unwrap_err().to_string();
    assert!(text.starts_with("cannot make folder /sys/kernel/results"), "{text}");
    assert!(text.ends_with("choose another place with --out DIR"), "{text}");
}
