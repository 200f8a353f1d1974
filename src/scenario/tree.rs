//! A parsed document as a tree whose every key and value knows where it stands: in the file, or in
//! an override of the command line.
//!
//! The tree sits between YAML and the types, so that overrides change it before the types are read,
//! and so that later checks can still name line and column.

use serde_json::Number;

/// Where a key or value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the file; line and column count from 1, `width` is the length of the text.
    File { line: usize, column: usize, width: usize },
    /// In the override with this index.
    Override(usize),
}

impl Place {
    /// The start of the file.
    pub(super) const START: Self = Self::File { line: 1, column: 1, width: 1 };
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// A key of a map and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) place: Place,
}

/// The value of a [`Node`].
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// A number, and how it was written: `2.10` is a version as well.
    Number(Number, String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// One step from the root of a scenario to a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// A member of a map.
    Key(String),
    /// An entry of a list, from 0.
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

impl Node {
    /// What the value is, for a sentence such as "expected a list, found a number".
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(..) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// The place of the value at the end of `path`, or of the deepest part of it that exists; of its
    /// key rather than its value when `key` is set.
    pub(super) fn locate(&self, path: &[Step], key: bool) -> Place {
        let Some((step, rest)) = path.split_first() else { return self.place };
        match (&self.value, step) {
            (Value::Map(entries), Step::Key(name)) => {
                match entries.iter().find(|(key, _)| key.name == *name) {
                    Some((found, _)) if key && rest.is_empty() => found.place,
                    Some((_, node)) => node.locate(rest, key),
                    None => self.place,
                }
            }
            (Value::List(entries), Step::Index(index)) => {
                entries.get(*index).map_or(self.place, |node| node.locate(rest, key))
            }
            _ => self.place,
        }
    }
}
