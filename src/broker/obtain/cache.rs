//! The folder in which obtained programs are kept: `nats-server/VERSION/nats-server`.
//!
//! A program gets its final name by rename, when it is whole and has said its version. Two runs
//! that want the same version take turns by a lock on a file, which the system releases however a
//! run ends; what a killed run left half done is removed by the next one.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::say::Reason;
use super::{PROGRAM, Sources};
use crate::broker::version::Version;

/// Pause between two attempts to get the lock.
const PAUSE: Duration = Duration::from_millis(100);

/// The cache of programs.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The cache below the tool's cache folder, if there is a place for one.
    pub(super) fn of(sources: &Sources) -> Option<Self> {
        Some(Self { folder: sources.cache.as_ref()?.join(PROGRAM) })
    }

    /// Where the programs are.
    pub(super) fn folder(&self) -> PathBuf {
        self.folder.clone()
    }

    /// Where a version is, if it is there.
    pub(super) fn program(&self, version: &Version) -> PathBuf {
        self.folder.join(version.to_string()).join(PROGRAM)
    }

    /// Everything that is there.
    pub(super) fn programs(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<Version>().ok())
            .map(|version| self.program(&version))
            .filter(|program| program.exists())
            .collect()
    }

    /// A place to make a version in, for one run at a time. `waiting` is called once if another
    /// run has it.
    pub(super) fn workplace(
        &self,
        version: &Version,
        wait: Duration,
        waiting: impl FnOnce(),
        cancel: &CancellationToken,
    ) -> Result<Workplace, Reason> {
        make_folder(&self.folder)?;
        let lock_path = self.folder.join(format!(".lock-{version}"));
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(failed("write", &lock_path))?;
        lock_within(&lock, &lock_path, wait, waiting, cancel)?;
        let folder = self.folder.join(format!(".partial-{version}"));
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", &folder)(error));
            }
            _ => make_folder(&folder)?,
        }
        Ok(Workplace { cache: self.clone(), folder, _lock: lock })
    }
}

fn lock_within(
    lock: &File,
    path: &Path,
    wait: Duration,
    waiting: impl FnOnce(),
    cancel: &CancellationToken,
) -> Result<(), Reason> {
    let until = Instant::now() + wait;
    let mut waiting = Some(waiting);
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(failed("lock", path)(error)),
            Err(TryLockError::WouldBlock) => {}
        }
        if let Some(waiting) = waiting.take() {
            waiting();
        }
        if cancel.is_cancelled() {
            return Err(Reason::Cancelled);
        }
        if Instant::now() >= until {
            return Err(Reason::Locked { minutes: wait.as_secs() / 60 });
        }
        thread::sleep(PAUSE);
    }
}

/// A folder for one run that makes one version. Removed with what is in it when dropped.
#[derive(Debug)]
pub(super) struct Workplace {
    cache: Cache,
    folder: PathBuf,
    _lock: File,
}

impl Workplace {
    /// A file or folder to work with.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Gives a finished program its final place.
    pub(super) fn keep(&self, made: &Path, version: &Version) -> Result<PathBuf, Reason> {
        let program = self.cache.program(version);
        if let Some(folder) = program.parent() {
            make_folder(folder)?;
        }
        fs::rename(made, &program).map_err(failed("write", &program))?;
        Ok(program)
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next run that wants this version.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn make_folder(path: &Path) -> Result<(), Reason> {
    fs::create_dir_all(path).map_err(failed("make the folder", path))
}

/// The reason for a failed operation on a path of the cache.
pub(super) fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Reason + use<> {
    let path = path.to_owned();
    move |error| Reason::Cache { what, path, source: Arc::new(error) }
}
