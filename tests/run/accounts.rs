//! What a worker counts in all has to be what it sent: somebody else's figures among its own make the run invalid.

use std::time::Duration;

use choria_emulator::control::Subjects;
use choria_emulator::control::messages::Slice;
use reports::verdict::{Severity, Verdict};

use super::apart::{TOKEN, conductor_over, control_broker, worker};
use super::handmade::{line, next};
use super::rig::{Program, readable};
use super::workers::text;

const RPC: &str = "rpc, request: {agent: emulated0, action: generate}, every: 1s, count: 6";

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_not_the_sum_of_what_came_makes_the_run_invalid_and_is_named() {
    let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let control = control_broker(folders[0].path(), "").await;
    let url = control.url();
    let stranger = line(&url, "stranger").await;
    let mut slices = stranger.listen("choria_emulator.*.slice.*").await.unwrap();
    let text = text(RPC, "").await;
    let program = conductor_over((&url, &TOKEN), folders[1].path(), &text, "1");
    let east = Program::start(worker(&url, "east", &TOKEN), folders[2].path());
    // Under the number that the worker's own next slice will have: which of the two counts is known to nobody.
    let (message, mut slice) = next::<Slice>(&mut slices).await;
    assert_eq!(Subjects::worker(&message.subject), Some(0));
    slice.number += 1;
    slice.counts.fill(0);
    slice.counts[0] = 7;
    slice.steps = None;
    stranger.say(&message.subject, &slice).await;
    let ended = program.end();
    let left = readable(folders[1].path());
    assert_eq!((ended.code, left.summary.exit_code), (Some(97), 97), "{}", ended.said);
    assert_eq!(left.summary.verdict, Verdict::Invalid);
    let doubt = left.summary.doubts.iter().find(|doubt| doubt.kind == "account_differs").unwrap();
    assert_eq!(doubt.severity, Severity::Invalid);
    assert!(doubt.detail.starts_with("worker east counted "), "{}", doubt.detail);
    assert!(doubt.detail.contains("and its slices add up to "), "{}", doubt.detail);
    assert!(ended.said.contains(&doubt.detail), "{}", ended.said);
    assert!(left.summary.waves.iter().all(|wave| wave.on_time == wave.expected), "{}", ended.said);
    assert_eq!(east.end().code, Some(0));
    control.stop(Duration::ZERO).await;
}
