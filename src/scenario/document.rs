//! Parts of a scenario that are maps with names of the user's: facts, request data, thresholds.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::types::{FullQueue, Queue, ReplyDelay, Spread};
use super::units::Count;
use super::units::Span;

/// A map that is handed on as it stands; `x-*` keys in it are the user's and stay.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Document(pub serde_json::Map<String, serde_json::Value>);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Through `Value`, so that the reader knows that any key is meant.
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::Object(map) => Ok(Self(map)),
            _ => Err(de::Error::custom("expected a map\nwrite `key: value` lines below the key")),
        }
    }
}

impl JsonSchema for Document {
    fn schema_name() -> Cow<'static, str> {
        "Document".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "description": "A map of the user's own names"})
    }
}

/// Metric to expressions, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Thresholds(pub Vec<(String, Vec<String>)>);

impl<'de> Deserialize<'de> for Thresholds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Thresholds;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from a metric to a list of expressions")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Thresholds, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Thresholds(entries))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

impl JsonSchema for Thresholds {
    fn schema_name() -> Cow<'static, str> {
        "Thresholds".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = BTreeMap::<String, Vec<String>>::json_schema(generator);
        schema.insert(
            "description".into(),
            "A metric such as completeness{wave:rpc} to expressions such as min == 100%".into(),
        );
        schema.insert("patternProperties".into(), serde_json::json!({"^x-": {}}));
        schema
    }
}

impl<'de> Deserialize<'de> for ReplyDelay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FixedOrSpread;

        impl<'de> Visitor<'de> for FixedOrSpread {
            type Value = ReplyDelay;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration, `{uniform: [10ms, 50ms]}` or `{lognormal: {median: 40ms, sigma: 0.6}}`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ReplyDelay, E> {
                Span::parse(text).map(ReplyDelay::Fixed).map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<ReplyDelay, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<ReplyDelay, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<ReplyDelay, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ReplyDelay, A::Error> {
                Spread::deserialize(MapAccessDeserializer::new(map)).map(ReplyDelay::Spread)
            }
        }

        deserializer.deserialize_any(FixedOrSpread)
    }
}

impl<'de> Deserialize<'de> for Queue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeOrFull;

        impl<'de> Visitor<'de> for SizeOrFull {
            type Value = Queue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of places such as `10`, or `{size: 10, handling: 2ms}`")
            }

            fn visit_u64<E: de::Error>(self, size: u64) -> Result<Queue, E> {
                Ok(Queue::Size(Count(size)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Queue, E> {
                let message = match text {
                    "unbounded" => "a queue without a bound: a server has 10 places".to_owned(),
                    other => format!("`{other}` is no number of places"),
                };
                Err(E::custom(format!("{message}\n{QUEUE_ADVICE}")))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Queue, A::Error> {
                FullQueue::deserialize(MapAccessDeserializer::new(map)).map(Queue::Full)
            }
        }

        deserializer.deserialize_any(SizeOrFull)
    }
}

const QUEUE_ADVICE: &str =
    "write `queue: 10`, or `queue: {handling: 0s}` for nodes that never lose a request";
