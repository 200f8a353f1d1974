//! A listener beside the driver: it counts what nodes publish without being asked, on a connection of
//! its own, so that the loss of events is a figure.
//!
//! It counts messages of the fleet's own nodes only: on a network that is there already, others
//! publish too. It judges nothing, and what it receives is not kept.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_nats::{Message, Subscriber};
use futures_util::StreamExt;
use serde::Deserialize;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use super::client::{CLOSE_WITHIN, ClientError, close_all, reach};
use super::epoch::Epoch;
use super::incident::{IncidentKind, IncidentLog};
use super::options::{ConnectionOptions, redacted};
use super::roster::Roster;

/// All lifecycle events (protocol document 6.1).
const EVENTS: &str = "choria.lifecycle.event.>";
/// All events of autonomous agents (protocol document 6.4).
const MACHINES: &str = "choria.machine.>";
/// Those that tell of a transition.
const TRANSITION: &str = "choria.machine.transition";
/// Name of the connection.
const NAME: &str = "choria-emulator-listener";
/// Pause between two attempts to reach itself.
const REACH_RETRY: Duration = Duration::from_millis(100);
/// What did not come within this of the last message is not waited for any longer.
const QUIET: Duration = Duration::from_secs(2);
/// Between two looks at what came.
const LOOK: Duration = Duration::from_millis(5);

/// How many messages of each kind, published or heard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heard {
    /// Startup events.
    pub startup: u64,
    /// Alive events.
    pub alive: u64,
    /// Shutdown events.
    pub shutdown: u64,
    /// Registrations.
    pub registration: u64,
    /// Transitions of autonomous agents.
    pub machine_transition: u64,
    /// States of their watchers.
    pub watcher_state: u64,
}

impl Heard {
    /// Whether there are at least as many of each kind as in `other`.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let Self { startup, alive, shutdown, registration, machine_transition, watcher_state } =
            other;
        self.startup >= *startup
            && self.alive >= *alive
            && self.shutdown >= *shutdown
            && self.registration >= *registration
            && self.machine_transition >= *machine_transition
            && self.watcher_state >= *watcher_state
    }
}

#[derive(Debug, Default)]
struct Counts {
    startup: AtomicU64,
    alive: AtomicU64,
    shutdown: AtomicU64,
    registration: AtomicU64,
    machine_transition: AtomicU64,
    watcher_state: AtomicU64,
}

/// What a subscription brings.
#[derive(Debug, Clone, Copy)]
enum Topic {
    Events,
    Machines,
    Registrations,
}

/// A connection that counts.
pub struct Listener {
    connection: async_nats::Client,
    /// Has a token until the connection has ended.
    open: TaskTracker,
    counts: Arc<Counts>,
    incidents: IncidentLog,
    tasks: JoinSet<()>,
}

impl Listener {
    /// Connects and subscribes to all lifecycle events and to these subjects of registrations. When it
    /// returns, the broker knows of the subscriptions.
    ///
    /// # Errors
    ///
    /// When an option does not hold, the connection is refused, or it cannot reach itself.
    pub async fn connect(
        options: &ConnectionOptions,
        registrations: &[String],
        roster: &Arc<Roster>,
        epoch: Epoch,
        settle_within: Duration,
    ) -> Result<Self, ClientError> {
        let incidents = IncidentLog::default();
        let open = TaskTracker::new();
        let observer = incidents.observer(epoch, NAME.to_owned(), open.token());
        let built = options.build(NAME, roster.len(), observer).await?;
        let connected = built.connect(&options.addresses()?[..]).await;
        let connection = connected.map_err(|source| ClientError::Connect {
            name: NAME.to_owned(),
            servers: options.servers.iter().map(|url| redacted(url)).collect::<Vec<_>>().join(", "),
            source,
        })?;
        let deaf = || ClientError::Deaf { name: NAME.to_owned(), waited: settle_within };
        let (counts, mut tasks) = (Arc::new(Counts::default()), JoinSet::new());
        let registrations =
            registrations.iter().map(|subject| (subject.as_str(), Topic::Registrations));
        let topics = [(EVENTS, Topic::Events), (MACHINES, Topic::Machines)];
        for (subject, topic) in topics.into_iter().chain(registrations) {
            let subscriber = connection.subscribe(subject.to_owned()).await.map_err(|_| deaf())?;
            tasks.spawn(count(subscriber, topic, Arc::clone(&counts), Arc::clone(roster)));
        }
        let reached = reach(&connection, &connection, REACH_RETRY);
        match tokio::time::timeout(settle_within, reached).await {
            Ok(Some(())) => Ok(Self { connection, open, counts, incidents, tasks }),
            _ => Err(deaf()),
        }
    }

    /// What it heard so far.
    #[must_use]
    pub fn heard(&self) -> Heard {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Heard {
            startup: count(&self.counts.startup),
            alive: count(&self.counts.alive),
            shutdown: count(&self.counts.shutdown),
            registration: count(&self.counts.registration),
            machine_transition: count(&self.counts.machine_transition),
            watcher_state: count(&self.counts.watcher_state),
        }
    }

    /// Whether it read too slowly, so that what it did not hear may have been there.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        let (incidents, _) = self.incidents.snapshot();
        incidents.iter().any(|incident| incident.kind == IncidentKind::SlowConsumer)
    }

    /// Waits until everything that was published has been heard, or nothing more comes.
    pub async fn catch_up(&self, published: &Heard) -> Heard {
        let (mut last, mut moved) = (self.heard(), Instant::now());
        while !last.covers(published) && moved.elapsed() < QUIET {
            tokio::time::sleep(LOOK).await;
            let heard = self.heard();
            if heard != last {
                (last, moved) = (heard, Instant::now());
            }
        }
        last
    }

    /// Closes the connection, waits for its end, a second at the most, and for its tasks.
    pub async fn close(mut self) {
        if !close_all(std::iter::once(&self.connection), &self.open, CLOSE_WITHIN).await {
            tracing::warn!("the listener's connection did not end by itself");
        }
        self.tasks.shutdown().await;
    }
}

async fn count(mut subscriber: Subscriber, topic: Topic, counts: Arc<Counts>, roster: Arc<Roster>) {
    while let Some(message) = subscriber.next().await {
        let counter = match topic {
            Topic::Events => kind(&message, &roster).and_then(|kind| match kind {
                "startup" => Some(&counts.startup),
                "alive" => Some(&counts.alive),
                "shutdown" => Some(&counts.shutdown),
                _ => None,
            }),
            Topic::Machines if !is_of_node(&message, &roster) => None,
            Topic::Machines if message.subject.as_str() == TRANSITION => {
                Some(&counts.machine_transition)
            }
            Topic::Machines => Some(&counts.watcher_state),
            Topic::Registrations => registers(&message, &roster).then_some(&counts.registration),
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The kind of a node's lifecycle event: the fourth token of its subject.
fn kind<'m>(message: &'m Message, roster: &Roster) -> Option<&'m str> {
    is_of_node(message, roster).then(|| message.subject.split('.').nth(3))?
}

/// Whether a node is the sender of this event.
fn is_of_node(message: &Message, roster: &Roster) -> bool {
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(borrow)]
        data: Data<'a>,
    }
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        identity: Cow<'a, str>,
    }
    let event: Result<Event<'_>, _> = serde_json::from_slice(&message.payload);
    event.is_ok_and(|event| roster.find(&event.data.identity).is_some())
}

/// Whether a node is the sender of this transport.
fn registers(message: &Message, roster: &Roster) -> bool {
    #[derive(Deserialize)]
    struct Transport<'a> {
        #[serde(borrow)]
        headers: Headers<'a>,
    }
    #[derive(Deserialize)]
    struct Headers<'a> {
        #[serde(borrow)]
        mc_sender: Cow<'a, str>,
    }
    let transport: Result<Transport<'_>, _> = serde_json::from_slice(&message.payload);
    transport.is_ok_and(|transport| roster.find(&transport.headers.mc_sender).is_some())
}
