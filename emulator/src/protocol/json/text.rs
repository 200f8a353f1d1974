//! The strings of a document, as Go's decoder reads them.

use super::plain_run;
use std::borrow::Cow;

/// A string as it stands between its quotes: escapes are checked, not yet resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<'a> {
    raw: &'a [u8],
    /// No escapes and nothing but ASCII: the bytes are the text.
    plain: bool,
}

impl<'a> Text<'a> {
    /// `raw` without its quotes, its escapes checked; `plain` if it holds none and is ASCII.
    pub(super) fn new(raw: &'a [u8], plain: bool) -> Self {
        Self { raw, plain }
    }

    /// The bytes of the text where they stand in the document as they are.
    pub fn plain(&self) -> Option<&'a str> {
        if self.plain { std::str::from_utf8(self.raw).ok() } else { None }
    }

    /// Whether nothing stands between the quotes.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// The text, borrowed where it is plain.
    pub fn decode(&self) -> Cow<'a, str> {
        if let Some(text) = self.plain() {
            return Cow::Borrowed(text);
        }
        let mut text = String::new();
        self.decode_into(&mut text);
        Cow::Owned(text)
    }

    /// Appends the text to `out`, which grows by at most three times the raw length.
    pub fn decode_into(&self, out: &mut String) {
        let mut rest = self.raw;
        out.reserve(rest.len());
        while let Some(at) = find_escape(rest) {
            let (head, tail) = rest.split_at(at);
            push_lossy(head, out);
            rest = resolve_escape(tail, out);
        }
        push_lossy(rest, out);
    }

    /// Whether the text is `name`, exactly.
    pub fn is(&self, name: &str) -> bool {
        match self.plain() {
            Some(text) => text == name,
            None => self.decode() == name,
        }
    }

    /// Whether Go's decoder takes the text for the member `name` (lower-case ASCII): letters of any
    /// case, and the two characters beyond ASCII that fold to ASCII letters.
    pub fn folds_to(&self, name: &str) -> bool {
        match self.plain() {
            Some(text) => text.eq_ignore_ascii_case(name),
            None => self.decode().chars().map(fold).eq(name.chars()),
        }
    }
}

/// Where the next escape begins.
fn find_escape(raw: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += plain_run(raw.get(at..)?);
        match raw.get(at)? {
            b'\\' => return Some(at),
            _ => at += 1,
        }
    }
}

fn fold(character: char) -> char {
    match character {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    }
}

/// Appends bytes as text, each invalid byte as one U+FFFD as Go does (and not one for each broken
/// sequence, as `String::from_utf8_lossy`).
fn push_lossy(mut bytes: &[u8], out: &mut String) {
    loop {
        match std::str::from_utf8(bytes) {
            Ok(text) => return out.push_str(text),
            Err(error) => {
                let (valid, rest) = bytes.split_at(error.valid_up_to());
                out.push_str(std::str::from_utf8(valid).unwrap_or_default());
                out.push(char::REPLACEMENT_CHARACTER);
                bytes = rest.get(1..).unwrap_or_default();
            }
        }
    }
}

/// Resolves the escape that `raw` begins with and returns what follows it.
fn resolve_escape<'a>(raw: &'a [u8], out: &mut String) -> &'a [u8] {
    let character = match raw.get(1) {
        Some(b'u') => return resolve_unicode(raw, out),
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(&other) => char::from(other),
        None => char::REPLACEMENT_CHARACTER,
    };
    out.push(character);
    raw.get(2..).unwrap_or_default()
}

fn resolve_unicode<'a>(raw: &'a [u8], out: &mut String) -> &'a [u8] {
    let first = unicode_unit(raw).unwrap_or(0xfffd);
    let rest = raw.get(6..).unwrap_or_default();
    if let Some(character) = char::from_u32(first) {
        out.push(character);
        return rest;
    }
    let second = unicode_unit(rest).unwrap_or(0);
    if first < 0xdc00 && (0xdc00..0xe000).contains(&second) {
        let joined = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        out.push(char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER));
        return rest.get(6..).unwrap_or_default();
    }
    out.push(char::REPLACEMENT_CHARACTER);
    rest
}

/// The unit of an escape such as `\u00e9` at the start of `raw`.
fn unicode_unit(raw: &[u8]) -> Option<u32> {
    if raw.get(..2)? != b"\\u" {
        return None;
    }
    let digits = raw.get(2..6)?;
    digits.iter().try_fold(0, |unit, &digit| Some(unit * 16 + char::from(digit).to_digit(16)?))
}
