//! The replies of one wave as they leave its subscriptions, each with its instant of arrival.
//!
//! Everything that is ready is taken out and stamped before the next few replies are decoded, so that
//! the work on one reply does not delay the stamp of another.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures_util::Stream;
use tokio::task::coop::unconstrained;

use super::epoch::Epoch;

/// Messages taken out in one go.
const DRAIN_MAX: usize = 4_096;
/// Messages of a wave that wait to be decoded; beyond that they stay in the subscription, unstamped.
pub const BACKLOG_MAX: usize = 65_536;

/// A message and when it left the subscription, since the epoch.
pub(super) struct Arrival {
    pub(super) message: Message,
    pub(super) at: Duration,
}

/// The subscriptions of one wave: one per receiver connection.
pub(super) struct Inbox {
    subscribers: Vec<Subscriber>,
    epoch: Epoch,
    /// The most messages that waited to be decoded.
    pub(super) backlog_max: usize,
}

impl Inbox {
    pub(super) fn new(subscribers: Vec<Subscriber>, epoch: Epoch) -> Self {
        Self { subscribers, epoch, backlog_max: 0 }
    }

    /// Appends to `waiting` what is ready and returns; waits only if nothing is waiting at all.
    /// Returns false when nothing is waiting and every subscription has ended.
    pub(super) async fn fill(&mut self, waiting: &mut VecDeque<Arrival>) -> bool {
        // Whoever decodes yields between; the task's budget would only delay stamps here.
        unconstrained(std::future::poll_fn(|context| self.poll_fill(context, waiting))).await
    }

    fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        waiting: &mut VecDeque<Arrival>,
    ) -> Poll<bool> {
        let room = BACKLOG_MAX.saturating_sub(waiting.len());
        let full = waiting.len() + room.min(DRAIN_MAX);
        let mut open = false;
        for subscriber in &mut self.subscribers {
            while waiting.len() < full {
                match Pin::new(&mut *subscriber).poll_next(context) {
                    Poll::Ready(Some(message)) => {
                        waiting.push_back(Arrival { message, at: self.epoch.now() });
                    }
                    Poll::Ready(None) => break,
                    Poll::Pending => {
                        open = true;
                        break;
                    }
                }
            }
        }
        self.backlog_max = self.backlog_max.max(waiting.len());
        match (waiting.is_empty(), open) {
            (false, _) => Poll::Ready(true),
            (true, true) => Poll::Pending,
            (true, false) => Poll::Ready(false),
        }
    }
}
