//! Agents of a user's own, from their DDL: the file in which Choria describes an agent's actions,
//! inputs and outputs (go-choria `providers/agent/mcorpc/ddl/agent`, JSON form).
//!
//! Nodes answer for such an agent as a real server answers for an external agent (go-choria
//! `providers/agent/mcorpc/external`): it holds inputs against the DDL ([`Interface`]) and writes the
//! DDL's defaults into the outputs. What a real agent would do in between is made up from the types of
//! the outputs, or said by the user ([`DdlAgent::replies`]). Nothing is executed, and what only clients
//! look at (display, aggregation) is not read.

mod answer;
mod inputs;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(crate) use answer::Hosted;
pub use answer::ReplyProblem;
pub use inputs::Interface;

/// Longest name of an agent: it is part of subjects.
const NAME_BYTES_MAX: usize = 255;

/// An agent that nodes host beside those that this tool has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DdlAgent {
    /// What its DDL says.
    pub ddl: Ddl,
    /// What it answers to an action; an action that is not here gets an answer made from its outputs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub replies: BTreeMap<String, FixedReply>,
}

/// A reply that the user has written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedReply {
    /// 0 to 5 (protocol document 4.2); a real agent gives 1 or 5 when its action failed.
    #[serde(default)]
    pub statuscode: u8,
    /// Text that goes with it; `None`: `OK`, or that the action was aborted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statusmsg: Option<String>,
    /// The outputs: strings are patterns as in facts. Outputs that are missing get their defaults.
    #[serde(default)]
    pub data: Map<String, Value>,
}

/// An agent as its DDL describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ddl {
    /// What the agent says of itself.
    pub metadata: Metadata,
    /// What it can be asked.
    #[serde(default)]
    pub actions: Vec<Action>,
}

/// What an agent says of itself, as inventories show it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// Name of the agent.
    pub name: String,
    /// Licence.
    pub license: String,
    /// Author.
    pub author: String,
    /// How long an action may take.
    #[serde(rename = "timeout")]
    pub timeout_s: u32,
    /// Version of the agent.
    pub version: String,
    /// Where to read more.
    pub url: String,
    /// What the agent is for.
    pub description: String,
    /// Which kind of agent it is, such as `external`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub provider: String,
    /// Whether one of many answers for all.
    #[serde(skip_serializing_if = "is_false")]
    pub service: bool,
}

/// One action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// Its name.
    #[serde(rename = "action")]
    pub name: String,
    /// Its inputs, by name.
    #[serde(default, rename = "input")]
    pub inputs: BTreeMap<String, Input>,
    /// Its outputs, by name.
    #[serde(default, rename = "output")]
    pub outputs: BTreeMap<String, Output>,
}

/// One input.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Input {
    /// `string`, `integer`, `number`, `float`, `boolean`, `list`, `Hash` or `Array`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it may be left out.
    pub optional: bool,
    /// What clients send when it is left out.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub default: Value,
    /// For strings: `shellsafe`, `ipv4address`, `ipv6address`, `ipaddress` or a regular expression.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub validation: String,
    /// For strings: most bytes; 0 lets everything through, whatever `validation` says.
    #[serde(rename = "maxlength")]
    pub bytes_max: usize,
    /// For lists: the texts to choose from.
    #[serde(rename = "list", skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
}

/// One output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Output {
    /// As of an input; often missing, and then it is taken for a text.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// What a server writes when the agent has not set it.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub default: Value,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// A DDL that nodes cannot host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}\n{advice}")]
pub struct DdlError {
    /// What is wrong.
    pub problem: String,
    /// What to write instead.
    pub advice: &'static str,
}

impl Ddl {
    /// Reads a DDL in its JSON form.
    ///
    /// # Errors
    /// Why it is none, or none that a server would host.
    pub fn parse(text: &str) -> Result<Self, DdlError> {
        let ddl: Self = serde_json::from_str(text).map_err(|error| DdlError {
            problem: format!("no DDL in JSON: {error}"),
            advice: "`choria plugin generate ddl` makes one; .ddl files of Ruby can be converted by it",
        })?;
        ddl.check()?;
        Ok(ddl)
    }

    /// Name of the agent.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// The action of this name.
    #[must_use]
    pub fn action(&self, name: &str) -> Option<&Action> {
        self.actions.iter().find(|action| action.name == name)
    }

    /// What a real server refuses (go-choria `server/agents`), and what nodes cannot do.
    fn check(&self) -> Result<(), DdlError> {
        let name = self.name();
        let refuse = |problem, advice| Err(DdlError { problem, advice });
        if name.is_empty()
            || name.len() > NAME_BYTES_MAX
            || name.contains(|c: char| c.is_whitespace() || c.is_control() || "*>.".contains(c))
        {
            let advice =
                "metadata.name is one word of at most 255 bytes, without dots, blanks, `*` and `>`";
            let begin: String = name.chars().take(40).collect();
            return refuse(format!("`{}` is no name of an agent", begin.escape_debug()), advice);
        }
        if !super::actions(name).is_empty() || name == "choria_registry" {
            let advice = "real servers load no external agent of this name either: rename it";
            return refuse(format!("agent `{name}` is one that nodes bring along"), advice);
        }
        if self.metadata.timeout_s == 0 {
            let advice = "write seconds in metadata.timeout, at least 1";
            return refuse(format!("agent `{name}` has no timeout: servers refuse it"), advice);
        }
        if self.metadata.service {
            let advice = "take metadata.service out to have every node answer for it";
            return refuse(format!("agent `{name}` is a service, which nodes do not host"), advice);
        }
        let twice = self.actions.iter().enumerate().find(|(at, action)| {
            self.actions.iter().take(*at).any(|other| other.name == action.name)
        });
        match twice {
            Some((_, action)) => {
                let problem = format!("agent `{name}` has action `{}` twice", action.name);
                refuse(problem, "keep one of them")
            }
            None => Ok(()),
        }
    }
}

impl Action {
    /// Writes the defaults of inputs that are missing, as the real client does before it sends.
    pub fn fill_in(&self, data: &mut Map<String, Value>) {
        for (name, input) in self.inputs.iter().filter(|(_, input)| !input.default.is_null()) {
            data.entry(name).or_insert_with(|| input.default.clone());
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A DDL with one of everything.
    pub(crate) const DDL: &str = r#"{
        "$schema": "https://choria.io/schemas/mcorpc/ddl/v1/agent.json",
        "metadata": {"name": "parcel", "license": "Apache-2.0", "author": "A <a@example.net>",
            "timeout": 20, "version": "1.2.3", "url": "https://example.net", "description": "Parcels",
            "provider": "external"},
        "actions": [
            {"action": "send", "description": "d", "display": "always",
             "input": {
                "to": {"prompt": "To", "description": "d", "type": "string", "validation": "^[a-z]+$|x", "maxlength": 5},
                "safe": {"type": "string", "validation": "shellsafe", "maxlength": 20, "optional": true},
                "v4": {"type": "string", "validation": "ipv4address", "maxlength": 40, "optional": true},
                "v6": {"type": "string", "validation": "ipv6address", "maxlength": 40, "optional": true},
                "ip": {"type": "string", "validation": "ipaddress", "maxlength": 40, "optional": true},
                "re": {"type": "string", "validation": "^\\d+$", "maxlength": 9, "optional": true},
                "bad": {"type": "string", "validation": "[", "maxlength": 9, "optional": true},
                "free": {"type": "string", "validation": "^never$", "maxlength": 0, "optional": true},
                "count": {"type": "integer", "optional": true, "default": 1},
                "weight": {"type": "number", "optional": true},
                "ratio": {"type": "float", "optional": true},
                "now": {"type": "boolean", "optional": true},
                "speed": {"type": "list", "list": ["slow", "fast"], "optional": true},
                "none": {"type": "list", "optional": true},
                "tags": {"type": "Array", "optional": true},
                "opts": {"type": "Hash", "optional": true},
                "odd": {"type": "thing", "optional": true}
             },
             "output": {
                "where": {"description": "d", "display_as": "Where", "type": "string"},
                "any": {"description": "d", "display_as": "Any"},
                "given": {"type": "string", "default": "as before"},
                "number": {"type": "integer"}, "size": {"type": "float"}, "sent": {"type": "boolean"},
                "list": {"type": "Array"}, "map": {"type": "Hash"}
             }},
            {"action": "lose", "input": {}, "output": {"by": {"type": "string", "default": "post"}}}
        ]}"#;

    #[test]
    fn a_ddl_survives_its_own_json() {
        let ddl = Ddl::parse(DDL).unwrap();
        let again: Ddl = serde_json::from_str(&serde_json::to_string(&ddl).unwrap()).unwrap();
        assert_eq!(again, ddl);
    }

    #[test]
    fn what_servers_and_nodes_do_not_host_is_refused() {
        for (this, that, says) in [
            ("\"metadata\"", "\"meta\"", "missing field `metadata`"),
            ("\"timeout\": 20", "\"timeout\": 0", "has no timeout"),
            ("\"parcel\"", "\"\"", "no name of an agent"),
            ("\"parcel\"", "\"a.b\"", "no name of an agent"),
            ("\"parcel\"", &format!("\"{}\"", "a".repeat(256)), "no name of an agent"),
            ("\"parcel\"", "\"rpcutil\"", "nodes bring along"),
            ("\"parcel\"", "\"scout\"", "nodes bring along"),
            ("\"parcel\"", "\"emulated3\"", "nodes bring along"),
            ("\"parcel\"", "\"choria_registry\"", "nodes bring along"),
            ("\"timeout\": 20", "\"timeout\": 20, \"service\": true", "is a service"),
            ("\"action\": \"lose\"", "\"action\": \"send\"", "action `send` twice"),
            ("\"actions\": [", "\"actions\": [[", "no DDL in JSON"),
        ] {
            assert!(DDL.contains(this), "{this}");
            let error = Ddl::parse(&DDL.replacen(this, that, 1)).unwrap_err();
            assert!(error.to_string().contains(says), "{that}: {error}");
        }
    }

    #[test]
    fn clients_send_the_defaults_of_inputs() {
        let ddl = Ddl::parse(DDL).unwrap();
        for (given, sent) in [
            (serde_json::json!({}), serde_json::json!({"count": 1})),
            (serde_json::json!({"count": 5}), serde_json::json!({"count": 5})),
        ] {
            let Value::Object(mut data) = given else { panic!("a map") };
            ddl.action("send").unwrap().fill_in(&mut data);
            assert_eq!(Value::Object(data), sent);
        }
    }
}
