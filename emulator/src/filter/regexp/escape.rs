//! Escapes: characters by their codes, Perl's and Unicode's classes, quoted text.

use super::translate::Translator;

/// Most Unicode classes (`\pL`) in an expression: each takes up to 12 KiB while it is being compiled.
const UNICODE_CLASSES_MAX: u32 = 64;
/// What matches nothing.
pub(super) const NEVER: &str = "[^\\x00-\\x{10FFFF}]";

impl Translator<'_> {
    /// Behind a backslash, outside of brackets.
    pub(super) fn escape(&mut self) -> Option<()> {
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
    pub(super) fn escaped(&mut self, c: char) -> Option<()> {
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
    pub(super) fn character(&mut self, c: char) -> Option<u32> {
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
}

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

/// A character that means itself.
pub(super) fn push_literal(c: char, out: &mut String) {
    if c.is_ascii() && !c.is_ascii_alphanumeric() && c != '<' && c != '>' {
        out.push('\\');
    }
    out.push(c);
}
