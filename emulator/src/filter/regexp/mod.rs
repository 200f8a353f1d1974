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

mod class;
mod escape;
mod translate;

use regex::{Regex, RegexBuilder};

use translate::translate;

/// Most memory for all expressions of a filter, compiled.
const BUDGET_BYTES: usize = 512 << 10;
/// What one expression may take: the first of these that is enough for it, and is taken off the budget.
const SIZES_BYTES: [usize; 7] =
    [4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10];
/// Deepest nesting.
const NEST_MAX: u32 = 100;
/// Longest expression, in bytes: each takes up to 200 while it is being compiled.
const LENGTH_MAX: usize = 8 << 10;

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
        let translated = translate(expression);
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
