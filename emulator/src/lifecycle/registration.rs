//! Registration: an ordinary request that nobody answers, which carries a file or the node's inventory
//! (protocol document 7.1; recorded in `testdata/captures/lifecycle.jsonl`).

use std::cell::RefCell;
use std::io::Write as _;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

use super::event::random_bits;
use super::status;
use crate::agents;
use crate::filter::facts::write_go_json;
use crate::machines::View;
use crate::node::NodeView;
use crate::protocol::client::{RequestDraft, broadcast_subject, encode_request};
use crate::protocol::escape::push_quoted;
use crate::protocol::{base64, filter::Filter};
use crate::spec::{Registration, RegistrationContent};

/// The agent that registrations are addressed to.
const AGENT: &str = "registration";
/// Where replies to registrations go: nowhere.
const REPLY_TO: &str = "dev.null";
/// The real server's `ttl`.
const TTL_S: u32 = 60;

/// The subject that a group's registrations are published on.
#[must_use]
pub fn subject(registration: &Registration, main_collective: &str) -> String {
    let usual = || broadcast_subject(main_collective, AGENT);
    registration.target.clone().unwrap_or_else(usual)
}

/// Which publication of which node.
#[derive(Debug, Clone, Copy)]
pub struct Publication {
    /// Seed of the fleet.
    pub seed: u64,
    /// How many the node published before.
    pub number: u32,
    /// Second of the latest message that the node received; 0: none came.
    pub last_message_unix: i64,
    /// Now.
    pub now_unix: i64,
}

/// The payload of a node's registration: a complete transport.
#[must_use]
pub fn compose(
    node: &NodeView<'_>,
    registration: &Registration,
    publication: Publication,
) -> Vec<u8> {
    let body = match registration.content {
        RegistrationContent::File => file_content(node, registration.compression),
        RegistrationContent::Inventory => inventory_content(node, registration, publication),
    };
    let draft = RequestDraft {
        caller_id: format!("choria={}", node.identity),
        sender_id: node.identity.to_owned(),
        collective: node.group.main_collective().to_owned(),
        agent: AGENT.to_owned(),
        ttl_s: TTL_S,
        filter: Filter::default(),
        body,
    };
    // Apart from the ids of events.
    let number = (1 << 32) | u64::from(publication.number);
    let request_id = format!("{:032x}", random_bits(publication.seed, node.index, number));
    encode_request(&draft, &request_id, REPLY_TO, node.broker, publication.now_unix)
}

fn facts(node: &NodeView<'_>) -> String {
    let mut facts = String::new();
    write_go_json(&node.group.facts().facts(&node.vars()), &mut facts);
    facts
}

/// The file of the facts, which never changes.
fn file_content(node: &NodeView<'_>, compression: bool) -> String {
    let config = &node.group.profile().config;
    let file = config.get(agents::config_item::REGISTERED_FILE).map_or("", String::as_str);
    let mut body = format!(r#"{{"mtime":{},"file":"#, node.started_unix).into_bytes();
    push_quoted(file, &mut body);
    body.extend_from_slice(br#","updated":false,"protocol":"choria:registration:filecontent:1","#);
    let bytes = facts(node).into_bytes();
    if compression {
        push_encoded("zcontent", &gzip(&bytes), &mut body);
    } else {
        push_encoded("content", &bytes, &mut body);
    }
    text(body)
}

fn inventory_content(
    node: &NodeView<'_>,
    registration: &Registration,
    publication: Publication,
) -> String {
    let mut body = br#"{"protocol":"choria:registration:inventorycontent:1","#.to_vec();
    let inventory = inventory(node, publication);
    if registration.compression {
        push_encoded("zcontent", &gzip(inventory.as_bytes()), &mut body);
    } else {
        body.extend_from_slice(b"\"content\":");
        body.extend_from_slice(inventory.as_bytes());
        body.push(b'}');
    }
    text(body)
}

fn inventory(node: &NodeView<'_>, publication: Publication) -> String {
    use agents::json_list as list;
    let profile = node.group.profile();
    format!(
        concat!(
            r#"{{"agents":{},"classes":{},"facts":{},"status":{},"collectives":{},"#,
            r#""build_info":{{"version":{},"sha":"unknown"}},"machines":{}}}"#
        ),
        agents::registered(node),
        list(node.classes_sorted().into_iter().map(Into::into)),
        facts(node),
        status::compose(node, publication.last_message_unix, publication.now_unix),
        list(profile.collectives.iter().map(Into::into)),
        serde_json::Value::from(profile.version.as_str()),
        agents::json_array(node.machines.by_name().iter().map(View::brief)),
    )
}

/// The last member of the body: its name, and bytes as base64.
fn push_encoded(name: &str, bytes: &[u8], body: &mut Vec<u8>) {
    body.push(b'"');
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(b"\":\"");
    base64::encode(bytes, body);
    body.extend_from_slice(b"\"}");
}

/// A stream of gzip without a name or a time, as Go writes it (RFC 1952, 2.3): up to the compressed bytes.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

thread_local! {
    /// A compressor is hundreds of KiB that are cleared when it is made: with one for each, a registration took 188 us
    /// instead of 30 (`cargo bench --bench compose`).
    static DEFLATE: RefCell<DeflateEncoder<Vec<u8>>> =
        RefCell::new(DeflateEncoder::new(Vec::new(), Compression::default()));
}

/// It is gzip although the published schema says zlib (protocol document 7.1).
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut sum = Crc::new();
    sum.update(bytes);
    let deflated = DEFLATE.with_borrow_mut(|deflate| {
        // Writing to a vector cannot fail.
        let _ = deflate.write_all(bytes);
        deflate.reset(Vec::new()).unwrap_or_default()
    });
    [&GZIP_HEADER[..], &deflated, &sum.sum().to_le_bytes(), &sum.amount().to_le_bytes()].concat()
}

/// Everything that is put together here is text.
fn text(body: Vec<u8>) -> String {
    String::from_utf8(body).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn one_compressor_packs_one_text_after_the_other() {
        for text in ["first", "", "first", &"long ".repeat(100_000)] {
            let mut unpacked = String::new();
            let packed = gzip(text.as_bytes());
            GzDecoder::new(&packed[..]).read_to_string(&mut unpacked).unwrap();
            assert_eq!(unpacked, text);
        }
    }
}
