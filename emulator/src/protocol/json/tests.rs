//! The reader against `serde_json` on what both accept, and against Go's rules where they differ.

use super::*;
use proptest::prelude::*;
use serde_json::Value;

/// Reads through the pull interface what `serde_json` would make of the document.
fn tree(reader: &mut Reader<'_>) -> Result<Value> {
    Ok(match reader.kind()? {
        Kind::Null => {
            reader.skip()?;
            Value::Null
        }
        Kind::Bool => Value::Bool(reader.skip()? == b"true"),
        Kind::Number => serde_json::from_str(reader.number()?).unwrap(),
        Kind::String => Value::String(reader.text()?.decode().into_owned()),
        Kind::Array => {
            let mut items = reader.array()?;
            let mut list = Vec::new();
            while reader.element(&mut items)? {
                list.push(tree(reader)?);
            }
            Value::Array(list)
        }
        Kind::Object => {
            let mut items = reader.object()?;
            let mut map = serde_json::Map::new();
            while let Some(name) = reader.member(&mut items)? {
                map.insert(name.decode().into_owned(), tree(reader)?);
            }
            Value::Object(map)
        }
    })
}

fn read(input: &[u8]) -> Result<Value> {
    let mut reader = Reader::new(input);
    let value = tree(&mut reader)?;
    reader.end()?;
    Ok(value)
}

fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // Exact in few digits: serde_json rounds others differently on the way back.
        any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
        "\\PC*|[\\x00-\\x7f]*".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::Array),
            prop::collection::vec(("\\PC*", inner), 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn reads_what_serde_json_writes(document in documents(), pretty in any::<bool>()) {
        let text = if pretty {
            serde_json::to_string_pretty(&document).unwrap()
        } else {
            document.to_string()
        };
        prop_assert_eq!(read(text.as_bytes()), Ok(document));
        prop_assert_eq!(check(text.as_bytes()), Ok(()));
    }

    #[test]
    fn judges_mutated_documents_as_serde_json_does(
        document in documents(),
        at in any::<prop::sample::Index>(),
        byte in prop_oneof![Just(b'"'), Just(b'{'), Just(b','), Just(b'0'), Just(b'\\'), 0x20u8..0x7f],
    ) {
        let mut text = document.to_string().into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        let Ok(text) = String::from_utf8(text) else { return Ok(()) };
        match serde_json::from_str::<Value>(&text) {
            Ok(value) => prop_assert_eq!(read(text.as_bytes()), Ok(value)),
            // What Go accepts beyond serde_json: lone surrogates and numbers out of range.
            Err(error) if error.to_string().contains("surrogate")
                || error.to_string().contains("hex escape")
                || error.to_string().contains("out of range") => {}
            Err(_) => prop_assert!(check(text.as_bytes()).is_err(), "{}", text),
        }
    }

    #[test]
    fn any_bytes_are_judged_alike_by_reading_and_skipping(
        bytes in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        if check(&bytes).is_ok() {
            // A number may be beyond what a Value holds, nothing else may fail.
            let mut reader = Reader::new(&bytes);
            prop_assert!(reader.kind().is_ok());
        }
    }
}

#[test]
fn texts_are_read_as_go_reads_them() {
    let rows: [(&[u8], &str); 10] = [
        (b"\"a\\u0041\\n\\/\"", "aA\n/"),
        (b"\"\\ud83d\\ude00\"", "\u{1f600}"),
        (b"\"\\ud83dx\"", "\u{fffd}x"),
        (b"\"\\ude00\\ud83d\"", "\u{fffd}\u{fffd}"),
        (b"\"\\ud83d\\ud83d\\ude00\"", "\u{fffd}\u{1f600}"),
        (b"\"\\ud83d\\u0041\"", "\u{fffd}A"),
        (b"\"a\xffb\"", "a\u{fffd}b"),
        (b"\"\xe2\x82\"", "\u{fffd}\u{fffd}"),
        (b"\"\xed\xa0\x80\"", "\u{fffd}\u{fffd}\u{fffd}"),
        (b"\"\xc3\xa9\xff\\t\"", "\u{e9}\u{fffd}\t"),
    ];
    for (input, expected) in rows {
        let mut reader = Reader::new(input);
        assert_eq!(reader.text().unwrap().decode(), expected, "{input:?}");
        assert_eq!(reader.end(), Ok(()));
    }
}

#[test]
fn refusals_are_in_the_words_of_go() {
    let rows: [(&[u8], &str); 33] = [
        (b"", "unexpected end of JSON input"),
        (b"{\"a\":", "unexpected end of JSON input"),
        (b"hello", "invalid character 'h' looking for beginning of value"),
        (b"{} x", "invalid character 'x' after top-level value"),
        (b"\xef\xbb\xbf{}", "invalid character '\u{ef}' looking for beginning of value"),
        (b"{}\0", "invalid character '\\x00' after top-level value"),
        (b"\"a\x01\"", "invalid character '\\x01' in string literal"),
        (b"{\"a\" 1}", "invalid character '1' after object key"),
        (b"{\"a\":1 2}", "invalid character '2' after object key:value pair"),
        (b"{\"a\":1,}", "invalid character '}' looking for beginning of object key string"),
        (b"[1,]", "invalid character ']' looking for beginning of value"),
        (b"[1 2]", "invalid character '2' after array element"),
        (b"\"\\x\"", "invalid character 'x' in string escape code"),
        (b"\"\\u12g4\"", "invalid character 'g' in \\u hexadecimal character escape"),
        (b"01", "invalid character '1' after top-level value"),
        (b"'", "invalid character '\\'' looking for beginning of value"),
        (b"\\", r"invalid character '\\' looking for beginning of value"),
        (b"\"a\nb\"", r"invalid character '\n' in string literal"),
        (b"\"a\x07\"", r"invalid character '\a' in string literal"),
        (b"\"\\\x7f", r"invalid character '\x7f' in string escape code"),
        (b"\x80", r"invalid character '\u0080' looking for beginning of value"),
        (b"\xad", r"invalid character '\u00ad' looking for beginning of value"),
        (b"\xff", "invalid character '\u{ff}' looking for beginning of value"),
        (b"tru\\", r"invalid character '\\' in literal true (expecting 'e')"),
        (b"falsX", "invalid character 'X' in literal false (expecting 'e')"),
        (b"nx", "invalid character 'x' in literal null (expecting 'u')"),
        (b"nul", "invalid character ' ' in literal null (expecting 'l')"),
        (b"-", "invalid character ' ' in numeric literal"),
        (b"1e+", "invalid character ' ' in exponent of numeric literal"),
        (b"\"\\", "invalid character ' ' in string escape code"),
        (b"\"\\u12", "invalid character ' ' in \\u hexadecimal character escape"),
        (b"\"abc", "unexpected end of JSON input"),
        (b"1.x", "invalid character 'x' after decimal point in numeric literal"),
    ];
    for (input, expected) in rows {
        assert_eq!(check(input).unwrap_err().to_string(), expected, "{input:?}");
    }
}

#[test]
fn nesting_is_accepted_to_ten_thousand() {
    for (depth, accepted) in [(1, true), (63, true), (65, true), (10_000, true), (10_001, false)] {
        let mut mixed = String::new();
        for level in 0..depth {
            mixed.push_str(if level % 3 == 0 { "[" } else { "{\"a\":" });
        }
        mixed.push('1');
        for level in (0..depth).rev() {
            mixed.push(if level % 3 == 0 { ']' } else { '}' });
        }
        assert_eq!(check(mixed.as_bytes()).is_ok(), accepted, "{depth}");
    }
}

#[test]
fn member_names_fold_as_in_go() {
    for (name, folds) in [
        ("\"mc_sender\"", true),
        ("\"MC_Sender\"", true),
        ("\"mc_\\u0073ender\"", true),
        ("\"mc_\u{17f}ender\"", true),
        ("\"mc-sender\"", false),
        ("\"mc_sender2\"", false),
    ] {
        let text = Reader::new(name.as_bytes()).text().unwrap();
        assert_eq!(text.folds_to("mc_sender"), folds, "{name}");
    }
    assert!(Reader::new("\"\u{212a}ey\"".as_bytes()).text().unwrap().folds_to("key"));
    assert!(Reader::new(br#""m\u0065ssage""#).text().unwrap().is("message"));
    assert!(!Reader::new(b"\"Message\"").text().unwrap().is("message"));
}

#[test]
fn kinds_are_checked_before_anything_is_taken() {
    let mut reader = Reader::new(b"[1]");
    assert_eq!(reader.text().unwrap_err(), SyntaxError::WrongKind);
    assert_eq!(reader.number().unwrap_err(), SyntaxError::WrongKind);
    assert_eq!(reader.object().unwrap_err(), SyntaxError::WrongKind);
    assert_eq!(reader.skip(), Ok(&b"[1]"[..]));
}
