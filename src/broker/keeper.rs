//! The thread that owns a broker's process: starts it, waits for it, and tells how it ended.
//!
//! It is a thread and not a task because the kernel ends a bound child when the thread that made
//! it ends ([`super::launch`]); it lives exactly as long as its child.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
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
/// Bytes of the log that are looked at for them.
const TAIL_BYTES: u64 = 16 * 1024;
/// How long dropping waits for a killed process: it is gone within milliseconds unless the kernel
/// itself hangs, and then the kernel still ends it with us.
const DROP_WAIT: Duration = Duration::from_secs(5);

/// How a broker ended.
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
pub(super) struct Log {
    path: PathBuf,
    from_byte: u64,
}

impl Log {
    /// Opens the log for a process that is about to start.
    pub(super) fn open(path: &Path) -> io::Result<(Self, File)> {
        let file = File::options().create(true).append(true).open(path)?;
        let from_byte = file.metadata()?.len();
        Ok((Self { path: path.to_owned(), from_byte }, file))
    }

    /// The last lines; none if the log cannot be read.
    pub(super) fn tail(&self) -> Vec<String> {
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(&self.path)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(self.from_byte.max(length.saturating_sub(TAIL_BYTES))))?;
            let mut bytes = Vec::new();
            file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let skipped = lines.len().saturating_sub(TAIL_LINES);
        lines[skipped..].iter().map(|&line| line.to_owned()).collect()
    }
}

/// A running process and the thread that waits for it. Dropping kills the process.
#[derive(Debug)]
pub(super) struct Keeper {
    pid: i32,
    /// `None` as soon as the process is reaped: its number may then belong to another process.
    child: Arc<Mutex<Option<Child>>>,
    exit: watch::Receiver<Option<Exit>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the process on a thread of its own.
    pub(super) async fn start(command: Command, log: Log) -> io::Result<Self> {
        let child = Arc::new(Mutex::new(None));
        let (tell_exit, exit) = watch::channel(None);
        let (tell_pid, pid) = oneshot::channel();
        let thread = thread::Builder::new().name("broker-keeper".to_owned()).spawn({
            let child = Arc::clone(&child);
            move || keep(command, &log, &child, tell_pid, &tell_exit)
        })?;
        let pid = match pid.await {
            Ok(started) => started?,
            Err(_) => return Err(io::Error::other("the thread that starts the broker died")),
        };
        Ok(Self { pid, child, exit, thread: Some(thread) })
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Resolves to `Some` when the process has ended.
    pub(super) fn exit(&self) -> watch::Receiver<Option<Exit>> {
        self.exit.clone()
    }

    /// Sends a signal, unless the process has ended.
    pub(super) fn signal(&self, signal: Signal) {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if child.is_some() {
            // The process is not reaped while we hold the lock, so the number is still its own.
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
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
    // The system's process numbers are positive 32-bit signed integers.
    let pid = child.id().cast_signed();
    *lock() = Some(child);
    if tell_pid.send(Ok(pid)).is_err() {
        // Nobody waits for this start any more.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    wait_without_reaping(pid);
    let status = lock().take().and_then(|mut child| child.wait().ok());
    tell_exit.send_replace(Some(exit(status, log)));
}

fn wait_without_reaping(pid: i32) {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    while waitid(Id::Pid(Pid::from_raw(pid)), flags) == Err(Errno::EINTR) {}
}

fn exit(status: Option<ExitStatus>, log: &Log) -> Exit {
    Exit {
        code: status.and_then(|status| status.code()),
        signal: status.and_then(|status| status.signal()),
        log_tail: log.tail(),
    }
}
