//! One node: what it remembers between connections, and the task that keeps it connected.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::counts::{add, sub};
use super::dice::Dice;
use super::queue::Handler;
use crate::connection::dial::{Room, dial};
use crate::connection::directory::Server;
use crate::connection::pool::Pool;
use crate::connection::session::{End, Session};
use crate::lifecycle::Agenda;
use crate::machines::Machines;
use crate::node::{AnswerKind, Counters, Opened};

/// The broker's URL where there is none: nats.go, `ConnectedUrlRedacted`.
pub(crate) const NO_BROKER: &str = "";

/// Replies that one node may hold back at once; further requests are dropped and counted.
const MAX_DUE: usize = 1024;

/// A reply that is held back.
struct Due {
    at: Instant,
    order: u32,
    opened: Arc<Opened>,
    kind: AnswerKind,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// What a node remembers between its connections.
pub struct Node {
    pub(crate) index: u64,
    pub(crate) slot: usize,
    pub(crate) identity: Box<str>,
    pub(crate) counters: Counters,
    /// Requests it has accepted: the nth one behaves the same in every run.
    pub(crate) requests: u32,
    pub(crate) was_ready: bool,
    /// How often it has left and been started anew.
    pub(crate) stays: u16,
    /// Second at which all its subscriptions existed for the first time.
    pub(crate) ready_unix: i64,
    /// Second of the latest message; 0: none came.
    pub(crate) last_message_unix: i64,
    /// Registrations it has published.
    pub(crate) registrations: u32,
    /// When it says something without being asked.
    pub(crate) agenda: Agenda,
    /// Its autonomous agents.
    pub(crate) machines: Machines,
    /// What it knows of servers.
    pub(crate) pool: Pool,
    /// What handles its messages, one after the other.
    pub(crate) handler: Handler,
    pub(crate) dice: Dice,
    permit: Option<OwnedSemaphorePermit>,
    due: BinaryHeap<Reverse<Due>>,
}

impl Node {
    pub(crate) fn new(
        context: &Context,
        index: u64,
        slot: usize,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let identity = context.group.identity(index).into_boxed_str();
        Self {
            index,
            slot,
            machines: context.start_machines(index, &identity, 0),
            identity,
            counters: Counters::default(),
            requests: 0,
            was_ready: false,
            stays: 0,
            ready_unix: 0,
            last_message_unix: 0,
            registrations: 0,
            agenda: Agenda::default(),
            pool: Pool::default(),
            handler: Handler::default(),
            dice: Dice::new(context.seed, index),
            permit: Some(permit),
            due: BinaryHeap::new(),
        }
    }

    /// Makes it a server that has just been started, but for what must not repeat itself.
    pub(crate) fn start_anew(&mut self, context: &Context) {
        let now_unix = context.clock.unix_s();
        self.stays = self.stays.saturating_add(1);
        self.was_ready = false;
        self.ready_unix = now_unix;
        self.last_message_unix = 0;
        self.counters = Counters::default();
        self.agenda = Agenda::default();
        self.machines = context.start_machines(self.index, &self.identity, self.stays);
        self.pool = Pool::default();
        self.handler = Handler::default();
        self.due = BinaryHeap::new();
    }

    /// Lets another node begin in its place.
    pub(super) fn give_way(&mut self) {
        self.permit = None;
    }

    /// The numbers below `count` in random order.
    pub(crate) fn shuffled(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        self.dice.shuffle(&mut order);
        order
    }

    /// When the first ping of a connection is sent: nodes that connect together do not ping together.
    pub(crate) fn ping_phase(&mut self, interval: Duration) -> Duration {
        let ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
        Duration::from_millis(1 + self.dice.roll() % ms)
    }

    /// Holds a reply back; false if there are too many already.
    pub(crate) fn put_off(&mut self, at: Instant, opened: Arc<Opened>, kind: AnswerKind) -> bool {
        if self.due.len() >= MAX_DUE {
            return false;
        }
        self.due.push(Reverse(Due { at, order: self.requests, opened, kind }));
        true
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse(due)| due.at)
    }

    pub(crate) fn take_due(&mut self, now: Instant) -> Option<(Arc<Opened>, AnswerKind)> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse(due) = self.due.pop()?;
        if self.due.is_empty() {
            // An idle node holds no memory for what is past.
            self.due = BinaryHeap::new();
        }
        Some((due.opened, due.kind))
    }
}

/// Keeps the node connected until it is stopped, or its library would give up; then hands it back.
pub(crate) async fn live(
    mut node: Box<Node>,
    context: &Context,
    stop: &CancellationToken,
) -> Box<Node> {
    while !stop.is_cancelled() {
        let configured = context.configured(&node);
        let Node { pool, dice, was_ready, .. } = &mut *node;
        let pause = match was_ready {
            false => pool.next_first(configured, dice),
            true => pool.next_again(dice),
        };
        if let Some(pause) = pause {
            // A node that waits does not hold up the start of others.
            node.give_way();
            // On the heap, so that a connected node has no room for it.
            if Box::pin(unconnected(&mut node, context, stop, Some(pause))).await.is_break() {
                break;
            }
        }
        if connect_once(&mut node, context, stop).await.is_break() {
            break;
        }
    }
    node
}

/// Waits for so long, or until the node is stopped, and keeps its status file meanwhile: a real server
/// writes it whether it is connected or not (protocol document 10.1). Breaks if it is stopped.
async fn unconnected(
    node: &mut Node,
    context: &Context,
    stop: &CancellationToken,
    pause: Option<Duration>,
) -> ControlFlow<()> {
    let until = pause.and_then(|pause| Instant::now().checked_add(pause));
    loop {
        let next = [until, node.agenda.next_status()].into_iter().flatten().min();
        let waiting = async {
            match next {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        if stop.run_until_cancelled(waiting).await.is_none() {
            return ControlFlow::Break(());
        }
        if node.agenda.take_status(&context.spec.lifecycle, Instant::now()) {
            context.write_status(node, NO_BROKER);
        }
        if until.is_some_and(|until| until <= Instant::now()) {
            return ControlFlow::Continue(());
        }
    }
}

/// The source address of a node, whichever process runs it: dealt out by its index, in no step with the
/// servers, which are dealt out by turns, so that each server sees all addresses.
fn source_of(index: u64, sources: &[IpAddr]) -> Option<IpAddr> {
    // Fibonacci hashing: the upper half of the product is even for indexes in any step.
    let mixed = index.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let count = u64::try_from(sources.len()).ok().filter(|count| *count > 0)?;
    usize::try_from(mixed % count).ok().and_then(|at| sources.get(at)).copied()
}

/// Opens a connection to a server of the pool. Where its name stands for several addresses, they are tried in an
/// order of the node's own, each for its part of the time, until one takes the connection (nats.go, `createConn`).
async fn reach(
    server: &Server,
    dice: &mut Dice,
    source: Option<IpAddr>,
    room: Room,
    within: Duration,
) -> io::Result<TcpStream> {
    let mut addresses = server.addresses.clone();
    if addresses.is_empty() {
        addresses = lookup_host(server.place()).await?.collect();
        // A resolver gives them in any order.
        addresses.sort_unstable();
        addresses.dedup();
    }
    if addresses.len() > 1 {
        dice.shuffle(&mut addresses);
    }
    let each = within / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let mut refused = io::ErrorKind::NotFound.into();
    for address in addresses {
        // An address to connect from leads to its own network only.
        let source = source.filter(|source| source.is_loopback() == address.ip().is_loopback());
        match timeout(each, dial(address, source, room)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => refused = error,
            Err(_) => refused = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(refused)
}

/// One dial and, if it succeeds, the connection until it ends.
async fn connect_once(
    node: &mut Node,
    context: &Context,
    stop: &CancellationToken,
) -> ControlFlow<()> {
    use ControlFlow::{Break, Continue};
    let Some(server) = context.directory.server(node.pool.current()) else {
        return Break(());
    };
    let source = source_of(node.index, &context.spec.source_addresses);
    let room = context.spec.behaviour.stuck.map_or(Room::Usual, |_| Room::Little);
    let dialled = Instant::now();
    add(&context.counts.dials, 1);
    let within = context.spec.connect.timeout;
    let reaching = reach(&server, &mut node.dice, source, room, within);
    let dialling = Box::pin(timeout(within, reaching));
    let stream = match stop.run_until_cancelled(dialling).await {
        None => return Break(()),
        Some(Ok(Ok(stream))) => stream,
        Some(Ok(Err(error))) => {
            context.failed_dial(&error);
            return Continue(());
        }
        Some(Err(_)) => {
            context.failed_dial(&io::ErrorKind::TimedOut.into());
            return Continue(());
        }
    };
    let mut timer = pin!(sleep_until(dialled));
    let mut cancelled = pin!(stop.cancelled());
    let mut session = Session::new(node, context, stream, &server.url, dialled);
    let end = poll_fn(|cx| session.poll(cx, timer.as_mut(), cancelled.as_mut())).await;
    let (was_ready, is_final) = (session.was_ready(), session.is_final(&end));
    drop(session);
    context.ended(&end, was_ready);
    if matches!(end, End::Stopped) {
        return Break(());
    }
    if is_final {
        add(&context.counts.closed_for_good, 1);
        context.progress.notify_waiters();
        let _ = Box::pin(unconnected(node, context, stop, None)).await;
        if !context.stop.is_cancelled() {
            // It will be started anew.
            sub(&context.counts.closed_for_good, 1);
        }
        return Break(());
    }
    Continue(())
}
