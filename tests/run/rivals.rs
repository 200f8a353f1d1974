//! Several conductors on one control broker: one goes on, and no worker hears of the other.

use std::time::Duration;

use choria_emulator::control::Subjects;
use choria_emulator::control::messages::{Beat, Phase};
use futures_util::{FutureExt as _, StreamExt as _};
use nix::sys::signal::Signal;

use super::handmade::{control_broker, line, next};
use super::rig::{Program, left_in};
use super::workers::{LONG, conductor, conductor_over, text, worker};
use crate::support::{SOON, wait_until};

const TOLD: &str = "is conducted over the control broker";

#[tokio::test(flavor = "multi_thread")]
async fn two_conductors_on_one_control_broker_do_not_share_workers() {
    let folders: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let (first, url) = conductor(folders[0].path(), &text(LONG, "").await, "1");
    let second = conductor_over(&url, folders[1].path(), &text(LONG, "").await, "1").end();
    assert_eq!(second.code, Some(3), "{}", second.said);
    assert!(second.said.contains("is conducted over the control broker"), "{}", second.said);
    first.signal(Signal::SIGINT);
    assert_eq!(first.end().code, Some(130));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_conductors_that_begin_at_once_one_goes_on() {
    let folders: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    let control = control_broker(folders[0].path(), "").await;
    let text = text(LONG, "").await;
    let mut both = [1, 2].map(|at| conductor_over(&control.url(), folders[at].path(), &text, "1"));
    wait_until("the end of one of them", || both.iter_mut().any(Program::has_ended));
    let [mut one, other] = both;
    let (ended, stays) = if one.has_ended() { (one, other) } else { (other, one) };
    let ended = ended.end();
    assert_eq!(ended.code, Some(3), "{}", ended.said);
    assert!(ended.said.contains(TOLD), "{}", ended.said);
    let east = Program::start(worker(&control.url(), "east", "secret"), folders[3].path());
    stays.wait_for("wave", 1);
    stays.signal(Signal::SIGINT);
    assert_eq!(stays.end().code, Some(130));
    assert_eq!(east.end().code, Some(0));
    control.stop(Duration::ZERO).await;
}

/// Starts a run over a control broker where another conductor asks at the same instant, under this id.
async fn check_asked_at_once(run: &str, ends: bool) {
    let folders: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let control = control_broker(folders[0].path(), "").await;
    let url = control.url();
    let rival = line(&url, "rival").await;
    let mut who = rival.listen(Subjects::WHO).await.unwrap();
    let mut beats = rival.listen(Subjects::BEAT).await.unwrap();
    let program = conductor_over(&url, folders[1].path(), &text(LONG, "").await, "1");
    let (asked, own) = next::<Beat>(&mut who).await;
    assert_eq!(own.phase, Phase::Claiming);
    // By its clock it began long before.
    let began = "2001-01-01T00:00:00Z".to_owned();
    let other = Beat { run: run.to_owned(), began, ..own.clone() };
    rival.answer(&asked, &other).await;
    if ends {
        let ended = program.end();
        assert_eq!(ended.code, Some(3), "{}", ended.said);
        assert!(ended.said.contains(&format!("run {run} (luck, on ")), "{}", ended.said);
        rival.client().flush().await.unwrap();
        assert!(beats.next().now_or_never().is_none(), "no worker has heard of it");
    } else {
        assert_eq!(next::<Beat>(&mut beats).await.1.run, own.run);
        let answer: Beat = rival.ask(Subjects::WHO, &other, SOON).await.unwrap();
        assert_eq!((answer.run, answer.phase), (own.run, Phase::Mustering));
        program.signal(Signal::SIGINT);
        assert_eq!(program.end().code, Some(130));
    }
    control.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_on_of_two_that_ask_at_once_is_known_to_both_whatever_their_clocks_show() {
    check_asked_at_once("00000000", true).await;
    check_asked_at_once("zzzzzzzz", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_with_its_workers_goes_on_beside_one_that_waits_and_ends_for_an_older_one() {
    let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let control = control_broker(folders[0].path(), "").await;
    let url = control.url();
    let rival = line(&url, "rival").await;
    let mut beats = rival.listen(Subjects::BEAT).await.unwrap();
    let program = conductor_over(&url, folders[1].path(), &text(LONG, "").await, "1");
    let east = Program::start(worker(&url, "east", "secret"), folders[2].path());
    program.wait_for("wave", 1);
    let (run, began) = ("00000000".to_owned(), "2001-01-01T00:00:00Z".to_owned());
    let own = next::<Beat>(&mut beats).await.1;
    let waiting = Beat { run, began, phase: Phase::Mustering, age_ms: u64::MAX, ..own };
    rival.say(Subjects::BEAT, &waiting).await;
    program.wait_for("wave", 3);
    rival.say(Subjects::BEAT, &Beat { phase: Phase::Running, ..waiting }).await;
    let ended = program.end();
    assert_eq!(ended.code, Some(3), "{}", ended.said);
    let left = left_in(folders[1].path());
    assert_eq!(left.summary.exit_code, 3);
    assert!(left.error().contains(TOLD), "{}", left.error());
    assert_eq!(east.end().code, Some(0), "it was told to leave, and told what it had counted");
    control.stop(Duration::ZERO).await;
}
