//! The node's end: which payloads a real server takes for a request (protocol document 3.3 to 3.7 and
//! 14; recorded in `captures/edge-cases.jsonl`), and what is in them.
//!
//! Two judges sit behind one another in a real server: a JSON schema, which knows exact member names
//! only, and Go's decoder, which takes any letter case and lets the last of two win. Hence each
//! member is read twice over: `exact` is what the schema sees, `value` what the server goes on with.
//! Signatures are not looked at: this is the unsecured protocol.

use super::filter::{Filter, FilterReader};
use super::json::{self, Reader, Text};
use super::transport::{Federation, Headers, Transport, TransportError};
use super::{REQUEST, SECURE_REQUEST, base64, escape, member};

/// Shortest validity that the schema allows, in seconds.
const TTL_S_MIN: i64 = 30;

/// Length of a request id, in characters.
const REQUEST_ID_CHARS: usize = 32;

/// A request that a real server would look at further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The request's id.
    pub request_id: String,
    /// The collective asked.
    pub collective: String,
    /// The agent asked.
    pub agent: String,
    /// Seconds for which the request is valid.
    pub ttl_s: i64,
    /// When it was made.
    pub time_unix: i64,
    /// Which nodes are asked.
    pub filter: Filter,
    /// The payload, after the base64 rule (protocol document 3.15).
    pub payload: Vec<u8>,
    /// Where replies go, as it stands in the transport.
    pub reply_to: Option<String>,
    /// Whether a real server can build a reply: it writes the request again and checks that.
    pub repliable: bool,
    /// What a reply repeats of a request that came through a federation.
    pub federated: Option<Federated>,
}

/// What replies to a federated request repeat (protocol document 11).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Federated {
    /// The hops so far: JSON arrays, each followed by a comma.
    pub hops: Vec<u8>,
    /// The federation header as JSON.
    pub header: Vec<u8>,
}

/// Why a payload is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Not a transport of version 1.
    Transport,
    /// A transport with `"headers":null`, on which a real server ends.
    HeadersNull,
    /// No secure request inside.
    SecureRequest,
    /// No request inside that.
    Request,
}

impl From<TransportError> for Refusal {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::HeadersNull => Self::HeadersNull,
            TransportError::Version2 => Self::SecureRequest,
            TransportError::Json | TransportError::Protocol | TransportError::Base64 => {
                Self::Transport
            }
        }
    }
}

impl Request {
    /// Reads a payload as a real server does.
    ///
    /// # Errors
    ///
    /// The layer at which a real server drops it. Nothing else can happen, whatever the bytes; what
    /// is kept is at most a small multiple of them.
    pub fn decode(payload: &[u8]) -> Result<Self, Refusal> {
        let transport = Transport::read(payload)?;
        let mut secure = Vec::new();
        transport.decode_data(&mut secure)?;
        let mut document = String::new();
        read_secure(&secure).ok_or(Refusal::SecureRequest)?.decode_into(&mut document);
        drop(secure);
        let mut request = read_request(document.as_bytes()).ok_or(Refusal::Request)?;
        request.reply_to = transport.headers.reply_to.map(|text| text.decode().into_owned());
        request.federated = federated(&transport.headers);
        Ok(request)
    }
}

/// A text member, as schema and decoder see it.
#[derive(Debug, Default, Clone, Copy)]
struct TextSlot<'a> {
    value: Option<Text<'a>>,
    exact: Option<Text<'a>>,
}

impl<'a> TextSlot<'a> {
    fn read(&mut self, reader: &mut Reader<'a>, exact: bool) -> json::Result<()> {
        let mut text = None;
        member::text(reader, &mut text)?;
        if exact {
            self.exact = text;
        }
        self.value = text.or(self.value);
        Ok(())
    }

    /// What the server goes on with, if the schema accepts the member as a text that is not empty.
    fn filled(&self) -> Option<Text<'a>> {
        self.exact.filter(|text| !text.is_empty()).and(self.value)
    }
}

/// An integer member, as schema and decoder see it.
#[derive(Debug, Default, Clone, Copy)]
struct NumberSlot {
    value: Option<i64>,
    exact: Option<i64>,
}

impl NumberSlot {
    fn read(&mut self, reader: &mut Reader<'_>, exact: bool) -> json::Result<()> {
        let mut number = None;
        member::integer(reader, &mut number)?;
        if exact {
            self.exact = number;
        }
        self.value = number.or(self.value);
        Ok(())
    }
}

/// The message of a secure request, if it is one.
fn read_secure(document: &[u8]) -> Option<Text<'_>> {
    let mut protocol = TextSlot::default();
    let mut message = TextSlot::default();
    let mut signature = TextSlot::default();
    let mut certificate = TextSlot::default();
    let mut reader = Reader::new(document);
    let mut members = reader.object().ok()?;
    while let Some(name) = reader.member(&mut members).ok()? {
        let (slot, exact) = if name.folds_to("message") {
            (&mut message, name.is("message"))
        } else if name.folds_to("signature") {
            (&mut signature, name.is("signature"))
        } else if name.folds_to("pubcert") {
            (&mut certificate, name.is("pubcert"))
        } else if name.folds_to("protocol") {
            (&mut protocol, name.is("protocol"))
        } else {
            reader.skip().ok()?;
            continue;
        };
        slot.read(&mut reader, exact).ok()?;
    }
    reader.end().ok()?;
    signature.filled()?;
    certificate.filled()?;
    protocol.exact.filter(|protocol| protocol.is(SECURE_REQUEST))?;
    message.filled()
}

#[derive(Default)]
struct EnvelopeReader<'a> {
    request_id: TextSlot<'a>,
    sender_id: TextSlot<'a>,
    caller_id: TextSlot<'a>,
    collective: TextSlot<'a>,
    agent: TextSlot<'a>,
    ttl: NumberSlot,
    time: NumberSlot,
    filter: FilterReader,
}

impl<'a> EnvelopeReader<'a> {
    /// Reads an envelope into what an earlier one left; the schema sees the last exact one only.
    fn read(&mut self, reader: &mut Reader<'a>, exact: bool) -> json::Result<()> {
        if exact {
            self.forget_exact();
        }
        if member::is_null(reader)? {
            return Ok(());
        }
        let mut members = reader.object()?;
        while let Some(name) = reader.member(&mut members)? {
            self.read_member(reader, &name, exact)?;
        }
        Ok(())
    }

    fn read_member(
        &mut self,
        reader: &mut Reader<'a>,
        name: &Text<'a>,
        exact: bool,
    ) -> json::Result<()> {
        let texts = [
            ("requestid", &mut self.request_id),
            ("senderid", &mut self.sender_id),
            ("callerid", &mut self.caller_id),
            ("collective", &mut self.collective),
            ("agent", &mut self.agent),
        ];
        for (known, slot) in texts {
            if name.folds_to(known) {
                return slot.read(reader, exact && name.is(known));
            }
        }
        for (known, slot) in [("ttl", &mut self.ttl), ("time", &mut self.time)] {
            if name.folds_to(known) {
                return slot.read(reader, exact && name.is(known));
            }
        }
        if !name.folds_to("filter") {
            return reader.skip().map(|_| ());
        }
        let exact = exact && name.is("filter");
        if exact {
            self.filter.forget_exact();
        }
        if member::is_null(reader)? { Ok(()) } else { self.filter.read(reader, exact) }
    }

    fn forget_exact(&mut self) {
        let texts = [
            &mut self.request_id,
            &mut self.sender_id,
            &mut self.caller_id,
            &mut self.collective,
            &mut self.agent,
        ];
        for slot in texts {
            slot.exact = None;
        }
        self.ttl.exact = None;
        self.time.exact = None;
        self.filter.forget_exact();
    }

    /// The request, if the schema accepts the envelope.
    fn finish(self, payload: Vec<u8>) -> Option<Request> {
        self.request_id.exact.filter(is_request_id)?;
        self.sender_id.exact?;
        self.time.exact?;
        self.ttl.exact.filter(|ttl_s| *ttl_s >= TTL_S_MIN)?;
        if !self.filter.is_valid() {
            return None;
        }
        let caller_id = self.caller_id.filled()?;
        let request_id = self.request_id.value?;
        let collective = self.collective.filled()?;
        let agent = self.agent.filled()?;
        let ttl_s = self.ttl.value?;
        let repliable = self.filter.is_complete()
            && ttl_s >= TTL_S_MIN
            && is_request_id(&request_id)
            && ![caller_id, collective, agent].iter().any(Text::is_empty);
        Some(Request {
            request_id: request_id.decode().into_owned(),
            collective: collective.decode().into_owned(),
            agent: agent.decode().into_owned(),
            ttl_s,
            time_unix: self.time.value?,
            filter: self.filter.finish(),
            payload,
            reply_to: None,
            repliable,
            federated: None,
        })
    }
}

fn is_request_id(text: &Text<'_>) -> bool {
    text.decode().chars().take(REQUEST_ID_CHARS + 1).count() == REQUEST_ID_CHARS
}

fn read_request(document: &[u8]) -> Option<Request> {
    let mut protocol = TextSlot::default();
    let mut message = TextSlot::default();
    let mut envelope = EnvelopeReader::default();
    let mut reader = Reader::new(document);
    let mut members = reader.object().ok()?;
    while let Some(name) = reader.member(&mut members).ok()? {
        if name.folds_to("message") {
            message.read(&mut reader, name.is("message")).ok()?;
        } else if name.folds_to("envelope") {
            envelope.read(&mut reader, name.is("envelope")).ok()?;
        } else if name.folds_to("protocol") {
            protocol.read(&mut reader, name.is("protocol")).ok()?;
        } else {
            reader.skip().ok()?;
        }
    }
    reader.end().ok()?;
    protocol.exact.filter(|protocol| protocol.is(REQUEST))?;
    envelope.finish(unwrap_payload(&message.filled()?))
}

/// The base64 rule (protocol document 3.15): a payload that is base64 is what it stands for.
fn unwrap_payload(message: &Text<'_>) -> Vec<u8> {
    let text = message.decode();
    let mut payload = Vec::new();
    match base64::decode(text.as_bytes(), &mut payload) {
        Ok(()) => payload,
        Err(_) => text.into_owned().into_bytes(),
    }
}

fn federated(headers: &Headers<'_>) -> Option<Federated> {
    let federation = headers.federation.as_ref()?;
    let mut federated = Federated::default();
    // Both lists were checked when the transport was read.
    let _ = copy_hops(headers.seen_by.unwrap_or(b"[]"), &mut federated.hops);
    let _ = copy_federation(federation, &mut federated.header);
    Some(federated)
}

/// Copies hops, each of exactly three texts: Go pads short ones and drops what is beyond.
fn copy_hops(list: &[u8], out: &mut Vec<u8>) -> json::Result<()> {
    let mut reader = Reader::new(list);
    let mut hops = reader.array()?;
    while reader.element(&mut hops)? {
        let mut hop = [None; 3];
        if !member::is_null(&mut reader)? {
            let mut elements = reader.array()?;
            let mut slots = hop.iter_mut();
            while reader.element(&mut elements)? {
                match slots.next() {
                    Some(slot) => member::text(&mut reader, slot)?,
                    None => reader.skip().map(|_| ())?,
                }
            }
        }
        for (before, text) in ["[", ",", ","].into_iter().zip(hop) {
            out.extend_from_slice(before.as_bytes());
            push_text(text, out);
        }
        out.extend_from_slice(b"],");
    }
    Ok(())
}

/// Copies a federation header without what is empty.
fn copy_federation(federation: &Federation<'_>, out: &mut Vec<u8>) -> json::Result<()> {
    let mut members = Vec::new();
    for (name, text) in [("req", federation.request_id), ("reply-to", federation.reply_to)] {
        if text.is_some_and(|text| !text.is_empty()) {
            let mut member = format!("\"{name}\":").into_bytes();
            push_text(text, &mut member);
            members.push(member);
        }
    }
    let mut targets = Vec::new();
    let mut reader = Reader::new(federation.target.unwrap_or(b"[]"));
    let mut elements = reader.array()?;
    while reader.element(&mut elements)? {
        let mut target = None;
        member::text(&mut reader, &mut target)?;
        targets.push(if targets.is_empty() { b'[' } else { b',' });
        push_text(target, &mut targets);
    }
    if !targets.is_empty() {
        members.push([b"\"target\":", &*targets, b"]"].concat());
    }
    out.push(b'{');
    out.extend_from_slice(&members.join(&b','));
    out.push(b'}');
    Ok(())
}

fn push_text(text: Option<Text<'_>>, out: &mut Vec<u8>) {
    escape::push_quoted(&text.map(|text| text.decode()).unwrap_or_default(), out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn federation(header: &str) -> Option<(String, String)> {
        let payload = format!(
            r#"{{"protocol":"choria:transport:1","data":"","headers":{{"seen-by":[["a"],null,
            ["b","c","d",5]],"federation":{header}}}}}"#
        );
        let transport = Transport::read(payload.as_bytes()).unwrap();
        let federated = federated(&transport.headers)?;
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Some((text(federated.hops), text(federated.header)))
    }

    #[test]
    fn federation_headers_are_repeated_without_what_is_empty() {
        let hops = r#"["a","",""],["","",""],["b","c","d"],"#;
        for (header, expected) in [
            ("{}", Some("{}")),
            ("null", None),
            (r#"{"req":"r"}"#, Some(r#"{"req":"r"}"#)),
            (r#"{"req":"","target":[]}"#, Some("{}")),
            (r#"{"target":["t","u"]}"#, Some(r#"{"target":["t","u"]}"#)),
            (
                r#"{"target":["t"],"reply-to":"x","REQ":"r"}"#,
                Some(r#"{"req":"r","reply-to":"x","target":["t"]}"#),
            ),
        ] {
            let expected = expected.map(|header| (hops.to_owned(), header.to_owned()));
            assert_eq!(federation(header), expected, "{header}");
        }
    }

    #[test]
    fn the_payload_is_what_base64_stands_for() {
        for (message, expected) in [
            ("cGluZw==", &b"ping"[..]),
            ("ping", b"\xa6\x29\xe0"),
            ("ping!", b"ping!"),
            ("{}", b"{}"),
        ] {
            let quoted = format!("\"{message}\"");
            let text = Reader::new(quoted.as_bytes()).text().unwrap();
            assert_eq!(unwrap_payload(&text), expected, "{message}");
        }
    }
}
