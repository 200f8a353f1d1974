//! Building a nats-server from its module, where Go is installed: any 2.x, 10 to 60 seconds.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::cache::Workplace;
use super::inspect;
use super::say::{Progress, Reason};
use super::{Errand, PROGRAM};
use crate::broker::version::Version;

const BUILT_WITHIN: Duration = Duration::from_secs(15 * 60);
/// How often it is looked whether the caller is still interested.
const PAUSE: Duration = Duration::from_millis(100);
/// Lines of Go's that an error carries.
const TAIL_LINES: usize = 10;
/// Lines that may wait to be reported; a build that prints faster waits for us.
const LINES_WAITING: usize = 64;

/// Builds a version; returns the program, not yet in its final place.
pub(super) fn install(
    errand: &Errand<'_>,
    version: &Version,
    search: &[PathBuf],
    workplace: &Workplace,
) -> Result<PathBuf, Reason> {
    let go = inspect::search("go", search).into_iter().next().ok_or(Reason::NoGo)?;
    let folder = workplace.path("bin");
    let module = format!("github.com/nats-io/nats-server/v2@v{version}");
    (errand.progress)(Progress::Building { line: format!("go install {module}") });
    let mut child = start(&go, &module, &folder)
        .map_err(|error| Reason::Go { how: format!("cannot start: {error}"), output: vec![] })?;
    let mut tail = VecDeque::new();
    let ended = follow(errand, &mut child, &mut tail);
    let output: Vec<String> = tail.into();
    let status = match ended {
        Ok(status) => status,
        Err(End::Cancelled) => return Err(Reason::Cancelled),
        Err(End::Failed(how)) => return Err(Reason::Go { how, output }),
    };
    if !status.success() {
        return Err(Reason::Go { how: format!("ended with {status}"), output });
    }
    Ok(folder.join(PROGRAM))
}

/// Why a build was not waited for.
enum End {
    Cancelled,
    Failed(String),
}

/// `GOFLAGS`, `GOPROXY` and all else are the user's own.
fn start(go: &Path, module: &str, folder: &Path) -> std::io::Result<Child> {
    Command::new(go)
        .args(["install", module])
        .env("CGO_ENABLED", "0")
        .env("GOBIN", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // A group of its own, so that the compilers it starts can be ended with it.
        .process_group(0)
        .spawn()
}

fn follow(
    errand: &Errand<'_>,
    child: &mut Child,
    tail: &mut VecDeque<String>,
) -> Result<ExitStatus, End> {
    let (say, lines) = sync_channel(LINES_WAITING);
    let stderr = child.stderr.take();
    let reader = thread::spawn(move || {
        let lines = stderr.map(BufReader::new).into_iter().flat_map(BufRead::lines);
        for line in lines.map_while(Result::ok) {
            if say.send(line).is_err() {
                return;
            }
        }
    });
    let ended = report(errand, &lines, tail);
    if ended.is_err() {
        let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
    }
    drop(lines);
    let _ = reader.join();
    let status = child.wait().map_err(|error| End::Failed(error.to_string()))?;
    ended.map(|()| status)
}

/// Hands out lines until Go closes its end.
fn report(
    errand: &Errand<'_>,
    lines: &Receiver<String>,
    tail: &mut VecDeque<String>,
) -> Result<(), End> {
    let until = Instant::now() + BUILT_WITHIN;
    loop {
        match lines.recv_timeout(PAUSE) {
            Ok(line) => {
                if tail.len() == TAIL_LINES {
                    tail.pop_front();
                }
                tail.push_back(line.clone());
                (errand.progress)(Progress::Building { line });
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if errand.cancel.is_cancelled() {
            return Err(End::Cancelled);
        }
        if Instant::now() >= until {
            return Err(End::Failed(format!("not done after {} s", BUILT_WITHIN.as_secs())));
        }
    }
}
