//! The thread that owns a child process: starts it, waits for it, and tells how it ended.
//!
//! It is a thread and not a task because the kernel ends a bound child when the thread that made
//! it ends ([`super::launch`]); it lives exactly as long as its child.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use tokio::sync::{oneshot, watch};

/// Lines of the log that an [`Exit`] carries.
const TAIL_LINES: usize = 20;
/// Bytes of the log that are searched for them: a crash report may hold a stack for each of
/// thousands of connections.
const SEARCHED_BYTES: u64 = 64 * 1024 * 1024;
/// How the crash reports of Go programs begin.
const CRASHES: [&[u8]; 4] = [b"panic: ", b"fatal error: ", b"runtime: ", b"SIG"];
/// How long dropping waits for a killed process: it is gone within milliseconds unless the kernel
/// itself hangs, and then the kernel still ends it with us.
const DROP_WAIT: Duration = Duration::from_secs(5);

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code, if it exited.
    pub code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Its last words: lines of the log, oldest first.
    pub log_tail: Vec<String>,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exited with code {code}")?,
            (None, Some(signal)) => write!(f, "was ended by signal {signal}")?,
            (None, None) => write!(f, "is gone")?,
        }
        if self.log_tail.is_empty() {
            return write!(f, " without a word");
        }
        self.log_tail.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

/// A log that a process appends to, from where this process began.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    path: PathBuf,
    from_byte: u64,
}

impl Log {
    /// Opens the log for a process that is about to start.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, File)> {
        let file = File::options().create(true).append(true).open(path)?;
        let from_byte = file.metadata()?.len();
        Ok((Self { path: path.to_owned(), from_byte }, file))
    }

    /// The last words: the beginning of a Go program's crash report if there is one (what follows
    /// it are stacks and registers), else the last lines. None if the log cannot be read.
    pub(crate) fn tail(&self) -> Vec<String> {
        self.read_tail().unwrap_or_default().into()
    }

    fn read_tail(&self) -> io::Result<VecDeque<String>> {
        let mut file = File::open(&self.path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(self.from_byte.max(length.saturating_sub(SEARCHED_BYTES))))?;
        let mut tail = VecDeque::with_capacity(TAIL_LINES);
        let mut in_report = false;
        for line in BufReader::new(file.take(SEARCHED_BYTES)).split(b'\n') {
            let line = line?;
            if !in_report && CRASHES.iter().any(|crash| line.starts_with(crash)) {
                in_report = true;
                tail.clear();
            }
            if tail.len() == TAIL_LINES {
                if in_report {
                    break;
                }
                tail.pop_front();
            }
            tail.push_back(String::from_utf8_lossy(&line).into_owned());
        }
        while tail.back().is_some_and(|line| line.trim().is_empty()) {
            tail.pop_back();
        }
        Ok(tail)
    }
}

/// A running process and the thread that waits for it. Dropping kills the process.
#[derive(Debug)]
pub(crate) struct Keeper {
    pid: i32,
    /// `None` as soon as the process is reaped: its number may then belong to another process.
    child: Arc<Mutex<Option<Child>>>,
    exit: watch::Receiver<Option<Exit>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the process on a thread of its own.
    pub(crate) async fn start(command: Command, log: Log) -> io::Result<Self> {
        let child = Arc::new(Mutex::new(None));
        let (tell_exit, exit) = watch::channel(None);
        let mut keeper = Self { pid: 0, child: Arc::clone(&child), exit, thread: None };
        // Made after the keeper, so that it is dropped before: a thread that starts a process for
        // nobody finds out and ends it, and the keeper's drop waits for that.
        let (tell_pid, pid) = oneshot::channel();
        keeper.thread = Some(
            thread::Builder::new()
                .name("child-keeper".to_owned())
                .spawn(move || keep(command, &log, &child, tell_pid, &tell_exit))?,
        );
        keeper.pid = match pid.await {
            Ok(started) => started?,
            Err(_) => return Err(io::Error::other("the thread that starts a process died")),
        };
        Ok(keeper)
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Resolves to `Some` when the process has ended.
    pub(crate) fn exit(&self) -> watch::Receiver<Option<Exit>> {
        self.exit.clone()
    }

    /// What signals the process and tells its end, without keeping it.
    pub(crate) fn handle(&self) -> Handle {
        Handle { child: Arc::clone(&self.child), exit: self.exit.clone() }
    }

    /// Sends a signal, unless the process has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        self.handle().signal(signal);
    }
}

/// A process that somebody else keeps.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    child: Arc<Mutex<Option<Child>>>,
    exit: watch::Receiver<Option<Exit>>,
}

impl Handle {
    /// Resolves to `Some` when the process has ended.
    pub(crate) fn exit(&self) -> watch::Receiver<Option<Exit>> {
        self.exit.clone()
    }

    /// Sends a signal; false if the process has ended.
    pub(crate) fn signal(&self, signal: Signal) -> bool {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        // The process is not reaped while we hold the lock, so the number is still its own.
        child.as_ref().is_some_and(|child| kill(number(child), signal).is_ok())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        let Some(thread) = self.thread.take() else { return };
        let until = Instant::now() + DROP_WAIT;
        while !thread.is_finished() && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
        if thread.is_finished() {
            let _ = thread.join();
        }
    }
}

fn keep(
    mut command: Command,
    log: &Log,
    slot: &Mutex<Option<Child>>,
    tell_pid: oneshot::Sender<io::Result<i32>>,
    tell_exit: &watch::Sender<Option<Exit>>,
) {
    let lock = || slot.lock().unwrap_or_else(PoisonError::into_inner);
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let _ = tell_pid.send(Err(error));
            return;
        }
    };
    let pid = number(&child);
    *lock() = Some(child);
    if tell_pid.send(Ok(pid.as_raw())).is_err() {
        // Nobody waits for this start any more.
        let _ = kill(pid, Signal::SIGKILL);
    }
    wait_without_reaping(pid);
    let status = lock().take().and_then(|mut child| child.wait().ok());
    tell_exit.send_replace(Some(exit(status, log)));
}

/// The system's process numbers are positive 32-bit signed integers.
fn number(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

fn wait_without_reaping(pid: Pid) {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    while waitid(Id::Pid(pid), flags) == Err(Errno::EINTR) {}
}

fn exit(status: Option<ExitStatus>, log: &Log) -> Exit {
    Exit {
        code: status.and_then(|status| status.code()),
        signal: status.and_then(|status| status.signal()),
        log_tail: log.tail(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_end_with_a_word() {
        for (log, words) in [
            ("a\n\nb\n\n \n", &["a", "", "b"][..]),
            ("a\npanic: no\n\n", &["panic: no"]),
            ("\n\n", &[]),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("n1.log");
            let (tail, _) = Log::open(&path).unwrap();
            std::fs::write(&path, log).unwrap();
            assert_eq!(tail.tail(), words, "{log:?}");
        }
    }
}
