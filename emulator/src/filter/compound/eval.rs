//! Working an expression out for one node.

use std::borrow::Cow;

use serde_json::Value;

use super::semver;
use super::tree::{Binary, Expr, Function, Unary, With};
use super::value::{Val, apply, in_order};
use crate::filter::Subject;
use crate::filter::path::FactPath;
use crate::filter::regexp::Budget;

/// Why there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// An error, which is no match.
    Error,
    /// A `?.` found nothing: the chain around it is nil.
    Chain,
}

type Result<'a> = std::result::Result<Val<'a>, Stop>;

/// The value of an expression for a node.
pub(super) fn eval<'a>(expr: &'a Expr, node: &'a dyn Subject) -> Result<'a> {
    Ok(match expr {
        Expr::Nil | Expr::Undefined => Val::Nil,
        Expr::Bool(value) => Val::Bool(*value),
        Expr::Integer(value) => Val::Integer(*value),
        Expr::Float(value) => Val::Float(*value),
        Expr::Text(text) => Val::Text(Cow::Borrowed(text)),
        Expr::Agents => {
            let mut names = Vec::new();
            node.any_agent(&mut |name| note(name, &mut names));
            sorted(names)
        }
        Expr::Classes => {
            let mut names = Vec::new();
            node.any_class(&mut |name| note(name, &mut names));
            sorted(names)
        }
        Expr::List(items) => Val::List(
            items.iter().map(|item| eval(item, node)).collect::<std::result::Result<_, _>>()?,
        ),
        Expr::Unary(operator, operand) => unary(*operator, eval(operand, node)?)?,
        Expr::Binary(operator @ (Binary::And | Binary::Or), left, right) => {
            logic(*operator == Binary::Or, left, right, node)?
        }
        Expr::Binary(Binary::Coalesce, left, right) => match eval(left, node)? {
            Val::Nil | Val::NoMap => eval(right, node)?,
            value => value,
        },
        Expr::Binary(operator, left, right) => {
            let left = eval(left, node)?;
            if *operator == Binary::In && is_set_of_texts(right) {
                in_set(&left)?;
            }
            apply(*operator, left, eval(right, node)?).ok_or(Stop::Error)?
        }
        Expr::MatchesLiteral(text, regex) => match eval(text, node)? {
            Val::Nil => Val::Bool(false),
            Val::Text(text) => Val::Bool(regex.is_match(&text)),
            _ => return Err(Stop::Error),
        },
        Expr::Order(first, links) => order(first, links, node)?,
        Expr::Conditional(condition, yes, no) => match eval(condition, node)? {
            Val::Bool(true) => eval(yes, node)?,
            Val::Bool(false) => eval(no, node)?,
            _ => return Err(Stop::Error),
        },
        Expr::Member { base, property, optional } => match eval(base, node)? {
            Val::Nil | Val::NoMap if *optional => return Err(Stop::Chain),
            base => base.member(&eval(property, node)?).ok_or(Stop::Error)?,
        },
        Expr::Chain(members) => match eval(members, node) {
            Err(Stop::Chain) => Val::Nil,
            value => value?,
        },
        Expr::Call(function, arguments) => call(function, arguments, node)?,
    })
}

/// A test that no name passes, so that it is shown all of them.
fn note(name: &str, names: &mut Vec<String>) -> bool {
    names.push(name.to_owned());
    false
}

fn sorted<'a>(mut names: Vec<String>) -> Val<'a> {
    names.sort_unstable();
    Val::List(names.into_iter().map(|name| Val::Text(name.into())).collect())
}

fn unary(operator: Unary, operand: Val<'_>) -> Result<'_> {
    Ok(match (operator, operand) {
        (Unary::Not, Val::Bool(value)) => Val::Bool(!value),
        (Unary::Minus, Val::Integer(value)) => Val::Integer(value.wrapping_neg()),
        (Unary::Minus, Val::Float(value)) => Val::Float(-value),
        (Unary::Plus, value) => value,
        _ => return Err(Stop::Error),
    })
}

/// `and`, and with `any` `or`. Beside a literal the other side is not looked at, or is the result as it
/// is: the real server's compiler folds these.
fn logic<'a>(any: bool, left: &'a Expr, right: &'a Expr, node: &'a dyn Subject) -> Result<'a> {
    match (left, right) {
        (Expr::Bool(literal), other) | (other, Expr::Bool(literal)) if *literal != any => {
            return eval(other, node);
        }
        (Expr::Bool(_), _) | (_, Expr::Bool(_)) => return Ok(Val::Bool(any)),
        _ => {}
    }
    match eval(left, node)? {
        Val::Bool(value) if value == any => Ok(Val::Bool(any)),
        Val::Bool(_) => eval(right, node),
        _ => Err(Stop::Error),
    }
}

/// A literal list of texts is a set in the real server, and only texts (and nil) can be looked up in it.
fn is_set_of_texts(expr: &Expr) -> bool {
    match expr {
        Expr::List(items) => {
            !items.is_empty() && items.iter().all(|item| matches!(item, Expr::Text(_)))
        }
        _ => false,
    }
}

fn in_set(needle: &Val<'_>) -> std::result::Result<(), Stop> {
    if matches!(needle, Val::Text(_) | Val::Nil) { Ok(()) } else { Err(Stop::Error) }
}

fn order<'a>(first: &'a Expr, links: &'a [(Binary, Expr)], node: &'a dyn Subject) -> Result<'a> {
    let mut left = eval(first, node)?;
    for (operator, right) in links {
        let right = eval(right, node)?;
        if !in_order(*operator, &left, &right).ok_or(Stop::Error)? {
            return Ok(Val::Bool(false));
        }
        left = right;
    }
    Ok(Val::Bool(true))
}

fn call<'a>(function: &'a Function, arguments: &'a [Expr], node: &'a dyn Subject) -> Result<'a> {
    match function {
        Function::WithLiteral(query) => return Ok(Val::Bool(query.matches(node))),
        Function::FactLiteral(path) => return Ok(fact(path, node)),
        _ => {}
    }
    let mut values = Vec::with_capacity(arguments.len());
    for argument in arguments {
        values.push(eval(argument, node)?);
    }
    Ok(match (function, values.as_slice()) {
        (Function::With, [Val::Text(query)]) => {
            Val::Bool(With::new(query, &mut Budget::default()).matches(node))
        }
        (Function::Fact, [Val::Text(path)]) => fact(&FactPath::parse(path), node),
        (Function::Fact, [Val::Nil]) => fact(&FactPath::parse(""), node),
        (Function::Include, [Val::Nil, _]) => Val::Bool(false),
        (Function::Include, [Val::List(items), needle]) => Val::Bool(includes(items, needle)),
        (Function::Semver, [Val::Text(version), Val::Text(constraint)]) => {
            Val::Bool(semver::check(version, constraint).ok_or(Stop::Error)?)
        }
        (Function::Len, [of]) => Val::Integer(length(of).ok_or(Stop::Error)?),
        (Function::Data(plugin), arguments) => data(plugin, arguments, node).ok_or(Stop::Error)?,
        _ => return Err(Stop::Error),
    })
}

fn fact<'a>(path: &FactPath, node: &'a dyn Subject) -> Val<'a> {
    node.fact(path).map_or(Val::Nil, |value| Val::from(value.into_owned()))
}

/// An integer is looked for as a float, and items are not converted: QUIRK: `[1,2]` includes nothing
/// (protocol document 5.4).
fn includes(items: &[Val<'_>], needle: &Val<'_>) -> bool {
    let float = match needle {
        Val::Integer(_) => needle.as_float().map(Val::Float),
        _ => None,
    };
    items.contains(float.as_ref().unwrap_or(needle))
}

fn length(of: &Val<'_>) -> Option<i64> {
    let length = match of {
        Val::Text(text) => text.chars().count(),
        Val::List(items) => items.len(),
        Val::Map(members) => members.len(),
        Val::NoMap => 0,
        _ => return None,
    };
    i64::try_from(length).ok()
}

fn data<'a>(plugin: &str, arguments: &[Val<'_>], node: &dyn Subject) -> Option<Val<'a>> {
    let query = match arguments {
        [] => None,
        [Val::Text(query)] => Some(&**query),
        [Val::Nil] => Some(""),
        _ => return None,
    };
    Some(match node.data(plugin, query)? {
        Value::Null => Val::NoMap,
        found => found.into(),
    })
}

impl With {
    fn matches(&self, node: &dyn Subject) -> bool {
        match self {
            Self::Fact(fact) => node.judge_fact(fact.path(), &mut |value| fact.matches(value)),
            Self::Name { class, agent } => {
                node.any_class(&mut |name| class.matches(name))
                    || node.any_agent(&mut |name| agent.matches(name))
            }
        }
    }
}
