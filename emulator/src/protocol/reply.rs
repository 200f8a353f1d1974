//! Replies as a node writes them (protocol document 3.6), made cheap for many nodes that answer the
//! same: all that comes before the node's identity is hashed, escaped and encoded once.
//!
//! A reply is three documents in one another: reply (as a JSON string) in secure reply (as base64) in
//! transport. Written in the order of the real server, each begins with what is the same for all
//! nodes and ends with identity, time and hash. So a [`ReplyTemplate`] keeps the state of SHA-256
//! after the common beginning and the finished base64 of it, and [`ReplyTemplate::write`] hashes and
//! encodes only the rest: about 200 bytes, whatever the size of the answer.

use super::request::{Federated, Request};
use super::{REPLY, SECURE_REPLY, TRANSPORT, base64, escape};
use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// One answer to one request, to be written for any number of nodes.
#[derive(Debug, Clone)]
pub struct ReplyTemplate {
    /// SHA-256 over the reply document up to the identity.
    hasher: Sha256,
    /// The transport up to the last whole group of three bytes before the identity, in base64.
    head: Vec<u8>,
    /// The bytes of the secure reply, fewer than three, that follow `head`.
    rest: Vec<u8>,
    /// The reply document from identity to time, and the same as it stands in the secure reply.
    middle: Vec<u8>,
    middle_escaped: Vec<u8>,
    federated: Option<Federated>,
}

impl ReplyTemplate {
    /// Prepares the answer `body` to a request.
    pub fn new(request: &Request, body: &str) -> Self {
        // Each document has its place at once and is gone when the next one around it is there: a large
        // answer is in memory twice at the most.
        let mut document = Vec::with_capacity(escape::length(body.as_bytes()) + 256);
        document.extend_from_slice(br#"{"protocol":""#);
        document.extend_from_slice(REPLY.as_bytes());
        document.extend_from_slice(br#"","message":"#);
        escape::push_quoted(body, &mut document);
        document.extend_from_slice(br#","envelope":{"requestid":"#);
        escape::push_quoted(&request.request_id, &mut document);
        document.extend_from_slice(br#","senderid":""#);

        let hasher = Sha256::new_with_prefix(&document);
        let mut secure = Vec::with_capacity(escape::length(&document) + 64);
        secure.extend_from_slice(br#"{"protocol":""#);
        secure.extend_from_slice(SECURE_REPLY.as_bytes());
        secure.extend_from_slice(br#"","message":""#);
        escape::push_bytes(&document, &mut secure);
        drop(document);
        let rest = secure.split_off(secure.len() - secure.len() % 3);

        let mut head = Vec::with_capacity(secure.len() / 3 * 4 + 64);
        head.extend_from_slice(br#"{"protocol":""#);
        head.extend_from_slice(TRANSPORT.as_bytes());
        head.extend_from_slice(br#"","data":""#);
        base64::encode(&secure, &mut head);

        let mut middle = br#"","agent":"#.to_vec();
        escape::push_quoted(&request.agent, &mut middle);
        middle.extend_from_slice(br#","time":"#);
        let mut middle_escaped = Vec::new();
        escape::push_bytes(&middle, &mut middle_escaped);

        let federated = request.federated.clone();
        Self { hasher, head, rest, middle, middle_escaped, federated }
    }

    /// Appends the transport of one node's reply to `out`, which is all that it allocates in.
    ///
    /// `broker` is the URL of the node's broker, as it stands in `seen-by`.
    pub fn write(&self, identity: &str, broker: &str, now_unix: i64, out: &mut Vec<u8>) {
        let identity = escaped(identity);
        let mut digits = [0; 20];
        let time = decimal(now_unix, &mut digits);

        let mut hasher = self.hasher.clone();
        hasher.update(&identity);
        hasher.update(&self.middle);
        hasher.update(time);
        hasher.update(b"}}");
        let hash = base64::encode_digest(&hasher.finalize().into());

        out.reserve(self.head.len() + 512);
        out.extend_from_slice(&self.head);
        let tail = out.len();
        out.extend_from_slice(&self.rest);
        escape::push_bytes(&identity, out);
        out.extend_from_slice(&self.middle_escaped);
        out.extend_from_slice(time);
        out.extend_from_slice(br#"}}","hash":""#);
        out.extend_from_slice(&hash);
        out.extend_from_slice(br#""}"#);
        base64::encode_in_place(out, tail);

        self.write_headers(&identity, &escaped(broker), out);
    }

    fn write_headers(&self, identity: &[u8], broker: &[u8], out: &mut Vec<u8>) {
        let hops = self.federated.as_ref().map_or(&[][..], |federated| &federated.hops);
        let pieces: [&[u8]; 11] = [
            br#"","headers":{"mc_sender":""#,
            identity,
            br#"","seen-by":["#,
            hops,
            br#"[""#,
            broker,
            br#"",""#,
            identity,
            br#"",""#,
            broker,
            br#""]]"#,
        ];
        for piece in pieces {
            out.extend_from_slice(piece);
        }
        if let Some(federated) = &self.federated {
            out.extend_from_slice(br#","federation":"#);
            out.extend_from_slice(&federated.header);
        }
        out.extend_from_slice(b"}}");
    }
}

/// `text` as the inside of a JSON string; ordinary names are borrowed.
fn escaped(text: &str) -> Cow<'_, [u8]> {
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut escaped = Vec::new();
    escape::push(text, &mut escaped);
    Cow::Owned(escaped)
}

/// Writes `number` in decimal at the end of `digits`.
fn decimal(number: i64, digits: &mut [u8; 20]) -> &[u8] {
    let mut rest = number.unsigned_abs();
    let mut from = digits.len();
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        from = at;
        if rest == 0 {
            break;
        }
    }
    if number < 0
        && let Some(sign) = from.checked_sub(1)
        && let Some(digit) = digits.get_mut(sign)
    {
        *digit = b'-';
        from = sign;
    }
    digits.get(from..).unwrap_or_default()
}

/// Whether a real server's NATS library publishes to `subject`: white space would end it in the
/// protocol line, and with a line break a request could make the node send lines of its own
/// (protocol document 14, "reply subject").
pub fn reply_subject_is_publishable(subject: &str) -> bool {
    !subject.is_empty() && !subject.bytes().any(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::client::{self, ReplyScratch};
    use proptest::prelude::*;

    fn request(agent: &str) -> Request {
        Request {
            request_id: "5c2b1f0e9a7d4c3b8e6f1a2b3c4d5e6f".into(),
            collective: "mcollective".into(),
            agent: agent.into(),
            ttl_s: 60,
            time_unix: 0,
            filter: crate::filter::Filter::default(),
            payload: Vec::new(),
            reply_to: None,
            repliable: true,
            federated: None,
        }
    }

    #[test]
    fn the_reply_is_byte_equal_to_the_vector() {
        let template = ReplyTemplate::new(&request("discovery"), "pong");
        let mut out = b"before".to_vec();
        template.write("web1.example.net", "nats://127.0.0.1:4222", 1_718_444_000, &mut out);
        let vector = include_str!("../../testdata/reply-vector.json").trim_end();
        assert_eq!(String::from_utf8(out).unwrap(), format!("before{vector}"));
    }

    #[test]
    fn numbers_are_written_in_decimal() {
        for number in [0, 7, 10, -1, 1_718_444_000, i64::MAX, i64::MIN] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string().as_bytes());
        }
    }

    #[test]
    fn subjects_that_could_inject_protocol_lines_are_not_published() {
        for (subject, publishable) in [
            ("mcollective.reply.x.y", true),
            ("results.edge.>", true),
            ("", false),
            ("a b", false),
            ("a\tb", false),
            ("a\r\nPUB b 0", false),
        ] {
            assert_eq!(reply_subject_is_publishable(subject), publishable, "{subject:?}");
        }
    }

    proptest! {
        #[test]
        fn the_client_reads_what_the_node_writes(
            body in "\\PC{0,40}|[\\x00-\\x7f]{0,40}",
            identity in "[a-z0-9.-]{1,80}|\\PC{0,8}|[\\x00-\\x7f]{0,8}",
            agent in "[a-z]{1,9}|\\PC{0,4}",
            now in any::<i64>(),
        ) {
            let template = ReplyTemplate::new(&request(&agent), &body);
            let mut out = Vec::new();
            template.write(&identity, "nats://h:1", now, &mut out);
            let mut scratch = ReplyScratch::default();
            let reply = client::decode_reply(&out, &mut scratch).unwrap();
            prop_assert_eq!(&*reply.sender, &identity);
            prop_assert_eq!(&*reply.sender_id, &identity);
            prop_assert_eq!(reply.agent, agent);
            prop_assert_eq!(reply.body, body);
        }
    }
}
