//! Who received a request and who answered it: bits per node, so that every missing reply has a cause.
//!
//! A ledger is opened for a request id before the request is sent and closed when the driver stopped
//! listening. Nodes set bits in it; nothing is looked up per node, and a ledger of 50,000 nodes is 40 KB.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use super::seats::Seats;

/// A fixed number of bits that many threads set.
#[derive(Debug, Default)]
pub struct Bits(Box<[AtomicU64]>);

impl Bits {
    /// All clear, for `count` nodes.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self((0..count.div_ceil(64)).map(|_| AtomicU64::new(0)).collect())
    }

    /// Sets a bit.
    pub fn set(&self, slot: usize) {
        if let Some(word) = self.0.get(slot / 64) {
            word.fetch_or(1 << (slot % 64), Ordering::Relaxed);
        }
    }

    /// Clears a bit.
    pub fn clear(&self, slot: usize) {
        if let Some(word) = self.0.get(slot / 64) {
            word.fetch_and(!(1 << (slot % 64)), Ordering::Relaxed);
        }
    }

    /// True if the bit is set; false beyond the end.
    #[must_use]
    pub fn get(&self, slot: usize) -> bool {
        let word = self.0.get(slot / 64).map_or(0, |word| word.load(Ordering::Relaxed));
        word & (1 << (slot % 64)) != 0
    }

    /// How many bits are set.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.load(Ordering::Relaxed).count_ones())).sum()
    }

    /// The same bits at this moment.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        let copy = |word: &AtomicU64| AtomicU64::new(word.load(Ordering::Relaxed));
        Self(self.0.iter().map(copy).collect())
    }
}

/// Which nodes are connected and which ever were. Connected means: all subscriptions confirmed.
#[derive(Debug)]
pub(crate) struct Presence {
    pub(crate) connected: Bits,
    pub(crate) ever: Bits,
    /// Nodes that left as their group's churn says; no bits at all where no group has any.
    pub(crate) away: Bits,
    /// The servers that nodes were complete on last.
    seats: Seats,
}

impl Presence {
    fn new(count: usize, with_churn: bool) -> Self {
        Self {
            connected: Bits::new(count),
            ever: Bits::new(count),
            away: Bits::new(if with_churn { count } else { 0 }),
            seats: Seats::new(count),
        }
    }
}

/// What became of one request at one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// The node had never completed a connection.
    NeverConnected,
    /// It was not connected when the ledger was opened, or lost its connection before it answered.
    Disconnected,
    /// The same, because it had left as its group's churn says.
    Left,
    /// Connected throughout, yet the request never arrived.
    NotDelivered,
    /// The request arrived and the node kept silent, as its behaviour says.
    Silent,
    /// The request arrived and gets no reply: the filter did not match, the window of time was over, the
    /// reply could not be published, too many replies were waiting already, ...
    Refused,
    /// The request arrived and found the node's request queue full ("slow consumer").
    QueueFull,
    /// The request arrived; its reply was not due or not written yet.
    Pending,
    /// The reply was written to the socket.
    Answered,
}

/// The book of one request.
#[derive(Debug)]
pub struct Ledger {
    connected_at_open: Bits,
    left: Bits,
    seats: Seats,
    pub(crate) arrived: Bits,
    pub(crate) answered: Bits,
    pub(crate) silent: Bits,
    pub(crate) refused: Bits,
    pub(crate) queue_full: Bits,
    dropped: Bits,
}

impl Ledger {
    fn new(count: usize, presence: &Presence) -> Self {
        Self {
            connected_at_open: presence.connected.snapshot(),
            left: presence.away.snapshot(),
            seats: presence.seats.snapshot(),
            arrived: Bits::new(count),
            answered: Bits::new(count),
            silent: Bits::new(count),
            refused: Bits::new(count),
            queue_full: Bits::new(count),
            dropped: Bits::new(count),
        }
    }

    /// How many nodes the request reached.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.arrived.count()
    }

    /// How many nodes wrote their reply to the socket.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered.count()
    }

    /// The number of the server that a node was on when the book was opened, or was complete on last
    /// before, if that was not its home.
    pub(crate) fn seat(&self, slot: usize) -> Option<u16> {
        self.seats.of(slot)
    }

    fn fate(&self, slot: usize, presence: &Presence) -> Fate {
        if self.answered.get(slot) {
            Fate::Answered
        } else if self.silent.get(slot) {
            Fate::Silent
        } else if self.refused.get(slot) {
            Fate::Refused
        } else if self.queue_full.get(slot) {
            Fate::QueueFull
        } else if !presence.ever.get(slot) {
            Fate::NeverConnected
        } else if self.left.get(slot) && (self.dropped.get(slot) || !self.arrived.get(slot)) {
            Fate::Left
        } else if self.dropped.get(slot) || !self.connected_at_open.get(slot) {
            // A node that connected after the ledger was opened may still have received the request.
            if self.arrived.get(slot) && !self.dropped.get(slot) {
                Fate::Pending
            } else {
                Fate::Disconnected
            }
        } else if self.arrived.get(slot) {
            Fate::Pending
        } else {
            Fate::NotDelivered
        }
    }
}

/// A handle that opens books of a fleet from any task.
#[derive(Debug, Clone)]
pub struct Books(pub(crate) Arc<Ledgers>);

impl Books {
    /// Opens the book of a request: before it is sent.
    pub fn open(&self, request_id: &str) {
        let _ = self.0.open(request_id);
    }
}

/// The open ledgers of a fleet, by request id.
#[derive(Debug)]
pub(crate) struct Ledgers {
    count: usize,
    pub(crate) presence: Presence,
    open: RwLock<HashMap<String, Arc<Ledger>>>,
}

impl Ledgers {
    /// For `count` nodes; `with_churn`: whether any of them leave on purpose.
    pub(crate) fn new(count: usize, with_churn: bool) -> Self {
        let presence = Presence::new(count, with_churn);
        Self { count, presence, open: RwLock::new(HashMap::new()) }
    }

    pub(crate) fn open(&self, request_id: &str) -> Arc<Ledger> {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Arc::new(Ledger::new(self.count, &self.presence));
        Arc::clone(open.entry(request_id.to_owned()).or_insert_with(fresh))
    }

    pub(crate) fn close(&self, request_id: &str) -> Option<Arc<Ledger>> {
        self.open.write().unwrap_or_else(PoisonError::into_inner).remove(request_id)
    }

    pub(crate) fn find(&self, request_id: &str) -> Option<Arc<Ledger>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).get(request_id).cloned()
    }

    pub(crate) fn fate(&self, ledger: &Ledger, slot: usize) -> Fate {
        ledger.fate(slot, &self.presence)
    }

    /// The node is complete, on the server with this number, or at home.
    pub(crate) fn connected(&self, slot: usize, away: Option<u16>) {
        self.presence.seats.take(slot, away);
        self.presence.connected.set(slot);
        self.presence.ever.set(slot);
        self.presence.away.clear(slot);
    }

    /// The node is about to leave on purpose.
    pub(crate) fn leaves(&self, slot: usize) {
        self.presence.away.set(slot);
        for ledger in self.open.read().unwrap_or_else(PoisonError::into_inner).values() {
            ledger.left.set(slot);
        }
    }

    /// The node lost its connection: it may miss every request that is on its way.
    pub(crate) fn disconnected(&self, slot: usize) {
        self.presence.connected.clear(slot);
        for ledger in self.open.read().unwrap_or_else(PoisonError::into_inner).values() {
            ledger.dropped.set(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_course_of_events_has_its_fate() {
        let ledgers = Ledgers::new(130, true);
        for slot in [1, 2, 3, 4, 5, 6, 10, 11, 12, 13, 14, 129] {
            ledgers.connected(slot, None);
        }
        ledgers.disconnected(2);
        for away in [10, 11, 14] {
            ledgers.leaves(away);
            ledgers.disconnected(away);
        }
        let ledger = ledgers.open("r");
        for slot in [4, 5, 6, 7, 8, 9, 129] {
            ledger.arrived.set(slot);
        }
        ledger.answered.set(4);
        ledger.silent.set(5);
        ledger.refused.set(6);
        ledger.queue_full.set(9);
        ledgers.connected(7, None);
        ledgers.connected(8, None);
        ledger.answered.set(8);
        ledgers.disconnected(3);
        ledgers.disconnected(129);
        ledgers.connected(3, None);
        // Away and back: one gets the request, one does not; two leave while it is on its way.
        for back in [11, 14] {
            ledgers.connected(back, None);
        }
        for slot in [11, 12] {
            ledger.arrived.set(slot);
        }
        for slot in [12, 13] {
            ledgers.leaves(slot);
        }
        ledgers.disconnected(12);
        let check = |slot, fate| assert_eq!(ledgers.fate(&ledger, slot), fate, "slot {slot}");
        check(0, Fate::NeverConnected);
        check(1, Fate::NotDelivered);
        check(2, Fate::Disconnected);
        check(3, Fate::Disconnected);
        check(4, Fate::Answered);
        check(5, Fate::Silent);
        check(6, Fate::Refused);
        check(7, Fate::Pending);
        check(8, Fate::Answered);
        check(9, Fate::QueueFull);
        check(10, Fate::Left);
        check(11, Fate::Pending);
        for slot in [12, 13, 14] {
            check(slot, Fate::Left);
        }
        check(129, Fate::Disconnected);
        assert_eq!((ledger.arrived(), ledger.answered()), (9, 2));
    }

    #[test]
    fn a_book_keeps_where_nodes_were_when_it_was_opened() {
        let ledgers = Ledgers::new(3, false);
        ledgers.connected(2, None);
        let home = ledgers.open("home");
        ledgers.connected(0, Some(1));
        ledgers.connected(1, Some(1));
        ledgers.disconnected(1);
        let ledger = ledgers.open("r");
        ledgers.connected(0, Some(2));
        ledgers.connected(1, None);
        let seats = |ledger: &Ledger| [0, 1, 2, 3].map(|slot| ledger.seat(slot));
        assert_eq!(seats(&home), [None; 4]);
        assert_eq!(seats(&ledger), [Some(1), Some(1), None, None]);
        assert_eq!(seats(&ledgers.open("later")), [Some(2), None, None, None]);
    }

    #[test]
    fn one_request_id_has_one_ledger_until_it_is_closed() {
        let ledgers = Ledgers::new(1, false);
        let first = ledgers.open("r");
        assert!(Arc::ptr_eq(&first, &ledgers.open("r")));
        assert!(ledgers.find("other").is_none());
        assert!(ledgers.close("r").is_some() && ledgers.find("r").is_none());
    }

    #[test]
    fn bits_beyond_the_end_are_never_set() {
        let bits = Bits::new(64);
        bits.set(64);
        bits.clear(1000);
        assert_eq!((bits.count(), bits.get(64)), (0, false));
    }
}
