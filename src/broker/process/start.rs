//! What a broker is to be when it is started, and why it did not start.

use std::ffi::OsString;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};
use thiserror::Error;

use crate::broker::config::{Limits, Wiring};
use crate::broker::obtain::Obtained;
use crate::broker::ready::Unready;
use crate::child::Exit;

/// Which ports a broker gets, on loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortChoice {
    /// Free ones outside the ephemeral range.
    Free,
    /// This for clients, a free one for monitoring.
    FixedClient(u16),
    /// These.
    Fixed {
        /// Port for clients.
        client: u16,
        /// Port for monitoring.
        monitor: u16,
    },
}

/// Everything that is needed to start one broker.
#[derive(Debug, Clone)]
pub struct StartSpec {
    /// The program and its version.
    pub program: Obtained,
    /// The broker's name in the plan, also the name of its files.
    pub name: String,
    /// Folder for its configuration, log and ports file; made if absent.
    pub folder: PathBuf,
    /// The address on which it takes clients; loopback unless somebody asked for another.
    pub host: Ipv4Addr,
    /// Its ports.
    pub ports: PortChoice,
    /// Its limits.
    pub limits: Limits,
    /// Whether it has a port for profiling.
    pub profiling: bool,
    /// How it is joined with others.
    pub wiring: Wiring,
    /// The user's own keys, merged into ours.
    pub own_config: Map<String, Value>,
    /// The user's own text, appended to the configuration as it is.
    pub extra_config: String,
    /// Variables added to its environment, for example `GOMAXPROCS`.
    pub environment: Vec<(OsString, OsString)>,
    /// How long it may take until it is ready, all attempts together.
    pub ready_within: Duration,
}

impl StartSpec {
    /// A broker by itself: named `n1`, on free ports of loopback, with the usual limits and nothing of a user's own.
    #[must_use]
    pub fn alone(program: Obtained, folder: PathBuf, ready_within: Duration) -> Self {
        Self {
            program,
            name: "n1".to_owned(),
            folder,
            host: Ipv4Addr::LOCALHOST,
            ports: PortChoice::Free,
            limits: Limits::default(),
            profiling: false,
            wiring: Wiring::default(),
            own_config: Map::new(),
            extra_config: String::new(),
            environment: Vec::new(),
            ready_within,
        }
    }
}

/// Why a broker did not start. Nothing of it is left running.
#[derive(Debug, Error)]
pub enum StartError {
    /// Its folder or files cannot be written.
    #[error("broker {name}: cannot write {}: {source}", path.display())]
    Write {
        /// The broker.
        name: String,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// No process could be made.
    #[error("broker {name}: cannot start {}: {source}", program.display())]
    Spawn {
        /// The broker.
        name: String,
        /// What could not be started.
        program: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// One of its ports is in use by others.
    #[error(
        "broker {name}: one of its ports {} is in use: {exit}\n\
         choose other ports, or find the program that listens there: ss -ltnp",
        ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
    )]
    PortInUse {
        /// The broker.
        name: String,
        /// The ports that were tried last.
        ports: Vec<u16>,
        /// How the broker ended.
        exit: Exit,
    },
    /// It was to listen where this host is not.
    #[error(
        "broker {name}: {host} is no address of this host: {exit}\n\
         name one of those that this shows: ip -brief address"
    )]
    NotHere {
        /// The broker.
        name: String,
        /// Where it was to listen.
        host: Ipv4Addr,
        /// How the broker ended.
        exit: Exit,
    },
    /// It ended before it was ready.
    #[error("broker {name} {exit}\nits log is {}", log.display())]
    Died {
        /// The broker.
        name: String,
        /// How it ended.
        exit: Exit,
        /// Its log.
        log: PathBuf,
    },
    /// It runs, and its configuration makes it what the run has no use for.
    #[error("broker {name} is not what it was told to be: {unready}\nits log is {}", log.display())]
    Misled {
        /// The broker.
        name: String,
        /// What it is instead.
        unready: Box<Unready>,
        /// Its log.
        log: PathBuf,
    },
    /// It runs and is not ready in time.
    #[error(
        "broker {name} was not ready within {within:?}: {unready}{}\nits log is {}",
        log_tail.iter().map(|line| format!("\n    {line}")).collect::<String>(),
        log.display()
    )]
    NotReady {
        /// The broker.
        name: String,
        /// How long it had.
        within: Duration,
        /// What was missing.
        unready: Box<Unready>,
        /// Its last words.
        log_tail: Vec<String>,
        /// Its log.
        log: PathBuf,
    },
}
