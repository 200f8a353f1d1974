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
