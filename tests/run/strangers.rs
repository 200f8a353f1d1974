//! `measure` on a network with nodes that are not its own: the real program carries them beside it.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use reports::missing::Cause;

use super::rig::{Ended, Left, Program, broker_with, left_in};
use crate::support::SOON;

/// The program with these words, in a folder.
fn program(folder: &Path, words: &[&str]) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_choria-emulator"));
    command.args(words);
    Program::start(command, folder)
}

/// Measures with these words besides; checks nothing.
fn measure(url: &str, words: &[&str]) -> (Ended, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("nodes"), "flat1-0\nflat1-1\nnowhere.example.net\n").unwrap();
    let always = ["measure", "-s", url, "--count", "2", "--every", "1s", "--deadline", "1s"];
    let ended = program(folder.path(), &[&always[..], words].concat()).end();
    (ended, folder)
}

fn waves(left: &Left) -> Vec<(u64, u64, u64, u64)> {
    let waves = left.summary.waves.iter();
    waves.map(|wave| (wave.expected, wave.on_time, wave.missing, wave.unexpected)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_expected_by_discovery_by_count_and_by_name() {
    let brokers = tempfile::tempdir().unwrap();
    let broker = broker_with(brokers.path(), "").await;
    let url = broker.url();
    let nodes = tempfile::tempdir().unwrap();
    let emulate = program(nodes.path(), &["emulate", "-i", "5", "-s", &url, "--http-port", "0"]);
    let measured = tokio::task::spawn_blocking(move || {
        emulate.wait_until_said("connected 5 of 5 nodes");
        check(&url);
        emulate.signal(Signal::SIGINT);
        emulate.end()
    });
    let emulated = measured.await.unwrap();
    assert_eq!(emulated.code, Some(0), "{}", emulated.said);
    broker.stop(SOON).await;
}

fn check(url: &str) {
    let (ended, folder) = measure(url, &["--discover"]);
    let left = left_in(folder.path());
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{}", ended.said);
    assert_eq!(waves(&left), [(5, 5, 0, 0); 2], "{}", ended.said);
    assert!(left.summary.doubts.iter().all(|doubt| doubt.kind != "fleet_incomplete"));

    let complete = ["--threshold", "completeness: min == 100%"];
    let (ended, folder) = measure(url, &[&["--expect", "7"], &complete[..]].concat());
    let left = left_in(folder.path());
    assert_eq!(left.code_on_a_quiet_machine(), 99, "{}", ended.said);
    assert_eq!(waves(&left), [(7, 5, 2, 0); 2], "{}", ended.said);
    assert_eq!(left.summary.missing.by_cause[&Cause::Unknown], 4);

    let (ended, folder) = measure(url, &[&["--nodes-file", "nodes"], &complete[..]].concat());
    let left = left_in(folder.path());
    assert_eq!(left.code_on_a_quiet_machine(), 99, "{}", ended.said);
    let missing = left.missing();
    let names: Vec<_> = missing.iter().map(|node| node.identity.as_str()).collect();
    assert!(names.contains(&"nowhere.example.net"), "{names:?}");
    assert!(missing.iter().all(|node| node.cause == Cause::Unknown));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_without_nodes_is_an_error_that_says_so() {
    let brokers = tempfile::tempdir().unwrap();
    let broker = broker_with(brokers.path(), "").await;
    let url = broker.url();
    let measured = tokio::task::spawn_blocking(move || measure(&url, &["--discover"]));
    let (ended, folder) = measured.await.unwrap();
    assert_eq!(ended.code, Some(4), "{}", ended.said);
    let left = left_in(folder.path());
    assert!(left.error().contains("no node answered the first discovery"), "{}", left.error());
    broker.stop(SOON).await;
}
