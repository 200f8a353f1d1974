//! One node, as a pure function: a request and the second of the clock go in, a verdict or the bytes
//! of a reply come out. No socket, no clock, no task: those are the connection's and the fleet's.
//!
//! ```text
//! payload --Desk::open--> Opened --judge--> verdict, counters --compose--> reply transport
//! ```
//!
//! The order of the steps and what each counts is that of the real server (protocol document 3.14
//! and 14). What does not depend on the node is worked out once per thread and kept in [`Opened`].

mod behaviour;
mod desk;
mod group;
mod subject;

use crate::agents::Answer as AgentAnswer;
use crate::machines::Machines;
use crate::pattern::Vars;
use crate::protocol::reply::{ReplyTemplate, reply_subject_is_publishable};
use crate::protocol::request::{Refusal, Request};
use desk::Content;
use std::cell::Cell;
use subject::NodeSubject;

pub(crate) use behaviour::unit;
pub use behaviour::{Answer, mix};
pub use desk::{Desk, Opened};
pub use group::{Group, GroupError, Profile, SERVER_VERSION};

/// A node, as far as answering needs to know it.
#[derive(Debug)]
pub struct NodeView<'a> {
    /// What it shares with the nodes of its group.
    pub group: &'a Group,
    /// Its global index.
    pub index: u64,
    /// Its identity, [`Group::identity`] of its index.
    pub identity: &'a str,
    /// URL of the broker that it is connected to, as it stands in `seen-by`.
    pub broker: &'a str,
    /// What it has counted.
    pub counters: &'a mut Counters,
    /// When it started.
    pub started_unix: i64,
    /// Its autonomous agents.
    pub machines: &'a mut Machines,
}

/// The counters of a server (protocol document 10.2). They wrap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages received.
    pub total: u32,
    /// Messages that were valid requests for this node.
    pub validated: u32,
    /// Messages that could not be decoded or were for a foreign collective.
    pub unvalidated: u32,
    /// Requests that the filter let pass.
    pub passed: u32,
    /// Requests that the filter stopped.
    pub filtered: u32,
    /// Requests outside their time of validity.
    pub ttl_expired: u32,
    /// Replies made, also those that could not be published.
    pub replies: u32,
    /// Lifecycle events published.
    pub events: u32,
}

/// Which answer a node gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerKind {
    /// What the agent answers.
    Normal,
    /// An error reply (statuscode 1), where the agent speaks RPC.
    Error,
}

/// Why nothing is published for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// It is no request.
    Refused(Refusal),
    /// The filter does not mean this node.
    Filtered,
    /// The node is not in the request's collective.
    ForeignCollective,
    /// The request is too old, or from too far in the future.
    Expired,
    /// The node does not host the agent.
    NotHosted,
    /// The agent has no answer to it.
    NoAnswer,
    /// There is a reply, but a real server could not publish it.
    NotPublished,
}

impl Silence {
    /// The reason in the words of the recorded cases (`captures/edge-cases.jsonl`, `why`).
    pub fn why(self) -> &'static str {
        match self {
            Self::Refused(Refusal::Transport) => "transport refused",
            Self::Refused(Refusal::HeadersNull) => "crash",
            Self::Refused(Refusal::SecureRequest) => "secure request refused",
            Self::Refused(Refusal::Request) => "request refused",
            Self::Filtered => "filtered",
            Self::ForeignCollective => "collective not ours",
            Self::Expired => "outside the ttl window",
            Self::NotHosted => "agent not hosted",
            Self::NoAnswer => "agent gave no answer",
            Self::NotPublished => "reply not published",
        }
    }
}

impl NodeView<'_> {
    /// What patterns may refer to.
    pub(crate) fn vars(&self) -> Vars<'_> {
        self.group.vars(self.index)
    }

    /// The lines of the node's classes file, sorted bytewise as a real server replies them.
    pub(crate) fn classes_sorted(&self) -> Vec<String> {
        let render = |class: &crate::pattern::Pattern| {
            let mut text = String::new();
            class.render(&self.vars(), &mut text);
            text
        };
        let mut classes: Vec<_> = self.group.classes().iter().map(render).collect();
        classes.sort_unstable();
        classes
    }

    fn is_meant(&self, content: &Content, now_unix: i64) -> bool {
        if content.unfiltered {
            return true;
        }
        let scratch = Cell::default();
        let shown = self.group.subject(self.index, self.identity, &scratch);
        content.filter.matches(&NodeSubject { shown, node: self, now_unix })
    }
}

/// Whether the node acts on a request. Its counters move as those of a real server.
///
/// # Errors
///
/// Why the node does nothing.
pub fn judge(node: &mut NodeView<'_>, opened: &Opened, now_unix: i64) -> Result<(), Silence> {
    count(&mut node.counters.total);
    node.machines.advance(now_unix);
    let content = match opened.content() {
        Ok(content) => content,
        Err(refusal) => {
            count(&mut node.counters.unvalidated);
            return Err(Silence::Refused(refusal));
        }
    };
    if !node.is_meant(content, now_unix) {
        count(&mut node.counters.filtered);
        return Err(Silence::Filtered);
    }
    count(&mut node.counters.passed);
    let request = &content.request;
    if !node.group.profile().collectives.contains(&request.collective) {
        count(&mut node.counters.unvalidated);
        return Err(Silence::ForeignCollective);
    }
    if !is_in_time(request, now_unix) {
        count(&mut node.counters.ttl_expired);
        return Err(Silence::Expired);
    }
    count(&mut node.counters.validated);
    if node.group.agents().contains(&request.agent) { Ok(()) } else { Err(Silence::NotHosted) }
}

fn count(counter: &mut u32) {
    *counter = counter.wrapping_add(1);
}

/// `now - ttl < time < now + ttl` (protocol document 3.14), where a fraction of a second has passed
/// since `now_unix`. The ttl is nanoseconds in Go and wraps around.
fn is_in_time(request: &Request, now_unix: i64) -> bool {
    const SECOND_NS: i64 = 1_000_000_000;
    let ttl_ns = i128::from(request.ttl_s.wrapping_mul(SECOND_NS));
    let time_ns = i128::from(request.time_unix) * i128::from(SECOND_NS);
    let now_ns = i128::from(now_unix) * i128::from(SECOND_NS) + 1;
    now_ns - ttl_ns < time_ns && time_ns < now_ns + ttl_ns
}

/// Appends the transport of the node's reply to `out`; it goes to [`Opened::reply_to`].
///
/// Only for a request that [`judge`] let pass. Nothing is appended on an error.
///
/// # Errors
///
/// Why there is nothing to publish.
pub fn compose(
    node: &mut NodeView<'_>,
    opened: &Opened,
    kind: AnswerKind,
    now_unix: i64,
    out: &mut Vec<u8>,
) -> Result<(), Silence> {
    let content = opened.content().map_err(Silence::Refused)?;
    node.machines.advance(now_unix);
    if !content.call.is_answered(node.group) {
        return Err(Silence::NoAnswer);
    }
    let written = write_reply(node, content, kind, now_unix, out);
    count(&mut node.counters.replies);
    written.ok_or(Silence::NotPublished)
}

fn write_reply(
    node: &mut NodeView<'_>,
    content: &Content,
    kind: AnswerKind,
    now_unix: i64,
    out: &mut Vec<u8>,
) -> Option<()> {
    let request = &content.request;
    request.reply_to.as_deref().filter(|subject| reply_subject_is_publishable(subject))?;
    if !request.repliable {
        return None;
    }
    let (identity, broker) = (node.identity, node.broker);
    let mut write = |template: &ReplyTemplate| template.write(identity, broker, now_unix, out);
    if let Some(template) = content.template(kind) {
        write(template);
        return Some(());
    }
    let body = match &content.call.answer {
        AgentAnswer::OfNode(question) => content.call.ask(question, node, now_unix)?,
        _ => content.call.same_reply()?.into_owned(),
    };
    let template = ReplyTemplate::new(request, &body);
    drop(body);
    write(&template);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Filter;

    #[test]
    fn requests_are_valid_strictly_within_their_ttl() {
        // Protocol document 14: a huge ttl overflows, that of 2^31 seconds does not.
        for (ttl_s, time_unix, valid) in [
            (60, 941, true),
            (60, 940, false),
            (60, 1060, true),
            (60, 1061, false),
            (2_147_483_648, 1, true),
            (9_000_000_000_000_000_000, 1000, false),
            (i64::MAX, 1000, false),
            (60, i64::MAX, false),
            (60, i64::MIN, false),
        ] {
            let request = Request {
                request_id: String::new(),
                collective: String::new(),
                agent: String::new(),
                ttl_s,
                time_unix,
                filter: Filter::default(),
                payload: Vec::new(),
                reply_to: None,
                repliable: true,
                federated: None,
            };
            assert_eq!(is_in_time(&request, 1000), valid, "ttl {ttl_s}, time {time_unix}");
        }
    }
}
