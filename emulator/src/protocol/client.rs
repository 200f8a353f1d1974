//! The client's end: requests as a real client sends them, replies as a real client reads them
//! (protocol document 3.5 to 3.7, 5.6, 14; recorded behaviour in `captures/reply-cases.jsonl`).
//!
//! It neither sends nor counts; who was expected and how long to wait is the driver's business.

use super::filter::Filter;
use super::json::{self, Kind, Reader, SyntaxError, Text};
use super::transport::{Transport, TransportError};
use super::{REQUEST, SECURE_REPLY, SECURE_REQUEST, TRANSPORT, base64, escape, member};
use md5::Md5;
use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// Payload of a discovery request: the text that a server's base64 rule turns into `ping`
/// (protocol document 3.15).
pub const DISCOVERY_BODY: &str = "cGluZw==";

/// A request without what differs from one sending to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestDraft {
    /// Who asks, for example `choria=ops1.example.net`.
    pub caller_id: String,
    /// Identity of the machine that asks.
    pub sender_id: String,
    /// The collective asked.
    pub collective: String,
    /// The agent asked.
    pub agent: String,
    /// Seconds for which the request is valid; servers refuse less than 30.
    pub ttl_s: u32,
    /// Which nodes are asked.
    pub filter: Filter,
    /// The payload: [`DISCOVERY_BODY`] or an [`rpc_body`].
    pub body: String,
}

/// Subject of the replies to a request (protocol document 2.3).
pub fn reply_subject(collective: &str, caller_id: &str, request_id: &str) -> String {
    let mut subject = format!("{collective}.reply.");
    for byte in Md5::digest(caller_id.as_bytes()) {
        subject.push_str(&format!("{byte:02x}"));
    }
    subject.push('.');
    subject.push_str(request_id);
    subject
}

/// Subject of a request to every node that hosts the agent.
pub fn broadcast_subject(collective: &str, agent: &str) -> String {
    format!("{collective}.broadcast.agent.{agent}")
}

/// Subject of a request to one node.
pub fn node_subject(collective: &str, identity: &str) -> String {
    format!("{collective}.node.{identity}")
}

/// Payload of a request to an RPC agent (protocol document 4.1).
pub fn rpc_body(agent: &str, action: &str, data: &serde_json::Value) -> String {
    serde_json::json!({ "agent": agent, "action": action, "data": data }).to_string()
}

/// The NATS payload of a request: the same bytes for every node asked.
///
/// `broker_url` is the broker that the client is connected to, as it stands in `seen-by`.
pub fn encode_request(
    draft: &RequestDraft,
    request_id: &str,
    reply_to: &str,
    broker_url: &str,
    now_unix: i64,
) -> Vec<u8> {
    let request = encode_inner_request(draft, request_id, now_unix);
    let mut secure = Vec::with_capacity(request.len() * 2);
    secure.extend_from_slice(br#"{"protocol":""#);
    secure.extend_from_slice(SECURE_REQUEST.as_bytes());
    secure.extend_from_slice(br#"","message":""#);
    escape::push_bytes(&request, &mut secure);
    secure.extend_from_slice(br#"","signature":"insecure","pubcert":"insecure"}"#);

    let mut payload = Vec::with_capacity(secure.len() * 4 / 3 + 256);
    payload.extend_from_slice(br#"{"protocol":""#);
    payload.extend_from_slice(TRANSPORT.as_bytes());
    payload.extend_from_slice(br#"","data":""#);
    base64::encode(&secure, &mut payload);
    push_members(&mut payload, &[(r#"","headers":{"reply-to":"#, reply_to)]);
    push_members(&mut payload, &[(r#","mc_sender":"#, &draft.sender_id)]);
    let hop = [(r#","seen-by":[["#, broker_url), (",", &draft.sender_id), (",", broker_url)];
    push_members(&mut payload, &hop);
    payload.extend_from_slice(b"]]}}");
    payload
}

fn encode_inner_request(draft: &RequestDraft, request_id: &str, now_unix: i64) -> Vec<u8> {
    let mut request = Vec::with_capacity(draft.body.len() * 2 + 512);
    request.extend_from_slice(br#"{"protocol":""#);
    request.extend_from_slice(REQUEST.as_bytes());
    let texts = [
        (r#"","message":"#, draft.body.as_str()),
        (r#","envelope":{"requestid":"#, request_id),
        (r#","senderid":"#, &draft.sender_id),
        (r#","callerid":"#, &draft.caller_id),
        (r#","collective":"#, &draft.collective),
        (r#","agent":"#, &draft.agent),
    ];
    push_members(&mut request, &texts);
    let numbers = format!(r#","ttl":{},"time":{now_unix},"filter":"#, draft.ttl_s);
    request.extend_from_slice(numbers.as_bytes());
    draft.filter.write(&mut request);
    request.extend_from_slice(b"}}");
    request
}

fn push_members(out: &mut Vec<u8>, members: &[(&str, &str)]) {
    for (before, text) in members {
        out.extend_from_slice(before.as_bytes());
        escape::push_quoted(text, out);
    }
}

/// Buffers that decoding replies needs, kept from one reply to the next.
#[derive(Debug, Default)]
pub struct ReplyScratch {
    secure: Vec<u8>,
    message: String,
    body: String,
}

/// A reply that the real client would accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply<'a> {
    /// Sender named by the transport; empty if it names none.
    pub sender: Cow<'a, str>,
    /// Sender named by the envelope: the node, as the real client counts RPC replies.
    pub sender_id: Cow<'a, str>,
    /// Request that the reply says it answers; the real client does not check it.
    pub request_id: Cow<'a, str>,
    /// Agent that the reply says it is from.
    pub agent: Cow<'a, str>,
    /// The payload: JSON for RPC agents, `pong` for discovery.
    pub body: &'a str,
    /// Status of an RPC reply; a missing one counts as ok.
    pub statuscode: Option<i64>,
    /// Status text of an RPC reply.
    pub statusmsg: Cow<'a, str>,
    /// Whether the body is an RPC reply at all. One that is not counts as a failed response, and the
    /// real client waits for its whole deadline (protocol document 14, "client tally").
    pub body_valid: bool,
}

impl Reply<'_> {
    /// Whether the real client counts the RPC reply as ok and not as failed.
    pub fn is_ok(&self) -> bool {
        self.body_valid && self.statuscode.unwrap_or(0) == 0
    }
}

/// Why the real client does not accept a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// The payload is not a transport of version 1.
    #[error("reply transport not decodable")]
    Transport,
    /// `"headers":null`, on which the real client ends.
    #[error("reply transport with null headers")]
    HeadersNull,
    /// The transport's data is not a secure reply.
    #[error("secure reply not decodable")]
    Secure,
    /// The hash is not that of the message.
    #[error("reply with a wrong hash")]
    Hash,
    /// The secure reply's message is not a reply.
    #[error("reply envelope not decodable")]
    Envelope,
}

impl From<TransportError> for ReplyError {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::HeadersNull => Self::HeadersNull,
            _ => Self::Transport,
        }
    }
}

/// Reads a reply and checks its hash, as the real client does.
///
/// # Errors
///
/// A [`ReplyError`]: the real client counts such a reply as failed and its node as not responding.
pub fn decode_reply<'a>(
    payload: &'a [u8],
    scratch: &'a mut ReplyScratch,
) -> Result<Reply<'a>, ReplyError> {
    let ReplyScratch { secure, message, body } = scratch;
    secure.clear();
    message.clear();
    body.clear();
    let transport = Transport::read(payload)?;
    transport.decode_data(secure)?;
    let (text, hash) = read_secure_reply(secure).map_err(|_| ReplyError::Secure)?;
    text.decode_into(message);
    if !hash_matches(message.as_bytes(), &hash) {
        return Err(ReplyError::Hash);
    }
    let reply = read_reply(message.as_bytes()).map_err(|_| ReplyError::Envelope)?;
    if let Some(text) = reply.body {
        text.decode_into(body);
    }
    let status = read_status(body.as_bytes());
    let decoded = |text: Option<Text<'a>>| text.map(|text| text.decode()).unwrap_or_default();
    Ok(Reply {
        sender: decoded(transport.headers.sender),
        sender_id: decoded(reply.sender_id),
        request_id: decoded(reply.request_id),
        agent: decoded(reply.agent),
        body,
        statuscode: status.ok().and_then(|status| status.code),
        statusmsg: decoded(status.ok().and_then(|status| status.message)),
        body_valid: status.is_ok(),
    })
}

/// Reads who answered a discovery request. As the real client, it takes any transport whose data is
/// base64 and looks no further; a missing sender is an empty name.
///
/// # Errors
///
/// [`ReplyError::Transport`] or [`ReplyError::HeadersNull`].
pub fn decode_discovery_sender<'a>(
    payload: &'a [u8],
    scratch: &mut ReplyScratch,
) -> Result<Cow<'a, str>, ReplyError> {
    scratch.secure.clear();
    let transport = Transport::read(payload)?;
    transport.decode_data(&mut scratch.secure)?;
    Ok(transport.headers.sender.map(|text| text.decode()).unwrap_or_default())
}

/// Message and hash of a secure reply. A missing protocol is accepted, a wrong one is not.
fn read_secure_reply(document: &[u8]) -> json::Result<(Text<'_>, Text<'_>)> {
    let (mut protocol, mut message, mut hash) = (None, None, None);
    let mut reader = Reader::new(document);
    let mut members = reader.object()?;
    while let Some(name) = reader.member(&mut members)? {
        if name.folds_to("message") {
            member::text(&mut reader, &mut message)?;
        } else if name.folds_to("hash") {
            member::text(&mut reader, &mut hash)?;
        } else if name.folds_to("protocol") {
            member::text(&mut reader, &mut protocol)?;
        } else {
            reader.skip()?;
        }
    }
    reader.end()?;
    if protocol.is_some_and(|protocol| !protocol.is(SECURE_REPLY)) {
        return Err(SyntaxError::WrongKind);
    }
    message.zip(hash).ok_or(SyntaxError::WrongKind)
}

fn hash_matches(message: &[u8], hash: &Text<'_>) -> bool {
    hash.decode().as_bytes() == base64::encode_digest(&Sha256::digest(message).into())
}

#[derive(Default)]
struct Envelope<'a> {
    sender_id: Option<Text<'a>>,
    request_id: Option<Text<'a>>,
    agent: Option<Text<'a>>,
    body: Option<Text<'a>>,
}

fn read_reply(document: &[u8]) -> json::Result<Envelope<'_>> {
    let mut envelope = Envelope::default();
    let mut protocol = None;
    let mut reader = Reader::new(document);
    let mut members = reader.object()?;
    while let Some(name) = reader.member(&mut members)? {
        if name.folds_to("message") {
            member::text(&mut reader, &mut envelope.body)?;
        } else if name.folds_to("envelope") {
            read_envelope(&mut reader, &mut envelope)?;
        } else if name.folds_to("protocol") {
            member::text(&mut reader, &mut protocol)?;
        } else {
            reader.skip()?;
        }
    }
    reader.end()?;
    Ok(envelope)
}

fn read_envelope<'a>(reader: &mut Reader<'a>, envelope: &mut Envelope<'a>) -> json::Result<()> {
    if member::is_null(reader)? {
        return Ok(());
    }
    let mut members = reader.object()?;
    while let Some(name) = reader.member(&mut members)? {
        if name.folds_to("requestid") {
            member::text(reader, &mut envelope.request_id)?;
        } else if name.folds_to("senderid") {
            member::text(reader, &mut envelope.sender_id)?;
        } else if name.folds_to("agent") {
            member::text(reader, &mut envelope.agent)?;
        } else if name.folds_to("time") {
            member::integer::<i64>(reader, &mut None)?;
        } else {
            reader.skip()?;
        }
    }
    Ok(())
}

/// What an RPC reply says about itself.
#[derive(Debug, Clone, Copy, Default)]
struct Status<'a> {
    code: Option<i64>,
    message: Option<Text<'a>>,
}

fn read_status(body: &[u8]) -> json::Result<Status<'_>> {
    let mut status = Status::default();
    let mut code: Option<u8> = None;
    let mut reader = Reader::new(body);
    if reader.kind()? == Kind::Null {
        reader.skip()?;
    } else {
        let mut members = reader.object()?;
        while let Some(name) = reader.member(&mut members)? {
            if name.folds_to("statuscode") {
                member::integer(&mut reader, &mut code)?;
            } else if name.folds_to("statusmsg") {
                member::text(&mut reader, &mut status.message)?;
            } else if name.folds_to("action") {
                member::text(&mut reader, &mut None)?;
            } else {
                reader.skip()?;
            }
        }
    }
    reader.end()?;
    status.code = code.map(i64::from);
    Ok(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Protocol document, appendix A.1 and A.3.
    const VECTORS: &str = include_str!("../../testdata/vectors.jsonl");

    #[test]
    fn requests_are_byte_equal_to_the_vectors() {
        for line in VECTORS.lines() {
            let vector: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = |name: &str| vector[name].as_str().unwrap().to_owned();
            let agent = text("agent");
            let filtered = vec![agent.clone()];
            let direct = agent == "rpcutil";
            let draft = RequestDraft {
                caller_id: "choria=bob.mcollective".into(),
                sender_id: "ops1.example.net".into(),
                collective: "mcollective".into(),
                filter: Filter {
                    agent: if direct { filtered } else { Vec::new() },
                    ..Filter::default()
                },
                agent,
                ttl_s: 60,
                body: text("body"),
            };
            let id = text("requestid");
            let reply_to = reply_subject(&draft.collective, &draft.caller_id, &id);
            let broker = "nats://127.0.0.1:4222";
            let now = vector["time"].as_i64().unwrap();
            let payload = encode_request(&draft, &id, &reply_to, broker, now);
            assert_eq!(String::from_utf8(payload).unwrap(), text("transport"));
        }
        assert_eq!(VECTORS.lines().count(), 2);
    }

    #[test]
    fn subjects_are_those_of_the_protocol_document() {
        assert_eq!(
            reply_subject("mcollective", "choria=bob.mcollective", "5c2b"),
            "mcollective.reply.706fb024b077dc395f8a1ee839771131.5c2b"
        );
        assert_eq!(
            broadcast_subject("mcollective", "discovery"),
            "mcollective.broadcast.agent.discovery"
        );
        assert_eq!(node_subject("eu", "web1.example.net"), "eu.node.web1.example.net");
    }

    #[test]
    fn rpc_bodies_have_the_members_in_the_order_of_the_real_client() {
        let data = serde_json::json!({ "fact": "os.family" });
        assert_eq!(
            rpc_body("rpcutil", "get_fact", &data),
            r#"{"agent":"rpcutil","action":"get_fact","data":{"fact":"os.family"}}"#
        );
    }
}
