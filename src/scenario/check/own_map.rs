//! A map of the user's that becomes the configuration of a broker: what it would say twice, and its variables.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::broker::{VARIABLE, holds_names, is_in_listen, is_place, our_name};
use crate::scenario::error::Problem;
use crate::scenario::tree::Step;

/// Everything that is wrong with a map, whatever brokers it is for.
pub(super) fn check_map(found: &mut Vec<Problem>, at: &[Step], map: &Map<String, Value>) {
    if map.contains_key(VARIABLE) {
        let message = format!("`{VARIABLE}` stands for a variable, and this is no value");
        let advice = format!("write it as the value of a key: `KEY: {{{VARIABLE}: NAME}}`");
        found.push(Problem::new(at.to_vec(), message, advice));
    }
    let at_top = map.iter().filter(|(key, _)| !is_place(&our_name(key)));
    check_keys(found, at, at_top, false);
}

/// What keys of one map say, and what is in them. Names of the user's say nothing to the server.
fn check_keys<'a>(
    found: &mut Vec<Problem>,
    at: &[Step],
    keys: impl Iterator<Item = (&'a String, &'a Value)>,
    are_names: bool,
) {
    let mut known: HashMap<String, &str> = HashMap::new();
    for (key, value) in keys {
        let at = [at, &[key.as_str().into()]].concat();
        let name = our_name(key);
        let within = !are_names && holds_names(&name);
        if !are_names && let Some(first) = known.insert(name, key) {
            let message = format!("`{key}` is `{first}` again: chance would say which counts");
            found.push(Problem::new(at.clone(), message, "keep one of the two").of_key());
        }
        check_value(found, &at, value, within);
    }
    if !are_names && let Some(message) = twice_listening(&known) {
        let message = format!("{message}: chance would say which counts");
        found.push(Problem::new(at.to_vec(), message, "say it in one of the two ways"));
    }
}

fn check_value(found: &mut Vec<Problem>, at: &[Step], value: &Value, are_names: bool) {
    match value {
        Value::Object(map) => match map.get(VARIABLE) {
            Some(name) => check_variable(found, at, name, map.len() == 1),
            None => check_keys(found, at, map.iter(), are_names),
        },
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                check_value(found, &[at, &[index.into()]].concat(), value, false);
            }
        }
        _ => {}
    }
}

/// It is written without quotes, so that it must not be more than a name.
fn check_variable(found: &mut Vec<Problem>, at: &[Step], name: &Value, is_alone: bool) {
    let is_plain = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if !is_alone || !name.as_str().is_some_and(is_plain) {
        let message = format!("{name} behind `{VARIABLE}` is not the name of a variable alone");
        let advice = format!(
            "write one of letters, digits and `_` and nothing beside it: `{{{VARIABLE}: NAME}}`"
        );
        found.push(Problem::new(at.to_vec(), message, advice));
    }
}

/// What a setting says in two ways within its blocks that no single key does.
pub(super) fn said_twice(key: &str, value: &Value) -> Option<String> {
    let Value::Object(map) = value else { return None };
    let known = || map.keys().map(|key| (our_name(key), key.as_str())).collect();
    let here = if holds_names(&our_name(key)) { None } else { twice_listening(&known()) };
    here.or_else(|| map.iter().find_map(|(key, value)| said_twice(key, value)))
}

fn twice_listening(known: &HashMap<String, &str>) -> Option<String> {
    let listen = known.get("listen")?;
    let (_, part) = known.iter().filter(|(name, _)| is_in_listen(name)).min()?;
    Some(format!("`{listen}` and `{part}` both say where it listens"))
}
