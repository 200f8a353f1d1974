//! Queries in paths: `list.#(name=="b")`.

use std::cmp::Ordering;

use serde_json::Value;

use super::{FactPath, Glob, fits, parse};

/// A condition on an element of an array.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Query {
    /// Where to look in the element; `None`: the element itself.
    path: Option<FactPath>,
    /// `None`: it is enough that it exists.
    condition: Option<(Comparison, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Like,
    NotLike,
}

impl Query {
    /// Reads what stands between the brackets. `None`: not understood.
    pub(super) fn parse(text: &str, queries: usize) -> Option<Self> {
        let at = operator_offset(text);
        let path = text[..at].trim();
        let path =
            (!path.is_empty()).then(|| FactPath { segments: parse::segments(path, queries) });
        if at == text.len() {
            return Some(Self { path, condition: None });
        }
        let (comparison, operand) = Comparison::split(&text[at..])?;
        let operand = operand.trim();
        if operand.starts_with('~') {
            return None;
        }
        let operand = match operand.strip_prefix('"') {
            Some(_) => serde_json::from_str(operand).ok()?,
            None => operand.to_owned(),
        };
        Some(Self { path, condition: Some((comparison, operand)) })
    }

    pub(super) fn accepts(&self, element: &Value) -> bool {
        let found = match &self.path {
            Some(path) => path.get(element),
            None => Some(std::borrow::Cow::Borrowed(element)),
        };
        let Some(found) = found else { return false };
        self.condition.as_ref().is_none_or(|(comparison, operand)| match &*found {
            Value::String(text) => comparison.texts(text, operand),
            Value::Number(number) => {
                let operand = operand.parse().unwrap_or(0.0);
                let order = number.as_f64().and_then(|number| number.partial_cmp(&operand));
                order.is_some_and(|order| comparison.holds(order))
            }
            Value::Bool(value) => {
                operand.parse().is_ok_and(|operand| comparison.holds(value.cmp(&operand)))
            }
            _ => false,
        })
    }
}

impl Comparison {
    fn split(text: &str) -> Option<(Self, &str)> {
        [
            ("==", Self::Equal),
            ("!=", Self::NotEqual),
            ("<=", Self::LessOrEqual),
            (">=", Self::GreaterOrEqual),
            ("!%", Self::NotLike),
            ("=", Self::Equal),
            ("<", Self::Less),
            (">", Self::Greater),
            ("%", Self::Like),
        ]
        .into_iter()
        .find_map(|(sign, comparison)| Some((comparison, text.strip_prefix(sign)?)))
    }

    fn texts(self, text: &str, operand: &str) -> bool {
        match self {
            Self::Like => fits(&glob(operand), text),
            Self::NotLike => !fits(&glob(operand), text),
            comparison => comparison.holds(text.cmp(operand)),
        }
    }

    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
            Self::Like | Self::NotLike => false,
        }
    }
}

fn glob(text: &str) -> Vec<Glob> {
    let mut chars = text.chars();
    let mut glob = Vec::new();
    while let Some(c) = chars.next() {
        glob.push(match c {
            '*' => Glob::Any,
            '?' => Glob::One,
            '\\' => Glob::Char(chars.next().unwrap_or('\\')),
            c => Glob::Char(c),
        });
    }
    glob
}

/// Where the comparison begins: the first of its signs outside of brackets; the end without one.
fn operator_offset(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut chars = text.char_indices();
    while let Some((offset, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            '=' | '!' | '<' | '>' | '%' if depth == 0 => return offset,
            _ => {}
        }
    }
    text.len()
}
