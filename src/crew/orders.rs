//! Orders to workers: given again until they are answered, carried out once.
//!
//! The way to a worker and back may be lost with what is on it, when a control broker is started again. So an order has an
//! id and is given in several tries, and a worker that has carried it out answers a further copy with what it said before. It
//! may forget what nobody waits for any more: each order tells from which id on somebody does.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use super::board::Board;
use crate::control::messages::{Answer, Numbered, Order};
use crate::control::{AskError, Line, LineError, Subjects};

/// Time for an answer before the order is given once more: far longer than a way and back, and short beside the time in
/// which workers and conductors miss each other.
const TRY_WITHIN: Duration = Duration::from_secs(1);
/// Between two attempts at a worker that does not listen yet.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// Time to open a book: the driver waits no longer before it sends.
const OPEN_WITHIN: Duration = Duration::from_millis(400);

/// What gives orders from any task.
#[derive(Debug)]
pub(super) struct Orders {
    line: Line,
    subjects: Subjects,
    board: Arc<Board>,
    register: Mutex<Register>,
}

/// Which orders were given.
#[derive(Debug, Default)]
struct Register {
    /// The id of the last one.
    last: u64,
    /// Those whose answers somebody waits for.
    awaited: BTreeSet<u64>,
}

/// An order whose answer somebody waits for, as long as this is held.
struct Awaited<'a> {
    register: &'a Mutex<Register>,
    id: u64,
    /// The first id that somebody waited for when it was given.
    first: u64,
}

impl<'a> Awaited<'a> {
    fn begin(register: &'a Mutex<Register>) -> Self {
        let mut held = lock(register);
        held.last += 1;
        let id = held.last;
        held.awaited.insert(id);
        let first = held.awaited.first().copied().unwrap_or(id);
        drop(held);
        Self { register, id, first }
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        lock(self.register).awaited.remove(&self.id);
    }
}

fn lock(register: &Mutex<Register>) -> MutexGuard<'_, Register> {
    register.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Orders {
    pub(super) fn new(line: Line, subjects: Subjects, board: Arc<Board>) -> Self {
        Self { line, subjects, board, register: Mutex::default() }
    }

    /// Numbers of the workers that are not lost.
    pub(super) fn present(&self) -> Vec<u64> {
        let all = 0..self.board.seen().workers.len() as u64;
        all.filter(|number| !self.board.has_gone(*number)).collect()
    }

    /// Gives one worker an order, again and again until it is answered, or `patience` is over.
    pub(super) async fn give(
        &self,
        number: u64,
        order: &Order,
        patience: Duration,
    ) -> Result<Answer, AskError> {
        let answer = tokio::select! {
            answered = self.insist(number, order, patience) => answered,
            () = self.lost(number) => Err(AskError::Nobody),
        };
        // Whoever has told what it counted in all may be gone, while others take their time to end.
        if matches!((order, &answer), (Order::Stop, Ok(Answer::Report(_)))) {
            self.board.release(number);
        }
        answer
    }

    /// Tells a worker to leave whose account is here. One that does not hear it goes, or is made to, when the run is
    /// over.
    pub(super) async fn send_away(&self, number: u64) {
        let leave = Order::Leave("its account has arrived".to_owned());
        self.line.say(&self.subjects.order(number), &Numbered::unasked(leave)).await;
    }

    async fn insist(
        &self,
        number: u64,
        order: &Order,
        patience: Duration,
    ) -> Result<Answer, AskError> {
        let until = Instant::now() + patience;
        let subject = self.subjects.order(number);
        let awaited = Awaited::begin(&self.register);
        let numbered = Numbered { id: awaited.id, awaited: awaited.first, order };
        // An answer to any copy is the answer: whoever was held up may have missed the first.
        let (mut tries, mut again) = (FuturesUnordered::new(), Instant::now());
        let mut unanswered = AskError::Silent(patience);
        loop {
            tokio::select! {
                biased;
                Some(answered) = tries.next() => match answered {
                    // One that was welcomed a moment ago does not listen yet.
                    Err(AskError::Nobody) => {
                        unanswered = AskError::Nobody;
                        again = again.min(Instant::now() + AGAIN_AFTER);
                    }
                    Err(AskError::Silent(_)) => unanswered = AskError::Silent(patience),
                    answered => return answered,
                },
                () = sleep_until(again), if again < until => {
                    let left = until.saturating_duration_since(Instant::now());
                    tries.push(self.line.ask(&subject, &numbered, left));
                    again = Instant::now() + TRY_WITHIN;
                }
                () = sleep_until(until) => return Err(unanswered),
            }
        }
    }

    /// Ends when a worker is lost.
    async fn lost(&self, number: u64) {
        loop {
            let changed = self.board.changed.notified();
            if self.board.has_lost(number) {
                return;
            }
            changed.await;
        }
    }

    /// Gives all workers that are there the same order at once.
    pub(super) async fn give_all(
        &self,
        order: &Order,
        patience: Duration,
    ) -> Vec<(u64, Result<Answer, AskError>)> {
        let each = self
            .present()
            .into_iter()
            .map(async |number| (number, self.give(number, order, patience).await));
        join_all(each).await
    }

    /// Opens the book of a request at all of them.
    pub(super) async fn open(&self, request_id: &str) {
        let order = Order::Open { request_id: request_id.to_owned() };
        for (number, answer) in self.give_all(&order, OPEN_WITHIN).await {
            if let Err(error) = answer {
                tracing::warn!(number, request_id, "a worker has no book of a request: {error}");
            }
        }
    }

    pub(super) fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Listens at one of the run's subjects.
    pub(super) async fn listen(
        &self,
        subject: impl Fn(&Subjects) -> String,
    ) -> Result<Subscriber, LineError> {
        self.line.listen(&subject(&self.subjects)).await
    }

    /// Answers a message that asked for it.
    pub(super) async fn answer(&self, asked: &Message, answer: &impl Serialize) {
        self.line.answer(asked, answer).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_tells_the_first_one_that_is_still_waited_for() {
        let register = Mutex::default();
        let first = Awaited::begin(&register);
        let second = Awaited::begin(&register);
        assert_eq!(((first.id, first.first), (second.id, second.first)), ((1, 1), (2, 1)));
        drop(first);
        let third = Awaited::begin(&register);
        assert_eq!((third.id, third.first), (3, 2));
        drop((second, third));
        assert_eq!(Awaited::begin(&register).first, 4);
    }
}
