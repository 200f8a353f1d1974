//! What a node publishes while it has no connection: the library keeps it in a small buffer and
//! writes it behind the subscriptions of the next connection (nats.go, `flushReconnectPendingItems`).
//!
//! There is no buffer here. What fell due is worked out when the next connection is there, in the order
//! and with the seconds in which it fell due, and as far as the library's buffer would have held it.

use tokio::time::Instant;

use super::Session;
use crate::connection::wire::Scratch;
use crate::fleet::counts::add;
use crate::fleet::node::NO_BROKER;
use crate::lifecycle::event::Kind;

/// Bytes from which on the library refuses to keep more (go-choria, `choria/connection.go`:
/// `nats.ReconnectBufSize(10 * 1024)`); what was let in before may end beyond it.
const BUFFER: usize = 10 * 1024;

impl Session<'_> {
    /// Writes what fell due while the node was not connected, and counts what is lost.
    pub(super) fn write_pending(&mut self, scratch: &mut Scratch) {
        let (now, now_unix) = (Instant::now(), self.context.clock.unix_s());
        let begin = scratch.out.len();
        loop {
            let due = |at: &Instant| *at <= now;
            let reply = self.node.next_due().filter(due);
            let alive = self.node.agenda.next_alive().filter(due);
            let room = scratch.out.len() - begin < BUFFER;
            match (reply, alive) {
                (None, None) => return,
                (Some(at), alive) if alive.is_none_or(|alive| at <= alive) => {
                    let Some((opened, kind)) = self.node.take_due(now) else { return };
                    if room {
                        let at_unix = now_unix - seconds(now - at);
                        self.reply_as(scratch, &opened, kind, at_unix, NO_BROKER);
                    } else {
                        // As in the real server, made and counted, whatever became of it.
                        let replies = &mut self.node.counters.replies;
                        *replies = replies.wrapping_add(1);
                        add(&self.context.counts.lost_unconnected, 1);
                    }
                }
                _ if room => {
                    self.node.agenda.take_alive(&self.context.spec.lifecycle, now);
                    self.publish_event(Kind::Alive, self.node.ready_unix, scratch);
                }
                _ => {
                    let lost = self.node.agenda.skip_alive(&self.context.spec.lifecycle, now);
                    add(&self.context.counts.lost_unconnected, lost);
                }
            }
        }
    }
}

fn seconds(time: std::time::Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}
