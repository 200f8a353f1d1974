//! Looking at programs: which are there, which version they are, and what built them.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{AccessFlags, access};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::say::Reason;
use crate::broker::version::Version;

/// A nats-server prints its version within milliseconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// More than any program prints as its version.
const OUTPUT_BYTES: u64 = 64 * 1024;
/// Pause between two looks at a running program.
const PAUSE: Duration = Duration::from_millis(2);
/// How often a program that is still open for writing elsewhere is tried again: a file that this
/// process has just written stays open in a child that another thread is starting.
const BUSY_ATTEMPTS: usize = 100;
/// No nats-server is larger than this.
pub(super) const PROGRAM_BYTES: u64 = 300 * 1024 * 1024;

/// Why a program cannot be used.
#[derive(Debug, Clone, Error)]
pub enum Unusable {
    /// There is nothing.
    #[error("it does not exist")]
    Missing,
    /// It is a folder or something else that is no file.
    #[error("it is not a file")]
    NotAFile,
    /// It may not be executed.
    #[error("it is not executable")]
    NotExecutable,
    /// The system cannot execute it.
    #[error("it cannot be executed: {0}")]
    CannotRun(Arc<io::Error>),
    /// It did not end.
    #[error("--version did not end within {} s", ANSWER_WITHIN.as_secs())]
    Silent,
    /// It failed.
    #[error("--version ended with {status}: {output}")]
    Failed {
        /// Its exit status.
        status: String,
        /// The first line that it printed.
        output: String,
    },
    /// It printed something else.
    #[error("--version printed no version of nats-server 2.x: {output}")]
    NoVersion {
        /// The first line that it printed.
        output: String,
    },
}

/// The programs of this name in the folders, in their order. Relative folders are passed over:
/// what they mean depends on where one stands.
pub(super) fn search(name: &str, folders: &[PathBuf]) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for path in folders.iter().filter(|folder| folder.is_absolute()).map(|folder| folder.join(name))
    {
        if path.is_file() && access(&path, AccessFlags::X_OK).is_ok() && !found.contains(&path) {
            found.push(path);
        }
    }
    found
}

/// Asks a program for its version, and ends it when it is cancelled.
pub(super) fn version(path: &Path, cancel: &CancellationToken) -> Result<Version, Reason> {
    let metadata = fs::metadata(path).map_err(|_| Unusable::Missing)?;
    if !metadata.is_file() {
        return Err(Unusable::NotAFile.into());
    }
    access(path, AccessFlags::X_OK).map_err(|_| Unusable::NotExecutable)?;
    let cannot_run = |error| Unusable::CannotRun(Arc::new(error));
    let mut child = spawn(path).map_err(cannot_run)?;
    let Some(status) = wait(&mut child, ANSWER_WITHIN, cancel).map_err(cannot_run)? else {
        return Err(if cancel.is_cancelled() {
            Reason::Cancelled
        } else {
            Unusable::Silent.into()
        });
    };
    let output = printed(&mut child).map_err(cannot_run)?;
    let beginning = || match output.lines().map(str::trim).find(|line| !line.is_empty()) {
        None => "(nothing)".to_owned(),
        Some(line) => line.chars().take(200).collect(),
    };
    if !status.success() {
        return Err(Unusable::Failed { status: status.to_string(), output: beginning() }.into());
    }
    Version::from_program_output(&output)
        .ok_or_else(|| Unusable::NoVersion { output: beginning() }.into())
}

fn spawn(path: &Path) -> io::Result<Child> {
    let mut attempts = 0;
    loop {
        let spawned = Command::new(path)
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        match spawned {
            Err(error)
                if error.kind() == io::ErrorKind::ExecutableFileBusy
                    && attempts < BUSY_ATTEMPTS =>
            {
                attempts += 1;
                thread::sleep(PAUSE);
            }
            done => return done,
        }
    }
}

/// Waits for a program; kills it if it takes too long or nobody waits any more.
fn wait(
    child: &mut Child,
    within: Duration,
    cancel: &CancellationToken,
) -> io::Result<Option<std::process::ExitStatus>> {
    let until = Instant::now() + within;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= until || cancel.is_cancelled() {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(PAUSE);
    }
}

/// What a program that has ended has printed. Whatever it started may still hold the pipe open:
/// only what is there is read.
fn printed(child: &mut Child) -> io::Result<String> {
    let Some(pipe) = child.stdout.take() else { return Ok(String::new()) };
    fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let mut bytes = Vec::new();
    match pipe.take(OUTPUT_BYTES).read_to_end(&mut bytes) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// The Go toolchain that built a program, for example `go1.26.8`, as toolchains since 1.18 write
/// it into the binary (the layout is in Go's `debug/buildinfo`). `None` where it cannot be told.
#[must_use]
pub fn go_toolchain(path: &Path) -> Option<String> {
    const MAGIC: &[u8] = b"\xff Go buildinf:";
    const ALIGNED_BYTES: usize = 16;
    const HEADER_BYTES: usize = 32;
    const STRINGS_ARE_INLINE: u8 = 2;

    let mut binary = Vec::new();
    File::open(path).ok()?.take(PROGRAM_BYTES).read_to_end(&mut binary).ok()?;
    let block = binary.chunks_exact(ALIGNED_BYTES).position(|chunk| chunk.starts_with(MAGIC))?;
    let info = &binary[block * ALIGNED_BYTES..];
    if info.get(MAGIC.len() + 1)? & STRINGS_ARE_INLINE == 0 {
        return None;
    }
    // A length of one byte: version names are short.
    let length = usize::from(*info.get(HEADER_BYTES)?);
    let name = info.get(HEADER_BYTES + 1..HEADER_BYTES + 1 + length)?;
    let name = std::str::from_utf8(name).ok()?;
    (length < 128 && name.starts_with("go")).then(|| name.to_owned())
}
