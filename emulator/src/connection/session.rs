//! One connection of a node, from the broker's `INFO` to its end.
//!
//! A hand-written future: it reads into a buffer that all nodes of a thread share, handles every operation
//! in place and writes all answers of one read in one call. A node that waits holds no buffer at all;
//! bytes are kept only while an operation is incomplete or the socket takes no more.
//!
//! Order of things as recorded from the real server: `CONNECT` and `PING` in one write, then each
//! `SUB subject  sid` with a `PING` of its own; after a reconnect all `SUB` in one write and in random
//! order with one `PING`; a `PING` behind every reply; a `PING` every two minutes, two of which may be
//! unanswered. [`crate::spec::Fidelity`] names what a scenario may leave out.

mod announce;
mod answering;
mod info;
mod pending;
mod reading;
mod timers;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFuture;

use super::codec::{CodecError, Op};
use super::server_error::{Remedy, ServerError};
use super::wire::{Scratch, Wire};
use crate::fleet::context::Context as NodeContext;
use crate::fleet::counts::{ConnectStep, add, sub};
use crate::fleet::node::Node;

/// The library's ping interval (protocol document 1.2).
const PING_INTERVAL: Duration = Duration::from_secs(120);

/// How long the server waits for the `PONG` behind a subscription before its start fails (nats.go,
/// `Conn.Flush`; go-choria `choria/connection.go`). After a reconnect nothing waits.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);

/// How a connection ended.
#[derive(Debug)]
pub enum End {
    /// The fleet is stopping.
    Stopped,
    /// The broker closed it, or the socket failed.
    Lost(io::Error),
    /// What came was no NATS protocol.
    Protocol(CodecError),
    /// What came was NATS protocol that has no place there.
    Unexpected(&'static str),
    /// The broker sent an error after which the library leaves.
    Error(ServerError),
    /// The broker answered no `PING`.
    Stale,
    /// `INFO` or `PONG` did not come in time.
    TimedOut,
}

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Info,
    Connect,
    Subscribe,
    Ready,
    /// The shutdown event was written; the last `PONG` is waited for.
    Leaving,
}

/// One connection.
pub struct Session<'a> {
    node: &'a mut Node,
    context: &'a NodeContext,
    wire: Wire,
    url: &'a str,
    phase: Phase,
    subscribed: usize,
    /// Pings of the timer since the last `PONG`.
    pings_out: u8,
    /// `PING`s of all kinds without their `PONG`.
    unanswered: u32,
    /// How many `PONG`s from now the one comes that confirms `CONNECT` or the subscriptions; 0: none is
    /// waited for.
    confirmed_in: u32,
    /// Bytes read and not handled: a part of an operation, or more while the socket takes nothing.
    rest: Vec<u8>,
    rest_need: usize,
    max_payload: usize,
    dialled: Instant,
    step_began: Instant,
    /// When the connection is given up unless its next step was made.
    deadline: Option<Instant>,
    next_ping: Instant,
    armed: Option<Instant>,
}

impl<'a> Session<'a> {
    /// Takes over an open socket; `dialled` is when the connection was first tried.
    pub fn new(
        node: &'a mut Node,
        context: &'a NodeContext,
        stream: TcpStream,
        url: &'a str,
        dialled: Instant,
    ) -> Self {
        let now = Instant::now();
        context.counts.timed(ConnectStep::Tcp, now - dialled);
        Self {
            wire: Wire::new(stream, node.slot),
            node,
            context,
            url,
            phase: Phase::Info,
            subscribed: 0,
            pings_out: 0,
            unanswered: 0,
            confirmed_in: 0,
            rest: Vec::new(),
            rest_need: 0,
            max_payload: 1024 * 1024,
            dialled,
            step_began: now,
            deadline: Some(now + context.spec.connect.timeout),
            next_ping: now + PING_INTERVAL,
            armed: None,
        }
    }

    /// Runs the connection until it ends. `timer` is any sleep: it is set to what is due next.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        timer: Pin<&mut Sleep>,
        cancelled: Pin<&mut WaitForCancellationFuture<'_>>,
    ) -> Poll<End> {
        let stopping = self.phase != Phase::Leaving && cancelled.poll(cx).is_ready();
        if self.hangs(Instant::now) {
            // As a process that has to be killed.
            return if stopping { Poll::Ready(End::Stopped) } else { Poll::Pending };
        }
        let outcome = Scratch::with(|scratch| {
            if stopping && !self.take_leave(scratch) {
                return Err(End::Stopped);
            }
            self.turn(cx, timer, scratch)
        });
        match outcome {
            Ok(()) => Poll::Pending,
            Err(end) => Poll::Ready(self.ended(end)),
        }
    }

    /// True once all subscriptions were confirmed.
    #[must_use]
    pub fn was_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready | Phase::Leaving)
    }

    /// True if the library would never connect again. A server whose first start fails is started anew,
    /// so a node gives up only after it was once complete.
    #[must_use]
    pub fn is_final(&self, end: &End) -> bool {
        let open = self.node.was_ready && matches!(self.phase, Phase::Subscribe | Phase::Ready);
        matches!(end, End::Error(error) if open && error.remedy() == Remedy::CloseForGood)
    }

    fn turn(
        &mut self,
        cx: &mut Context<'_>,
        mut timer: Pin<&mut Sleep>,
        scratch: &mut Scratch,
    ) -> Result<(), End> {
        loop {
            if self.hangs(Instant::now) {
                return Ok(());
            }
            if self.flush(cx, scratch)? {
                self.receive(cx, scratch)?;
            }
            if !self.timers(cx, &mut timer, scratch)? {
                return Ok(());
            }
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<bool, End> {
        self.wire.flush(cx, scratch, &self.context.counts).map_err(End::Lost)
    }

    fn operation(&mut self, scratch: &mut Scratch, op: Op<'_>) -> Result<(), End> {
        match (op, self.phase) {
            (Op::Info(json), _) => return self.info(scratch, json),
            (Op::Err(text), _) => return self.server_error(ServerError::of(text)),
            (_, Phase::Info) => return Err(End::Unexpected("an operation before INFO")),
            (Op::Message { .. }, Phase::Connect) => {
                return Err(End::Unexpected("a message before PONG"));
            }
            // What was on its way when the node left its subscriptions.
            (Op::Message { .. }, Phase::Leaving) => {}
            (Op::Message { payload, .. }, _) => {
                self.message(scratch, payload);
                if self.phase == Phase::Ready {
                    self.publish_machine_events(scratch);
                }
                // Last, so that whoever reads this count finds all others moved.
                add(&self.context.counts.messages_in, 1);
            }
            (Op::Ping, _) => scratch.out.extend_from_slice(b"PONG\r\n"),
            (Op::Pong, _) => return self.pong(scratch),
            (Op::Ok, _) => {}
        }
        Ok(())
    }

    fn server_error(&self, error: ServerError) -> Result<(), End> {
        add(&self.context.counts.server_errors[error as usize], 1);
        match error.remedy() {
            Remedy::Stay if self.phase != Phase::Info && self.phase != Phase::Connect => Ok(()),
            _ => Err(End::Error(error)),
        }
    }

    fn step(&mut self, step: ConnectStep) {
        let now = Instant::now();
        self.context.counts.timed(step, now - self.step_began);
        self.step_began = now;
    }

    fn write_ping(&mut self, out: &mut Vec<u8>) {
        self.unanswered += 1;
        out.extend_from_slice(b"PING\r\n");
    }

    /// `PONG`s come in the order of their `PING`s: that of a ping of the timer, or behind a reply, does
    /// not confirm a subscription.
    fn pong(&mut self, scratch: &mut Scratch) -> Result<(), End> {
        self.pings_out = 0;
        self.unanswered = self.unanswered.saturating_sub(1);
        if self.confirmed_in == 0 {
            return Ok(());
        }
        self.confirmed_in -= 1;
        if self.confirmed_in > 0 {
            return Ok(());
        }
        if self.phase == Phase::Leaving {
            return Err(End::Stopped);
        }
        if self.phase == Phase::Connect {
            self.step(ConnectStep::Connect);
            self.phase = Phase::Subscribe;
            self.next_ping = Instant::now() + self.node.ping_phase(PING_INTERVAL);
            self.node.pool.connected();
            self.subscribe(scratch);
        } else if self.subscribed < self.context.subscriptions() {
            self.subscribe(scratch);
        } else {
            self.ready(scratch);
        }
        Ok(())
    }

    fn subscribe(&mut self, scratch: &mut Scratch) {
        let all = self.context.subscriptions();
        if self.node.was_ready {
            self.context.write_subscriptions_shuffled(self.node, &mut scratch.out);
            self.subscribed = all;
            self.write_pending(scratch);
        } else if self.context.spec.fidelity.flush_each_subscription {
            self.context.write_subscription(&self.node.identity, self.subscribed, &mut scratch.out);
            self.subscribed += 1;
        } else {
            for number in 0..all {
                self.context.write_subscription(&self.node.identity, number, &mut scratch.out);
            }
            self.subscribed = all;
        }
        self.write_ping(&mut scratch.out);
        self.confirmed_in = self.unanswered;
        self.deadline = (!self.node.was_ready).then(|| Instant::now() + FLUSH_TIMEOUT);
    }

    fn ready(&mut self, scratch: &mut Scratch) {
        self.step(ConnectStep::Subscribe);
        self.context.counts.timed(ConnectStep::Total, self.step_began - self.dialled);
        self.phase = Phase::Ready;
        self.deadline = None;
        let first = !self.node.was_ready;
        self.context.node_ready(self.node);
        self.announce_ready(first, scratch);
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if self.was_ready() {
            sub(&self.context.counts.connected, 1);
            sub(&self.context.counts.subscriptions, self.subscribed as u64);
            self.context.ledgers.disconnected(self.node.slot);
        }
    }
}
