//! Many waves of many clients: each is prepared in time, runs as a task of its own and hands in its
//! account.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Driver;
use super::order::{WaveDone, WaveOrder};
use super::pacing::prepare_at;
use super::wave::{Surroundings, run_wave};

/// Why a list of orders was not carried out.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DriverError {
    /// An order names a client that does not exist.
    #[error(
        "wave {wave:?} is for client {client}, which the driver does not have\nconnect it first"
    )]
    UnknownClient {
        /// Name of the wave.
        wave: String,
        /// Number of the client.
        client: u32,
    },
    /// An order asks in another caller's name.
    #[error(
        "wave {wave:?} asks as {draft:?}, but its client is {client:?}\nuse the client's caller id"
    )]
    ForeignCaller {
        /// Name of the wave.
        wave: String,
        /// Caller id of the order.
        draft: String,
        /// Caller id of the client.
        client: String,
    },
    /// An order's expected set is over another roster.
    #[error(
        "wave {wave:?} expects {size} entries of a roster of {roster}\nuse the driver's roster"
    )]
    ForeignRoster {
        /// Name of the wave.
        wave: String,
        /// Size of the expected set.
        size: u32,
        /// Size of the roster.
        roster: u32,
    },
    /// A wave's task panicked: a fault of this program.
    #[error("a wave ended by a fault of this program: {0}\nreport it with the run's log")]
    Panicked(String),
}

/// What became of a list of orders.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunSummary {
    /// Waves that were carried out, entirely or until the cancellation.
    pub done: u64,
    /// Waves that were not sent because the run was cancelled before their instant.
    pub cancelled: u64,
}

impl Driver {
    /// Carries out `orders` of all clients and hands each wave's account to `sink` when the wave is
    /// over, in order of their ends. Returns when all are over and handed in.
    ///
    /// A full `sink` makes the finished wave wait: that holds up nothing but its account, other waves
    /// are sent and collected meanwhile. Whoever calls this reads the sink until it ends; a sink that
    /// is dropped ends the run like `cancel`. How many waves run at once follows from the orders
    /// (deadline over interval), each with two bits a node and eight bytes a reply.
    ///
    /// `cancel` ends running waves at once with what they have, marked as interrupted.
    ///
    /// # Errors
    ///
    /// When an order does not fit the driver (nothing is sent then) or a wave panicked.
    pub async fn run(
        &self,
        orders: Vec<WaveOrder>,
        sink: mpsc::Sender<WaveDone>,
        cancel: CancellationToken,
    ) -> Result<RunSummary, DriverError> {
        self.check(&orders)?;
        // Ends with `cancel`, or for reasons of this run alone.
        let cancel = cancel.child_token();
        let mut tasks = JoinSet::new();
        let mut summary = RunSummary::default();
        let mut fault = None;
        for (due, order) in by_preparation(orders) {
            let prepare = tokio::time::sleep_until(self.epoch.instant(due));
            if cancel.run_until_cancelled(prepare).await.is_none() {
                summary.cancelled += 1;
                continue;
            }
            while let Some(ended) = tasks.try_join_next() {
                note(ended, &mut summary, &mut fault, &cancel);
            }
            if let Some(client) = self.client(order.key.client) {
                let around = Surroundings {
                    client: client.clone(),
                    roster: self.roster.clone(),
                    epoch: self.epoch,
                    cancel: cancel.clone(),
                };
                tasks.spawn(carry_out(around, order, sink.clone()));
            }
        }
        while let Some(ended) = tasks.join_next().await {
            note(ended, &mut summary, &mut fault, &cancel);
        }
        fault.map_or(Ok(summary), Err)
    }

    fn check(&self, orders: &[WaveOrder]) -> Result<(), DriverError> {
        for order in orders {
            let wave = || order.key.name.clone();
            let Some(client) = self.client(order.key.client) else {
                return Err(DriverError::UnknownClient { wave: wave(), client: order.key.client });
            };
            if client.spec.caller_id != order.draft.caller_id {
                let (draft, client) = (&order.draft.caller_id, &client.spec.caller_id);
                let (draft, client) = (draft.clone(), client.clone());
                return Err(DriverError::ForeignCaller { wave: wave(), draft, client });
            }
            let (size, roster) = (order.expected.size(), self.roster.len());
            if size != roster {
                return Err(DriverError::ForeignRoster { wave: wave(), size, roster });
            }
        }
        Ok(())
    }
}

/// Orders with the instants at which they are prepared, in that order.
fn by_preparation(mut orders: Vec<WaveOrder>) -> Vec<(Duration, WaveOrder)> {
    orders.sort_by_key(|order| order.intended_at);
    let mut intended: HashMap<u32, Vec<Duration>> = HashMap::new();
    for order in &orders {
        intended.entry(order.key.client).or_default().push(order.intended_at);
    }
    let mut due: HashMap<u32, _> = intended
        .into_iter()
        .map(|(client, intended)| (client, prepare_at(&intended).into_iter()))
        .collect();
    let prepare = |order: WaveOrder| {
        let due = due.get_mut(&order.key.client).and_then(Iterator::next);
        (due.unwrap_or(order.intended_at), order)
    };
    let mut prepared: Vec<_> = orders.into_iter().map(prepare).collect();
    prepared.sort_by_key(|(due, _)| *due);
    prepared
}

/// Runs one wave and hands in its account. Returns whether it was sent.
async fn carry_out(around: Surroundings, order: WaveOrder, sink: mpsc::Sender<WaveDone>) -> bool {
    let Some(done) = run_wave(&around, &order).await else {
        return false;
    };
    if done.result.kind == reports::wave::WaveKind::Discover && !done.interrupted {
        around.client.note_discovered(done.result.on_time + done.result.late);
    }
    if sink.send(done).await.is_err() {
        around.cancel.cancel();
    }
    true
}

/// Takes note of how a wave's task ended; a fault ends the others.
fn note(
    ended: Result<bool, tokio::task::JoinError>,
    summary: &mut RunSummary,
    fault: &mut Option<DriverError>,
    cancel: &CancellationToken,
) {
    match ended {
        Ok(true) => summary.done += 1,
        Ok(false) => summary.cancelled += 1,
        Err(error) => {
            cancel.cancel();
            fault.get_or_insert(DriverError::Panicked(error.to_string()));
        }
    }
}
