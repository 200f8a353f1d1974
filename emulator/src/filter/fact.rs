//! One fact filter: `os.family == Debian` (protocol document 5.3; go-choria `filter/facts`).

use std::cmp::Ordering;

use super::facts::{FactRef, go_int};
use super::path::FactPath;
use super::regexp::Budget;
use crate::protocol::filter::FactFilter;
use regex::Regex;

/// The operators that a request may hold; the schema refuses all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Matches,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A text that is no fact filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "fact filter {0:?}: an operator with something on both sides is missing\nwrite it as fact=value, or with != < <= > >= or =~"
)]
pub struct FactFilterError(pub String);

/// Reads a fact filter as a person types it: `fact=value`, `fact>=value`, `fact=/re/`. The last
/// operator in the text counts (protocol document 5.3).
///
/// # Errors
/// If there is no operator with something on both sides.
pub fn parse_fact(text: &str) -> Result<FactFilter, FactFilterError> {
    split(text).ok_or_else(|| FactFilterError(text.to_owned()))
}

/// The operators as typed and as they travel, a longer one before its beginning.
const TYPED: [(&str, &str); 10] = [
    ("<=", "<="),
    (">=", ">="),
    ("=>", ">="),
    ("=<", "<="),
    ("<", "<"),
    (">", ">"),
    ("!=", "!="),
    ("=~", "=~"),
    ("==", "=="),
    ("=", "=="),
];

fn split(text: &str) -> Option<FactFilter> {
    let mut last = None;
    let mut offset = 0;
    while offset < text.len() {
        let rest = &text.as_bytes()[offset..];
        match TYPED.iter().find(|(sign, _)| rest.starts_with(sign.as_bytes())) {
            Some((sign, operator)) => {
                last = Some((offset, offset + sign.len(), *operator));
                offset += sign.len();
            }
            None => offset += 1,
        }
    }
    let (start, end, operator) = last?;
    let (fact, value) = (text[..start].trim(), text[end..].trim());
    if fact.is_empty() || value.is_empty() || fact.starts_with(['<', '>', '=']) {
        return None;
    }
    let is_expression = value.starts_with('/') && value.ends_with('/');
    let operator = if is_expression { "=~" } else { operator };
    Some(FactFilter { fact: fact.into(), operator: operator.into(), value: value.into() })
}

/// A fact filter with everything about its value worked out.
#[derive(Debug)]
pub(super) struct CompiledFact {
    path: FactPath,
    /// `None`: no operator of the real server, which matches nothing.
    operator: Option<Operator>,
    value: String,
    /// Whether numbers are compared as floats.
    has_dot: bool,
    float: Option<f64>,
    integer: Option<i64>,
    /// For [`Operator::Matches`] only.
    regex: Option<Regex>,
}

impl CompiledFact {
    pub(super) fn new(filter: FactFilter, budget: &mut Budget) -> Self {
        let value = filter.value;
        let operator = Operator::named(&filter.operator);
        let regex = (operator == Some(Operator::Matches))
            .then(|| budget.compile(value.trim_matches('/'), true))
            .flatten();
        Self {
            path: FactPath::parse(&filter.fact),
            operator,
            has_dot: value.contains('.'),
            float: go_parse_float(&value),
            integer: value.parse().ok(),
            value,
            regex,
        }
    }

    pub(super) fn path(&self) -> &FactPath {
        &self.path
    }

    /// Whether a fact that is there matches.
    pub(super) fn matches(&self, fact: FactRef<'_>) -> bool {
        let Some(operator) = self.operator else { return false };
        match fact {
            FactRef::Text(text) => self.matches_text(operator, text),
            FactRef::Number(number) => self.matches_number(operator, number).unwrap_or(false),
            FactRef::Bool(value) => self.matches_bool(operator, value),
            FactRef::Other => false,
        }
    }

    fn matches_text(&self, operator: Operator, text: &str) -> bool {
        match operator {
            Operator::Equal => equal_fold(text, &self.value),
            Operator::NotEqual => !equal_fold(text, &self.value),
            Operator::Matches => self.is_match(text),
            operator => operator.holds(lower(text).cmp(lower(&self.value))),
        }
    }

    /// `None`: the real server reports an error, which is no match.
    fn matches_number(&self, operator: Operator, number: f64) -> Option<bool> {
        match operator {
            Operator::Matches if self.has_dot => Some(self.is_match(&format!("{number:.4}"))),
            Operator::Matches => Some(self.is_match(&go_int(number).to_string())),
            Operator::Greater if self.has_dot => {
                // QUIRK: with a dot in the value, `>` is `>=` (protocol document 5.3).
                Some(number >= self.float?)
            }
            operator if self.has_dot => Some(operator.holds(number.partial_cmp(&self.float?)?)),
            // Equality compares texts: `08` equals no number.
            Operator::Equal => Some(go_int(number).to_string() == self.value),
            Operator::NotEqual => Some(go_int(number).to_string() != self.value),
            operator => Some(operator.holds(go_int(number).cmp(&self.integer?))),
        }
    }

    fn matches_bool(&self, operator: Operator, fact: bool) -> bool {
        let lower_truthy = || is_truthy(&self.value.to_lowercase());
        match operator {
            Operator::Equal => fact == is_truthy(&self.value),
            Operator::Matches => fact == lower_truthy(),
            // QUIRK: for `true` and `false` alike (protocol document 5.3).
            Operator::NotEqual => !lower_truthy(),
            _ => false,
        }
    }

    fn is_match(&self, text: &str) -> bool {
        self.regex.as_ref().is_some_and(|regex| regex.is_match(text))
    }
}

impl Operator {
    fn named(sign: &str) -> Option<Self> {
        Some(match sign {
            "==" => Self::Equal,
            "!=" => Self::NotEqual,
            "=~" => Self::Matches,
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            _ => return None,
        })
    }

    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
            Self::Matches => false,
        }
    }
}

/// Go's `strconv.ParseBool`, errors being false.
fn is_truthy(value: &str) -> bool {
    matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

/// Go's `strconv.ParseFloat` for texts with a dot: underscores may stand between digits, and what is
/// too large is an error. Hexadecimal floats are not read.
fn go_parse_float(value: &str) -> Option<f64> {
    let separated = value.split('_').zip(value.split('_').skip(1)).all(|(left, right)| {
        left.ends_with(|c: char| c.is_ascii_digit())
            && right.starts_with(|c: char| c.is_ascii_digit())
    });
    let float: f64 = value.replace('_', "").parse().ok()?;
    (separated && float.is_finite()).then_some(float)
}

/// Go's `strings.EqualFold`, without allocating.
fn equal_fold(left: &str, right: &str) -> bool {
    left.chars().map(fold).eq(right.chars().map(fold))
}

fn fold(c: char) -> char {
    // The Turkish ones have ASCII letters for their other case, which have others for theirs.
    if matches!(c, 'İ' | 'ı') {
        return c;
    }
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(upper), None) => lower_char(upper),
        _ => lower_char(c),
    }
}

/// Go's `strings.ToLower`, character by character; comparing characters orders as comparing bytes.
pub(super) fn lower(text: &str) -> impl Iterator<Item = char> {
    text.chars().map(lower_char)
}

fn lower_char(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_equal_where_go_folds_them_to_the_same() {
        for (left, right, equal) in [
            ("Debian", "dEBIAN", true),
            ("Straße", "straẞe", true),
            ("Straße", "strasse", false),
            ("ΣΑΣ", "σας", true),
            ("\u{212a}", "k", true),
            ("ǆ", "ǅ", true),
            ("İ", "i", false),
            ("ı", "I", false),
            ("İı", "İı", true),
        ] {
            assert_eq!(equal_fold(left, right), equal, "{left} {right}");
            assert_eq!(equal_fold(right, left), equal, "{right} {left}");
        }
    }
}
