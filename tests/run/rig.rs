//! What it takes to spoil a run: the conductor with an eye on its progress, the real program with an
//! eye on its result folder, and proofs that nothing is left running.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use choria_emulator::broker::Broker;
use choria_emulator::conductor::{self, Finished, Progress, RunError, Setup, Stop};
use futures_util::StreamExt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reports::missing::MissingNode;
use reports::summary::Summary;
use serde_json::Value;
use tokio::sync::mpsc;

use super::QUIET;
use crate::support::{
    SOON, code_on_a_quiet_machine, launcher, nats_server, start_spec, wait_until,
};

/// No run of these tests takes so long, however busy the machine is.
const END_WITHIN: Duration = Duration::from_secs(120);

/// A scenario: groups as `name, nodes: N, more`, waves as `name, more`, both in YAML's flow style.
pub(super) fn scenario(brokers: &str, groups: &[&str], waves: &[&str]) -> String {
    let list = |what: &str, name: &str, rows: &[&str]| {
        let rows: Vec<_> = rows.iter().map(|row| format!("  - {{{name}: {row}}}\n")).collect();
        format!("{what}:\n{}", rows.concat())
    };
    let (groups, waves) = (list("fleet", "group", groups), list("waves", "name", waves));
    format!("version: 1\nname: luck\nbrokers: {{{brokers}}}\n{groups}{waves}")
}

/// The managed broker of a scenario: a real nats-server.
pub(super) async fn real() -> String {
    format!("path: {}", nats_server().await.path.display())
}

/// The external broker of a scenario.
pub(super) fn external(url: &str) -> String {
    format!("topology: external, urls: [\"{url}\"]")
}

/// What a run reports, as it comes.
pub(super) struct Told(mpsc::Receiver<Progress>);

impl Told {
    /// Waits for a report.
    pub(super) async fn until<T>(&mut self, find: impl Fn(Progress) -> Option<T>) -> T {
        let search = async {
            loop {
                let step = self.0.recv().await.unwrap_or_else(|| panic!("the run is over"));
                if let Some(found) = find(step) {
                    return found;
                }
            }
        };
        tokio::time::timeout(SOON, search).await.unwrap()
    }

    /// Waits until the brokers are there; returns the URL of the first.
    pub(super) async fn broker(&mut self) -> String {
        self.until(|step| match step {
            Progress::Broker { url, .. } => Some(url),
            _ => None,
        })
        .await
    }

    /// Waits until a node is connected.
    pub(super) async fn first_node(&mut self) {
        self.until(|step| match step {
            Progress::Connecting { connected, .. } if connected > 0 => Some(()),
            _ => None,
        })
        .await;
    }

    /// Waits until so many waves are over.
    pub(super) async fn waves(&mut self, count: usize) {
        for _ in 0..count {
            self.until(|step| matches!(step, Progress::Wave { .. }).then_some(())).await;
        }
    }
}

/// Runs it while `happening` goes on beside it. It ends, and nothing of it is left.
pub(super) async fn run_while<T>(
    setup: Setup,
    happening: impl AsyncFnOnce(Told) -> T,
) -> (Result<Finished, RunError>, T) {
    let beside_others = QUIET.read().await;
    let out = setup.out.clone();
    let (tell, told) = mpsc::channel(100_000);
    let run = Box::pin(conductor::run(setup, Stop::default(), tell));
    let happening = Box::pin(happening(Told(told)));
    let both = async { tokio::join!(run, happening) };
    let both = tokio::time::timeout(END_WITHIN, both).await.unwrap();
    assert_eq!(processes_about(&out), Vec::<i32>::new(), "left running");
    drop(beside_others);
    both
}

/// When no run goes on in this process, none of its threads carries nodes.
pub(super) async fn check_no_threads_left() {
    let _quiet = QUIET.write().await;
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let name = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("comm"));
    let fleet = tasks.flat_map(name).filter(|name| name.starts_with("fleet-"));
    assert_eq!(fleet.count(), 0, "threads left running");
}

/// Runs it undisturbed.
pub(super) async fn run_alone(setup: Setup) -> Result<Finished, RunError> {
    run_while(setup, async |_| ()).await.0
}

/// Ears on a broker: hears the requests of the driver.
pub(super) struct Ears(async_nats::Subscriber);

impl Ears {
    pub(super) async fn on(url: &str) -> Self {
        let client = async_nats::connect(url).await.unwrap();
        let subscriber = client.subscribe("*.broadcast.agent.>").await.unwrap();
        client.flush().await.unwrap();
        Self(subscriber)
    }

    /// Waits for the next request.
    pub(super) async fn request(&mut self) {
        tokio::time::timeout(SOON, self.0.next()).await.unwrap().unwrap();
    }
}

/// A broker of the test's own, with this configuration besides the usual.
pub(super) async fn broker_with(folder: &Path, extra_config: &str) -> Broker {
    let mut spec = start_spec(folder).await;
    spec.extra_config = extra_config.to_owned();
    Broker::start(&spec, &launcher()).await.unwrap()
}

/// The result of a run that left one: what its files say.
pub(super) struct Left {
    pub(super) folder: PathBuf,
    pub(super) summary: Summary,
}

impl Left {
    pub(super) fn by(finished: &Finished) -> Self {
        let left = Self::in_folder(&finished.folder);
        assert_eq!(left.summary.exit_code, finished.result.exit_code().number());
        left
    }

    pub(super) fn in_folder(folder: &Path) -> Self {
        let summary = Summary::read(folder).unwrap();
        Self { folder: folder.to_owned(), summary }
    }

    /// Lines of a file of JSON lines.
    pub(super) fn lines(&self, name: &str) -> Vec<Value> {
        json_lines(&self.folder.join(name))
    }

    pub(super) fn missing(&self) -> Vec<MissingNode> {
        let lines = self.lines("missing.jsonl").into_iter();
        lines.map(|line| serde_json::from_value(line).unwrap()).collect()
    }

    pub(super) fn error(&self) -> &str {
        self.summary.error.as_deref().unwrap_or_default()
    }

    /// The exit code without the doubts that a busy machine gives.
    pub(super) fn code_on_a_quiet_machine(&self) -> u8 {
        code_on_a_quiet_machine(&self.summary)
    }
}

/// The whole lines of a file that may still be written.
fn json_lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Processes that work in this folder, or whose command line names it.
pub(super) fn processes_about(folder: &Path) -> Vec<i32> {
    let name = folder.to_str().unwrap();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let about = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let works_in = fs::read_link(format!("/proc/{pid}/cwd"));
        let writes_to = fs::read_link(format!("/proc/{pid}/fd/1"));
        String::from_utf8_lossy(&line).contains(name)
            || works_in.is_ok_and(|at| at == folder)
            || writes_to.is_ok_and(|at| at.starts_with(folder))
    };
    pids.filter(about).collect()
}

/// The real program at work in a folder of its own, its results in `results`.
pub(super) struct Program {
    child: Child,
    folder: PathBuf,
    /// Where the results are seen from here.
    out: PathBuf,
}

/// How the program ended and what it said.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) code: Option<i32>,
    pub(super) said: String,
}

impl Program {
    /// The command that runs `scenario.yaml` with this text.
    pub(super) fn command(folder: &Path, scenario: &str) -> Command {
        fs::write(folder.join("scenario.yaml"), scenario).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_choria-emulator"));
        command.args(["run", "scenario.yaml", "--progress", "plain"]);
        command
    }

    /// Starts a command in a folder, with nothing of the test's own environment.
    pub(super) fn start(mut command: Command, folder: &Path) -> Self {
        let said = File::create(folder.join("said")).unwrap();
        command
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", folder);
        let child = command.spawn().unwrap();
        Self { child, folder: folder.to_owned(), out: folder.join("results") }
    }

    /// Starts a run of this text.
    pub(super) fn run(folder: &Path, scenario: &str) -> Self {
        Self::start(Self::command(folder, scenario), folder)
    }

    /// Looks for the results elsewhere.
    pub(super) fn seen_in(mut self, out: &Path) -> Self {
        self.out = out.to_owned();
        self
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(super) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    fn wait(&self, what: &str, holds: impl FnMut() -> bool) {
        let said = || fs::read_to_string(self.folder.join("said")).unwrap_or_default();
        let waited = std::panic::AssertUnwindSafe(|| wait_until(what, holds));
        if std::panic::catch_unwind(waited).is_err() {
            panic!("still not: {what}; it said:\n{}", said());
        }
    }

    /// Waits until so many events of a kind have happened.
    pub(super) fn wait_for(&self, kind: &str, count: usize) {
        let path = self.out.join("latest/events.jsonl");
        self.wait(kind, || {
            json_lines(&path).iter().filter(|event| event["kind"] == kind).count() >= count
        });
    }

    /// Waits until it has said this.
    pub(super) fn wait_until_said(&self, text: &str) {
        let said = || fs::read_to_string(self.folder.join("said")).unwrap();
        self.wait(text, || said().contains(text));
    }

    /// Waits until a column of the time series has at least this value.
    pub(super) fn wait_until_series(&self, column: &str, at_least: u64) {
        let path = self.out.join("latest/timeseries.csv");
        self.wait(column, || {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let mut rows = text.split_inclusive('\n').filter(|row| row.ends_with('\n'));
            let Some(position) =
                rows.next().and_then(|head| head.trim().split(',').position(|c| c == column))
            else {
                return false;
            };
            // Brokers have rows of their own.
            let mut values = rows.rev().filter_map(|row| row.trim().split(',').nth(position));
            let value = values.find(|value| !value.is_empty());
            value.is_some_and(|value| value.parse::<u64>().unwrap() >= at_least)
        });
    }

    /// Waits for its end. Nothing of it is left.
    pub(super) fn end(mut self) -> Ended {
        let until = Instant::now() + END_WITHIN;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        };
        self.wait("the end of all that it started", || processes_about(&self.folder).is_empty());
        let said = fs::read_to_string(self.folder.join("said")).unwrap();
        assert!(!said.contains("internal error"), "{said}");
        Ended { code: status.code(), said }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Ended already, unless a test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the program left in a folder.
pub(super) fn left_in(folder: &Path) -> Left {
    Left::in_folder(&folder.join("results/latest"))
}

/// What is left in a folder, which `report` can read too.
pub(super) fn readable(folder: &Path) -> Left {
    let left = left_in(folder);
    let mut report = Command::new(env!("CARGO_BIN_EXE_choria-emulator"));
    let report = report.arg("report").arg(&left.folder).output().unwrap();
    assert!(report.status.success(), "{}", String::from_utf8_lossy(&report.stderr));
    let printed = String::from_utf8(report.stdout).unwrap();
    assert!(printed.contains(&left.summary.scenario), "{printed}");
    left
}

/// Sends a process a signal.
pub(super) fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}
