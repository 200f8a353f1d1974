//! What a fleet counts, and how long the steps of its connections took.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::connection::server_error::ServerError;
use crate::lifecycle::Announcement;
use crate::lifecycle::event::Kind;
use crate::machines::Topic;

/// The steps of a connection, timed apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum ConnectStep {
    /// From the first SYN to the open socket.
    Tcp,
    /// From the open socket to the broker's `INFO`.
    Info,
    /// From `CONNECT` to its `PONG`.
    Connect,
    /// From the first `SUB` until all are confirmed.
    Subscribe,
    /// All of them together.
    Total,
}

impl ConnectStep {
    /// All steps in their order.
    pub const ALL: [Self; 5] = [Self::Tcp, Self::Info, Self::Connect, Self::Subscribe, Self::Total];

    /// Name as it stands in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Info => "info",
            Self::Connect => "connect",
            Self::Subscribe => "subscribe",
            Self::Total => "total",
        }
    }
}

/// Histograms of the connection steps in microseconds, two significant digits, up to ten minutes.
#[derive(Debug, Clone)]
pub struct StepTimes([Histogram<u64>; 5]);

impl Default for StepTimes {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "the bounds are constants and valid")]
        let empty = || Histogram::new_with_bounds(1, 600_000_000, 2).expect("constant bounds");
        Self(std::array::from_fn(|_| empty()))
    }
}

impl StepTimes {
    fn record(&mut self, step: ConnectStep, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.0[step as usize].saturating_record(us.max(1));
    }

    /// Takes over everything that `other` holds.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            #[expect(clippy::expect_used, reason = "both have the same constant bounds")]
            mine.add(theirs).expect("equal bounds");
        }
    }

    /// What was recorded since `before`, an earlier state of the same.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut since = self.clone();
        for (mine, theirs) in since.0.iter_mut().zip(&before.0) {
            #[expect(clippy::expect_used, reason = "both have the same constant bounds")]
            mine.subtract(theirs).expect("an earlier state");
        }
        since
    }

    /// True if nothing was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Histogram::is_empty)
    }

    /// Takes over what another process recorded of one step; `false` if its values do not fit.
    #[must_use]
    pub fn add(&mut self, step: ConnectStep, recorded: &Histogram<u64>) -> bool {
        self.0[step as usize].add(recorded).is_ok()
    }

    /// The histogram of one step, in microseconds.
    #[must_use]
    pub fn of(&self, step: ConnectStep) -> &Histogram<u64> {
        &self.0[step as usize]
    }
}

macro_rules! counts {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// The counters of one shard, written by its thread and read by anyone.
        #[derive(Debug, Default)]
        pub(crate) struct ShardCounts {
            $($(#[doc = $doc])+ pub(crate) $name: AtomicU64,)+
            pub(crate) server_errors: [AtomicU64; ServerError::COUNT],
            pub(crate) steps: Mutex<StepTimes>,
        }

        /// The counters of a fleet at one moment; shares add up with [`FleetCounts::merge`].
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct FleetCounts {
            $($(#[doc = $doc])+ pub $name: u64,)+
            /// `-ERR` of the broker, by kind in the order of [`ServerError::ALL`].
            pub server_errors: [u64; ServerError::COUNT],
        }

        impl FleetCounts {
            /// Takes over the counts of another share.
            pub fn merge(&mut self, other: &Self) {
                let Self { $($name,)+ server_errors } = other;
                // What a gauge lost since an earlier state is a very large number that comes round.
                $(self.$name = self.$name.wrapping_add(*$name);)+
                for (mine, theirs) in self.server_errors.iter_mut().zip(server_errors) {
                    *mine = mine.wrapping_add(*theirs);
                }
            }

            /// What there is to add to `before`, an earlier state, to have this one.
            #[must_use]
            pub fn since(&self, before: &Self) -> Self {
                let mut since = *self;
                $(since.$name = since.$name.wrapping_sub(before.$name);)+
                for (mine, theirs) in since.server_errors.iter_mut().zip(&before.server_errors) {
                    *mine = mine.wrapping_sub(*theirs);
                }
                since
            }

            /// All numbers in a fixed order, for [`FleetCounts::of_numbers`] of the same version.
            #[must_use]
            pub fn numbers(&self) -> Vec<u64> {
                let named = self.each().map(|(_, number)| number);
                named.chain(self.server_errors).collect()
            }

            /// The counts with these numbers; `None` if they are too few or too many.
            #[must_use]
            pub fn of_numbers(numbers: &[u64]) -> Option<Self> {
                let mut numbers = numbers.iter().copied();
                let mut counts = Self::default();
                $(counts.$name = numbers.next()?;)+
                for kind in &mut counts.server_errors {
                    *kind = numbers.next()?;
                }
                numbers.next().is_none().then_some(counts)
            }

            /// Nodes that left as their group's churn says and are not back.
            #[must_use]
            pub fn away(&self) -> u64 {
                self.left.saturating_sub(self.returned)
            }

            /// Nodes that are connected, or will not be for now: closed for good, or away as their group's churn
            /// says.
            #[must_use]
            pub fn settled(&self) -> u64 {
                self.connected + self.closed_for_good + self.away()
            }

            /// Every counter with its name, in the order of their definition.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)+].into_iter()
            }
        }

        impl ShardCounts {
            pub(crate) fn add_to(&self, sum: &mut FleetCounts) {
                $(sum.$name += self.$name.load(Ordering::Relaxed);)+
                for (mine, theirs) in sum.server_errors.iter_mut().zip(&self.server_errors) {
                    *mine += theirs.load(Ordering::Relaxed);
                }
            }
        }
    };
}

counts! {
    /// Nodes of the plan in this share.
    planned,
    /// Nodes connected now, all subscriptions confirmed.
    connected,
    /// Nodes that completed a connection at least once.
    ever_connected,
    /// Subscriptions confirmed on open connections now.
    subscriptions,
    /// TCP connections tried.
    dials,
    /// TCP connections that could not be opened.
    dial_failures,
    /// Of those: no port left for this source and destination.
    out_of_ports,
    /// Of those: no file left for this process.
    out_of_files,
    /// Connections that ended before all subscriptions were confirmed.
    handshake_failures,
    /// Complete connections that were lost.
    disconnects,
    /// Complete connections after the first one of a node.
    reconnects,
    /// Nodes whose library closed the connection for good.
    closed_for_good,
    /// Nodes stopped in order as their group's churn says, each time counted: no lost connections.
    left,
    /// Nodes that had left so and were complete again.
    returned,
    /// Connections dropped because the broker answered no `PING`.
    stale_connections,
    /// Connections dropped because what came was no NATS protocol.
    protocol_errors,
    /// Messages that arrived.
    messages_in,
    /// Bytes read from sockets.
    bytes_in,
    /// Replies written to sockets.
    replies,
    /// Bytes written to sockets.
    bytes_out,
    /// Startup events written to sockets.
    startup_events,
    /// Alive events written to sockets.
    alive_events,
    /// Shutdown events written to sockets.
    shutdown_events,
    /// Registrations written to sockets.
    registrations,
    /// Transitions of autonomous agents written to sockets.
    machine_transitions,
    /// States of their watchers written to sockets.
    watcher_states,
    /// Status files that could not be written.
    status_file_failures,
    /// Requests that could not be decoded or broke the schema.
    refused,
    /// Requests whose filter did not match.
    filtered,
    /// Requests outside their window of time.
    ttl_expired,
    /// Requests for a collective or an agent that the node does not have.
    not_ours,
    /// Requests that got no answer because the group's behaviour says so.
    silent,
    /// Requests answered with an error because the group's behaviour says so.
    error_replies,
    /// Replies and registrations that could not be published: no or an impossible subject, or larger than the broker takes.
    unpublishable,
    /// Requests dropped because the node had too many replies waiting to become due.
    overflowed,
    /// Messages that a node lost because its request queue was full ("slow consumer").
    slow_consumer,
    /// Replies and events that a node lost because too much waited for a new connection.
    lost_unconnected,
    /// Lame duck notices of brokers.
    lame_ducks,
    /// Servers that nodes learnt of from a broker's `INFO`, each node counted.
    servers_learnt,
}

impl ShardCounts {
    /// The counter of what nodes publish without being asked.
    pub(crate) fn announced(&self, announcement: Announcement) -> &AtomicU64 {
        match announcement {
            Announcement::Event(Kind::Startup) => &self.startup_events,
            Announcement::Event(Kind::Alive) => &self.alive_events,
            Announcement::Event(Kind::Shutdown) => &self.shutdown_events,
            Announcement::Registration => &self.registrations,
            Announcement::Machine(Topic::Transition) => &self.machine_transitions,
            Announcement::Machine(Topic::Nagios | Topic::Timer) => &self.watcher_states,
        }
    }

    pub(crate) fn timed(&self, step: ConnectStep, time: Duration) {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).record(step, time);
    }
}

/// Adds to a counter that only one thread writes.
pub(crate) fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

/// Takes from a gauge that only one thread writes.
pub(crate) fn sub(counter: &AtomicU64, by: u64) {
    counter.fetch_sub(by, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_nothing_is_the_identity() {
        let shard = ShardCounts::default();
        add(&shard.replies, 3);
        add(&shard.connected, 2);
        sub(&shard.connected, 1);
        add(&shard.server_errors[ServerError::Permissions as usize], 4);
        let mut one = FleetCounts::default();
        shard.add_to(&mut one);
        let mut sum = one;
        sum.merge(&FleetCounts::default());
        assert_eq!(sum, one);
        sum.merge(&one);
        assert_eq!((sum.replies, sum.connected), (6, 2));
        assert_eq!(sum.server_errors[ServerError::Permissions as usize], 8);
        assert!(sum.each().any(|named| named == ("replies", 6)));
    }

    #[test]
    fn an_earlier_state_and_what_came_since_are_the_later_one() {
        let mut earlier =
            FleetCounts { planned: 9, connected: 5, replies: 3, ..Default::default() };
        earlier.server_errors[0] = 1;
        let mut later = FleetCounts { planned: 9, connected: 2, replies: 70, ..Default::default() };
        later.server_errors[0] = 4;
        let since = later.since(&earlier);
        let sent = FleetCounts::of_numbers(&since.numbers()).unwrap();
        let mut sum = earlier;
        sum.merge(&sent);
        assert_eq!((since, sum), (sent, later));
        assert_eq!(FleetCounts::of_numbers(&[1, 2]), None);
        assert_eq!(FleetCounts::of_numbers(&[0; 1000]), None);
    }
}
