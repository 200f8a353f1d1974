//! What real Choria servers did, recorded, and how a node is compared with it: the evidence for
//! law 12. Here are the recordings ([`RECORDINGS`]), a recorded case and the group that stands for its
//! server ([`Case`]), and the comparison ([`Comparison`]).
//!
//! It replays nothing: tests replay in process, the program's `fidelity` command over a broker. The
//! recordings are compiled in as they lie in `testdata/captures`, so that the command works without a
//! checkout and the files stay readable; pages that nobody reads cost no memory.

mod case;
mod compare;

pub use crate::agents::{config_items, config_text};
pub use case::{Case, CaseError, Need, Published, Seen, Server, counters_of, parse};
pub use compare::{Comparison, reply_body, reply_time_unix};

/// Name and lines of every recording of servers (`testdata/captures/README.md`).
pub const RECORDINGS: [(&str, &str); 3] = [
    ("exchanges", include_str!("../../testdata/captures/exchanges.jsonl")),
    ("edge-cases", include_str!("../../testdata/captures/edge-cases.jsonl")),
    ("predecessor", include_str!("../../testdata/captures/predecessor.jsonl")),
];

/// A recording without requests to servers: there is nothing in it that could be sent to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tested {
    /// Its name (`testdata/captures/README.md`).
    pub name: &'static str,
    /// How many cases it has.
    pub cases: u64,
    /// What was recorded, and what is compared with it.
    pub about: &'static str,
}

/// What the tests of this crate alone replay (`tests/it/captures`), every case of it. With
/// [`RECORDINGS`] it is everything that was recorded.
pub const IN_TESTS: [Tested; 5] = [
    Tested {
        name: "reply-cases",
        cases: 47,
        about: "odd replies, given to the real client: ours reads and counts them as it did",
    },
    Tested {
        name: "lifecycle",
        cases: 14,
        about: "events and registrations of servers: nodes publish the same members and values",
    },
    Tested {
        name: "connections",
        cases: 6,
        about: "every byte between server or client and broker: nodes and our client write the same",
    },
    Tested {
        name: "status-file",
        cases: 1,
        about: "the status file of a server: that of a node has the same members and values",
    },
    Tested {
        name: "client-output",
        cases: 203,
        about: "what the real client printed of these replies: ours reads the same in them",
    },
];
