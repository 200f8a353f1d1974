//! A crew of worker processes, here or on other machines: orders go out, answers and figures come in.
//!
//! Who is there, and what was counted, is on the [`Board`]; three tasks keep it (`listening`). Orders go to
//! all workers at once and are given (`orders`) for a bounded time; one that does not answer is not waited for again,
//! since whether it is lost is judged by its pulses alone.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use emulator::fleet::counts::StepTimes;
use futures_util::future::join_all;
use reports::store::WorkerRow;
use tokio::time::{Instant, timeout_at};

use super::board::Board;
use super::muster::Mustered;
use super::orders::Orders;
use super::{Cost, Dismissed, Presence, Reason, STOP_WITHIN};
use crate::control::messages::{Answer, Order, Outcome};
use crate::control::{AskError, IndexRuns};

/// Time for an answer that is at hand.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Time for the last slices to arrive after the worker said how many there are.
const SLICES_WITHIN: Duration = Duration::from_secs(10);
/// Nodes that are asked about in one message: what is answered stays far below the smallest `max_payload`.
const NODES_A_QUESTION: usize = 20_000;

/// All nodes in worker processes.
pub(super) struct Remote {
    mustered: Mustered,
    /// Global indexes are below this.
    end: u64,
}

impl Remote {
    /// Workers that have their shares; global indexes of nodes are below `end`.
    pub(super) fn new(mustered: Mustered, end: u64) -> Self {
        Self { mustered, end }
    }

    pub(super) fn board(&self) -> &Arc<Board> {
        self.mustered.orders.board()
    }

    pub(super) fn orders(&self) -> &Arc<Orders> {
        &self.mustered.orders
    }

    pub(super) fn workers(&self) -> u64 {
        self.mustered.count()
    }

    /// Waits until every node is connected or will not be, or something broke or is lost.
    pub(super) async fn connected(&self) {
        loop {
            let changed = self.board().changed.notified();
            if self.board().settled() >= self.end
                || !self.board().failures().is_empty()
                || self.mustered.losses().beyond().is_some()
            {
                return;
            }
            changed.await;
        }
    }

    /// Asks all workers what they counted, so that what is known is what is now.
    pub(super) async fn look(&self) -> StepTimes {
        let mut steps = StepTimes::default();
        for (number, answer) in self.orders().give_all(&Order::Look, ANSWER_WITHIN).await {
            match answer {
                Ok(Answer::Report(report)) => {
                    self.board().report(number, &report);
                    if let Some(times) = report.steps.times() {
                        steps.merge(&times);
                    }
                }
                other => self.unheard(number, "did not tell what it had counted", &other),
            }
        }
        steps
    }

    /// A worker has no answer to what was asked of it: unless it is lost, figures lack its share.
    fn unheard(&self, number: u64, what: &str, answer: &Result<Answer, AskError>) {
        tracing::warn!(number, "a worker {what}: {answer:?}");
        if !self.board().has_lost(number) {
            self.board().lack(number, what);
        }
    }

    pub(super) async fn presence(&self) -> Presence {
        let mut connected = vec![false; usize::try_from(self.end).unwrap_or(0)];
        for (number, answer) in self.orders().give_all(&Order::Presence, ANSWER_WITHIN).await {
            let Ok(Answer::Connected(indexes)) = answer else {
                self.unheard(number, "did not tell which of its nodes were connected", &answer);
                continue;
            };
            for index in indexes.below(self.end) {
                if let Some(bit) = usize::try_from(index).ok().and_then(|at| connected.get_mut(at))
                {
                    *bit = true;
                }
            }
        }
        Presence(connected)
    }

    /// Closes the book of a request everywhere and tells why the driver has no reply of each of these nodes.
    pub(super) async fn close(&self, request_id: &str, missing: &[u64]) -> Vec<Reason> {
        let of = self.workers();
        let each = (0..of).map(async |number| {
            let mine: Vec<u64> =
                missing.iter().copied().filter(|index| index % of == number).collect();
            self.fates(request_id, number, &mine).await
        });
        let mut fates: Vec<VecDeque<Reason>> = join_all(each).await;
        let mut next = |index: u64| {
            let of_worker = usize::try_from(index % of).ok().and_then(|at| fates.get_mut(at));
            of_worker.and_then(VecDeque::pop_front)
        };
        let unknown = || Reason::of(None, None);
        missing.iter().map(|index| next(*index).unwrap_or_else(unknown)).collect()
    }

    async fn fates(&self, request_id: &str, number: u64, nodes: &[u64]) -> VecDeque<Reason> {
        let mut reasons = VecDeque::with_capacity(nodes.len());
        let questions = nodes.len().div_ceil(NODES_A_QUESTION).max(1);
        for question in 0..questions {
            let from = question * NODES_A_QUESTION;
            let part = &nodes[from..nodes.len().min(from + NODES_A_QUESTION)];
            let order = Order::Close {
                request_id: request_id.to_owned(),
                nodes: IndexRuns::of(self.workers(), part.iter().copied()),
                last: question + 1 == questions,
            };
            if let Some(lost) = self.lost_worker(number) {
                let reason = Reason::lost(lost);
                reasons.extend(part.iter().map(|_| reason.clone()));
                continue;
            }
            match self.orders().give(number, &order, ANSWER_WITHIN).await {
                Ok(Answer::Fates(outcomes)) => {
                    let outcomes: Vec<Outcome> = outcomes.expand(part.len()).collect();
                    reasons.extend(
                        outcomes.into_iter().map(|(fate, refuge)| Reason::of(fate, refuge)),
                    );
                    // What a broken answer lacks.
                    reasons.resize(from + part.len(), Reason::of(None, None));
                }
                other => {
                    self.unheard(number, "did not tell what became of a request", &other);
                    let reason = match self.lost_worker(number) {
                        Some(lost) => Reason::lost(lost),
                        None => Reason {
                            detail: Some("its worker did not tell".to_owned()),
                            ..Reason::of(None, None)
                        },
                    };
                    reasons.extend(part.iter().map(|_| reason.clone()));
                }
            }
        }
        reasons
    }

    /// Why a worker is lost, if it is.
    fn lost_worker(&self, number: u64) -> Option<String> {
        let mut seen = self.board().seen();
        let worker = seen.worker(number)?;
        let why = worker.lost.as_ref()?;
        Some(format!("worker {}: {why}", worker.card.name))
    }

    pub(super) fn cost(&self) -> Cost {
        let spent = self.board().spent();
        Cost {
            rss_bytes: spent.rss_bytes,
            cpu: spent.cpu(),
            wave_cpu: Duration::from_micros(spent.wave_cpu_us),
        }
    }

    pub(super) fn take_rows(&self) -> Vec<WorkerRow> {
        self.board().take_rows()
    }

    /// Ends all nodes in order, holds what was counted against what was sent, and dismisses the workers.
    pub(super) async fn stop(self) -> Dismissed {
        let mut differences = self.board().take_lacking();
        self.board().let_go();
        let stop = self.orders().present().into_iter().map(async |number| {
            let answer = self.orders().give(number, &Order::Stop, STOP_WITHIN).await;
            if let Ok(Answer::Report(report)) = &answer {
                self.board().report(number, report);
                self.await_slices(number, report.slices).await;
                self.orders().send_away(number).await;
            }
            (number, answer)
        });
        for (number, answer) in join_all(stop).await {
            match answer {
                Ok(Answer::Report(report)) => {
                    differences.extend(self.board().compare(number, &report));
                }
                other => {
                    tracing::warn!(number, "a worker did not end in order: {other:?}");
                    self.board().lose(number, "it did not end in order");
                }
            }
        }
        let dismissed = Dismissed {
            counts: self.board().counts(),
            lost: self.mustered.losses().beyond(),
            differences,
            rows: self.take_rows(),
            workers: self.board().results(),
        };
        self.mustered.dismiss().await;
        dismissed
    }

    /// Waits for all the slices that a worker says it has sent, for a while.
    async fn await_slices(&self, number: u64, slices: u64) {
        let deadline = Instant::now() + SLICES_WITHIN;
        let arrived = || {
            let mut seen = self.board().seen();
            seen.worker(number).is_none_or(|worker| worker.slices >= slices)
        };
        loop {
            let changed = self.board().changed.notified();
            if arrived()
                || self.board().has_lost(number)
                || timeout_at(deadline, changed).await.is_err()
            {
                return;
            }
        }
    }
}
