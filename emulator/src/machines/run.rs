//! The machines of one node while it runs. Driven by the second that the node's clock shows: whoever
//! looks at them or waits for them lets them catch up first ([`Machines::advance`]).

use std::collections::VecDeque;
use std::sync::Arc;

use super::definition::{Check, Compiled, Status, Watcher, Watches};
use super::show::{self, View};
use crate::node::{Group, mix};

/// Results of a check that a server remembers (go-choria `nagioswatcher`).
const HISTORY: usize = 15;
/// Checks and timers that are made up for at once; later ones are put off. Real timers miss none, but
/// a node may be without a connection for long, and a clock may jump.
const STEPS_MAX: usize = 64;
/// Transitions that may follow from one, as of a machine whose checks force checks.
const DEPTH_MAX: u8 = 8;
/// Events that wait to be published; what comes on top is lost and counted. A real server keeps ten KiB
/// of them without a connection, which is about as many.
const EVENTS_MAX: usize = 12;

/// The machines of a node; without any they take no memory.
#[derive(Debug, Default)]
pub struct Machines(pub(super) Option<Box<Running>>);

/// A node whose machines start.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// Its group.
    pub group: &'a Group,
    /// Seed of the fleet.
    pub seed: u64,
    /// Its global index.
    pub index: u64,
    /// Its identity.
    pub identity: &'a str,
    /// How often it was started before.
    pub stays: u16,
    /// Now.
    pub now_unix: i64,
    /// Whether it publishes what its machines do.
    pub publishes: bool,
}

/// What a machine says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Of which kind.
    pub topic: Topic,
    /// A CloudEvent.
    pub payload: Vec<u8>,
}

/// Kinds of events of machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// A machine changed its state.
    Transition,
    /// A check ran.
    Nagios,
    /// A timer was started or ended.
    Timer,
}

impl Topic {
    /// The subject that it is published on.
    #[must_use]
    pub fn subject(self) -> &'static str {
        match self {
            Self::Transition => "choria.machine.transition",
            Self::Nagios => "choria.machine.watcher.nagios.state",
            Self::Timer => "choria.machine.watcher.timer.state",
        }
    }

    /// Type of the CloudEvent, and protocol of its data.
    #[must_use]
    pub fn protocol(self) -> &'static str {
        match self {
            Self::Transition => "io.choria.machine.v1.transition",
            Self::Nagios => "io.choria.machine.watcher.nagios.v1.state",
            Self::Timer => "io.choria.machine.watcher.timer.v1.state",
        }
    }
}

#[derive(Debug)]
pub(super) struct Running {
    pub(super) identity: Box<str>,
    pub(super) started_unix: i64,
    /// What its ids are made of.
    pub(super) seed: u64,
    pub(super) index: u64,
    pub(super) definitions: Arc<[Compiled]>,
    pub(super) machines: Box<[State]>,
    publishes: bool,
    /// The second up to which everything has happened.
    seen_unix: i64,
    /// When something happens next.
    due_unix: i64,
    waiting: VecDeque<Event>,
    lost: u64,
    /// Events that were made.
    number: u32,
}

/// Where a machine stands.
#[derive(Debug)]
pub(super) struct State {
    /// Position of its state.
    pub(super) state: u16,
    pub(super) watchers: Box<[Watch]>,
}

/// Where a watcher stands.
#[derive(Debug)]
pub(super) enum Watch {
    Check(Checked),
    Timer { ends_unix: Option<i64> },
}

/// What a check has found so far.
#[derive(Debug, Default)]
pub(super) struct Checked {
    next_unix: Option<i64>,
    pub(super) last_unix: Option<i64>,
    /// The status that is shown; `None`: nothing was checked.
    pub(super) status: Option<Status>,
    /// The latest results, the oldest first.
    pub(super) history: VecDeque<(i64, Status)>,
}

impl Machines {
    /// Starts the machines of a node.
    #[must_use]
    pub fn start(start: &Start<'_>) -> Self {
        let definitions = start.group.machines();
        if definitions.is_empty() {
            return Self(None);
        }
        let seed = mix(start.seed ^ 0x6d61_6368_696e_6573, u64::from(start.stays));
        let state = |(at, compiled): (usize, &Compiled)| State {
            state: 0,
            watchers: compiled
                .machine
                .watchers
                .iter()
                .map(|watcher| Watch::new(watcher, mix(mix(seed, start.index), at as u64), start))
                .collect(),
        };
        let mut running = Box::new(Running {
            identity: start.identity.into(),
            started_unix: start.now_unix,
            seed,
            index: start.index,
            machines: definitions.iter().enumerate().map(state).collect(),
            definitions: Arc::clone(definitions),
            publishes: start.publishes,
            seen_unix: start.now_unix,
            due_unix: i64::MAX,
            waiting: VecDeque::new(),
            lost: 0,
            number: 0,
        });
        for machine in 0..running.machines.len() {
            running.notify_timers(machine, start.now_unix);
        }
        running.due_unix = running.first_due().map_or(i64::MAX, |(at, ..)| at);
        Self(Some(running))
    }

    /// Lets happen what was to happen by this second.
    pub fn advance(&mut self, now_unix: i64) {
        if let Some(running) = &mut self.0 {
            running.advance(now_unix);
        }
    }

    /// When something happens or can be published next, in the seconds of the latest [`Machines::advance`].
    #[must_use]
    pub fn next_unix(&self) -> Option<i64> {
        let running = self.0.as_ref()?;
        // What waits is published as soon as there is room.
        let due = if running.waiting.is_empty() { running.due_unix } else { running.seen_unix };
        (due < i64::MAX).then_some(due)
    }

    /// Seconds until then; none if the clock went back, which has to be seen first.
    #[must_use]
    pub fn next_in_s(&self, now_unix: i64) -> Option<u64> {
        let went_back = self.0.as_ref()?.seen_unix > now_unix;
        let wait_s = self.next_unix()?.saturating_sub(now_unix);
        Some(if went_back { 0 } else { u64::try_from(wait_s).unwrap_or(0) })
    }

    /// The oldest event that was not published yet.
    pub fn take_event(&mut self) -> Option<Event> {
        self.0.as_mut()?.waiting.pop_front()
    }

    /// How many events were lost because too many waited, since this was last asked.
    pub fn take_lost(&mut self) -> u64 {
        self.0.as_mut().map_or(0, |running| std::mem::take(&mut running.lost))
    }

    /// All machines by name, as servers list them; none on a server without.
    pub(crate) fn by_name(&self) -> Vec<View<'_>> {
        let Some(running) = &self.0 else { return Vec::new() };
        let mut views: Vec<_> =
            (0..running.machines.len()).filter_map(|at| View::of(running, at)).collect();
        views.sort_by_key(View::name);
        views
    }

    /// Makes a transition of the first machine that has this name, version, path and id, as far as they
    /// are given.
    ///
    /// # Errors
    /// In the words of a real server.
    pub(crate) fn transition(
        &mut self,
        [name, version, path, id]: [&str; 4],
        transition: &str,
        now_unix: i64,
    ) -> Result<(), String> {
        let Some(running) = &mut self.0 else {
            return Err("autonomous agent host not initialized".to_owned());
        };
        let wanted = [name, version, path, id];
        let is = |wanted: &str, given: &str| wanted.is_empty() || wanted == given;
        let matches = |view: &View<'_>| {
            is(name, view.name())
                && is(version, view.version())
                && is(path, view.path())
                && is(id, &view.id())
        };
        let named = wanted.iter().any(|part| !part.is_empty());
        let mut positions = 0..running.machines.len();
        let found = positions.find(|at| View::of(running, *at).is_some_and(|view| matches(&view)));
        let Some(machine) = found.filter(|_| named) else {
            return Err(format!(
                "could not find machine matching criteria name='{name}', version='{version}', \
                 path='{path}', id='{id}'"
            ));
        };
        if !running.fire(machine, transition, now_unix, 0) {
            let state = View::of(running, machine).map(|view| view.state().to_owned());
            let state = state.unwrap_or_default();
            return Err(format!("transition {transition} is not valid while in {state} state"));
        }
        running.due_unix = running.first_due().map_or(i64::MAX, |(at, ..)| at);
        Ok(())
    }
}

impl Watch {
    fn new(watcher: &Watcher, bits: u64, start: &Start<'_>) -> Self {
        match &watcher.watches {
            Watches::Timer { .. } => Self::Timer { ends_unix: None },
            Watches::Nagios(check) => {
                let interval_s = u64::from(check.interval_s);
                // A random part of the interval passes before the first tick of its clock.
                let splay_s = (interval_s > 0).then(|| mix(bits, 1) % interval_s);
                let wait_s = splay_s.and_then(|splay| i64::try_from(splay + interval_s).ok());
                let next_unix = wait_s.map(|wait| start.now_unix.saturating_add(wait));
                Self::Check(Checked { next_unix, ..Checked::default() })
            }
        }
    }

    fn due_unix(&self) -> Option<i64> {
        match self {
            Self::Check(checked) => checked.next_unix,
            Self::Timer { ends_unix } => *ends_unix,
        }
    }

    fn due_mut(&mut self) -> &mut Option<i64> {
        match self {
            Self::Check(checked) => &mut checked.next_unix,
            Self::Timer { ends_unix } => ends_unix,
        }
    }
}

impl Running {
    fn advance(&mut self, now_unix: i64) {
        if now_unix < self.seen_unix {
            // The clock went back; what is due stays as far away as it was.
            let back = self.seen_unix.saturating_sub(now_unix);
            for watch in self.machines.iter_mut().flat_map(|machine| &mut machine.watchers) {
                let due = watch.due_mut();
                *due = due.map(|at| at.saturating_sub(back));
            }
            self.due_unix = self.first_due().map_or(i64::MAX, |(at, ..)| at);
        }
        self.seen_unix = now_unix;
        if self.due_unix > now_unix {
            return;
        }
        self.skip_late(now_unix);
        for _ in 0..STEPS_MAX {
            match self.first_due() {
                Some((at, machine, watcher)) if at <= now_unix => self.act(machine, watcher, at),
                _ => break,
            }
        }
        self.put_off(now_unix);
        self.due_unix = self.first_due().map_or(i64::MAX, |(at, ..)| at);
    }

    /// What is due first: when, which machine, which watcher.
    fn first_due(&self) -> Option<(i64, usize, usize)> {
        let machines = self.machines.iter().enumerate();
        let due = machines.flat_map(|(machine, state)| {
            let watchers = state.watchers.iter().enumerate();
            watchers.filter_map(move |(at, watch)| Some((watch.due_unix()?, machine, at)))
        });
        due.min()
    }

    /// Leaves out checks that nobody would remember.
    fn skip_late(&mut self, now_unix: i64) {
        self.each_due(|due, interval_s, is_check| {
            let late = now_unix.saturating_sub(*due) / interval_s;
            let skipped = late.saturating_sub(HISTORY as i64 - 1);
            if is_check && skipped > 0 {
                *due = due.saturating_add(skipped.saturating_mul(interval_s));
            }
        });
    }

    /// Puts off what is still due.
    fn put_off(&mut self, now_unix: i64) {
        self.each_due(|due, interval_s, _| {
            if *due <= now_unix {
                *due = now_unix.saturating_add(interval_s);
            }
        });
    }

    /// Everything that is to happen: when, how many seconds it takes, and whether it is a check.
    fn each_due(&mut self, mut look: impl FnMut(&mut i64, i64, bool)) {
        for (compiled, state) in self.definitions.iter().zip(&mut self.machines) {
            for (watcher, watch) in compiled.machine.watchers.iter().zip(&mut state.watchers) {
                let (seconds, is_check) = match &watcher.watches {
                    Watches::Nagios(check) => (check.interval_s, true),
                    Watches::Timer { seconds, .. } => (*seconds, false),
                };
                if let Some(due) = watch.due_mut() {
                    look(due, i64::from(seconds.max(1)), is_check);
                }
            }
        }
    }

    fn watcher(&self, machine: usize, watcher: usize) -> Option<&Watcher> {
        self.definitions.get(machine)?.machine.watchers.get(watcher)
    }

    fn watch(&mut self, machine: usize, watcher: usize) -> Option<&mut Watch> {
        self.machines.get_mut(machine)?.watchers.get_mut(watcher)
    }

    /// A watcher does what is due at this second.
    fn act(&mut self, machine: usize, watcher: usize, at_unix: i64) {
        let definitions = Arc::clone(&self.definitions);
        let Some(compiled) = definitions.get(machine) else { return };
        let Some(defined) = compiled.machine.watchers.get(watcher) else { return };
        let acts = self.acts(machine, defined);
        match (&defined.watches, self.watch(machine, watcher)) {
            (Watches::Nagios(check), Some(Watch::Check(checked))) => {
                let interval_s = i64::from(check.interval_s.max(1));
                checked.next_unix = at_unix.checked_add(interval_s);
                let fresh = checked.last_unix.is_some_and(|last| at_unix - last < interval_s - 1);
                if acts && !fresh {
                    self.run_check(machine, watcher, check, at_unix, 0);
                }
            }
            (Watches::Timer { fail_transition, .. }, Some(Watch::Timer { ends_unix })) => {
                *ends_unix = None;
                self.say_timer(machine, watcher, "stopped", at_unix);
                if let Some(transition) = fail_transition {
                    self.fire(machine, transition, at_unix, 0);
                }
            }
            _ => {}
        }
    }

    fn acts(&self, machine: usize, watcher: &Watcher) -> bool {
        let Some(view) = View::of(self, machine) else { return false };
        watcher.state_match.is_empty() || watcher.state_match.iter().any(|s| s == view.state())
    }

    fn run_check(&mut self, machine: usize, watcher: usize, check: &Check, at: i64, depth: u8) {
        let Some(Watch::Check(checked)) = self.watch(machine, watcher) else { return };
        checked.last_unix = Some(at);
        checked.status = Some(check.status);
        if checked.history.len() >= HISTORY {
            checked.history.pop_front();
        }
        checked.history.push_back((at, check.status));
        self.say(Topic::Nagios, at, |running| {
            View::of(running, machine).and_then(|view| view.notification(watcher, at))
        });
        self.fire(machine, check.status.name(), at, depth + 1);
    }

    /// Makes a transition; false if it is not possible. One to the same state has no effect.
    fn fire(&mut self, machine: usize, transition: &str, at: i64, depth: u8) -> bool {
        let definitions = Arc::clone(&self.definitions);
        let Some((compiled, state)) = definitions.get(machine).zip(self.machines.get_mut(machine))
        else {
            return false;
        };
        let from = compiled.state(state.state);
        let Some(found) = compiled.transition(transition, from) else { return false };
        let to = compiled.states.iter().position(|state| *state == found.destination);
        let Some(to) = to.and_then(|to| u16::try_from(to).ok()) else { return false };
        if to == state.state || depth > DEPTH_MAX {
            return true;
        }
        state.state = to;
        let to = compiled.state(to);
        // QUIRK: a check in any state that is no status shows OK (go-choria `nagioswatcher`).
        let status = Status::ALL.into_iter().find(|status| status.name() == to);
        let forced = to == "FORCE_CHECK";
        for watch in state.watchers.iter_mut().filter(|_| !forced) {
            if let Watch::Check(checked) = watch {
                checked.status = Some(status.unwrap_or_default());
            }
        }
        self.say(Topic::Transition, at, |running| {
            Some(View::of(running, machine)?.transition(transition, from, to, at))
        });
        self.notify_timers(machine, at);
        for (watcher, defined) in compiled.machine.watchers.iter().enumerate().filter(|_| forced) {
            if let Watches::Nagios(check) = &defined.watches {
                self.run_check(machine, watcher, check, at, depth);
            }
        }
        true
    }

    /// Timers are started, or started anew, in the states in which they act, and stopped in others.
    fn notify_timers(&mut self, machine: usize, at: i64) {
        let watchers = self.definitions.get(machine).map_or(0, |of| of.machine.watchers.len());
        for watcher in 0..watchers {
            let Some(defined) = self.watcher(machine, watcher) else { continue };
            let Watches::Timer { seconds, .. } = defined.watches else { continue };
            let starts = self.acts(machine, defined).then(|| at.saturating_add(seconds.into()));
            let Some(Watch::Timer { ends_unix }) = self.watch(machine, watcher) else { continue };
            if std::mem::replace(ends_unix, starts).is_some() {
                self.say_timer(machine, watcher, "stopped", at);
            }
            if starts.is_some() {
                self.say_timer(machine, watcher, "running", at);
            }
        }
    }

    fn say_timer(&mut self, machine: usize, watcher: usize, state: &str, at: i64) {
        self.say(Topic::Timer, at, |running| View::of(running, machine)?.timer(watcher, state, at));
    }

    fn say(&mut self, topic: Topic, at: i64, data: impl FnOnce(&Self) -> Option<String>) {
        if !self.publishes {
            return;
        }
        if self.waiting.len() >= EVENTS_MAX {
            self.lost += 1;
            return;
        }
        let Some(data) = data(self) else { return };
        let id = show::event_id(self, self.number);
        self.number = self.number.wrapping_add(1);
        let payload = show::cloud_event(topic, &id, &self.identity, at, &data);
        self.waiting.push_back(Event { topic, payload });
    }
}
