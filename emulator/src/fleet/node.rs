//! One node: what it remembers between connections, and the task that keeps it connected.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::poll_fn;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::counts::{ShardCounts, add, sub};
use super::dice::Dice;
use super::failures::Failures;
use super::ledger::{Ledger, Ledgers};
use super::queue::Handler;
use crate::connection::dial::{Room, dial, out_of_files, out_of_ports};
use crate::connection::pool::{Directory, Pool, Server};
use crate::connection::session::{End, Session};
use crate::lifecycle::{Agenda, status};
use crate::machines::{Machines, Start};
use crate::node::{self, AnswerKind, Counters, Group, NodeView, Opened, Silence};
use crate::spec::{Clock, GroupSpec};

/// The broker's URL where there is none: nats.go, `ConnectedUrlRedacted`.
pub(crate) const NO_BROKER: &str = "";

/// Replies that one node may hold back at once; further requests are dropped and counted.
const MAX_DUE: usize = 1024;

/// What the nodes of one group share on one shard.
pub struct Context {
    pub(crate) spec: Arc<GroupSpec>,
    pub(crate) group: Arc<Group>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) seed: u64,
    pub(crate) clock: Clock,
    pub(crate) started_unix: i64,
    pub(crate) counts: Arc<ShardCounts>,
    pub(crate) ledgers: Arc<Ledgers>,
    pub(crate) stop: CancellationToken,
    pub(crate) progress: Arc<Notify>,
    pub(crate) failures: Arc<Failures>,
    /// Broadcast subjects in the order in which a server subscribes them.
    pub(crate) broadcasts: Vec<String>,
}

impl Context {
    /// How many subscriptions each node makes.
    pub(crate) fn subscriptions(&self) -> usize {
        self.broadcasts.len() + self.spec.collectives.len()
    }

    /// The servers that the node is configured with, as numbers of the directory: its home first.
    fn configured(&self, node: &Node) -> &[u16] {
        self.spec.homes.configured(node.index.saturating_sub(self.spec.first))
    }

    /// `CONNECT`, as recorded from the real server.
    pub(crate) fn write_connect(&self, identity: &str, headers: bool, out: &mut Vec<u8>) {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let name = text(identity);
        // Writing to a vector cannot fail.
        let _ = write!(
            out,
            "CONNECT {{\"verbose\":false,\"pedantic\":false,\"tls_required\":false,\"name\":{name},\
             \"lang\":\"go\",\"version\":\"1.52.0\",\"protocol\":1,\"echo\":true,\
             \"headers\":{headers},\"no_responders\":{headers}"
        );
        let login = &self.spec.login;
        let members =
            [("user", &login.user), ("pass", &login.password), ("auth_token", &login.token)];
        for (member, value) in members {
            if let Some(value) = value {
                let _ = write!(out, ",\"{member}\":{}", text(value));
            }
        }
        out.extend_from_slice(b"}\r\n");
    }

    /// Subscription `number` (from 0): the agents in every collective, then the node's own subjects.
    pub(crate) fn write_subscription(&self, identity: &str, number: usize, out: &mut Vec<u8>) {
        let sid = number + 1;
        let _ = match self.broadcasts.get(number) {
            Some(subject) => write!(out, "SUB {subject}  {sid}\r\n"),
            None => {
                let collective = &self.spec.collectives[number - self.broadcasts.len()];
                write!(out, "SUB {collective}.node.{identity}  {sid}\r\n")
            }
        };
    }

    /// All subscriptions in random order, as the library sends them after a reconnect.
    pub(crate) fn write_subscriptions_shuffled(&self, node: &mut Node, out: &mut Vec<u8>) {
        for number in node.shuffled(self.subscriptions()) {
            self.write_subscription(&node.identity, number, out);
        }
    }

    /// The book that is kept of a request, if any.
    pub(crate) fn ledger<'o>(&self, opened: &'o Opened) -> Option<&'o Arc<Ledger>> {
        opened.tag(|request_id| self.ledgers.find(request_id))
    }

    pub(crate) fn node_ready(&self, node: &mut Node) {
        let counts = &self.counts;
        let counter = match (node.was_ready, node.stays) {
            (true, _) => &counts.reconnects,
            (false, 0) => &counts.ever_connected,
            (false, _) => &counts.returned,
        };
        add(counter, 1);
        node.was_ready = true;
        node.permit = None;
        add(&counts.connected, 1);
        add(&counts.subscriptions, self.subscriptions() as u64);
        self.ledgers.connected(node.slot, node.pool.current());
        self.progress.notify_waiters();
    }

    /// What the node does about a request: nothing, or an answer after a delay. Everything is counted.
    pub(crate) fn judge(
        &self,
        node: &mut Node,
        broker: &str,
        opened: &Opened,
        ledger: Option<&Arc<Ledger>>,
        now: i64,
    ) -> Option<(AnswerKind, Duration)> {
        node.last_message_unix = now;
        if let Some(ledger) = ledger {
            ledger.arrived.set(node.slot);
        }
        if let Err(silence) = node::judge(&mut self.view(node, broker), opened, now) {
            self.kept_silent(node, silence, ledger);
            return None;
        }
        let answer = self.group.behave(self.seed, node.index, node.requests);
        node.requests = node.requests.wrapping_add(1);
        match answer.kind {
            None => {
                add(&self.counts.silent, 1);
                if let Some(ledger) = ledger {
                    ledger.silent.set(node.slot);
                }
            }
            Some(AnswerKind::Error) if opened.speaks_rpc() => add(&self.counts.error_replies, 1),
            Some(_) => {}
        }
        answer.kind.map(|kind| (kind, answer.delay))
    }

    /// Counts why there will be no reply, in the fleet and in the request's book.
    pub(crate) fn kept_silent(&self, node: &Node, silence: Silence, ledger: Option<&Arc<Ledger>>) {
        let counter = match silence {
            Silence::Filtered => &self.counts.filtered,
            Silence::Expired => &self.counts.ttl_expired,
            Silence::ForeignCollective | Silence::NotHosted => &self.counts.not_ours,
            Silence::NotPublished => &self.counts.unpublishable,
            Silence::Refused(_) | Silence::NoAnswer => &self.counts.refused,
        };
        add(counter, 1);
        if let Some(ledger) = ledger {
            ledger.refused.set(node.slot);
        }
    }

    /// Counts a request whose reply the node has no place to hold back.
    pub(crate) fn overflowed(&self, node: &Node, ledger: Option<&Arc<Ledger>>) {
        add(&self.counts.overflowed, 1);
        if let Some(ledger) = ledger {
            ledger.refused.set(node.slot);
        }
    }

    /// Counts a message that found the node's request queue full: the library of a real server drops
    /// it and says "slow consumer". The broker has delivered it, so the node is to blame.
    pub(crate) fn slow_consumer(&self, node: &Node, ledger: Option<&Arc<Ledger>>) {
        add(&self.counts.slow_consumer, 1);
        if let Some(ledger) = ledger {
            ledger.arrived.set(node.slot);
            ledger.queue_full.set(node.slot);
        }
    }

    /// Writes the reply's payload, at most `max_payload` bytes, and names its subject.
    pub(crate) fn compose<'o>(
        &self,
        node: &mut Node,
        broker: &str,
        opened: &'o Opened,
        answer: (AnswerKind, i64, usize),
        body: &mut Vec<u8>,
    ) -> Result<&'o str, Silence> {
        let (kind, now, max_payload) = answer;
        node::compose(&mut self.view(node, broker), opened, kind, now, body)?;
        // The library refuses what the broker would close the connection for.
        let subject = opened.reply_to().filter(|_| body.len() <= max_payload);
        subject.ok_or(Silence::NotPublished)
    }

    pub(crate) fn view<'a>(&'a self, node: &'a mut Node, broker: &'a str) -> NodeView<'a> {
        NodeView {
            group: &self.group,
            index: node.index,
            identity: &node.identity,
            broker,
            counters: &mut node.counters,
            started_unix: if node.stays == 0 { self.started_unix } else { node.ready_unix },
            machines: &mut node.machines,
        }
    }

    /// Writes the node's status file; `broker` is empty while the node has none, as in a real server's.
    pub(crate) fn write_status(&self, node: &mut Node, broker: &str) {
        let Some(files) = &self.spec.lifecycle.status_files else { return };
        let last_message_unix = node.last_message_unix;
        let now_unix = self.clock.unix_s();
        let status = status::compose(&self.view(node, broker), last_message_unix, now_unix);
        if let Err(error) = status::write(&files.folder, &node.identity, &status) {
            add(&self.counts.status_file_failures, 1);
            tracing::debug!(node = %node.identity, %error, "status file not written");
        }
    }

    /// The machines of a node that starts for the first time, or after so many stays.
    fn start_machines(&self, index: u64, identity: &str, stays: u16) -> Machines {
        Machines::start(&Start {
            group: &self.group,
            seed: self.seed,
            index,
            identity,
            stays,
            now_unix: self.clock.unix_s(),
            publishes: self.spec.lifecycle.events.machines,
        })
    }

    fn failed_dial(&self, error: &io::Error) {
        add(&self.counts.dial_failures, 1);
        if out_of_ports(error) {
            add(&self.counts.out_of_ports, 1);
        } else if out_of_files(error) {
            add(&self.counts.out_of_files, 1);
        }
    }

    fn ended(&self, end: &End, was_ready: bool) {
        if matches!(end, End::Stopped) {
            return;
        }
        let counter =
            if was_ready { &self.counts.disconnects } else { &self.counts.handshake_failures };
        add(counter, 1);
        if matches!(end, End::Protocol(_) | End::Unexpected(_)) {
            add(&self.counts.protocol_errors, 1);
        }
        tracing::debug!(group = %self.spec.name, ?end, was_ready, "connection ended");
        self.progress.notify_waiters();
    }
}

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
            node.permit = None;
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

/// Opens a connection to a server of the pool.
async fn reach(server: &Server, source: Option<IpAddr>, room: Room) -> io::Result<TcpStream> {
    let address = match server.address {
        Some(address) => address,
        None => {
            let mut found = lookup_host(server.place()).await?;
            found.next().ok_or(io::ErrorKind::NotFound)?
        }
    };
    // An address to connect from leads to its own network only.
    let source = source.filter(|source| source.is_loopback() == address.ip().is_loopback());
    dial(address, source, room).await
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
    let dialling = Box::pin(timeout(context.spec.connect.timeout, reach(&server, source, room)));
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
