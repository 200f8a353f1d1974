//! Which server each node was complete on last: two bytes a node, and none where all know a single one.

use std::sync::atomic::{AtomicU16, Ordering};

/// No server has this number: a directory knows fewer.
const NOWHERE: u16 = u16::MAX;

/// A server's number for each node.
#[derive(Debug, Default)]
pub(crate) struct Seats(Box<[AtomicU16]>);

impl Seats {
    /// For `count` nodes that are nowhere yet.
    pub(crate) fn new(count: usize) -> Self {
        Self((0..count).map(|_| AtomicU16::new(NOWHERE)).collect())
    }

    pub(crate) fn take(&self, slot: usize, server: u16) {
        if let Some(seat) = self.0.get(slot) {
            seat.store(server, Ordering::Relaxed);
        }
    }

    /// The server of a node; `None` if it was on none, or nobody keeps count.
    pub(crate) fn of(&self, slot: usize) -> Option<u16> {
        let server = self.0.get(slot)?.load(Ordering::Relaxed);
        (server != NOWHERE).then_some(server)
    }

    /// The same seats at this moment.
    pub(crate) fn snapshot(&self) -> Self {
        let copy = |seat: &AtomicU16| AtomicU16::new(seat.load(Ordering::Relaxed));
        Self(self.0.iter().map(copy).collect())
    }
}
