//! Values of facts as the real server sees and shows them: every number is a Go `float64`, objects
//! have sorted keys, and JSON is escaped as Go's `encoding/json` does (protocol document 14, "fact
//! output"; captures `req-get-fact-*`).

use std::fmt::Write as _;

use serde_json::{Number, Value};

/// What a fact filter can tell apart in a fact.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FactRef<'a> {
    /// A string.
    Text(&'a str),
    /// A number.
    Number(f64),
    /// `true` or `false`.
    Bool(bool),
    /// `null`, an object or an array: no operator matches these.
    Other,
}

impl<'a> From<&'a Value> for FactRef<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::String(text) => Self::Text(text),
            Value::Number(number) => Self::Number(as_float(number)),
            Value::Bool(value) => Self::Bool(*value),
            Value::Null | Value::Object(_) | Value::Array(_) => Self::Other,
        }
    }
}

/// A JSON number as a Go `float64`.
#[must_use]
pub fn as_float(number: &Number) -> f64 {
    number.as_f64().unwrap_or(f64::NAN)
}

/// A number as Go's `encoding/json` writes a `float64`: the shortest digits, with an exponent below
/// 1e-6 and from 1e21.
#[must_use]
pub fn go_number(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{number:e}");
        return if size >= 1e21 { text.replace('e', "e+") } else { text };
    }
    number.to_string()
}

/// A number as gjson's `Int()` gives it: the fraction is cut off. Beyond 2^53 the digits of the
/// number's text are read, wrapping at 64 bits; a text with an exponent is converted as amd64 does,
/// where what does not fit becomes the smallest integer.
#[must_use]
pub fn go_int(number: f64) -> i64 {
    const SAFE_MAX: f64 = 9_007_199_254_740_991.0;
    if number.abs() <= SAFE_MAX {
        return number as i64;
    }
    let text = go_number(number);
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.as_str()),
    };
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return i64::MIN;
    }
    let value = digits
        .bytes()
        .fold(0_i64, |value, digit| value.wrapping_mul(10).wrapping_add(i64::from(digit - b'0')));
    if negative { value.wrapping_neg() } else { value }
}

/// Appends a value as Go's `encoding/json` writes it: numbers through `float64`, sorted keys, `<`,
/// `>`, `&`, U+2028 and U+2029 escaped.
pub fn write_go_json(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => out.push_str(&go_number(as_float(number))),
        Value::String(text) => write_go_text(text, out),
        Value::Array(items) => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                write_go_json(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(key, _)| *key);
            out.push('{');
            for (position, (key, member)) in members.into_iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                write_go_text(key, out);
                out.push(':');
                write_go_json(member, out);
            }
            out.push('}');
        }
    }
}

/// Appends a string as Go's `encoding/json` writes it, quotes included.
pub fn write_go_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_writes_float64() {
        for (json, expected) in [
            ("0", "0"),
            ("-0.0", "-0"),
            ("2.0", "2"),
            ("41.75", "41.75"),
            ("-4.5", "-4.5"),
            ("1e-7", "1e-7"),
            ("-1.5e-10", "-1.5e-10"),
            ("0.000001", "0.000001"),
            ("1e20", "100000000000000000000"),
            ("1e21", "1e+21"),
            ("-1e300", "-1e+300"),
            ("9007199254740993", "9007199254740992"),
            ("18446744073709551615", "18446744073709552000"),
        ] {
            let mut out = String::new();
            write_go_json(&serde_json::from_str(json).unwrap(), &mut out);
            assert_eq!(out, expected, "{json}");
        }
    }

    #[test]
    fn integers_are_what_gjson_makes_of_a_float() {
        for (number, expected) in [
            (0.0, 0),
            (2.9, 2),
            (-4.5, -4),
            (1e-7, 0),
            (9_007_199_254_740_992.0, 9_007_199_254_740_992),
            (-9_007_199_254_740_992.0, -9_007_199_254_740_992),
            // The digits of 2^63 do not fit, and wrap.
            (9_223_372_036_854_775_808.0, 9_223_372_036_854_776_000_u64.cast_signed()),
            (1e20, 7_766_279_631_452_241_920),
            (1e21, i64::MIN),
            (-1e300, i64::MIN),
        ] {
            assert_eq!(go_int(number), expected, "{number}");
        }
    }

    #[test]
    fn json_is_escaped_and_sorted_as_go_does() {
        let value = serde_json::json!({
            "b": "<a&b>\u{2028}\u{2029}", "a": ["\"\\\n\r\t\u{8}\u{c}\u{1}\u{7f}", null, true], "Z": {},
        });
        let mut out = String::new();
        write_go_json(&value, &mut out);
        assert_eq!(
            out,
            "{\"Z\":{},\"a\":[\"\\\"\\\\\\n\\r\\t\\b\\f\\u0001\u{7f}\",null,true],\
             \"b\":\"\\u003ca\\u0026b\\u003e\\u2028\\u2029\"}"
        );
    }
}
