//! Reading a JSON object into known fields as Go does into a struct: names in any letter case, the
//! last of two wins, null leaves a field alone, and the wrong type is refused in Go's words, because
//! they are part of the reply.

use crate::protocol::json::{self, Kind, Reader};

/// Where a member goes.
#[derive(Debug)]
pub(super) enum Field<'a> {
    /// A text.
    Text(&'a mut String),
    /// Texts.
    Texts(&'a mut Texts),
    /// A text that nobody looks at.
    IgnoredText,
    /// A Go `int`.
    Integer(&'a mut i64),
    /// Any JSON value, as its bytes.
    Raw(&'a mut Vec<u8>),
    /// A time that nobody looks at, in RFC 3339.
    Time,
}

/// Texts one behind the other: a list of a million empty ones costs four bytes each.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Texts {
    all: String,
    /// Where each ends.
    ends: Vec<u32>,
}

impl Texts {
    fn push(&mut self, text: &str) {
        self.all.push_str(text);
        // No message is that large.
        self.ends.push(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
    }

    fn clear(&mut self) {
        self.all.clear();
        self.ends.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        let mut from = 0;
        self.ends.iter().map(move |&end| {
            let text = self.all.get(from..end as usize).unwrap_or_default();
            from = end as usize;
            text
        })
    }
}

/// Reads `document` into `fields`; the error is what Go's decoder would say of the type
/// `package.type_name`.
pub(super) fn read(
    document: &[u8],
    package: &str,
    type_name: &str,
    fields: &mut [(&str, Field<'_>)],
) -> Result<(), String> {
    json::check(document).map_err(|error| error.to_string())?;
    let mut reader = Reader::new(document);
    match reader.kind() {
        Ok(Kind::Object) => {}
        Ok(Kind::Null) => return Ok(()),
        Ok(kind) => {
            let kind = kind.name();
            return Err(format!(
                "json: cannot unmarshal {kind} into Go value of type {package}.{type_name}"
            ));
        }
        Err(error) => return Err(error.to_string()),
    }
    match read_members(&mut reader, type_name, fields) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(problem)) => Err(problem),
        Err(error) => Err(error.to_string()),
    }
}

/// Go reads on after a value of the wrong type and reports the first; an invalid time ends it.
fn read_members(
    reader: &mut Reader<'_>,
    type_name: &str,
    fields: &mut [(&str, Field<'_>)],
) -> json::Result<Result<(), String>> {
    let mut outcome = Ok(());
    let mut members = reader.object()?;
    while let Some(name) = reader.member(&mut members)? {
        let Some((known, field)) = fields.iter_mut().find(|(known, _)| name.folds_to(known)) else {
            reader.skip()?;
            continue;
        };
        let kind = reader.kind()?;
        if let Field::Raw(slot) = field {
            **slot = reader.skip()?.to_vec();
            continue;
        }
        if kind == Kind::Null {
            reader.skip()?;
            continue;
        }
        let found = match (kind, field) {
            (Kind::String, Field::Text(slot)) => {
                **slot = reader.text()?.decode().into_owned();
                continue;
            }
            (Kind::Number, Field::Integer(slot)) => {
                let number = reader.number()?;
                match number.parse() {
                    Ok(integer) => {
                        **slot = integer;
                        continue;
                    }
                    Err(_) => (format!("number {number}"), "int"),
                }
            }
            (Kind::Array, Field::Texts(slot)) => match read_texts(reader, slot)? {
                None => continue,
                Some(kind) => (kind.name().to_owned(), "string"),
            },
            (_, Field::Time) => match check_time(reader.skip()?) {
                Ok(()) => continue,
                Err(problem) => return Ok(Err(problem)),
            },
            (kind, field) => {
                reader.skip()?;
                match field {
                    Field::IgnoredText if kind == Kind::String => continue,
                    Field::Integer(_) => (kind.name().to_owned(), "int"),
                    Field::Texts(_) => (kind.name().to_owned(), "[]string"),
                    _ => (kind.name().to_owned(), "string"),
                }
            }
        };
        let (found, expected) = found;
        outcome = outcome.and(Err(format!(
            "json: cannot unmarshal {found} into Go struct field {type_name}.{known} of type {expected}"
        )));
    }
    Ok(outcome)
}

/// Reads an array of texts, where null is an empty one; gives the kind of the first that is none.
fn read_texts(reader: &mut Reader<'_>, texts: &mut Texts) -> json::Result<Option<Kind>> {
    let mut wrong = None;
    texts.clear();
    let mut elements = reader.array()?;
    while reader.element(&mut elements)? {
        let kind = reader.kind()?;
        if kind == Kind::String {
            texts.push(&reader.text()?.decode());
            continue;
        }
        reader.skip()?;
        texts.push("");
        if kind != Kind::Null {
            wrong.get_or_insert(kind);
        }
    }
    Ok(wrong)
}

/// Checks a JSON value as Go's `time.Time` does; `raw` includes the quotes.
fn check_time(raw: &[u8]) -> Result<(), String> {
    let text = raw.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\""));
    let text = text.ok_or("Time.UnmarshalJSON: input is not a JSON string")?;
    let text = String::from_utf8_lossy(text);
    parse_rfc3339(&text).map_err(|(rest, element)| {
        let (text, rest) = (in_quotes(&text), in_quotes(rest));
        format!(
            "parsing time {text} as \"2006-01-02T15:04:05Z07:00\": cannot parse {rest} as \
             \"{element}\""
        )
    })
}

/// A text in quotes as Go shows it of times (Go `time`, `quote`): what is not ASCII byte by byte.
fn in_quotes(text: &str) -> String {
    let mut out = "\"".to_owned();
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            0x20..0x80 => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
}

/// Walks over an RFC 3339 time; the error is what is left and what should have stood there.
fn parse_rfc3339(text: &str) -> Result<(), (&str, &'static str)> {
    const LAYOUT: [(&str, usize); 11] = [
        ("2006", 4),
        ("-", 0),
        ("01", 2),
        ("-", 0),
        ("02", 2),
        ("T", 0),
        ("15", 2),
        (":", 0),
        ("04", 2),
        (":", 0),
        ("05", 2),
    ];
    let mut rest = text;
    for (element, digits) in LAYOUT {
        rest = walk(rest, element, digits).ok_or((rest, element))?;
    }
    if let Some(fraction) = rest.strip_prefix('.') {
        rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    let zone = rest;
    let after = zone.strip_prefix('Z').or_else(|| {
        let hours = zone.strip_prefix(['+', '-'])?;
        walk(walk(walk(hours, "07", 2)?, ":", 0)?, "00", 2)
    });
    if after == Some("") { Ok(()) } else { Err((zone, "Z07:00")) }
}

fn walk<'a>(text: &'a str, element: &str, digits: usize) -> Option<&'a str> {
    if digits == 0 {
        return text.strip_prefix(element);
    }
    let (number, rest) = text.split_at_checked(digits)?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then_some(rest)
}

/// Reads inputs that are all texts, in the order of `names`.
pub(super) fn texts<const N: usize>(
    data: &[u8],
    package: &str,
    type_name: &str,
    names: [&str; N],
) -> Result<[String; N], String> {
    let mut values = [const { String::new() }; N];
    let mut fields: Vec<_> = names.into_iter().zip(values.iter_mut().map(Field::Text)).collect();
    read(data, package, type_name, &mut fields)?;
    drop(fields);
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(document: &str) -> Result<String, String> {
        texts(document.as_bytes(), "rpcutil", "input", ["fact"]).map(|[fact]| fact)
    }

    #[test]
    fn members_are_read_as_go_reads_them() {
        for (document, expected) in [
            (r#"{"fact":"a"}"#, Ok("a")),
            (r#"{"FACT":"a"}"#, Ok("a")),
            (r#"{"fact":"a","Fact":"b"}"#, Ok("b")),
            (r#"{"fact":"a","fact":null,"x":[]}"#, Ok("a")),
            ("null", Ok("")),
            ("{}", Ok("")),
            ("[]", Err("json: cannot unmarshal array into Go value of type rpcutil.input")),
            (
                r#"{"fact":1,"fact":true}"#,
                Err("json: cannot unmarshal number into Go struct field input.fact of type string"),
            ),
            ("{", Err("unexpected end of JSON input")),
        ] {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(text_of(document), expected, "{document}");
        }
    }

    #[test]
    fn times_are_checked_in_the_words_of_go() {
        let as_layout = |text: &str, rest: &str, element: &str| {
            Err(format!(
                "parsing time \"{text}\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"{rest}\" \
                 as \"{element}\""
            ))
        };
        for (raw, expected) in [
            ("\"2026-11-23T08:00:00Z\"", Ok(())),
            ("\"2026-11-23T08:00:00.25+01:00\"", Ok(())),
            ("2", Err("Time.UnmarshalJSON: input is not a JSON string".to_owned())),
            ("\"x\"", as_layout("x", "x", "2006")),
            ("\"\"", as_layout("", "", "2006")),
            (r#""a\"\\""#, as_layout(r#"a\\\"\\\\"#, r#"a\\\"\\\\"#, "2006")),
            (
                "\"\u{fffd}\u{7f}\"",
                as_layout("\\xef\\xbf\\xbd\u{7f}", "\\xef\\xbf\\xbd\u{7f}", "2006"),
            ),
            ("\"2026-1-1\"", as_layout("2026-1-1", "1-1", "01")),
            ("\"2026-11-23T08:00:00\"", as_layout("2026-11-23T08:00:00", "", "Z07:00")),
        ] {
            assert_eq!(check_time(raw.as_bytes()), expected, "{raw}");
        }
    }
}
