//! What servers show of their machines, as JSON (recorded: `req-machine-states`, `req-scout-checks`,
//! `req-get-data-machine-state`, `req-get-data-scout`, `lifecycle.jsonl`).

use super::definition::{Compiled, Watches};
use super::run::{Running, State, Topic, Watch};
use crate::agents::{json_list as list, json_text as quoted};
use crate::lifecycle::event::{Envelope, random_bits, uuid};
use crate::node::mix;

/// What a server shows as the time of a check that never ran: Go's zero time.
const NEVER_UNIX: i64 = -62_135_596_800;
/// Code and name of the status before the first check (go-choria `nagioswatcher`).
const NOT_CHECKED: (usize, &str) = (5, "NOTCHECKED");
/// How long a check takes that executes nothing, in seconds: as one of the recorded server.
const RUNTIME_S: &str = "0.000011318";
/// Apart from the ids of lifecycle events and registrations.
const EVENT_IDS: u64 = 2 << 32;
const INSTANCE_IDS: u64 = 3 << 32;

/// A machine of a node, as it is shown.
pub(crate) struct View<'a> {
    running: &'a Running,
    compiled: &'a Compiled,
    state: &'a State,
    at: usize,
}

pub(super) fn event_id(running: &Running, number: u32) -> String {
    uuid(random_bits(running.seed, running.index, EVENT_IDS | u64::from(number)))
}

pub(super) fn cloud_event(topic: Topic, id: &str, identity: &str, at: i64, data: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + 300);
    let (source, kind) = ("io.choria.machine", topic.protocol());
    Envelope { source, kind, id, subject: identity, time_unix: at }.open(&mut out);
    out.extend_from_slice(data.as_bytes());
    out.push(b'}');
    out
}

impl<'a> View<'a> {
    pub(super) fn of(running: &'a Running, at: usize) -> Option<Self> {
        let compiled = running.definitions.get(at)?;
        Some(Self { running, compiled, state: running.machines.get(at)?, at })
    }

    pub(crate) fn name(&self) -> &'a str {
        &self.compiled.machine.name
    }

    pub(crate) fn version(&self) -> &'a str {
        &self.compiled.machine.version
    }

    pub(crate) fn path(&self) -> &'a str {
        &self.compiled.path
    }

    pub(crate) fn state(&self) -> &'a str {
        self.compiled.state(self.state.state)
    }

    /// Whether it is a check of Choria Scout.
    pub(crate) fn is_check(&self) -> bool {
        self.compiled.check().is_some()
    }

    /// Id of the instance.
    pub(crate) fn id(&self) -> String {
        let running = self.running;
        uuid(random_bits(running.seed, running.index, INSTANCE_IDS | self.at as u64))
    }

    /// Whether it could make this transition now.
    pub(crate) fn can(&self, transition: &str) -> bool {
        self.compiled.available(self.state()).any(|available| available == transition)
    }

    /// Name, version and state, as inventories have them.
    pub(crate) fn brief(&self) -> String {
        let [name, version, state] = [self.name(), self.version(), self.state()].map(quoted);
        format!(r#"{{"name":{name},"version":{version},"state":{state}}}"#)
    }

    /// Everything (go-choria `aagent.MachineState`).
    pub(crate) fn full(&self, now_unix: i64) -> String {
        let mut available = self.compiled.available(self.state()).peekable();
        let available = match available.peek() {
            None => "null".to_owned(),
            Some(_) => list(available.map(Into::into)),
        };
        let [name, version, state, path] =
            [self.name(), self.version(), self.state(), self.path()].map(quoted);
        let current = self.check_state(now_unix);
        let current = current.map(|state| format!(r#","current_state":{state}"#));
        format!(
            concat!(
                r#"{{"name":{},"version":{},"state":{},"path":{},"id":"{}","start_time":{},"#,
                r#""available_transitions":{},"scout":{}{}}}"#
            ),
            name,
            version,
            state,
            path,
            self.id(),
            self.running.started_unix,
            available,
            self.is_check(),
            current.unwrap_or_default(),
        )
    }

    /// As `scout#checks` lists it; `None` if it is no check.
    pub(crate) fn as_check(&self, now_unix: i64) -> Option<String> {
        let status = self.check_state(now_unix)?;
        let [name, version, state] = [self.name(), self.version(), self.state()].map(quoted);
        Some(format!(
            r#"{{"name":{name},"state":{state},"version":{version},"start_time":{},"status":{status}}}"#,
            self.running.started_unix
        ))
    }

    /// As the data plugin `scout` shows it; `None` if it is no check.
    pub(crate) fn as_scout_data(&self, now_unix: i64) -> Option<String> {
        let (watcher, ..) = self.compiled.check()?;
        let Watch::Check(checked) = self.state.watchers.get(watcher)? else { return None };
        let history = list(checked.history.iter().map(|(_, status)| status.name().into()));
        let [name, version, state, path] =
            [self.name(), self.version(), self.state(), self.path()].map(quoted);
        let started = self.running.started_unix;
        Some(format!(
            concat!(
                r#"{{"history":{},"id":"{}","name":{},"path":{},"start_time":{},"state":{},"#,
                r#""uptime":{},"version":{}}}"#
            ),
            history,
            self.id(),
            name,
            path,
            started,
            state,
            now_unix.saturating_sub(started),
            version,
        ))
    }

    fn check_state(&self, now_unix: i64) -> Option<String> {
        let (watcher, ..) = self.compiled.check()?;
        self.notification(watcher, now_unix)
    }

    /// The members that all notifications of watchers begin with (go-choria `watchers/event`).
    fn beginning(&self, topic: Topic, kind: &str, watcher: &str, now_unix: i64) -> String {
        let [identity, version, machine, name] =
            [&*self.running.identity, self.version(), self.name(), watcher].map(quoted);
        format!(
            concat!(
                r#"{{"protocol":"{}","identity":{},"id":"{}","version":{},"timestamp":{},"#,
                r#""type":"{}","machine":{},"name":{}"#
            ),
            topic.protocol(),
            identity,
            self.id(),
            version,
            now_unix,
            kind,
            machine,
            name,
        )
    }

    /// The state of a check (go-choria `nagioswatcher.StateNotification`).
    pub(super) fn notification(&self, watcher: usize, now_unix: i64) -> Option<String> {
        let defined = self.compiled.machine.watchers.get(watcher)?;
        let Watches::Nagios(check) = &defined.watches else { return None };
        let Watch::Check(checked) = self.state.watchers.get(watcher)? else { return None };
        let (code, status) =
            checked.status.map_or(NOT_CHECKED, |status| (status as usize, status.name()));
        let output = checked.last_unix.map(|at| match &check.output {
            Some(output) => output.trim().to_owned(),
            None => at.to_string(),
        });
        let plugin = checked.last_unix.map_or("", |_| &check.plugin);
        // Its ticks keep their distance from whole seconds.
        let nanoseconds =
            i32::try_from(mix(mix(self.running.seed, self.running.index), 9) % 1_000_000_000);
        let history = checked.history.iter().map(|(at, status)| {
            let executed = jiff::Timestamp::new(*at, nanoseconds.unwrap_or(0)).unwrap_or_default();
            format!(r#"{{"execute":"{executed}","status":{}}}"#, *status as usize)
        });
        let annotations = serde_json::to_string(&check.annotations).unwrap_or_default();
        Some(format!(
            concat!(
                r#"{},"plugin":{},"status":"{}","status_code":{},"output":{},"check_time":{},"#,
                r#""perfdata":null,"runtime":{},"history":[{}],"annotations":{}}}"#
            ),
            self.beginning(Topic::Nagios, "nagios", &defined.name, now_unix),
            quoted(plugin),
            status,
            code,
            quoted(&output.unwrap_or_default()),
            checked.last_unix.unwrap_or(NEVER_UNIX),
            checked.last_unix.map_or("0", |_| RUNTIME_S),
            history.collect::<Vec<_>>().join(","),
            annotations,
        ))
    }

    /// The state of a timer (go-choria `timerwatcher.StateNotification`).
    pub(super) fn timer(&self, watcher: usize, state: &str, now_unix: i64) -> Option<String> {
        let defined = self.compiled.machine.watchers.get(watcher)?;
        let Watches::Timer { seconds, .. } = defined.watches else { return None };
        let nanoseconds = u64::from(seconds) * 1_000_000_000;
        Some(format!(
            r#"{},"state":"{state}","timer":{nanoseconds}}}"#,
            self.beginning(Topic::Timer, "timer", &defined.name, now_unix)
        ))
    }

    /// A change of state (go-choria `machine.TransitionNotification`).
    pub(super) fn transition(&self, transition: &str, from: &str, to: &str, at: i64) -> String {
        let texts = [&*self.running.identity, self.version(), self.name(), transition, from, to];
        let [identity, version, machine, transition, from, to] = texts.map(quoted);
        format!(
            concat!(
                r#"{{"protocol":"{}","identity":{},"id":"{}","version":{},"timestamp":{},"#,
                r#""machine":{},"transition":{},"from_state":{},"to_state":{}}}"#
            ),
            Topic::Transition.protocol(),
            identity,
            self.id(),
            version,
            at,
            machine,
            transition,
            from,
            to,
        )
    }
}
