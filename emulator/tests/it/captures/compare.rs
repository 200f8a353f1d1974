//! Compares a reply with a recorded one as the captures' README says: JSON values, not bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use emulator::protocol::client::{self, ReplyScratch};
use serde_json::Value;

/// A reply, opened.
struct Layers {
    headers: Value,
    protocols: [Value; 3],
    envelope: Value,
    body: Value,
}

fn open(payload: &str) -> Layers {
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let transport = parse(payload);
    let secure = STANDARD.decode(transport["data"].as_str().unwrap()).unwrap();
    let secure = parse(std::str::from_utf8(&secure).unwrap());
    let reply = parse(secure["message"].as_str().unwrap());
    let body = reply["message"].as_str().unwrap();
    Layers {
        headers: transport["headers"].clone(),
        protocols: [&transport, &secure, &reply].map(|layer| layer["protocol"].clone()),
        envelope: reply["envelope"].clone(),
        body: serde_json::from_str(body).unwrap_or_else(|_| body.into()),
    }
}

/// How two replies differ, in lines; `volatile` members need to be of the same type only, `departures`
/// are not compared.
pub(super) fn differences(
    real: &str,
    ours: &str,
    volatile: &[&str],
    departures: &[&str],
) -> Vec<String> {
    // Checks our hash.
    let mut scratch = ReplyScratch::default();
    if let Err(error) = client::decode_reply(ours.as_bytes(), &mut scratch) {
        return vec![format!("ours is refused by the client: {error}")];
    }
    let (mut real, mut ours) = (open(real), open(ours));
    for pointer in departures {
        remove(&mut real.body, pointer);
        remove(&mut ours.body, pointer);
    }
    for pointer in volatile {
        blank(&mut real.body, pointer);
        blank(&mut ours.body, pointer);
    }
    let mut found = Vec::new();
    diff("headers", &real.headers, &ours.headers, &mut found);
    diff("protocols", &real.protocols.to_vec().into(), &ours.protocols.to_vec().into(), &mut found);
    diff("envelope", &real.envelope, &ours.envelope, &mut found);
    diff("body", &real.body, &ours.body, &mut found);
    found
}

fn remove(body: &mut Value, pointer: &str) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    if let Some(Value::Object(members)) = body.pointer_mut(parent) {
        members.shift_remove(name);
    }
}

/// Leaves the type of a value only.
fn blank(body: &mut Value, pointer: &str) {
    if let Some(value) = body.pointer_mut(pointer) {
        *value = kind(value).into();
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "a null",
        Value::Bool(_) => "a bool",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn diff(place: &str, real: &Value, ours: &Value, found: &mut Vec<String>) {
    match (real, ours) {
        (Value::Object(a), Value::Object(b)) => {
            let names = a.keys().chain(b.keys().filter(|name| !a.contains_key(*name)));
            for name in names {
                match (a.get(name), b.get(name)) {
                    (Some(real), Some(ours)) => diff(&format!("{place}.{name}"), real, ours, found),
                    (Some(real), None) => {
                        found.push(format!("{place}.{name}: real {real}, ours has none"))
                    }
                    (None, ours) => {
                        found.push(format!("{place}.{name}: real has none, ours {ours:?}"))
                    }
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (at, (real, ours)) in a.iter().zip(b).enumerate() {
                diff(&format!("{place}[{at}]"), real, ours, found);
            }
        }
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => {}
        (Value::String(a), Value::String(b)) if same_text(a, b) => {}
        _ if real == ours => {}
        _ => found.push(format!("{place}\n    real: {real}\n    ours: {ours}")),
    }
}

/// Texts are the same, or quote the decoder after the same beginning.
fn same_text(real: &str, ours: &str) -> bool {
    let quoted = [": json", ": invalid"].into_iter().filter_map(|mark| real.find(mark)).min();
    match quoted {
        Some(end) => ours.get(..end) == real.get(..end),
        None => real == ours,
    }
}
