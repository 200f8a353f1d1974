//! From Go's syntax to the crate's, piece by piece: groups, repetitions and what they count.

use std::iter::Peekable;
use std::str::Chars;

/// Largest count in `{n,m}`, and largest product of counts one inside the other.
const REPEAT_MAX: u32 = 1000;

/// The same expression for the crate; `None`: it is invalid in Go, or holds too many Unicode classes.
pub(super) fn translate(expression: &str) -> Option<String> {
    Translator::new(expression).translate()
}

/// An expression, partly translated.
pub(super) struct Translator<'t> {
    pub(super) rest: Peekable<Chars<'t>>,
    pub(super) out: String,
    /// Whether a repetition operator stands right before, so that another one is an error.
    repeated: bool,
    pub(super) unicode_classes: u32,
    /// Flags that begin behind what stands last, once its repetition is known.
    flags: String,
    /// How often what stands last is repeated, the largest product of counts inside it included.
    last_times: u32,
    /// The same, at most, of what stands before it in the group.
    group_times: u32,
    /// The same of the groups around.
    outer_times: Vec<u32>,
    /// Whether no `:]` is ahead: it is not looked for twice.
    pub(super) no_posix_end: bool,
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
    pub(super) fn up_to(&mut self, end: char) -> Option<String> {
        let mut text = String::new();
        loop {
            match self.rest.next()? {
                c if c == end => return Some(text),
                c => text.push(c),
            }
        }
    }
}
