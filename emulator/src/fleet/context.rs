//! What the nodes of a group share on a shard, and how they see it.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::counts::{ShardCounts, add};
use super::failures::Failures;
use super::ledger::{Ledger, Ledgers};
use super::node::Node;
use crate::connection::dial::{out_of_files, out_of_ports};
use crate::connection::directory::Directory;
use crate::connection::session::End;
use crate::lifecycle::status;
use crate::machines::{Machines, Start};
use crate::node::{self, AnswerKind, Group, NodeView, Opened, Silence};
use crate::spec::{Clock, GroupSpec};

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
    pub(super) fn configured(&self, node: &Node) -> &[u16] {
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
        node.give_way();
        add(&counts.connected, 1);
        add(&counts.subscriptions, self.subscriptions() as u64);
        self.ledgers.connected(node.slot, node.pool.away());
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
        let answer = self.group.behave(opened.agent(), self.seed, node.index, node.requests);
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
    pub(super) fn start_machines(&self, index: u64, identity: &str, stays: u16) -> Machines {
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

    pub(super) fn failed_dial(&self, error: &io::Error) {
        add(&self.counts.dial_failures, 1);
        if out_of_ports(error) {
            add(&self.counts.out_of_ports, 1);
        } else if out_of_files(error) {
            add(&self.counts.out_of_files, 1);
        }
    }

    pub(super) fn ended(&self, end: &End, was_ready: bool) {
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
