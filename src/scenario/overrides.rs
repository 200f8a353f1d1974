//! Overrides of the command line: `-P fleet.default.nodes=500` changes the tree before it is read.
//!
//! An entry of a list is addressed by its name (`group` or `name`) or its index from 0. The value is
//! YAML. What the path does not find on its way is named, with what is there.

use super::error::{Finding, nearest};
use super::tree::{Key, Node, Place, Value};
use super::yaml;

/// The keys that name an entry of a list.
const NAMING_KEYS: [&str; 2] = ["group", "name"];

/// Applies `overrides` in their order; all that fail are reported.
pub(super) fn apply(tree: &mut Node, overrides: &[String]) -> Result<(), Vec<Finding>> {
    let mut findings = Vec::new();
    for (index, text) in overrides.iter().enumerate() {
        if let Err(message) = apply_one(tree, text, index) {
            findings.push(Finding { place: Place::Override(index), message });
        }
    }
    if findings.is_empty() { Ok(()) } else { Err(findings) }
}

fn apply_one(tree: &mut Node, text: &str, index: usize) -> Result<(), String> {
    let place = Place::Override(index);
    let (path, value) = split(text)?;
    let mut value = yaml::parse(value)
        .map_err(|error| format!("{}\nwrite a YAML value after the `=`", error.message))?;
    move_to(&mut value, place);
    let target = descend(tree, &path, place)?;
    *target = value;
    Ok(())
}

/// The steps and the text of the value. What follows `thresholds.` is one key: metrics hold dots.
fn split(text: &str) -> Result<(Vec<&str>, &str), String> {
    let (path, value) = text.split_once('=').ok_or_else(|| {
        "an override without a value\nwrite it as in `fleet.default.nodes=500`".to_owned()
    })?;
    let path = path.trim();
    let steps: Vec<&str> = match path.strip_prefix("thresholds.") {
        Some(metric) => vec!["thresholds", metric],
        None => path.split('.').collect(),
    };
    if steps.iter().any(|step| step.is_empty()) {
        return Err(
            "an empty name in the path\nwrite it as in `fleet.default.nodes=500`".to_owned()
        );
    }
    Ok((steps, value))
}

/// The node at the end of `path`; maps grow the keys they lack, as the types know which are right.
fn descend<'a>(
    mut node: &'a mut Node,
    path: &[&str],
    place: Place,
) -> Result<&'a mut Node, String> {
    let mut walked = String::from("the scenario");
    for step in path {
        if node.value == Value::Null {
            node.value = Value::Map(Vec::new());
        }
        let kind = node.kind();
        node = match &mut node.value {
            Value::Map(entries) => member(entries, step, place),
            Value::List(entries) => entry(entries, step, &walked)?,
            _ => {
                return Err(format!(
                    "`{walked}` is {kind}, it has no `{step}`\nend the path there"
                ));
            }
        };
        walked =
            if walked == "the scenario" { (*step).to_owned() } else { format!("{walked}.{step}") };
    }
    Ok(node)
}

fn member<'a>(entries: &'a mut Vec<(Key, Node)>, name: &str, place: Place) -> &'a mut Node {
    let position = entries.iter().position(|(key, _)| key.name == name).unwrap_or_else(|| {
        let key = Key { name: name.to_owned(), place };
        entries.push((key, Node { place, value: Value::Null }));
        entries.len() - 1
    });
    &mut entries[position].1
}

fn entry<'a>(entries: &'a mut [Node], step: &str, walked: &str) -> Result<&'a mut Node, String> {
    let named = entries.iter().position(|entry| name_of(entry) == Some(step));
    let position = named.or_else(|| step.parse().ok().filter(|index| *index < entries.len()));
    if let Some(position) = position {
        return Ok(&mut entries[position]);
    }
    let names: Vec<&str> = entries.iter().filter_map(name_of).collect();
    let advice = match nearest(step, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() && entries.is_empty() => "the list is empty".to_owned(),
        None if names.is_empty() => format!("give an index from 0 to {}", entries.len() - 1),
        None => format!("entries here: {}", names.join(", ")),
    };
    Err(format!("`{walked}` has no entry `{step}`\n{advice}"))
}

fn name_of(entry: &Node) -> Option<&str> {
    let Value::Map(entries) = &entry.value else { return None };
    entries.iter().find_map(|(key, node)| match &node.value {
        Value::Text(name) if NAMING_KEYS.contains(&key.name.as_str()) => Some(name.as_str()),
        _ => None,
    })
}

/// Everything in `node` came from `place`.
fn move_to(node: &mut Node, place: Place) {
    node.place = place;
    match &mut node.value {
        Value::List(entries) => entries.iter_mut().for_each(|entry| move_to(entry, place)),
        Value::Map(entries) => {
            for (key, entry) in entries {
                key.place = place;
                move_to(entry, place);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(..) | Value::Text(_) => {}
    }
}
