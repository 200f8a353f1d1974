//! What nodes answer for an agent of a user's own: the steps of the real server in their order, and
//! outputs that are written by the user or made up from their types.

use serde_json::{Map, Value, json};

use super::super::rpc::{self, Failure};
use super::{Action, Ddl, DdlAgent, FixedReply, Interface, Metadata, Output};
use crate::filter::facts::write_go_json;
use crate::pattern::{FactTemplate, PatternError, Vars};

/// Largest statuscode (protocol document 4.2).
const STATUSCODE_MAX: u8 = 5;

/// A user's agent that the nodes of a group host, worked out once.
#[derive(Debug)]
pub(crate) struct Hosted {
    metadata: Metadata,
    actions: Vec<(String, Interface, Reply)>,
}

#[derive(Debug)]
struct Reply {
    code: u8,
    message: String,
    data: FactTemplate,
}

/// A reply that nodes cannot give.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyProblem {
    /// The DDL has no such action.
    #[error("agent {agent} has no action {action}, for which there is a reply")]
    NoAction {
        /// Name of the agent.
        agent: String,
        /// Name of the action.
        action: String,
    },
    /// No statuscode is that large.
    #[error("the reply to {action} has statuscode {code}; they are 0 to {STATUSCODE_MAX}")]
    Code {
        /// Name of the action.
        action: String,
        /// The statuscode.
        code: u8,
    },
    /// A text that is no pattern.
    #[error("the reply to {action}, output {output}: {source}")]
    Pattern {
        /// Name of the action.
        action: String,
        /// Which output, keys and array indexes joined by dots.
        output: String,
        /// What is wrong with it.
        source: Box<PatternError>,
    },
}

impl DdlAgent {
    /// Whether nodes can give the replies.
    ///
    /// # Errors
    /// The first one that they cannot give.
    pub fn check(&self) -> Result<(), ReplyProblem> {
        Hosted::new(self).map(drop)
    }
}

impl Hosted {
    pub(crate) fn new(agent: &DdlAgent) -> Result<Self, ReplyProblem> {
        let DdlAgent { ddl: Ddl { metadata, actions }, replies } = agent;
        if let Some(action) = replies.keys().find(|name| agent.ddl.action(name).is_none()) {
            let agent = metadata.name.clone();
            return Err(ReplyProblem::NoAction { agent, action: action.clone() });
        }
        let host = |action: &Action| {
            let reply = Reply::new(action, replies.get(&action.name))?;
            Ok((action.name.clone(), Interface::new(action), reply))
        };
        let actions = actions.iter().map(host).collect::<Result<_, _>>()?;
        Ok(Self { metadata: metadata.clone(), actions })
    }

    pub(crate) fn name(&self) -> &str {
        &self.metadata.name
    }

    pub(crate) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// A node's reply.
    pub(in crate::agents) fn answer(&self, action: &str, data: &[u8], vars: &Vars<'_>) -> String {
        let reply = self.find(action).and_then(|(interface, reply)| {
            let check = interface.check_json(data);
            check.map_err(|why| Failure::aborted(format!("Validation failed: {why}")))?;
            Ok(reply)
        });
        match reply {
            Ok(Reply { code, message, data }) => {
                let mut shown = String::new();
                write_go_json(&data.facts(vars), &mut shown);
                rpc::reply(action, *code, message, &shown)
            }
            Err(failure) => failure.reply(action),
        }
    }

    fn find(&self, action: &str) -> Result<(&Interface, &Reply), Failure> {
        let found = self.actions.iter().find(|(name, ..)| name == action);
        let found = found.map(|(_, interface, reply)| (interface, reply));
        found.ok_or_else(|| Failure::unknown_action(self.name(), action))
    }
}

impl Reply {
    fn new(action: &Action, fixed: Option<&FixedReply>) -> Result<Self, ReplyProblem> {
        let (code, message, given) = match fixed {
            None => (0, None, generated(action)),
            Some(fixed) => (fixed.statuscode, fixed.statusmsg.clone(), fixed.data.clone()),
        };
        let name = || action.name.clone();
        if code > STATUSCODE_MAX {
            return Err(ReplyProblem::Code { action: name(), code });
        }
        // A text of the DDL is no pattern.
        let with_default = |(name, output): (&String, &Output)| {
            let missing = !output.default.is_null() && !given.contains_key(name);
            missing.then(|| (name.clone(), literal(&output.default)))
        };
        let defaults: Map<String, Value> = action.outputs.iter().filter_map(with_default).collect();
        let all = given.into_iter().chain(defaults).collect();
        let data = FactTemplate::compile(&all).map_err(|wrong| ReplyProblem::Pattern {
            action: name(),
            output: wrong.fact,
            source: Box::new(wrong.error),
        })?;
        let usual = if code == 0 { "OK" } else { "the action failed, as its scenario says" };
        Ok(Self { code, message: message.unwrap_or_else(|| usual.to_owned()), data })
    }
}

/// Outputs made up from their types; those with a default are left to it.
fn generated(action: &Action) -> Map<String, Value> {
    let made_up = |(name, output): (&String, &Output)| {
        let value = match output.kind.to_lowercase().as_str() {
            "integer" | "int" | "number" => json!(1),
            "float" => json!(0.5),
            "boolean" => json!(true),
            "array" => json!([]),
            "hash" => json!({}),
            _ => literal(&Value::from(name.as_str())),
        };
        (name.clone(), value)
    };
    action.outputs.iter().filter(|(_, output)| output.default.is_null()).map(made_up).collect()
}

/// A value whose texts are no patterns.
fn literal(value: &Value) -> Value {
    match value {
        Value::String(text) => text.replace('{', "{{").replace('}', "}}").into(),
        Value::Array(items) => items.iter().map(literal).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), literal(value))).collect()
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::DDL;
    use super::*;

    fn agent(replies: Value) -> DdlAgent {
        let replies = serde_json::from_value(replies).unwrap();
        DdlAgent { ddl: Ddl::parse(DDL).unwrap(), replies }
    }

    fn answer(replies: Value, action: &str, data: &str) -> Value {
        let hosted = Hosted::new(&agent(replies)).unwrap();
        let vars = Vars { index: 7, group: "web" };
        serde_json::from_str(&hosted.answer(action, data.as_bytes(), &vars)).unwrap()
    }

    #[test]
    fn outputs_are_made_from_their_types_and_defaults() {
        let reply = answer(json!({}), "send", r#"{"to":"a"}"#);
        let data = json!({
            "where": "where", "any": "any", "given": "as before", "number": 1, "size": 0.5,
            "sent": true, "list": [], "map": {},
        });
        let expected = json!({"action": "send", "statuscode": 0, "statusmsg": "OK", "data": data});
        assert_eq!(reply, expected);
    }

    #[test]
    fn the_users_replies_are_worked_out_per_node() {
        let replies = json!({
            "send": {"data": {"where": "{group}-{index}", "number": "{index}", "list": ["{{x}}"]}},
            "lose": {"statuscode": 1, "statusmsg": "gone"},
        });
        let reply = answer(replies.clone(), "send", r#"{"to":"a"}"#);
        let data = json!({
            "where": "web-7", "number": 7, "list": ["{x}"], "given": "as before",
        });
        assert_eq!(reply["data"], data);
        let expected = json!({
            "action": "lose", "statuscode": 1, "statusmsg": "gone", "data": {"by": "post"},
        });
        assert_eq!(answer(replies, "lose", "{}"), expected);
    }

    #[test]
    fn mistakes_are_answered_as_the_real_server_answers_them() {
        for (action, data, code, message) in [
            ("nosuch", "{}", 2, "Unknown action nosuch for agent parcel"),
            ("send", "{}", 1, "Validation failed: input 'to' is required"),
            (
                "send",
                r#"{"to":"toolong"}"#,
                1,
                "Validation failed: validation failed for input 'to': is longer than 5 characters",
            ),
        ] {
            let expected =
                json!({"action": action, "statuscode": code, "statusmsg": message, "data": {}});
            assert_eq!(answer(json!({}), action, data), expected, "{action} {data}");
        }
    }

    #[test]
    fn replies_that_no_node_can_give_are_refused() {
        for (replies, says) in [
            (json!({"nosuch": {}}), "agent parcel has no action nosuch"),
            (json!({"send": {"statuscode": 6}}), "statuscode 6"),
            (json!({"send": {"data": {"where": "{nope}"}}}), "reply to send, output where"),
        ] {
            let problem = agent(replies.clone()).check().unwrap_err();
            assert!(problem.to_string().contains(says), "{replies}: {problem}");
        }
    }
}
