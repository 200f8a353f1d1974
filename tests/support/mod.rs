//! What several tests need: a real nats-server, our own program, and looking at processes.

pub(crate) mod way;

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use choria_emulator::broker::StartSpec;
use choria_emulator::broker::obtain::{self, Obtained, Request, Sources};
use choria_emulator::child::Launcher;
use reports::latency::LatencyFigures;
use reports::run::Origin;
use reports::summary::Summary;
use reports::verdict::{Doubt, Severity};
use tokio::sync::OnceCell;

/// Long enough for a busy machine; tests wait for events and not for this.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Our own program.
pub(crate) fn launcher() -> Launcher {
    Launcher::of_other(PathBuf::from(env!("CARGO_BIN_EXE_choria-emulator")))
}

/// The folders of PATH.
pub(crate) fn path_folders() -> Vec<PathBuf> {
    env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect()
}

/// Sources with a cache that outlives the tests, so that a nats-server is built once.
pub(crate) fn lasting_sources() -> Sources {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
    Sources::usual(cache, path_folders())
}

/// A real nats-server: one at hand, else the newest known.
pub(crate) async fn nats_server() -> Obtained {
    static SERVER: OnceCell<Obtained> = OnceCell::const_new();
    SERVER
        .get_or_init(|| async {
            obtain::obtain(Request::default(), lasting_sources(), |_| {})
                .await
                .unwrap_or_else(|error| panic!("the tests need a nats-server: {error}"))
        })
        .await
        .clone()
}

/// A broker named `n1` with its files in this folder.
pub(crate) async fn start_spec(folder: &Path) -> StartSpec {
    StartSpec::alone(nats_server().await, folder.to_owned(), SOON)
}

/// Whether a process is there and no zombie.
pub(crate) fn is_running(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| Some(stat.rsplit_once(") ")?.1.starts_with('Z')))
        .is_some_and(|zombie| !zombie)
}

/// The number of a process, which it writes as a line.
pub(crate) fn number_in(file: &Path) -> i32 {
    wait_until("the process has written its number", || {
        fs::read_to_string(file).is_ok_and(|text| text.ends_with('\n'))
    });
    fs::read_to_string(file).unwrap().trim().parse().unwrap()
}

/// Waits until something holds; fails at a deadline.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < until, "still not: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A shell script that can be executed, in a file of this name.
pub(crate) fn script(path: &Path, body: &str) -> PathBuf {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).unwrap();
    }
    fs::write(path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_owned()
}

/// Says that a test leaves itself out, on the terminal itself: what a test prints is not shown when it passes.
/// Where the variable is set, as CI does, nothing may be left out.
pub(crate) fn left_out(test: &str, why: &str) {
    let _ = writeln!(io::stderr(), "LEFT OUT: {test}: {why}");
    let all = env::var_os("CHORIA_EMULATOR_LEAVE_OUT_NO_TEST").is_some();
    assert!(!all, "left out although CHORIA_EMULATOR_LEAVE_OUT_NO_TEST is set: {test}: {why}");
}

/// A command in a mount namespace of its own; `None`, and said, where the system lets us mount nothing.
pub(crate) fn in_own_mounts(test: &str) -> Option<Command> {
    let own = ["--user", "--map-root-user", "--mount"];
    let own = if nix::unistd::geteuid().is_root() { &own[2..] } else { &own };
    let command = || {
        let mut command = Command::new("unshare");
        command.args(own);
        command
    };
    let place = tempfile::tempdir().unwrap();
    let tried = command().args(["mount", "-t", "tmpfs", "none"]).arg(place.path()).output();
    let why = match tried {
        Ok(tried) if tried.status.success() => return Some(command()),
        Ok(tried) => String::from_utf8_lossy(&tried.stderr).trim().to_owned(),
        Err(error) => format!("unshare: {error}"),
    };
    left_out(test, &format!("this system lets us mount no file system of our own ({why})"));
    None
}

/// Tests share a busy machine, and the tool says so: any other doubt that invalidates is a fault, and so is
/// one of these that the result's own figures do not bear out.
pub(crate) fn is_about_machine(summary: &Summary) -> impl Fn(&Doubt) -> bool {
    let late_by = |us: u64| {
        let late = |delay: &LatencyFigures| delay.min > us;
        summary.waves.iter().any(|wave| wave.send_delay_us.as_ref().is_some_and(late))
    };
    let (late, held_up) = (late_by(250_000), late_by(50_000));
    let lagged = summary.scheduler_lag_us.as_ref().is_some_and(|lag| lag.p99 > 200_000);
    // Three quarters of all processors for a second. Where the nodes are not ours it is not written down.
    let saturated = summary.cost.emulator.cpu_s > 0.75 * summary.host.cores as f64
        || summary.fleet.origin != Origin::Started;
    move |doubt| match doubt.kind.as_str() {
        "waves_sent_late" => late,
        "scheduler_lag" => lagged,
        "generator_saturated" => saturated,
        // Who gets no processor for so long gets nothing written either.
        "wave_failed" => (lagged || held_up) && doubt.detail.contains("was not written in time"),
        _ => false,
    }
}

/// The exit code of a run without the doubts that a busy machine gives: tests share one.
pub(crate) fn code_on_a_quiet_machine(summary: &Summary) -> u8 {
    let mut doubts = summary.doubts.iter().filter(|doubt| doubt.severity == Severity::Invalid);
    match summary.exit_code {
        97 if doubts.all(is_about_machine(summary)) => {
            let failed = summary.thresholds.iter().any(|threshold| !threshold.passed);
            if failed { 99 } else { 0 }
        }
        code => code,
    }
}
