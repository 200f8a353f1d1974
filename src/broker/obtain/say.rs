//! What obtaining a nats-server says: steps, reasons and errors, as values.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use super::inspect::Unusable;
use super::{Obtained, PROGRAM};
use crate::broker::version::{Version, VersionError};

/// Where a program came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The user named it.
    Named,
    /// It was in our cache.
    Cache,
    /// It was on the search path.
    Search,
    /// From the official release archive, now in our cache.
    Release,
    /// Built by `go install`, now in our cache.
    GoInstall,
}

/// Where one was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// This place in our cache.
    Cache(PathBuf),
    /// The search path.
    Search,
    /// This program.
    Program(PathBuf),
    /// This release archive; `None` where the project publishes none.
    Release(Option<String>),
    /// `go install`.
    GoInstall,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cache(path) => write!(f, "cache {}", path.display()),
            Self::Search => write!(f, "search path"),
            Self::Program(path) => write!(f, "{}", path.display()),
            Self::Release(Some(url)) => write!(f, "{url}"),
            Self::Release(None) => write!(f, "release archive"),
            Self::GoInstall => write!(f, "go install"),
        }
    }
}

/// Why a source did not do.
#[derive(Debug, Clone, Error)]
pub enum Reason {
    /// The program is there and cannot be used.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// It is another version.
    #[error("it is {found}")]
    OtherVersion {
        /// The version it is.
        found: Version,
    },
    /// No nats-server in any searched folder.
    #[error("no {PROGRAM} there")]
    NotOnPath,
    /// The cache cannot be read or written.
    #[error("cannot {what} {}: {source}", path.display())]
    Cache {
        /// What failed.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: Arc<io::Error>,
    },
    /// Another run is obtaining the same version and does not finish.
    #[error("another run has been obtaining it for {minutes} minutes")]
    Locked {
        /// How long we waited.
        minutes: u64,
    },
    /// The project publishes no archive that we can take.
    #[error("{0}")]
    NoArchive(&'static str),
    /// The archive could not be downloaded.
    #[error("cannot download {url}: {why}")]
    Download {
        /// What was asked for.
        url: String,
        /// What went wrong.
        why: String,
    },
    /// More bytes than any release has.
    #[error("{what} is larger than {limit_bytes} bytes")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The most that is taken.
        limit_bytes: u64,
    },
    /// The published sums do not name the archive.
    #[error("the published SHA256SUMS does not name {archive}")]
    NoSum {
        /// The archive.
        archive: String,
    },
    /// The archive is not what was published.
    #[error("its SHA-256 is {found}, published is {published}: it was not kept")]
    WrongSum {
        /// The sum of what came.
        found: String,
        /// The sum that was published.
        published: String,
    },
    /// The archive cannot be unpacked.
    #[error("cannot unpack the archive: {0}")]
    Unpack(String),
    /// No Go toolchain.
    #[error("no go on the search path")]
    NoGo,
    /// Go failed.
    #[error("{how}{}", output.iter().map(|line| format!("\n      {line}")).collect::<String>())]
    Go {
        /// How it ended.
        how: String,
        /// Its last lines.
        output: Vec<String>,
    },
    /// The caller is not interested any more.
    #[error("cancelled")]
    Cancelled,
}

/// A source that was tried, and why it did not do.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// What was tried.
    pub source: Source,
    /// Why it did not do.
    pub reason: Reason,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.reason)
    }
}

/// A step on the way.
#[derive(Debug, Clone)]
pub enum Progress {
    /// This one will do: the last step.
    Found(Obtained),
    /// This source did not do; the next one is tried.
    Passed(Attempt),
    /// Another run is obtaining the same version.
    WaitingForAnotherRun {
        /// The version.
        version: Version,
    },
    /// The archive is coming.
    Downloading {
        /// From where.
        url: String,
        /// Bytes so far.
        received_bytes: u64,
        /// Bytes in all, if the server says.
        total_bytes: Option<u64>,
    },
    /// Go is building.
    Building {
        /// What Go said.
        line: String,
    },
}

/// Why there is no nats-server.
#[derive(Debug, Error)]
pub enum ObtainError {
    /// What was asked for is no version.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// The named program will not do.
    #[error("broker program {}: {reason}\n{}", path.display(), named_advice(reason))]
    Named {
        /// The program.
        path: PathBuf,
        /// Why it will not do.
        reason: Reason,
    },
    /// Nothing did.
    #[error("no nats-server {version} was found or obtained\n{}", tried_and_advice(version, tried))]
    NothingDid {
        /// The version that was wanted.
        version: Version,
        /// What was tried, in order.
        tried: Vec<Attempt>,
    },
    /// None is at hand, and there is no place for one that is brought here.
    #[error(
        "no nats-server that would do is at hand, and there is no place to keep {version}: HOME is not set\n\
         name a folder with --cache DIR, or set brokers.path to a nats-server"
    )]
    NoCache {
        /// The version that was wanted.
        version: Version,
    },
    /// The work was abandoned because the program is ending.
    #[error("obtaining a nats-server was cancelled")]
    Cancelled,
}

impl ObtainError {
    pub(super) fn nothing_did(version: &Version, tried: Vec<Attempt>) -> Self {
        let cancelled = tried.iter().any(|attempt| matches!(attempt.reason, Reason::Cancelled));
        if cancelled {
            return Self::Cancelled;
        }
        Self::NothingDid { version: version.clone(), tried }
    }

    /// Commands that may help, for a terminal to show apart.
    #[must_use]
    pub fn advice(&self) -> Vec<String> {
        match self {
            Self::NothingDid { version, .. } => advice(version),
            Self::Version(_) | Self::Named { .. } | Self::NoCache { .. } | Self::Cancelled => {
                Vec::new()
            }
        }
    }
}

fn named_advice(reason: &Reason) -> &'static str {
    match reason {
        Reason::Unusable(Unusable::NotExecutable) => "make it executable: chmod +x",
        Reason::OtherVersion { .. } => "change brokers.path or the version in the scenario",
        _ => "set brokers.path to a nats-server, or leave it out",
    }
}

fn advice(version: &Version) -> Vec<String> {
    vec![
        "apt-get install nats-server    (then ask for no version, or for the one it has)"
            .to_owned(),
        format!("choria-emulator broker install {version}    (where there is a network or Go)"),
        "in the scenario, brokers: {path: /path/to/nats-server}".to_owned(),
    ]
}

fn tried_and_advice(version: &Version, tried: &[Attempt]) -> String {
    let tried = tried.iter().map(|attempt| format!("  tried {attempt}\n"));
    let advice = advice(version).into_iter().map(|line| format!("\n  {line}"));
    tried.chain(["what would help:".to_owned()]).chain(advice).collect()
}
