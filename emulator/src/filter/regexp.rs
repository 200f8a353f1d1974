//! Go's regular expressions, as filters hold them, run by the `regex` crate.
//!
//! Both are RE2's syntax, without back references and look-around, in linear time; what differs is
//! translated here: `\d`, `\w`, `\s` and `\b` are ASCII in Go; `\Q…\E`, octal escapes and a literal
//! `{` are unknown to the crate; `[`, `&&`, `--` and `~~` in brackets, `\<`, and the flags `x`, `u`
//! and `R` mean nothing to Go; `a**` and counts above 1000 are errors in Go.
//!
//! Known differences: `\B` is the negation of the Unicode word boundary (Go: ASCII); names in
//! `\p{…}` are read more generously by the crate; `(?)`, a flag named twice (`(?ii)`), a repetition
//! behind flags (`(?i)*`) and names of groups that begin with a digit are errors, and such names may
//! hold dots; a surrogate (`\x{d800}`) is an error instead of matching nothing. Go allows larger and
//! longer expressions than [`Budget`] does, more than 64 Unicode classes in one, and deeper ones than
//! [`NEST_MAX`]: such a one matches nothing.

use std::iter::Peekable;
use std::str::Chars;

use regex::{Regex, RegexBuilder};

/// Most memory for all expressions of a filter, compiled.
const BUDGET_BYTES: usize = 512 << 10;
/// What one expression may take: the first of these that is enough for it, and is taken off the budget.
const SIZES_BYTES: [usize; 3] = [4 << 10, 32 << 10, 256 << 10];
/// Deepest nesting.
const NEST_MAX: u32 = 100;
/// Longest expression, in bytes: each takes up to 200 while it is being compiled.
const LENGTH_MAX: usize = 8 << 10;
/// Most Unicode classes (`\pL`) in an expression: each takes up to 12 KiB while it is being compiled.
const UNICODE_CLASSES_MAX: u32 = 64;
/// Largest count in `{n,m}`.
const REPEAT_MAX: u32 = 1000;

/// Memory for the expressions of one filter, so that a hostile one can take no more: enough for 128
/// that are simple, or for two that are very large. One that is refused costs as much as it was
/// allowed to take, so that trying has an end too.
#[derive(Debug)]
pub(crate) struct Budget {
    left_bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left_bytes: BUDGET_BYTES }
    }
}

impl Budget {
    /// Compiles an expression. `None`: it is invalid in Go, or too large: it matches nothing.
    pub(crate) fn compile(&mut self, expression: &str, ignore_case: bool) -> Option<Regex> {
        if expression.len() > LENGTH_MAX || self.left_bytes < SIZES_BYTES[0] {
            return None;
        }
        let translated = Translator::new(expression).translate();
        let affordable = SIZES_BYTES.iter().filter(|size| **size <= self.left_bytes);
        let mut tried_bytes = SIZES_BYTES[0];
        let mut compiled = None;
        for &size_max_bytes in affordable.filter(|_| translated.is_some()) {
            tried_bytes = size_max_bytes;
            let built = RegexBuilder::new(translated.as_deref().unwrap_or_default())
                .case_insensitive(ignore_case)
                .size_limit(size_max_bytes)
                .dfa_size_limit(size_max_bytes)
                .nest_limit(NEST_MAX)
                .build();
            match built {
                Err(regex::Error::CompiledTooBig(_)) => {}
                built => {
                    compiled = built.ok();
                    break;
                }
            }
        }
        self.left_bytes -= tried_bytes;
        compiled
    }
}

/// The expression between slashes, when a needle is one: `/re/`. QUIRK: a single `/` is an empty
/// expression, which matches everything (protocol document 14).
pub(crate) fn between_slashes(needle: &str) -> Option<&str> {
    let body = needle.strip_prefix('/')?;
    if body.is_empty() { Some(body) } else { body.strip_suffix('/') }
}

struct Translator<'t> {
    rest: Peekable<Chars<'t>>,
    out: String,
    /// Whether a repetition operator stands right before, so that another one is an error.
    repeated: bool,
    unicode_classes: u32,
}

impl<'t> Translator<'t> {
    fn new(expression: &'t str) -> Self {
        let out = String::with_capacity(expression.len() + 16);
        Self { rest: expression.chars().peekable(), out, repeated: false, unicode_classes: 0 }
    }

    fn translate(mut self) -> Option<String> {
        while let Some(c) = self.rest.next() {
            let repeated = std::mem::take(&mut self.repeated);
            match c {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.group()?,
                '*' | '+' | '?' => {
                    self.out.push(c);
                    self.repetition(repeated)?;
                }
                '{' => match self.count() {
                    Some(count) => {
                        self.out.push_str(&count?);
                        self.repetition(repeated)?;
                    }
                    None => self.out.push_str("\\{"),
                },
                '}' => self.out.push_str("\\}"),
                c => self.out.push(c),
            }
        }
        Some(self.out)
    }

    /// Behind a repetition operator: its `?`, and no further operator.
    fn repetition(&mut self, repeated: bool) -> Option<()> {
        if self.rest.next_if_eq(&'?').is_some() {
            self.out.push('?');
        }
        self.repeated = true;
        (!repeated).then_some(())
    }

    /// Behind a `{`: `n}`, `n,}` or `n,m}`. `None`: a literal brace; `Some(None)`: too large a count.
    fn count(&mut self) -> Option<Option<String>> {
        let mut ahead = self.rest.clone();
        let mut count = "{".to_owned();
        let mut numbers = vec![String::new()];
        loop {
            match ahead.next()? {
                c @ '0'..='9' => numbers.last_mut()?.push(c),
                ',' if numbers.len() == 1 => numbers.push(String::new()),
                '}' => break,
                _ => return None,
            }
        }
        if numbers[0].is_empty() {
            return None;
        }
        self.rest = ahead;
        count.push_str(&numbers.join(","));
        count.push('}');
        let allowed =
            numbers.iter().all(|n| n.is_empty() || n.parse().is_ok_and(|n: u32| n <= REPEAT_MAX));
        Some(allowed.then_some(count))
    }

    /// Behind a `(`: flags that Go knows.
    fn group(&mut self) -> Option<()> {
        self.out.push('(');
        if self.rest.peek() != Some(&'?') {
            return Some(());
        }
        let mut ahead = self.rest.clone();
        ahead.next();
        let known = match ahead.next()? {
            'P' | '<' => true,
            first => std::iter::once(first)
                .chain(ahead)
                .take_while(|c| !matches!(c, ':' | ')'))
                .all(|c| matches!(c, 'i' | 'm' | 's' | 'U' | '-')),
        };
        // The question mark is no operator.
        self.out.extend(self.rest.next());
        known.then_some(())
    }

    fn escape(&mut self) -> Option<()> {
        match self.rest.next()? {
            'Q' => self.quoted(),
            'A' => self.out.push_str("\\A"),
            'z' => self.out.push_str("\\z"),
            'b' => self.out.push_str("(?-u:\\b)"),
            'B' => self.out.push_str("\\B"),
            c => self.escaped(c)?,
        }
        Some(())
    }

    /// Behind `\Q`: literal text up to `\E` or the end.
    fn quoted(&mut self) {
        while let Some(c) = self.rest.next() {
            if c == '\\' && self.rest.next_if_eq(&'E').is_some() {
                return;
            }
            push_literal(c, &mut self.out);
        }
    }

    /// The escape of a character or a class, inside brackets or outside.
    fn escaped(&mut self, c: char) -> Option<()> {
        if let Some(class) = perl_class(c) {
            self.out.push_str(class);
            return Some(());
        }
        if let 'p' | 'P' = c {
            return self.unicode_class(c == 'P');
        }
        push_literal(self.character(c)?, &mut self.out);
        Some(())
    }

    /// The character that an escape stands for; `c` is what follows the backslash.
    fn character(&mut self, c: char) -> Option<char> {
        Some(match c {
            'a' => '\u{7}',
            'f' => '\u{c}',
            't' => '\t',
            'n' => '\n',
            'r' => '\r',
            'v' => '\u{b}',
            'x' => self.hexadecimal()?,
            '1'..='7' if !self.rest.peek().is_some_and(|c| matches!(c, '0'..='7')) => return None,
            '0'..='7' => self.octal(c)?,
            c if c.is_alphanumeric() && c.is_ascii() || !c.is_ascii() => return None,
            c => c,
        })
    }

    fn octal(&mut self, first: char) -> Option<char> {
        let mut code = first.to_digit(8)?;
        for _ in 0..2 {
            let Some(digit) = self.rest.next_if(|c| c.is_digit(8)) else { break };
            code = code * 8 + digit.to_digit(8)?;
        }
        char::from_u32(code)
    }

    fn hexadecimal(&mut self) -> Option<char> {
        let digits: String = if self.rest.next_if_eq(&'{').is_some() {
            self.rest.by_ref().take_while(|c| *c != '}').collect()
        } else {
            self.rest.by_ref().take(2).collect()
        };
        let digits_only = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        digits_only.then(|| char::from_u32(u32::from_str_radix(&digits, 16).ok()?))?
    }

    /// Behind `\p` or `\P`: one letter, or a name in braces, which may begin with `^`.
    fn unicode_class(&mut self, negated: bool) -> Option<()> {
        self.unicode_classes += 1;
        if self.unicode_classes > UNICODE_CLASSES_MAX {
            return None;
        }
        let name: String = match self.rest.next()? {
            '{' => self.rest.by_ref().take_while(|c| *c != '}').collect(),
            letter => letter.to_string(),
        };
        let (negated, name) = match name.strip_prefix('^') {
            Some(name) => (!negated, name),
            None => (negated, name.as_str()),
        };
        let known = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        self.out.push_str(if negated { "\\P{" } else { "\\p{" });
        self.out.push_str(name);
        self.out.push('}');
        (known && !name.is_empty()).then_some(())
    }

    /// Behind a `[`: everything up to its `]`, character by character, so that nothing in it can mean
    /// more than in Go.
    fn class(&mut self) -> Option<()> {
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        let mut first = true;
        loop {
            match self.rest.next()? {
                ']' if !first => break,
                '[' if self.posix_class()? => {}
                '\\' => match self.rest.next()? {
                    c @ ('d' | 'D' | 's' | 'S' | 'w' | 'W' | 'p' | 'P') => self.escaped(c)?,
                    c => {
                        let low = self.character(c)?;
                        self.range(low)?;
                    }
                },
                c => self.range(c)?,
            }
            first = false;
        }
        self.out.push(']');
        Some(())
    }

    /// A character of a class, or the range that it begins.
    fn range(&mut self, low: char) -> Option<()> {
        push_literal(low, &mut self.out);
        let mut ahead = self.rest.clone();
        if ahead.next() != Some('-') || ahead.peek() == Some(&']') {
            return Some(());
        }
        self.rest = ahead;
        let high = match self.rest.next()? {
            '\\' => {
                let c = self.rest.next()?;
                self.character(c)?
            }
            c => c,
        };
        self.out.push('-');
        push_literal(high, &mut self.out);
        (low <= high).then_some(())
    }

    /// Passes `:name:]` behind a `[`, if that is next. `None`: no class has that name.
    fn posix_class(&mut self) -> Option<bool> {
        let mut ahead = self.rest.clone();
        if ahead.next() != Some(':') {
            return Some(false);
        }
        // `take_while` takes the colon too.
        let name: String = ahead.by_ref().take_while(|c| !matches!(c, ':' | ']')).collect();
        if ahead.next() != Some(']') {
            return Some(false);
        }
        let plain = name.strip_prefix('^').unwrap_or(&name);
        let known = POSIX_CLASSES.contains(&plain);
        self.out.push_str("[:");
        self.out.push_str(&name);
        self.out.push_str(":]");
        self.rest = ahead;
        known.then_some(true)
    }
}

const POSIX_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// Go's Perl classes are ASCII.
fn perl_class(letter: char) -> Option<&'static str> {
    Some(match letter {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        's' => "[\\t\\n\\f\\r ]",
        'S' => "[^\\t\\n\\f\\r ]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        _ => return None,
    })
}

fn push_literal(c: char, out: &mut String) {
    if c.is_ascii() && !c.is_ascii_alphanumeric() && c != '<' && c != '>' {
        out.push('\\');
    }
    out.push(c);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(expression: &str, text: &str) -> Option<bool> {
        Budget::default().compile(expression, false).map(|regex| regex.is_match(text))
    }

    #[test]
    fn expressions_mean_what_they_mean_in_go() {
        for (expression, text, expected) in [
            ("^web", "web1", Some(true)),
            ("^(?!db)", "web", None),
            ("(((", "web", None),
            ("", "anything", Some(true)),
            (r"^\d+$", "12", Some(true)),
            (r"^\d+$", "٣", Some(false)),
            (r"^\D$", "٣", Some(true)),
            (r"^\w+$", "ü", Some(false)),
            (r"^[\w-]+$", "a-b_1", Some(true)),
            (r"^[^\d\s]+$", "a b", Some(false)),
            (r"\bfoo\b", "a foo b", Some(true)),
            (r"\bfoo\b", "üfoo", Some(true)),
            (r"^\Qa.b*\E.$", "a.b*c", Some(true)),
            (r"^\Qa.b", "axb", Some(false)),
            (r"^a\.b$", "a.b", Some(true)),
            (r"^\x41\x{42}\103$", "ABC", Some(true)),
            (r"\1", "a", None),
            (r"^\pL\p{Lu}\p{^Lu}\PN$", "aBcd", Some(true)),
            (r"^\p{Greek}$", "α", Some(true)),
            ("a{2}", "aa", Some(true)),
            ("^a{,2}$", "a{,2}", Some(true)),
            ("^a{x}$", "a{x}", Some(true)),
            ("^x{1001}$", "x", None),
            ("a**", "a", None),
            ("a*?", "a", Some(true)),
            ("a*??", "a", None),
            ("a{2}{3}", "aaaaaa", None),
            ("^[a&&b]+$", "&ab", Some(true)),
            ("^[]a]+$", "]a", Some(true)),
            ("^[[a]+$", "[a", Some(true)),
            ("^[[:alpha:]]+$", "ab", Some(true)),
            ("^[[:^alpha:]]+$", "12", Some(true)),
            ("^[a-c]+$", "abc", Some(true)),
            ("^[c-a]+$", "abc", None),
            // A dash means itself wherever no range can begin.
            (r"^[\w-.]+$", "a-b.c", Some(true)),
            (r"^[\w-.]+$", "a/c", Some(false)),
            ("^[a-c-e]+$", "a-e", Some(true)),
            ("^[a-c-e]+$", "d", Some(false)),
            (r"^[\d--/]+$", "1./", Some(true)),
            ("^[[:alpha:]-9]+$", "a-9", Some(true)),
            ("^[[:alpha:]-9]+$", "8", Some(false)),
            (r"^[\--/]+$", "-./", Some(true)),
            ("[[:foo:]]?", "a", None),
            ("[a", "a", None),
            ("(?i)WEB", "web", Some(true)),
            ("(?i:W)eb", "web", Some(true)),
            ("(?x) a", "a", None),
            ("(?P<n>a)(?<m>b)", "ab", Some(true)),
            (r"\<a", "<a", Some(true)),
            (r"\_", "_", Some(true)),
            (r"\Z", "a", None),
            (r"\C", "a", None),
            (r"\u0041", "A", None),
            ("a$", "a\n", Some(false)),
            ("\\", "\\", None),
        ] {
            assert_eq!(matches(expression, text), expected, "{expression} on {text}");
        }
    }

    #[test]
    fn expressions_built_to_explode_are_refused_or_harmless() {
        let text = "a".repeat(10_000);
        for expression in [
            "((a{0,1000}){0,1000}){0,1000}".to_owned(),
            "(".repeat(10_000) + &")".repeat(10_000),
            "a?".repeat(4000),
            "a".repeat(9000),
            r"\pL".repeat(65),
            format!("{}{}", r"\pL{1000}".repeat(10), "x"),
        ] {
            assert!(
                Budget::default().compile(&expression, true).is_none(),
                "{}",
                &expression[..20]
            );
        }
        assert_eq!(matches("(a+)+$", &text), Some(true));
        assert_eq!(matches("(a*)*b", &text), Some(false));
    }

    #[test]
    fn many_expressions_share_one_budget() {
        let mut budget = Budget::default();
        let small = (0..60).filter(|_| budget.compile("^web[0-9]+$", true).is_some());
        assert_eq!(small.count(), 60);
        let large = (0..1000).filter(|_| budget.compile(r"^\pL{9}$", true).is_some());
        assert!(large.count() < 2);
        assert!(budget.compile("a", false).is_none(), "nothing is left");
    }

    #[test]
    fn needles_between_slashes_are_expressions() {
        for (needle, expected) in [
            ("/^web/", Some("^web")),
            ("/", Some("")),
            ("//", Some("")),
            ("///", Some("/")),
            ("/web", None),
            ("web/", None),
            ("", None),
        ] {
            assert_eq!(between_slashes(needle), expected, "{needle}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_compiles_or_is_refused(text in r"[\[\](){}|*+?.^$\\a-z0-9:\-&~QEpP<>=!]{0,30}|\PC*") {
            drop(Budget::default().compile(&text, true));
        }
    }
}
