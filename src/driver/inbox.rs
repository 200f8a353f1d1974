//! The replies of one wave as they leave its subscriptions, each with its instant of arrival.
//!
//! What is ready is taken out in one go and stamped before anything is decoded, so that the work on
//! one reply does not delay the stamp of the next.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures_util::Stream;

use super::epoch::Epoch;

/// Messages taken out in one go; the rest waits in the subscription, which is far larger.
const BATCH_MAX: usize = 256;

/// A message and when it left the subscription, since the epoch.
pub(super) struct Arrival {
    pub(super) message: Message,
    pub(super) at: Duration,
}

/// The subscriptions of one wave: one per receiver connection.
pub(super) struct Inbox {
    subscribers: Vec<Subscriber>,
    epoch: Epoch,
    /// Messages taken out since the subscriptions were last seen empty.
    run: u64,
    /// The longest such run.
    pub(super) backlog_max: u64,
}

impl Inbox {
    pub(super) fn new(subscribers: Vec<Subscriber>, epoch: Epoch) -> Self {
        Self { subscribers, epoch, run: 0, backlog_max: 0 }
    }

    /// Fills `batch` with what is ready, at most 256 messages, waiting for the first.
    /// Returns false when every subscription has ended.
    pub(super) async fn fill(&mut self, batch: &mut Vec<Arrival>) -> bool {
        std::future::poll_fn(|context| self.poll_fill(context, batch)).await
    }

    fn poll_fill(&mut self, context: &mut Context<'_>, batch: &mut Vec<Arrival>) -> Poll<bool> {
        let mut open = false;
        let mut drained = true;
        for subscriber in &mut self.subscribers {
            loop {
                if batch.len() >= BATCH_MAX {
                    drained = false;
                    break;
                }
                match Pin::new(&mut *subscriber).poll_next(context) {
                    Poll::Ready(Some(message)) => {
                        batch.push(Arrival { message, at: self.epoch.now() });
                    }
                    Poll::Ready(None) => break,
                    Poll::Pending => {
                        open = true;
                        // Without budget a subscription says so although messages wait.
                        drained &= tokio::task::coop::has_budget_remaining();
                        break;
                    }
                }
            }
        }
        self.run += batch.len() as u64;
        self.backlog_max = self.backlog_max.max(self.run);
        if drained {
            self.run = 0;
        }
        if !batch.is_empty() {
            return Poll::Ready(true);
        }
        if open { Poll::Pending } else { Poll::Ready(false) }
    }
}
