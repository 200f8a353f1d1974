//! A broker taken down on purpose and brought up again on the same ports: its seat outlives its
//! processes.
//!
//! Whoever holds a [`Control`] acts beside the broker's owner. What it ended is not a broker that
//! died; every other end still is. One action after the other: a second one waits for its turn.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Map, Value};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::conf::given;
use super::config::LeftOut;
use super::links::go_duration;
use super::monitor::{Monitor, Varz};
use super::obtain::Obtained;
use super::process::{PortChoice, StartError, StartSpec, Stopped, end, ended, start_process, stop};
use super::profile::Profile;
use super::ready::{PortsFile, loopback};
use crate::child::{Exit, Handle, Keeper, Launcher};

/// Time for a broker to end in order; 15,000 clients take it 0.6 s (brokers-checked, 10).
const END_WITHIN: Duration = Duration::from_secs(10);
/// Time for a lame duck to send its clients away: two thirds of the 30 s that it is configured
/// with, up to 24 s were seen (brokers-checked, 6). One whose scenario has it take longer has that besides.
const LAME_DUCK_WITHIN: Duration = Duration::from_secs(60);

/// How a broker is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// SIGTERM, as a service manager does it.
    Term,
    /// SIGKILL.
    Kill,
    /// SIGUSR2: it sends its clients away one after the other and ends then.
    LameDuck,
}

/// An action that was not carried out.
#[derive(Debug, Error)]
pub enum ControlError {
    /// There is no process to act on.
    #[error("broker {0} is not running\nstart it before, or leave the step out")]
    NotRunning(String),
    /// There is a process already.
    #[error("broker {0} is running already\nend it before, or leave the step out")]
    Running(String),
    /// The run is over for this broker.
    #[error("broker {0} is being stopped for good")]
    Closed(String),
    /// It did not end, even when it was killed.
    #[error("broker {0} does not end\nlook for its process: the kernel holds it")]
    Stuck(String),
    /// It did not come up again.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// One process of a broker, from its start to its end. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) program: Obtained,
    pub(super) left_out: Vec<LeftOut>,
    pub(super) at_start: Varz,
    /// Its port for profiling, if it has one.
    pub(super) profile: Option<u16>,
    pub(super) keeper: Keeper,
    pub(super) ports_file: PortsFile,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.keeper.signal(Signal::SIGKILL);
        // Left behind by a killed server, and by releases before 2.2 always.
        self.ports_file.remove();
    }
}

/// The life of one process as the watch over a broker sees it.
#[derive(Debug, Clone)]
struct Life {
    exit: watch::Receiver<Option<Exit>>,
    /// Somebody ended it on purpose.
    asked: Arc<AtomicBool>,
}

impl Life {
    fn of(process: &Process) -> Self {
        Self { exit: process.keeper.exit(), asked: Arc::default() }
    }
}

/// What a broker is beyond its processes.
#[derive(Debug)]
pub(super) struct Seat {
    spec: StartSpec,
    launcher: Launcher,
    /// The latest process, which may have ended.
    process: Mutex<Process>,
    life: watch::Sender<Life>,
    turn: tokio::sync::Mutex<()>,
    closed: AtomicBool,
}

impl Seat {
    /// The seat of a process that is ready; `spec` names the ports it is on.
    pub(super) fn new(spec: StartSpec, launcher: Launcher, process: Process) -> Self {
        let life = watch::Sender::new(Life::of(&process));
        Self {
            spec,
            launcher,
            process: Mutex::new(process),
            life,
            turn: tokio::sync::Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.spec.name
    }

    /// Looks at the latest process.
    pub(super) fn with<T>(&self, look: impl FnOnce(&Process) -> T) -> T {
        look(&self.process.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends when a process has ended that nobody had asked to.
    pub(super) fn died(&self) -> impl Future<Output = Exit> + Send + use<> {
        let mut lives = self.life.subscribe();
        async move {
            loop {
                let mut life = lives.borrow_and_update().clone();
                let exit = ended(&mut life.exit).await;
                // The broker itself is gone: it ended for good. Else it may have another life.
                if !life.asked.load(Ordering::Acquire) || lives.changed().await.is_err() {
                    return exit;
                }
            }
        }
    }

    /// Ends the broker for good.
    pub(super) async fn stop(&self, grace: Duration) -> Stopped {
        self.closed.store(true, Ordering::Release);
        let process = self.with(|process| process.keeper.handle());
        stop(&process, grace).await
    }

    /// Kills the broker for good.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.with(|process| {
            process.keeper.signal(Signal::SIGKILL);
            process.ports_file.remove();
        });
    }

    fn is_running(&self) -> bool {
        self.with(|process| process.keeper.exit().borrow().is_none())
    }

    /// Whether anything may still happen to the broker.
    fn open(&self) -> Result<(), ControlError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(ControlError::Closed(self.spec.name.clone()));
        }
        Ok(())
    }

    /// The process, if it runs.
    fn running(&self) -> Result<Handle, ControlError> {
        self.open()?;
        if !self.is_running() {
            return Err(ControlError::NotRunning(self.spec.name.clone()));
        }
        Ok(self.with(|process| process.keeper.handle()))
    }

    async fn take_down(&self, by: By) -> Result<Stopped, ControlError> {
        let process = self.running()?;
        let asked = Arc::clone(&self.life.borrow().asked);
        asked.store(true, Ordering::Release);
        let stopped = match by {
            By::Term => stop(&process, END_WITHIN).await,
            By::Kill => stop(&process, Duration::ZERO).await,
            By::LameDuck => {
                let within = lame_duck_within(&self.spec.own_config);
                end(&process, Signal::SIGUSR2, within).await
            }
        };
        match stopped.exit {
            Some(_) => Ok(stopped),
            None => Err(ControlError::Stuck(self.spec.name.clone())),
        }
    }

    async fn bring_up(&self, program: Option<Obtained>) -> Result<(), ControlError> {
        // Before all else: the end of what was killed is known a moment later.
        self.open()?;
        if self.is_running() {
            return Err(ControlError::Running(self.spec.name.clone()));
        }
        let PortChoice::Fixed { client, monitor } = self.spec.ports else {
            return Err(ControlError::Closed(self.spec.name.clone()));
        };
        // That of the process before is left by one that was killed.
        let last = self.with(|process| {
            process.ports_file.remove();
            process.program.clone()
        });
        let spec = StartSpec { program: program.unwrap_or(last), ..self.spec.clone() };
        let deadline = Instant::now() + spec.ready_within;
        let process = start_process(&spec, (client, monitor), &self.launcher, deadline).await?;
        let life = Life::of(&process);
        let before = {
            let mut place = self.process.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *place, process)
        };
        drop(before);
        self.life.send_replace(life);
        // It may have been closed while this one came up.
        self.open().inspect_err(|_| self.close())
    }
}

/// How long a lame duck may take whose user has given these keys; of what is given as text nothing is known.
fn lame_duck_within(own: &Map<String, Value>) -> Duration {
    let times = ["lame_duck_duration", "lame_duck_grace_period"].into_iter();
    let times = times.filter_map(|key| match given(own, key)? {
        Value::String(text) => go_duration(text),
        seconds => seconds.as_u64().map(Duration::from_secs),
    });
    times.fold(LAME_DUCK_WITHIN, Duration::saturating_add)
}

/// What takes a broker down and brings it up again.
#[derive(Debug, Clone)]
pub struct Control {
    seat: Arc<Seat>,
    monitoring: Monitor,
}

impl Control {
    pub(super) fn new(seat: Arc<Seat>) -> Self {
        let address = match seat.spec.ports {
            PortChoice::Fixed { monitor, .. } => loopback(monitor),
            PortChoice::FixedClient(_) | PortChoice::Free => loopback(0),
        };
        Self { seat, monitoring: Monitor::new(address.into()) }
    }

    /// The broker's name in the plan.
    #[must_use]
    pub fn name(&self) -> &str {
        self.seat.name()
    }

    /// Its monitoring.
    #[must_use]
    pub fn monitoring(&self) -> &Monitor {
        &self.monitoring
    }

    /// The process number of what it is now, or was last.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.seat.with(|process| process.keeper.pid())
    }

    /// The profiling port of that process, if it has one.
    #[must_use]
    pub fn profile(&self) -> Option<Profile> {
        self.seat.with(|process| process.profile).map(Profile::new)
    }

    /// Ends the broker and returns when its process is gone; it stays away until it is started.
    ///
    /// # Errors
    /// When it does not run, or does not end.
    pub async fn end(&self, by: By) -> Result<Stopped, ControlError> {
        let _turn = self.seat.turn.lock().await;
        self.seat.take_down(by).await
    }

    /// Starts the broker on its ports and returns when it is ready: another program if one is
    /// given, else that which it ran last.
    ///
    /// # Errors
    /// When it runs already, or does not become ready; it is down then.
    pub async fn start(&self, program: Option<Obtained>) -> Result<(), ControlError> {
        let _turn = self.seat.turn.lock().await;
        self.seat.bring_up(program).await
    }

    /// Ends the broker, leaves it away for so long and starts it again, as another program if one is given; nothing
    /// else is done to it meanwhile. Returns when it is ready.
    ///
    /// # Errors
    /// When it does not run, does not end, or does not become ready; it is down then.
    pub async fn restart(
        &self,
        by: By,
        away: Duration,
        program: Option<Obtained>,
    ) -> Result<Stopped, ControlError> {
        let _turn = self.seat.turn.lock().await;
        let stopped = self.seat.take_down(by).await?;
        sleep(away).await;
        self.seat.bring_up(program).await?;
        Ok(stopped)
    }

    /// Lets the broker stand still (SIGSTOP) for so long. It goes on then, and also when this
    /// future is dropped.
    ///
    /// # Errors
    /// When it does not run, or ends meanwhile.
    pub async fn pause(&self, length: Duration) -> Result<(), ControlError> {
        let _turn = self.seat.turn.lock().await;
        let process = self.seat.running()?;
        let gone = || ControlError::NotRunning(self.seat.spec.name.clone());
        if !process.signal(Signal::SIGSTOP) {
            return Err(gone());
        }
        let still = StandingStill(process);
        sleep(length).await;
        if still.go_on() { Ok(()) } else { Err(gone()) }
    }
}

/// A process that goes on when this is dropped.
struct StandingStill(Handle);

impl StandingStill {
    fn go_on(&self) -> bool {
        self.0.signal(Signal::SIGCONT)
    }
}

impl Drop for StandingStill {
    fn drop(&mut self) {
        self.go_on();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lame_duck_has_the_time_that_its_configuration_gives_it_besides() {
        for (own, seconds) in [
            (serde_json::json!({}), 60),
            (serde_json::json!({"lame_duck_duration": "2m"}), 180),
            (serde_json::json!({"Lame_Duck_Duration": 90, "lame_duck_grace_period": "10s"}), 160),
            (serde_json::json!({"lame_duck_duration": "soon"}), 60),
        ] {
            let within = lame_duck_within(own.as_object().unwrap());
            assert_eq!(within, Duration::from_secs(seconds), "{own}");
        }
    }
}
