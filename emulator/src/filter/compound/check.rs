//! The types of an expression, as far as the real server's compiler knows them: it refuses expressions
//! that cannot work on any node (expr-lang 1.17, `checker`), even where they would not be reached.

use super::tree::{Binary, Expr, Function, Unary};
use crate::filter::DATA_PLUGINS;

/// What is known of a value before it is worked out.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Type {
    Unknown,
    Nil,
    Bool,
    Integer,
    Float,
    Text,
    /// A list of the language, and what all its items are.
    List(Box<Type>),
    /// A list of texts of the server's: `agents`, `classes`.
    Names,
    /// What a data plugin has found.
    Map,
}

impl Type {
    fn is_number(&self) -> bool {
        matches!(self, Self::Integer | Self::Float)
    }

    fn item(&self) -> Option<&Self> {
        match self {
            Self::List(item) => Some(item),
            Self::Names => Some(&Self::Text),
            _ => None,
        }
    }

    /// Whether both may be of a kind that `fits`.
    fn both(&self, other: &Self, fits: impl Fn(&Self) -> bool) -> bool {
        let may = |one: &Self| *one == Self::Unknown || fits(one);
        may(self) && may(other)
    }

    fn may_equal(&self, other: &Self) -> bool {
        matches!(self, Self::Unknown | Self::Nil)
            || matches!(other, Self::Unknown | Self::Nil)
            || self.is_number() && other.is_number()
            || self.item().is_some() && other.item().is_some()
            || self == other
    }
}

/// Whether an expression may be true.
pub(super) fn is_condition(expr: &Expr) -> bool {
    matches!(type_of(expr), Some(Type::Bool | Type::Unknown))
}

/// `None`: refused.
fn type_of(expr: &Expr) -> Option<Type> {
    Some(match expr {
        Expr::Nil => Type::Nil,
        Expr::Bool(_) => Type::Bool,
        Expr::Integer(_) => Type::Integer,
        Expr::Float(_) => Type::Float,
        Expr::Text(_) => Type::Text,
        Expr::Agents | Expr::Classes => Type::Names,
        Expr::Undefined => Type::Unknown,
        Expr::List(items) => Type::List(Box::new(item_type(items)?)),
        Expr::Unary(operator, operand) => unary(*operator, type_of(operand)?)?,
        Expr::Binary(operator, left, right) => {
            binary(*operator, &type_of(left)?, &type_of(right)?)?
        }
        Expr::MatchesLiteral(text, _) => binary(Binary::Matches, &type_of(text)?, &Type::Text)?,
        Expr::Order(first, links) => order(first, links)?,
        Expr::Conditional(condition, yes, no) => {
            let is_condition = matches!(type_of(condition)?, Type::Bool | Type::Unknown);
            let (yes, no) = (type_of(yes)?, type_of(no)?);
            is_condition.then_some(match (yes, no) {
                (Type::Nil, other) | (other, Type::Nil) => other,
                (yes, no) if yes == no || no == Type::Unknown => yes,
                _ => Type::Unknown,
            })?
        }
        Expr::Member { base, property, .. } => member(type_of(base)?, type_of(property)?)?,
        Expr::Chain(members) => type_of(members)?,
        Expr::Call(function, arguments) => {
            let types: Option<Vec<_>> = arguments.iter().map(type_of).collect();
            call(function, &types?)?
        }
    })
}

fn item_type(items: &[Expr]) -> Option<Type> {
    let mut types = items.iter().map(type_of);
    let Some(first) = types.next() else { return Some(Type::Unknown) };
    let first = first?;
    let mut same = true;
    for item in types {
        same &= item? == first;
    }
    Some(if same { first } else { Type::Unknown })
}

fn unary(operator: Unary, operand: Type) -> Option<Type> {
    match (operator, operand) {
        (Unary::Not, Type::Bool | Type::Unknown) => Some(Type::Bool),
        (Unary::Not, _) => None,
        (_, number @ (Type::Integer | Type::Float | Type::Unknown)) => Some(number),
        _ => None,
    }
}

fn order(first: &Expr, links: &[(Binary, Expr)]) -> Option<Type> {
    let mut left = type_of(first)?;
    for (_, right) in links {
        let right = type_of(right)?;
        let comparable =
            left.both(&right, Type::is_number) || left.both(&right, |side| *side == Type::Text);
        if !comparable {
            return None;
        }
        left = right;
    }
    Some(Type::Bool)
}

fn binary(operator: Binary, left: &Type, right: &Type) -> Option<Type> {
    let numbers = left.both(right, Type::is_number);
    let texts = left.both(right, |side| *side == Type::Text);
    let (fits, result) = match operator {
        Binary::Or | Binary::And => (left.both(right, |side| *side == Type::Bool), Type::Bool),
        Binary::Equal | Binary::NotEqual => (left.may_equal(right), Type::Bool),
        Binary::In => (may_be_in(left, right), Type::Bool),
        Binary::Matches | Binary::Contains | Binary::StartsWith | Binary::EndsWith => {
            (texts, Type::Bool)
        }
        Binary::Add => (numbers || texts, sum(left, right)),
        Binary::Subtract | Binary::Multiply => (numbers, sum(left, right)),
        Binary::Divide | Binary::Power => (numbers, Type::Float),
        Binary::Remainder => (left.both(right, |side| *side == Type::Integer), Type::Integer),
        Binary::Coalesce => (true, coalesced(left, right)),
        // These are in `Expr::Order`.
        Binary::Less | Binary::LessOrEqual | Binary::Greater | Binary::GreaterOrEqual => {
            return None;
        }
    };
    fits.then_some(result)
}

fn may_be_in(left: &Type, right: &Type) -> bool {
    match right.item() {
        Some(item) => left.may_equal(item),
        None => match right {
            Type::Unknown => true,
            Type::Text => *left == Type::Unknown,
            Type::Map => matches!(left, Type::Unknown | Type::Text),
            _ => false,
        },
    }
}

fn sum(left: &Type, right: &Type) -> Type {
    match (left, right) {
        (Type::Unknown, _) | (_, Type::Unknown) => Type::Unknown,
        (Type::Text, _) => Type::Text,
        (Type::Integer, Type::Integer) => Type::Integer,
        _ => Type::Float,
    }
}

fn coalesced(left: &Type, right: &Type) -> Type {
    match (left, right) {
        (Type::Nil, other) | (other, Type::Nil) => other.clone(),
        (left, right) if left == right => left.clone(),
        _ => Type::Unknown,
    }
}

fn member(base: Type, property: Type) -> Option<Type> {
    match base {
        Type::Unknown => Some(Type::Unknown),
        Type::Map => matches!(property, Type::Text | Type::Unknown).then_some(Type::Unknown),
        Type::List(_) | Type::Names if matches!(property, Type::Integer | Type::Unknown) => {
            base.item().cloned()
        }
        _ => None,
    }
}

fn may_be(argument: &Type, wanted: &Type) -> bool {
    *argument == Type::Unknown || std::mem::discriminant(argument) == std::mem::discriminant(wanted)
}

/// Whether these are the arguments of a data plugin that is asked something, or nothing.
fn asks(asked: bool, arguments: &[Type]) -> bool {
    match arguments {
        [] => !asked,
        [query] => asked && may_be(query, &Type::Text),
        _ => false,
    }
}

fn call(function: &Function, arguments: &[Type]) -> Option<Type> {
    let list = Type::List(Box::new(Type::Unknown));
    let (fits, result) = match (function, arguments) {
        (Function::With | Function::WithLiteral(_), [query]) => {
            (may_be(query, &Type::Text), Type::Bool)
        }
        (Function::Fact | Function::FactLiteral(_), [path]) => {
            (may_be(path, &Type::Text), Type::Unknown)
        }
        (Function::Include, [hay, _]) => (may_be(hay, &list), Type::Bool),
        (Function::Semver, [version, constraint]) => {
            (may_be(version, &Type::Text) && may_be(constraint, &Type::Text), Type::Bool)
        }
        (Function::Len, [of]) => {
            let counted =
                of.item().is_some() || matches!(of, Type::Text | Type::Map | Type::Unknown);
            (counted, Type::Integer)
        }
        (Function::Data(name), arguments) => {
            match DATA_PLUGINS.iter().find(|(plugin, _)| *plugin == name.as_str()) {
                Some((_, asked)) => (asks(*asked, arguments), Type::Map),
                None => (true, Type::Unknown),
            }
        }
        _ => (false, Type::Unknown),
    };
    fits.then_some(result)
}
