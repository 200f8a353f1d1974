//! YAML to a [`Node`] tree: the only module that knows the YAML library.
//!
//! Strict: duplicate keys are errors, `yes` and `no` are text. Anchors and merge keys work.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_saphyr::{Error, Location, Spanned};

use super::tree::{Key, Node, Place, Value};

/// Most levels of maps and lists: facts are the only part of a scenario that nests as it likes, and each
/// level takes room on the stack.
const DEPTH_MAX: usize = 32;

/// Why a text is no YAML document.
#[derive(Debug)]
pub(super) struct YamlError {
    pub(super) place: Place,
    pub(super) message: String,
    /// What to do about it in a file.
    pub(super) advice: &'static str,
}

/// Reads one YAML document.
pub(super) fn parse(text: &str) -> Result<Node, YamlError> {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
        budget: serde_saphyr::budget! { max_depth: DEPTH_MAX },
    };
    let raw: Spanned<Raw> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let place = error.location().map_or(Place::START, |location| place_of(&location));
            let (message, advice) = told(&error);
            // The library names the line before.
            if message.contains("tab")
                && let Some(place) = first_tab(text)
            {
                let message = "a tab indents this line".to_owned();
                return YamlError {
                    place,
                    message,
                    advice: "write spaces: YAML allows no tabs there",
                };
            }
            YamlError { place, message, advice }
        })?;
    Ok(raw.value.located(raw.referenced, text))
}

/// What is wrong, and what to do, in our words where the library speaks to programmers.
fn told(error: &Error) -> (String, &'static str) {
    match error.without_snippet() {
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_ref().map_or_else(String::new, |key| format!(" `{key}`"));
            (format!("the key{key} is there already"), "keep one of the two")
        }
        Error::MultipleDocuments { .. } => (
            "a second document begins here".to_owned(),
            "a scenario is one document: put the other into a file of its own",
        ),
        Error::Budget { .. } => (
            "more YAML, or more deeply nested, than any scenario needs".to_owned(),
            "describe nodes in groups: one entry with `nodes: 1000` stands for a thousand",
        ),
        error => match plain_message(error) {
            message if message.contains("did not find expected") => (
                message,
                "mend the YAML at this place: what belongs together begins in the same column",
            ),
            message => (message, "mend the YAML at this place"),
        },
    }
}

/// The first line that a tab indents.
fn first_tab(text: &str) -> Option<Place> {
    text.lines().zip(1..).find_map(|(content, line)| {
        let indent = content.len() - content.trim_start().len();
        let column = content[..indent].find('\t')? + 1;
        Some(Place::File { line, column, width: 1 })
    })
}

/// The library's message without its own account of the place.
fn plain_message(error: &Error) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let end = first.find(" at line ").unwrap_or(first.len());
    first[..end].trim_end_matches([':', ' ', ',']).to_owned()
}

fn place_of(location: &Location) -> Place {
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).max(1);
    Place::File {
        line: number(location.line()),
        column: number(location.column()),
        width: number(location.span().len()),
    }
}

/// An untyped value as the library hands it over, children with their locations.
enum Raw {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl Raw {
    fn located(self, at: Location, source: &str) -> Node {
        let value = match self {
            Self::Null => Value::Null,
            Self::Bool(b) => Value::Bool(b),
            Self::Number(n) => {
                let written = written(&at, source).unwrap_or_else(|| n.to_string());
                Value::Number(n, written)
            }
            Self::Text(text) => Value::Text(text),
            Self::List(entries) => Value::List(
                entries.into_iter().map(|e| e.value.located(e.referenced, source)).collect(),
            ),
            Self::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(key, value)| {
                        let place = place_of(&key.referenced);
                        let key = Key { name: key.value, place };
                        (key, value.value.located(value.referenced, source))
                    })
                    .collect(),
            ),
        };
        Node { place: place_of(&at), value }
    }
}

/// The text of a number in the source, when its place is known to the byte and is a number's.
fn written(at: &Location, source: &str) -> Option<String> {
    let span = at.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let end = start.checked_add(usize::try_from(span.byte_len()?).ok()?)?;
    let text = source.get(start..end)?.trim();
    text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)).then(|| text.to_owned())
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(value.into()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Raw, E> {
        Number::from_f64(value).map(Raw::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = entries.next_element()? {
            list.push(entry);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}
