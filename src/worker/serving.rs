//! A worker at work: it carries out one order after the other, and hears meanwhile whether it is to end.
//!
//! Orders may take long: clients that cannot connect, nodes that end. Somebody who wants the process to end, a conductor
//! that does without it and one that is not there any more are heard all the while, and end whatever is under way.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures_util::StreamExt as _;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use super::carrier::Carrier;
use super::driving::Desk;
use super::muster::Joined;
use super::{End, Progress, Setup, reporting};
use crate::conductor::Stop;
use crate::control::messages::{Answer, Beat, Order, micros};
use crate::control::parcel::Unpacking;
use crate::control::{Line, Silence, Subjects, TICK};
use crate::plan::Plan;

/// Time for nodes to end where nobody waits for their figures.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// Orders that wait while one is carried out: a conductor waits for the answer to most of them. Those that find the
/// list full wait in the connection, and a word to leave behind them.
const ORDERS_WAITING: usize = 64;

/// Carries out orders until the run is over for this worker.
pub(super) async fn serve(
    joined: Joined,
    setup: &Setup,
    stop: &Stop,
    tell: &impl Fn(Progress),
) -> End {
    let Joined { line, subjects, run, number, orders, beats, carrier, mut tasks } = joined;
    let mut hands = Hands {
        carrier: Arc::clone(&carrier),
        desk: Desk::new(&setup.name),
        line: line.clone(),
        subjects: subjects.clone(),
        number,
        unpacking: Unpacking::default(),
        plan: None,
    };
    // Ends with this function, after what it has to say last.
    tasks.spawn(reporting::pulse(line.clone(), subjects.pulse(number), Arc::clone(&carrier)));
    let mut ears = Ears::open(run, orders, beats, stop);
    let end = hands.work(&mut ears, tell).await;
    if let Some(message) = &ears.dismissal {
        line.answer(message, &Answer::Done).await;
    }
    if let End::Asked(reason) = &end {
        let why = format!("it was asked to end ({reason:?})").to_lowercase();
        line.say(&subjects.left(number), &why).await;
    }
    let stopped = async {
        // Nobody is asked any more when nodes begin to leave.
        hands.desk.close().await;
        carrier.stop().await
    };
    if timeout(STOP_WITHIN, stopped).await.is_err() {
        tracing::warn!("not all nodes ended in order");
    }
    tasks.shutdown().await;
    line.close().await;
    end
}

/// What a worker hears.
struct Ears<'a> {
    /// Id of the run.
    run: String,
    orders: Subscriber,
    beats: Subscriber,
    stop: &'a Stop,
    ticks: Interval,
    /// Since the conductor was heard last.
    silence: Silence,
    /// The run of another conductor that was heard since.
    instead: Option<String>,
    /// Orders that came while another was carried out.
    waiting: VecDeque<Message>,
    /// The word to leave, which is to be answered.
    dismissal: Option<Message>,
}

impl<'a> Ears<'a> {
    fn open(run: String, orders: Subscriber, beats: Subscriber, stop: &'a Stop) -> Self {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let silence = Silence::default();
        let (instead, waiting, dismissal) = (None, VecDeque::new(), None);
        Self { run, orders, beats, stop, ticks, silence, instead, waiting, dismissal }
    }

    /// Waits for the next order; `Err`: there is none, as this worker is to end.
    async fn order(&mut self) -> Result<Message, End> {
        loop {
            if let Some(message) = self.waiting.pop_front() {
                return Ok(message);
            }
            self.hear().await?;
        }
    }

    /// Waits until this worker is to end, whatever is ordered.
    async fn end(&mut self) -> End {
        loop {
            if let Err(end) = self.hear().await {
                return end;
            }
        }
    }

    /// Takes in what comes next; `Err`: this worker is to end. Nothing is lost where this is dropped.
    async fn hear(&mut self) -> Result<(), End> {
        tokio::select! {
            Some(message) = self.orders.next(), if self.waiting.len() < ORDERS_WAITING => {
                if let Ok(Order::Leave(why)) = serde_json::from_slice(&message.payload) {
                    self.dismissal = Some(message);
                    return Err(End::Refused(why));
                }
                self.waiting.push_back(message);
            }
            Some(beat) = self.beats.next() => {
                match serde_json::from_slice(&beat.payload) {
                    Ok(Beat { run, .. }) if run == self.run => {
                        self.silence.heard();
                        self.instead = None;
                    }
                    Ok(Beat { run, .. }) => self.instead = Some(run),
                    Err(_) => {}
                }
            }
            _ = self.ticks.tick() => if self.silence.tick() {
                return Err(End::Alone { instead: self.instead.take() });
            },
            reason = self.stop.asked() => return Err(End::Asked(reason)),
        }
        Ok(())
    }
}

/// What carries out orders.
struct Hands {
    carrier: Arc<Carrier>,
    desk: Desk,
    line: Line,
    subjects: Subjects,
    number: u64,
    unpacking: Unpacking,
    /// The plan, until the share of it is taken.
    plan: Option<Plan>,
}

impl Hands {
    /// Carries out what is heard until something ends it.
    async fn work(&mut self, ears: &mut Ears<'_>, tell: &impl Fn(Progress)) -> End {
        loop {
            let message = match ears.order().await {
                Ok(message) => message,
                Err(end) => return end,
            };
            let order = serde_json::from_slice(&message.payload);
            let last = matches!(order, Ok(Order::Stop));
            let answer = match order {
                Ok(order) => tokio::select! {
                    answer = self.carry_out(order, tell) => answer,
                    end = ears.end() => return end,
                },
                Err(error) => Answer::Refused(format!("the order cannot be read: {error}")),
            };
            self.line.answer(&message, &answer).await;
            match answer {
                _ if last => return End::Released,
                Answer::Refused(reason) => return End::Refused(reason),
                _ => {}
            }
        }
    }

    async fn carry_out(&mut self, order: Order, tell: &impl Fn(Progress)) -> Answer {
        let Self { carrier, desk, line, subjects, number, unpacking, plan } = self;
        match order {
            Order::Plan(part) => match unpacking.take(&part) {
                Ok(None) => Answer::Done,
                Ok(Some(text)) => match serde_json::from_str(&text) {
                    Ok(read) => {
                        *plan = Some(read);
                        Answer::Done
                    }
                    Err(why) => Answer::Refused(format!("the plan cannot be read: {why}")),
                },
                Err(why) => Answer::Refused(format!("the plan cannot be put together: {why}")),
            },
            Order::Prepare(assignment) => {
                let Some(plan) = plan.take() else {
                    return Answer::Refused("a share was given before the plan".to_owned());
                };
                desk.prepare(&plan, &assignment);
                refused_or_done(carrier.prepare(&plan, *assignment))
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
            Order::Go { at_us } => {
                let go = Duration::from_micros(at_us);
                refused_or_done(desk.go(go, line, subjects.wave(*number)))
            }
            Order::Halt => {
                desk.halt();
                Answer::Done
            }
            // Heard before it comes here, whatever is carried out.
            Order::Leave(why) => Answer::Refused(why),
            Order::Stop => {
                desk.close().await;
                match carrier.stop().await {
                    Ok(report) => Answer::Report(report),
                    Err(reason) => Answer::Refused(reason),
                }
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
