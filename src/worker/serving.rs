//! A worker at work: it carries out one order after the other, and hears meanwhile whether it is to end.
//!
//! Its last answer may get lost like any other. So after it a worker only says again what it has said, until it is told to
//! leave, or its conductor is not there any more.
//!
//! Orders may take long: clients that cannot connect, nodes that end. Somebody who wants the process to end, a conductor
//! that does without it and one that is not there any more are heard all the while, and end whatever is under way.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures_util::StreamExt as _;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use super::answers::{Answers, Known};
use super::carrier::Carrier;
use super::driving::Desk;
use super::muster::Joined;
use super::{End, Progress, Setup, reporting};
use crate::conductor::Stop;
use crate::control::messages::{Answer, Beat, Numbered, Order, micros};
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
        answers: Answers::default(),
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
        carrier.end_nodes().await
    };
    if timeout(STOP_WITHIN, stopped).await.is_err() {
        tracing::warn!("not all nodes ended in order");
    }
    tasks.shutdown().await;
    carrier.fall_silent().await;
    line.close().await;
    end
}

/// An order, if it can be read, and where it is answered.
type Errand = (Message, Result<Numbered, String>);

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
    /// Orders that came while another was carried out: one copy of each.
    waiting: VecDeque<Errand>,
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
    async fn order(&mut self) -> Result<Errand, End> {
        loop {
            if let Some(errand) = self.waiting.pop_front() {
                return Ok(errand);
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
                let read: Result<Numbered, _> = serde_json::from_slice(&message.payload);
                match read {
                    Ok(Numbered { order: Order::Leave(why), .. }) => {
                        self.dismissal = Some(message);
                        return Err(End::Refused(why));
                    }
                    read => self.wait(message, read.map_err(|error| error.to_string())),
                }
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

    /// Keeps an order until its turn; of several copies the last, as the way to whoever gave it is the newest.
    fn wait(&mut self, message: Message, read: Result<Numbered, String>) {
        let id = |read: &Result<Numbered, String>| read.as_ref().ok().map(|order| order.id);
        let (new, mut waiting) = (id(&read), self.waiting.iter_mut());
        match waiting.find(|(_, old)| new.is_some() && id(old) == new) {
            Some((at, _)) => *at = message,
            None => self.waiting.push_back((message, read)),
        }
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
    answers: Answers,
}

impl Hands {
    /// Carries out what is heard until something ends it.
    async fn work(&mut self, ears: &mut Ears<'_>, tell: &impl Fn(Progress)) -> End {
        // What it was that ends it, and what it says to whatever else is ordered.
        let mut over: Option<(End, Answer)> = None;
        loop {
            let (message, read) = match ears.order().await {
                Ok(errand) => errand,
                Err(end) => return over.map_or(end, |(end, _)| end),
            };
            let Numbered { id, awaited, order } = match read {
                Ok(numbered) => numbered,
                Err(why) => {
                    let why = format!("the order cannot be read: {why}");
                    let answer = Answer::Refused(why.clone());
                    self.line.answer(&message, &answer).await;
                    over.get_or_insert((End::Refused(why), answer));
                    continue;
                }
            };
            match self.answers.know(id, awaited) {
                Known::New => {}
                Known::Answered(answer) => {
                    self.line.answer(&message, answer).await;
                    continue;
                }
                Known::Forgotten => continue,
            }
            if let Some((_, said)) = &over {
                self.line.answer(&message, said).await;
                continue;
            }
            let last = matches!(order, Order::Stop);
            let answer = tokio::select! {
                answer = self.carry_out(order, tell) => answer,
                end = ears.end() => return end,
            };
            self.answers.keep(id, &answer);
            self.line.answer(&message, &answer).await;
            over = match &answer {
                Answer::Refused(reason) => Some((End::Refused(reason.clone()), answer)),
                _ if last => {
                    let ended = Answer::Refused("this worker's nodes have ended".to_owned());
                    Some((End::Released, ended))
                }
                _ => None,
            };
        }
    }

    async fn carry_out(&mut self, order: Order, tell: &impl Fn(Progress)) -> Answer {
        let Self { carrier, desk, line, subjects, number, unpacking, plan, .. } = self;
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
