//! The JSON Schema and the reader agree.

use super::*;

#[test]
fn the_checked_in_schema_is_the_one_of_the_types() {
    let checked_in = include_str!("../../../scenarios/schema.json");
    assert!(
        checked_in == json_schema_text(),
        "scenarios/schema.json is not current: cargo run -- schema > scenarios/schema.json"
    );
}

#[test]
fn the_schema_accepts_what_the_reader_accepts_and_refuses_its_mistakes() {
    let validator = jsonschema::validator_for(&json_schema()).expect("a schema");
    let valid = |text: &str| validator.is_valid(&as_json(text).expect("yaml"));
    let quoted = FULL.replace("nats: 2.12.15", "nats: \"2.12.15\"");
    assert!(valid(&quoted));
    assert!(valid(&quoted.replacen(
        "topology: single",
        "topology: single\n  environment: {GOMAXPROCS: 2, GOMEMLIMIT: 400MiB}",
        1
    )));
    for (this, that) in [
        ("seed: 7", "sed: 7"),
        ("version: 1", "version: \"1\""),
        ("nodes: 5", "nodes: 0"),
        ("rate: 30/m", "rate: 30"),
        ("every: 2s", "every: 2"),
        ("topology: single", "topology: mesh"),
        ("topology: single", "topology: cluster\n  size: 0"),
        ("no_reply: 1%", "no_reply: 1"),
        ("no_reply: 1%", "churn: {}"),
        ("no_reply: 1%", "stuck: {after: 5}"),
        ("{uniform: [10ms, 50ms]}", "{uniform: [10ms]}"),
    ] {
        assert!(!valid(&quoted.replacen(this, that, 1)), "{that}");
    }
}
