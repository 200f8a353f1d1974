//! From the text of a path to its steps.

use super::query::Query;
use super::{Glob, Modifier, Step};

/// Most steps of a path; facts are not nested as deep.
const STEPS_MAX: usize = 256;
/// Most pipes and modifiers of a path: each may copy what was found.
const TURNS_MAX: usize = 16;
/// Most `@tostr` of a path: each may double what was found.
const TO_TEXT_MAX: usize = 2;
/// Longest key with wildcards, and longest query, in bytes.
const WILD_LENGTH_MAX: usize = 512;

/// Reads a path; `queries` is how deep queries may still nest. A path beyond the limits finds nothing.
pub(super) fn segments(text: &str, queries: usize) -> Vec<Vec<Step>> {
    let segments = all_segments(text, queries);
    let steps = || segments.iter().flatten();
    let to_text = |step: &&Step| matches!(step, Step::Modifier(Modifier::ToText));
    let turns =
        steps().filter(|step| matches!(step, Step::Modifier(_))).count() + segments.len() - 1;
    let within = turns <= TURNS_MAX && steps().filter(to_text).count() <= TO_TEXT_MAX;
    if within { segments } else { vec![vec![Step::Nothing]] }
}

fn all_segments(text: &str, queries: usize) -> Vec<Vec<Step>> {
    let mut segments = Vec::new();
    let mut steps = Vec::new();
    let mut rest = Some(text);
    while let Some(component) = rest {
        if steps.len() + segments.len() > STEPS_MAX {
            return vec![vec![Step::Nothing]];
        }
        let (step, after) =
            modifier(component).or_else(|| step(component, queries)).unwrap_or((Step::Nothing, ""));
        steps.push(step);
        if after.starts_with('|') {
            segments.push(std::mem::take(&mut steps));
        }
        rest = after.get(1..);
    }
    segments.push(steps);
    segments
}

/// `@name` or `@name:argument` at the beginning, and what follows. `None`: no modifier.
fn modifier(text: &str) -> Option<(Step, &str)> {
    let body = text.strip_prefix('@')?;
    let end = body.find(['.', '|', ':']).unwrap_or(body.len());
    let after = &body[end..];
    Some(match Modifier::named(&body[..end])? {
        Some(modifier) if !after.starts_with(':') => (Step::Modifier(modifier), after),
        _ => (Step::Nothing, ""),
    })
}

/// One step and what follows it (nothing, or text that begins with `.` or `|`). `None`: not
/// understood.
fn step(text: &str, queries: usize) -> Option<(Step, &str)> {
    match text.chars().next() {
        Some('{' | '[' | '!') => None,
        Some('#') => match text[1..].chars().next() {
            None | Some('.' | '|') => Some((Step::Each, &text[1..])),
            Some(open @ ('(' | '[')) => query(text, open, queries),
            Some(_) => Some(key(text)),
        },
        _ => Some(key(text)),
    }
}

fn key(text: &str) -> (Step, &str) {
    let mut glob = Vec::new();
    let mut wild = false;
    let mut chars = text.char_indices();
    let mut end = text.len();
    while let Some((offset, c)) = chars.next() {
        match c {
            '.' | '|' => {
                end = offset;
                break;
            }
            '\\' => glob.extend(chars.next().map(|(_, c)| Glob::Char(c))),
            '*' | '?' => {
                wild = true;
                glob.push(if c == '*' { Glob::Any } else { Glob::One });
            }
            c => glob.push(Glob::Char(c)),
        }
    }
    let step = match wild {
        true if end > WILD_LENGTH_MAX => Step::Nothing,
        true => Step::Wildcard(glob),
        false => Step::Key(plain(&glob)),
    };
    (step, &text[end..])
}

fn plain(glob: &[Glob]) -> String {
    glob.iter().filter_map(|glob| if let Glob::Char(c) = glob { Some(*c) } else { None }).collect()
}

/// `#(…)` or `#(…)#` (or with square brackets, as old paths have it) and what follows.
fn query(text: &str, open: char, queries: usize) -> Option<(Step, &str)> {
    let body = &text[2..];
    let end = closing(body, open)?;
    if end > WILD_LENGTH_MAX {
        return None;
    }
    let query = Query::parse(&body[..end], queries.checked_sub(1)?)?;
    let after = &body[end + 1..];
    let (all, after) = match after.strip_prefix('#') {
        Some(after) => (true, after),
        None => (false, after),
    };
    let ended = after.is_empty() || after.starts_with(['.', '|']);
    ended.then(|| (Step::Query { query: Box::new(query), all }, after))
}

/// Offset of the bracket that closes one opened before the text.
fn closing(text: &str, open: char) -> Option<usize> {
    let close = if open == '(' { ')' } else { ']' };
    let mut depth = 1_usize;
    let mut quoted = false;
    let mut chars = text.char_indices();
    while let Some((offset, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '"' => quoted = !quoted,
            _ if quoted => {}
            c if c == open => depth += 1,
            c if c == close => {
                depth -= 1;
                if depth == 0 {
                    return Some(offset);
                }
            }
            _ => {}
        }
    }
    None
}
