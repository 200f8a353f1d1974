//! What is wrong with a scenario, said so that a person can mend it: the place, the line, and what
//! to write instead.

use std::fmt;

use super::tree::{Node, Place, Step};

/// Most characters of a line that is quoted, and of what is said about it.
const LINE_MAX: usize = 120;
/// Most characters of a line of advice: the longest of our own names all metrics.
const ADVICE_MAX: usize = 1000;

/// Something wrong with the meaning of a scenario: a path into it, what, and the way out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Problem {
    /// From the root to the value.
    pub path: Vec<Step>,
    /// Whether the key at the end of the path is meant rather than its value.
    pub at_key: bool,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub advice: String,
}

impl Problem {
    /// A problem with the value at `path`.
    pub(crate) fn new(
        path: Vec<Step>,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { path, at_key: false, message: message.into(), advice: advice.into() }
    }

    /// The same problem, of the key instead of its value.
    pub(crate) fn of_key(mut self) -> Self {
        self.at_key = true;
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.path.iter().enumerate() {
            match step {
                Step::Key(key) if position == 0 => write!(f, "{key}")?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        write!(f, ": {}\n  {}", self.message, self.advice)
    }
}

/// One error, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenarioError {
    /// `FILE:LINE:COLUMN`, or the override.
    pub place: String,
    /// What is wrong.
    pub message: String,
    /// The offending line with a caret below; empty for an override.
    pub snippet: String,
    /// What to write instead; may be empty.
    pub advice: String,
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)?;
        if !self.snippet.is_empty() {
            write!(f, "\n{}", self.snippet)?;
        }
        for line in self.advice.lines() {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a scenario, in the order of the file; at least one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ScenarioErrors(pub Vec<ScenarioError>);

impl fmt::Display for ScenarioErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, error) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

/// A place and a message that a later step turns into a [`ScenarioError`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) place: Place,
    /// What is wrong; lines after the first are advice.
    pub(super) message: String,
}

/// Turns places into text: knows the file and the overrides.
pub(super) struct Desk<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
    pub(super) overrides: &'a [String],
}

impl Desk<'_> {
    /// The errors of `findings`, in the order of the file.
    pub(super) fn report(&self, mut findings: Vec<Finding>) -> ScenarioErrors {
        findings.sort_by_key(|finding| match finding.place {
            Place::File { line, column, .. } => (0, line, column),
            Place::Override(index) => (1, index, 0),
        });
        ScenarioErrors(findings.into_iter().map(|finding| self.error(finding)).collect())
    }

    /// The findings that `problems` are in `tree`.
    pub(super) fn place(tree: &Node, problems: Vec<Problem>) -> Vec<Finding> {
        let place = |problem: Problem| Finding {
            place: tree.locate(&problem.path, problem.at_key),
            message: format!("{}\n{}", problem.message, problem.advice),
        };
        problems.into_iter().map(place).collect()
    }

    fn error(&self, finding: Finding) -> ScenarioError {
        let (message, advice) =
            finding.message.split_once('\n').unwrap_or((finding.message.as_str(), ""));
        let (place, snippet) = match finding.place {
            Place::File { line, column, width } => (
                format!("{}:{line}:{column}", self.file),
                self.snippet(line, column, width).unwrap_or_default(),
            ),
            Place::Override(index) => {
                let text = self.overrides.get(index).map_or("", String::as_str);
                (format!("-P {text}"), String::new())
            }
        };
        // Cut after masking: half a URL would not be recognised.
        ScenarioError {
            place: cut(&masked(&place), LINE_MAX),
            message: cut(&masked(message), LINE_MAX),
            snippet,
            advice: advice.lines().map(|line| cut(line, ADVICE_MAX)).collect::<Vec<_>>().join("\n"),
        }
    }

    fn snippet(&self, line: usize, column: usize, width: usize) -> Option<String> {
        let text = self.text.lines().nth(line.checked_sub(1)?)?;
        let text: Vec<char> = masked(text).chars().collect();
        let at = column.saturating_sub(1).min(text.len());
        // Of a long line what is around the place, a third of it before.
        let from = at.saturating_sub(LINE_MAX / 3).min(text.len().saturating_sub(LINE_MAX));
        let to = text.len().min(from + LINE_MAX);
        let (before, after) = (dots(from > 0), dots(to < text.len()));
        let shown: String = text[from..to].iter().collect();
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let indent = " ".repeat(before.chars().count() + at - from);
        let carets = "^".repeat(width.clamp(1, (to - at).max(1)));
        Some(format!("  {number} | {before}{shown}{after}\n  {margin} | {indent}{carets}"))
    }
}

/// Stands for what is left out.
fn dots(left_out: bool) -> &'static str {
    if left_out { "…" } else { "" }
}

/// The text without the middle of what is longer than `most` characters.
fn cut(text: &str, most: usize) -> String {
    let length = text.chars().count();
    if length <= most {
        return text.to_owned();
    }
    let (head, tail) = (most - most / 3, most / 3);
    let begin = text.chars().take(head);
    begin.chain(['…']).chain(text.chars().skip(length - tail)).collect()
}

/// The text with stars for who a URL in it says we are: what is said about a scenario ends up in logs.
/// Its length stays, so that carets below it still point where they should.
fn masked(text: &str) -> String {
    let ends = |c: char| c.is_whitespace() || "\"'`".contains(c);
    let mask = |word: &str| {
        let Some(at) = word.rfind('@') else { return word.to_owned() };
        let before = &word[..at];
        let scheme = before.find("://").map(|position| position + "://".len());
        if scheme.is_none() && !before.contains(':') {
            return word.to_owned();
        }
        let (shown, secret) = before.split_at(scheme.unwrap_or(0));
        format!("{shown}{}{}", "*".repeat(secret.chars().count()), &word[at..])
    };
    text.split_inclusive(ends).map(mask).collect()
}

/// `, did you mean ...` when one of `known` is near `name`.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |candidate: &&str| {
        strsim::damerau_levenshtein(name, candidate) <= 1 + name.chars().count() / 4
            || strsim::jaro_winkler(name, candidate) > 0.88
    };
    known
        .into_iter()
        .filter(near)
        .min_by_key(|candidate| strsim::damerau_levenshtein(name, candidate))
}
