//! Which build of the tool a process is: conductor and workers must be the same one.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::scenario::CONDUCTOR;

/// Version of what is said on the control plane.
pub const PROTOCOL: u32 = 1;

/// What a worker may be called, in words.
pub const WORKER_NAME: &str =
    "a name has 1 to 64 letters, digits, `-` and `_`, and is not `conductor`";

/// Whether a worker may be called so: it suits subjects and file names.
#[must_use]
pub fn is_worker_name(text: &str) -> bool {
    let suits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !text.is_empty() && text.len() <= 64 && text.chars().all(suits) && text != CONDUCTOR
}

/// How much of the executable is read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// A build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// Version of the program.
    pub version: String,
    /// SHA-256 of its executable, in hex: two builds of one version may differ.
    pub digest: String,
}

impl Build {
    /// The build of this process, also when its file was replaced since.
    ///
    /// # Errors
    /// When its executable cannot be read.
    pub async fn this() -> io::Result<Self> {
        Self::of("/proc/self/exe".into()).await
    }

    /// The build of a program of this version.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn of(program: PathBuf) -> io::Result<Self> {
        let read = tokio::task::spawn_blocking(move || Self::read(&program)).await;
        read.map_err(io::Error::other)?
    }

    fn read(program: &Path) -> io::Result<Self> {
        let mut executable = BufReader::with_capacity(CHUNK_BYTES, File::open(program)?);
        let mut hasher = Sha256::new();
        loop {
            let chunk = executable.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            hasher.update(chunk);
            let read = chunk.len();
            executable.consume(read);
        }
        let digest = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").to_owned(), digest })
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, version, digest } = self;
        let digest = digest.get(..12).unwrap_or(digest);
        write!(f, "{version} (build {digest}, control protocol {protocol})")
    }
}
