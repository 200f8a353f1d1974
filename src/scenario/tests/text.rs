//! What is wrong with the text itself, and how it is quoted.

use super::*;

#[test]
fn what_is_quoted_is_cut_around_the_place() {
    for (text, says) in [
        ("[".repeat(100_000), "full.yaml:1:"),
        (FULL.replace("name: full", &format!("name: {}/", "x".repeat(5000))), "result folder"),
        (FULL.replace("seed: 7", &format!("{}: 7", "s".repeat(900))), "unknown key"),
    ] {
        let told = refusal(&text, &[]);
        assert!(told.contains(says) && told.contains('…') && told.contains('^'), "{told}");
        assert!(told.lines().all(|line| line.chars().count() < 200), "{told}");
        let lines: Vec<&str> = told.lines().collect();
        let caret = lines.iter().position(|line| line.contains('^')).expect("a caret");
        assert!(lines[caret].chars().count() <= lines[caret - 1].chars().count(), "{told}");
    }
    // The place is shown also where it is far to the right, under its caret.
    let text = FULL.replace("seed: 7", &format!("x-a: {{b: {}, c: [}}", "1".repeat(300)));
    let told = refusal(&text, &[]);
    assert!(told.contains("c: [}") && told.contains(" | …"), "{told}");
    // Neither is a secret, however long the line.
    let url = format!("nats://bob:{}hunter2@broker", "h".repeat(300));
    let told = refusal(&FULL.replace("nats: 2.12.15", &format!("urls: [{url:?}]")), &[]);
    assert!(!told.contains("hunter2") && !told.contains("hhh"), "{told}");
}

#[test]
fn what_is_wrong_with_the_yaml_is_said_to_whoever_writes_it() {
    let many = format!("x-many: [{}]\n{FULL}", "1,".repeat(300_000));
    let deep = format!("x-deep: {}{}\n{FULL}", "[".repeat(70), "]".repeat(70));
    for (text, says) in [
        (FULL.replace("seed: 7", "name: full"), "the key `name` is there already\n"),
        (format!("{FULL}---\n{FULL}"), "a second document begins here\n"),
        (many, "than any scenario needs\n"),
        (deep, "than any scenario needs\n"),
    ] {
        let told = refusal(&text, &[]);
        assert!(told.contains(says), "{told}");
        for word in ["Options", "from_str", "breach", "Policy"] {
            assert!(!told.contains(word), "{told}");
        }
    }
}

#[test]
fn broken_yaml_is_refused_with_its_place() {
    for (text, place) in [
        ("version: 1\nname: [a\n", "full.yaml:"),
        ("version: 1\nversion: 1\n", "full.yaml:2:1"),
        ("", "full.yaml:1:1"),
        ("- 1\n", "full.yaml:1:"),
        ("version: 1\n\tname: x\n", "full.yaml:2:1: a tab indents this line"),
        ("fleet:\n  - group: a\n    nodes: 1\n   agents: 2\n", "begins in the same column"),
    ] {
        let told = refusal(text, &[]);
        assert!(told.contains(place), "{text:?}: {told}");
    }
}

/// Something else where a map belongs is told an example of it, and that is one.
fn check_example<T: serde::de::DeserializeOwned>() {
    let told = serde_json::from_value::<T>(serde_json::json!(3)).map(|_| ()).unwrap_err();
    let told = told.to_string();
    let name = std::any::type_name::<T>();
    let (_, example) = told.split_once("expected a map such as `").expect(name);
    let (example, _) = example.split_once('`').expect(name);
    let read = serde_saphyr::from_str::<T>(example).map(|_| ());
    assert!(read.is_ok(), "{name}: {example}: {read:?}");
}

#[test]
fn the_maps_that_errors_show_are_such_maps() {
    check_example::<types::Workers>();
    check_example::<types::Group>();
    check_example::<types::DdlAgent>();
    check_example::<types::Connect>();
    check_example::<types::Behaviour>();
    check_example::<types::Churn>();
    check_example::<types::Stuck>();
    check_example::<types::FullQueue>();
    check_example::<types::Lognormal>();
    check_example::<types::Fidelity>();
    check_example::<types::Events>();
    check_example::<types::Registration>();
    check_example::<types::StatusFiles>();
    check_example::<types::Client>();
    check_example::<types::Wave>();
    check_example::<types::Discover>();
    check_example::<types::Request>();
    check_example::<types::Filter>();
    check_example::<types::Batch>();
    check_example::<clients::WaveClient>();
    check_example::<timeline::Step>();
    check_example::<timeline::AfterWave>();
    check_example::<brokers::Brokers>();
    check_example::<machines::Machine>();
    check_example::<machines::MachineTransition>();
    check_example::<machines::MachineWatcher>();
    check_example::<machines::WatcherProperties>();
}
