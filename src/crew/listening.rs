//! The tasks that keep the board: who asks to join, who is there, what was counted.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Subscriber;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::jetstream::context::{CreateStreamError, CreateStreamErrorKind};
use async_nats::jetstream::stream::{Config, StorageType};
use async_nats::jetstream::{self, ErrorCode, Message};
use futures_util::StreamExt as _;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::board::{Board, Worker};
use crate::control::messages::{Card, Numbered, Order, Welcome};
use crate::control::{Build, Line, Subjects, TICK};

/// What slices may take in the control broker, and what it sets aside for them. They are read at once; what goes when
/// it is full has been read.
const STREAM_BYTES: i64 = 64 << 20;
/// How long the stream keeps a slice. A conductor that does not read for four seconds has no workers any more; one
/// that was killed leaves its last minute behind, for a minute.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// Time to make it, longer than a control broker takes that is started again: one that does not let us ask is silent.
const MADE_WITHIN: Duration = Duration::from_secs(8);
/// Between two attempts to read the stream when the way to it is closed.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Who may take part, and who does already.
pub(super) struct Registrar {
    pub(super) line: Line,
    pub(super) board: Arc<Board>,
    pub(super) build: Build,
    /// Workers that take part in all.
    pub(super) of: u64,
    /// Nodes of each share.
    pub(super) nodes: Vec<u64>,
    pub(super) run: String,
}

impl Registrar {
    /// Answers everybody who asks to take part, until it is dropped.
    pub(super) async fn receive(self, mut asked: Subscriber) {
        while let Some(message) = asked.next().await {
            let welcome = match serde_json::from_slice::<Card>(&message.payload) {
                Ok(card) => self.welcome(card),
                Err(error) => Welcome::Refused(format!(
                    "run {} does not understand this worker: {error}\ninstall the same build as the conductor's",
                    self.run
                )),
            };
            self.line.answer(&message, &welcome).await;
        }
    }

    fn welcome(&self, card: Card) -> Welcome {
        let judged = self.judge(card);
        if let Welcome::Refused(reason) = &judged {
            self.board.turn_away(reason);
        }
        self.board.changed.notify_waiters();
        judged
    }

    /// Lets a worker in, unless something speaks against it.
    fn judge(&self, card: Card) -> Welcome {
        let mut seen = self.board.seen();
        let number = seen.workers.len() as u64;
        let (run, name) = (&self.run, &card.name);
        if card.build != self.build {
            return Welcome::Refused(format!(
                "worker {name} is {}, and the conductor is {}\ninstall the same build on both",
                card.build, self.build
            ));
        }
        let mut numbered = (0..).zip(&seen.workers);
        if let Some((number, worker)) = numbered.find(|(_, worker)| worker.card.name == *name) {
            return self.welcome_again(number, worker, &card);
        }
        if number >= self.of || seen.closed {
            let how = match seen.closed {
                true => "ends".to_owned(),
                false => format!("is under way with its {} workers", self.of),
            };
            return Welcome::Refused(format!(
                "worker {name} comes too late: run {run} {how}\n\
                 start it before the run, or wait for the next"
            ));
        }
        let nodes = usize::try_from(number).ok().and_then(|at| self.nodes.get(at));
        let worker = Worker::new(card, nodes.copied().unwrap_or(0));
        tracing::info!(number, "worker {} takes part", worker.in_words());
        seen.workers.push(worker);
        Welcome::Accepted { number, of: self.of }
    }

    /// Answers one whose name is known: where it is the very process that was let in, the answer was lost on its
    /// way, and is given again.
    fn welcome_again(&self, number: u64, worker: &Worker, card: &Card) -> Welcome {
        let (run, name) = (&self.run, &card.name);
        if !worker.card.is_of_same_process(card) {
            return Welcome::Refused(format!(
                "run {run} has a worker {name} already, on {} (process {})\n\
                 give each worker a name of its own with --name",
                worker.card.host.name, worker.card.pid
            ));
        }
        match &worker.lost {
            Some(why) => {
                Welcome::Refused(format!("run {run} goes on without worker {name}: {why}"))
            }
            None => Welcome::Accepted { number, of: self.of },
        }
    }
}

/// Takes in what workers show of themselves, and notes who is silent for too long.
///
/// One that is lost and heard again is told to go: what it does is counted no more, as others were judged without
/// it.
pub(super) async fn hear(
    (line, subjects): (Line, Subjects),
    board: Arc<Board>,
    mut pulses: Subscriber,
    mut left: Subscriber,
) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            Some(message) = pulses.next() => {
                let number = Subjects::worker(&message.subject);
                let pulse = serde_json::from_slice(&message.payload);
                if let (Some(number), Ok(pulse)) = (number, pulse)
                    && let Some(why) = board.pulse(number, pulse)
                {
                    let why = format!("the run goes on without this worker: {why}");
                    let leave = Numbered::unasked(Order::Leave(why));
                    line.say(&subjects.order(number), &leave).await;
                }
            }
            Some(message) = left.next() => {
                let why: Result<String, _> = serde_json::from_slice(&message.payload);
                if let (Some(number), Ok(why)) = (Subjects::worker(&message.subject), why) {
                    board.lose(number, &why);
                }
            }
            _ = ticks.tick() => board.tick(),
        }
    }
}

/// Makes the stream that keeps slices, unless it is there: one for all runs, so that a run whose conductor was killed
/// leaves none behind that the next one does not use, and remove in the end. What is lost with the connection is asked
/// for again over the next.
pub(super) async fn make_stream(line: &Line) -> Result<(), String> {
    let made = async {
        loop {
            let connections = line.connections();
            tokio::select! {
                made = try_to_make_stream(line) => return made,
                () = line.made_again(connections) => {}
            }
        }
    };
    let silent = || format!("nothing was heard within {MADE_WITHIN:?}");
    let made = timeout(MADE_WITHIN, made).await.unwrap_or_else(|_| Err(silent()));
    let url = line.url();
    made.map_err(|why| {
        format!(
            "control broker {url}: no stream can be made: {why}\n\
             start it with JetStream (nats-server -js), with an account that may use it",
        )
    })
}

async fn try_to_make_stream(line: &Line) -> Result<(), String> {
    let config = Config {
        name: Subjects::STREAM.to_owned(),
        description: Some("what workers of choria-emulator counted".to_owned()),
        subjects: vec![Subjects::ALL_SLICES.to_owned()],
        storage: StorageType::Memory,
        max_bytes: STREAM_BYTES,
        max_age: KEPT_FOR,
        ..Config::default()
    };
    let context = jetstream::new(line.client().clone());
    let made = match context.create_stream(config.clone()).await {
        // One that another build has left behind is brought up to what is needed.
        Err(error) if is_there(&error) => context.update_stream(config).await.map(drop),
        made => made.map(drop),
    };
    made.map_err(|error| error.to_string())
}

/// Whether there is a stream of this name, made in another way.
fn is_there(error: &CreateStreamError) -> bool {
    match error.kind() {
        CreateStreamErrorKind::JetStream(error) => {
            error.error_code() == ErrorCode::STREAM_NAME_EXIST
        }
        _ => false,
    }
}

/// Removes the stream, with all that is in it; where another run goes on, it only loses what this one put there.
pub(super) async fn remove_stream(line: &Line, subjects: &Subjects, another_goes_on: bool) {
    let context = jetstream::new(line.client().clone());
    let removed: Result<(), async_nats::Error> = async {
        if another_goes_on {
            let stream = context.get_stream_no_info(Subjects::STREAM).await?;
            stream.purge().filter(subjects.slices()).await?;
        } else {
            context.delete_stream(Subjects::STREAM).await?;
        }
        Ok(())
    }
    .await;
    if let Err(error) = removed {
        tracing::warn!("the stream of slices stays behind: {error}");
    }
}

/// Takes in the slices of all workers, in the order in which the stream has them. Where the connection was lost, so
/// may be the stream, if the control broker was started again: it is made once more and read from its beginning.
/// What was taken in before is known by its number.
pub(super) async fn collect(line: Line, subjects: Subjects, board: Arc<Board>) {
    loop {
        let connections = line.connections();
        let read = tokio::select! {
            read = follow(&line, &subjects, &board) => read,
            () = line.made_again(connections) => continue,
        };
        if let Err(error) = read {
            tracing::warn!("slices cannot be read now: {error}");
        }
        sleep(AGAIN_AFTER).await;
    }
}

async fn follow(line: &Line, subjects: &Subjects, board: &Board) -> Result<(), async_nats::Error> {
    make_stream(line).await?;
    let context = jetstream::new(line.client().clone());
    let stream = context.get_stream_no_info(Subjects::STREAM).await?;
    let config = OrderedConfig { filter_subject: subjects.slices(), ..OrderedConfig::default() };
    let consumer = stream.create_consumer(config).await?;
    let mut messages = consumer.messages().await?;
    while let Some(message) = messages.next().await {
        take_in(&message?, board);
    }
    Ok(())
}

fn take_in(message: &Message, board: &Board) {
    let Some(number) = Subjects::worker(&message.subject) else { return };
    let taken = match serde_json::from_slice(&message.payload) {
        Ok(slice) => board.slice(number, &slice),
        Err(error) => Err(format!("a slice of worker {number} cannot be read: {error}")),
    };
    if let Err(why) = taken {
        // Unless it comes again in its turn, the account at the end differs, and says so in the result.
        tracing::warn!("{why}");
    }
}
