//! What a replay has shown, as a value that can be kept and quoted.

use std::collections::BTreeMap;

use emulator::fidelity::{IN_TESTS, Need, Tested};
use emulator::node::SERVER_VERSION;
use serde::{Deserialize, Serialize};

use super::Recording;
use crate::plan::digest;

/// Name of a certificate's file.
pub const FILE_NAME: &str = "fidelity.json";

/// The certificate of this version, made with `choria-emulator fidelity` and compiled in.
const OF_THIS_BUILD: &str = include_str!("../../emulator/testdata/fidelity.json");

/// The proof and its digest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// SHA-256 over the proof's canonical JSON: members sorted by name, no blanks.
    pub digest: String,
    /// When it was made: RFC 3339, UTC. No part of the proof.
    pub made_at: String,
    /// What was shown.
    pub proof: Proof,
}

/// What was replayed on what, and how it went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    /// Whose nodes.
    pub tool: Tool,
    /// Version of Choria Server that the nodes emulate.
    pub choria_server: String,
    /// Version of the nats-server between client and nodes.
    pub nats_server: String,
    /// Digest of the recordings.
    pub corpus: String,
    /// How many cases ended how.
    pub counts: Counts,
    /// What was not replayed, and why.
    pub skipped: Vec<Skipped>,
    /// What else was recorded: nothing that could be sent to a node, so the tests alone replay it. Empty
    /// where other recordings than the built-in ones were replayed.
    pub in_tests: Vec<InTests>,
    /// How each case ended, by recording and id.
    pub recordings: BTreeMap<String, BTreeMap<String, Outcome>>,
}

/// The tool that was proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// How many cases ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All of them.
    pub cases: u64,
    /// The node did what the server did.
    pub equal: u64,
    /// It did, but for values that must differ.
    pub equal_but_for: u64,
    /// It did something else.
    pub different: u64,
    /// Not replayed.
    pub skipped: u64,
}

/// Cases that need what emulated nodes lack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// What they need.
    pub need: String,
    /// Why nodes lack it.
    pub reason: String,
    /// How many.
    pub cases: u64,
}

/// A recording that the tests replay, every case of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InTests {
    /// Its name.
    pub recording: String,
    /// How many cases it has.
    pub cases: u64,
    /// What was recorded, and what is compared with it.
    pub about: String,
}

/// How a case ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The node did what the server did.
    Equal,
    /// It did, but for these values, which must differ or may.
    EqualButFor(Vec<String>),
    /// It did something else: where, what the server did, what the node did.
    Different(Vec<String>),
    /// Not replayed: the need that nodes lack.
    Skipped(String),
}

impl Certificate {
    pub(super) fn new(
        recordings: &[Recording],
        nats_server: String,
        outcomes: BTreeMap<String, Vec<(String, Outcome)>>,
    ) -> Self {
        let named = |(name, outcomes): (String, Vec<_>)| (name, outcomes.into_iter().collect());
        let outcomes: BTreeMap<String, BTreeMap<String, Outcome>> =
            outcomes.into_iter().map(named).collect();
        let corpus = corpus_digest(recordings);
        let built_in = corpus == corpus_digest(&Recording::built_in());
        let proof = Proof {
            tool: Tool {
                name: env!("CARGO_PKG_NAME").to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            choria_server: SERVER_VERSION.to_owned(),
            nats_server,
            corpus,
            counts: Counts::of(outcomes.values().flat_map(BTreeMap::values)),
            skipped: skipped(outcomes.values().flat_map(BTreeMap::values)),
            in_tests: if built_in { in_tests() } else { Vec::new() },
            recordings: outcomes,
        };
        Self { digest: proof.digest(), made_at: jiff::Timestamp::now().to_string(), proof }
    }

    /// The certificate that is compiled in; `None` if that file is no certificate.
    #[must_use]
    pub fn of_this_build() -> Option<Self> {
        serde_json::from_str(OF_THIS_BUILD).ok()
    }

    /// Whether no case ended otherwise than on the real server.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.proof.counts.different == 0
    }

    /// The certificate as it is written to a file.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Maps with text keys only: this cannot fail.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

impl Proof {
    /// `sha256:` and 64 hexadecimal digits.
    #[must_use]
    pub fn digest(&self) -> String {
        digest::canonical(self)
    }
}

impl Counts {
    /// Counts outcomes.
    pub(super) fn of<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> Self {
        let mut counts = Self::default();
        for outcome in outcomes {
            counts.cases += 1;
            match outcome {
                Outcome::Equal => counts.equal += 1,
                Outcome::EqualButFor(_) => counts.equal_but_for += 1,
                Outcome::Different(_) => counts.different += 1,
                Outcome::Skipped(_) => counts.skipped += 1,
            }
        }
        counts
    }
}

fn skipped<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> Vec<Skipped> {
    let mut cases = BTreeMap::<&str, u64>::new();
    for outcome in outcomes {
        if let Outcome::Skipped(need) = outcome {
            *cases.entry(need).or_default() += 1;
        }
    }
    let told = |need: Need| {
        let cases = cases.get(need.name()).copied()?;
        Some(Skipped { need: need.name().to_owned(), reason: need.reason().to_owned(), cases })
    };
    [Need::Machines].into_iter().filter_map(told).collect()
}

fn in_tests() -> Vec<InTests> {
    let one = |tested: Tested| InTests {
        recording: tested.name.to_owned(),
        cases: tested.cases,
        about: tested.about.to_owned(),
    };
    IN_TESTS.map(one).into()
}

/// Digest over the digests of the recordings, by name.
fn corpus_digest(recordings: &[Recording]) -> String {
    let one = |recording: &Recording| {
        (recording.name.clone(), digest::of_bytes(recording.lines.as_bytes()))
    };
    digest::canonical(&recordings.iter().map(one).collect::<BTreeMap<_, _>>())
}

/// Digest of the certificate that is compiled in.
#[must_use]
pub fn digest_of_this_build() -> Option<String> {
    Certificate::of_this_build().map(|certificate| certificate.digest)
}
