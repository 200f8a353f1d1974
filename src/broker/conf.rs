//! nats-server's configuration language, as far as JSON values need it: maps, lists, strings, numbers.
//!
//! Durations and sizes are strings or numbers to us; what a key takes is the server's to judge.

mod text;

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

pub(crate) use text::{Setting, settings};

/// The only key of a map that stands for a variable: nats-server has no key of that name.
pub(crate) const VARIABLE: &str = "$";

/// A value that the server takes from a variable of its environment, so that no file holds it.
pub(crate) fn variable(name: &str) -> Value {
    json!({ VARIABLE: name })
}

/// Whether a map stands for a variable.
pub(crate) fn is_variable(map: &Map<String, Value>) -> bool {
    map.contains_key(VARIABLE)
}

/// The name that we write for a key: nats-server takes keys in capitals too, and some by a second name (its
/// `server/opts.go`, alike in 2.0.0 and 2.14.5).
pub(crate) fn our_name(key: &str) -> String {
    let small = key.to_ascii_lowercase();
    let ours = match small.as_str() {
        "net" => "host",
        "monitor_port" => "http_port",
        "max_conn" => "max_connections",
        "max_subs" => "max_subscriptions",
        "max_sub_tokens" => "max_subscription_tokens",
        "leaf" => "leafnodes",
        "ws" => "websocket",
        "maps" => "mappings",
        "no_sublist_cache" => "disable_sublist_cache",
        "logfile" => "log_file",
        "log_size_limit" => "logfile_size_limit",
        "log_max_num" => "logfile_max_num",
        "pidfile" => "pid_file",
        "account_resolver" | "accounts_resolver" => "resolver",
        "system" => "system_account",
        "trusted_keys" => "trusted",
        "storedir" => "store_dir",
        "no_system" | "no_sys_acc" => "no_system_account",
        // In users and remotes.
        "username" => "user",
        "password" => "pass",
        "urls" => "url",
        "operators" | "root" | "roots" | "root_operator" | "root_operators" => "operator",
        _ => return small,
    };
    ours.to_owned()
}

/// The value of the key that we write so.
pub(crate) fn given<'a>(keys: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    keys.iter().find(|(key, _)| our_name(key) == name).map(|(_, value)| value)
}

/// Whether the keys of the map that we write for this setting are names, which are told from each other by their
/// capitals: of accounts, subjects, headers.
pub(crate) fn holds_names(setting: &str) -> bool {
    ["accounts", "mappings", "headers", "resolver_preload", "server_metadata"].contains(&setting)
}

/// Writes `more` into `map`; maps in maps are merged, everything else is replaced, whatever a setting is called there:
/// where it has two names in a file, it is chance which of them counts, since nats-server goes over its keys in no
/// order.
pub(crate) fn merge(map: &mut Map<String, Value>, more: &Map<String, Value>) {
    merge_keys(map, more, false);
}

fn merge_keys(map: &mut Map<String, Value>, more: &Map<String, Value>, are_names: bool) {
    let name = |key: &str| if are_names { key.to_owned() } else { our_name(key) };
    let known = map.keys().map(|key| (name(key), key.clone()));
    let mut known: HashMap<String, String> = known.collect();
    for (key, value) in more {
        let name = name(key);
        let are_names_within = !are_names && holds_names(&name);
        let key = known.entry(name).or_insert_with(|| key.clone());
        match (map.get_mut(key), value) {
            (Some(Value::Object(ours)), Value::Object(theirs))
                if !is_variable(ours) && !is_variable(theirs) =>
            {
                merge_keys(ours, theirs, are_names_within);
            }
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
            // Right before a bracket a number is a word to the server, which has the bracket in it.
            text.push_str(if values.last().is_some_and(Value::is_number) { " ]" } else { "]" });
        }
        Value::Object(keys) if is_variable(keys) => {
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
    fn what_is_given_last_counts_whatever_it_is_called_but_names_are_names() {
        let mut map = serde_json::json!({
            "Ping_Interval": "1m", "max_conn": 7, "Accounts": {"app": {"Users": [1]}, "APP": {}},
            "maps": {"a": "b"}, "token": {"$": "A"},
        });
        let more = serde_json::json!({
            "ping_interval": "2m", "Max_Connections": 8, "accounts": {"App": {}, "app": {"users": [2]}},
            "mappings": {"A": "c"}, "token": {"$": "B"},
        });
        merge(map.as_object_mut().unwrap(), more.as_object().unwrap());
        assert_eq!(
            map,
            serde_json::json!({
                "Ping_Interval": "2m", "max_conn": 8,
                "Accounts": {"app": {"Users": [2]}, "APP": {}, "App": {}},
                "maps": {"a": "b", "A": "c"}, "token": {"$": "B"},
            })
        );
        let map = map.as_object().unwrap();
        assert_eq!(given(map, "max_connections"), Some(&8.into()));
    }

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
        list: ["a", 1 ]
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
