//! A JSON reader over bytes that judges as Go's `encoding/json` does, because that is what judges on
//! a real network.
//!
//! It pulls: whoever reads walks members and elements, takes what it knows and skips the rest, so
//! that no tree is built and a hostile document costs no memory beyond its own size. Skipping does
//! not recurse. It is not a serialiser and knows no types; see [`super::escape`] for writing.
//!
//! Where Go departs from other readers (protocol document 14, "JSON leniency"): invalid UTF-8 and
//! lone surrogates become U+FFFD, a member may come twice, nesting is accepted to a depth of 10,000,
//! white space may follow the document and nothing else may.

mod text;

use std::fmt;

pub use text::Text;

/// Nesting that Go's decoder accepts (`maxNestingDepth` in `encoding/json/scanner.go`).
pub const MAX_DEPTH: u32 = 10_000;

/// Why bytes are not a JSON document, in the words of Go's decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyntaxError {
    /// The document ends in the middle.
    Truncated,
    /// A byte that cannot stand where it stands.
    Unexpected {
        /// The byte.
        byte: u8,
        /// Where it stands, as Go says it.
        place: &'static str,
    },
    /// A byte that does not go on with a literal.
    Literal {
        /// The byte.
        byte: u8,
        /// The literal.
        word: &'static str,
        /// The byte that goes on with it.
        expected: u8,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// A well-formed value of another kind than the reader asked for.
    WrongKind,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("unexpected end of JSON input"),
            Self::Unexpected { byte, place } => {
                write!(f, "invalid character {} {place}", quoted(*byte))
            }
            Self::Literal { byte, word, expected } => {
                let (byte, expected) = (quoted(*byte), quoted(*expected));
                write!(f, "invalid character {byte} in literal {word} (expecting {expected})")
            }
            Self::TooDeep => f.write_str("exceeded max depth"),
            Self::WrongKind => f.write_str("value of another kind than expected"),
        }
    }
}

impl std::error::Error for SyntaxError {}

/// Result of reading JSON.
pub type Result<T> = std::result::Result<T, SyntaxError>;

/// What Go's decoder reads where a document ends, to have a literal, a number or an escape end too.
const BEHIND_THE_END: u8 = b' ';

/// What stands next in a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number, kept as its text.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

impl Kind {
    /// Go's word for the kind in its "cannot unmarshal" errors.
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Number => "number",
            Self::String => "string",
            Self::Array => "array",
            Self::Object => "object",
        }
    }
}

/// Reads one document.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    input: &'a [u8],
    at: usize,
    depth: u32,
}

/// The members of an object or the elements of an array being read.
#[derive(Debug)]
pub struct Items {
    first: bool,
}

impl Items {
    /// Items of which the first has been taken.
    pub(super) fn begun() -> Self {
        Self { first: false }
    }
}

impl<'a> Reader<'a> {
    /// A reader at the start of `input`.
    pub fn new(input: &'a [u8]) -> Self {
        Self { input, at: 0, depth: 0 }
    }

    /// What stands next.
    pub fn kind(&mut self) -> Result<Kind> {
        match self.peek()? {
            b'{' => Ok(Kind::Object),
            b'[' => Ok(Kind::Array),
            b'"' => Ok(Kind::String),
            b't' | b'f' => Ok(Kind::Bool),
            b'n' => Ok(Kind::Null),
            b'-' | b'0'..=b'9' => Ok(Kind::Number),
            byte => Err(unexpected(byte, "looking for beginning of value")),
        }
    }

    /// Enters the object that stands next; ask [`Reader::member`] for its members.
    pub fn object(&mut self) -> Result<Items> {
        self.enter(Kind::Object)
    }

    /// Enters the array that stands next; ask [`Reader::element`] for its elements.
    pub fn array(&mut self) -> Result<Items> {
        self.enter(Kind::Array)
    }

    fn enter(&mut self, kind: Kind) -> Result<Items> {
        if self.kind()? != kind {
            return Err(SyntaxError::WrongKind);
        }
        self.at += 1;
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(SyntaxError::TooDeep) } else { Ok(Items { first: true }) }
    }

    /// The name of the next member; its value stands next. `None` after the last one.
    pub fn member(&mut self, items: &mut Items) -> Result<Option<Text<'a>>> {
        if !self.next_item(items, b'}', "after object key:value pair")? {
            return Ok(None);
        }
        match self.peek()? {
            b'"' => {}
            byte => return Err(unexpected(byte, "looking for beginning of object key string")),
        }
        let name = self.text()?;
        match self.peek()? {
            b':' => self.at += 1,
            byte => return Err(unexpected(byte, "after object key")),
        }
        Ok(Some(name))
    }

    /// Whether another element stands next in the array.
    pub fn element(&mut self, items: &mut Items) -> Result<bool> {
        self.next_item(items, b']', "after array element")
    }

    fn next_item(&mut self, items: &mut Items, close: u8, place: &'static str) -> Result<bool> {
        let first = std::mem::take(&mut items.first);
        match self.peek()? {
            byte if byte == close => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            _ if first => Ok(true),
            b',' => {
                self.at += 1;
                if close == b']' && self.peek()? == b']' {
                    return Err(unexpected(b']', "looking for beginning of value"));
                }
                Ok(true)
            }
            byte => Err(unexpected(byte, place)),
        }
    }

    /// The string that stands next.
    pub fn text(&mut self) -> Result<Text<'a>> {
        if self.kind()? != Kind::String {
            return Err(SyntaxError::WrongKind);
        }
        let start = self.at + 1;
        let mut at = start;
        let mut plain = true;
        loop {
            at += plain_run(self.input.get(at..).unwrap_or_default());
            match self.input.get(at) {
                None => return Err(SyntaxError::Truncated),
                Some(b'"') => break,
                Some(b'\\') => {
                    plain = false;
                    at += self.escape_length(at)?;
                }
                Some(&byte) if byte < 0x20 => return Err(unexpected(byte, "in string literal")),
                Some(_) => {
                    plain = false;
                    at += 1;
                }
            }
        }
        self.at = at + 1;
        Ok(Text::new(self.input.get(start..at).unwrap_or_default(), plain))
    }

    fn escape_length(&self, at: usize) -> Result<usize> {
        let byte = |at| self.input.get(at).copied().unwrap_or(BEHIND_THE_END);
        match byte(at + 1) {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(2),
            b'u' => match (at + 2..at + 6).map(byte).find(|byte| !byte.is_ascii_hexdigit()) {
                Some(byte) => Err(unexpected(byte, "in \\u hexadecimal character escape")),
                None => Ok(6),
            },
            byte => Err(unexpected(byte, "in string escape code")),
        }
    }

    /// The number that stands next, as its text.
    pub fn number(&mut self) -> Result<&'a str> {
        if self.kind()? != Kind::Number {
            return Err(SyntaxError::WrongKind);
        }
        let start = self.at;
        self.skip_number()?;
        let text = self.input.get(start..self.at).unwrap_or_default();
        std::str::from_utf8(text).map_err(|_| SyntaxError::WrongKind)
    }

    fn skip_number(&mut self) -> Result<()> {
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            _ => self.digits("in numeric literal")?,
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits("after decimal point in numeric literal")?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits("in exponent of numeric literal")?;
        }
        Ok(())
    }

    fn digits(&mut self, place: &'static str) -> Result<()> {
        let first = self.byte().unwrap_or(BEHIND_THE_END);
        if !first.is_ascii_digit() {
            return Err(unexpected(first, place));
        }
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    /// Passes over the value that stands next, checking it, and returns its bytes.
    pub fn skip(&mut self) -> Result<&'a [u8]> {
        let mut open = OpenKinds::default();
        self.kind()?;
        let start = self.at;
        loop {
            let mut items = match self.kind()? {
                Kind::Object => {
                    open.push(true);
                    self.object()?
                }
                Kind::Array => {
                    open.push(false);
                    self.array()?
                }
                scalar => {
                    self.skip_scalar(scalar)?;
                    Items { first: false }
                }
            };
            loop {
                let another = match open.last() {
                    None => return Ok(self.input.get(start..self.at).unwrap_or_default()),
                    Some(true) => self.member(&mut items)?.is_some(),
                    Some(false) => self.element(&mut items)?,
                };
                if another {
                    break;
                }
                open.pop();
            }
        }
    }

    fn skip_scalar(&mut self, kind: Kind) -> Result<()> {
        match kind {
            Kind::String => self.text().map(|_| ()),
            Kind::Number => self.skip_number(),
            Kind::Null => self.literal("null"),
            _ if self.byte() == Some(b't') => self.literal("true"),
            _ => self.literal("false"),
        }
    }

    fn literal(&mut self, word: &'static str) -> Result<()> {
        for expected in word.bytes() {
            let byte = self.byte().unwrap_or(BEHIND_THE_END);
            if byte != expected {
                return Err(SyntaxError::Literal { byte, word, expected });
            }
            self.at += 1;
        }
        Ok(())
    }

    /// The bytes between this reader and `later`, which reads the same document.
    pub fn until(&self, later: &Self) -> &'a [u8] {
        self.input.get(self.at..later.at).unwrap_or_default()
    }

    /// Checks that nothing but white space follows.
    pub fn end(&mut self) -> Result<()> {
        match self.peek() {
            Ok(byte) => Err(unexpected(byte, "after top-level value")),
            Err(_) => Ok(()),
        }
    }

    fn byte(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Result<u8> {
        while let Some(byte) = self.byte() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                other => return Ok(other),
            }
        }
        Err(SyntaxError::Truncated)
    }
}

/// Checks that `input` is one JSON document.
pub fn check(input: &[u8]) -> Result<()> {
    let mut reader = Reader::new(input);
    reader.skip()?;
    reader.end()
}

fn unexpected(byte: u8, place: &'static str) -> SyntaxError {
    SyntaxError::Unexpected { byte, place }
}

/// A byte as Go shows it: the character with its number, between quotes (Go `encoding/json`, `quoteChar`).
fn quoted(byte: u8) -> String {
    let letter = match byte {
        b'\'' | b'\\' => char::from(byte),
        7 => 'a',
        8 => 'b',
        0xc => 'f',
        b'\n' => 'n',
        b'\r' => 'r',
        b'\t' => 't',
        0xb => 'v',
        0..0x20 | 0x7f => return format!(r"'\x{byte:02x}'"),
        0x80..=0xa0 | 0xad => return format!(r"'\u{byte:04x}'"),
        printable => return format!("'{}'", char::from(printable)),
    };
    format!(r"'\{letter}'")
}

/// How many bytes from the start neither end a string nor need a closer look: printable ASCII
/// without quote and backslash, eight at a time.
fn plain_run(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    let has_zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let (chunks, _) = bytes.as_chunks::<8>();
    let mut run = 0;
    for chunk in chunks {
        let word = u64::from_ne_bytes(*chunk);
        let quote = has_zero(word ^ (ONES * u64::from(b'"')));
        let backslash = has_zero(word ^ (ONES * u64::from(b'\\')));
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        if quote | backslash | control | (word & HIGHS) != 0 {
            break;
        }
        run += 8;
    }
    let tail = bytes.get(run..).unwrap_or_default();
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20 | 0x80..);
    run + tail.iter().position(special).unwrap_or(tail.len())
}

/// Which of the containers being skipped are objects: a bit each, the last 64 without allocating.
#[derive(Default)]
struct OpenKinds {
    recent: u64,
    count: usize,
    earlier: Vec<u64>,
}

impl OpenKinds {
    fn push(&mut self, object: bool) {
        if self.count == 64 {
            self.earlier.push(self.recent);
            self.count = 0;
        }
        self.recent = self.recent << 1 | u64::from(object);
        self.count += 1;
    }

    fn pop(&mut self) {
        self.recent >>= 1;
        self.count = self.count.saturating_sub(1);
        if self.count == 0
            && let Some(earlier) = self.earlier.pop()
        {
            self.recent = earlier;
            self.count = 64;
        }
    }

    fn last(&self) -> Option<bool> {
        (self.count > 0).then_some(self.recent & 1 == 1)
    }
}

#[cfg(test)]
mod tests;
