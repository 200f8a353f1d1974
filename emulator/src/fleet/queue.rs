//! The request queue of a node, without a queue: how long its one handler is busy says how many
//! messages are waiting, and so whether one more finds a place.
//!
//! What is absent on purpose: the messages. A node judges a message when it comes and puts its reply off
//! until a real server's handler would have got to it, so that waiting costs an instant a node.

use std::time::Duration;

use tokio::time::Instant;

use crate::spec::Queue;

/// Waits below this are left out: timers are no finer.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// The one handler of a node.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Handler {
    busy_until: Option<Instant>,
}

impl Handler {
    /// Takes in a message that comes at `now`: how long until it has been handled. `None`: the queue
    /// is full, the message is lost.
    pub(crate) fn take(&mut self, queue: Queue, now: Instant) -> Option<Duration> {
        if queue.handling.is_zero() {
            return Some(Duration::ZERO);
        }
        let begins = self.busy_until.map_or(now, |busy_until| busy_until.max(now));
        let inside = (begins - now).as_nanos().div_ceil(queue.handling.as_nanos());
        if inside >= u128::from(queue.places()) {
            return None;
        }
        let ends = begins.checked_add(queue.handling)?;
        self.busy_until = Some(ends);
        let wait = ends - now;
        Some(if wait < SHORTEST_WAIT { Duration::ZERO } else { wait })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn queue(size: u32, handling: Duration) -> Queue {
        Queue { size, handling }
    }

    /// How many of `count` messages, one every `every`, are taken in.
    fn taken(queue: Queue, count: u32, every: Duration) -> usize {
        let (mut handler, start) = (Handler::default(), Instant::now());
        (0..count).filter(|n| handler.take(queue, start + every * *n).is_some()).count()
    }

    #[test]
    fn a_burst_fills_the_places_and_the_rest_is_lost() {
        for (size, places) in [(1, 4), (10, 22), (100, 202)] {
            assert_eq!(taken(queue(size, MS), 500, Duration::ZERO), places, "size {size}");
        }
    }

    #[test]
    fn what_is_handled_meanwhile_makes_room() {
        // Twice as fast as they are handled: half of those behind the first 22 are taken.
        assert_eq!(taken(queue(10, 2 * MS), 522, MS), 22 + 250 + 10);
        assert_eq!(taken(queue(10, MS), 10_000, MS), 10_000);
        assert_eq!(taken(Queue::AT_ONCE, 10_000, Duration::ZERO), 10_000);
    }

    #[test]
    fn each_waits_for_those_before_it() {
        let (mut handler, now) = (Handler::default(), Instant::now());
        let waits: Vec<_> = (0..4).map(|_| handler.take(queue(1, 5 * MS), now)).collect();
        assert_eq!(waits, [5, 10, 15, 20].map(|ms| Some(ms * MS)));
        assert_eq!(handler.take(queue(1, 5 * MS), now), None);
        let later = now + 12 * MS;
        assert_eq!(handler.take(queue(1, 5 * MS), later), Some(13 * MS));
        let idle = now + 1000 * MS;
        assert_eq!(handler.take(queue(1, 5 * MS), idle), Some(5 * MS));
    }

    #[test]
    fn a_wait_that_no_timer_can_tell_is_none() {
        let (mut handler, now) = (Handler::default(), Instant::now());
        let waits = (0..12).map(|_| handler.take(Queue::REAL, now).unwrap());
        let waits: Vec<_> = waits.map(|wait| wait.as_micros()).collect();
        assert_eq!(waits[..9], [0; 9]);
        assert_eq!(waits[9..], [1000, 1100, 1200]);
    }
}
