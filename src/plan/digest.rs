//! The digest of a value such as a plan: SHA-256 over its canonical JSON (members sorted by name, no
//! blanks), so that neither the order of a file nor that of a type's members changes it.

use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::Plan;

impl Plan {
    /// `sha256:` and 64 hexadecimal digits.
    #[must_use]
    pub fn digest(&self) -> String {
        canonical(self)
    }
}

/// `sha256:` and 64 hexadecimal digits, of a value whose maps have text keys.
pub(crate) fn canonical(value: &impl Serialize) -> String {
    // Maps with text keys, and numbers that are finite: this cannot fail.
    let json = serde_json::to_value(value).map(sorted).unwrap_or_default();
    of_bytes(json.to_string().as_bytes())
}

/// `sha256:` and 64 hexadecimal digits.
pub(crate) fn of_bytes(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// The same value with the members of every map in the order of their names.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut members: Vec<(String, Value)> = map.into_iter().collect();
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(members.into_iter().map(|(k, v)| (k, sorted(v))).collect::<Map<_, _>>())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// Lower case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
