//! Which server each node was complete on last, where that is not its home: two bytes a node, and none as long as
//! all are at home.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use serde::{Deserialize, Serialize};

/// No server has this number: a directory knows fewer.
const AT_HOME: u16 = u16::MAX;

/// A server that a node was on, which is not its home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refuge {
    /// One of its group's, by position.
    Configured(u16),
    /// One that brokers told of: `HOST:PORT`.
    Told(String),
}

/// A server's number for each node.
#[derive(Debug, Default)]
pub(crate) struct Seats {
    count: usize,
    /// Made when the first node is somewhere else than at home.
    numbers: OnceLock<Box<[AtomicU16]>>,
}

impl Seats {
    /// For `count` nodes that are nowhere yet, which counts as at home.
    pub(crate) fn new(count: usize) -> Self {
        Self { count, numbers: OnceLock::new() }
    }

    /// The node is complete on this server, or at home.
    pub(crate) fn take(&self, slot: usize, server: Option<u16>) {
        let all_at_home = || (0..self.count).map(|_| AtomicU16::new(AT_HOME)).collect();
        let numbers = match server {
            Some(_) => Some(self.numbers.get_or_init(all_at_home)),
            None => self.numbers.get(),
        };
        if let Some(seat) = numbers.and_then(|numbers| numbers.get(slot)) {
            seat.store(server.unwrap_or(AT_HOME), Ordering::Relaxed);
        }
    }

    /// The server of a node that is not at home.
    pub(crate) fn of(&self, slot: usize) -> Option<u16> {
        let server = self.numbers.get()?.get(slot)?.load(Ordering::Relaxed);
        (server != AT_HOME).then_some(server)
    }

    /// The same seats at this moment.
    pub(crate) fn snapshot(&self) -> Self {
        let copy = |seat: &AtomicU16| AtomicU16::new(seat.load(Ordering::Relaxed));
        let numbers = match self.numbers.get() {
            Some(numbers) => OnceLock::from(numbers.iter().map(copy).collect::<Box<[_]>>()),
            None => OnceLock::new(),
        };
        Self { count: self.count, numbers }
    }
}
