//! What a real server tells that is secret, and recordings must not hold: items of its configuration that are not
//! asked for, and what stands in URLs, wherever it tells one (`user:password@`, tokens, queries).
//!
//! They are taken out of each reply as it comes, and so out of what nodes are configured with to be compared.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::driver::redacted;

/// How names of items end that hold nothing but a secret.
const SECRET: [&str; 2] = [".pass", "password"];
/// How names of items end that hold addresses, which need no scheme.
const ADDRESSES: [&str; 6] = ["hosts", "host", "peers", "remotes", "url", "advertise"];

/// Whether an item of a configuration is not to be asked for.
pub(super) fn is_secret(item: &str) -> bool {
    SECRET.iter().any(|end| item.ends_with(end))
}

/// The same reply without secrets; as it is where there are none, or it is no reply.
pub(super) fn clean_reply(payload: String) -> String {
    cleaned(&payload).unwrap_or(payload)
}

/// The reply made anew, with the hash that it has then; `None` if nothing is taken out.
fn cleaned(payload: &str) -> Option<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut transport: Value = serde_json::from_str(payload).ok()?;
    let secure = STANDARD.decode(transport["data"].as_str()?).ok()?;
    let mut secure: Value = serde_json::from_slice(&secure).ok()?;
    let mut reply: Value = serde_json::from_str(&text(&secure["message"])?).ok()?;
    let mut body: Value = serde_json::from_str(&text(&reply["message"])?).ok()?;
    let item = body["data"]["item"].as_str();
    let addresses = item.is_some_and(holds_addresses);
    let before = body.clone();
    clean(&mut body, addresses);
    if body == before {
        return None;
    }
    reply["message"] = body.to_string().into();
    let message = reply.to_string();
    secure["hash"] = STANDARD.encode(Sha256::digest(&message)).into();
    secure["message"] = message.into();
    transport["data"] = STANDARD.encode(secure.to_string()).into();
    Some(transport.to_string())
}

fn holds_addresses(item: &str) -> bool {
    ADDRESSES.iter().any(|end| item.ends_with(end))
}

/// Takes secrets out of every text; `addresses`: what has no scheme may be an address too.
fn clean(value: &mut Value, addresses: bool) {
    match value {
        Value::String(text) => *text = without_secrets(text, addresses),
        Value::Array(items) => items.iter_mut().for_each(|item| clean(item, addresses)),
        Value::Object(members) => members.values_mut().for_each(|member| clean(member, addresses)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The words of a text, those that are URLs without what may be secret in them.
fn without_secrets(text: &str, addresses: bool) -> String {
    let words = text.split_inclusive(|c: char| c == ',' || c.is_whitespace());
    let clean = |word: &str| {
        if !addresses && !word.contains("://") {
            return word.to_owned();
        }
        let url = word.trim_end_matches(|c: char| c == ',' || c.is_whitespace());
        let mut clean = redacted(url);
        if let Some(query) = clean.find(['?', '#']) {
            clean.replace_range(query + 1.., "***");
        }
        clean + &word[url.len()..]
    };
    words.map(clean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use emulator::protocol::client::{ReplyScratch, decode_reply};
    use emulator::protocol::reply::ReplyTemplate;
    use emulator::protocol::request::Request;

    #[test]
    fn urls_lose_what_may_be_secret_and_other_texts_nothing() {
        for (text, addresses, expected) in [
            ("nats://ops:word@n1:4222", false, "nats://***@n1:4222"),
            ("nats://token@n1:4222,nats://n2:4222", false, "nats://***@n1:4222,nats://n2:4222"),
            ("tls://a:b@n1:1, tls://c:d@n2:2", false, "tls://***@n1:1, tls://***@n2:2"),
            ("https://sign.test/x?token=word#y", false, "https://sign.test/x?***"),
            ("https://sign.test/#word", false, "https://sign.test/#***"),
            ("nats://ops:w?o#rd@n1:4222", false, "nats://***@n1:4222"),
            ("ops:w@rd@n1:4222,token@n2", true, "***@n1:4222,***@n2"),
            ("n1:4222,n2:4222", true, "n1:4222,n2:4222"),
            ("nats://n1:4222", true, "nats://n1:4222"),
            ("R.I.Pienaar <rip@devco.net>", false, "R.I.Pienaar <rip@devco.net>"),
            (
                "see https://choria.io or ask rip@devco.net?",
                false,
                "see https://choria.io or ask rip@devco.net?",
            ),
            ("", true, ""),
        ] {
            assert_eq!(without_secrets(text, addresses), expected, "{text}");
        }
    }

    /// The reply of a node to a recorded request, with this body.
    fn reply(body: &str) -> String {
        let (_, exchanges) = emulator::fidelity::RECORDINGS[0];
        let case = emulator::fidelity::parse(exchanges).unwrap().remove(0);
        let request = Request::decode(&case.payload().unwrap()).unwrap();
        let mut out = Vec::new();
        ReplyTemplate::new(&request, body).write("web1", "nats://n1:4222", 1, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_reply_without_its_secrets_is_one_that_clients_read() {
        for (body, expected) in [
            (
                r#"{"statuscode":0,"data":{"item":"plugin.choria.middleware_hosts","value":["ops:word@n1:4222"]}}"#,
                r#"{"statuscode":0,"data":{"item":"plugin.choria.middleware_hosts","value":["***@n1:4222"]}}"#,
            ),
            (
                r#"{"statuscode":0,"data":{"fact":"proxy","value":"http://ops:word@proxy"}}"#,
                r#"{"statuscode":0,"data":{"fact":"proxy","value":"http://***@proxy"}}"#,
            ),
        ] {
            let clean = clean_reply(reply(body));
            let mut scratch = ReplyScratch::default();
            let read = decode_reply(clean.as_bytes(), &mut scratch).unwrap();
            assert_eq!((read.body, &*read.sender), (expected, "web1"));
        }
    }

    #[test]
    fn a_reply_without_secrets_stays_as_it_is() {
        for whole in [
            reply("pong"),
            reply(r#"{"statuscode":0,"data":{"item":"identity","value":"a@b"}, "x":1.50}"#),
            "nats://ops:word@n1 is no reply".to_owned(),
        ] {
            assert_eq!(clean_reply(whole.clone()), whole);
        }
    }
}
