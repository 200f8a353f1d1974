//! Lifecycle events as CloudEvents 1.0 (protocol document 6.1; recorded in
//! `testdata/captures/lifecycle.jsonl`).

use std::io::Write as _;

use crate::node::mix;
use crate::protocol::escape::push_quoted;

/// The component of a server outside of provisioning (protocol document 6.2).
const COMPONENT: &str = "server";

/// Which event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// All subscriptions exist.
    Startup,
    /// The process still runs.
    Alive,
    /// The process is about to end.
    Shutdown,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Startup, Self::Alive, Self::Shutdown];

    /// Its name in subjects and protocols.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Alive => "alive",
            Self::Shutdown => "shutdown",
        }
    }

    /// The subject it is published on.
    #[must_use]
    pub fn subject(self) -> &'static str {
        match self {
            Self::Startup => "choria.lifecycle.event.startup.server",
            Self::Alive => "choria.lifecycle.event.alive.server",
            Self::Shutdown => "choria.lifecycle.event.shutdown.server",
        }
    }

    /// The id of this event of a node that has been started anew so many times before: a UUIDv4. A
    /// process publishes a startup and a shutdown once, and all its alive events carry one id (protocol
    /// document 6.3); the next process of the node has other ids.
    #[must_use]
    pub fn id(self, seed: u64, index: u64, stays: u16) -> String {
        let number = match self {
            Self::Startup => 0,
            Self::Alive => 1,
            Self::Shutdown => 2,
        };
        uuid(random_bits(seed, index, u64::from(stays) << 2 | number))
    }
}

/// A UUIDv4 of random bits.
pub(crate) fn uuid(bits: u128) -> String {
    // Version 4, variant 1 (RFC 9562).
    let bits = bits & !(0xf << 76) | (0x4 << 76);
    let bits = bits & !(0x3 << 62) | (0x2 << 62);
    let text = format!("{bits:032x}");
    let part = |from, to| text.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

/// 128 bits that depend on all three and look random (law 2).
pub(crate) fn random_bits(seed: u64, index: u64, number: u64) -> u128 {
    // Apart from the dice that a node throws for its behaviour.
    let event = mix(mix(seed, index) ^ 0x6c69_6665_6379_636c, number);
    u128::from(mix(event, 0)) << 64 | u128::from(mix(event, 1))
}

/// Who publishes an event.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Seed of the fleet.
    pub seed: u64,
    /// The node's global index.
    pub index: u64,
    /// How often it has been started anew.
    pub stays: u16,
    /// Its identity.
    pub identity: &'a str,
    /// Its version.
    pub version: &'a str,
}

/// Appends the event's payload.
pub fn write(kind: Kind, source: &Source<'_>, timestamp_unix: i64, out: &mut Vec<u8>) {
    let (name, id) = (kind.name(), kind.id(source.seed, source.index, source.stays));
    let protocol = format!("io.choria.lifecycle.v1.{name}");
    let envelope = Envelope {
        source: "io.choria.lifecycle",
        kind: &protocol,
        id: &id,
        subject: source.identity,
        time_unix: timestamp_unix,
    };
    envelope.open(out);
    // Writing to a vector cannot fail.
    let _ = write!(out, "{{\"protocol\":\"{protocol}\",\"id\":\"{id}\",\"identity\":");
    push_quoted(source.identity, out);
    let _ = write!(out, ",\"component\":\"{COMPONENT}\",\"timestamp\":{timestamp_unix}");
    if kind != Kind::Shutdown {
        out.extend_from_slice(b",\"version\":");
        push_quoted(source.version, out);
    }
    out.extend_from_slice(b"}}");
}

/// What stands around the data of an event: a CloudEvent 1.0 of go-choria.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Envelope<'a> {
    /// Which part of go-choria it comes from.
    pub(crate) source: &'a str,
    /// Its type.
    pub(crate) kind: &'a str,
    /// Its id.
    pub(crate) id: &'a str,
    /// Identity of the node.
    pub(crate) subject: &'a str,
    /// Its time.
    pub(crate) time_unix: i64,
}

impl Envelope<'_> {
    /// Appends all that comes before the data; a closing brace has to follow upon that.
    pub(crate) fn open(&self, out: &mut Vec<u8>) {
        let Self { source, kind, id, subject, time_unix } = self;
        // Writing to a vector cannot fail.
        let _ = write!(
            out,
            "{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"{source}\",\
             \"type\":\"{kind}\",\"subject\":"
        );
        push_quoted(subject, out);
        let time = rfc3339(*time_unix);
        let _ =
            write!(out, ",\"datacontenttype\":\"application/json\",\"time\":\"{time}\",\"data\":");
    }
}

/// RFC 3339 in UTC with whole seconds and `Z`; a clock beyond the calendar shows the epoch.
fn rfc3339(unix: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(unix).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_are_version_4_and_differ_by_seed_node_process_and_kind() {
        let mut seen = HashSet::new();
        for seed in [0, 1, u64::MAX] {
            let nodes =
                [0, 1, 2, 199_999].map(|index| [0, 1, u16::MAX].map(|stays| (index, stays)));
            for (index, stays) in nodes.into_iter().flatten() {
                for kind in Kind::ALL {
                    let id = kind.id(seed, index, stays);
                    assert_eq!(id, kind.id(seed, index, stays));
                    let parts: Vec<&str> = id.split('-').collect();
                    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
                    assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
                    assert!(parts[2].starts_with('4') && "89ab".contains(&parts[3][..1]), "{id}");
                    assert!(seen.insert(id));
                }
            }
        }
    }

    #[test]
    fn times_have_whole_seconds_and_a_z() {
        for (unix, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_795_413_151, "2026-11-23T05:52:31Z"),
            (i64::MAX, "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(unix).to_string(), expected);
        }
    }
}
