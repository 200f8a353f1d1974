//! Compares replies with recorded ones as the captures' README says: as JSON values, not as bytes.

use crate::protocol::client::{self, ReplyScratch};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Bytes of a value that are shown where it differs.
const EXCERPT_BYTES: usize = 200;

/// How what was seen compares with what was recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// What differs and may not: where, what the real server had, what ours has.
    pub differences: Vec<String>,
    /// What differs and may: where, and why.
    pub allowed: Vec<String>,
}

/// Members of a reply's body that may differ, as JSON pointers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Allowance<'a> {
    /// Values of the recorded process: only presence and types are compared.
    pub(super) volatile: &'a [String],
    /// Members that an older server had otherwise, or not at all.
    pub(super) older: &'a [&'a str],
}

/// A reply, opened.
struct Layers {
    headers: Value,
    protocols: Value,
    envelope: Value,
    body: Value,
}

fn open(payload: &[u8]) -> Option<Layers> {
    let transport: Value = serde_json::from_slice(payload).ok()?;
    let secure = STANDARD.decode(transport["data"].as_str()?).ok()?;
    let secure: Value = serde_json::from_slice(&secure).ok()?;
    let reply: Value = serde_json::from_str(secure["message"].as_str()?).ok()?;
    let body = reply["message"].as_str()?;
    Some(Layers {
        headers: transport["headers"].clone(),
        protocols: [&transport, &secure, &reply].map(|layer| layer["protocol"].clone()).into(),
        envelope: reply["envelope"].clone(),
        body: serde_json::from_str(body).unwrap_or_else(|_| body.into()),
    })
}

/// The body of a reply transport: JSON, or text where it is none. `None` if the payload is no reply.
#[must_use]
pub fn reply_body(payload: &[u8]) -> Option<Value> {
    open(payload).map(|layers| layers.body)
}

/// What the sender's clock showed when it wrote this reply transport: unix seconds.
#[must_use]
pub fn reply_time_unix(payload: &[u8]) -> Option<i64> {
    open(payload)?.envelope.get("time")?.as_i64()
}

impl Comparison {
    /// Notes a difference.
    pub fn differs(
        &mut self,
        what: &str,
        real: &dyn std::fmt::Display,
        ours: &dyn std::fmt::Display,
    ) {
        let (real, ours) = (real.to_string(), ours.to_string());
        let same = real.bytes().zip(ours.bytes()).take_while(|(a, b)| a == b).count();
        let (real, ours) = (excerpt(&real, same), excerpt(&ours, same));
        self.differences.push(format!("{what}\n    real: {real}\n    ours: {ours}"));
    }

    /// Compares one reply transport.
    pub(super) fn reply(&mut self, real: &[u8], ours: &[u8], allowance: Allowance<'_>) {
        // Checks the hash, too.
        if let Err(error) = client::decode_reply(ours, &mut ReplyScratch::default()) {
            return self.differs(
                "reply",
                &"read by a client",
                &format!("refused by a client: {error}"),
            );
        }
        let (Some(real), Some(ours)) = (open(real), open(ours)) else {
            return self.differs("reply", &"a reply", &"one of the two is none");
        };
        let strict = Allowance::default();
        self.values(&Place::at("headers"), &real.headers, &ours.headers, strict);
        self.values(&Place::at("protocols"), &real.protocols, &ours.protocols, strict);
        self.values(&Place::at("envelope"), &real.envelope, &ours.envelope, strict);
        self.values(&Place::at("body"), &real.body, &ours.body, allowance);
    }

    fn values(&mut self, place: &Place, real: &Value, ours: &Value, allowance: Allowance<'_>) {
        if allowance.volatile.contains(&place.pointer) {
            let before = self.differences.len();
            self.shapes(place, real, ours);
            if real != ours && self.differences.len() == before {
                self.allowed.push(format!("{}: of the process", place.shown()));
            }
            return;
        }
        match (real, ours) {
            (Value::Object(a), Value::Object(b)) => {
                let names = a.keys().chain(b.keys().filter(|name| !a.contains_key(*name)));
                for name in names {
                    self.members(&place.member(name), a.get(name), b.get(name), allowance);
                }
            }
            (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
                for (at, (real, ours)) in a.iter().zip(b).enumerate() {
                    self.members(&place.member(&at.to_string()), Some(real), Some(ours), allowance);
                }
            }
            (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => {}
            (Value::String(a), Value::String(b)) if a != b && same_beginning(a, b) => {
                self.allowed.push(format!("{}: the decoder's own words", place.shown()));
            }
            _ if real == ours => {}
            _ => self.differs(&place.shown(), real, ours),
        }
    }

    /// Compares presence and types, at every depth. Elements of an array are held against its first;
    /// values that stand under ids (of instances of machines) are held against each other by their names.
    fn shapes(&mut self, place: &Place, real: &Value, ours: &Value) {
        let alike = |place: Place, pair: (Option<&Value>, Option<&Value>), found: &mut Self| {
            if let (Some(real), Some(ours)) = pair {
                found.shapes(&place, real, ours);
            } else if let (Some(one), None) | (None, Some(one)) = pair {
                found.differs(&place.shown(), &kind(one), &"there in one of the two");
            }
        };
        match (real, ours) {
            (Value::Object(a), Value::Object(b))
                if a.keys().chain(b.keys()).all(|name| is_id(name)) =>
            {
                let (mut a, mut b) = (by_name(a).into_iter(), by_name(b).into_iter());
                for at in 0..a.len().max(b.len()) {
                    alike(place.member(&at.to_string()), (a.next(), b.next()), self);
                }
            }
            (Value::Object(a), Value::Object(b)) => {
                for name in a.keys().chain(b.keys().filter(|name| !a.contains_key(*name))) {
                    alike(place.member(name), (a.get(name), b.get(name)), self);
                }
            }
            (Value::Array(a), Value::Array(b)) => {
                let Some(first) = a.first() else { return };
                for (at, element) in b.iter().enumerate() {
                    self.shapes(&place.member(&at.to_string()), first, element);
                }
            }
            _ if kind(real) == kind(ours) => {}
            _ => self.differs(&place.shown(), &kind(real), &kind(ours)),
        }
    }

    fn members(
        &mut self,
        place: &Place,
        real: Option<&Value>,
        ours: Option<&Value>,
        allowance: Allowance<'_>,
    ) {
        if allowance.older.contains(&place.pointer.as_str()) {
            if real != ours {
                self.allowed.push(format!("{}: of an older server", place.shown()));
            }
            return;
        }
        match (real, ours) {
            (Some(real), Some(ours)) => self.values(place, real, ours, allowance),
            (Some(real), None) => self.differs(&place.shown(), real, &"nothing"),
            (None, Some(ours)) => self.differs(&place.shown(), &"nothing", ours),
            (None, None) => {}
        }
    }
}

/// Where in a reply.
struct Place {
    part: &'static str,
    /// JSON pointer into the part.
    pointer: String,
}

impl Place {
    fn at(part: &'static str) -> Self {
        Self { part, pointer: String::new() }
    }

    fn member(&self, name: &str) -> Self {
        let name = name.replace('~', "~0").replace('/', "~1");
        Self { part: self.part, pointer: format!("{}/{name}", self.pointer) }
    }

    fn shown(&self) -> String {
        format!("{}{}", self.part, self.pointer)
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

/// The values of an object, in the order of their names.
fn by_name(object: &serde_json::Map<String, Value>) -> Vec<&Value> {
    let mut values: Vec<&Value> = object.values().collect();
    values.sort_by_key(|value| value["name"].as_str());
    values
}

/// Whether it is a UUID.
fn is_id(text: &str) -> bool {
    text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
        && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

/// A text that a person can read: around its byte `at` where it is long.
fn excerpt(text: &str, at: usize) -> String {
    if text.len() <= EXCERPT_BYTES {
        return text.to_owned();
    }
    let start = at.min(text.len()).saturating_sub(EXCERPT_BYTES / 4);
    let end = (start + EXCERPT_BYTES).min(text.len());
    let part = text.as_bytes().get(start..end).unwrap_or_default();
    let before = if start > 0 { "..." } else { "" };
    let after = if end < text.len() { "..." } else { "" };
    format!("{before}{}{after} ({} bytes)", String::from_utf8_lossy(part), text.len())
}

/// Whether the real text quotes the decoder, and both are the same up to there.
fn same_beginning(real: &str, ours: &str) -> bool {
    let quoted = [": json", ": invalid"].into_iter().filter_map(|mark| real.find(mark)).min();
    quoted.is_some_and(|end| ours.get(..end) == real.get(..end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(real: Value, ours: Value, differences: &[&str], allowed: &[&str]) {
        let mut found = Comparison::default();
        let volatile = ["/pid".to_owned()];
        let allowance = Allowance { volatile: &volatile, older: &["/old"] };
        found.values(&Place::at("body"), &real, &ours, allowance);
        assert_eq!(found.differences, differences, "{real} {ours}");
        assert_eq!(found.allowed, allowed, "{real} {ours}");
    }

    #[test]
    fn values_are_compared_as_json_and_every_allowance_is_named() {
        check(json!({"a": 2.0, "b": [1]}), json!({"b": [1], "a": 2}), &[], &[]);
        let both = "body/a/1\n    real: \"x\"\n    ours: \"y\"";
        check(json!({"a": [1, "x"]}), json!({"a": [1, "y"]}), &[both], &[]);
        check(json!({"a": 1}), json!({}), &["body/a\n    real: 1\n    ours: nothing"], &[]);
        check(json!({}), json!({"a": 1}), &["body/a\n    real: nothing\n    ours: 1"], &[]);
        check(json!([1]), json!([1, 2]), &["body\n    real: [1]\n    ours: [1,2]"], &[]);
        check(json!({"pid": 7}), json!({"pid": 7}), &[], &[]);
        check(json!({"pid": 7}), json!({"pid": 8}), &[], &["body/pid: of the process"]);
        let kinds = "body/pid\n    real: a number\n    ours: a text";
        check(json!({"pid": 7}), json!({"pid": "7"}), &[kinds], &[]);
        let id = ["6395f262-c6da-445c-b013-5d4be02e2703", "3b2ac5d9-b0ee-43da-8800-df275a2fa5eb"];
        check(
            json!({"pid": {"a": [1], id[0]: {"b": 1}}}),
            json!({"pid": {"a": [], id[0]: {"b": 2}}}),
            &[],
            &["body/pid: of the process"],
        );
        check(
            json!({"pid": {id[0]: {"b": 1}, id[1]: {"b": 1}}}),
            json!({"pid": {id[0]: {"b": "x"}}}),
            &[
                "body/pid/0/b\n    real: a number\n    ours: a text",
                "body/pid/1\n    real: an object\n    ours: there in one of the two",
            ],
            &[],
        );
        let element = "body/pid/1\n    real: a number\n    ours: a null";
        check(json!({"pid": [1]}), json!({"pid": [2, null]}), &[element], &[]);
        check(json!({"old": 7}), json!({}), &[], &["body/old: of an older server"]);
        check(
            json!({"m": "no: json: cannot"}),
            json!({"m": "no: invalid"}),
            &[],
            &["body/m: the decoder's own words"],
        );
        let ends = "body/m\n    real: \"no: json: cannot\"\n    ours: \"yes: json\"";
        check(json!({"m": "no: json: cannot"}), json!({"m": "yes: json"}), &[ends], &[]);
    }

    #[test]
    fn long_values_are_shown_where_they_begin_to_differ() {
        let text = |middle: &str| format!("{}{middle}{}", "a".repeat(1000), "é".repeat(500));
        let mut found = Comparison::default();
        found.differs("body", &text("x"), &text("y"));
        let shown = &found.differences[0];
        assert!(shown.contains("real: ...aaa") && shown.contains("axé"), "{shown}");
        assert!(shown.contains("ayé") && shown.contains("... (2001 bytes)"), "{shown}");
        assert!(shown.len() < 600, "{shown}");
    }

    #[test]
    fn what_is_no_reply_is_a_difference() {
        let mut found = Comparison::default();
        found.reply(b"{}", b"{}", Allowance::default());
        assert!(found.differences[0].contains("refused by a client"), "{found:?}");
    }
}
