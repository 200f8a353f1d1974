//! When a node says something without being asked. All times follow from the seed, the index and the
//! instant at which the node had started (law 2).

use std::time::Duration;

use tokio::time::Instant;

use crate::node::mix;
use crate::spec::Lifecycle;

/// The first alive event comes after 0 to 29 of as many parts of the interval: after a whole number of
/// minutes on a real server (protocol document 6.3).
const ALIVE_PARTS: u32 = 30;
/// The longest of the random seconds before a first registration, 1 to this (protocol document 7.1).
const FIRST_REGISTRATION_S_MAX: u64 = 4;

/// The shortest interval: none would be due for ever.
const EVERY_MIN: Duration = Duration::from_millis(1);

/// When what is due next. What is `None` never is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Agenda {
    alive: Option<Instant>,
    registration: Option<Instant>,
    status: Option<Instant>,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Alive,
    Registration,
    Status,
}

impl Agenda {
    /// The agenda of a node that has just started: the node with this index, which has been started
    /// anew so often before; `place` is its number within its group.
    pub(crate) fn new(
        of: &Lifecycle,
        seed: u64,
        (index, stays): (u64, u16),
        place: u64,
        now: Instant,
    ) -> Self {
        // Four for each process of the node.
        let first = u64::from(stays) << 2;
        let dice = |question| mix(mix(seed, index) ^ 0x6167_656e_6461, first | question);
        let alive = of.events.alive.then(|| {
            let parts = u32::try_from(dice(0) % u64::from(ALIVE_PARTS)).unwrap_or(0);
            of.events.alive_every / ALIVE_PARTS * parts
        });
        let registration = of.registration.as_ref().map(|registration| {
            let splay_s = match registration.interval.as_secs() {
                seconds if registration.splay && seconds > 0 => dice(1) % seconds,
                _ => 0,
            };
            Duration::from_secs(splay_s + 1 + dice(2) % FIRST_REGISTRATION_S_MAX)
        });
        let status = of.status_files.as_ref().filter(|files| place < files.nodes);
        Self {
            alive: alive.and_then(|wait| now.checked_add(wait)),
            registration: registration.and_then(|wait| now.checked_add(wait)),
            status: status.map(|_| now),
        }
    }

    /// When something is due next.
    pub(crate) fn next(&self) -> Option<Instant> {
        [self.alive, self.registration, self.status].into_iter().flatten().min()
    }

    /// Takes what is due by `now` and puts it off by its interval. Alive events that fell due while
    /// nothing could be written are made up for one by one, as the library writes what it kept.
    pub(crate) fn take(&mut self, of: &Lifecycle, now: Instant) -> Option<Due> {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if self.take_alive(of, now) {
            return Some(Due::Alive);
        }
        if due(self.registration) {
            self.skip_registrations(of, now);
            return Some(Due::Registration);
        }
        self.take_status(of, now).then_some(Due::Status)
    }

    /// When the status file is due next.
    pub(crate) fn next_status(&self) -> Option<Instant> {
        self.status
    }

    /// Takes a status file that is due by `now`; false if none is.
    pub(crate) fn take_status(&mut self, of: &Lifecycle, now: Instant) -> bool {
        if self.status.is_none_or(|at| at > now) {
            return false;
        }
        let every = of.status_files.as_ref().map(|files| files.every);
        self.status = every.and_then(|every| now.checked_add(every));
        true
    }

    /// When the next alive event is due.
    pub(crate) fn next_alive(&self) -> Option<Instant> {
        self.alive
    }

    /// Takes an alive event that is due by `now`; false if none is.
    pub(crate) fn take_alive(&mut self, of: &Lifecycle, now: Instant) -> bool {
        let Some(at) = self.alive.filter(|at| *at <= now) else { return false };
        self.alive = at.checked_add(of.events.alive_every.max(EVERY_MIN));
        true
    }

    /// Leaves out the alive events that are due by `now`; how many they are.
    pub(crate) fn skip_alive(&mut self, of: &Lifecycle, now: Instant) -> u64 {
        let (next, ticks) = skip(self.alive, of.events.alive_every, now);
        self.alive = next;
        ticks
    }

    /// Registrations that fell due while the node was not connected are left out: a server that finds
    /// itself disconnected waits for its next tick (protocol document 7.1).
    pub(crate) fn skip_registrations(&mut self, of: &Lifecycle, now: Instant) {
        let Some(registration) = &of.registration else { return };
        (self.registration, _) = skip(self.registration, registration.interval, now);
    }
}

/// The first instant after `now` of what is due at `at` and `every` so often from then on, and how
/// many there are before it.
fn skip(at: Option<Instant>, every: Duration, now: Instant) -> (Option<Instant>, u64) {
    let late = at.and_then(|first| Some((first, now.checked_duration_since(first)?)));
    let Some((first, late)) = late else { return (at, 0) };
    let every = every.max(EVERY_MIN);
    let ticks = u32::try_from(late.as_nanos() / every.as_nanos() + 1).unwrap_or(u32::MAX);
    let next = every.checked_mul(ticks).and_then(|wait| first.checked_add(wait));
    (next, u64::from(ticks))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Events, Registration, RegistrationContent, StatusFiles};

    const S: Duration = Duration::from_secs(1);

    fn lifecycle(interval: Duration, splay: bool) -> Lifecycle {
        let content = RegistrationContent::Inventory;
        let target = None;
        let registration = Registration { content, interval, splay, compression: true, target };
        Lifecycle { registration: Some(registration), ..Lifecycle::default() }
    }

    /// The first `count` things due and when, in milliseconds after the start.
    fn course(of: &Lifecycle, index: u64, count: usize) -> Vec<(Due, u128)> {
        let start = Instant::now();
        let mut agenda = Agenda::new(of, 7, (index, 0), index, start);
        let mut course = Vec::new();
        while course.len() < count {
            let at = agenda.next().unwrap();
            assert!(at.checked_sub(Duration::from_nanos(1)).unwrap() < at);
            course.push((agenda.take(of, at).unwrap(), (at - start).as_millis()));
        }
        course
    }

    #[test]
    fn alive_comes_after_whole_minutes_and_then_every_half_hour() {
        let of = Lifecycle::default();
        let firsts: Vec<u128> = (0..3000).map(|index| course(&of, index, 1)[0].1).collect();
        assert!(firsts.iter().all(|ms| ms % 60_000 == 0 && *ms < 1_800_000));
        for minute in 0..30 {
            let share = firsts.iter().filter(|ms| **ms == minute * 60_000).count();
            assert!((50..=150).contains(&share), "{share} of 3000 in minute {minute}");
        }
        let course = course(&of, 3, 3);
        let gaps: Vec<_> = course.windows(2).map(|two| two[1].1 - two[0].1).collect();
        assert_eq!(gaps, [1_800_000, 1_800_000]);
    }

    #[test]
    fn each_process_of_a_node_throws_its_own_dice() {
        let (of, start) = (lifecycle(300 * S, true), Instant::now());
        let first = |index, stays| Agenda::new(&of, 7, (index, stays), index, start).next();
        let same = (0..100).filter(|index| first(*index, 0) == first(*index, 1)).count();
        assert!(same < 30, "{same} of 100 as before");
        assert!((0..100).all(|index| first(index, 1) == first(index, 1)));
    }

    #[test]
    fn registration_waits_for_its_splay_and_one_to_four_seconds() {
        let of = |splay| Lifecycle {
            events: Events { alive: false, ..Events::default() },
            ..lifecycle(300 * S, splay)
        };
        for (splay, from, to) in [(true, 1, 303), (false, 1, 4)] {
            let firsts: Vec<u128> = (0..2000).map(|i| course(&of(splay), i, 1)[0].1).collect();
            assert!(firsts.iter().all(|ms| ms % 1000 == 0));
            let bounds = (firsts.iter().min().unwrap() / 1000, firsts.iter().max().unwrap() / 1000);
            assert_eq!(bounds, (from, to), "splay {splay}");
            let course = course(&of(splay), 9, 2);
            assert_eq!(course[1].1 - course[0].1, 300_000);
        }
    }

    #[test]
    fn what_fell_due_without_a_connection_is_made_up_for_if_alive_and_skipped_if_registration() {
        let of = lifecycle(10 * S, false);
        let events = Events { alive_every: 30 * S, ..Events::default() };
        let of = Lifecycle { events, ..of };
        let start = Instant::now();
        let mut agenda = Agenda::new(&of, 7, (0, 0), 0, start);
        let later = start + 95 * S;
        agenda.skip_registrations(&of, later);
        let mut due = Vec::new();
        while let Some(what) = agenda.take(&of, later) {
            due.push(what);
        }
        assert!(due.iter().all(|what| *what == Due::Alive) && (3..=4).contains(&due.len()));
        let next = agenda.registration.unwrap();
        assert!(next > later && next <= later + 10 * S);
    }

    #[test]
    fn the_first_nodes_of_a_group_write_a_status_file_at_once() {
        let status = StatusFiles { folder: "x".into(), every: 30 * S, nodes: 2 };
        let of = Lifecycle { status_files: Some(status), ..Lifecycle::SILENT };
        assert_eq!(course(&of, 1, 2), [(Due::Status, 0), (Due::Status, 30_000)]);
        assert!(Agenda::new(&of, 7, (2, 0), 2, Instant::now()).next().is_none());
    }
}
