//! Many waves of many clients: each is prepared in time, runs as a task of its own and hands in its
//! account.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Driver;
use super::epoch::Epoch;
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
    /// Waves that were not sent because the run was cancelled before.
    pub cancelled: u64,
}

impl Driver {
    /// Carries out `orders` of all clients and hands each wave's account to `sink` when the wave is
    /// over, in order of their ends. Returns when all are over and handed in.
    ///
    /// A full `sink` makes the finished wave wait: that holds up nothing but its account, other waves
    /// are sent and collected meanwhile. Whoever calls this reads the sink until it ends; a sink that
    /// is dropped ends the run like `cancel`. How many waves run at once follows from the orders
    /// (deadline over interval), each with half a MiB of histograms, two bits a node and eight bytes a
    /// reply; of each client one more is subscribed to.
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
        let mut account = Account { summary: RunSummary::default(), fault: None, cancel };
        let cancel = account.cancel.clone();
        let not_started = start_in_time(orders, self.epoch, &cancel, |order| {
            while let Some(ended) = tasks.try_join_next() {
                account.note(ended);
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
        })
        .await;
        while let Some(ended) = tasks.join_next().await {
            account.note(ended);
        }
        account.summary.cancelled += not_started;
        account.fault.map_or(Ok(account.summary), Err)
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

/// Hands each order to `start` when it is time to prepare it, until `cancel`. Returns how many were
/// not started.
async fn start_in_time(
    orders: Vec<WaveOrder>,
    epoch: Epoch,
    cancel: &CancellationToken,
    mut start: impl FnMut(WaveOrder),
) -> u64 {
    let mut orders = by_preparation(orders).into_iter();
    while let Some((due, order)) = orders.next() {
        let wait = tokio::time::sleep_until(epoch.instant(due));
        if cancel.run_until_cancelled(wait).await.is_none() {
            return orders.len() as u64 + 1;
        }
        start(order);
    }
    0
}

/// Orders with the instants at which they are prepared, in that order.
fn by_preparation(mut orders: Vec<WaveOrder>) -> Vec<(Duration, WaveOrder)> {
    orders.sort_by_key(|order| order.intended_at);
    let mut waves: HashMap<u32, Vec<(Duration, Duration)>> = HashMap::new();
    for order in &orders {
        let wave = (order.intended_at, order.deadline);
        waves.entry(order.key.client).or_default().push(wave);
    }
    let mut due: HashMap<u32, _> =
        waves.into_iter().map(|(client, waves)| (client, prepare_at(&waves).into_iter())).collect();
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
    if sink.send(done).await.is_err() {
        around.cancel.cancel();
    }
    true
}

/// How the tasks of a run have ended so far.
struct Account {
    summary: RunSummary,
    fault: Option<DriverError>,
    cancel: CancellationToken,
}

impl Account {
    /// Takes note of how a wave's task ended; a fault ends the others.
    fn note(&mut self, ended: Result<bool, tokio::task::JoinError>) {
        match ended {
            Ok(true) => self.summary.done += 1,
            Ok(false) => self.summary.cancelled += 1,
            Err(error) => {
                self.cancel.cancel();
                self.fault.get_or_insert(DriverError::Panicked(error.to_string()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use emulator::protocol::client::RequestDraft;
    use emulator::protocol::filter::Filter;
    use reports::wave::{WaveKey, WaveKind};
    use tokio::sync::mpsc;
    use tokio_util::sync::CancellationToken;

    use super::super::{BitSet, Driver, Epoch, SendMode, WaveDone, WaveOrder};
    use super::start_in_time;

    #[test]
    fn a_run_can_be_a_task_that_shares_the_driver() {
        // It compiles: that is the test.
        fn can_be_spawned<F: Future + Send + 'static>(
            _: impl Fn(Arc<Driver>, Vec<WaveOrder>, mpsc::Sender<WaveDone>) -> F,
        ) {
        }
        can_be_spawned(|driver, orders, sink| async move {
            driver.run(orders, sink, CancellationToken::new()).await
        });
    }

    fn order(client: u32, intended_ms: u64) -> WaveOrder {
        let draft = RequestDraft {
            caller_id: String::new(),
            sender_id: String::new(),
            collective: String::new(),
            agent: String::new(),
            ttl_s: 60,
            filter: Filter::default(),
            body: String::new(),
        };
        WaveOrder {
            key: WaveKey { name: String::new(), number: 1, warmup: false, client },
            kind: WaveKind::Request,
            mode: SendMode::Broadcast,
            intended_at: Duration::from_millis(intended_ms),
            deadline: Duration::from_secs(1),
            late_grace: Duration::ZERO,
            linger: Duration::ZERO,
            draft: Arc::new(draft),
            reply_collective: String::new(),
            request_id: String::new(),
            expected: Arc::new(BitSet::new(0)),
        }
    }

    /// Which (client, intended) are started at which instant, all in milliseconds.
    async fn started(orders: &[(u32, u64)], cancel_at_ms: u64) -> (Vec<(u32, u64, u64)>, u64) {
        let epoch = Epoch::at(Instant::now());
        let cancel = CancellationToken::new();
        let orders = orders.iter().map(|&(client, intended)| order(client, intended)).collect();
        let mut started = Vec::new();
        let not_started = {
            let start = start_in_time(orders, epoch, &cancel, |order| {
                let (at, intended) = (epoch.now().as_millis(), order.intended_at.as_millis());
                started.push((order.key.client, intended as u64, at as u64));
            });
            let stop = async {
                tokio::time::sleep_until(epoch.instant(Duration::from_millis(cancel_at_ms))).await;
                cancel.cancel();
            };
            tokio::join!(start, stop).0
        };
        (started, not_started)
    }

    #[tokio::test(start_paused = true)]
    async fn each_wave_starts_in_time_for_its_preparation_whatever_order_they_come_in() {
        let (started, not_started) =
            started(&[(1, 3000), (2, 1500), (1, 2000), (1, 2400), (2, 1500)], 10_000).await;
        assert_eq!(not_started, 0);
        let at =
            [(2, 1500, 1000), (2, 1500, 1000), (1, 2000, 1500), (1, 2400, 1500), (1, 3000, 2200)];
        // Timers of a paused clock wake up to a millisecond late.
        let near = |(is, should): (&(u32, u64, u64), &(u32, u64, u64))| {
            (is.0, is.1) == (should.0, should.1) && is.2.abs_diff(should.2) <= 1
        };
        assert!(started.len() == at.len() && started.iter().zip(&at).all(near), "{started:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_schedule_starts_no_further_wave_and_counts_them() {
        let (started, not_started) = started(&[(1, 1000), (1, 2000), (1, 9000)], 3000).await;
        assert_eq!((started.len(), not_started), (2, 1));
    }
}
