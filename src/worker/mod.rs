//! A process that carries a share of a plan's nodes for a conductor, on this machine or another.
//!
//! It dials out to the control broker, waits for a run that wants workers, is given its share, carries out what
//! the conductor orders, and leaves when the run is over. Where the plan has clients at it, it has a driver for
//! them too. One worker serves one run. Whatever happens, nothing
//! of it stays: when the conductor is not heard any more its nodes end, and so does it.

mod carrier;
mod driving;
mod muster;
mod reporting;
mod service;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::conductor::{Stop, StopReason};
use crate::control::messages::{Answer, Beat, Order, micros};
use crate::control::{Line, LineError, Silence, Subjects, TICK};
use crate::doctor::HostError;
use crate::driver::ConnectionOptions;

use carrier::Carrier;
use driving::Desk;
use muster::Joined;

/// Time for nodes to end where nobody waits for their figures.
const STOP_WITHIN: Duration = Duration::from_secs(10);

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
    Alone,
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
        Ok(joined) => serve(joined, &setup, &stop, &tell).await,
        Err(reason) => Ok(End::Refused(reason)),
    }
}

/// Carries out orders until the run is over for this worker.
async fn serve(
    joined: Joined,
    setup: &Setup,
    stop: &Stop,
    tell: &impl Fn(Progress),
) -> Result<End, WorkerError> {
    let Joined { line, subjects, run, number, mut orders, mut beats, .. } = joined;
    let carrier = Arc::new(Carrier::new(&setup.name));
    let mut hands = Hands {
        carrier: Arc::clone(&carrier),
        desk: Desk::new(&setup.name),
        line: line.clone(),
        subjects: subjects.clone(),
        number,
    };
    // Both end with this function, after what they have to say last.
    let mut tasks = JoinSet::new();
    tasks.spawn(reporting::pulse(line.clone(), subjects.pulse(number), Arc::clone(&carrier)));
    let (name, of_run) = (setup.name.clone(), run.clone());
    tasks.spawn(service::show(line.clone(), name, of_run, Arc::clone(&carrier)));
    let mut silence = Silence::default();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let end = loop {
        tokio::select! {
            Some(message) = orders.next() => {
                let order = serde_json::from_slice(&message.payload);
                if let Ok(Order::Leave(why)) = order {
                    line.answer(&message, &Answer::Done).await;
                    break End::Refused(why);
                }
                let last = matches!(order, Ok(Order::Stop));
                let answer = match order {
                    Ok(order) => hands.carry_out(order, tell).await,
                    Err(error) => Answer::Refused(format!("the order cannot be read: {error}")),
                };
                line.answer(&message, &answer).await;
                if last {
                    break End::Released;
                }
                if let Answer::Refused(reason) = answer {
                    break End::Refused(reason);
                }
            }
            Some(beat) = beats.next() => {
                let beat: Option<Beat> = serde_json::from_slice(&beat.payload).ok();
                if beat.is_some_and(|beat| beat.run == run) {
                    silence.heard();
                }
            }
            _ = ticks.tick() => if silence.tick() { break End::Alone },
            reason = stop.asked() => {
                let why = format!("it was asked to end ({reason:?})").to_lowercase();
                line.say(&subjects.left(number), &why).await;
                break End::Asked(reason);
            }
        }
    };
    // Nobody is asked any more when nodes begin to leave.
    hands.desk.close().await;
    let _ = timeout(STOP_WITHIN, carrier.stop()).await;
    tasks.shutdown().await;
    line.close().await;
    Ok(end)
}

/// What carries out orders.
struct Hands {
    carrier: Arc<Carrier>,
    desk: Desk,
    line: Line,
    subjects: Subjects,
    number: u64,
}

impl Hands {
    async fn carry_out(&mut self, order: Order, tell: &impl Fn(Progress)) -> Answer {
        let Self { carrier, desk, line, subjects, number } = self;
        match order {
            Order::Prepare(assignment) => {
                desk.prepare(&assignment);
                refused_or_done(carrier.prepare(*assignment))
            }
            Order::Start { at_us } => {
                let at = Duration::from_micros(at_us);
                let started = carrier.start(at, line, subjects.slice(*number));
                if started.is_ok() {
                    tell(Progress::Carrying { nodes: carrier.counts().planned });
                }
                refused_or_done(started)
            }
            Order::Look => Answer::Report(carrier.report()),
            Order::Open { request_id } => {
                carrier.open(&request_id);
                Answer::Done
            }
            Order::Close { request_id, nodes, last } => {
                Answer::Fates(carrier.close(&request_id, &nodes, last))
            }
            Order::Presence => Answer::Connected(carrier.connected()),
            Order::Connect(reach) => match desk.connect(*reach).await {
                Ok((brokers, clients)) => {
                    carrier.watch_clients(clients);
                    Answer::Driver(brokers)
                }
                Err(reason) => Answer::Refused(reason),
            },
            Order::Clock => Answer::Clock { at_us: micros(desk.clock()) },
            Order::Go(go) => refused_or_done(desk.go(go, line, subjects.wave(*number))),
            Order::Halt => {
                desk.halt();
                Answer::Done
            }
            Order::Leave(why) => Answer::Refused(why),
            Order::Stop => {
                desk.close().await;
                Answer::Report(carrier.stop().await)
            }
        }
    }
}

fn refused_or_done(done: Result<(), String>) -> Answer {
    match done {
        Ok(()) => Answer::Done,
        Err(reason) => Answer::Refused(reason),
    }
}
