//! The part of a scenario that says what happens to brokers while waves go on.
//!
//! Nothing has a default here, as in the rest of the types.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

use super::layout::BrokerName;
use super::units::{Count, Span};

/// One thing that is done to brokers: exactly one of `restart`, `stop`, `start`, `kill`, `pause`,
/// `lame_duck` and `replace`, at an instant or after a wave. A step that cannot find its brokers as it needs them is
/// refused where instants decide that; where they do not, one that comes while a broker stands still, is away for its
/// restart or is still being ended waits until that is over.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{at: 10s, restart: n1}`")]
#[schemars(rename = "TimelineStep")]
pub struct Step {
    /// Name, unique in the timeline; thresholds select by it; default: the action.
    pub step: Option<String>,
    /// When, since the instant of the first wave. Either this or `after`.
    pub at: Option<Span>,
    /// As soon as this wave is over. Either this or `at`.
    pub after: Option<AfterWave>,
    /// Ends the brokers (see `by`) and starts them again on their ports.
    pub restart: Option<Names>,
    /// Ends the brokers with SIGTERM; they stay away until they are started.
    pub stop: Option<Names>,
    /// Starts brokers that were ended.
    pub start: Option<Names>,
    /// Ends the brokers with SIGKILL; they stay away until they are started.
    pub kill: Option<Names>,
    /// Lets the brokers stand still (SIGSTOP) for the time in `for`.
    pub pause: Option<Names>,
    /// Lets the brokers send their clients away and end (SIGUSR2); they stay away until they are
    /// started.
    pub lame_duck: Option<Names>,
    /// Restarts the brokers as the version in `nats`, or the program in `path`.
    pub replace: Option<Names>,
    /// With `pause`: how long; with `restart` and `replace`: how long the brokers stay away;
    /// default 0s.
    #[serde(rename = "for")]
    pub lasts: Option<Span>,
    /// With `restart` and `replace`: how the brokers are ended; default `term`.
    pub by: Option<EndedBy>,
    /// With `replace`: the version of nats-server.
    pub nats: Option<String>,
    /// With `replace`: a nats-server binary instead of a version.
    pub path: Option<String>,
    /// One broker after the other instead of all at once: the next when the network is whole again,
    /// or after a pause.
    pub rolling: Option<Rolling>,
    /// How long the network is watched for being whole again; default 60s.
    pub watch: Option<Span>,
}

/// A wave of an entry.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{wave: rpc, number: 2}`")]
pub struct AfterWave {
    /// Name of the entry.
    pub wave: String,
    /// Number of the wave in its entry, from 1, warm-up waves not counted; default: the last.
    #[schemars(extend("minimum" = 1))]
    pub number: Option<Count>,
}

/// How a broker is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// SIGTERM.
    Term,
    /// SIGKILL.
    Kill,
    /// SIGUSR2: it sends its clients away one after the other first.
    LameDuck,
}

/// Names of brokers; `*` stands for any characters: `n1`, `[n1, n2]`, `n*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrSeveral;

        impl<'de> Visitor<'de> for OneOrSeveral {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a broker, or a list of names")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Names, E> {
                Ok(Names(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Names, A::Error> {
                let mut all = Vec::new();
                while let Some(name) = names.next_element()? {
                    all.push(name);
                }
                Ok(Names(all))
            }
        }

        deserializer.deserialize_any(OneOrSeveral)
    }
}

impl JsonSchema for Names {
    fn schema_name() -> Cow<'static, str> {
        "Names".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The name of a broker, or a list of names; * stands for any characters",
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1}
            ]
        })
    }
}

/// What the next broker of a rolling step waits for: `whole`, or a pause such as `10s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rolling {
    /// That the network is whole again.
    Whole,
    /// The end of a pause.
    Pause(Span),
}

impl<'de> Deserialize<'de> for Rolling {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WholeOrPause;

        impl Visitor<'_> for WholeOrPause {
            type Value = Rolling;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`whole`, or a pause such as `10s`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Rolling, E> {
                if text.trim() == "whole" {
                    return Ok(Rolling::Whole);
                }
                let pause = Span::parse(text);
                pause.map(Rolling::Pause).map_err(|why| {
                    let (what, advice) = why.split_once('\n').unwrap_or((&why, ""));
                    E::custom(format!(
                        "{what}\nwrite `whole`, or {}",
                        advice.trim_start_matches("write ")
                    ))
                })
            }
        }

        deserializer.deserialize_str(WholeOrPause)
    }
}

impl JsonSchema for Rolling {
    fn schema_name() -> Cow<'static, str> {
        "Rolling".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "whole, or a pause such as 10s",
            "pattern": r"^\s*(whole|([0-9]+\s*[a-zA-Z]+\s*)+)\s*$"
        })
    }
}

impl Step {
    /// Every action that is written down, with its brokers.
    pub(crate) fn actions(&self) -> Vec<(&'static str, &Names)> {
        let all = [
            ("restart", &self.restart),
            ("stop", &self.stop),
            ("start", &self.start),
            ("kill", &self.kill),
            ("pause", &self.pause),
            ("lame_duck", &self.lame_duck),
            ("replace", &self.replace),
        ];
        all.into_iter().filter_map(|(word, names)| Some((word, names.as_ref()?))).collect()
    }

    /// The name that thresholds select by.
    pub(crate) fn name(&self) -> &str {
        let word = || self.actions().first().map_or("", |(word, _)| word);
        self.step.as_deref().unwrap_or_else(word)
    }
}

impl Names {
    /// Those of `known` that are meant, in the order in which they are written, each once; or the
    /// first text that means none of them.
    pub(crate) fn choose(&self, known: &[BrokerName]) -> Result<Vec<String>, &str> {
        let mut chosen: Vec<String> = Vec::new();
        for text in &self.0 {
            let meant: Vec<_> = known.iter().filter(|name| name.is_meant_by(text)).collect();
            if meant.is_empty() {
                return Err(text);
            }
            for BrokerName { name, .. } in meant {
                if !chosen.contains(name) {
                    chosen.push(name.clone());
                }
            }
        }
        Ok(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Role;

    #[test]
    fn brokers_come_in_the_order_as_written_and_each_once() {
        let known = ["n1", "n2", "n3"].map(|name| BrokerName {
            name: name.to_owned(),
            cluster: Some("hub".to_owned()),
            role: Role::Member,
        });
        let names = |texts: &[&str]| Names(texts.iter().map(ToString::to_string).collect());
        for (texts, expected) in [
            (&["n*"][..], Ok(&["n1", "n2", "n3"][..])),
            (&["hub"], Ok(&["n1", "n2", "n3"])),
            (&["n3", "n*", "n1"], Ok(&["n3", "n1", "n2"])),
            (&["n3", "n1"], Ok(&["n3", "n1"])),
            (&["n3", "m*"], Err("m*")),
        ] {
            let expected = expected.map(|names| names.iter().map(ToString::to_string).collect());
            assert_eq!(names(texts).choose(&known), expected, "{texts:?}");
        }
    }
}
