//! A tree as YAML again: what a result folder keeps of a scenario that was run with overrides.
//!
//! Comments and layout of the file are not kept (the comments on top are); a scenario without
//! overrides is kept as it stands and does not pass through here.

use super::tree::{Node, Value};

/// Writes `tree` below the comments that `text` begins with and the overrides that were applied.
pub(super) fn write(tree: &Node, text: &str, overrides: &[String]) -> String {
    let mut out = String::new();
    for line in text.lines().take_while(|line| line.starts_with('#')) {
        out.push_str(line);
        out.push('\n');
    }
    for line in overrides.iter().flat_map(|text| text.lines()) {
        out.push_str(&format!("# run with -P {line}\n"));
    }
    write_block(&mut out, tree, 0);
    out
}

/// A map or list, one line an entry; scalars and empty ones stand on the line they began on.
fn write_block(out: &mut String, node: &Node, indent: usize) {
    let margin = " ".repeat(indent);
    match &node.value {
        Value::Map(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                out.push_str(&format!("{margin}{}:", text(&key.name)));
                write_value(out, value, indent + 2);
            }
        }
        Value::List(entries) if !entries.is_empty() => {
            for value in entries {
                out.push_str(&format!("{margin}-"));
                write_value(out, value, indent + 2);
            }
        }
        _ => out.push_str(&format!("{margin}{}\n", scalar(&node.value))),
    }
}

fn write_value(out: &mut String, node: &Node, indent: usize) {
    match &node.value {
        Value::Map(entries) if !entries.is_empty() => out.push('\n'),
        Value::List(entries) if !entries.is_empty() => out.push('\n'),
        other => {
            out.push_str(&format!(" {}\n", scalar(other)));
            return;
        }
    }
    write_block(out, node, indent);
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(_, written) => written.clone(),
        Value::Text(value) => text(value),
        Value::List(_) => "[]".to_owned(),
        Value::Map(_) => "{}".to_owned(),
    }
}

/// Plain where nothing else can be meant, else in double quotes, as JSON has them: YAML reads those.
fn text(value: &str) -> String {
    let reserved = ["true", "false", "null"].iter().any(|word| value.eq_ignore_ascii_case(word));
    let plain = value.starts_with(|c: char| c.is_ascii_alphabetic())
        && value.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if plain && !reserved { value.to_owned() } else { serde_json::json!(value).to_string() }
}
