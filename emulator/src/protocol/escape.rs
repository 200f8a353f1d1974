//! Writing JSON strings. Only what must be escaped is; Go escapes more, and readers do not care
//! (protocol document 3.2).

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends `text` to `out` as the inside of a JSON string.
pub fn push(text: &str, out: &mut Vec<u8>) {
    push_bytes(text.as_bytes(), out);
}

/// How many bytes [`push_bytes`] makes of `text`, at least: control characters take more.
pub(crate) fn length(text: &[u8]) -> usize {
    text.len() + text.iter().filter(|byte| matches!(byte, b'"' | b'\\' | b'\n')).count()
}

/// [`push`] for a piece of UTF-8 text that may begin or end inside a character.
pub(crate) fn push_bytes(text: &[u8], out: &mut Vec<u8>) {
    let mut from = 0;
    for (at, &byte) in text.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(text.get(from..at).unwrap_or_default());
        from = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(hex(byte >> 4));
                out.push(hex(byte & 15));
            }
        }
    }
    out.extend_from_slice(text.get(from..).unwrap_or_default());
}

/// Appends `text` as a JSON string, quotes included.
pub fn push_quoted(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    push(text, out);
    out.push(b'"');
}

fn hex(digit: u8) -> u8 {
    HEX.get(usize::from(digit)).copied().unwrap_or(b'0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn serde_json_reads_what_is_written(text in "\\PC*|[\\x00-\\x7f]*") {
            let mut out = Vec::new();
            push_quoted(&text, &mut out);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
