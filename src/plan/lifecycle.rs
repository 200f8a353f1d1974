//! What nodes say without being asked: its part of the plan, from scenario to fleet.

use std::time::Duration;

use emulator::lifecycle::registration as registering;
use emulator::spec::{self, Lifecycle};
use serde::{Deserialize, Serialize};

use super::{Group, Plan, micros};
use crate::scenario::{self, Span};

/// The kinds of messages that nodes publish without being asked, as results name them.
pub(crate) const EVENT_KINDS: [&str; 6] =
    ["startup", "alive", "shutdown", "registration", MACHINE_TRANSITION, WATCHER_STATE];

/// A transition of an autonomous agent.
pub(crate) const MACHINE_TRANSITION: &str = "machine_transition";
/// The state of a watcher of one.
pub(crate) const WATCHER_STATE: &str = "watcher_state";

/// The real server's `registerinterval` (protocol document 7.1).
const REGISTER_INTERVAL: Duration = Duration::from_secs(300);
/// The real server's `plugin.choria.status_update_interval` (protocol document 10.1).
const STATUS_EVERY: Duration = Duration::from_secs(30);
/// Nodes of a group that write a status file, where the scenario does not say how many.
pub(crate) const STATUS_NODES: u64 = 10;

/// Which lifecycle events a group's nodes publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// When all subscriptions were made for the first time.
    pub startup: bool,
    /// Now and then.
    pub alive: bool,
    /// Before an orderly end.
    pub shutdown: bool,
    /// From one alive event to the next.
    #[serde(rename = "alive_every_us", with = "micros")]
    pub alive_every: Duration,
    /// What autonomous agents do.
    #[serde(default = "real", skip_serializing_if = "is_real")]
    pub machines: bool,
}

/// A server says it.
fn real() -> bool {
    true
}

fn is_real(machines: &bool) -> bool {
    *machines
}

/// How a group's nodes register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// What is published.
    pub content: RegistrationContent,
    /// From one publication to the next.
    #[serde(rename = "interval_us", with = "micros")]
    pub interval: Duration,
    /// Whether a random part of the interval passes before the first.
    pub splay: bool,
    /// Whether the content is compressed.
    pub compression: bool,
    /// The subject; `None`: that of agent `registration` in the main collective.
    pub target: Option<String>,
}

/// What a registration publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistrationContent {
    /// The file of the facts.
    FileContent,
    /// Agents, classes, facts, counters and collectives.
    InventoryContent,
}

/// Where a group's nodes write their status files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusFiles {
    /// The folder.
    pub folder: String,
    /// From one writing to the next.
    #[serde(rename = "every_us", with = "micros")]
    pub every: Duration,
    /// How many nodes of the group write one.
    pub nodes: u64,
}

pub(super) fn events(given: Option<&scenario::Events>) -> Events {
    let given = given.cloned().unwrap_or_default();
    let on = |given: Option<bool>| given.unwrap_or(true);
    Events {
        startup: on(given.startup),
        alive: on(given.alive),
        shutdown: on(given.shutdown),
        alive_every: given.alive_every.map_or(spec::Events::ALIVE_EVERY, |every| every.0),
        machines: on(given.machines),
    }
}

pub(super) fn registration(given: &scenario::Registration) -> Registration {
    Registration {
        content: match given.content {
            scenario::RegistrationContent::FileContent => RegistrationContent::FileContent,
            scenario::RegistrationContent::InventoryContent => {
                RegistrationContent::InventoryContent
            }
        },
        interval: given.interval.map_or(REGISTER_INTERVAL, |interval| interval.0),
        splay: given.splay.unwrap_or(true),
        compression: given.compression.unwrap_or(true),
        target: given.target.clone(),
    }
}

pub(super) fn status_files(given: &scenario::StatusFiles) -> StatusFiles {
    StatusFiles {
        folder: given.folder.clone(),
        every: given.every.map_or(STATUS_EVERY, |every| every.0),
        nodes: given.nodes.map_or(STATUS_NODES, |nodes| nodes.0),
    }
}

impl Group {
    /// The same as the fleet takes it.
    pub(super) fn lifecycle_spec(&self) -> Lifecycle {
        let Events { startup, alive, shutdown, alive_every, machines } = self.events;
        Lifecycle {
            events: spec::Events { startup, alive, shutdown, alive_every, machines },
            registration: self.registration.as_ref().map(Registration::spec),
            status_files: self.status_files.as_ref().map(|files| spec::StatusFiles {
                folder: files.folder.clone().into(),
                every: files.every,
                nodes: files.nodes,
            }),
        }
    }

    /// Where the group's events depart from those of a real server, in words.
    pub(super) fn event_departures(&self) -> Vec<String> {
        let Events { startup, alive, shutdown, alive_every, machines } = self.events;
        let mute = !machines && !self.machines.is_empty();
        let often = alive && alive_every != spec::Events::ALIVE_EVERY;
        [
            (!startup).then(|| "no startup event, where a server publishes one".to_owned()),
            (!alive).then(|| "no alive events, where a server publishes them".to_owned()),
            (!shutdown).then(|| "no shutdown event, as if the server were killed".to_owned()),
            mute.then(|| "no events of machines, where a server publishes them".to_owned()),
            often.then(|| format!("alive events every {}, not 30m", Span(alive_every))),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn publishes(&self, kind: &str) -> bool {
        match kind {
            "startup" => self.events.startup,
            "alive" => self.events.alive,
            "shutdown" => self.events.shutdown,
            MACHINE_TRANSITION | WATCHER_STATE => self.events.machines && !self.machines.is_empty(),
            _ => self.registration.is_some(),
        }
    }
}

impl Registration {
    fn spec(&self) -> spec::Registration {
        let Self { content, interval, splay, compression, target } = self.clone();
        let content = match content {
            RegistrationContent::FileContent => spec::RegistrationContent::File,
            RegistrationContent::InventoryContent => spec::RegistrationContent::Inventory,
        };
        spec::Registration { content, interval, splay, compression, target }
    }
}

impl Plan {
    /// The kinds of messages that any node publishes without being asked.
    #[must_use]
    pub fn event_kinds(&self) -> Vec<&'static str> {
        let any = |kind: &&str| self.groups.iter().any(|group| group.publishes(kind));
        EVENT_KINDS.into_iter().filter(any).collect()
    }

    /// The subjects that nodes register on, each once.
    #[must_use]
    pub fn registration_subjects(&self) -> Vec<String> {
        let subject = |group: &Group| {
            let main = group.collectives.first().map_or("", String::as_str);
            Some(registering::subject(&group.registration.as_ref()?.spec(), main))
        };
        let mut subjects: Vec<_> = self.groups.iter().filter_map(subject).collect();
        subjects.sort();
        subjects.dedup();
        subjects
    }
}
