//! The proof of fidelity, made by the real program over a real broker.

use std::fs;
use std::path::Path;

use choria_emulator::broker::Broker;
use choria_emulator::conductor::Stop;
use choria_emulator::fidelity::{Certificate, Counts, Outcome};
use emulator::fidelity::reply_body;
use emulator::fleet::Fleet;
use emulator::spec::{Clock, FleetSpec, Share};
use reports::summary::Summary;
use serde_json::{Value, json};

use super::{SMALL, Said, ask, folder_with};
use crate::run::{run, setup};
use crate::support::{SOON, lasting_sources, launcher, nats_server, start_spec};

const PING: &str = "ping-all/web1.example.net";
const SILENT: &str = "ping-identity-unknown/web1.example.net";
const DISCOVERY: &str = "discover-all/web1.example.net";
const FACT: &str = "req-get-fact-string/web1.example.net";
const NULL: &str = "req-get-fact-null/web1.example.net";
const STATS: &str = "req-daemon-stats-web1/web1.example.net";

/// Runs `fidelity` in a folder, with the broker that all tests use.
async fn fidelity(folder: &Path, words: &[&str]) -> Said {
    let _ = nats_server().await;
    let cache = lasting_sources().cache.unwrap();
    let asked = ["fidelity", "-q", "--cache", cache.to_str().unwrap()];
    ask(folder, &[&asked, words].concat())
}

/// Some recorded exchanges, by id.
fn recorded(ids: &[&str]) -> Vec<Value> {
    let (_, lines) = emulator::fidelity::RECORDINGS[0];
    let cases = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let cases: Vec<_> = cases.filter(|case| ids.contains(&case["id"].as_str().unwrap())).collect();
    assert_eq!(cases.len(), ids.len());
    cases
}

fn recording(cases: &[Value]) -> String {
    cases.iter().map(|case| format!("{case}\n")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_case_is_repeated_and_the_certificate_in_the_tree_is_current() {
    let folder = tempfile::tempdir().unwrap();
    let said = fidelity(folder.path(), &["-o", "proof"]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    let file = fs::read_to_string(folder.path().join("proof/fidelity.json")).unwrap();
    let made: Certificate = serde_json::from_str(&file).unwrap();
    assert_eq!(made.digest, made.proof.digest());
    assert!(said.out.contains(&made.digest), "{}", said.out);
    let expected = Counts { cases: 721, equal: 696, equal_but_for: 25, different: 0, skipped: 0 };
    assert_eq!(made.proof.counts, expected);

    let kept = Certificate::of_this_build().unwrap();
    assert_eq!(kept.digest, kept.proof.digest(), "it was changed by hand");
    let readme = include_str!("../../README.md");
    assert!(readme.contains(&kept.digest), "the README quotes another certificate");
    let (_, tables) = said.out.split_once("\n\n").unwrap();
    let (tables, _) = tables.split_once("\nCertificate").unwrap();
    assert!(readme.contains(tables), "the README shows other tables than\n{tables}");
    let mut made = made.proof;
    // Whichever broker is at hand proves it as well.
    made.nats_server.clone_from(&kept.proof.nats_server);
    assert!(
        made == kept.proof,
        "renew it: choria-emulator fidelity --json > emulator/testdata/fidelity.json"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_from_a_recording_is_shown_and_has_its_exit_code() {
    let ids = [PING, SILENT, DISCOVERY, FACT, NULL];
    let mut cases = recorded(&ids);
    let by_id = |id: &str| ids.iter().position(|other| *other == id).unwrap();
    cases.sort_by_key(|case| by_id(case["id"].as_str().unwrap()));
    cases[0]["replies"][0]["subject"] = "elsewhere".into();
    cases[1]["replies"] = cases[2]["replies"].clone();
    cases[2]["replies"] = json!([]);
    cases[3]["replies"] = cases[4]["replies"].clone();
    cases[4]["counters"] = json!({ "total": 2, "validated": 1, "unvalidated": 0, "passed": 1,
        "filtered": 0, "ttlexpired": 0, "replies": 1 });
    let folder = folder_with("mine.jsonl", recording(&cases).as_bytes());
    let said = fidelity(folder.path(), &["--captures", "mine.jsonl"]).await;
    assert_eq!(said.code, Some(99), "{said:?}");
    let (_, different) = said.out.split_once("\nDifferent\n").unwrap();
    insta::assert_snapshot!(different.split("\nCertificate").next().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_the_certificate_and_a_value_of_the_process_may_differ() {
    let folder = folder_with("mine.jsonl", recording(&recorded(&[STATS])).as_bytes());
    let said = fidelity(folder.path(), &["--captures", "mine.jsonl", "--json"]).await;
    let printed: Certificate = serde_json::from_str(&said.out).unwrap();
    let file = fs::read_to_string(folder.path().join("results/fidelity/fidelity.json")).unwrap();
    assert_eq!(said.out, file);
    assert_eq!(said.code, Some(0));
    let Outcome::EqualButFor(values) = &printed.proof.recordings["mine.jsonl"][STATS] else {
        panic!("{}", said.out)
    };
    assert!(values.contains(&"body/data/pid: of the process".to_owned()), "{values:?}");
    let built_in = Certificate::of_this_build().unwrap();
    assert_ne!(printed.proof.corpus, built_in.proof.corpus);
}

#[tokio::test(flavor = "multi_thread")]
async fn recordings_that_cannot_be_replayed_are_refused_before_a_broker_is_started() {
    let mut nothing_to_send = recorded(&[NULL]);
    nothing_to_send[0]["request"]["payload"] = Value::Null;
    let mut miscounted = recorded(&[NULL]);
    miscounted[0]["counters"] = json!({ "total": 1 });
    // The first differs, and how the second ends would hide it.
    let mut twice = recorded(&[NULL]);
    twice.push(twice[0].clone());
    twice[0]["replies"] = json!([]);
    for (lines, says) in [
        ("{}\n".to_owned(), "line 1 is no recorded case"),
        (format!("{}nonsense\n", recording(&recorded(&[NULL]))), "line 2 is no recorded case"),
        (recording(&nothing_to_send), "has no payload that can be built"),
        (recording(&miscounted), "has counters that are no counters"),
        (recording(&twice), "is there twice"),
        (String::new(), "no case is in it"),
    ] {
        let folder = folder_with("mine.jsonl", lines.as_bytes());
        let said = fidelity(folder.path(), &["--captures", "mine.jsonl"]).await;
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.err.contains("recording mine.jsonl") && said.err.contains(says), "{said:?}");
        assert!(!folder.path().join("results").exists());
    }
    let folder = tempfile::tempdir().unwrap();
    let said = fidelity(folder.path(), &["--captures", "absent"]).await;
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("cannot read the recording absent"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_digest_stands_in_the_result_of_a_run() {
    let out = tempfile::tempdir().unwrap();
    let setup = setup(SMALL, &["waves.rpc.count=1"], out.path()).await;
    let (finished, _) = run(setup, Stop::default()).await;
    let summary = Summary::read(&finished.unwrap().folder).unwrap();
    let kept = Certificate::of_this_build().unwrap();
    assert_eq!(summary.certificate_digest, Some(kept.digest));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_present_is_recorded_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    let spec = start_spec(folder.path()).await;
    let broker = Broker::start(&spec, &launcher()).await.unwrap();
    // Stands for a real server: configured as one of them, with the clock of today.
    let (_, exchanges) = emulator::fidelity::RECORDINGS[0];
    let server = emulator::fidelity::parse(exchanges).unwrap().remove(0).server;
    let mut group = server.group(broker.client().into());
    group.facts.insert("proxy".to_owned(), "http://ops:hidden-word@proxy:3128".into());
    for (item, text) in [
        ("middleware_hosts", "nats://ops:hidden-word@n1:4222,hidden-word@n2:4222"),
        ("network.leafnode_remotes", "ops:hidden-word@n3:7422"),
        ("security.request_signer.url", "https://sign.example.net/sign?token=hidden-word"),
    ] {
        let shown = group.shown.as_mut().unwrap();
        shown.config.insert(format!("plugin.choria.{item}"), text.to_owned());
    }
    let fleet = Fleet::start(FleetSpec {
        seed: 1,
        groups: vec![group],
        share: Share::WHOLE,
        shards: 1,
        clock: Clock::System,
    });
    let fleet = fleet.unwrap();
    fleet.connected().await;

    let url = broker.url();
    let asked = ["--real", url.as_str(), "--identity", &server.identity];
    let said = fidelity(folder.path(), &asked).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    let read = |name: &str| fs::read_to_string(folder.path().join("results/fidelity").join(name));
    let made: Certificate = serde_json::from_str(&read("fidelity.json").unwrap()).unwrap();
    let outcomes = &made.proof.recordings[&server.identity];
    let recording = emulator::fidelity::parse(&read("recording.jsonl").unwrap()).unwrap();
    assert_eq!(recording.len(), outcomes.len());
    let replies = recording.iter().filter(|case| case.outcome == "reply").count();
    assert_eq!((replies, recording.len() - replies), (268, 35));
    let has = |end: &str| recording.iter().any(|case| case.id.ends_with(end));
    assert!(has("config-item/plugin.nats.user") && !has(".pass") && !has("password"));
    let told = recording.iter().flat_map(|case| &case.replies);
    let told: String =
        told.filter_map(|told| Some(reply_body(told.payload.as_bytes())?.to_string())).collect();
    for clean in [
        r#"["nats://***@n1:4222","***@n2:4222"]"#,
        r#"["***@n3:7422"]"#,
        "https://sign.example.net/sign?***",
        "http://***@proxy:3128",
    ] {
        assert!(told.contains(clean), "{clean}");
    }
    for text in [&told, &read("recording.jsonl").unwrap(), &said.out] {
        assert!(!text.contains("hidden-word"));
    }

    // The recording that was kept shows what differs in it.
    let other = read("recording.jsonl").unwrap().replace("web1.example.net", "web9.example.net");
    fs::write(folder.path().join("other.jsonl"), other).unwrap();
    let said = fidelity(folder.path(), &["--captures", "other.jsonl"]).await;
    assert_eq!(said.code, Some(99), "{said:?}");

    let nobody = ["--real", url.as_str(), "--identity", "nobody.example.net"];
    let said = fidelity(folder.path(), &nobody).await;
    assert_eq!(said.code, Some(4), "{said:?}");
    assert!(said.err.contains("nobody.example.net does not answer rpcutil"), "{said:?}");
    fleet.stop().await;
    broker.stop(SOON).await;
}
