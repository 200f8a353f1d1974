//! What can go wrong with a result folder, with the path and what to do.

use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

/// A file or folder of a result could not be written or read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}\n{}", path.display(), advice(action, source))]
pub struct StoreError {
    action: &'static str,
    path: PathBuf,
    source: Error,
}

impl StoreError {
    pub(crate) fn new(action: &'static str, path: &Path, source: Error) -> Self {
        Self { action, path: path.to_owned(), source }
    }

    pub(crate) fn reading(path: &Path, source: Error) -> Self {
        Self::new(READ, path, source)
    }

    /// The file or folder that it is about.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The action of whoever reads a result that is there: nothing else is mended by another path to it.
const READ: &str = "read";
/// `EMFILE` of Linux, for which there is no [`ErrorKind`].
const TOO_MANY_OPEN_FILES: i32 = 24;

fn advice(action: &str, source: &Error) -> &'static str {
    if source.raw_os_error() == Some(TOO_MANY_OPEN_FILES) {
        return "raise the limit of open files, for example: sudo prlimit --pid $$ --nofile=65536:65536";
    }
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "free space on that disk, or choose another place with --out DIR"
        }
        ErrorKind::ReadOnlyFilesystem => {
            "that file system is read-only: choose another place with --out DIR"
        }
        ErrorKind::PermissionDenied if action == READ => "make it readable for this user",
        ErrorKind::IsADirectory | ErrorKind::InvalidInput if action == READ => {
            "name the folder of a result"
        }
        ErrorKind::PermissionDenied => {
            "make it writable for this user, or choose another place with --out DIR"
        }
        ErrorKind::AlreadyExists | ErrorKind::IsADirectory => {
            "move it away, or choose another place with --out DIR"
        }
        ErrorKind::NotFound if action == READ => {
            "check the path: `results/latest` is the newest result"
        }
        ErrorKind::NotADirectory if action == READ => "name the folder of a result",
        ErrorKind::NotFound => "nothing can be made there: choose another place with --out DIR",
        ErrorKind::NotADirectory => {
            "a part of the path is a file: choose another place with --out DIR"
        }
        _ if action == READ => "check the path, its permissions and that disk",
        _ => "check that disk, or choose another place with --out DIR",
    }
}
