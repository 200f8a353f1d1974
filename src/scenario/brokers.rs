//! What a person writes about the brokers: types that mirror the YAML, key by key.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::document::Document;
use super::units::{Count, HostAddress, Span};

/// The brokers under test.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{topology: cluster, size: 3}`")]
pub struct Brokers {
    /// How the brokers are joined; default `single`.
    pub topology: Option<Topology>,
    /// Brokers of the cluster (default 3), of the hub of leafnodes (default 1), or of each cluster of a
    /// supercluster (default 3).
    #[schemars(extend("minimum" = 1))]
    pub size: Option<Count>,
    /// With topology `leafnodes`: how many leaves; default 2.
    #[schemars(extend("minimum" = 1))]
    pub leaves: Option<Count>,
    /// With topology `supercluster`: how many clusters; default 2.
    #[schemars(extend("minimum" = 2))]
    pub clusters: Option<Count>,
    /// Where the brokers take nodes and clients: an address of the host that they are started on, by which
    /// workers of other hosts reach it, for example `10.0.0.5`. They let everybody in who reaches it. Default:
    /// loopback.
    pub listen: Option<HostAddress>,
    /// Version of nats-server to find or install, for example `"2.12.15"`; for a mixed network one for
    /// each broker, for example `{n1: "2.9.25", n2: "2.14.5"}`.
    pub nats: Option<PerBroker>,
    /// A nats-server binary to use instead of a version; for a mixed network one for each broker.
    pub path: Option<PerBroker>,
    /// The user's own configuration of every broker: a map that is merged into ours, or text of
    /// nats-server's configuration language that is appended. Where brokers listen and how they are joined is ours to
    /// say; text spells our keys as we do (`max_connections`) and repeats none of a map's.
    pub config: Option<BrokerConfig>,
    /// The same for some brokers, by name, cluster or pattern such as `leaf*`; comes after `config`.
    pub config_for: Option<Named<BrokerConfig>>,
    /// Variables in the environment of every broker, for example `{GOMAXPROCS: 2, GOMEMLIMIT: 400MiB}`.
    #[schemars(with = "Option<Variables>")]
    pub environment: Option<Named<String>>,
    /// Opens a profiling port on loopback in each broker; goroutines, heap and stacks are then looked at
    /// before and after each phase. Not with `listen`. Default false.
    pub profiling: Option<bool>,
    /// How long the proof of the network may take in all, nodes that connect meanwhile not counted: from the
    /// start of the brokers until they have found each other and pass on messages, and until the interest of
    /// connected nodes has reached the brokers of the clients. With several URLs of topology `external`:
    /// how long messages may take between them. Default 30s.
    pub form_within: Option<Span>,
    /// With topology `external`: the URLs of one network, for example `nats://broker:4222`; they are
    /// called `n1`, `n2`, ... in this order.
    pub urls: Option<Vec<String>>,
    /// With topology `external`: where monitoring of its brokers answers, for example
    /// `http://broker:8222`, in the order of `urls`; they are watched then like brokers of our own.
    pub monitoring: Option<Vec<String>>,
    /// With topology `external`: a file of credentials of the network's system account, through which
    /// all its brokers are watched.
    pub system_creds: Option<String>,
}

/// How brokers are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Topology {
    /// One managed broker, `n1`.
    Single,
    /// A full mesh of `size` brokers `n1`, `n2`, ...
    Cluster,
    /// A hub of `size` brokers `hub1`, ... and `leaves` brokers `leaf1`, ... that each connect to it.
    Leafnodes,
    /// `clusters` clusters of `size` brokers `c1-n1`, ... that are joined by gateways.
    Supercluster,
    /// A network that is there already, at `urls`.
    External,
    /// Understood, not there yet.
    #[schemars(skip)]
    Federation,
}

/// A text for all brokers, or one for each by name, cluster or pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PerBroker {
    /// The same for all.
    All(String),
    /// One for those that are named; the first name that fits counts.
    Each(Named<String>),
}

/// The user's own configuration of a broker.
#[derive(Debug, Clone, PartialEq)]
pub enum BrokerConfig {
    /// Text of nats-server's configuration language, appended as it is.
    Text(String),
    /// Keys and values, merged into ours.
    Map(Document),
}

/// Which brokers nodes or clients connect to: one name, cluster or pattern, several, or each with its
/// weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// One name, cluster or pattern.
    One(String),
    /// Several.
    Several(Vec<String>),
    /// Each broker that fits has this weight in relation to the others.
    Weighted(Named<Count>),
}

impl Placement {
    /// The names, clusters and patterns with their weights.
    pub(crate) fn weights(&self) -> Vec<(&str, u64)> {
        match self {
            Self::One(name) => vec![(name, 1)],
            Self::Several(names) => names.iter().map(|name| (name.as_str(), 1)).collect(),
            Self::Weighted(named) => {
                named.0.iter().map(|(name, weight)| (name.as_str(), weight.0)).collect()
            }
        }
    }
}

/// A map with names of the user's, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named<T>(pub Vec<(String, T)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for InOrder<T> {
            type Value = Named<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Named(entries))
            }
        }

        deserializer.deserialize_map(InOrder(PhantomData))
    }
}

/// Variables of an environment as editors know them: the reader takes a number as the text that it is.
struct Variables;

impl JsonSchema for Variables {
    fn schema_name() -> Cow<'static, str> {
        "Variables".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "additionalProperties": {"type": ["string", "number"]},
        })
    }
}

impl<T: JsonSchema> JsonSchema for Named<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Named_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let values = generator.subschema_for::<T>();
        json_schema!({"type": "object", "additionalProperties": values})
    }
}

/// A scalar as text: `2.12` may stand for a version.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// All values of a map as texts.
fn texts<E: de::Error>(map: &Map<String, Value>, what: &str) -> Result<Named<String>, E> {
    let text = |(name, value): (&String, &Value)| {
        let text = scalar(value).ok_or_else(|| E::custom(format!("`{name}` needs {what}")))?;
        Ok((name.clone(), text))
    };
    map.iter().map(text).collect::<Result<_, _>>().map(Named)
}

impl<'de> Deserialize<'de> for PerBroker {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        match (&value, scalar(&value)) {
            (_, Some(text)) => Ok(Self::All(text)),
            (Value::Object(map), None) => texts(map, "a text").map(Self::Each),
            _ => Err(de::Error::custom(
                "expected a text, or a map from brokers to texts\nwrite it as `\"2.12.15\"` or `{n1: \"2.9.25\"}`",
            )),
        }
    }
}

impl JsonSchema for PerBroker {
    fn schema_name() -> Cow<'static, str> {
        "PerBroker".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The same for all brokers, or one for each by name, cluster or pattern",
            "anyOf": [
                {"type": "string"},
                {"type": "object", "additionalProperties": {"type": "string"}},
            ],
        })
    }
}

impl<'de> Deserialize<'de> for BrokerConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self::Text(text)),
            Value::Object(map) => Ok(Self::Map(Document(map))),
            _ => Err(de::Error::custom(
                "expected a map or text of nats-server's configuration\nwrite it as `{max_pending: 33554432}`",
            )),
        }
    }
}

impl JsonSchema for BrokerConfig {
    fn schema_name() -> Cow<'static, str> {
        "BrokerConfig".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Keys and values that are merged into the broker's configuration, or text that is appended to it",
            "anyOf": [{"type": "object"}, {"type": "string"}],
        })
    }
}

impl<'de> Deserialize<'de> for Placement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = || {
            de::Error::custom(
                "expected a broker, a list of brokers, or a map from brokers to weights\n\
                 write it as `leaf1`, `[leaf1, leaf2]`, `leaf*` or `{leaf1: 3, leaf2: 1}`",
            )
        };
        match Value::deserialize(deserializer)? {
            Value::String(name) => Ok(Self::One(name)),
            Value::Array(names) => {
                let names = names.iter().map(|name| name.as_str().map(str::to_owned));
                names.collect::<Option<_>>().map(Self::Several).ok_or_else(wrong)
            }
            Value::Object(map) => {
                let weight =
                    |(name, weight): (String, Value)| Some((name, Count(weight.as_u64()?)));
                let weights = map.into_iter().map(weight).collect::<Option<_>>();
                weights.map(|weights| Self::Weighted(Named(weights))).ok_or_else(wrong)
            }
            _ => Err(wrong()),
        }
    }
}

impl JsonSchema for Placement {
    fn schema_name() -> Cow<'static, str> {
        "Placement".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Brokers by name, cluster or pattern such as `leaf*`: one, several, or each with its weight",
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
                {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}},
            ],
        })
    }
}
