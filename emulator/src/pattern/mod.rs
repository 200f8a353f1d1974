//! Values worked out from a node's index: identities, classes and facts of a group are written once,
//! as a text with placeholders, and rendered per node when asked, so that a node stores none of them.
//!
//! `web-{index:06}.{group}.local` is `web-000042.dc1.local` for node 42 of group `dc1`. In braces:
//! `group`, or integer arithmetic over `index` (the global node index, from 0) with `+ - * / %` and
//! parentheses, and `:06` behind it for zeros up to a width. `{{` and `}}` are literal braces. A
//! divisor is a number other than 0, `/` and `%` are Euclidean (a remainder is never negative), and
//! overflow wraps: rendering cannot fail.
//!
//! It is no template language: there are no conditions, no strings inside braces and no inverse.

mod arithmetic;
mod facts;
mod subject;

use std::fmt::Write as _;

use arithmetic::{Arithmetic, Cursor};

pub use facts::{FactTemplate, FactTemplateError};
pub use subject::PatternSubject;

/// What a pattern may refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vars<'a> {
    /// Global node index, from 0.
    pub index: u64,
    /// Name of the node's group.
    pub group: &'a str,
}

/// A text with placeholders, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
}

/// A piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Text that stands for itself; never empty, never beside another literal.
    Literal(Box<str>),
    /// The name of the group.
    Group,
    /// A number, with zeros up to `width` digits.
    Number { value: Arithmetic, width: usize },
}

/// A text that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pattern {pattern:?}, character {position}: {problem}\n{advice}")]
pub struct PatternError {
    /// The text.
    pub pattern: String,
    /// Where, counted in characters from 1.
    pub position: usize,
    /// What is wrong.
    pub problem: String,
    /// What to write instead.
    pub advice: String,
}

/// A problem at a byte offset, before it is shown with its pattern.
#[derive(Debug)]
struct Fault {
    offset: usize,
    problem: String,
    advice: &'static str,
}

const WIDTH_MAX: usize = 20;
const ADVICE_BRACE: &str = "close the placeholder with }, or write {{ and }} for literal braces";
const ADVICE_WIDTH: &str = "write a zero and a width of at most 20 digits, as in {index:06}";

impl Pattern {
    /// Checks a text.
    ///
    /// # Errors
    /// Names the first place that is not a pattern and what to write there.
    ///
    /// ```
    /// use emulator::pattern::{Pattern, Vars};
    /// let mut out = String::new();
    /// Pattern::parse("{group}-{index % 4:02}")?.render(&Vars { index: 7, group: "eu" }, &mut out);
    /// assert_eq!(out, "eu-03");
    /// # Ok::<(), emulator::pattern::PatternError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        parse_parts(text).map(|parts| Self { parts }).map_err(|fault| PatternError {
            pattern: text.to_owned(),
            position: text[..fault.offset].chars().count() + 1,
            problem: fault.problem,
            advice: fault.advice.to_owned(),
        })
    }

    /// Appends the value for one node.
    pub fn render(&self, vars: &Vars<'_>, out: &mut String) {
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Group => out.push_str(vars.group),
                Part::Number { value, width } => {
                    let width = *width;
                    // Writing to a String cannot fail.
                    let _ = write!(out, "{:0width$}", value.evaluate(vars.index));
                }
            }
        }
    }

    /// Whether every node gets the same value.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Literal(_)))
    }

    /// The value, when every node gets the same one.
    #[must_use]
    pub fn constant(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The arithmetic, when the pattern is one number without a width and nothing else.
    fn as_number(&self) -> Option<&Arithmetic> {
        match self.parts.as_slice() {
            [Part::Number { value, width: 0 }] => Some(value),
            _ => None,
        }
    }
}

fn parse_parts(text: &str) -> Result<Vec<Part>, Fault> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut cursor = Cursor::new(text);
    while let Some(c) = cursor.next() {
        match c {
            '{' | '}' if cursor.eat(c) => literal.push(c),
            '{' => {
                if !literal.is_empty() {
                    parts.push(Part::Literal(std::mem::take(&mut literal).into()));
                }
                parts.push(parse_placeholder(&mut cursor)?);
            }
            '}' => {
                let problem = "a } without its {".to_owned();
                return Err(Fault { offset: cursor.offset() - 1, problem, advice: ADVICE_BRACE });
            }
            c => literal.push(c),
        }
    }
    if !literal.is_empty() {
        parts.push(Part::Literal(literal.into()));
    }
    Ok(parts)
}

/// What stands behind a `{`, the closing brace included.
fn parse_placeholder(cursor: &mut Cursor<'_>) -> Result<Part, Fault> {
    if cursor.eat_group() {
        return Ok(Part::Group);
    }
    let value = Arithmetic::parse(cursor)?;
    cursor.skip_spaces();
    let width = if cursor.eat(':') { parse_width(cursor)? } else { 0 };
    if cursor.eat('}') {
        return Ok(Part::Number { value, width });
    }
    let problem = match cursor.peek() {
        Some(c) => format!("unexpected {c:?} in a placeholder"),
        None => "the placeholder is not closed".to_owned(),
    };
    Err(Fault { offset: cursor.offset(), problem, advice: ADVICE_BRACE })
}

fn parse_width(cursor: &mut Cursor<'_>) -> Result<usize, Fault> {
    cursor.skip_spaces();
    let offset = cursor.offset();
    let digits = cursor.digits();
    let width = digits.strip_prefix('0').and_then(|rest| rest.parse().ok());
    cursor.skip_spaces();
    width.filter(|width| (1..=WIDTH_MAX).contains(width)).ok_or_else(|| Fault {
        offset,
        problem: "not a width".to_owned(),
        advice: ADVICE_WIDTH,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(text: &str, index: u64) -> String {
        let mut out = String::new();
        Pattern::parse(text).unwrap().render(&Vars { index, group: "dc1" }, &mut out);
        out
    }

    #[test]
    fn patterns_render_from_the_index_and_the_group() {
        for (pattern, index, expected) in [
            ("", 3, ""),
            ("plain", 3, "plain"),
            ("{index}", 0, "0"),
            ("{ index }", 12, "12"),
            ("{group}-{index}.choria.local", 12, "dc1-12.choria.local"),
            ("{index:06}", 42, "000042"),
            ("{index:02}", 12345, "12345"),
            ("{index % 4:02}", 7, "03"),
            ("{index % 4 : 02 }", 7, "03"),
            ("{index / 10}.{index%10}", 57, "5.7"),
            ("{1 + 2 * 3}", 0, "7"),
            ("{(1 + 2) * 3}", 0, "9"),
            ("{10 - 2 - 3}", 0, "5"),
            ("{100 / 5 / 2}", 0, "10"),
            ("{index - 5}", 3, "-2"),
            ("{(index - 5) % 4}", 0, "3"),
            ("{(index - 5) / 4}", 0, "-2"),
            ("{index - 5:04}", 3, "-002"),
            ("{{index}}", 3, "{index}"),
            ("{{{index}}}", 3, "{3}"),
            ("Zürich-{index}", 3, "Zürich-3"),
            ("{9223372036854775807 + 1}", 0, "-9223372036854775808"),
            ("{index}", u64::MAX, "9223372036854775807"),
        ] {
            assert_eq!(render(pattern, index), expected, "{pattern} at {index}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_its_place() {
        for (pattern, position, problem) in [
            ("a}", 2, "a } without its {"),
            ("a{", 3, "index, group or a number is missing"),
            ("{}", 2, "index, group or a number is missing"),
            ("{index", 7, "the placeholder is not closed"),
            ("ü{idx}", 3, "unknown name \"idx\""),
            ("{group:02}", 2, "group is a text"),
            ("{1 + group}", 6, "group is a text"),
            ("{index:6}", 8, "not a width"),
            ("{index:}", 8, "not a width"),
            ("{index:021}", 8, "not a width"),
            ("{index +}", 9, "index, group or a number is missing"),
            ("{(index}", 8, "the parenthesis is not closed"),
            ("{index / 0}", 10, "the divisor is not a number other than 0"),
            ("{index % index}", 10, "the divisor is not a number other than 0"),
            ("{index / (2)}", 10, "the divisor is not a number other than 0"),
            ("{9223372036854775808}", 2, "the number is too large"),
            ("{index index}", 8, "unexpected 'i' in a placeholder"),
            ("{-1}", 2, "index, group or a number is missing"),
        ] {
            let error = Pattern::parse(pattern).unwrap_err();
            assert_eq!((error.position, error.problem.as_str()), (position, problem), "{pattern}");
        }
    }

    #[test]
    fn long_and_deep_arithmetic_is_refused_not_overflowed() {
        for pattern in
            [format!("{{1{}}}", "+1".repeat(100_000)), format!("{{{}1", "(".repeat(100_000))]
        {
            let error = Pattern::parse(&pattern).unwrap_err();
            assert_eq!(error.problem, "the arithmetic is too long");
        }
    }

    #[test]
    fn only_texts_without_placeholders_are_constant() {
        for (pattern, expected) in
            [("", Some("")), ("a{{b", Some("a{b")), ("{index}", None), ("a{group}", None)]
        {
            let pattern = Pattern::parse(pattern).unwrap();
            assert_eq!(pattern.constant(), expected);
            assert_eq!(pattern.is_constant(), expected.is_some());
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_parses_or_is_refused(text in "[{}a-z0-9:+*/% ()-]{0,40}|\\PC*", index: u64) {
            if let Ok(pattern) = Pattern::parse(&text) {
                pattern.render(&Vars { index, group: "g" }, &mut String::new());
            }
        }
    }
}
