//! Takes in what a connection's socket has: whatever it gives into the thread's buffer, every complete operation
//! in place, and the rest of an incomplete one kept.

use std::task::{Context, Poll};

use super::{End, Session};
use crate::connection::codec::{self, Step};
use crate::connection::wire::{OUT_SIZE, Scratch};

/// Reads of one connection before other nodes have their turn.
const READS_PER_TURN: usize = 8;

impl Session<'_> {
    /// Reads and answers until the socket is empty or takes no more.
    pub(super) fn receive(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), End> {
        for _ in 0..READS_PER_TURN {
            if !self.rest.is_empty() && self.rest.len() >= self.rest_need {
                // What was held back while the socket took nothing comes first.
                self.digest_rest(cx, scratch)?;
            } else {
                let read = self.wire.read(cx, &mut scratch.read, &self.context.counts);
                let Poll::Ready(size) = read else { return Ok(()) };
                self.digest(cx, scratch, size.map_err(End::Lost)?)?;
            }
            if !self.flush(cx, scratch)? {
                return Ok(());
            }
        }
        // The socket may hold more: come back after the others.
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Handles every operation in the first `size` bytes that were just read.
    fn digest(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        size: usize,
    ) -> Result<(), End> {
        let read = std::mem::take(&mut scratch.read);
        let outcome = if self.rest.is_empty() {
            self.operations(cx, scratch, &read[..size]).map(|used| {
                self.rest.extend_from_slice(&read[used..size]);
            })
        } else {
            self.rest.extend_from_slice(&read[..size]);
            Ok(())
        };
        scratch.read = read;
        outcome?;
        if self.rest.len() >= self.rest_need && !self.wire.is_blocked() {
            return self.digest_rest(cx, scratch);
        }
        Ok(())
    }

    fn digest_rest(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<(), End> {
        let rest = std::mem::take(&mut self.rest);
        let used = self.operations(cx, scratch, &rest)?;
        self.rest.extend_from_slice(&rest[used..]);
        Ok(())
    }

    /// Handles the complete operations at the front of `bytes`, unless the socket takes no more answers,
    /// and says how many bytes they were.
    fn operations(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        bytes: &[u8],
    ) -> Result<usize, End> {
        let mut used = 0;
        self.rest_need = 0;
        while used < bytes.len() {
            if scratch.out.len() >= OUT_SIZE && !self.flush(cx, scratch)? {
                break;
            }
            match codec::next(&bytes[used..]).map_err(End::Protocol)? {
                Step::Op(op, length) => {
                    self.operation(scratch, op)?;
                    used += length;
                }
                Step::Incomplete(need) => {
                    self.rest_need = need;
                    break;
                }
            }
        }
        Ok(used)
    }
}
