//! Programs that stay: a fleet and its counters, a measurement of it, and what signals do.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use choria_emulator::broker::Broker;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{SMALL, Said, hearing_program, program};
use crate::support::{
    SOON, is_running, launcher, nats_server, number_in, script, start_spec, wait_until,
};

/// What a pipe of Linux takes before somebody reads (pipe(7)).
const PIPE_BYTES: usize = 65_536;

/// A program that runs, and what it says on the way. It is killed when the test ends.
pub(super) struct Living {
    child: Child,
    lines: BufReader<ChildStderr>,
}

impl Living {
    pub(super) fn start(mut command: Command) -> Self {
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap());
        Self { child, lines }
    }

    /// Reads until a line that contains this.
    pub(super) fn until(&mut self, text: &str) -> String {
        let mut said = String::new();
        while self.lines.read_line(&mut said).unwrap() > 0 {
            if said.lines().last().is_some_and(|line| line.contains(text)) {
                return said.lines().last().unwrap().to_owned();
            }
        }
        panic!("it ended without {text:?}:\n{said}")
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    pub(super) fn end(mut self) -> Said {
        let (mut out, mut err) = (String::new(), String::new());
        self.lines.read_to_string(&mut err).unwrap();
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        Said { code: self.child.wait().unwrap().code(), out, err }
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

/// A fleet and two measurements of it, of which the second expects more nodes than there are.
fn emulate_and_measure(folder: &Path, url: &str) {
    let mut command = program(folder);
    command.args(["emulate", "-i", "20", "-a", "2", "--name", "lab", "-p", "0", "-s", url]);
    let mut fleet = Living::start(command);
    let counters = fleet.until("counters at");
    let address = counters.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    fleet.until("connected 20 of 20 nodes");
    let told = get(&address, "/metrics");
    assert!(told.contains("\nchoria_emulator_connected 20\n"), "{told}");
    let told = get(&address, "/debug/vars");
    assert!(told.contains("\"instances\":20,\"agents\":2,\"collectives\":1"), "{told}");

    let measure = ["measure", "2", "20", "a test", "out", "--size", "50", "--every", "200ms", "-s"];
    let said = super::ask(folder, &[&measure[..], &[url]].concat());
    assert_eq!(said.code, Some(0), "{said:?}");
    let rows = fs::read_to_string(folder.join("out/latest/requests.csv")).unwrap();
    let rows: Vec<_> = rows.lines().collect();
    assert!(rows.len() == 3 && rows[2].starts_with("2,a test,"), "{rows:?}");
    assert!(said.out.contains("20 nodes: 20 expected, 20 answered"), "{}", said.out);
    assert!(!said.out.contains("connected"), "nothing is known of that\n{}", said.out);
    let summary = fs::read_to_string(folder.join("out/latest/summary.json")).unwrap();
    assert!(!summary.contains("fleet_incomplete"), "{summary}");
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    let broker = &summary["cost"]["brokers"][0];
    let version = broker["version"].as_str().unwrap();
    assert_eq!((broker["name"].as_str(), version.split('.').count()), (Some("n1"), 3));
    let go = broker["go"].as_str().unwrap();
    assert!(go.starts_with("go1."), "{summary}");
    let line = format!("broker n1: nats-server {version} ({go}) at {url}");
    assert_eq!(said.err.matches(&line).count(), 1, "{line}\n{}", said.err);

    // A first discovery that lasted as long as a wave may would not end before the test does.
    let measure = ["measure", "-n", "1", "--deadline", "1h", "--discovery-timeout", "1s", "-s"];
    let said = super::ask(folder, &[&measure[..], &[url]].concat());
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("20 nodes: all that answered"), "{}", said.out);

    let measure = ["measure", "--expect", "21", "-n", "1", "--deadline", "1s", "--threshold"];
    let said =
        super::ask(folder, &[&measure[..], &["completeness: min == 100%", "-s", url]].concat());
    assert_eq!(said.code, Some(99), "{said:?}");
    assert!(said.out.contains("21 nodes: 21 expected, 20 answered"), "{}", said.out);

    fleet.signal(Signal::SIGINT);
    let said = fleet.end();
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("20 of 20 nodes connected once"), "{}", said.out);
}

#[tokio::test]
async fn a_fleet_is_counted_and_measured_until_ctrl_c() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(&start_spec(folder.path()).await, &launcher()).await.unwrap();
    let (path, url) = (folder.path().to_owned(), broker.url());
    tokio::task::spawn_blocking(move || emulate_and_measure(&path, &url)).await.unwrap();
    broker.stop(SOON).await;
}

#[test]
fn a_fleet_that_tries_in_vain_says_so() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody listens where a listener was until now.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = program(folder.path());
    command.args(["emulate", "-i", "2", "-p", "0", "-s", &nobody.to_string()]);
    let mut fleet = Living::start(command);
    let said = fleet.until("dials failed");
    assert!(said.contains("check that a broker is there"), "{said}");
    fleet.signal(Signal::SIGINT);
    let said = fleet.end();
    assert!(said.code == Some(0) && said.out.contains("dials failed\n"), "{said:?}");
}

/// Everything in the files below a folder.
fn all_text(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let text = |path: std::path::PathBuf| match path.is_dir() {
        true => all_text(&path),
        false => String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned(),
    };
    entries.map(text).collect()
}

#[tokio::test]
async fn who_a_url_says_we_are_is_used_and_never_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = start_spec(folder.path()).await;
    spec.extra_config = "authorization { user: bob, password: hunter2 }".to_owned();
    let broker = Broker::start(&spec, &launcher()).await.unwrap();
    let home = tempfile::tempdir().unwrap();
    let place = broker.client();
    // Nobody is there to answer: who gets in fails its threshold.
    for (secret, code) in [("hunter2", 99), ("hunter3", 4)] {
        let url = format!("nats://bob:{secret}@{place}");
        let short = ["--discovery-timeout", "200ms", "--deadline", "200ms", "-n", "1", "-vv"];
        let words = [&["measure", "--expect", "1", "-s", &url][..], &short].concat();
        let mut command = program(home.path());
        command.args(words);
        let run = tokio::task::spawn_blocking(move || super::said(command.output().unwrap()));
        let said = run.await.unwrap();
        assert_eq!(said.code, Some(code), "{said:?}");
        assert!(said.err.contains(&place.to_string()), "{}", said.err);
        let written = all_text(&home.path().join("results/latest")) + &said.out + &said.err;
        assert!(!written.contains("hunter"), "{written}");
    }
    broker.stop(SOON).await;
}

/// A run with waves for minutes.
async fn long_run(folder: &Path) -> Living {
    let long = format!("{SMALL}    every: 200ms\n    count: 2000\n");
    fs::write(folder.join("long.yaml"), long).unwrap();
    let nats = nats_server().await.path;
    let mut command = hearing_program(folder);
    command.args(["run", "long.yaml", "-P", &format!("brokers.path={}", nats.display())]);
    Living::start(command)
}

fn broker_of(folder: &Path) -> i32 {
    let log = fs::read_to_string(folder.join("results/latest/run.log")).unwrap();
    let pid = log.split("pid=").nth(1).unwrap();
    pid.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn one_signal_ends_a_run_with_a_report_and_without_its_broker() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 143)] {
        let folder = tempfile::tempdir().unwrap();
        let mut run = long_run(folder.path()).await;
        run.until("rpc 2: 10 of 10");
        let broker = broker_of(folder.path());
        run.signal(signal);
        let said = run.end();
        assert_eq!(said.code, Some(code), "{said:?}");
        assert!(said.err.contains("results so far are kept"), "{}", said.err);
        assert!(said.out.contains("INTERRUPTED"), "{}", said.out);
        assert!(!is_running(broker));
        let again = super::ask(folder.path(), &["report", "results/latest"]);
        assert_eq!(again.code, Some(0));
        assert!(again.out.contains("INTERRUPTED"), "{}", again.out);
    }
}

#[test]
fn a_run_that_is_interrupted_before_it_has_a_broker_leaves_no_program_that_it_asked() {
    for asked in ["nats-server", "go"] {
        let folder = super::folder_with("small.yaml", SMALL.as_bytes());
        let number = folder.path().join("number");
        let hangs = format!("echo $$ > {}; exec /bin/sleep 1000", number.display());
        let hangs = script(&folder.path().join("bin").join(asked), &hangs);
        let mut command = program(folder.path());
        command.env("PATH", hangs.parent().unwrap());
        command.env("CHORIA_EMULATOR_CACHE", folder.path().join("cache"));
        command.args(["run", "small.yaml", "--releases", "http://127.0.0.1:1"]);
        let run = Living::start(command);
        let pid = number_in(&number);
        run.signal(Signal::SIGINT);
        let said = run.end();
        assert_eq!(said.code, Some(130), "{said:?}");
        assert!(!is_running(pid), "{asked} is still there");
    }
}

#[tokio::test]
async fn a_second_ctrl_c_ends_a_run_that_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = long_run(folder.path()).await;
    run.until("rpc 1: 10 of 10");
    let broker = broker_of(folder.path());
    // A broker that does not react holds up an orderly end.
    kill(Pid::from_raw(broker), Signal::SIGSTOP).unwrap();
    run.signal(Signal::SIGINT);
    run.until("Ctrl-C again ends at once");
    run.signal(Signal::SIGINT);
    let said = run.end();
    assert_eq!((said.code, said.out.as_str()), (Some(130), ""), "{said:?}");
    wait_until("the broker is gone", || !is_running(broker));
}

#[tokio::test]
async fn a_second_signal_ends_a_run_whose_threads_hang() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 143)] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("small.yaml"), SMALL).unwrap();
        let nats = nats_server().await.path;
        let mut command = hearing_program(folder.path());
        command.args(["run", "small.yaml", "--progress", "plain", "-vv", "-P"]);
        command.arg(format!("brokers.path={}", nats.display()));
        // A stderr that is full and nobody reads: whoever says something hangs, and its lock with it.
        let (_unread, mut full) = std::io::pipe().unwrap();
        full.write_all(&[b'.'; PIPE_BYTES]).unwrap();
        let mut child = command.stdout(Stdio::null()).stderr(full).spawn().unwrap();
        // Its own listener is there when the work begins.
        wait_until("the work begins", || folder.path().join("results/latest").exists());
        let pid = Pid::from_raw(child.id().cast_signed());
        let mut ended = None;
        wait_until("it ends", || {
            // It is ours until it is waited for, so the number is still its own.
            kill(pid, signal).unwrap();
            ended = child.try_wait().unwrap();
            ended.is_some()
        });
        assert_eq!(ended.unwrap().code(), Some(code), "{signal}");
    }
}

#[tokio::test]
async fn who_has_a_nats_server_needs_no_place_for_another() {
    let nats = nats_server().await.path;
    let homeless = |words: &[&str]| {
        let folder = super::folder_with("small.yaml", SMALL.as_bytes());
        let mut command = program(folder.path());
        command.env_remove("HOME").env("PATH", nats.parent().unwrap()).args(words);
        super::said(command.output().unwrap())
    };
    let said = homeless(&["run", "small.yaml"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.err.contains("broker n1: nats-server"), "{}", said.err);
    let said = homeless(&["broker", "list"]);
    assert!(said.code == Some(0) && said.out.contains("nats-server"), "{said:?}");
    let said = homeless(&["broker", "install", "2.99.99"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("HOME is not set") && said.err.contains("--cache DIR"), "{said:?}");
}

#[test]
fn brokers_of_a_scenario_are_kept_until_somebody_asks_and_tell_where_they_are() {
    let text = format!("{}brokers: {{topology: cluster, size: 2}}\n", super::SMALL);
    let folder = super::folder_with("two.yaml", text.as_bytes());
    let cache = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
    let said = folder.path().join("said");
    let mut child = super::program(folder.path())
        .args(["broker", "start", "two.yaml"])
        .env("CHORIA_EMULATOR_CACHE", cache)
        .stdout(std::fs::File::create(&said).unwrap())
        .spawn()
        .unwrap();
    let urls = || -> Vec<String> {
        let text = std::fs::read_to_string(&said).unwrap();
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.filter_map(|line| Some(line.trim().strip_prefix("NATS_URL=")?.to_owned())).collect()
    };
    wait_until("both brokers have said where they are", || urls().len() == 2);
    for url in urls() {
        let address = url.strip_prefix("nats://").unwrap();
        std::net::TcpStream::connect(address).unwrap();
    }
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    for url in urls() {
        assert!(std::net::TcpStream::connect(url.strip_prefix("nats://").unwrap()).is_err());
    }
}

/// The brokers of a scenario, started on their own with a place for temporary files of the test's.
fn broker_start(folder: &Path) -> std::process::Command {
    let text = format!("{SMALL}brokers: {{topology: cluster, size: 2}}\n");
    fs::write(folder.join("two.yaml"), text).unwrap();
    fs::create_dir(folder.join("tmp")).unwrap();
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
    let mut command = program(folder);
    command.args(["broker", "start", "two.yaml", "--progress", "none"]);
    command.env("CHORIA_EMULATOR_CACHE", cache).env("TMPDIR", folder.join("tmp"));
    command
}

fn temporary(folder: &Path) -> usize {
    fs::read_dir(folder.join("tmp")).unwrap().count()
}

#[test]
fn brokers_whose_urls_cannot_be_printed_end_and_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let said = super::said(broker_start(folder.path()).stdout(full).output().unwrap());
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("cannot write to stdout"), "{}", said.err);
    assert_eq!(temporary(folder.path()), 0);
}

#[test]
fn brokers_of_a_scenario_leave_nothing_when_they_are_ended_and_when_their_parent_is_killed() {
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let folder = tempfile::tempdir().unwrap();
        let said = folder.path().join("said");
        let mut command = broker_start(folder.path());
        let mut child = command.stdout(fs::File::create(&said).unwrap()).spawn().unwrap();
        let printed = || fs::read_to_string(&said).unwrap();
        wait_until("both say where they are", || printed().lines().count() == 2);
        assert_eq!(temporary(folder.path()), 1);
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        child.wait().unwrap();
        if signal != Signal::SIGKILL {
            assert_eq!(temporary(folder.path()), 0, "gone when the program is");
        }
        wait_until("the folder has gone with its brokers", || temporary(folder.path()) == 0);
    }
}
