//! What a session publishes without being asked, and how it takes its leave.
//!
//! Recorded: the startup event follows the last `PONG` with no `PING` behind it; at the end the
//! shutdown event stands amid the `UNSUB`s, which come in random order, and a `PING` follows whose
//! `PONG` the server waits for.

use std::io::Write as _;
use std::time::Duration;

use tokio::time::Instant;

use super::{End, Phase, Session};
use crate::connection::wire::{OUT_SIZE, Scratch, Written};
use crate::fleet::counts::add;
use crate::lifecycle::event::{self, Kind, Source};
use crate::lifecycle::registration::{self, Publication};
use crate::lifecycle::{Agenda, Announcement, Due};

/// How long a node that takes its leave waits for the broker's last `PONG`: a fleet of any size is
/// stopped within this, whatever its brokers do.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

impl Session<'_> {
    /// All subscriptions are confirmed: for the first time in the node's life, or again.
    pub(super) fn announce_ready(&mut self, first: bool, scratch: &mut Scratch) {
        let (context, now) = (self.context, Instant::now());
        let lifecycle = &context.spec.lifecycle;
        if !first {
            self.node.agenda.skip_registrations(lifecycle, now);
            return;
        }
        self.node.ready_unix = self.context.clock.unix_s();
        let place = self.node.index.saturating_sub(context.spec.first);
        let process = (self.node.index, self.node.stays);
        self.node.agenda = Agenda::new(lifecycle, context.seed, process, place, now);
        if lifecycle.events.startup {
            self.publish_event(Kind::Startup, self.node.ready_unix, scratch);
        }
    }

    /// When something is to be published without being asked for.
    pub(super) fn next_announcement(&self) -> Option<Instant> {
        let machines = self.node.machines.next_in_s(self.context.clock.unix_s());
        let machines =
            machines.and_then(|wait_s| Instant::now().checked_add(Duration::from_secs(wait_s)));
        [self.node.agenda.next(), machines].into_iter().flatten().min()
    }

    /// Publishes what the node's machines did, as far as there is room.
    pub(super) fn publish_machine_events(&mut self, scratch: &mut Scratch) {
        while scratch.out.len() < OUT_SIZE
            && let Some(event) = self.node.machines.take_event()
        {
            scratch.body.clear();
            scratch.body.extend_from_slice(&event.payload);
            scratch.write_publication(event.topic.subject());
            let announcement = Announcement::Machine(event.topic);
            scratch.written.push(Written::Announcement(announcement));
        }
        let lost = self.node.machines.take_lost();
        if lost > 0 {
            add(&self.context.counts.lost_unconnected, lost);
        }
    }

    /// Publishes what is due.
    pub(super) fn announce_due(&mut self, now: Instant, scratch: &mut Scratch) {
        while scratch.out.len() < OUT_SIZE
            && let Some(due) = self.node.agenda.take(&self.context.spec.lifecycle, now)
        {
            match due {
                // Its time is that of the start (protocol document 6.3).
                Due::Alive => self.publish_event(Kind::Alive, self.node.ready_unix, scratch),
                Due::Registration => self.publish_registration(scratch),
                Due::Status => self.context.write_status(self.node, self.url),
            }
        }
        self.node.machines.advance(self.context.clock.unix_s());
        self.publish_machine_events(scratch);
    }

    /// Begins an orderly end: false if the node is to vanish.
    pub(super) fn take_leave(&mut self, scratch: &mut Scratch) -> bool {
        if self.phase != Phase::Ready || !self.context.spec.lifecycle.events.shutdown {
            return false;
        }
        self.phase = Phase::Leaving;
        self.deadline = Some(Instant::now() + LEAVE_WITHIN);
        let order = self.node.shuffled(self.context.subscriptions());
        let before = (self.node.dice.roll() % (order.len() as u64 + 1)) as usize;
        let (before, after) = order.split_at(before.min(order.len()));
        write_unsubscriptions(before, &mut scratch.out);
        self.publish_event(Kind::Shutdown, self.context.clock.unix_s(), scratch);
        write_unsubscriptions(after, &mut scratch.out);
        self.write_ping(&mut scratch.out);
        self.confirmed_in = self.unanswered;
        true
    }

    /// Whatever ends a session that takes its leave, it has ended as was asked.
    pub(super) fn ended(&self, end: End) -> End {
        if self.phase == Phase::Leaving { End::Stopped } else { end }
    }

    pub(super) fn publish_event(&mut self, kind: Kind, timestamp_unix: i64, scratch: &mut Scratch) {
        let source = Source {
            seed: self.context.seed,
            index: self.node.index,
            stays: self.node.stays,
            identity: &self.node.identity,
            version: &self.context.group.profile().version,
        };
        scratch.body.clear();
        event::write(kind, &source, timestamp_unix, &mut scratch.body);
        self.node.counters.events = self.node.counters.events.wrapping_add(1);
        scratch.write_publication(kind.subject());
        scratch.written.push(Written::Announcement(Announcement::Event(kind)));
    }

    fn publish_registration(&mut self, scratch: &mut Scratch) {
        let context = self.context;
        let Some(registration) = &context.spec.lifecycle.registration else { return };
        let publication = Publication {
            seed: context.seed,
            number: self.node.registrations,
            last_message_unix: self.node.last_message_unix,
            now_unix: self.context.clock.unix_s(),
        };
        self.node.registrations = self.node.registrations.wrapping_add(1);
        let view = context.view(self.node, self.url);
        scratch.body = registration::compose(&view, registration, publication);
        if scratch.body.len() > self.max_payload {
            add(&context.counts.unpublishable, 1);
            return;
        }
        let subject = registration::subject(registration, context.group.main_collective());
        scratch.write_publication(&subject);
        if context.spec.fidelity.flush_each_reply {
            self.write_ping(&mut scratch.out);
        }
        scratch.written.push(Written::Announcement(Announcement::Registration));
    }
}

/// As the library writes them: with a space behind.
fn write_unsubscriptions(numbers: &[usize], out: &mut Vec<u8>) {
    for number in numbers {
        // Writing to a vector cannot fail.
        let _ = write!(out, "UNSUB {} \r\n", number + 1);
    }
}
