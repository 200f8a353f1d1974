//! What a connection does about a request: at once, later, or not at all.

use std::sync::Arc;

use tokio::time::Instant;

use super::Session;
use crate::connection::wire::{Scratch, Written};
use crate::node::{AnswerKind, Opened};

impl Session<'_> {
    /// A request, whichever subscription it came on: a server dispatches on what is inside
    /// (protocol document 2.2).
    pub(super) fn message(&mut self, scratch: &mut Scratch, payload: &[u8]) {
        let opened = scratch.desk.open(payload);
        let ledger = self.context.ledger(&opened);
        let queue = self.context.spec.behaviour.queue;
        let Some(wait) = self.node.handler.take(queue, Instant::now()) else {
            return self.context.slow_consumer(self.node, ledger);
        };
        let now = self.context.clock.unix_s();
        let judged = self.context.judge(self.node, self.url, &opened, ledger, now);
        let Some((kind, delay)) = judged else { return };
        let delay = wait + delay;
        if delay.is_zero() {
            self.reply(scratch, &opened, kind, now);
        } else if !self.node.put_off(Instant::now() + delay, Arc::clone(&opened), kind) {
            self.context.overflowed(self.node, ledger);
        }
    }

    pub(super) fn reply(
        &mut self,
        scratch: &mut Scratch,
        opened: &Arc<Opened>,
        kind: AnswerKind,
        now: i64,
    ) {
        self.reply_as(scratch, opened, kind, now, self.url);
    }

    /// Writes a reply made at `now`, connected to `broker`.
    pub(super) fn reply_as(
        &mut self,
        scratch: &mut Scratch,
        opened: &Arc<Opened>,
        kind: AnswerKind,
        now: i64,
        broker: &str,
    ) {
        scratch.body.clear();
        let answer = (kind, now, self.max_payload);
        let body = &mut scratch.body;
        let ledger = self.context.ledger(opened);
        let subject = match self.context.compose(self.node, broker, opened, answer, body) {
            Ok(subject) => subject,
            Err(silence) => return self.context.kept_silent(self.node, silence, ledger),
        };
        scratch.write_publication(subject);
        if self.context.spec.fidelity.flush_each_reply {
            self.write_ping(&mut scratch.out);
        }
        scratch.written.push(Written::Reply(ledger.cloned()));
    }
}
