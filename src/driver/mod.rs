//! The driver: emulated Choria clients that send waves at their intended instants and hold the
//! stopwatch.
//!
//! It is a real client on connections of its own. It does not know how nodes are made or what a plan
//! is: it is handed who may answer ([`Roster`]) and what to send when ([`WaveOrder`]), and hands back
//! one [`WaveDone`] a wave. Intended instants never move (law 5): a wave whose time has passed is
//! sent at once, and what was missed is its send delay. Latencies are differences of two readings of
//! the [`Epoch`]'s clock here (law 4), so that a stall of sender, broker or nodes counts in the
//! response time of every wave that it delayed, not of one only (coordinated omission).
//!
//! Replies do not arrive through a mock anywhere in its tests: they run against a real broker.

mod asker;
mod bitset;
mod brokers;
mod client;
mod discovery;
mod epoch;
mod inbox;
mod incident;
mod listener;
mod options;
mod order;
mod pacing;
mod probes;
mod roster;
mod schedule;
mod tally;
mod wave;

use std::sync::Arc;
use std::time::Duration;

use client::{CLOSE_WITHIN, Client};
use futures_util::future::join_all;
use incident::IncidentLog;

pub use asker::connect_asker;
pub use bitset::BitSet;
pub use brokers::SeenBroker;
pub use client::{ClientError, ClientSpec};
pub(crate) use client::{failed_tls, tls_advice};
pub use discovery::DiscoverError;
pub use epoch::Epoch;
pub use inbox::BACKLOG_MAX;
pub use incident::{DriverIncident, IncidentKind};
pub use listener::{Heard, Listener};
pub(crate) use options::redacted;
pub use options::{ConnectionOptions, OptionsError, Secret};
pub use order::{Samples, SendMode, WaveDone, WaveFailure, WaveOrder};
pub use probes::Probes;
pub use roster::{Roster, RosterError};
pub use schedule::{DriverError, RunSummary};

/// The clients of a run, connected.
pub struct Driver {
    clients: Vec<Arc<Client>>,
    roster: Arc<Roster>,
    epoch: Epoch,
    incidents: IncidentLog,
}

/// Which of the driver's connections are there.
#[derive(Debug, Clone)]
pub struct Presence(Vec<async_nats::Client>);

impl Presence {
    /// How many are away at this moment.
    #[must_use]
    pub fn away(&self) -> u64 {
        self.0.iter().filter(|connection| !client::is_up(connection)).count() as u64
    }
}

impl Driver {
    /// Connects every client.
    ///
    /// # Errors
    ///
    /// When an option does not hold or a connection is refused: nothing is retried here.
    pub async fn connect(
        clients: Vec<ClientSpec>,
        options: &ConnectionOptions,
        roster: Arc<Roster>,
        epoch: Epoch,
    ) -> Result<Self, ClientError> {
        let incidents = IncidentLog::default();
        let mut connected = Vec::with_capacity(clients.len());
        for spec in clients {
            let client = Client::connect(spec, options, roster.len(), epoch, &incidents).await?;
            connected.push(Arc::new(client));
        }
        Ok(Self { clients: connected, roster, epoch, incidents })
    }

    /// Proves for every client that what its publisher sends reaches its receivers. Done once before
    /// the first wave.
    ///
    /// # Errors
    ///
    /// [`ClientError::Deaf`] when a receiver got nothing within `timeout`.
    pub async fn settle(&self, timeout: Duration) -> Result<(), ClientError> {
        for client in &self.clients {
            client.settle(timeout).await?;
        }
        Ok(())
    }

    /// What happened to the driver's own connections so far, and how many incidents more there were
    /// than are kept. An [`IncidentKind::SlowConsumer`] means that the driver itself lost replies.
    #[must_use]
    pub fn incidents(&self) -> (Vec<DriverIncident>, u64) {
        self.incidents.snapshot()
    }

    /// Writes what is queued, closes all connections and waits until they have ended. That takes a
    /// second at the most: what a broker that does not read has not taken by then is lost.
    pub async fn close(&self) {
        let closed = join_all(self.clients.iter().map(|client| client.close(CLOSE_WITHIN))).await;
        if closed.contains(&false) {
            tracing::warn!("not every connection of the driver ended by itself");
        }
    }

    /// What looks at the driver's connections from any task.
    #[must_use]
    pub fn presence(&self) -> Presence {
        Presence(self.clients.iter().flat_map(|c| c.connections().cloned()).collect())
    }

    fn client(&self, number: u32) -> Option<&Arc<Client>> {
        self.clients.iter().find(|client| client.spec.number == number)
    }
}
