//! A process that carries a share of a plan's nodes for a conductor, on this machine or another.
//!
//! It dials out to the control broker, waits for a run that wants workers, is given its share, carries out what
//! the conductor orders, and leaves when the run is over. Where the plan has clients at it, it has a driver for
//! them too. One worker serves one run. Whatever happens, nothing
//! of it stays: when the conductor is not heard any more its nodes end, and so does it.

mod answers;
mod carrier;
mod driving;
mod muster;
mod reporting;
mod service;
mod serving;

use tokio::sync::mpsc;

use crate::conductor::{Stop, StopReason};
use crate::control::LineError;
use crate::doctor::HostError;
use crate::driver::ConnectionOptions;

/// What a worker needs to know.
#[derive(Debug, Clone)]
pub struct Setup {
    /// How it reaches the control broker.
    pub control: ConnectionOptions,
    /// Its name, unique among the workers of a run.
    pub name: String,
    /// The only run that it serves; `None`: whichever comes.
    pub run: Option<String>,
}

/// What a worker tells whoever watches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The control broker cannot be reached yet; it is tried again.
    Waiting(String),
    /// It is connected and waits for a run.
    Ready {
        /// Where, without credentials.
        url: String,
    },
    /// It takes part in a run.
    Joined {
        /// Id of the run.
        run: String,
        /// The scenario.
        scenario: String,
        /// Its number, from 0.
        number: u64,
        /// How many workers there are.
        of: u64,
    },
    /// It begins to connect its nodes.
    Carrying {
        /// How many.
        nodes: u64,
    },
}

/// How a worker ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The run is over, or was ended by its conductor.
    Released,
    /// The conductor did not want it, or it could not do what was asked.
    Refused(String),
    /// The conductor was not heard any more.
    Alone {
        /// The run that is conducted over the control broker meanwhile, if one is.
        instead: Option<String>,
    },
    /// It was asked to end.
    Asked(StopReason),
}

/// Why a worker could not even begin.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// There is no way to the control broker.
    #[error(transparent)]
    Line(#[from] LineError),
    /// The host does not tell its limits.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The program's own file cannot be read, so nobody can tell which build it is.
    #[error(
        "cannot read this program's own file: {0}\nmount /proc, for example: mount -t proc proc /proc"
    )]
    Build(std::io::Error),
}

/// Serves one run.
///
/// # Errors
/// When the control broker turns it away, or the host does not tell what a worker has to know.
pub async fn work(
    setup: Setup,
    stop: Stop,
    progress: mpsc::Sender<Progress>,
) -> Result<End, WorkerError> {
    let tell = |what| drop(progress.try_send(what));
    let joined = tokio::select! {
        joined = muster::join(&setup, &tell) => joined?,
        reason = stop.asked() => return Ok(End::Asked(reason)),
    };
    match joined {
        Ok(joined) => Ok(serving::serve(joined, &setup, &stop, &tell).await),
        Err(reason) => Ok(End::Refused(reason)),
    }
}
