//! Several brokers that have to know each other's ports before any of them runs: their ports are chosen
//! together, and where one turns out to be taken all start again with others.

use futures_util::future::join_all;

use super::ports;
use super::process::{Broker, PORT_ATTEMPTS, PortChoice, StartError, StartSpec};
use crate::child::Launcher;

/// The ports of one broker of several, on loopback. What it does not listen on stays unused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// For clients.
    pub client: u16,
    /// For monitoring.
    pub monitor: u16,
    /// For routes.
    pub cluster: u16,
    /// For gateways.
    pub gateway: u16,
    /// For leaves.
    pub leaf: u16,
}

impl Ports {
    /// The client and monitoring ports as a broker takes them.
    #[must_use]
    pub fn choice(&self) -> PortChoice {
        PortChoice::Fixed { client: self.client, monitor: self.monitor }
    }
}

/// Starts `count` brokers at once and waits until each is ready; `specs` makes of the ports of all what
/// each is to be. They are ready then, not yet joined.
///
/// # Errors
/// The first that could not be started; none is left running then.
pub async fn start_together(
    count: usize,
    specs: impl Fn(&[Ports]) -> Vec<StartSpec>,
    launcher: &Launcher,
) -> Result<Vec<Broker>, StartError> {
    let mut attempt = 1;
    loop {
        let specs = specs(&choose(count));
        let started = join_all(specs.iter().map(|spec| Broker::start(spec, launcher))).await;
        let started: Result<Vec<_>, _> = started.into_iter().collect();
        match started {
            // Dropping those that did start ends them.
            Err(StartError::PortInUse { .. }) if attempt < PORT_ATTEMPTS => attempt += 1,
            done => return done,
        }
    }
}

fn choose(count: usize) -> Vec<Ports> {
    let all = ports::different(count * 5, ports::ephemeral());
    let ports = all.chunks_exact(5).map(|five| Ports {
        client: five[0],
        monitor: five[1],
        cluster: five[2],
        gateway: five[3],
        leaf: five[4],
    });
    ports.collect()
}
