//! Replays `testdata/captures`, recorded between real Choria peers, as its README says.

mod client;
mod connections;
mod filter;
mod lifecycle;
mod node;
mod output;

use serde_json::Value;

/// What stands in a capture file.
fn text_of(file: &str) -> String {
    let path = format!("{}/testdata/captures/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The lines of a capture file.
pub(crate) fn lines(file: &str) -> Vec<Value> {
    text_of(file).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A capture file that is one document.
fn document(file: &str) -> Value {
    serde_json::from_str(&text_of(file)).unwrap()
}

/// A reply transport around a reply document, hashed as it must be.
fn transport_of(reply: &str) -> Vec<u8> {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use sha2::{Digest, Sha256};
    let secure = serde_json::json!({ "protocol": "choria:secure:reply:1", "message": reply,
        "hash": STANDARD.encode(Sha256::digest(reply)) });
    let transport = serde_json::json!({ "protocol": "choria:transport:1",
        "data": STANDARD.encode(secure.to_string()), "headers": { "mc_sender": "node1.example.net" } });
    transport.to_string().into_bytes()
}

#[test]
fn what_the_certificate_says_of_the_tests_is_what_there_is() {
    use emulator::fidelity::{IN_TESTS, RECORDINGS};
    use std::collections::BTreeMap;

    let folder = format!("{}/testdata/captures", env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let cases = match path.extension().and_then(std::ffi::OsStr::to_str) {
            Some("jsonl") => lines(&format!("{name}.jsonl")).len(),
            None => lines(&format!("{name}/index.jsonl")).len(),
            // Written for the replays, and the explanation of all.
            Some(_) if ["machines", "README"].contains(&name.as_str()) => continue,
            Some(_) => 1,
        };
        found.insert(name, cases as u64);
    }
    let replayed = RECORDINGS.map(|(name, lines)| (name.to_owned(), lines.lines().count() as u64));
    let tested = IN_TESTS.map(|tested| (tested.name.to_owned(), tested.cases));
    assert_eq!(found, replayed.into_iter().chain(tested).collect());
}
