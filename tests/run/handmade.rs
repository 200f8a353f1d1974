//! Workers and conductors made by hand: each says what a test wants when the test wants it, and hits at will the
//! instants that real ones hit once in a thousand runs.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::{Message, Subscriber};
use choria_emulator::broker::Broker;
use choria_emulator::control::messages::{
    Answer, Assignment, Beat, Card, Numbered, Order, Phase, Pulse, Spent, Welcome,
};
use choria_emulator::control::parcel::Parcel;
use choria_emulator::control::{AskError, BEAT_EVERY, Build, Line, PULSE_EVERY, Subjects};
use choria_emulator::doctor::Host;
use choria_emulator::driver::{ConnectionOptions, Secret};
use choria_emulator::plan::Plan;
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::apart::control_broker;
use crate::support::SOON;

/// A connection to a control broker whose token is `secret`.
pub(super) async fn line(url: &str, name: &str) -> Line {
    let options = ConnectionOptions {
        servers: vec![url.to_owned()],
        token: Some(Secret::new("secret")),
        ..ConnectionOptions::default()
    };
    Line::connect(&options, name).await.unwrap()
}

/// Waits for the next message of a subscription.
pub(super) async fn next<T: DeserializeOwned>(heard: &mut Subscriber) -> (Message, T) {
    let message = timeout(SOON, heard.next()).await.unwrap().unwrap();
    let read = serde_json::from_slice(&message.payload).unwrap();
    (message, read)
}

/// A worker made by hand.
pub(super) struct WorkerByHand {
    line: Line,
    subjects: Subjects,
    pub(super) card: Card,
    /// What shows that it is there; it goes with this.
    pulses: JoinSet<()>,
}

impl WorkerByHand {
    /// Waits for the run over this control broker.
    pub(super) async fn at(url: &str, name: &str) -> Self {
        let line = line(url, name).await;
        let mut beats = line.listen(Subjects::BEAT).await.unwrap();
        let (_, beat) = next::<Beat>(&mut beats).await;
        let build = Build::of(env!("CARGO_BIN_EXE_choria-emulator").into()).await.unwrap();
        let (host, pid) = (Host::read().unwrap(), std::process::id());
        let card = Card { name: name.to_owned(), build, host, pid };
        Self { line, subjects: Subjects::of(&beat.run), card, pulses: JoinSet::new() }
    }

    /// Asks to take part.
    pub(super) async fn ask(&self) -> Welcome {
        self.line.ask(&self.subjects.join(), &self.card, SOON).await.unwrap()
    }

    /// Takes part, and shows from then on that it is there; it does not listen for orders yet.
    pub(super) async fn join(&mut self) -> u64 {
        let welcome = self.ask().await;
        let Welcome::Accepted { number, .. } = welcome else { panic!("{welcome:?}") };
        let (line, subject) = (self.line.clone(), self.subjects.pulse(number));
        let (counts, failures, spent) = (Vec::new(), Vec::new(), Spent::default());
        let pulse = Pulse { counts, lag_us_max: 0, spent, failures, clients_away: 0 };
        self.pulses.spawn(async move {
            loop {
                line.say(&subject, &pulse).await;
                sleep(PULSE_EVERY).await;
            }
        });
        number
    }

    /// Listens from now on, and expects to be told to leave before anything else.
    pub(super) async fn leave(&self, number: u64) {
        let subject = self.subjects.order(number);
        let mut orders = timeout(SOON, self.line.listen(&subject)).await.unwrap().unwrap();
        let (message, Numbered { order, .. }) = next::<Numbered>(&mut orders).await;
        assert!(matches!(order, Order::Leave(_)), "{order:?}");
        self.line.answer(&message, &Answer::Done).await;
    }
}

/// A conductor made by hand that wants one worker, with a control broker of its own.
pub(super) struct ConductorByHand {
    pub(super) broker: Broker,
    pub(super) line: Line,
    subjects: Subjects,
    joins: Subscriber,
    /// The id of the last order.
    last: AtomicU64,
    /// What shows that it is there; it goes with this.
    pub(super) beats: JoinSet<()>,
}

impl ConductorByHand {
    pub(super) async fn start(folder: &Path) -> Self {
        let broker = control_broker(folder, "").await;
        let line = line(&broker.url(), "conductor").await;
        let beat = Beat {
            run: "0a0a0a0a".to_owned(),
            phase: Phase::Mustering,
            scenario: "by hand".to_owned(),
            host: String::new(),
            began: String::new(),
            age_ms: 0,
        };
        let subjects = Subjects::of(&beat.run);
        let joins = line.listen(&subjects.join()).await.unwrap();
        let mut beats = JoinSet::new();
        let beating = line.clone();
        beats.spawn(async move {
            loop {
                beating.say(Subjects::BEAT, &beat).await;
                sleep(BEAT_EVERY).await;
            }
        });
        Self { broker, line, subjects, joins, last: AtomicU64::default(), beats }
    }

    /// Waits until somebody asks to take part, and does not answer.
    pub(super) async fn asked(&mut self) -> (Message, Card) {
        next(&mut self.joins).await
    }

    /// Waits until somebody asks to take part, and lets it in.
    pub(super) async fn let_in(&mut self) -> Card {
        let (message, card) = self.asked().await;
        self.line.answer(&message, &Welcome::Accepted { number: 0, of: 1 }).await;
        card
    }

    /// Where the worker takes orders.
    pub(super) fn orders(&self) -> String {
        self.subjects.order(0)
    }

    /// Tells the worker a plan, in parts, and gives it its share: what it says to that.
    pub(super) async fn prepare(&self, plan: &Plan, assignment: Assignment) -> Answer {
        let text = serde_json::to_string(plan).unwrap();
        for part in Parcel::of(1, &text, text.len()) {
            assert_eq!(self.order(&Order::Plan(part)).await, Answer::Done);
        }
        self.order(&Order::Prepare(Box::new(assignment))).await
    }

    /// An order with an id that none had before.
    pub(super) fn numbered<'a>(&self, order: &'a Order) -> Numbered<&'a Order> {
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        Numbered { id, awaited: id, order }
    }

    /// Gives the worker an order.
    pub(super) async fn order(&self, order: &Order) -> Answer {
        self.give(&self.numbered(order)).await
    }

    /// Gives the worker an order, perhaps not for the first time; it may not listen yet.
    pub(super) async fn give(&self, order: &Numbered<&Order>) -> Answer {
        loop {
            match self.line.ask(&self.orders(), order, SOON).await {
                Err(AskError::Nobody) => sleep(PULSE_EVERY).await,
                answer => return answer.unwrap(),
            }
        }
    }

    /// Tells the worker to leave.
    pub(super) async fn dismiss(&self) {
        let leave = Order::Leave("nobody wants it".to_owned());
        assert_eq!(self.order(&leave).await, Answer::Done);
    }
}
