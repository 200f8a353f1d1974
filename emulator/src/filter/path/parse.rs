//! From the text of a path to its steps.

use super::query::Query;
use super::{Glob, Modifier, Segment, Step};

/// Reads a path; `queries` is how deep queries may still nest.
pub(super) fn segments(text: &str, queries: usize) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut steps = Vec::new();
    let mut rest = Some(text);
    while let Some(component) = rest {
        let read = if let Some((modifier, after)) = modifier(component) {
            flush(&mut steps, &mut segments);
            segments.push(modifier.map_or(Segment::Nothing, Segment::Modifier));
            Some(after)
        } else {
            step(component, queries).map(|(step, after)| {
                steps.push(step);
                after
            })
        };
        let Some(after) = read else {
            segments.push(Segment::Nothing);
            return segments;
        };
        if after.starts_with('|') {
            flush(&mut steps, &mut segments);
        }
        rest = after.get(1..);
    }
    flush(&mut steps, &mut segments);
    segments
}

fn flush(steps: &mut Vec<Step>, segments: &mut Vec<Segment>) {
    if !steps.is_empty() {
        segments.push(Segment::Steps(std::mem::take(steps)));
    }
}

/// `@name` or `@name:argument` at the beginning, and what follows. A modifier with an argument, or
/// one that is not understood, is `None` inside.
fn modifier(text: &str) -> Option<(Option<Modifier>, &str)> {
    let body = text.strip_prefix('@')?;
    let end = body.find(['.', '|', ':']).unwrap_or(body.len());
    let modifier = Modifier::named(&body[..end])?;
    let after = &body[end..];
    if !after.starts_with(':') {
        return Some((modifier, after));
    }
    // The argument's own dots and pipes do not matter: the path finds nothing.
    Some((None, ""))
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
    let step = if wild { Step::Wildcard(glob) } else { Step::Key(plain(&glob)) };
    (step, &text[end..])
}

fn plain(glob: &[Glob]) -> String {
    glob.iter().filter_map(|glob| if let Glob::Char(c) = glob { Some(*c) } else { None }).collect()
}

/// `#(…)` or `#(…)#` (or with square brackets, as old paths have it) and what follows.
fn query(text: &str, open: char, queries: usize) -> Option<(Step, &str)> {
    let body = &text[2..];
    let end = closing(body, open)?;
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
