//! What real Choria servers did, recorded, and how a node is compared with it: the evidence for
//! law 12. Here are the recordings ([`RECORDINGS`]), a recorded case and the group that stands for its
//! server ([`Case`]), and the comparison ([`Comparison`]).
//!
//! It replays nothing: tests replay in process, the program's `fidelity` command over a broker. The
//! recordings are compiled in as they lie in `testdata/captures`, so that the command works without a
//! checkout and the files stay readable; pages that nobody reads cost no memory.

mod case;
mod compare;

pub use case::{Case, CaseError, Need, Published, Seen, Server, counters_of, parse};
pub use compare::{Comparison, reply_body, reply_time_unix};

/// Name and lines of every recording of servers (`testdata/captures/README.md`).
pub const RECORDINGS: [(&str, &str); 3] = [
    ("exchanges", include_str!("../../testdata/captures/exchanges.jsonl")),
    ("edge-cases", include_str!("../../testdata/captures/edge-cases.jsonl")),
    ("predecessor", include_str!("../../testdata/captures/predecessor.jsonl")),
];
