//! Values of expressions, and what the operators make of them (expr-lang 1.17, `vm/runtime`).

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::tree::Binary;
use crate::filter::facts::as_float;
use crate::filter::regexp::Budget;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Val<'a> {
    Nil,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(Cow<'a, str>),
    List(Vec<Val<'a>>),
    Map(Map<String, Value>),
    /// QUIRK: what a data plugin that failed has found: a map without members that is equal to nil.
    NoMap,
}

impl<'a> From<Value> for Val<'a> {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Nil,
            Value::Bool(value) => Self::Bool(value),
            Value::Number(number) => Self::Float(as_float(&number)),
            Value::String(text) => Self::Text(text.into()),
            Value::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            Value::Object(members) => Self::Map(members),
        }
    }
}

impl Val<'_> {
    /// A number, rounded where the real server rounds it to compare.
    pub(super) fn as_float(&self) -> Option<f64> {
        match self {
            Self::Integer(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// Whether two values are equal, numbers by value.
    pub(super) fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Integer(left), Self::Integer(right)) => left == right,
            (Self::NoMap, Self::Nil) | (Self::Nil, Self::NoMap) => true,
            (Self::List(left), Self::List(right)) => {
                left.len() == right.len() && left.iter().zip(right).all(|(l, r)| l.equals(r))
            }
            _ => match (self.as_float(), other.as_float()) {
                (Some(left), Some(right)) => left == right,
                _ => self == other,
            },
        }
    }

    /// Numbers or texts in their order; all else has none.
    pub(super) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Integer(left), Self::Integer(right)) => Some(left.cmp(right)),
            (Self::Text(left), Self::Text(right)) => Some(left.cmp(right)),
            _ => self.as_float()?.partial_cmp(&other.as_float()?),
        }
    }

    /// What `in` says; `None`: an error.
    pub(super) fn is_in(&self, hay: &Self) -> Option<bool> {
        match (hay, self) {
            (Self::Nil, _) | (Self::NoMap, Self::Text(_) | Self::Nil) => Some(false),
            (Self::List(items), needle) => Some(items.iter().any(|item| item.equals(needle))),
            (Self::Map(members), Self::Text(key)) => Some(members.contains_key(&**key)),
            (Self::Map(members), Self::Nil) => Some(members.contains_key("")),
            _ => None,
        }
    }

    /// A member or an item. `None`: an error.
    pub(super) fn member(self, property: &Self) -> Option<Self> {
        match (self, property) {
            (Self::Map(mut members), Self::Text(key)) => {
                Some(members.swap_remove(&**key).map_or(Self::Nil, Self::from))
            }
            (Self::Map(mut members), Self::Nil) => {
                Some(members.swap_remove("").map_or(Self::Nil, Self::from))
            }
            (Self::NoMap, Self::Text(_) | Self::Nil) => Some(Self::Nil),
            (Self::List(mut items), index) => {
                let index = index.position(items.len())?;
                Some(items.swap_remove(index))
            }
            (Self::Text(text), index) => {
                let byte = text.as_bytes()[index.position(text.len())?];
                Some(Self::Integer(byte.into()))
            }
            _ => None,
        }
    }

    /// An index into so many items; a negative one counts from the end. `None`: an error.
    fn position(&self, length: usize) -> Option<usize> {
        let index = match self {
            Self::Integer(index) => *index,
            Self::Float(index) => *index as i64,
            _ => return None,
        };
        let from_end = if index < 0 { i64::try_from(length).ok()? } else { 0 };
        let index = usize::try_from(index.checked_add(from_end)?).ok()?;
        (index < length).then_some(index)
    }
}

/// What an operator makes of two values. `None`: an error.
pub(super) fn apply<'a>(operator: Binary, left: Val<'a>, right: Val<'a>) -> Option<Val<'a>> {
    Some(match operator {
        Binary::Equal => Val::Bool(left.equals(&right)),
        Binary::NotEqual => Val::Bool(!left.equals(&right)),
        Binary::In => Val::Bool(left.is_in(&right)?),
        Binary::Matches | Binary::Contains | Binary::StartsWith | Binary::EndsWith => {
            Val::Bool(test(operator, &left, &right)?)
        }
        Binary::Less | Binary::LessOrEqual | Binary::Greater | Binary::GreaterOrEqual => {
            Val::Bool(in_order(operator, &left, &right)?)
        }
        Binary::Add => match (left, right) {
            (Val::Text(left), Val::Text(right)) => Val::Text(left + right),
            (left, right) => calculate(operator, &left, &right)?,
        },
        _ => calculate(operator, &left, &right)?,
    })
}

/// `None`: an error.
pub(super) fn in_order(operator: Binary, left: &Val<'_>, right: &Val<'_>) -> Option<bool> {
    if let (Some(left), Some(right)) = (left.as_float(), right.as_float())
        && (left.is_nan() || right.is_nan())
    {
        return Some(false);
    }
    let order = left.order(right)?;
    Some(match operator {
        Binary::Less => order.is_lt(),
        Binary::LessOrEqual => order.is_le(),
        Binary::Greater => order.is_gt(),
        _ => order.is_ge(),
    })
}

/// `None`: an error; nothing is true of nil.
fn test(operator: Binary, left: &Val<'_>, right: &Val<'_>) -> Option<bool> {
    match (left, right) {
        (Val::Nil, _) | (_, Val::Nil) => Some(false),
        (Val::Text(left), Val::Text(right)) => match operator {
            Binary::Contains => Some(left.contains(&**right)),
            Binary::StartsWith => Some(left.starts_with(&**right)),
            Binary::EndsWith => Some(left.ends_with(&**right)),
            _ => Budget::default().compile(right, false).map(|regex| regex.is_match(left)),
        },
        _ => None,
    }
}

fn calculate<'a>(operator: Binary, left: &Val<'_>, right: &Val<'_>) -> Option<Val<'a>> {
    if let (Val::Integer(left), Val::Integer(right)) = (left, right) {
        match operator {
            Binary::Add => return Some(Val::Integer(left.wrapping_add(*right))),
            Binary::Subtract => return Some(Val::Integer(left.wrapping_sub(*right))),
            Binary::Multiply => return Some(Val::Integer(left.wrapping_mul(*right))),
            Binary::Remainder if *right != 0 => {
                return Some(Val::Integer(left.wrapping_rem(*right)));
            }
            _ => {}
        }
    }
    let (left, right) = (left.as_float()?, right.as_float()?);
    Some(Val::Float(match operator {
        Binary::Add => left + right,
        Binary::Subtract => left - right,
        Binary::Multiply => left * right,
        Binary::Divide => left / right,
        Binary::Power => left.powf(right),
        // Only integers have a remainder, and none has one by 0.
        _ => return None,
    }))
}
