//! Go's regular expressions, as filters hold them, run by the `regex` crate.
//!
//! Both are RE2's syntax, without back references and look-around, in linear time; what differs is
//! translated here: `\d`, `\w`, `\s`, `\b` and `\B` are ASCII in Go; `\Q…\E`, octal escapes, surrogates
//! (which match nothing), flags that are named twice, groups of one name and a literal `{` are unknown to
//! the crate; `[`, `&&`, `--` and `~~` in brackets, `\<`, and the flags `x`, `u` and `R` mean nothing to
//! Go; `a**` and counts above 1000, also as the product of nested ones, are errors in Go.
//!
//! What is left are names in `\p{…}`: the crate knows more (properties such as `Alphabetic`, short names
//! of scripts such as `Grek`, scripts of two words), but not surrogates, and a newer Unicode. Go allows
//! larger and longer expressions than [`Budget`] does, more than 64 Unicode classes in one, and deeper
//! ones than [`NEST_MAX`]: such a one matches nothing.

use std::iter::Peekable;
use std::str::Chars;

use regex::{Regex, RegexBuilder};

/// Most memory for all expressions of a filter, compiled.
const BUDGET_BYTES: usize = 512 << 10;
/// What one expression may take: the first of these that is enough for it, and is taken off the budget.
const SIZES_BYTES: [usize; 7] =
    [4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10];
/// Deepest nesting.
const NEST_MAX: u32 = 100;
/// Longest expression, in bytes: each takes up to 200 while it is being compiled.
const LENGTH_MAX: usize = 8 << 10;
/// Most Unicode classes (`\pL`) in an expression: each takes up to 12 KiB while it is being compiled.
const UNICODE_CLASSES_MAX: u32 = 64;
/// Largest count in `{n,m}`, and largest product of counts one inside the other.
const REPEAT_MAX: u32 = 1000;
/// What matches nothing.
const NEVER: &str = "[^\\x00-\\x{10FFFF}]";

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
    /// Flags that begin behind what stands last, once its repetition is known.
    flags: String,
    /// How often what stands last is repeated, the largest product of counts inside it included.
    last_times: u32,
    /// The same, at most, of what stands before it in the group.
    group_times: u32,
    /// The same of the groups around.
    outer_times: Vec<u32>,
    /// Whether no `:]` is ahead: it is not looked for twice.
    no_posix_end: bool,
}

impl<'t> Translator<'t> {
    fn new(expression: &'t str) -> Self {
        Self {
            rest: expression.chars().peekable(),
            out: String::with_capacity(expression.len() + 16),
            repeated: false,
            unicode_classes: 0,
            flags: String::new(),
            last_times: 1,
            group_times: 1,
            outer_times: Vec::new(),
            no_posix_end: false,
        }
    }

    fn translate(mut self) -> Option<String> {
        while let Some(c) = self.rest.next() {
            let repeated = std::mem::take(&mut self.repeated);
            match c {
                '*' | '+' => self.repetition(&c.to_string(), repeated)?,
                // The same in the crate, but for what it means behind another repetition.
                '?' => self.repetition("{0,1}", repeated)?,
                '{' => match self.count() {
                    Some(count) => self.repetition(&count?, repeated)?,
                    None => self.next_piece("\\{"),
                },
                '(' => self.group()?,
                ')' => self.close(),
                '\\' => {
                    self.next_piece("");
                    self.escape()?;
                }
                '[' => {
                    self.next_piece("");
                    self.class()?;
                }
                '}' => self.next_piece("\\}"),
                c => self.next_piece(c.encode_utf8(&mut [0; 4])),
            }
        }
        self.out.push_str(&self.flags);
        Some(self.out)
    }

    /// Something else than what stands last begins, with this text.
    fn next_piece(&mut self, text: &str) {
        self.group_times = self.group_times.max(self.last_times);
        self.last_times = 1;
        self.out.push_str(&std::mem::take(&mut self.flags));
        self.out.push_str(text);
    }

    fn open(&mut self, text: &str) {
        self.next_piece(text);
        self.outer_times.push(self.group_times);
        self.group_times = 1;
    }

    fn close(&mut self) {
        let times = self.group_times.max(self.last_times);
        self.next_piece(")");
        self.group_times = self.outer_times.pop().unwrap_or(1);
        self.last_times = times;
    }

    /// A repetition, with the `?` behind it, and no further one right behind.
    fn repetition(&mut self, text: &str, repeated: bool) -> Option<()> {
        self.out.push_str(text);
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
        let zero_first = |n: &String| n.len() > 1 && n.starts_with('0');
        if numbers[0].is_empty() || numbers.iter().any(zero_first) {
            return None;
        }
        self.rest = ahead;
        count.push_str(&numbers.join(","));
        count.push('}');
        // The largest stands last, or the crate refuses it.
        let largest = numbers.iter().rfind(|n| !n.is_empty());
        let Some(times) = largest.and_then(|n| n.parse::<u32>().ok()) else { return Some(None) };
        self.last_times = match times {
            // Any number of times, as with a star.
            0 if numbers.len() > 1 && numbers[1].is_empty() => self.last_times,
            // Never: Go does not look at it.
            0 => 1,
            times => self.last_times.saturating_mul(times),
        };
        Some((self.last_times <= REPEAT_MAX).then_some(count))
    }

    /// Behind a `(`: a group, whose name is of no interest, or flags that Go knows, the last of two that
    /// say different things.
    fn group(&mut self) -> Option<()> {
        if self.rest.next_if_eq(&'?').is_none() {
            self.open("(");
            return Some(());
        }
        if self.rest.next_if_eq(&'P').is_some() && self.rest.peek() != Some(&'<') {
            return None;
        }
        if self.rest.next_if_eq(&'<').is_some() {
            let name = self.up_to('>')?;
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            self.open("(");
            return (!name.is_empty() && name.chars().all(is_name)).then_some(());
        }
        let mut flags = [('i', None), ('m', None), ('s', None), ('U', None)];
        let (mut on, mut named) = (true, true);
        let opens = loop {
            match self.rest.next()? {
                '-' if on => (on, named) = (false, false),
                end @ (':' | ')') if named => break end == ':',
                c => {
                    let (_, flag) = flags.iter_mut().find(|(flag, _)| *flag == c)?;
                    (*flag, named) = (Some(on), true);
                }
            }
        };
        let which = |on| {
            let of = flags.iter().filter(move |(_, flag)| *flag == Some(on));
            of.map(|(flag, _)| *flag).collect::<String>()
        };
        let flags = match which(false) {
            off if off.is_empty() => which(true),
            off => format!("{}-{off}", which(true)),
        };
        match (opens, flags.as_str()) {
            (true, _) => self.open(&format!("(?{flags}:")),
            (false, "") => {}
            (false, _) => self.flags.push_str(&format!("(?{flags})")),
        }
        Some(())
    }

    /// Everything before the next such character, which is passed; `None` if there is none.
    fn up_to(&mut self, end: char) -> Option<String> {
        let mut text = String::new();
        loop {
            match self.rest.next()? {
                c if c == end => return Some(text),
                c => text.push(c),
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        match self.rest.next()? {
            'Q' => self.quoted(),
            'A' => self.out.push_str("\\A"),
            'z' => self.out.push_str("\\z"),
            'b' => self.out.push_str("(?-u:\\b)"),
            'B' => self.out.push_str("(?-u:\\B)"),
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
        match char::from_u32(self.character(c)?) {
            Some(c) => push_literal(c, &mut self.out),
            None => self.out.push_str(NEVER),
        }
        Some(())
    }

    /// The code of the character that an escape stands for, perhaps a surrogate; `c` is what follows the
    /// backslash.
    fn character(&mut self, c: char) -> Option<u32> {
        Some(u32::from(match c {
            'a' => '\u{7}',
            'f' => '\u{c}',
            't' => '\t',
            'n' => '\n',
            'r' => '\r',
            'v' => '\u{b}',
            'x' => return self.hexadecimal(),
            '1'..='7' if !self.rest.peek().is_some_and(|c| matches!(c, '0'..='7')) => return None,
            '0'..='7' => return self.octal(c),
            c if c.is_ascii_alphanumeric() || !c.is_ascii() => return None,
            c => c,
        }))
    }

    fn octal(&mut self, first: char) -> Option<u32> {
        let mut code = first.to_digit(8)?;
        for _ in 0..2 {
            let Some(digit) = self.rest.next_if(|c| c.is_digit(8)) else { break };
            code = code * 8 + digit.to_digit(8)?;
        }
        Some(code)
    }

    fn hexadecimal(&mut self) -> Option<u32> {
        let digits = match self.rest.next_if_eq(&'{') {
            Some(_) => self.up_to('}')?,
            None => [self.rest.next()?, self.rest.next()?].iter().collect(),
        };
        let mut code: u32 = 0;
        for digit in digits.chars() {
            code = code * 16 + digit.to_digit(16)?;
            if code > u32::from(char::MAX) {
                return None;
            }
        }
        (!digits.is_empty()).then_some(code)
    }

    /// Behind `\p` or `\P`: one letter, or a name in braces, which may begin with `^`.
    fn unicode_class(&mut self, negated: bool) -> Option<()> {
        self.unicode_classes += 1;
        if self.unicode_classes > UNICODE_CLASSES_MAX {
            return None;
        }
        let name = match self.rest.next()? {
            '{' => self.up_to('}')?,
            letter => letter.to_string(),
        };
        let (negated, name) = match name.strip_prefix('^') {
            Some(name) => (!negated, name),
            None => (negated, name.as_str()),
        };
        // Go overlooks these, and so does the crate where it takes them.
        let name = name.replace(['_', '-', ' '], "");
        let known = name.chars().all(|c| c.is_ascii_alphanumeric());
        self.out.push_str(if negated { "\\P{" } else { "\\p{" });
        self.out.push_str(&name);
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
                c => self.range(c.into())?,
            }
            first = false;
        }
        self.out.push(']');
        Some(())
    }

    /// A character of a class, or the range that it begins.
    fn range(&mut self, low: u32) -> Option<()> {
        let mut ahead = self.rest.clone();
        if ahead.next() != Some('-') || matches!(ahead.peek(), None | Some(']')) {
            self.push_range(low, low);
            return Some(());
        }
        self.rest = ahead;
        let high = match self.rest.next()? {
            '\\' => {
                let c = self.rest.next()?;
                self.character(c)?
            }
            c => c.into(),
        };
        self.push_range(low, high);
        (low <= high).then_some(())
    }

    /// A range without its surrogates, which no text has.
    fn push_range(&mut self, low: u32, high: u32) {
        let low = char::from_u32(low).unwrap_or('\u{e000}');
        let high = char::from_u32(high).unwrap_or('\u{d7ff}');
        if low > high {
            self.out.push_str(NEVER);
            return;
        }
        push_literal(low, &mut self.out);
        if low < high {
            self.out.push('-');
            push_literal(high, &mut self.out);
        }
    }

    /// Passes `:name:]` behind a `[`, if that is next. `None`: no class has that name.
    fn posix_class(&mut self) -> Option<bool> {
        if self.no_posix_end || self.rest.peek() != Some(&':') {
            return Some(false);
        }
        let mut ahead = self.rest.clone();
        ahead.next();
        let mut name = String::new();
        loop {
            match ahead.next() {
                None => {
                    self.no_posix_end = true;
                    return Some(false);
                }
                Some(':') if ahead.peek() == Some(&']') => break,
                Some(c) => name.push(c),
            }
        }
        ahead.next();
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
        // One that is not small takes about what it needs, not the most that there is.
        let mut budget = Budget::default();
        let middling = (0..5).filter(|_| budget.compile(r"\p{L}1", true).is_some());
        assert_eq!(middling.count(), 5);
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
