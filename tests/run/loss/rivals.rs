//! Conductors that begin at the same instant over one control broker: at most one goes on, and never do two of
//! them share workers.

use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::{TOKEN, conductor, control_with, readable, worker};
use crate::run::rig::{Program, real, scenario};
use crate::support::{is_running, wait_until};

const RIVALS: usize = 3;
const WORKERS: usize = 2;

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
        self.worker = Some(Program::start(worker(name, &self.url, &TOKEN), self.folder.path()));
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
    let control = control_with(beside.path(), "authorization { token: secret }").await;
    let wave = "rpc, request: {agent: emulated0, action: generate}, every: 500ms, count: 4";
    let text = scenario(&real().await, &["default, nodes: 20"], &[wave]);
    let mut units: Vec<_> = (0..WORKERS).map(|_| Unit::start(&control.url())).collect();
    let waits = |unit: &Unit| unit.worker.as_ref().unwrap().wait_until_said("waiting for a run");
    units.iter().for_each(waits);
    // What they ask the control broker is answered at one instant: when it moves again.
    kill(Pid::from_raw(control.pid()), Signal::SIGSTOP).unwrap();
    let before = connections_to(&control.url());
    let folders: Vec<_> = (0..RIVALS).map(|_| tempfile::tempdir().unwrap()).collect();
    let start = |at: &TempDir| conductor(at.path(), &text, WORKERS, &control.url(), &TOKEN);
    let rivals: Vec<_> = folders.iter().map(start).collect();
    let at_the_door = || connections_to(&control.url()) >= before + RIVALS;
    wait_until("rivals at the door", at_the_door);
    kill(Pid::from_raw(control.pid()), Signal::SIGCONT).unwrap();
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
