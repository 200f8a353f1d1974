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

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, Write as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFuture;

use super::codec::{self, CodecError, Op, Step};
use super::server_error::{Remedy, ServerError};
use crate::fleet::counts::{ConnectStep, add, sub};
use crate::fleet::ledger::Ledger;
use crate::fleet::node::{Context as NodeContext, Node};
use crate::node::Desk;

/// Bytes read from a socket at once; one buffer a thread.
const READ_SIZE: usize = 64 * 1024;

/// Reads of one connection before other nodes have their turn.
const READS_PER_TURN: usize = 8;

/// The library's ping interval (protocol document 1.2).
const PING_INTERVAL: Duration = Duration::from_secs(120);

/// Pings that may be unanswered before the connection counts as stale (protocol document 1.2).
const MAX_PINGS_OUT: u8 = 2;

/// How a connection ended.
#[derive(Debug)]
pub enum End {
    /// The fleet is stopping.
    Stopped,
    /// The broker closed it, or the socket failed.
    Lost(io::Error),
    /// What came was no NATS protocol.
    Protocol(CodecError),
    /// The broker sent an error after which the library leaves.
    Error(ServerError),
    /// The broker answered no `PING`.
    Stale,
    /// `INFO` or `PONG` did not come in time.
    TimedOut,
}

impl End {
    /// True if the library would never connect again.
    #[must_use]
    pub fn is_final(&self, was_ready: bool) -> bool {
        matches!(self, Self::Error(error) if was_ready && error.remedy() == Remedy::CloseForGood)
    }
}

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Info,
    Connect,
    Subscribe,
    Ready,
}

/// What all nodes of a thread share; only `desk` remembers anything between turns.
struct Scratch {
    read: Box<[u8]>,
    out: Vec<u8>,
    body: Vec<u8>,
    /// Ledgers of the replies in `out`; `None` for requests that nobody keeps a book of.
    replies: Vec<Option<Arc<Ledger>>>,
    desk: Desk,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        read: vec![0; READ_SIZE].into_boxed_slice(),
        out: Vec::with_capacity(READ_SIZE),
        body: Vec::with_capacity(4096),
        replies: Vec::new(),
        desk: Desk::default(),
    });
}

/// Bytes that the socket did not take yet. While there are any, the node reads nothing: that bounds them
/// to the answers of one read.
#[derive(Default)]
struct Outbox {
    bytes: Vec<u8>,
    at: usize,
    replies: Vec<Option<Arc<Ledger>>>,
}

/// One connection.
pub struct Session<'a> {
    node: &'a mut Node,
    context: &'a NodeContext,
    stream: TcpStream,
    url: &'a str,
    phase: Phase,
    subscribed: usize,
    pings_out: u8,
    rest: Vec<u8>,
    rest_need: usize,
    outbox: Option<Box<Outbox>>,
    max_payload: usize,
    dialled: Instant,
    step_began: Instant,
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
            node,
            context,
            stream,
            url,
            phase: Phase::Info,
            subscribed: 0,
            pings_out: 0,
            rest: Vec::new(),
            rest_need: 0,
            outbox: None,
            max_payload: 1024 * 1024,
            dialled,
            step_began: now,
            // Until the connection is complete: the time by which INFO and PONG must be there.
            next_ping: now + context.spec.connect.timeout,
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
        if cancelled.poll(cx).is_ready() {
            return Poll::Ready(End::Stopped);
        }
        match self.turn(cx, timer) {
            Ok(()) => Poll::Pending,
            Err(end) => Poll::Ready(end),
        }
    }

    /// True once all subscriptions were confirmed.
    #[must_use]
    pub fn was_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    fn turn(&mut self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Result<(), End> {
        SCRATCH.with_borrow_mut(|scratch| {
            // What an ended connection or a panic left behind is not this node's.
            scratch.out.clear();
            scratch.replies.clear();
            loop {
                if self.flush(cx, scratch)? {
                    self.receive(cx, scratch)?;
                }
                if !self.timers(cx, &mut timer, scratch)? {
                    return Ok(());
                }
            }
        })
    }

    /// Reads and answers until the socket is empty or takes no more.
    fn receive(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<(), End> {
        for _ in 0..READS_PER_TURN {
            let mut buffer = ReadBuf::new(&mut scratch.read);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(error)) => return Err(End::Lost(error)),
                Poll::Ready(Ok(())) => {}
            }
            let size = buffer.filled().len();
            if size == 0 {
                return Err(End::Lost(io::ErrorKind::UnexpectedEof.into()));
            }
            add(&self.context.counts.bytes_in, size as u64);
            self.digest(scratch, size)?;
            if !self.flush(cx, scratch)? {
                return Ok(());
            }
        }
        // The socket may hold more: come back after the others.
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Handles every operation in the first `size` bytes that were just read.
    fn digest(&mut self, scratch: &mut Scratch, size: usize) -> Result<(), End> {
        let read = std::mem::take(&mut scratch.read);
        let outcome = if self.rest.is_empty() {
            self.operations(scratch, &read[..size]).map(|used| {
                self.rest.extend_from_slice(&read[used..size]);
            })
        } else {
            self.rest.extend_from_slice(&read[..size]);
            if self.rest.len() < self.rest_need {
                Ok(())
            } else {
                let rest = std::mem::take(&mut self.rest);
                self.operations(scratch, &rest).map(|used| {
                    self.rest.extend_from_slice(&rest[used..]);
                })
            }
        };
        scratch.read = read;
        outcome
    }

    /// Handles the complete operations at the front of `bytes` and says how many bytes they were.
    fn operations(&mut self, scratch: &mut Scratch, bytes: &[u8]) -> Result<usize, End> {
        let mut used = 0;
        while used < bytes.len() {
            match codec::next(&bytes[used..]).map_err(End::Protocol)? {
                Step::Op(op, length) => {
                    self.operation(scratch, op)?;
                    used += length;
                }
                Step::Incomplete(need) => {
                    self.rest_need = need;
                    break;
                }
            }
        }
        Ok(used)
    }

    fn operation(&mut self, scratch: &mut Scratch, op: Op<'_>) -> Result<(), End> {
        match op {
            Op::Message { payload, .. } => self.message(scratch, payload),
            Op::Ping => scratch.out.extend_from_slice(b"PONG\r\n"),
            Op::Pong => self.pong(scratch),
            Op::Ok => {}
            Op::Info(json) => self.info(scratch, json),
            Op::Err(text) => return self.server_error(ServerError::of(text)),
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

    /// Brokers send `INFO` first, again after `CONNECT` since 2.12, and whenever the cluster changes.
    fn info(&mut self, scratch: &mut Scratch, json: &[u8]) {
        #[derive(serde::Deserialize)]
        struct Info {
            max_payload: Option<usize>,
            #[serde(default)]
            headers: bool,
        }
        let info: Option<Info> = serde_json::from_slice(json).ok();
        if let Some(max_payload) = info.as_ref().and_then(|info| info.max_payload) {
            self.max_payload = max_payload;
        }
        if self.phase == Phase::Info {
            self.step(ConnectStep::Info);
            self.phase = Phase::Connect;
            let headers = info.is_some_and(|info| info.headers);
            self.context.write_connect(&self.node.identity, headers, &mut scratch.out);
        }
    }

    fn step(&mut self, step: ConnectStep) {
        let now = Instant::now();
        self.context.counts.timed(step, now - self.step_began);
        self.step_began = now;
    }

    fn pong(&mut self, scratch: &mut Scratch) {
        self.pings_out = 0;
        match self.phase {
            Phase::Connect => {
                self.step(ConnectStep::Connect);
                self.phase = Phase::Subscribe;
                self.next_ping = Instant::now() + self.node.ping_phase(PING_INTERVAL);
                self.subscribe(&mut scratch.out);
            }
            Phase::Subscribe if self.subscribed == self.context.subscriptions() => self.ready(),
            Phase::Subscribe => self.subscribe(&mut scratch.out),
            Phase::Info | Phase::Ready => {}
        }
    }

    fn subscribe(&mut self, out: &mut Vec<u8>) {
        let all = self.context.subscriptions();
        if self.node.was_ready {
            self.context.write_subscriptions_shuffled(self.node, out);
            self.subscribed = all;
        } else if self.context.spec.fidelity.flush_each_subscription {
            self.context.write_subscription(&self.node.identity, self.subscribed, out);
            self.subscribed += 1;
        } else {
            for number in 0..all {
                self.context.write_subscription(&self.node.identity, number, out);
            }
            self.subscribed = all;
        }
        out.extend_from_slice(b"PING\r\n");
    }

    fn ready(&mut self) {
        self.step(ConnectStep::Subscribe);
        self.context.counts.timed(ConnectStep::Total, self.step_began - self.dialled);
        self.phase = Phase::Ready;
        self.context.node_ready(self.node);
    }

    /// A request, whichever subscription it came on: a server dispatches on what is inside
    /// (protocol document 2.2).
    fn message(&mut self, scratch: &mut Scratch, payload: &[u8]) {
        add(&self.context.counts.messages_in, 1);
        let opened = scratch.desk.open(payload);
        let ledger = self.context.ledger(&opened);
        let now = unix_now();
        let judged = self.context.judge(self.node, self.url, &opened, ledger, now);
        let Some((kind, delay)) = judged else { return };
        if delay.is_zero() {
            self.reply(scratch, &opened, kind, now);
        } else if !self.node.put_off(Instant::now() + delay, opened, kind) {
            add(&self.context.counts.overflowed, 1);
        }
    }

    fn reply(
        &mut self,
        scratch: &mut Scratch,
        opened: &Arc<crate::node::Opened>,
        kind: crate::node::AnswerKind,
        now: i64,
    ) {
        scratch.body.clear();
        let answer = (kind, now, self.max_payload);
        let body = &mut scratch.body;
        let ledger = self.context.ledger(opened);
        let subject = match self.context.compose(self.node, self.url, opened, answer, body) {
            Ok(subject) => subject,
            Err(silence) => return self.context.kept_silent(self.node, silence, ledger),
        };
        let out = &mut scratch.out;
        out.extend_from_slice(b"PUB ");
        out.extend_from_slice(subject.as_bytes());
        // Writing to a vector cannot fail.
        let _ = write!(out, " {}\r\n", scratch.body.len());
        out.extend_from_slice(&scratch.body);
        out.extend_from_slice(b"\r\n");
        if self.context.spec.fidelity.flush_each_reply {
            out.extend_from_slice(b"PING\r\n");
        }
        scratch.replies.push(ledger.cloned());
    }

    /// Writes what there is to write; false if the socket takes no more for now.
    fn flush(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<bool, End> {
        if let Some(mut outbox) = self.outbox.take() {
            // Behind what is left over, in its order.
            outbox.bytes.append(&mut scratch.out);
            outbox.replies.append(&mut scratch.replies);
            outbox.at += self.write(cx, &outbox.bytes[outbox.at..])?;
            if outbox.at < outbox.bytes.len() {
                self.outbox = Some(outbox);
                return Ok(false);
            }
            self.replied(&mut outbox.replies);
            return Ok(true);
        }
        if scratch.out.is_empty() {
            return Ok(true);
        }
        let written = self.write(cx, &scratch.out)?;
        if written == scratch.out.len() {
            scratch.out.clear();
            self.replied(&mut scratch.replies);
            return Ok(true);
        }
        let bytes = scratch.out[written..].to_vec();
        let replies = std::mem::take(&mut scratch.replies);
        scratch.out.clear();
        self.outbox = Some(Box::new(Outbox { bytes, at: 0, replies }));
        Ok(false)
    }

    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Result<usize, End> {
        let mut written = 0;
        while written < bytes.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &bytes[written..]) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return Err(End::Lost(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(size)) => written += size,
                Poll::Ready(Err(error)) => return Err(End::Lost(error)),
            }
        }
        add(&self.context.counts.bytes_out, written as u64);
        Ok(written)
    }

    fn replied(&self, replies: &mut Vec<Option<Arc<Ledger>>>) {
        if replies.is_empty() {
            return;
        }
        add(&self.context.counts.replies, replies.len() as u64);
        for ledger in replies.drain(..).flatten() {
            ledger.answered.set(self.node.slot);
        }
    }

    /// Does what is due; true if something was written and another turn is needed.
    fn timers(
        &mut self,
        cx: &mut Context<'_>,
        timer: &mut Pin<&mut Sleep>,
        scratch: &mut Scratch,
    ) -> Result<bool, End> {
        let due = if self.phase == Phase::Ready { self.node.next_due() } else { None };
        let next = due.map_or(self.next_ping, |due| due.min(self.next_ping));
        if self.armed != Some(next) {
            timer.as_mut().reset(next);
            self.armed = Some(next);
        }
        if timer.as_mut().poll(cx).is_pending() {
            return Ok(false);
        }
        self.armed = None;
        let now = Instant::now();
        if self.next_ping <= now {
            self.ping(scratch)?;
        }
        if self.outbox.is_some() {
            // Nothing more is written until the socket takes what is left over.
            return Ok(!scratch.out.is_empty());
        }
        while let Some((opened, kind)) = self.node.take_due(now) {
            self.reply(scratch, &opened, kind, unix_now());
        }
        Ok(true)
    }

    fn ping(&mut self, scratch: &mut Scratch) -> Result<(), End> {
        if matches!(self.phase, Phase::Info | Phase::Connect) {
            return Err(End::TimedOut);
        }
        if self.pings_out >= MAX_PINGS_OUT {
            add(&self.context.counts.stale_connections, 1);
            return Err(End::Stale);
        }
        self.pings_out += 1;
        self.next_ping += PING_INTERVAL;
        scratch.out.extend_from_slice(b"PING\r\n");
        Ok(())
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if self.phase == Phase::Ready {
            sub(&self.context.counts.connected, 1);
            sub(&self.context.counts.subscriptions, self.subscribed as u64);
            self.context.ledgers.disconnected(self.node.slot);
        }
    }
}

/// Unix seconds, as the protocol's envelopes carry them.
fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
