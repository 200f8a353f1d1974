//! Texts of a configuration as values of their items (go-choria `confkey`, `internal/util`:
//! `ParseDuration`; Go `time.ParseDuration`; seen of a real server in `testdata/configuration`).

use crate::agents::metadata::list;
use crate::agents::rpc::quoted;
use serde_json::Value;

/// Home of the user that servers run as.
const HOME: &str = "/root";

/// How the text of an item is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// Its first letter becomes a capital.
    Title,
    /// Its first `~`, where it begins with one, is the home of the user.
    Path,
    Bool,
    Number,
    /// Whole seconds, or numbers with units; shown as nanoseconds.
    Time,
    /// Texts between commas.
    Commas,
    /// Texts between colons.
    Paths,
    /// One text of several that may be given one after the other; here it is given once.
    Texts,
}

impl Kind {
    /// The value of a text as JSON. `None`: it is no such value, and the item keeps what it had. An
    /// empty text is never configured: an item without one has the zero of Go's type.
    pub(super) fn show(self, text: &str) -> Option<String> {
        let listed = |texts: &mut dyn Iterator<Item = &str>| match text {
            "" => "null".to_owned(),
            _ => list(texts.map(|text| text.trim().into())),
        };
        Some(match self {
            Self::Text => quoted(text),
            Self::Title => quoted(&titled(text)),
            Self::Path => match text.strip_prefix('~') {
                Some(rest) => quoted(&format!("{HOME}{rest}")),
                None => quoted(text),
            },
            Self::Bool => is_true(text).to_string(),
            Self::Number if text.is_empty() => "0".to_owned(),
            Self::Number => text.parse::<i64>().ok()?.to_string(),
            Self::Time => nanoseconds(text)?.to_string(),
            Self::Commas => listed(&mut text.split(',')),
            Self::Paths => listed(&mut text.split(':')),
            Self::Texts => listed(&mut std::iter::once(text)),
        })
    }
}

impl Kind {
    /// The text that has this value. `None`: nothing is configured, or no text has it.
    pub(super) fn text(self, value: &Value) -> Option<String> {
        let joined = |between: &str| {
            let texts = value.as_array()?.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?;
            Some(texts.join(between))
        };
        let text = match self {
            Self::Text | Self::Title | Self::Path => value.as_str()?.to_owned(),
            Self::Bool => value.as_bool()?.to_string(),
            Self::Number => value.as_i64()?.to_string(),
            Self::Time => format!("{}ns", value.as_i64()?),
            Self::Commas => joined(",")?,
            Self::Paths => joined(":")?,
            Self::Texts => value.as_array()?.first()?.as_str()?.to_owned(),
        };
        (!text.is_empty()).then_some(text)
    }
}

/// What does not say yes is false, whether it says no or nothing.
pub(super) fn is_true(text: &str) -> bool {
    ["1", "yes", "true", "y", "t"].iter().any(|yes| yes.eq_ignore_ascii_case(text.trim()))
}

/// Go makes a capital of one letter only: `ß` stays.
fn titled(text: &str) -> String {
    let mut letters = text.chars();
    let Some(first) = letters.next() else { return String::new() };
    let mut capital = first.to_uppercase();
    let single = capital.len() == 1;
    let first = capital.next().filter(|_| single).unwrap_or(first);
    std::iter::once(first).chain(letters).collect()
}

fn nanoseconds(text: &str) -> Option<i64> {
    const HOUR: i64 = 3600 * SECOND;
    if text.is_empty() {
        return Some(0);
    }
    if text.bytes().all(|digit| digit.is_ascii_digit()) {
        return Some(text.parse::<i64>().ok()?.wrapping_mul(SECOND));
    }
    let days = match text.bytes().last()? {
        b'w' | b'W' => 7.0,
        b'd' | b'D' => 1.0,
        b'M' => 30.0,
        b'y' | b'Y' => 365.0,
        _ => return go_duration(text),
    };
    let number = &text[..text.len() - 1];
    let count: f32 = number.parse().ok()?;
    // What is too large for the type is an error in Go, unless it says so.
    if count.is_infinite() && number.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Cut to whole hours. What does not fit becomes the smallest number on amd64.
    let hours = f64::from(count) * days * 24.0;
    let fits = hours > -(2f64.powi(63)) && hours < 2f64.powi(63);
    #[expect(clippy::cast_possible_truncation, reason = "it fits")]
    let hours = if fits { hours as i64 } else { i64::MIN };
    Some(hours.wrapping_mul(HOUR))
}

const SECOND: i64 = 1_000_000_000;
/// The units of a duration; none of them is the beginning of one behind it that it could be taken for.
const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3600 * SECOND),
];

/// Numbers with units, one behind the other: `1h30m`, `-1.5s`.
fn go_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut sum: i128 = 0;
    loop {
        let number = |c: char| c.is_ascii_digit() || c == '.';
        let end = rest.find(|c| !number(c))?;
        let (amount, behind) = rest.split_at(end);
        let unit_end = behind.find(number).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit_end);
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
        sum += amount_of(amount, *unit)?;
        if behind.is_empty() {
            break;
        }
        rest = behind;
    }
    i64::try_from(if negative { -sum } else { sum }).ok()
}

/// So many of a unit: digits, perhaps with a dot, whose fraction goes through a float as in Go.
fn amount_of(amount: &str, unit: i64) -> Option<i128> {
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    let digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    if !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // Digits that no longer fit are passed over.
    let fraction = &fraction[..fraction.len().min(18)];
    let mut parts = 0.0;
    if !fraction.is_empty() {
        #[expect(clippy::cast_precision_loss, reason = "as in Go")]
        let (numerator, unit) = (fraction.parse::<i64>().ok()? as f64, unit as f64);
        let scale = 10f64.powi(i32::try_from(fraction.len()).ok()?);
        parts = numerator * (unit / scale);
    }
    #[expect(clippy::cast_possible_truncation, reason = "less than a unit")]
    let parts = parts as i128;
    Some(i128::from(whole) * i128::from(unit) + parts)
}
