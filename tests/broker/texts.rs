//! Texts of nats-server's configuration language: a scenario's check and a real server see the same settings in them.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;

use choria_emulator::broker::config::ServerConfig;
use choria_emulator::broker::{Limits, Version, Wiring};
use choria_emulator::scenario::Scenario;
use tempfile::TempDir;

use crate::support::nats_server;

/// Each with a name of a setting that is ours to say, for the check to find: the server takes it in any case.
const NAMES: [(&str, &str); 4] = [("k1", "Port"), ("k2", "pOrt"), ("k3", "poRt"), ("k4", "porT")];

/// What the check has against the settings of a text: their names and lines.
fn refused(text: &str) -> Vec<(String, usize)> {
    let ours = NAMES.iter().fold(text.to_owned(), |text, (name, ours)| text.replace(name, ours));
    let scenario = format!(
        "version: 1\nname: t\nfleet: [{{group: a, nodes: 1}}]\nwaves: [{{name: w, discover: {{}}}}]\n\
         brokers: {{config: {}}}\n",
        serde_json::to_string(&ours).unwrap()
    );
    let errors = Scenario::parse(&scenario, "t.yaml", &[]).err();
    let said = errors.map(|errors| errors.to_string()).unwrap_or_default();
    let line = |name: &str| {
        let told = said.split_once(&format!("`{name}` in line "))?.1;
        told.split_once(' ')?.0.parse().ok()
    };
    NAMES.iter().filter_map(|(name, ours)| Some(((*name).to_owned(), line(ours)?))).collect()
}

/// What a server says of settings that it does not know: their names and lines. `None`: the text is none to it.
async fn unknown(text: &str) -> Option<Vec<(String, usize)>> {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("t.conf");
    fs::write(&file, text).unwrap();
    fs::write(folder.path().join("own.conf"), "").unwrap();
    let output =
        Command::new(nats_server().await.path).arg("-t").arg("-c").arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("Parse error") || said.contains("config is invalid") {
        return None;
    }
    let found = said.lines().filter_map(|line| {
        let (place, name) = line.split_once(": unknown field ")?;
        let line = place.rsplit(':').nth(1)?.parse().ok()?;
        Some((name.trim_matches('"').to_owned(), line))
    });
    let mut found: Vec<_> = found.collect();
    found.sort();
    Some(found)
}

#[tokio::test]
async fn the_check_finds_the_settings_that_a_server_finds() {
    for (text, expected) in [
        // Where a value ends, and what is a comment.
        ("k1: -1#k2: 1\nk3: 1", Some(&[("k1", 1), ("k3", 2)][..])),
        ("k1: -1//k2: 1\nk3: 1", Some(&[("k1", 1), ("k3", 2)])),
        ("k1: 1#, k2: 1\nk3: 1", Some(&[("k1", 1), ("k2", 1), ("k3", 2)])),
        ("k1: 1#,\nk2: 1", Some(&[("k1", 1), ("k2", 2)])),
        ("k1: a#, # k2: 1\nk3: 1", Some(&[("k1", 1), ("k3", 2)])),
        ("k1: 1.5# }, k2: 1\nk3: 1", Some(&[("k1", 1), ("k3", 2)])),
        ("k1: -1.5//, k2: 1\nk3: 1", Some(&[("k1", 1), ("k3", 2)])),
        ("k1: 127.0.0.1#, k2: 1\nk3: 1", Some(&[("k1", 1), ("k3", 2)])),
        ("k1: 127.0.0.1:4222//, k2: 1\nk3: 1", Some(&[("k1", 1), ("k3", 2)])),
        ("k1: 127.0.0.1:a\nk2: 1", None),
        ("k1: 5mb, k2: 5kx; k3 1k\nk4: -5g#", Some(&[("k1", 1), ("k2", 1), ("k3", 1), ("k4", 2)])),
        ("k1: 1.5s\nk2: 1", None),
        ("k1: 2s\nk2: 1", Some(&[("k1", 1), ("k2", 2)])),
        ("k1: 10-20\nk2: 1", None),
        ("k1: 2026-11-29T10:00:00Z # k2: 1\nk3: 1", Some(&[("k1", 1), ("k3", 2)])),
        ("k1: 2026-11-29\nk2: 1", None),
        ("k1: -a\nk2: 1", None),
        ("k1: .5\nk2: 1", None),
        ("k1:\nk2: 1", None),
        ("k1\n5\nk2: 1", Some(&[("k1", 1), ("k2", 3)])),
        ("k1: a / \nk2: 1", Some(&[("k1", 1), ("k2", 2)])),
        ("k1: a b\nk2: 1", None),
        ("k1: a\\n\\x41b # k2: 1\nk3: 1", Some(&[("k1", 1), ("k3", 2)])),
        ("k1: a\\sb\nk2: 1", None),
        ("k1: \"\\\" # \"\nk2: '\\' # k3: 1", Some(&[("k1", 1), ("k2", 2)])),
        ("k1: (\n k2: 1 )\n)\nk3: 1", Some(&[("k1", 1), ("k3", 4)])),
        // A number before the bracket of a list is a word that has the bracket in it.
        ("k1: [1]\nk2: [2\nk3: 1", None),
        ("k1: [1]\n]\nk3: 1", Some(&[("k1", 1), ("k3", 3)])),
        ("k1: [-1]\nk2: 1", Some(&[("k1", 1), ("k2", 2)])),
        ("k1: [1 ]\nk2: [1.5]", Some(&[("k1", 1), ("k2", 2)])),
        ("k1: [a / b # ]\n]\nk2: 1", Some(&[("k1", 1), ("k2", 3)])),
        ("k1: [a,, b]\nk2: 1", None),
        // Maps and braces.
        ("k1 { a: 1}, k2: 1", Some(&[("k1", 1), ("k2", 1)])),
        ("k1 { a: 1} k2: 1", None),
        ("k1 { a: -1#}\n}\nk2: 1", Some(&[("k1", 1), ("k2", 3)])),
        ("k1 { a: 5, k2: 5}\nk3: 1", Some(&[("k1", 1), ("k3", 2)])),
        ("k1 { a: 1 / k2: 1 }\nk3: 1", Some(&[("k1", 1), ("k3", 2)])),
        ("k1 { k2 }\nk3: 1", Some(&[("k2", 1), ("k3", 2)])),
        ("{ k1: 1\n { k2: 1 }", None),
        ("{ k1: 1 }\nk2: 1", Some(&[("k1", 1), ("k2", 2)])),
        ("{{ k1: 1 }\n} k2: 1\n}", Some(&[("k1", 1), ("k2", 2)])),
        ("k1: 1 } k2: 1", Some(&[("k1", 1), ("k2", 1)])),
        ("k1: 1\n}\n", Some(&[("k1", 1)])),
        ("include own.conf # k1: 1\nk2: 1", Some(&[("k2", 2)])),
        ("include 'own.conf' k1: 1", None),
    ] {
        let expected = expected.map(|found| {
            found.iter().map(|(name, line)| ((*name).to_owned(), *line)).collect::<Vec<_>>()
        });
        assert_eq!(unknown(text).await, expected, "the server: {text}");
        // On a text that is none no broker starts, whatever is found in it.
        if let Some(expected) = expected {
            assert_eq!(refused(text), expected, "the check: {text}");
        }
    }
}

#[tokio::test]
async fn what_is_written_of_a_map_is_what_a_server_reads() {
    let own = serde_json::json!({
        "k1": [1, 2], "k2": ["a", 0.5, -1], "k3": {"a": [64, [true, 5]], "b": [{"c": [7]}]}, "k4": "a\"#\\\n",
    });
    let config = ServerConfig {
        name: "n1".to_owned(),
        host: Ipv4Addr::LOCALHOST,
        client_port: 4222,
        monitor_port: 8222,
        ports_folder: "/tmp".into(),
        limits: Limits::default(),
        profiling: false,
        wiring: Wiring::default(),
        own: own.as_object().unwrap().clone(),
        extra: String::new(),
    };
    let text = config.render(&Version::NEWEST_KNOWN).text;
    let found = unknown(&text).await.unwrap_or_else(|| panic!("no configuration: {text}"));
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, NAMES.map(|(name, _)| name), "{text}");
}
