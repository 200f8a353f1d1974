//! Base64 as Go's `base64.StdEncoding` reads it (protocol document 14): line breaks inside are
//! ignored and spare bits may be set, but padding is required and spaces are refused.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// The text is not base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotBase64;

/// Appends what `text` stands for to `out`.
pub(crate) fn decode(text: &[u8], out: &mut Vec<u8>) -> Result<(), NotBase64> {
    let start = out.len();
    let mut decoded = LENIENT.decode_vec(text, out);
    if decoded.is_err() && text.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        let mut joined = text.to_vec();
        joined.retain(|byte| !matches!(byte, b'\r' | b'\n'));
        out.truncate(start);
        decoded = LENIENT.decode_vec(joined, out);
    }
    decoded.map_err(|_| {
        // What stood before the fault is there already.
        out.truncate(start);
        NotBase64
    })
}

/// Appends `bytes` as base64 to `out`.
pub(crate) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let room = out.get_mut(start..).unwrap_or_default();
    let written = LENIENT.encode_slice(bytes, room).unwrap_or(0);
    out.truncate(start + written);
}

/// Replaces what stands in `out` from `start` by its base64, without another buffer.
pub(crate) fn encode_in_place(out: &mut Vec<u8>, start: usize) {
    let end = out.len();
    let length = (end - start).div_ceil(3) * 4;
    out.resize(end + length, 0);
    if let Some((raw, encoded)) =
        out.get_mut(start..).and_then(|out| out.split_at_mut_checked(end - start))
    {
        // The room fits exactly.
        let _ = LENIENT.encode_slice(raw, encoded);
    }
    out.copy_within(end.., start);
    out.truncate(start + length);
}

/// A SHA-256 digest as base64.
pub(crate) fn encode_digest(digest: &[u8; 32]) -> [u8; 44] {
    let mut text = [b'='; 44];
    // The room fits: 32 bytes take 44 characters.
    let _ = LENIENT.encode_slice(digest, &mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        let rows: [(&str, Option<&str>); 12] = [
            ("cGluZw==", Some("ping")),
            ("cGlu\r\nZw==\n", Some("ping")),
            ("cGluZx==", Some("ping")),
            ("", Some("")),
            ("\n", Some("")),
            ("cGluZw=\n=", Some("ping")),
            ("cGluZw", None),
            ("cGluZw=", None),
            ("cGluZw===", None),
            ("cGlu Zw==", None),
            ("_-__", None),
            ("cGluZw==cGlu", None),
        ];
        for (text, expected) in rows {
            let mut out = Vec::new();
            let got = decode(text.as_bytes(), &mut out).ok().map(|()| out);
            assert_eq!(got.as_deref(), expected.map(str::as_bytes), "{text:?}");
        }
    }

    #[test]
    fn a_refused_text_leaves_nothing_behind() {
        let mut out = b"before".to_vec();
        for text in ["cGluZw=", "cGluZ2NGluZw!", "cGlu\nZw="] {
            assert_eq!(decode(text.as_bytes(), &mut out), Err(NotBase64), "{text}");
            assert_eq!(out, b"before", "{text}");
        }
    }

    #[test]
    fn encodes_with_padding() {
        let mut out = b"x:".to_vec();
        encode(b"ping", &mut out);
        assert_eq!(out, b"x:cGluZw==");
        let mut out = b"x:ping".to_vec();
        encode_in_place(&mut out, 2);
        assert_eq!(out, b"x:cGluZw==");
    }
}
