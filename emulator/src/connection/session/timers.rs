//! What becomes due on a connection by itself: its pings and deadlines, replies that were put off, what
//! is announced, and the instant from which a node hangs.

use std::pin::Pin;
use std::task::Context;

use tokio::time::{Instant, Sleep};

use super::{End, PING_INTERVAL, Phase, Session};
use crate::connection::wire::{OUT_SIZE, Scratch};
use crate::fleet::counts::add;

/// Pings that may be unanswered before the connection counts as stale (protocol document 1.2).
const MAX_PINGS_OUT: u8 = 2;

impl Session<'_> {
    /// When there is something to do without anything being read.
    fn next_timer(&self) -> Instant {
        let ping = match self.phase {
            Phase::Info | Phase::Connect | Phase::Leaving => None,
            Phase::Subscribe | Phase::Ready => Some(self.next_ping),
        };
        // While the socket takes nothing, what becomes due waits where it is.
        let publishes = self.phase == Phase::Ready && !self.wire.is_blocked();
        let due = publishes.then(|| self.node.next_due()).flatten();
        let announcement = publishes.then(|| self.next_announcement()).flatten();
        let next = [self.deadline, ping, due, announcement, self.hangs_from()];
        let next = next.into_iter().flatten().min();
        next.unwrap_or(self.next_ping)
    }

    /// Does what is due; true if another turn is needed.
    pub(super) fn timers(
        &mut self,
        cx: &mut Context<'_>,
        timer: &mut Pin<&mut Sleep>,
        scratch: &mut Scratch,
    ) -> Result<bool, End> {
        let next = self.next_timer();
        if self.armed != Some(next) {
            timer.as_mut().reset(next);
            self.armed = Some(next);
        }
        // Under a flood of messages the runtime looks at its timers late: the clock has the last word.
        let now = Instant::now();
        if timer.as_mut().poll(cx).is_pending() && next > now {
            return Ok(false);
        }
        self.armed = None;
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            return Err(End::TimedOut);
        }
        if self.next_ping <= now && self.phase != Phase::Leaving {
            self.ping(now, scratch)?;
        }
        if self.phase == Phase::Ready && !self.wire.is_blocked() {
            self.announce_due(now, scratch);
        }
        while self.phase == Phase::Ready
            && !self.wire.is_blocked()
            && scratch.out.len() < OUT_SIZE
            && let Some((opened, kind)) = self.node.take_due(now)
        {
            self.reply(scratch, &opened, kind, self.context.clock.unix_s());
        }
        Ok(true)
    }

    fn ping(&mut self, now: Instant, scratch: &mut Scratch) -> Result<(), End> {
        if self.pings_out >= MAX_PINGS_OUT {
            add(&self.context.counts.stale_connections, 1);
            return Err(End::Stale);
        }
        self.pings_out += 1;
        // From now, not from when it was due: after a standstill the broker has its time to answer.
        self.next_ping = now + PING_INTERVAL;
        self.write_ping(&mut scratch.out);
        Ok(())
    }

    /// When the node stops reading, if it is to.
    fn hangs_from(&self) -> Option<Instant> {
        let stuck = self.context.spec.behaviour.stuck?;
        // In this phase no step has begun since all subscriptions were confirmed.
        (self.phase == Phase::Ready).then(|| self.step_began.checked_add(stuck.after)).flatten()
    }

    pub(super) fn hangs(&self, now: impl Fn() -> Instant) -> bool {
        self.hangs_from().is_some_and(|from| from <= now())
    }
}
