//! Paths into the facts document as fact filters and rpcutil write them: the gjson syntax
//! (protocol document 5.3; gjson's `SYNTAX.md`).
//!
//! Understood: `os.family`, `list.0`, `a\.b` for a dot in a key, `*` and `?`, `list.#` (length),
//! `list.#.name` (all of them), queries `list.#(size>3).name` and `…#(size>3)#`, the pipe `a|b`, and
//! the modifiers `@this`, `@valid`, `@pretty`, `@ugly`, `@reverse`, `@keys`, `@values`, `@flatten`,
//! `@tostr` and `@fromstr`. Not understood, so that such a path finds nothing: multipaths (`{a,b}`,
//! `[a,b]`), literals (`!"x"`), the query operand `~`, arguments of modifiers, and the modifiers
//! `@join`, `@group` and `@dig`.
//!
//! Any text is a path, and a path of more than 256 steps, 16 pipes and modifiers, or 512 bytes in a
//! wildcard or query finds nothing: what a path costs is bounded by the document's size.

mod parse;
mod query;

use std::borrow::Cow;

use serde_json::Value;

use super::facts::write_go_json;
use query::Query;

/// How deep queries may stand in queries.
const NESTED_QUERIES_MAX: usize = 8;

/// A parsed path.
#[derive(Debug, Clone, PartialEq)]
pub struct FactPath {
    /// What stands between pipes: applied one after the other, each to what the one before it found;
    /// never empty.
    segments: Vec<Vec<Step>>,
}

/// One step down.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// A key of an object, or an index of an array.
    Key(String),
    /// A key with wildcards.
    Wildcard(Vec<Glob>),
    /// `#`: the length of an array when it is the last step, else all its elements.
    Each,
    /// `#(…)`: the first element that meets the query, or all of them.
    Query { query: Box<Query>, all: bool },
    /// `@reverse` and the like.
    Modifier(Modifier),
    /// Syntax that is not understood: finds nothing.
    Nothing,
}

/// A character of a key with wildcards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Glob {
    /// `*`
    Any,
    /// `?`
    One,
    Char(char),
}

/// What turns a value into another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Modifier {
    Same,
    Reverse,
    Keys,
    Values,
    Flatten,
    ToText,
    FromText,
}

impl Step {
    /// The array index that a key is; `None` when it is none.
    pub(crate) fn index(&self) -> Option<usize> {
        let Self::Key(key) = self else { return None };
        key.bytes().all(|b| b.is_ascii_digit()).then(|| key.parse().ok())?
    }
}

impl FactPath {
    /// Reads a path.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self { segments: parse::segments(text, NESTED_QUERIES_MAX) }
    }

    /// What the path finds. A `null` that is there is found.
    #[must_use]
    pub fn get<'v>(&self, facts: &'v Value) -> Option<Cow<'v, Value>> {
        self.get_after(0, Cow::Borrowed(facts))
    }

    /// The first steps of the path, as far as they are keys and indexes.
    pub(crate) fn plain_steps(&self) -> impl Iterator<Item = &Step> {
        self.first_steps().iter().take_while(|step| matches!(step, Step::Key(_)))
    }

    /// Whether the first `passed` steps are the whole path.
    pub(crate) fn ends_at(&self, passed: usize) -> bool {
        self.segments.len() == 1 && self.first_steps().len() == passed
    }

    /// What the rest of the path finds in what its first `passed` steps found.
    pub(crate) fn get_after<'v>(
        &self,
        passed: usize,
        found: Cow<'v, Value>,
    ) -> Option<Cow<'v, Value>> {
        let mut found = found;
        let mut skip = passed;
        for steps in &self.segments {
            found = step_into(&steps[std::mem::take(&mut skip)..], found)?;
        }
        Some(found)
    }

    fn first_steps(&self) -> &[Step] {
        self.segments.first().map_or(&[], Vec::as_slice)
    }
}

fn step_into<'v>(steps: &[Step], found: Cow<'v, Value>) -> Option<Cow<'v, Value>> {
    match found {
        found if steps.is_empty() => Some(found),
        Cow::Borrowed(value) => walk(steps, value),
        Cow::Owned(value) => walk(steps, &value).map(|found| Cow::Owned(found.into_owned())),
    }
}

fn walk<'v>(steps: &[Step], value: &'v Value) -> Option<Cow<'v, Value>> {
    let Some((step, rest)) = steps.split_first() else { return Some(Cow::Borrowed(value)) };
    match (step, value) {
        (Step::Key(key), Value::Object(members)) => walk(rest, members.get(key)?),
        (Step::Key(_), Value::Array(items)) => walk(rest, items.get(step.index()?)?),
        (Step::Wildcard(glob), Value::Object(members)) => {
            // The real server's document has sorted keys; the first that leads anywhere is taken.
            let mut keys: Vec<&String> = members.keys().filter(|key| fits(glob, key)).collect();
            keys.sort_unstable();
            keys.into_iter().find_map(|key| walk(rest, members.get(key)?))
        }
        (Step::Each, Value::Object(members)) => walk(rest, members.get("#")?),
        (Step::Each, Value::Array(items)) if rest.is_empty() => {
            Some(Cow::Owned(items.len().into()))
        }
        (Step::Each, Value::Array(items)) => Some(all_of(rest, items.iter())),
        (Step::Query { query, all }, Value::Array(items)) => {
            let mut hits = items.iter().filter(|item| query.accepts(item));
            if *all { Some(all_of(rest, hits)) } else { walk(rest, hits.next()?) }
        }
        (Step::Modifier(modifier), value) => step_into(rest, modifier.apply(Cow::Borrowed(value))?),
        _ => None,
    }
}

/// What the steps find in each of the items, as an array.
fn all_of<'v>(steps: &[Step], items: impl Iterator<Item = &'v Value>) -> Cow<'static, Value> {
    Cow::Owned(items.filter_map(|item| walk(steps, item)).map(Cow::into_owned).collect())
}

/// Whether a text fits a pattern of characters and wildcards; linear but for the stars.
fn fits(glob: &[Glob], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        match glob.get(at) {
            Some(Glob::Any) => {
                star = Some((at, from));
                at += 1;
            }
            Some(Glob::One) => (at, from) = (at + 1, from + 1),
            Some(Glob::Char(c)) if *c == text[from] => (at, from) = (at + 1, from + 1),
            _ => {
                // Let the last star take one character more.
                let Some((star_at, star_from)) = star else { return false };
                star = Some((star_at, star_from + 1));
                (at, from) = (star_at + 1, star_from + 1);
            }
        }
    }
    glob[at..].iter().all(|glob| *glob == Glob::Any)
}

impl Modifier {
    /// The modifier of a name: `None` inside for one that is not understood, outside for a plain key.
    fn named(name: &str) -> Option<Option<Self>> {
        Some(match name {
            "this" | "valid" | "pretty" | "ugly" => Some(Self::Same),
            "reverse" => Some(Self::Reverse),
            "keys" => Some(Self::Keys),
            "values" => Some(Self::Values),
            "flatten" => Some(Self::Flatten),
            "tostr" => Some(Self::ToText),
            "fromstr" => Some(Self::FromText),
            "join" | "group" | "dig" => None,
            _ => return None,
        })
    }

    fn apply(self, found: Cow<'_, Value>) -> Option<Cow<'_, Value>> {
        let value = match (self, &*found) {
            (Self::Same, _) => return Some(found),
            (Self::Reverse, Value::Array(items)) => items.iter().rev().cloned().collect(),
            (Self::Reverse, Value::Object(members)) => {
                let members = sorted(members).into_iter().rev();
                Value::Object(members.map(|(key, value)| (key.clone(), value.clone())).collect())
            }
            (Self::Reverse, _) => return Some(found),
            (Self::Keys, Value::Object(members)) => {
                sorted(members).into_iter().map(|(key, _)| key.clone()).collect()
            }
            (Self::Keys, Value::Array(items)) => items.iter().map(|_| Value::Null).collect(),
            (Self::Values, Value::Object(members)) => {
                sorted(members).into_iter().map(|(_, value)| value.clone()).collect()
            }
            (Self::Keys, _) => Value::Array(vec![Value::Null]),
            (Self::Values, Value::Array(_)) => return Some(found),
            (Self::Values, other) => Value::Array(vec![other.clone()]),
            (Self::Flatten, Value::Array(items)) => items.iter().flat_map(flattened).collect(),
            (Self::Flatten, _) => return Some(found),
            (Self::ToText, value) => {
                let mut text = String::new();
                write_go_json(value, &mut text);
                Value::String(text)
            }
            (Self::FromText, Value::String(text)) => serde_json::from_str(text).ok()?,
            (Self::FromText, _) => return None,
        };
        Some(Cow::Owned(value))
    }
}

fn sorted(members: &serde_json::Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_unstable_by_key(|(key, _)| *key);
    members
}

fn flattened(item: &Value) -> Vec<Value> {
    match item {
        Value::Array(items) => items.clone(),
        item => vec![item.clone()],
    }
}
