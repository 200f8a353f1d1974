//! Classes in brackets, character by character.

use super::escape::{NEVER, push_literal};
use super::translate::Translator;

const POSIX_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

impl Translator<'_> {
    /// Behind a `[`: everything up to its `]`, character by character, so that nothing in it can mean
    /// more than in Go.
    pub(super) fn class(&mut self) -> Option<()> {
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
