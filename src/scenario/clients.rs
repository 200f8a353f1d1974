//! What a person writes about the clients: where they are, and what each of a wave asks.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use super::types::{Filter, Wave};
use super::units::Count;

/// The place of a client that is in the conductor's process.
pub(crate) const CONDUCTOR: &str = "conductor";

/// Where clients are: `conductor`, the name of a worker, or several, by turns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Places {
    /// All of them there.
    One(String),
    /// Client 1 at the first, client 2 at the second, and from the beginning again.
    Several(Vec<String>),
}

/// The clients of a wave: how many, or what each of them is.
#[derive(Debug, Clone, PartialEq)]
pub enum WaveClients {
    /// So many, who ask the same.
    Number(Count),
    /// One after the other, from client 1.
    Each(Vec<WaveClient>),
}

/// A client of a wave.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{at: w1}`")]
pub struct WaveClient {
    /// Where it is: `conductor`, or the name of a worker; default: where `client: {at: ...}` says.
    pub at: Option<String>,
    /// Which nodes must answer it, in place of the wave's own filter; default: that one.
    pub filter: Option<Filter>,
}

impl Places {
    /// In their order.
    pub(crate) fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }
}

impl WaveClients {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> Count {
        match self {
            Self::Number(count) => *count,
            Self::Each(each) => Count(each.len() as u64),
        }
    }

    /// What each is, where that is said.
    #[must_use]
    pub fn each(&self) -> &[WaveClient] {
        match self {
            Self::Number(_) => &[],
            Self::Each(each) => each,
        }
    }
}

impl Wave {
    /// How many clients send it.
    #[must_use]
    pub fn client_count(&self) -> Count {
        self.clients.as_ref().map_or(Count(1), WaveClients::count)
    }
}

impl<'de> Deserialize<'de> for Places {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrSeveral;

        impl<'de> Visitor<'de> for OneOrSeveral {
            type Value = Places;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`conductor`, the name of a worker, or a list of them")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Places, E> {
                Ok(Places::One(name.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Places, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Places::Several)
            }
        }

        deserializer.deserialize_any(OneOrSeveral)
    }
}

impl<'de> Deserialize<'de> for WaveClients {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrEach;

        impl<'de> Visitor<'de> for NumberOrEach {
            type Value = WaveClients;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of clients such as `2`, or `[{at: w1}, {at: w2}]`")
            }

            fn visit_u64<E: de::Error>(self, count: u64) -> Result<WaveClients, E> {
                Ok(WaveClients::Number(Count(count)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<WaveClients, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(WaveClients::Each)
            }
        }

        deserializer.deserialize_any(NumberOrEach)
    }
}

impl JsonSchema for Places {
    fn schema_name() -> Cow<'static, str> {
        "Places".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "`conductor`, the name of a worker, or a list of them: client k at the k-th, by turns",
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
            ],
        })
    }
}

impl JsonSchema for WaveClients {
    fn schema_name() -> Cow<'static, str> {
        "WaveClients".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let client = generator.subschema_for::<WaveClient>();
        json_schema!({
            "description": "How many clients, or what each of them is",
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "array", "items": client, "minItems": 1},
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::scenario::Scenario;

    /// What is wrong with these keys of the client, and these clients of a wave; empty if nothing is.
    fn refusal(client: &str, clients: &str) -> String {
        let text = format!(
            "version: 1\nname: apart\nclient: {{{client}}}\nfleet: [{{group: web, nodes: 30}}]\n\
             waves:\n  - name: all\n    discover: {{}}\n    clients: {clients}\n"
        );
        let read = Scenario::parse(&text, "apart.yaml", &[]);
        read.err().map(|errors| errors.to_string()).unwrap_or_default()
    }

    #[test]
    fn places_and_clients_are_read_strictly() {
        let many = format!("[{}]", "{}, ".repeat(1001));
        for (client, clients, says) in [
            ("at: w1", "3", ""),
            ("at: [w1, conductor]", "[{}, {at: east-3_b}, {filter: {identity: [a]}}]", ""),
            ("at: []", "1", "clients that are nowhere"),
            ("at: {}", "1", "`conductor`, the name of a worker, or a list of them"),
            ("at: \"w 1\"", "1", "`w 1` is no name of a worker"),
            ("at: [w1, w.2]", "1", "`w.2` is no name of a worker"),
            ("", "0", "`clients` is 0"),
            ("", "[]", "`clients` is 0"),
            ("", "1001", "`clients` is 1001"),
            ("", &many, "`clients` is 1001"),
            ("", "two", "a number of clients such as `2`"),
            ("", "[2]", "expected a map such as `{at: w1}`, found"),
            ("", "[{att: w1}]", "did you mean `at`?"),
            ("", "[{at: \"\"}]", "is no name of a worker"),
            ("", "[{}, {filter: {fatcs: [a=b]}}]", "did you mean `facts`?"),
            ("", "[{}, {filter: {facts: [ab]}}]", "apart.yaml:8:37:"),
        ] {
            let told = refusal(client, clients);
            assert!(told.contains(says), "{client:?} {clients:?}: {says:?} is not in {told:?}");
            assert_eq!(told.is_empty(), says.is_empty(), "{client:?} {clients:?}: {told}");
        }
    }
}
