//! The agents that a node hosts: what they answer to a request (protocol document 4.4 to 4.7 and 14).
//!
//! A request is looked at once for all nodes of a thread (`Call::of`); most answers are then the
//! same for all of them. Whether a node hosts the agent, and whether it answers at all, is decided
//! in [`crate::node`]. `choria_provision` answers as on a server that is not being
//! provisioned; agents of a user's own come from their [`ddl`].

mod choria_util;
mod config;
mod data;
pub mod ddl;
mod emulated;
mod inputs;
mod metadata;
mod provision;
mod rpc;
mod rpcutil;
mod scout;

use std::fmt;

use crate::node::{Group, NodeView};
use crate::protocol::request::Request;

pub(crate) use config::{FACTS_FILE, STOCK as STOCK_CONFIG, item as config_item};
pub use config::{items as config_items, text_of as config_text};
pub use metadata::stock_timeout_s;
pub(crate) use metadata::{array as json_array, list as json_list};
pub(crate) use rpc::quoted as json_text;

/// Size of an answer, in bytes, beyond which no broker would take the reply: the largest
/// `max_payload` that nats-server recommends. A real server fails to publish such a reply.
pub const ANSWER_BYTES_MAX: usize = 8 << 20;

/// What a request asks of its agent.
#[derive(Debug)]
pub(crate) struct Call {
    /// The action, as it stands in the reply; `None` for agents that do not speak RPC.
    pub(crate) action: Option<String>,
    /// What answers it.
    pub(crate) answer: Answer,
}

/// What answers a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Nothing: the agent keeps silent.
    Nothing,
    /// The same payload from every node.
    Same(String),
    /// So many digits, from every node.
    Digits(usize),
    /// More than any broker takes, so that nothing is published.
    TooLarge,
    /// A payload that depends on the node.
    OfNode(Question),
}

/// What a node must be asked for.
#[derive(Debug)]
pub(crate) enum Question {
    /// To an agent of Choria Server.
    Stock(Box<dyn Ask>),
    /// To an agent of the user's own, whose group knows what it answers.
    Own {
        /// Name of the agent.
        agent: String,
        /// The inputs as JSON.
        data: Vec<u8>,
    },
}

/// A question that a stock agent has read out of a request, whichever node it is put to.
pub(crate) trait Ask: fmt::Debug + Send + Sync {
    /// The data of one node's reply, as JSON.
    fn answer(&self, node: &mut NodeView<'_>, now_unix: i64) -> Result<String, rpc::Failure>;
}

impl Answer {
    /// What is made of each node's answer to this question.
    fn of_node(question: impl Ask + 'static) -> Self {
        Self::OfNode(Question::Stock(Box::new(question)))
    }
}

impl Call {
    /// Looks at a request's payload as its agent does.
    pub(crate) fn of(request: &Request) -> Self {
        let agent = request.agent.as_str();
        let answers: fn(rpc::Asked<'_>) -> Result<Answer, rpc::Failure> = match agent {
            "discovery" => return Self { action: None, answer: discovery(&request.payload) },
            "rpcutil" => rpcutil::ask,
            "choria_util" => choria_util::ask,
            "choria_provision" => provision::ask,
            "scout" => scout::ask,
            _ if emulated::is_agent(agent) => emulated::ask,
            _ => own,
        };
        let (action, answer) = match rpc::read(&request.payload) {
            Ok(body) => {
                let rpc::Body { action, agent: named, data } = &body;
                let answer = answers(rpc::Asked { agent, named, action, data });
                (body.action, answer)
            }
            Err(problem) => (String::new(), Err(rpc::Failure::unparsable(&problem))),
        };
        let answer = answer.unwrap_or_else(|failure| Answer::Same(failure.reply(&action)));
        Self { action: Some(action), answer }
    }

    /// The answer of one node, where it depends on the node; `None` if it is too large to publish.
    pub(crate) fn ask(
        &self,
        question: &Question,
        node: &mut NodeView<'_>,
        now_unix: i64,
    ) -> Option<String> {
        let action = self.action.as_deref().unwrap_or_default();
        let answer = match question {
            Question::Stock(question) => question.answer(node, now_unix),
            Question::Own { agent, data } => {
                let reply = node.group.hosted(agent)?.answer(action, data, &node.vars());
                return (reply.len() <= ANSWER_BYTES_MAX).then_some(reply);
            }
        };
        let reply = match answer {
            Ok(data) => rpc::reply(action, 0, "OK", &data),
            Err(failure) => failure.reply(action),
        };
        (reply.len() <= ANSWER_BYTES_MAX).then_some(reply)
    }

    /// Whether nodes of this group have an answer.
    pub(crate) fn is_answered(&self, group: &Group) -> bool {
        match &self.answer {
            Answer::Nothing => false,
            Answer::OfNode(Question::Own { agent, .. }) => group.hosted(agent).is_some(),
            _ => true,
        }
    }

    /// Whether the agent speaks RPC and has an error reply.
    pub(crate) fn speaks_rpc(&self) -> bool {
        self.action.is_some()
    }

    /// The error reply that the scenario asked for; `None` for agents that do not speak RPC.
    pub(crate) fn error_reply(&self) -> Option<String> {
        let action = self.action.as_deref()?;
        Some(rpc::reply(action, 1, "error reply of an emulated node, as its scenario asks", "{}"))
    }

    /// The payload that every node answers with, if it is the same.
    pub(crate) fn same_reply(&self) -> Option<std::borrow::Cow<'_, str>> {
        match &self.answer {
            Answer::Same(reply) => Some(reply.as_str().into()),
            Answer::Digits(size) => {
                let action = self.action.as_deref().unwrap_or_default();
                Some(emulated::generated(action, *size).into())
            }
            Answer::Nothing | Answer::TooLarge | Answer::OfNode(_) => None,
        }
    }
}

/// The actions of an agent that this tool has; empty if it has none of this name.
#[must_use]
pub fn actions(agent: &str) -> &'static [&'static str] {
    match agent {
        // It speaks no RPC, and answers whatever holds this word.
        "discovery" => &["ping"],
        "rpcutil" => &rpcutil::ACTIONS,
        "choria_util" => &choria_util::ACTIONS,
        "choria_provision" => &provision::ACTIONS,
        "scout" => &scout::ACTIONS,
        _ if emulated::is_agent(agent) => &emulated::ACTIONS,
        _ => &[],
    }
}

/// What a data plugin finds, for filters: null if it fails, `None` if there is no such plugin.
pub(crate) fn plugin_data(
    node: &NodeView<'_>,
    plugin: &str,
    query: Option<&str>,
    now_unix: i64,
) -> Option<serde_json::Value> {
    let source = data::Source::named(plugin, query.unwrap_or_default().to_owned()).ok()?;
    serde_json::from_str(&source.get(node, now_unix)).ok()
}

/// The metadata of a node's agents as registrations carry it: JSON.
pub(crate) fn registered(node: &NodeView<'_>) -> String {
    metadata::array(node.group.agents_sorted().map(|agent| metadata::registered(agent, node.group)))
}

/// What an agent of the user's own is asked.
#[expect(clippy::unnecessary_wraps, reason = "one of several functions of this shape")]
fn own(asked: rpc::Asked<'_>) -> Result<Answer, rpc::Failure> {
    let (agent, data) = (asked.agent.to_owned(), asked.data.to_vec());
    Ok(Answer::OfNode(Question::Own { agent, data }))
}

/// The discovery agent looks for the bytes `ping` anywhere in the payload (protocol document 4.4).
fn discovery(payload: &[u8]) -> Answer {
    if payload.windows(4).any(|window| window == b"ping") {
        Answer::Same("pong".to_owned())
    } else {
        Answer::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_actions_that_are_listed_are_those_that_are_known() {
        type Ask = fn(rpc::Asked<'_>) -> Result<Answer, rpc::Failure>;
        let agents: [(&str, Ask); 5] = [
            ("rpcutil", rpcutil::ask),
            ("choria_util", choria_util::ask),
            ("choria_provision", provision::ask),
            ("scout", scout::ask),
            ("emulated0", emulated::ask),
        ];
        for (agent, ask) in agents {
            let unknown = |action: &str| match ask(rpc::Asked::of(agent, action, "{}")) {
                Err(failure) => failure.reply(action).contains("Unknown action"),
                Ok(_) => false,
            };
            assert!(!actions(agent).is_empty(), "{agent}");
            assert!(!actions(agent).iter().any(|action| unknown(action)), "{agent}");
            assert!(unknown("nosuch"), "{agent}");
        }
        assert!(actions("package").is_empty());
    }
}
