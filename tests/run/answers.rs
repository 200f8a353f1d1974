//! Answers that are odd, late or never come: in the right columns, with their causes, in every file.

use std::collections::BTreeSet;
use std::fs;

use choria_emulator::plan::Plan;
use choria_emulator::scenario::Scenario;
use futures_util::StreamExt;
use reports::missing::Cause;
use tokio::task::JoinSet;

use super::rig::{Left, broker_with, external, real, run_alone, run_while, scenario};
use super::setup;
use crate::driver::standin;

#[tokio::test(flavor = "multi_thread")]
async fn odd_answers_of_others_are_counted_apart_and_the_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker_with(folder.path(), "").await;
    // The nodes take their time, so that the odd answers come while the wave is open.
    let groups = ["default, nodes: 10, behaviour: {reply_delay: 1500ms}"];
    let rpc = "rpc, request: {agent: emulated0, action: generate}, every: 2s, count: 2";
    let text = scenario(&external(&broker.url()), &groups, &[rpc]);
    let out = tempfile::tempdir().unwrap();
    let setup = setup(&text, &[], out.path()).await;
    let mut odd = JoinSet::new();
    let (finished, ()) = run_while(setup, async |mut told| {
        let url = told.broker().await;
        let client = async_nats::connect(url).await.unwrap();
        let mut requests = client.subscribe("*.broadcast.agent.emulated0").await.unwrap();
        client.flush().await.unwrap();
        odd.spawn(async move {
            while let Some(message) = requests.next().await {
                for answer in standin::odd_answers("stranger.example.net", &message) {
                    let to = standin::reply_to(&message);
                    client.publish(to, answer.into()).await.unwrap();
                }
            }
        });
    })
    .await;
    let left = Left::by(&finished.unwrap());
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{:?}", left.summary.doubts);
    assert_eq!(left.summary.waves.len(), 2);
    for wave in &left.summary.waves {
        assert_eq!((wave.on_time, wave.expected, wave.missing), (10, 10, 0));
        assert_eq!((wave.undecodable, wave.unexpected, wave.duplicate), (6, 2, 0));
    }
    let requests = fs::read_to_string(left.folder.join("requests.csv")).unwrap();
    for row in requests.lines().skip(1) {
        let fields: Vec<_> = row.split(',').collect();
        assert_eq!(fields[10], "2", "unexpected: {row}");
        assert_eq!((fields[3], fields[8], fields[11]), ("10", "10", "10"), "{row}");
    }
    assert_eq!(left.missing().len(), 0);
}

/// Twins answer for themselves, a queue that is full loses what comes, and both stand in the result.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_one_identity_count_each_and_a_full_queue_is_a_cause() {
    let groups = [
        "twins, nodes: 4, shared_identities: true, identity: twin.example.net",
        // One is looked at for ever, one waits for it, one is between and one in the buffer.
        "busy, nodes: 2, queue: {size: 1, handling: 600s}",
    ];
    let ask = |name, filter| {
        format!(
            "{name}, request: {{agent: emulated0, action: generate, filter: {{identity: [{filter}]}}}}, \
             deadline: 500ms, every: 700ms, count: "
        )
    };
    let twins = ask("twins", "twin.example.net") + "2";
    let busy = ask("busy", "\"/^busy/\"") + "6";
    let text = scenario(&real().await, &groups, &[&twins, &busy]) + "late_grace: 0s\n";
    let out = tempfile::tempdir().unwrap();
    let left = Left::by(&run_alone(setup(&text, &[], out.path()).await).await.unwrap());
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{:?}", left.summary.doubts);
    for wave in &left.summary.waves {
        let expected = if wave.name == "twins" { (4, 4, 0, 0) } else { (0, 2, 0, 0) };
        assert_eq!((wave.on_time, wave.expected, wave.duplicate, wave.unexpected), expected);
    }
    // The waves to the twins went to everybody: two of four places were taken.
    let missing = left.missing();
    let lost = missing.iter().filter(|node| {
        node.detail.as_deref().is_some_and(|detail| detail.contains("request queue"))
    });
    assert_eq!(lost.count(), 2 * 4);
    assert_eq!(left.summary.missing.by_cause[&Cause::NoReply], 2 * 6);
    assert_eq!(left.summary.fleet.counters["slow_consumer"], 2 * 4);
    assert_eq!(
        left.summary.departures,
        ["group busy: a request queue of 1, where a server has 10"]
    );
}

/// A run with nodes of every habit, and a result whose files all say the same.
#[tokio::test(flavor = "multi_thread")]
async fn every_file_of_a_result_agrees_with_its_summary() {
    let groups = [
        "good, nodes: 10",
        "late, nodes: 4, behaviour: {reply_delay: 1500ms}",
        "silent, nodes: 3, behaviour: {no_reply: 100%}",
        "faulty, nodes: 2, behaviour: {error_reply: 100%}",
    ];
    let rpc = "rpc, request: {agent: emulated0, action: generate}, deadline: 1s, every: 3s, \
               count: 2, warmup: 1, clients: 2";
    let text = scenario(&real().await, &groups, &["discovery, discover: {}, every: 1s", rpc]);
    let text = text + "late_grace: 4s\n";
    let text = text.replace("discovery, discover: {}", "discovery, discover: {}, deadline: 1s");
    let out = tempfile::tempdir().unwrap();
    let left = Left::by(&run_alone(setup(&text, &[], out.path()).await).await.unwrap());
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{:?}", left.summary.doubts);

    assert_eq!(
        left.summary.departures,
        [
            "group silent: 100 % of requests without an answer, where a server answers each",
            "group faulty: 100 % of RPC requests with an error reply, whatever they ask for",
        ]
    );
    check_causes(&left);
    check_csv(&left);
    check_folder(&left, out.path());
}

fn check_causes(left: &Left) {
    let summary = &left.summary;
    for wave in summary.waves.iter().filter(|wave| wave.name == "rpc") {
        let counts = (wave.expected, wave.on_time, wave.late, wave.missing, wave.errors);
        assert_eq!(counts, (19, 12, 4, 3, 2), "{} {}", wave.number, wave.client);
    }
    // Two counted waves of two clients, and one discovery of one.
    let by_cause = &summary.missing.by_cause;
    assert_eq!((by_cause[&Cause::Late], by_cause[&Cause::NoReply]), (4 * 5, 3 * 5));
    assert_eq!(summary.missing.count, 35);
    let missing = left.missing();
    let counted = missing.iter().filter(|node| !node.warmup);
    assert_eq!(counted.count() as u64, summary.missing.count);
    for node in &missing {
        let group = node.group.as_deref().unwrap();
        let expected = match node.cause {
            Cause::Late => "late",
            Cause::NoReply => "silent",
            other => panic!("{other}: {node:?}"),
        };
        assert_eq!(group, expected, "{node:?}");
        assert!(node.identity.starts_with(group) && node.index.is_some(), "{node:?}");
        assert_eq!(node.broker.as_deref(), Some("n1"), "{node:?}");
    }
}

fn check_csv(left: &Left) {
    let rows = |name: &str| -> Vec<String> {
        let text = fs::read_to_string(left.folder.join(name)).unwrap();
        text.lines().map(ToOwned::to_owned).collect()
    };
    let numbers = |row: &String| -> Vec<u64> {
        row.split(',').filter(|n| !n.is_empty()).map(|n| n.parse().unwrap()).collect()
    };
    let (requests, times, buckets) =
        (rows("requests.csv"), rows("times.csv"), rows("time_buckets.csv"));
    let counted: Vec<_> = left.summary.waves.iter().filter(|wave| !wave.warmup).collect();
    assert_eq!([requests.len() - 1, times.len(), buckets.len()], [counted.len(); 3]);
    for row in &requests[1..] {
        let place = requests.iter().position(|other| other == row).unwrap() - 1;
        let fields: Vec<_> = row.split(',').collect();
        let [name, number, _, client] = fields[1].split(' ').collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        let wave = counted.iter().find(|wave| {
            wave.name == name
                && wave.number.to_string() == number
                && wave.client.to_string() == client
        });
        let wave = wave.unwrap_or_else(|| panic!("{row}"));
        let expected = [
            (0, place as u64 + 1),
            (2, wave.payload_bytes),
            (3, wave.expected),
            (7, wave.errors),
            (8, wave.on_time - wave.errors),
            (9, wave.missing + wave.late),
            (10, wave.unexpected),
            (11, wave.on_time),
        ];
        for (column, value) in expected {
            assert_eq!(fields[column], value.to_string(), "column {column} of {row}");
        }
        let replies = numbers(&times[place]);
        assert_eq!(replies.len() as u64, wave.on_time + wave.late, "{row}");
        assert!(replies.is_sorted(), "in order of their arrival");
        let buckets = numbers(&buckets[place]);
        assert_eq!(buckets.iter().sum::<u64>(), replies.len() as u64, "{row}");
        for (bucket, count) in (0..).zip(&buckets) {
            let within = |ns: &&u64| **ns / 10_000_000 == bucket;
            assert_eq!(replies.iter().filter(within).count() as u64, *count, "{row}");
        }
    }
}

fn check_folder(left: &Left, out: &std::path::Path) {
    let names = |folder: &std::path::Path| -> BTreeSet<String> {
        let entries = fs::read_dir(folder).unwrap().flatten();
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
    };
    let set = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let expected = [
        "summary.json",
        "summary.md",
        "requests.csv",
        "times.csv",
        "time_buckets.csv",
        "latency.hlog",
        "timeseries.csv",
        "missing.jsonl",
        "events.jsonl",
        "scenario.yaml",
        "plan.json",
        "brokers",
        "run.log",
    ];
    assert_eq!(names(&left.folder), set(&expected));
    assert_eq!(names(&left.folder.join("brokers")), set(&["n1.conf", "n1.log"]));
    let folder = left.folder.file_name().unwrap();
    assert_eq!(fs::read_link(out.join("latest")).unwrap().as_os_str(), folder);
    assert_eq!(names(out), set(&["latest", folder.to_str().unwrap()]));

    let plan = fs::read(left.folder.join("plan.json")).unwrap();
    let plan: Plan = serde_json::from_slice(&plan).unwrap();
    assert_eq!(plan.digest(), left.summary.plan_digest);
    // What was run can be run again.
    let text = fs::read_to_string(left.folder.join("scenario.yaml")).unwrap();
    let again = Scenario::parse(&text, "scenario.yaml", &[]).unwrap();
    assert_eq!(choria_emulator::plan::resolve(&again).unwrap(), plan);
    let hlog = fs::read_to_string(left.folder.join("latency.hlog")).unwrap();
    let intervals = hlog.lines().filter(|line| line.starts_with("Tag=")).count();
    assert_eq!(intervals, left.summary.waves.len(), "warm-up waves too");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_left_on_purpose_is_missed_with_that_said_and_is_no_lost_connection() {
    let churn = "churn: {share: 100%, every: 1s, away: 900ms}";
    let fickle = format!("fickle, nodes: 10, behaviour: {{{churn}}}");
    let rpc = "rpc, request: {agent: emulated0, action: generate}, every: 500ms, count: 10";
    let text = scenario(&real().await, &["steady, nodes: 10", &fickle], &[rpc]);
    let out = tempfile::tempdir().unwrap();
    let finished = run_alone(setup(&text, &[], out.path()).await).await.unwrap();
    let left = Left::by(&finished);
    let missing = left.missing();
    assert!(!missing.is_empty());
    for node in missing {
        let why = (node.group.as_deref(), node.cause, node.detail.as_deref());
        let said = "it had left, as its group's churn says";
        assert_eq!(why, (Some("fickle"), Cause::Disconnected, Some(said)), "{}", node.identity);
    }
    let fleet = &left.summary.fleet;
    assert!(fleet.counters["left"] >= 10, "{fleet:?}");
    assert_eq!((fleet.disconnects, fleet.reconnects), (0, 0));
}
