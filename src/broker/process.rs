//! A managed broker: started and proved ready, watched, and ended in order.
//!
//! Starting means ready, stopping means gone. What a broker was told and what it said lie in a
//! folder that is handed in, `n1.conf` and `n1.log`. What happens to it in between on purpose is
//! done by its [`Control`].

mod files;
mod start;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use self::files::Files;
use super::again::{Control, Process, Seat};
use super::config::LeftOut;
use super::monitor::{BrokerSample, Monitor, MonitorError, Varz};
use super::obtain::Obtained;
use super::ports;
use super::ready::{self, Expectation, PortsFile, Shown, loopback};
use crate::child::{Exit, Handle, Keeper, Launcher};

pub use self::start::{PortChoice, StartError, StartSpec};
pub use super::ready::Unready;

/// Pairs of ports that are tried when none is asked for. With a hundred strangers on the sixteen
/// thousand ports that we choose from, all pairs being taken has a chance of 1 in 10^19.
pub(super) const PORT_ATTEMPTS: usize = 10;
/// What the system needs to take a killed process away.
const KILL_WITHIN: Duration = Duration::from_secs(10);

/// How a broker was stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// How it ended; `None` if the system had not taken it away ten seconds after it was killed.
    pub exit: Option<Exit>,
    /// Whether it had to be killed because it did not end in time.
    pub killed: bool,
    /// From the request to the end.
    pub took: Duration,
}

/// A broker that was ready once. Dropping it kills it; [`Broker::stop`] ends it in order.
#[derive(Debug)]
pub struct Broker {
    seat: Arc<Seat>,
    client: SocketAddrV4,
    monitor: SocketAddrV4,
    log: PathBuf,
    monitoring: Monitor,
}

impl Broker {
    /// Starts a broker and waits until it is ready.
    ///
    /// # Errors
    /// When it cannot be started, ends, or is not ready in time; it is gone then.
    pub async fn start(spec: &StartSpec, launcher: &Launcher) -> Result<Self, StartError> {
        let deadline = Instant::now() + spec.ready_within;
        if let PortChoice::Fixed { client, monitor } = spec.ports {
            return Self::attempt(spec, client, monitor, launcher, deadline).await;
        }
        let ephemeral = ports::ephemeral();
        let mut attempt = 1;
        loop {
            let [free, monitor] = ports::candidates(ephemeral);
            let client = match spec.ports {
                PortChoice::FixedClient(client) => client,
                PortChoice::Free | PortChoice::Fixed { .. } => free,
            };
            match Self::attempt(spec, client, monitor, launcher, deadline).await {
                Err(StartError::PortInUse { .. }) if attempt < PORT_ATTEMPTS => attempt += 1,
                done => return done,
            }
        }
    }

    async fn attempt(
        spec: &StartSpec,
        client: u16,
        monitor: u16,
        launcher: &Launcher,
        deadline: Instant,
    ) -> Result<Self, StartError> {
        let process = start_process(spec, (client, monitor), launcher, deadline).await?;
        // Whenever it is started again, it is on the same ports.
        let spec = StartSpec { ports: PortChoice::Fixed { client, monitor }, ..spec.clone() };
        Ok(Self {
            client: reached(spec.host, client),
            monitor: loopback(monitor),
            log: Files::new(&spec).log,
            monitoring: Monitor::new(loopback(monitor).into()),
            seat: Arc::new(Seat::new(spec, launcher.clone(), process)),
        })
    }

    /// Its name in the plan.
    #[must_use]
    pub fn name(&self) -> &str {
        self.seat.name()
    }

    /// The program it runs, or ran last.
    #[must_use]
    pub fn program(&self) -> Obtained {
        self.seat.with(|process| process.program.clone())
    }

    /// Where clients connect.
    #[must_use]
    pub fn client(&self) -> SocketAddrV4 {
        self.client
    }

    /// Where clients connect, as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.client)
    }

    /// Where its monitoring answers.
    #[must_use]
    pub fn monitor(&self) -> SocketAddrV4 {
        self.monitor
    }

    /// Its process number, or that of the process it was last.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.seat.with(|process| process.keeper.pid())
    }

    /// Its log file.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Settings that its release does not know.
    #[must_use]
    pub fn left_out(&self) -> Vec<LeftOut> {
        self.seat.with(|process| process.left_out.clone())
    }

    /// What it said about itself when it was ready: version, toolchain, limits.
    #[must_use]
    pub fn at_start(&self) -> Varz {
        self.seat.with(|process| process.at_start.clone())
    }

    /// Becomes `Some` the moment the process that it is now ends, whoever ended it. Stays readable
    /// after the broker was dropped.
    #[must_use]
    pub fn exit(&self) -> watch::Receiver<Option<Exit>> {
        self.seat.with(|process| process.keeper.exit())
    }

    /// Ends when the broker has ended without having been asked to, however often it was taken
    /// down and started again on purpose before; never otherwise.
    pub fn died(&self) -> impl Future<Output = Exit> + Send + use<> {
        self.seat.died()
    }

    /// What takes it down and brings it up again on the same ports, from any task.
    #[must_use]
    pub fn control(&self) -> Control {
        Control::new(Arc::clone(&self.seat))
    }

    /// Its monitoring, for whoever looks at it without holding up its owner.
    #[must_use]
    pub fn monitoring(&self) -> &Monitor {
        &self.monitoring
    }

    /// One look at it.
    ///
    /// # Errors
    /// When its monitoring does not answer or its process is gone.
    pub async fn sample(&self) -> Result<BrokerSample, MonitorError> {
        self.monitoring.sample(self.pid()).await
    }

    /// Ends it: asks, waits as long as given, then kills. Returns when it is gone.
    pub async fn stop(self, grace: Duration) -> Stopped {
        self.seat.stop(grace).await
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Its control may outlive it, and must not start it again.
        self.seat.close();
    }
}

/// Starts the process of a broker on these ports, for clients and for monitoring, and waits until
/// it is ready.
pub(super) async fn start_process(
    spec: &StartSpec,
    (client, monitor): (u16, u16),
    launcher: &Launcher,
    deadline: Instant,
) -> Result<Process, StartError> {
    let files = Files::new(spec);
    let left_out = files.write_config(spec, client, monitor)?;
    let (log, command) = files.command(spec, launcher)?;
    let keeper = Keeper::start(command, log.clone()).await.map_err(|source| {
        let (name, program) = (spec.name.clone(), launcher.program.clone());
        StartError::Spawn { name, program, source }
    })?;
    let expected = Expectation {
        name: spec.name.clone(),
        version: spec.program.version.clone(),
        host: spec.host,
        client: reached(spec.host, client),
        monitor: loopback(monitor),
        cluster: spec.wiring.cluster.as_ref().map(|cluster| loopback(cluster.port)),
        ports_file: PortsFile::new(&spec.folder, keeper.pid()),
    };
    let mut exit = keeper.exit();
    let seen = tokio::select! {
        biased;
        exit = ended(&mut exit) => Err(files.died(spec, client, monitor, exit)),
        seen = ready::ready(&expected, deadline) => {
            seen.map_err(|unready| files.unready(spec, unready, &log))
        }
    };
    let ports_file = expected.ports_file;
    match seen {
        Ok(Shown { varz: at_start, profile }) => {
            let program = spec.program.clone();
            Ok(Process { program, left_out, at_start, profile, keeper, ports_file })
        }
        Err(error) => {
            stop(&keeper.handle(), Duration::ZERO).await;
            ports_file.remove();
            Err(error)
        }
    }
}

/// Where this host reaches who listens there.
fn reached(host: Ipv4Addr, port: u16) -> SocketAddrV4 {
    let host = if host.is_unspecified() { Ipv4Addr::LOCALHOST } else { host };
    SocketAddrV4::new(host, port)
}

/// Waits until the process has ended.
pub async fn ended(exit: &mut watch::Receiver<Option<Exit>>) -> Exit {
    match exit.wait_for(Option::is_some).await.map(|exit| exit.clone()) {
        Ok(Some(exit)) => exit,
        // The keeper ended without a word: it panicked, and the kernel ended the process with it.
        _ => Exit { code: None, signal: None, log_tail: Vec::new() },
    }
}

/// Asks a process to end, waits as long as given, then kills it. Returns when it is gone.
pub(crate) async fn stop(process: &Handle, grace: Duration) -> Stopped {
    end(process, Signal::SIGTERM, grace).await
}

/// The same with another signal to ask with.
pub(super) async fn end(process: &Handle, ask: Signal, grace: Duration) -> Stopped {
    let asked_at = Instant::now();
    let mut exit = process.exit();
    if !grace.is_zero() {
        process.signal(ask);
    }
    let in_order = timeout(grace, ended(&mut exit)).await.ok();
    let killed = in_order.is_none();
    let exit = match in_order {
        Some(exit) => Some(exit),
        None => {
            process.signal(Signal::SIGKILL);
            timeout(KILL_WITHIN, ended(&mut exit)).await.ok()
        }
    };
    Stopped { exit, killed, took: asked_at.elapsed() }
}
