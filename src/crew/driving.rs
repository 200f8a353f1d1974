//! The conductor's side of drivers on workers: they are connected, told when their waves begin, and heard until all
//! are over.
//!
//! Nothing that a driver measures is compared with a clock of another host: it is told the instant from which the
//! schedule counts on its own clock. How far that clock is from the conductor's is measured before, by asking and
//! halving the time that the answer took; what that cannot tell (`within`) makes drivers begin so much earlier or
//! later than each other, and is in no latency. Books are opened half a second before a wave by the conductor's
//! clock: clocks that a time service keeps in step do not come so far apart.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Message;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use reports::verdict::ExitCode;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::CrewError;
use super::orders::Orders;
use crate::control::messages::{Answer, Order, Reach, micros};
use crate::control::parcel::{Parcel, Receipt, Unpacking};
use crate::control::waves::{DriverAccount, FromDriver};
use crate::control::{AskError, Subjects};
use crate::driver::{DriverIncident, Epoch, SeenBroker, WaveDone};

/// Time for a driver to connect its clients and to find out who must answer.
const CONNECT_WITHIN: Duration = Duration::from_secs(60);
/// Time for an answer that is at hand.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Time for drivers to hand in what they have after their waves were ended.
const HALT_WITHIN: Duration = Duration::from_secs(5);
/// How often a clock is read: the quickest answer counts.
const CLOCK_READINGS: usize = 8;

/// The workers that have a driver.
pub(crate) struct Drivers {
    orders: Arc<Orders>,
    at: Vec<Place>,
}

/// A worker that has a driver.
#[derive(Clone)]
struct Place {
    number: u64,
    name: String,
    cores: u64,
}

/// A driver's clock beside the conductor's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Clock {
    /// Name of the worker.
    pub(crate) name: String,
    /// What it showed.
    at: Duration,
    /// When, on the conductor's clock.
    when: Duration,
    /// The reading may be so much too early or too late.
    pub(crate) within: Duration,
}

impl Clock {
    /// What it shows at a later instant of the conductor's clock.
    fn at(&self, when: Duration) -> Duration {
        self.at + when.saturating_sub(self.when)
    }
}

/// When waves begin, for all drivers.
pub(crate) struct Start {
    /// The instant from which the schedule counts, on the conductor's clock.
    pub(crate) go: Duration,
    /// Entries of the roster.
    pub(crate) roster: u32,
    /// From [`Drivers::clocks`].
    pub(crate) clocks: Vec<Clock>,
}

/// What is known of a driver on a worker when its waves are over.
pub(crate) struct FarDriver {
    /// Name of the worker.
    pub(crate) name: String,
    /// Processors of its host.
    pub(crate) cores: u64,
    /// What it saw of itself.
    pub(crate) account: DriverAccount,
    /// What happened to its connections, on the conductor's clock.
    pub(crate) incidents: Vec<DriverIncident>,
}

impl Drivers {
    /// The workers of these names, all of whom are there; `None` where there are no names.
    pub(super) fn find(orders: &Arc<Orders>, names: &[&str]) -> Option<Self> {
        let mut at = Vec::new();
        for (number, worker) in (0..).zip(&mut orders.board().seen().workers) {
            let name = worker.card.name.clone();
            if names.contains(&name.as_str()) {
                worker.drives = true;
                at.push(Place { number, name, cores: worker.card.host.cores });
            }
        }
        (!at.is_empty()).then(|| Self { orders: Arc::clone(orders), at })
    }

    /// Gives all drivers an order of their own at once.
    async fn give(
        &self,
        order: impl Fn(&Place) -> Order,
        patience: Duration,
    ) -> Vec<(&Place, Result<Answer, AskError>)> {
        let each = self.at.iter().map(async |place| {
            (place, self.orders.give(place.number, &order(place), patience).await)
        });
        join_all(each).await
    }

    /// Connects the clients of all drivers; returns the brokers that they are connected to.
    pub(crate) async fn connect(&self, reach: &Reach) -> Result<Vec<SeenBroker>, CrewError> {
        let connect = |_: &Place| Order::Connect(Box::new(reach.clone()));
        let mut brokers = Vec::new();
        for (place, answer) in self.give(connect, CONNECT_WITHIN).await {
            match answer {
                Ok(Answer::Driver(seen)) => brokers.extend(seen),
                Ok(Answer::Refused(message)) => {
                    return Err(CrewError { code: ExitCode::BrokerUnreachable, message });
                }
                other => return Err(silent(place, "connect its clients", &other)),
            }
        }
        Ok(brokers)
    }

    /// Reads the clocks of all drivers beside the conductor's.
    pub(crate) async fn clocks(&self, epoch: Epoch) -> Result<Vec<Clock>, CrewError> {
        let read = async |place: &Place| {
            let mut best: Option<Clock> = None;
            for _ in 0..CLOCK_READINGS {
                let asked = epoch.now();
                let answer = self.orders.give(place.number, &Order::Clock, ANSWER_WITHIN).await;
                let took = epoch.now().saturating_sub(asked);
                let Ok(Answer::Clock { at_us }) = answer else {
                    return Err(silent(place, "tell its time", &answer));
                };
                let (when, within) = (asked + took / 2, took / 2);
                if best.as_ref().is_none_or(|best| within < best.within) {
                    let at = Duration::from_micros(at_us);
                    best = Some(Clock { name: place.name.clone(), at, when, within });
                }
            }
            Ok(best)
        };
        let clocks = join_all(self.at.iter().map(read)).await;
        Ok(clocks.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    /// Lets the waves begin, and hands each in that is over, until all are, or `cancel` ends them. Where it
    /// fails, it cancels whatever else goes by the same token.
    pub(crate) async fn run(
        &self,
        start: Start,
        sink: mpsc::Sender<WaveDone>,
        cancel: CancellationToken,
    ) -> Result<Vec<FarDriver>, CrewError> {
        let heard = self.hear(start, sink, &cancel).await;
        if heard.is_err() {
            cancel.cancel();
        }
        heard
    }

    async fn hear(
        &self,
        start: Start,
        sink: mpsc::Sender<WaveDone>,
        cancel: &CancellationToken,
    ) -> Result<Vec<FarDriver>, CrewError> {
        // Before the first of them can have anything to say.
        let listening = self.orders.listen(Subjects::waves).await;
        let mut waves = listening.map_err(|error| CrewError {
            code: ExitCode::BrokerUnreachable,
            message: error.to_string(),
        })?;
        self.go(&start).await?;
        let mut ears = Ears { start, sink, places: self.at.iter().map(Ear::at).collect() };
        let mut until = None;
        while !ears.places.iter().all(|ear| ear.is_over() || self.has_lost(ear)) {
            let changed = self.orders.board().changed.notified();
            let patience = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(message) = waves.next() => {
                    ears.take(&message).await?;
                    self.orders.answer(&message, &Receipt::Taken).await;
                }
                () = cancel.cancelled(), if until.is_none() => {
                    until = Some(Instant::now() + HALT_WITHIN);
                    self.give(|_| Order::Halt, ANSWER_WITHIN).await;
                }
                () = patience => {
                    tracing::warn!("not every driver handed in what it had when it was ended");
                    break;
                }
                () = changed => {}
            }
        }
        if until.is_none() && ears.places.iter().any(|ear| !ear.is_over()) {
            // Its waves cannot be judged, whatever else may be lost.
            let lost = self.orders.board().lost_beyond(1.0);
            let unheard = || CrewError::lost("a driver was not heard to its end".to_owned());
            return Err(lost.unwrap_or_else(unheard));
        }
        ears.known()
    }

    async fn go(&self, start: &Start) -> Result<(), CrewError> {
        let clock = |place: &Place| start.clocks.iter().find(|clock| clock.name == place.name);
        let go = |place: &Place| {
            let at = clock(place).map_or(Duration::ZERO, |clock| clock.at(start.go));
            Order::Go { at_us: micros(at) }
        };
        for (place, answer) in self.give(go, ANSWER_WITHIN).await {
            if !matches!(answer, Ok(Answer::Done)) {
                return Err(silent(place, "begin its waves", &answer));
            }
        }
        Ok(())
    }

    fn has_lost(&self, ear: &Ear) -> bool {
        self.orders.board().has_lost(ear.place.number)
    }
}

fn silent(place: &Place, what: &str, answer: &Result<Answer, AskError>) -> CrewError {
    let said = match answer {
        Ok(Answer::Refused(reason)) => reason.clone(),
        Ok(other) => format!("it answered {other:?}"),
        Err(error) => error.to_string(),
    };
    CrewError {
        code: ExitCode::WorkerLost,
        message: format!("the driver at worker {} did not {what}: {said}", place.name),
    }
}

/// What is heard of all drivers.
struct Ears {
    start: Start,
    sink: mpsc::Sender<WaveDone>,
    places: Vec<Ear>,
}

/// What is heard of one.
struct Ear {
    place: Place,
    unpacking: Unpacking,
    account: Option<DriverAccount>,
}

impl Ear {
    fn at(place: &Place) -> Self {
        Self { place: place.clone(), unpacking: Unpacking::default(), account: None }
    }

    fn is_over(&self) -> bool {
        self.account.is_some()
    }
}

impl Ears {
    /// Takes in a part of a wave. A full sink makes its driver wait.
    async fn take(&mut self, message: &Message) -> Result<(), CrewError> {
        let number = Subjects::worker(&message.subject);
        let Some(ear) = self.places.iter_mut().find(|ear| Some(ear.place.number) == number) else {
            return Ok(());
        };
        let name = ear.place.name.clone();
        let unreadable = |why: String| CrewError {
            code: ExitCode::Unexpected,
            message: format!("a wave of the driver at worker {name} cannot be read: {why}"),
        };
        let parcel: Parcel = serde_json::from_slice(&message.payload)
            .map_err(|error| unreadable(error.to_string()))?;
        let Some(text) = ear.unpacking.take(&parcel).map_err(&unreadable)? else { return Ok(()) };
        let said: FromDriver =
            serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
        match said {
            FromDriver::Over(account) => ear.account = Some(*account),
            FromDriver::Wave(wave) => {
                let done = wave.done(self.start.roster);
                let done = done.ok_or_else(|| unreadable("its times are odd".to_owned()))?;
                // Nobody reads it any more when the run ends.
                let _ = self.sink.send(done).await;
            }
        }
        Ok(())
    }

    /// What is known of those that are over, unless one of them broke.
    fn known(self) -> Result<Vec<FarDriver>, CrewError> {
        let go = self.start.go;
        let mut known = Vec::new();
        for Ear { place, account, .. } in self.places {
            let Some(mut account) = account else { continue };
            if let Some(fault) = account.fault.take() {
                return Err(CrewError {
                    code: ExitCode::Unexpected,
                    message: format!("the driver at worker {} broke: {fault}", place.name),
                });
            }
            let incidents = std::mem::take(&mut account.incidents).into_iter();
            let here = |(since_us, incident): (i64, DriverIncident)| {
                let since = Duration::from_micros(since_us.unsigned_abs());
                let at = if since_us < 0 { go.saturating_sub(since) } else { go + since };
                DriverIncident { at, ..incident }
            };
            let incidents = incidents.map(here).collect();
            known.push(FarDriver { name: place.name, cores: place.cores, account, incidents });
        }
        Ok(known)
    }
}
