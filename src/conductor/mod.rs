//! Runs a plan from preflight to verdict: doctor, result folder, brokers, crew, driver, waves, result, stop.
//!
//! The conductor prints nothing and reads neither flags nor environment: it is handed a [`Setup`], reports
//! what happens as [`Progress`] values and returns a [`Finished`] run, or a [`RunError`] when nothing was
//! measured. Whatever it started is gone when it returns.

mod book;
mod early;
mod events;
mod evidence;
mod log;
mod network;
mod pending;
mod progress;
mod run;
mod telemetry;
mod timeline;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use emulator::spec::Login;
use reports::run::RunResult;
use reports::verdict::ExitCode;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use log::RunLog;
pub use progress::Progress;

use crate::broker::Sources;
use crate::child::Launcher;
use crate::crew::{ControlAt, CrewError, Workers, check_places};
use crate::doctor::{self, Examination, Hands, HostError, Verdict};
use crate::driver::ConnectionOptions;
use crate::plan::{Demand, Plan, is_loopback};

/// Time for brokers that were only kept to end in order.
const KEPT_BROKERS_END_WITHIN: Duration = Duration::from_secs(5);

/// Who must answer, when the nodes are not ours (`measure`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strangers {
    /// Whoever answers a first discovery.
    Discovered,
    /// So many: a first discovery gives their names, as far as it finds them.
    Count(u64),
    /// These.
    Listed(Vec<String>),
}

/// Everything that a run needs beside the plan.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The plan.
    pub plan: Plan,
    /// The scenario as it was run, overrides written in: YAML.
    pub scenario_text: String,
    /// Where result folders are made.
    pub out: PathBuf,
    /// Where brokers come from.
    pub sources: Sources,
    /// How brokers are started.
    pub launcher: Launcher,
    /// What nodes show to external brokers.
    pub login: Login,
    /// How the driver reaches external brokers; its servers are those of the plan.
    pub connection: ConnectionOptions,
    /// How to reach the system account of external brokers, through which all of them are watched.
    pub system: Option<ConnectionOptions>,
    /// `Some`: no fleet of ours, an existing network is measured.
    pub strangers: Option<Strangers>,
    /// Which processes carry the nodes.
    pub workers: Workers,
    /// How long a first discovery of them waits for answers; `None`: as long as a wave.
    pub discovery_timeout: Option<Duration>,
    /// Takes everything that is logged once the result folder exists.
    pub log: RunLog,
}

/// Why a run should end early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// Ctrl-C.
    Interrupted,
    /// SIGTERM.
    Terminated,
}

/// Asks a run to end: whoever holds it can, the run listens. The first reason counts.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    interrupted: CancellationToken,
    terminated: CancellationToken,
}

impl Stop {
    /// Asks the run to end.
    pub fn ask(&self, reason: StopReason) {
        match reason {
            StopReason::Interrupted => self.interrupted.cancel(),
            StopReason::Terminated => self.terminated.cancel(),
        }
    }

    /// Waits until somebody asks.
    pub async fn asked(&self) -> StopReason {
        tokio::select! {
            () = self.interrupted.cancelled() => StopReason::Interrupted,
            () = self.terminated.cancelled() => StopReason::Terminated,
        }
    }
}

/// A run that left a result, whatever its verdict.
#[derive(Debug)]
pub struct Finished {
    /// Everything measured, with verdict and exit code.
    pub result: RunResult,
    /// The result folder.
    pub folder: PathBuf,
}

/// Why nothing was measured. The last line of its text says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct RunError {
    /// The exit code that it stands for.
    pub code: ExitCode,
    /// What happened, and what to do.
    pub message: String,
}

impl From<CrewError> for RunError {
    fn from(CrewError { code, message }: CrewError) -> Self {
        Self { code, message }
    }
}

impl RunError {
    fn refused(message: String) -> Self {
        Self { code: ExitCode::Refused, message }
    }
}

/// When a run began, on both clocks.
struct StartUp {
    at: jiff::Timestamp,
    began: Instant,
}

/// Tells whoever watches what happens. A watcher that is too slow, or gone, misses something: the run
/// never waits for it.
#[derive(Debug, Clone)]
struct Reporter(mpsc::Sender<Progress>);

impl Reporter {
    fn tell(&self, progress: Progress) {
        let _ = self.0.try_send(progress);
    }
}

/// Runs a plan from preflight to verdict.
///
/// # Errors
/// When nothing was measured because the host cannot carry the plan or the result cannot be written. A run
/// that fails later has a result that says so.
pub async fn run(
    setup: Setup,
    stop: Stop,
    progress: mpsc::Sender<Progress>,
) -> Result<Finished, RunError> {
    let preflight = preflight(&setup)?;
    // A run holds much: on the heap it is small for whoever awaits it.
    Box::pin(run::run(&setup, &stop, &Reporter(progress), preflight)).await
}

/// Starts the managed brokers of a plan, waits until they are one network, and keeps them until somebody
/// asks to end; `folder` takes their files. Nothing is left of them then.
///
/// # Errors
/// When they cannot be started or do not form, or one of them dies.
pub async fn keep_brokers(
    plan: &Plan,
    folder: PathBuf,
    sources: Sources,
    launcher: Launcher,
    stop: Stop,
    progress: mpsc::Sender<Progress>,
) -> Result<StopReason, RunError> {
    let Some(managed) = plan.brokers.managed() else {
        return Err(RunError::refused("the plan has no brokers of its own".to_owned()));
    };
    let reporter = Reporter(progress);
    let supply = network::Supply { plan, sources: &sources, launcher: &launcher, folder };
    let mut network = tokio::select! {
        opened = Box::pin(network::Network::manage(supply, managed, &reporter)) => opened?,
        reason = stop.asked() => return Ok(reason),
    };
    network.end_probes().await;
    let ended = tokio::select! {
        told = network.died() => Err(RunError { code: ExitCode::BrokerUnreachable, message: told }),
        reason = stop.asked() => Ok(reason),
    };
    network.close(KEPT_BROKERS_END_WITHIN).await;
    ended
}

/// What the preflight found.
struct Preflight {
    /// What may disturb the figures, each with what to do about it.
    warnings: Vec<(String, String)>,
    /// Worker processes that are to carry the nodes; 0: this process carries them.
    workers: u64,
}

/// Holds a plan against this host, as its run will; `None`: workers come from elsewhere, and that has to wait for
/// them.
///
/// # Errors
/// If not even the limit of open files can be read.
pub fn examine(setup: &Setup) -> Result<Option<Examination>, HostError> {
    let hands = match &setup.workers {
        Workers::Elsewhere(_) => return Ok(None),
        Workers::Here(workers) => Hands::Workers(*workers),
        Workers::AsNeeded => Hands::AsNeeded,
    };
    Examination::of(&setup.plan, hands).map(Some)
}

/// Holds the plan against this host, and works out who carries the nodes.
fn preflight(setup: &Setup) -> Result<Preflight, RunError> {
    within_reach(setup)?;
    let unknown = |error: HostError| RunError::refused(error.to_string());
    doctor::raise_open_files().map_err(unknown)?;
    let examination = examine(setup).map_err(unknown)?;
    let here = examination.as_ref().and_then(|examination| examination.hosts.first());
    let workers = match &setup.workers {
        Workers::Elsewhere(elsewhere) => elsewhere.count,
        Workers::Here(_) | Workers::AsNeeded => here.map_or(0, |host| host.duty.workers),
    };
    check_places(&setup.plan.clients_places(), &setup.workers, workers)?;
    let warnings = examination.map(passed).transpose()?.unwrap_or_default();
    Ok(Preflight { warnings, workers })
}

/// Refuses brokers on loopback for workers that come over a network: before anybody is waited for.
fn within_reach(setup: &Setup) -> Result<(), RunError> {
    let Workers::Elsewhere(elsewhere) = &setup.workers else { return Ok(()) };
    let comes_from_here = match &elsewhere.control {
        ControlAt::Listen { address, .. } => address.ip().is_loopback(),
        ControlAt::Given(options) => options.servers.iter().all(|url| is_loopback(url)),
    };
    let Demand { loopback, managed, .. } = Demand::of(&setup.plan);
    if comes_from_here || !loopback || setup.plan.groups.is_empty() {
        return Ok(());
    }
    Err(RunError::refused(format!(
        "the brokers are on loopback, and workers of other hosts do not reach them there\n{}\n\
         or, where all workers are on this host, let the control broker be on loopback too",
        doctor::reach_advice(managed)
    )))
}

/// What the doctor warns of, unless the hosts cannot carry the plan.
fn passed(examination: Examination) -> Result<Vec<(String, String)>, RunError> {
    match examination.verdict() {
        Verdict::Fail => Err(RunError::refused(examination.to_text())),
        Verdict::Ok | Verdict::Warn => Ok(examination.warnings()),
    }
}
