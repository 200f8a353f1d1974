//! RPC requests and replies as the agent framework of the real server reads and writes them
//! (protocol document 4.1 to 4.3; go-choria `providers/agent/mcorpc`).

use super::inputs::{self, Field};
use crate::protocol::escape;
use std::borrow::Cow;

/// The parts of an RPC request that an agent looks at.
#[derive(Debug, Default)]
pub(super) struct Body {
    pub(super) action: String,
    /// The agent that it names, whichever is asked.
    pub(super) agent: String,
    /// The inputs as JSON; `{}` if there are none.
    pub(super) data: Vec<u8>,
}

/// Reads an RPC request. Other members than these are ignored, but must have the right type.
pub(super) fn read(payload: &[u8]) -> Result<Body, String> {
    let (mut action, mut agent) = (String::new(), String::new());
    let mut data = b"{}".to_vec();
    let mut ttl = 0;
    let mut fields = [
        ("action", Field::Text(&mut action)),
        ("data", Field::Raw(&mut data)),
        ("ttl", Field::Integer(&mut ttl)),
        ("time", Field::Time),
        ("agent", Field::Text(&mut agent)),
        ("requestid", Field::IgnoredText),
        ("senderid", Field::IgnoredText),
        ("callerid", Field::IgnoredText),
        ("collective", Field::IgnoredText),
    ];
    inputs::read(payload, "mcorpc", "Request", &mut fields)?;
    Ok(Body { action, agent, data })
}

/// What an agent is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// Its name.
    pub(super) agent: &'a str,
    /// The name that the request's body has for it.
    pub(super) named: &'a str,
    pub(super) action: &'a str,
    /// The inputs as JSON.
    pub(super) data: &'a [u8],
}

#[cfg(test)]
impl<'a> Asked<'a> {
    /// By a client that names the agent as it is called.
    pub(super) fn of(agent: &'a str, action: &'a str, data: &'a str) -> Self {
        Self { agent, named: agent, action, data: data.as_bytes() }
    }
}

/// A reply that reports a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    code: u8,
    message: String,
    data: Cow<'static, str>,
}

impl Failure {
    /// The action failed, statuscode 1.
    pub(super) fn aborted(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into(), data: "{}".into() }
    }

    /// The agent has no such action, statuscode 2.
    pub(super) fn unknown_action(agent: &str, action: &str) -> Self {
        let message = format!("Unknown action {action} for agent {agent}");
        Self { code: 2, message, data: "{}".into() }
    }

    /// The inputs have the wrong types, statuscode 4.
    pub(super) fn bad_inputs(asked: Asked<'_>, problem: &str) -> Self {
        let Asked { named, action, .. } = asked;
        let message = format!("Could not parse request data for {named}#{action}: {problem}");
        Self { code: 4, message, data: "{}".into() }
    }

    /// The body is no RPC request, statuscode 4.
    pub(super) fn unparsable(problem: &str) -> Self {
        let message = format!(
            "Could not process request: could not parse incoming message as a MCollective \
             SimpleRPC Request: {problem}"
        );
        Self { code: 4, message, data: "{}".into() }
    }

    /// The same failure with placeholder data.
    pub(super) fn with_data(self, data: impl Into<Cow<'static, str>>) -> Self {
        Self { data: data.into(), ..self }
    }

    /// The reply to `action`.
    pub(super) fn reply(&self, action: &str) -> String {
        reply(action, self.code, &self.message, &self.data)
    }
}

/// An RPC reply; `data` is JSON.
pub(super) fn reply(action: &str, code: u8, message: &str, data: &str) -> String {
    let action = quoted(action);
    let message = quoted(message);
    format!(r#"{{"action":{action},"statuscode":{code},"statusmsg":{message},"data":{data}}}"#)
}

/// `text` as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    escape::push_quoted(text, &mut out);
    // Escaping keeps UTF-8 as it is.
    String::from_utf8(out).unwrap_or_default()
}
