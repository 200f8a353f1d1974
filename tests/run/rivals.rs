//! Several conductors on one control broker: at most one goes on, no worker hears of the others, and never do two of
//! them share workers.

use std::fs;
use std::time::Duration;

use async_nats::jetstream;
use choria_emulator::control::Subjects;
use choria_emulator::control::messages::{Beat, Phase};
use futures_util::{FutureExt as _, StreamExt as _};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::apart::{TOKEN, conductor, conductor_over, control_broker, worker};
use super::handmade::{line, next};
use super::rig::{Program, left_in, readable, real, scenario, signal};
use super::workers::{LONG, text};
use crate::support::{SOON, is_running, wait_until};

const RIVALS: usize = 3;
const WORKERS: usize = 2;
const TOLD: &str = "is conducted over the control broker";

#[tokio::test(flavor = "multi_thread")]
async fn two_conductors_on_one_control_broker_do_not_share_workers() {
    let folders: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let (first, url) = conductor(folders[0].path(), &text(LONG, "").await, "1");
    let second =
        conductor_over((&url, &TOKEN), folders[1].path(), &text(LONG, "").await, "1").end();
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
    let mut both =
        [1, 2].map(|at| conductor_over((&control.url(), &TOKEN), folders[at].path(), &text, "1"));
    wait_until("the end of one of them", || both.iter_mut().any(Program::has_ended));
    let [mut one, other] = both;
    let (ended, stays) = if one.has_ended() { (one, other) } else { (other, one) };
    let ended = ended.end();
    assert_eq!(ended.code, Some(3), "{}", ended.said);
    assert!(ended.said.contains(TOLD), "{}", ended.said);
    let east = Program::start(worker(&control.url(), "east", &TOKEN), folders[3].path());
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
    let program = conductor_over((&url, &TOKEN), folders[1].path(), &text(LONG, "").await, "1");
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
    let program = conductor_over((&url, &TOKEN), folders[1].path(), &text(LONG, "").await, "1");
    let east = Program::start(worker(&url, "east", &TOKEN), folders[2].path());
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
    let stream = jetstream::new(rival.client().clone()).get_stream(Subjects::STREAM).await.unwrap();
    let state = &stream.cached_info().state;
    assert_eq!(
        state.messages, 0,
        "the stream is the other's now, and what this run put there is gone"
    );
    assert!(state.last_sequence > 0, "{state:?}");
    control.stop(Duration::ZERO).await;
}

/// A worker that is started again when a run has turned it away, as a unit of systemd does it.
struct Unit {
    folder: TempDir,
    url: String,
    worker: Option<Program>,
    /// Id of the run that it served to its end.
    served: Option<String>,
}

impl Unit {
    fn start(url: &str) -> Self {
        let (folder, url) = (tempfile::tempdir().unwrap(), url.to_owned());
        let mut unit = Self { folder, url, worker: None, served: None };
        unit.again();
        unit
    }

    fn again(&mut self) {
        let name = self.folder.path().file_name().unwrap().to_str().unwrap();
        let name = name.trim_start_matches('.');
        self.worker = Some(Program::start(worker(&self.url, name, &TOKEN), self.folder.path()));
    }

    /// Starts it again where that is due.
    fn look(&mut self) {
        let Some(worker) = self.worker.take_if(|worker| !is_running(worker.pid())) else { return };
        let ended = worker.end();
        match ended.code {
            Some(0) => {
                let run = ended.said.split("\nrun ").nth(1).unwrap();
                self.served = run.split(' ').next().map(str::to_owned);
            }
            Some(3) => self.again(),
            _ => panic!("{}", ended.said),
        }
    }

    fn end(self) -> Option<String> {
        if let Some(worker) = self.worker {
            worker.signal(Signal::SIGTERM);
            assert_eq!(worker.end().code, Some(143));
        }
        self.served
    }
}

/// Connections to this port that are up.
fn connections_to(url: &str) -> usize {
    let port: u16 = url.rsplit(':').next().unwrap().parse().unwrap();
    let sign = format!(":{port:04X}");
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row[2].ends_with(&sign) && row[3] == "01").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_conductors_that_begin_at_once_at_most_one_goes_on_and_workers_are_not_shared() {
    let beside = tempfile::tempdir().unwrap();
    let control = control_broker(beside.path(), "").await;
    let wave = "rpc, request: {agent: emulated0, action: generate}, every: 500ms, count: 4";
    let text = scenario(&real().await, &["default, nodes: 20"], &[wave]);
    let mut units: Vec<_> = (0..WORKERS).map(|_| Unit::start(&control.url())).collect();
    let waits = |unit: &Unit| unit.worker.as_ref().unwrap().wait_until_said("waiting for a run");
    units.iter().for_each(waits);
    // What they ask the control broker is answered at one instant: when it moves again.
    signal(control.pid(), Signal::SIGSTOP);
    let before = connections_to(&control.url());
    let folders: Vec<_> = (0..RIVALS).map(|_| tempfile::tempdir().unwrap()).collect();
    let start = |at: &TempDir| {
        conductor_over((&control.url(), &TOKEN), at.path(), &text, &WORKERS.to_string())
    };
    let rivals: Vec<_> = folders.iter().map(start).collect();
    let at_the_door = || connections_to(&control.url()) >= before + RIVALS;
    wait_until("rivals at the door", at_the_door);
    signal(control.pid(), Signal::SIGCONT);
    wait_until("the end of all of them", || {
        units.iter_mut().for_each(Unit::look);
        rivals.iter().all(|rival| !is_running(rival.pid()))
    });
    let ended: Vec<_> = rivals.into_iter().map(Program::end).collect();
    let served: Vec<_> = units.into_iter().map(Unit::end).collect();
    control.stop(Duration::ZERO).await;
    let mut went_on = 0;
    for (ended, folder) in ended.iter().zip(&folders) {
        let left = readable(folder.path());
        if ended.code == Some(3) {
            assert!(left.error().contains("is conducted over the"), "{}", ended.said);
            assert!(
                left.error().contains("wait until it is over, or name another"),
                "{}",
                ended.said
            );
            continue;
        }
        went_on += 1;
        assert_eq!(left.code_on_a_quiet_machine(), 0, "{}", ended.said);
        assert!(left.summary.waves.iter().all(|wave| (wave.expected, wave.on_time) == (20, 20)));
        assert!(served.iter().all(|run| run.is_some() && *run == served[0]), "{served:?}");
    }
    assert!(went_on <= 1, "{ended:?}");
}
