//! nats-server's configuration language, as far as JSON values need it: maps, lists, strings, numbers.
//!
//! Durations and sizes are strings or numbers to us; what a key takes is the server's to judge.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

/// The only key of a map that stands for a variable: nats-server has no key of that name.
const VARIABLE: &str = "$";

/// A value that the server takes from a variable of its environment, so that no file holds it.
pub(crate) fn variable(name: &str) -> Value {
    json!({ VARIABLE: name })
}

/// Writes `more` into `map`; maps in maps are merged, everything else is replaced.
pub(crate) fn merge(map: &mut Map<String, Value>, more: &Map<String, Value>) {
    for (key, value) in more {
        match (map.get_mut(key), value) {
            (Some(Value::Object(ours)), Value::Object(theirs)) => merge(ours, theirs),
            _ => drop(map.insert(key.clone(), value.clone())),
        }
    }
}

/// Writes the keys, one a line.
pub(super) fn write(text: &mut String, keys: &Map<String, Value>) {
    write_keys(text, keys, 0);
}

fn write_keys(text: &mut String, keys: &Map<String, Value>, indent: usize) {
    for (key, value) in keys {
        let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !key.is_empty();
        let key = if plain { key.clone() } else { quoted(key) };
        // Writing to a String cannot fail.
        let _ = write!(text, "{:indent$}{key}: ", "");
        write_value(text, value, indent);
        text.push('\n');
    }
}

fn write_value(text: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Null => text.push_str("\"\""),
        Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => text.push_str(&number.to_string()),
        Value::String(value) => text.push_str(&quoted(value)),
        Value::Array(values) if values.iter().any(Value::is_object) => {
            text.push_str("[\n");
            for value in values {
                let _ = write!(text, "{:1$}", "", indent + 2);
                write_value(text, value, indent + 2);
                text.push('\n');
            }
            let _ = write!(text, "{:indent$}]", "");
        }
        Value::Array(values) => {
            text.push('[');
            for (position, value) in values.iter().enumerate() {
                text.push_str(if position > 0 { ", " } else { "" });
                write_value(text, value, indent);
            }
            text.push(']');
        }
        Value::Object(keys) if keys.contains_key(VARIABLE) => {
            let name = keys.get(VARIABLE).and_then(Value::as_str).unwrap_or_default();
            let _ = write!(text, "${name}");
        }
        Value::Object(keys) => {
            text.push_str("{\n");
            write_keys(text, keys, indent + 2);
            let _ = write!(text, "{:indent$}}}", "");
        }
    }
}

/// A string as nats-server's configuration language has it.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_kind_are_written_as_the_server_reads_them() {
        let value = serde_json::json!({
            "plain": "a \"b\"\\\n", "number": 8, "share": 0.5, "on": true, "$SYS": {"x": []},
            "list": ["a", 1], "maps": [{"a": 1}, {"b": {"c": 2}}], "token": variable("TOKEN"),
        });
        let mut text = String::new();
        write(&mut text, value.as_object().unwrap());
        insta::assert_snapshot!(text, @r#"
        plain: "a \"b\"\\\n"
        number: 8
        share: 0.5
        on: true
        "$SYS": {
          x: []
        }
        list: ["a", 1]
        maps: [
          {
            a: 1
          }
          {
            b: {
              c: 2
            }
          }
        ]
        token: $TOKEN
        "#);
    }
}
