//! A facts document whose strings are patterns.
//!
//! A string with placeholders becomes a string per node; a string that is exactly one placeholder
//! with arithmetic and no width (`"{index % 4}"`) becomes a JSON number, because filters compare
//! numbers and strings differently (protocol document 5.3). Keys are literal. Parts without
//! placeholders are shared by all nodes, and looking at one fact renders that fact only.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::arithmetic::Arithmetic;
use super::{Pattern, PatternError, Vars};
use crate::filter::facts::FactRef;
use crate::filter::path::{FactPath, Step};

/// The facts of a group's nodes.
#[derive(Debug, Clone)]
pub struct FactTemplate {
    root: Arc<Part>,
}

/// A value of the document.
#[derive(Debug)]
enum Part {
    /// The same for every node.
    Constant(Arc<Value>),
    Text(Pattern),
    Number(Arithmetic),
    Array(Vec<Part>),
    Object(Vec<(String, Part)>),
}

/// A facts document with a string that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("fact {fact}: {error}")]
pub struct FactTemplateError {
    /// Where in the document, keys and array indexes joined by dots.
    pub fact: String,
    /// What is wrong with it.
    pub error: PatternError,
}

impl FactTemplate {
    /// Checks a document and sets aside what is the same for every node.
    ///
    /// # Errors
    /// Names the first string that is no pattern.
    pub fn compile(facts: &Map<String, Value>) -> Result<Self, FactTemplateError> {
        let root = compile_object(facts, &mut Vec::new())?;
        Ok(Self { root: Arc::new(root) })
    }

    /// Whether every node has the same facts.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        matches!(*self.root, Part::Constant(_))
    }

    /// The whole document of one node; shared when every node has the same.
    #[must_use]
    pub fn facts(&self, vars: &Vars<'_>) -> Arc<Value> {
        match &*self.root {
            Part::Constant(value) => Arc::clone(value),
            part => Arc::new(part.build(vars)),
        }
    }

    /// One fact of one node, by a path as fact filters write it; nothing else is rendered.
    #[must_use]
    pub fn get(&self, path: &FactPath, vars: &Vars<'_>) -> Option<Cow<'_, Value>> {
        let (part, passed) = self.descend(path)?;
        match part {
            Part::Constant(value) => path.get_after(passed, Cow::Borrowed(&**value)),
            part => path.get_after(passed, Cow::Owned(part.build(vars))),
        }
    }

    /// Shows one fact to `judge` and gives its verdict, or false if the node has no such fact. Texts
    /// are rendered in `scratch`: with a simple path this allocates nothing.
    pub fn judge(
        &self,
        path: &FactPath,
        vars: &Vars<'_>,
        scratch: &Cell<String>,
        judge: &mut dyn FnMut(FactRef<'_>) -> bool,
    ) -> bool {
        match self.descend(path) {
            None => false,
            Some((Part::Text(pattern), passed)) if path.ends_at(passed) => {
                let mut text = scratch.take();
                text.clear();
                pattern.render(vars, &mut text);
                let verdict = judge(FactRef::Text(&text));
                scratch.set(text);
                verdict
            }
            Some((Part::Number(number), passed)) if path.ends_at(passed) => {
                judge(FactRef::Number(as_go_float(number.evaluate(vars.index))))
            }
            Some(_) => self.get(path, vars).is_some_and(|value| judge(FactRef::from(&*value))),
        }
    }

    /// Follows the plain steps at the beginning of a path as far as the template reaches; gives the
    /// part and how many steps led there. `None`: there is no such fact.
    fn descend(&self, path: &FactPath) -> Option<(&Part, usize)> {
        let mut part = &*self.root;
        let mut passed = 0;
        for step in path.plain_steps() {
            part = match part {
                Part::Object(members) => {
                    let Step::Key(key) = step else { break };
                    members.iter().find(|(name, _)| name == key).map(|(_, part)| part)?
                }
                Part::Array(parts) => parts.get(step.index()?)?,
                Part::Constant(_) | Part::Text(_) | Part::Number(_) => break,
            };
            passed += 1;
        }
        Some((part, passed))
    }
}

impl Part {
    fn build(&self, vars: &Vars<'_>) -> Value {
        match self {
            Self::Constant(value) => Value::clone(value),
            Self::Text(pattern) => {
                let mut text = String::new();
                pattern.render(vars, &mut text);
                Value::String(text)
            }
            Self::Number(number) => number.evaluate(vars.index).into(),
            Self::Array(parts) => parts.iter().map(|part| part.build(vars)).collect(),
            Self::Object(members) => Value::Object(
                members.iter().map(|(key, part)| (key.clone(), part.build(vars))).collect(),
            ),
        }
    }

    fn constant(&self) -> Option<&Arc<Value>> {
        match self {
            Self::Constant(value) => Some(value),
            _ => None,
        }
    }
}

/// Facts are float64 in a real server (protocol document 14).
fn as_go_float(number: i64) -> f64 {
    number as f64
}

fn compile_value(value: &Value, place: &mut Vec<String>) -> Result<Part, FactTemplateError> {
    Ok(match value {
        Value::String(text) => compile_text(text, place)?,
        Value::Object(members) => compile_object(members, place)?,
        Value::Array(values) => {
            let mut parts = Vec::with_capacity(values.len());
            for (index, value) in values.iter().enumerate() {
                place.push(index.to_string());
                parts.push(compile_value(value, place)?);
                place.pop();
            }
            match parts.iter().map(Part::constant).collect::<Option<Vec<_>>>() {
                Some(values) => constant(values.into_iter().map(|v| Value::clone(v)).collect()),
                None => Part::Array(parts),
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => constant(value.clone()),
    })
}

fn compile_object(
    members: &Map<String, Value>,
    place: &mut Vec<String>,
) -> Result<Part, FactTemplateError> {
    let mut parts = Vec::with_capacity(members.len());
    for (key, value) in members {
        place.push(key.clone());
        parts.push((key.clone(), compile_value(value, place)?));
        place.pop();
    }
    let constants: Option<Map<_, _>> = parts
        .iter()
        .map(|(key, part)| Some((key.clone(), Value::clone(part.constant()?))))
        .collect();
    Ok(constants.map_or(Part::Object(parts), |members| constant(Value::Object(members))))
}

fn compile_text(text: &str, place: &[String]) -> Result<Part, FactTemplateError> {
    let pattern =
        Pattern::parse(text).map_err(|error| FactTemplateError { fact: place.join("."), error })?;
    Ok(match (pattern.constant(), pattern.as_number()) {
        (Some(text), _) => constant(text.into()),
        (_, Some(number)) => Part::Number(number.clone()),
        _ => Part::Text(pattern),
    })
}

fn constant(value: Value) -> Part {
    Part::Constant(Arc::new(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn template(facts: &Value) -> FactTemplate {
        FactTemplate::compile(facts.as_object().unwrap()).unwrap()
    }

    fn vars(index: u64) -> Vars<'static> {
        Vars { index, group: "dc1" }
    }

    #[test]
    fn strings_are_rendered_and_lone_placeholders_are_numbers() {
        let template = template(&json!({
            "id": "{index}", "padded": "{index:04}", "host": "web-{index}", "site": "{group}",
            "list": ["a", "{index % 4}", {"deep": "{{{index}}}"}], "same": {"a": ["b", 1.5, null]},
        }));
        let expected = json!({
            "id": 42, "padded": "0042", "host": "web-42", "site": "dc1",
            "list": ["a", 2, {"deep": "{42}"}], "same": {"a": ["b", 1.5, null]},
        });
        assert_eq!(*template.facts(&vars(42)), expected);
        assert!(!template.is_constant());
    }

    #[test]
    fn constant_documents_are_shared() {
        let template = template(&json!({"a": {"b": ["c", 1]}, "brace": "{{x}}"}));
        let (one, other) = (template.facts(&vars(1)), template.facts(&vars(2)));
        assert!(template.is_constant() && Arc::ptr_eq(&one, &other));
        assert_eq!(*one, json!({"a": {"b": ["c", 1]}, "brace": "{x}"}));
    }

    #[test]
    fn one_fact_is_what_the_whole_document_holds_there() {
        let template = template(&json!({
            "a": {"b": ["{index}", "x", {"c": "h-{index}"}], "fix": {"d": [1, 2]}}, "t": "{group}",
        }));
        let scratch = Cell::new(String::new());
        for path in [
            "a",
            "a.b",
            "a.b.0",
            "a.b.1",
            "a.b.2.c",
            "a.b.#",
            "a.b.#.c",
            "a.fix.d.1",
            "a.f*.d.0",
            "t",
            "t.x",
            "nope",
            "a.b.9",
            "a.b.x",
            "a.b.2|c",
            "a.b.@reverse.0.c",
            "*",
        ] {
            let path = FactPath::parse(path);
            let whole = template.facts(&vars(7));
            let expected = path.get(&whole).map(Cow::into_owned);
            assert_eq!(template.get(&path, &vars(7)).map(Cow::into_owned), expected, "{path:?}");
            let mut seen = false;
            template.judge(&path, &vars(7), &scratch, &mut |fact| {
                let whole = expected.as_ref().map(FactRef::from);
                seen = true;
                assert_eq!(Some(fact), whole);
                true
            });
            assert_eq!(seen, expected.is_some(), "{path:?}");
        }
    }

    #[test]
    fn a_bad_pattern_is_named_with_its_place() {
        let facts = json!({"a": ["ok", {"b": "{nope}"}]});
        let error = FactTemplate::compile(facts.as_object().unwrap()).unwrap_err();
        assert_eq!(error.fact, "a.1.b");
        assert_eq!(error.error.problem, "unknown name \"nope\"");
    }
}
