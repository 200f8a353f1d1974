//! A worker's driver: the clients that the plan has here, connected, pressing at the conductor's word, and each wave
//! sent back as it ends.
//!
//! It is the conductor's own driver in another place: the same code works out who must answer what, and all
//! times are read from one clock, that of this process. A wave that is over waits until the conductor has said that
//! it has the ones before; running waves do not wait for it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use emulator::spec::{FleetSpec, Share};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::control::messages::{Assignment, Reach};
use crate::control::parcel::{Parcel, Receipt};
use crate::control::waves::{DriverAccount, FromDriver, WaveReport};
use crate::control::{AskError, Line};
use crate::driver::{
    ConnectionOptions, Driver, DriverError, DriverIncident, Epoch, Presence, RunSummary,
    SeenBroker, WaveOrder,
};
use crate::orders::{Crowd, at_place, begin_at, client_urls, clients, orders};
use crate::plan::{Plan, Seat};
use crate::watch::{Activity, LagWatch, Usage, note_beginnings};

/// Time for all clients to connect.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);
/// A first message to ourselves takes this long at the most.
const SETTLE_WITHIN: Duration = Duration::from_secs(10);
/// Waves that may wait to be sent; then finished waves wait in their tasks, running ones do not.
const WAVES_WAITING: usize = 64;
/// Time for the conductor to say that it has a part of a wave, before it is sent again.
const TAKEN_WITHIN: Duration = Duration::from_secs(2);
/// After a refusal, or where nobody listens.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// The driver of a worker, from the order that connects it to the end of the worker.
pub(super) struct Desk {
    name: String,
    /// The clock of everything here.
    epoch: Epoch,
    /// The plan with all its nodes; `None`: no client is here.
    given: Option<(Plan, FleetSpec)>,
    ready: Option<Ready>,
    halt: CancellationToken,
    /// The waves under way; they go with this.
    tasks: JoinSet<()>,
}

/// A driver that waits for the word, with everything worked out that it will do.
struct Ready {
    driver: Arc<Driver>,
    orders: Vec<WaveOrder>,
}

impl Desk {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            epoch: Epoch::at(Instant::now()),
            given: None,
            ready: None,
            halt: CancellationToken::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Keeps the plan, if any client is here.
    pub(super) fn prepare(&mut self, plan: &Plan, assignment: &Assignment) {
        let Assignment { servers, login, .. } = assignment;
        if plan.clients_at(&self.name).is_empty() {
            return;
        }
        // Whoever carries a node, it may have to answer a client that is here.
        let seat = Seat {
            share: Share::WHOLE,
            shards: 1,
            servers: servers.clone(),
            source_addresses: Vec::new(),
            login: login.clone(),
        };
        self.given = Some((plan.clone(), plan.fleet_spec(&seat)));
    }

    /// Connects the clients that are here, and works out who must answer them.
    pub(super) async fn connect(
        &mut self,
        reach: Reach,
    ) -> Result<(Vec<SeenBroker>, Presence), String> {
        let Some((plan, spec)) = &self.given else {
            return Err(format!("{}: no client of the plan is here", self.name));
        };
        let crowd = Crowd::of_plan(plan, spec).map_err(|error| self.says(&error))?;
        let Reach { urls, connection, nonce } = reach;
        let clients = clients(plan, &self.name, &urls);
        let options = ConnectionOptions { servers: client_urls(plan, 1, &urls), ..connection };
        let roster = Arc::clone(&crowd.roster);
        let all = orders(plan, &crowd, nonce).map_err(|error| self.says(&error))?;
        let orders = at_place(plan, &all, &self.name);
        let connect = async {
            let driver = Driver::connect(clients, &options, roster, self.epoch).await?;
            driver.settle(SETTLE_WITHIN).await?;
            Ok::<_, crate::driver::ClientError>(driver)
        };
        let connected = timeout(CONNECT_WITHIN, connect).await;
        let connected = connected.map_err(|_| {
            let patience = CONNECT_WITHIN.as_secs();
            self.says(&format!("its clients were not connected within {patience} s"))
        })?;
        let driver = Arc::new(connected.map_err(|error| self.says(&error))?);
        let seen = (driver.brokers(), driver.presence());
        self.ready = Some(Ready { driver, orders });
        Ok(seen)
    }

    /// What the clock shows.
    pub(super) fn clock(&self) -> Duration {
        self.epoch.now()
    }

    /// Lets the waves begin, their schedule at `go` of the clock; they are sent to `subject` as they end.
    pub(super) fn go(&mut self, go: Duration, line: &Line, subject: String) -> Result<(), String> {
        let Some(Ready { driver, orders }) = &mut self.ready else {
            return Err(format!("{}: no driver is connected here", self.name));
        };
        let mut orders = std::mem::take(orders);
        begin_at(&mut orders, go);
        let waves = Waves {
            driver: Arc::clone(driver),
            orders,
            epoch: self.epoch,
            go,
            halt: self.halt.clone(),
            post: Post { line: line.clone(), subject, sent: 0 },
        };
        self.tasks.spawn(waves.press());
        Ok(())
    }

    /// Ends all waves at once, with what they have.
    pub(super) fn halt(&self) {
        self.halt.cancel();
    }

    /// Ends the waves and closes the connections.
    pub(super) async fn close(&mut self) {
        self.halt();
        self.tasks.shutdown().await;
        if let Some(Ready { driver, .. }) = self.ready.take() {
            driver.close().await;
        }
    }

    fn says(&self, error: &dyn std::fmt::Display) -> String {
        format!("the driver at {}: {error}", self.name)
    }
}

/// All waves of a driver.
struct Waves {
    driver: Arc<Driver>,
    orders: Vec<WaveOrder>,
    epoch: Epoch,
    go: Duration,
    halt: CancellationToken,
    post: Post,
}

impl Waves {
    async fn press(self) {
        let Self { driver, orders, epoch, go, halt, mut post } = self;
        let lag = LagWatch::start();
        lag.record(true);
        let activity = Arc::<Mutex<Activity>>::default();
        let begins: Vec<Duration> = orders.iter().map(|order| order.intended_at).collect();
        let noted = Arc::clone(&activity);
        // Both end with this function.
        let mut noting = JoinSet::new();
        noting.spawn(async move { note_beginnings(&noted, epoch, &begins).await });
        let (sink, mut done) = mpsc::channel(WAVES_WAITING);
        let pressing = Arc::clone(&driver);
        let mut driving = JoinSet::new();
        driving.spawn(async move { pressing.run(orders, sink, halt).await });
        while let Some(wave) = done.recv().await {
            lock(&activity).end(Instant::now(), Usage::now);
            post.send(&FromDriver::Wave(Box::new(WaveReport::from(wave)))).await;
        }
        lag.record(false);
        let (wall, used) = lock(&activity).total();
        let account = DriverAccount {
            fault: fault(driving.join_next().await),
            incidents: incidents(&driver, go),
            lag: lag.distribution(),
            wall,
            cpu: used.cpu(),
            driver_cpu: used.other_cpu,
        };
        post.send(&FromDriver::Over(Box::new(account))).await;
    }
}

/// What became of the driver's own task.
fn fault(driven: Option<Result<Result<RunSummary, DriverError>, JoinError>>) -> Option<String> {
    match driven? {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(error) => Some(error.to_string()),
    }
}

/// What happened to the driver's connections, in its time since `go`.
fn incidents(driver: &Driver, go: Duration) -> Vec<(i64, DriverIncident)> {
    let (incidents, _) = driver.incidents();
    let since = |at: Duration| {
        let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        micros(at).saturating_sub(micros(go))
    };
    incidents.into_iter().map(|incident| (since(incident.at), incident)).collect()
}

/// What delivers to the conductor: one part after the other, each until it is taken.
struct Post {
    line: Line,
    subject: String,
    sent: u64,
}

impl Post {
    async fn send(&mut self, what: &FromDriver) {
        self.sent += 1;
        let text = serde_json::to_string(what).unwrap_or_default();
        let message_bytes = self.line.client().server_info().max_payload;
        for parcel in Parcel::of(self.sent, &text, message_bytes) {
            while let Err(error) = self.taken(&parcel).await {
                tracing::warn!(number = self.sent, "a wave is sent again: {error}");
                sleep(RETRY_AFTER).await;
            }
        }
    }

    async fn taken(&self, parcel: &Parcel) -> Result<(), AskError> {
        let Receipt::Taken = self.line.ask(&self.subject, parcel, TAKEN_WITHIN).await?;
        Ok(())
    }
}

fn lock(activity: &Mutex<Activity>) -> std::sync::MutexGuard<'_, Activity> {
    activity.lock().unwrap_or_else(PoisonError::into_inner)
}
