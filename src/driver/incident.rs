//! What went wrong with the driver's own connections: a reason to doubt a result, not a result.
//!
//! A slow consumer here means that the tool itself lost replies, so that completeness says nothing
//! about the network; the conductor makes it a doubt that invalidates the run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Event, ServerError};
use serde::{Deserialize, Serialize};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::epoch::Epoch;

/// Incidents kept apart; further ones are only counted.
const KEPT_MAX: usize = 256;

/// What happened to a connection of the driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum IncidentKind {
    /// The connection was lost.
    Disconnected,
    /// The connection is back; subscriptions were made again.
    Reconnected,
    /// A reply was dropped because the driver did not read fast enough.
    SlowConsumer,
    /// The broker said that it is about to stop.
    LameDuck,
    /// The broker sent an error.
    ServerError(String),
    /// The client library gave up on something.
    ClientError(String),
}

/// Something that happened to a connection of the driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriverIncident {
    /// When it first happened, since the run's epoch.
    pub at: Duration,
    /// Name of the connection.
    pub connection: String,
    /// What happened.
    pub kind: IncidentKind,
    /// How many times in a row.
    pub count: u64,
}

/// All incidents of a driver, shared by its connections. Bounded: repetitions in a row are counted,
/// and beyond 256 different ones only their number grows.
#[derive(Debug, Clone, Default)]
pub(super) struct IncidentLog(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    incidents: Vec<DriverIncident>,
    dropped: u64,
}

impl IncidentLog {
    /// Makes the observer of one connection's events; it keeps `open` until the connection has ended.
    pub(super) fn observer(
        &self,
        epoch: Epoch,
        connection: String,
        open: TaskTrackerToken,
    ) -> Observer {
        let lost = AtomicBool::new(false);
        Observer { log: self.clone(), epoch, connection, lost, _open: open }
    }

    /// The incidents so far, and how many more there were than are kept.
    pub(super) fn snapshot(&self) -> (Vec<DriverIncident>, u64) {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.incidents.clone(), kept.dropped)
    }

    /// Returns whether it is no repetition of the connection's last.
    fn add(&self, at: Duration, connection: &str, kind: IncidentKind) -> bool {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = kept.incidents.len() >= KEPT_MAX;
        let last = kept.incidents.iter_mut().rev().find(|last| last.connection == connection);
        match last {
            Some(last) if last.kind == kind => {
                last.count += 1;
                return false;
            }
            _ if full => kept.dropped += 1,
            _ => {
                let connection = connection.to_owned();
                kept.incidents.push(DriverIncident { at, connection, kind, count: 1 });
            }
        }
        true
    }
}

/// Turns one connection's events into incidents.
#[derive(Debug)]
pub(super) struct Observer {
    log: IncidentLog,
    epoch: Epoch,
    connection: String,
    /// The connection was lost and is not back.
    lost: AtomicBool,
    /// The client library drops an observer behind the socket of its connection.
    _open: TaskTrackerToken,
}

impl Observer {
    /// Takes note of `event` if it is an incident.
    pub(super) fn note(&self, event: Event) {
        let kind = match event {
            Event::Disconnected => {
                self.lost.store(true, Ordering::Relaxed);
                IncidentKind::Disconnected
            }
            Event::Connected if self.lost.swap(false, Ordering::Relaxed) => {
                IncidentKind::Reconnected
            }
            Event::LameDuckMode => IncidentKind::LameDuck,
            Event::SlowConsumer(_) | Event::ServerError(ServerError::SlowConsumer(_)) => {
                IncidentKind::SlowConsumer
            }
            Event::ServerError(error) => IncidentKind::ServerError(error.to_string()),
            Event::ClientError(error) => IncidentKind::ClientError(error.to_string()),
            // The first connect, and the end that the driver itself brings about.
            Event::Connected | Event::Draining | Event::Closed => return,
        };
        // A broker that is away is tried again many times a second.
        if self.log.add(self.epoch.now(), &self.connection, kind.clone()) {
            tracing::warn!(connection = self.connection, incident = ?kind, "driver connection");
        } else {
            tracing::debug!(connection = self.connection, incident = ?kind, "driver connection");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use async_nats::{ClientError, Event, ServerError};

    use tokio_util::task::TaskTracker;

    use super::{Epoch, IncidentKind, IncidentLog, KEPT_MAX, Observer};

    fn observer(log: &IncidentLog) -> Observer {
        log.observer(Epoch::at(Instant::now()), "a".to_owned(), TaskTracker::new().token())
    }

    #[test]
    fn events_become_incidents_and_repetitions_are_counted() {
        let log = IncidentLog::default();
        let observer = observer(&log);
        for event in [
            Event::Connected,
            Event::SlowConsumer(3),
            Event::SlowConsumer(4),
            Event::Disconnected,
            Event::ClientError(ClientError::Other("refused".to_owned())),
            Event::Connected,
            Event::Connected,
            Event::ServerError(ServerError::Other("odd".to_owned())),
            Event::Closed,
        ] {
            observer.note(event);
        }
        let (incidents, dropped) = log.snapshot();
        let seen: Vec<_> = incidents.into_iter().map(|seen| (seen.kind, seen.count)).collect();
        assert_eq!(dropped, 0);
        assert_eq!(
            seen,
            [
                (IncidentKind::SlowConsumer, 2),
                (IncidentKind::Disconnected, 1),
                (IncidentKind::ClientError("nats: refused".to_owned()), 1),
                (IncidentKind::Reconnected, 1),
                (IncidentKind::ServerError("nats: odd".to_owned()), 1),
            ]
        );
    }

    #[test]
    fn a_flood_of_different_incidents_is_bounded_and_counted() {
        let log = IncidentLog::default();
        let observer = observer(&log);
        for number in 0..KEPT_MAX + 5 {
            observer.note(Event::ServerError(ServerError::Other(number.to_string())));
        }
        let (incidents, dropped) = log.snapshot();
        assert_eq!((incidents.len(), dropped), (KEPT_MAX, 5));
    }
}
