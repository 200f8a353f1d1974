//! The outermost document (protocol document 3.3), read as the real peers read it: members in any
//! letter case, the last of two wins, unknown ones skipped, known ones of the wrong type refused.

use super::base64;
use super::json::{Reader, Result as JsonResult, SyntaxError, Text};
use super::member::{is_null, text};
use std::borrow::Cow;

/// A transport, its texts where they stand in the payload.
#[derive(Debug, Default)]
pub(crate) struct Transport<'a> {
    data: Option<Text<'a>>,
    pub(crate) headers: Headers<'a>,
}

/// The headers of a transport.
#[derive(Debug, Default)]
pub(crate) struct Headers<'a> {
    pub(crate) reply_to: Option<Text<'a>>,
    pub(crate) sender: Option<Text<'a>>,
    /// The hops, as a checked JSON array of arrays of texts.
    pub(crate) seen_by: Option<&'a [u8]>,
    pub(crate) federation: Option<Federation<'a>>,
}

/// The federation header (protocol document 11).
#[derive(Debug, Default)]
pub(crate) struct Federation<'a> {
    pub(crate) request_id: Option<Text<'a>>,
    pub(crate) reply_to: Option<Text<'a>>,
    /// Left-over targets, as a checked JSON array of texts.
    pub(crate) target: Option<&'a [u8]>,
}

/// Why a payload is not a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransportError {
    /// Not JSON of the right shape.
    Json,
    /// Not version 1 of the protocol.
    Protocol,
    /// The complete transport of a version 2 peer.
    Version2,
    /// `"headers":null`, which ends a real process (protocol document 14).
    HeadersNull,
    /// The data is not base64.
    Base64,
}

impl From<SyntaxError> for TransportError {
    fn from(_: SyntaxError) -> Self {
        Self::Json
    }
}

impl<'a> Transport<'a> {
    /// Reads a transport.
    pub(crate) fn read(payload: &'a [u8]) -> Result<Self, TransportError> {
        let mut transport = Self::default();
        let mut protocol = None;
        let mut headers_null = false;
        let mut reader = Reader::new(payload);
        let mut members = reader.object()?;
        while let Some(name) = reader.member(&mut members)? {
            if name.folds_to("data") {
                // Bytes in Go, so that each has to be base64, and a null empties what a first member gave.
                transport.decode_data(&mut Vec::new())?;
                transport.data = None;
                text(&mut reader, &mut transport.data)?;
            } else if name.folds_to("headers") {
                headers_null = is_null(&mut reader)?;
                if headers_null {
                    transport.headers = Headers::default();
                } else {
                    transport.headers.read(&mut reader)?;
                }
            } else if name.folds_to("protocol") {
                text(&mut reader, &mut protocol)?;
            } else {
                reader.skip()?;
            }
        }
        reader.end()?;
        match protocol {
            Some(protocol) if protocol.is(super::TRANSPORT) => {}
            Some(protocol) if protocol.is("io.choria.protocol.v2.transport") => {
                return Err(TransportError::Version2);
            }
            _ => return Err(TransportError::Protocol),
        }
        if headers_null { Err(TransportError::HeadersNull) } else { Ok(transport) }
    }

    /// Appends the data to `out`; nothing if there is none.
    pub(crate) fn decode_data(&self, out: &mut Vec<u8>) -> Result<(), TransportError> {
        let data = self.data.as_ref().map(Text::decode).unwrap_or(Cow::Borrowed(""));
        base64::decode(data.as_bytes(), out).map_err(|_| TransportError::Base64)
    }
}

impl<'a> Headers<'a> {
    fn read(&mut self, reader: &mut Reader<'a>) -> JsonResult<()> {
        let mut members = reader.object()?;
        while let Some(name) = reader.member(&mut members)? {
            if name.folds_to("mc_sender") {
                text(reader, &mut self.sender)?;
            } else if name.folds_to("seen-by") {
                self.seen_by = list(reader, check_hop)?;
            } else if name.folds_to("reply-to") {
                text(reader, &mut self.reply_to)?;
            } else if name.folds_to("federation") {
                if is_null(reader)? {
                    self.federation = None;
                } else {
                    self.federation.get_or_insert_default().read(reader)?;
                }
            } else {
                reader.skip()?;
            }
        }
        Ok(())
    }
}

impl<'a> Federation<'a> {
    fn read(&mut self, reader: &mut Reader<'a>) -> JsonResult<()> {
        let mut members = reader.object()?;
        while let Some(name) = reader.member(&mut members)? {
            if name.folds_to("req") {
                text(reader, &mut self.request_id)?;
            } else if name.folds_to("reply-to") {
                text(reader, &mut self.reply_to)?;
            } else if name.folds_to("target") {
                self.target = list(reader, |reader| text(reader, &mut None))?;
            } else {
                reader.skip()?;
            }
        }
        Ok(())
    }
}

/// Checks an array element by element and returns its bytes; `None` for null.
fn list<'a>(
    reader: &mut Reader<'a>,
    mut check: impl FnMut(&mut Reader<'a>) -> JsonResult<()>,
) -> JsonResult<Option<&'a [u8]>> {
    if is_null(reader)? {
        return Ok(None);
    }
    let start = reader.clone();
    let mut elements = reader.array()?;
    while reader.element(&mut elements)? {
        check(reader)?;
    }
    Ok(Some(start.until(reader)))
}

/// A hop is an array of three texts; Go pads a short one and drops what is beyond.
fn check_hop(reader: &mut Reader<'_>) -> JsonResult<()> {
    if is_null(reader)? {
        return Ok(());
    }
    let mut elements = reader.array()?;
    let mut count = 0;
    while reader.element(&mut elements)? {
        if count < 3 {
            text(reader, &mut None)?;
        } else {
            reader.skip()?;
        }
        count += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_data_each_has_to_be_base64_and_the_last_counts() {
        for (members, expected) in [
            (r#""data":"YQ==""#, Ok("a")),
            (r#""data":"YQ==","DATA":"Yg==""#, Ok("b")),
            (r#""data":"YQ","data":"Yg==""#, Err(TransportError::Base64)),
            (r#""data":"YQ","data":null"#, Err(TransportError::Base64)),
            (r#""data":"YQ==","data":null"#, Ok("")),
            (r#""data":null,"data":"Yg==""#, Ok("b")),
            (r#""data":"YQ==","data":"Yg""#, Err(TransportError::Base64)),
        ] {
            let payload =
                format!(r#"{{"protocol":"choria:transport:1",{members},"headers":{{}}}}"#);
            let mut data = Vec::new();
            let read = Transport::read(payload.as_bytes());
            let found = read.and_then(|transport| transport.decode_data(&mut data));
            assert_eq!(found.map(|()| data.as_slice()), expected.map(str::as_bytes), "{members}");
        }
    }
}
