//! What can go wrong with a result folder, with the path and what to do.

use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

/// A file or folder of a result could not be written or read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}\n{}", path.display(), advice(source))]
pub struct StoreError {
    action: &'static str,
    path: PathBuf,
    source: Error,
}

impl StoreError {
    pub(crate) fn new(action: &'static str, path: &Path, source: Error) -> Self {
        Self { action, path: path.to_owned(), source }
    }

    /// The file or folder that it is about.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn advice(source: &Error) -> &'static str {
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "free space on that disk, or choose another place with --out DIR"
        }
        ErrorKind::ReadOnlyFilesystem => {
            "that file system is read-only: choose another place with --out DIR"
        }
        ErrorKind::PermissionDenied => {
            "make it writable for this user, or choose another place with --out DIR"
        }
        ErrorKind::AlreadyExists | ErrorKind::IsADirectory => {
            "move it away, or choose another place with --out DIR"
        }
        ErrorKind::NotFound => "check the path: `results/latest` is the newest result",
        ErrorKind::NotADirectory => "a part of the path is a file: choose another place",
        _ => "check that disk, or choose another place with --out DIR",
    }
}
