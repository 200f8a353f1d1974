//! Scenarios on their way through the commands that start nothing.

use std::fs;

use serde_json::Value;

use super::{SMALL, ask, folder_with, program, said};

#[test]
fn what_init_writes_is_planned_and_examined() {
    let folder = tempfile::tempdir().unwrap();
    let written = ask(folder.path(), &["init"]);
    assert_eq!(written.code, Some(0), "{written:?}");
    assert!(written.out.contains("choria-emulator run first-look.yaml"), "{}", written.out);
    assert!(folder.path().join("schema.json").is_file());
    let planned = ask(folder.path(), &["plan", "first-look.yaml"]);
    assert_eq!(planned.code, Some(0), "{planned:?}");
    assert!(planned.out.contains("2,000"), "{}", planned.out);
    let small = ["doctor", "first-look.yaml", "-P", "fleet.default.nodes=20"];
    assert_eq!(ask(folder.path(), &small).code, Some(0));
}

#[test]
fn every_template_is_a_valid_scenario_under_any_name() {
    let folder = tempfile::tempdir().unwrap();
    let list = ask(folder.path(), &["init", "--list"]).out;
    let templates: Vec<&str> = list.lines().filter(|line| !line.starts_with(' ')).collect();
    assert!(templates.contains(&"first-look"), "{list}");
    for template in templates {
        let name = format!("my-{template}");
        let written = ask(folder.path(), &["init", &name, "made", "--template", template]);
        assert_eq!(written.code, Some(0), "{written:?}");
        let file = format!("made/{name}.yaml");
        let planned = ask(folder.path(), &["plan", &file, "--json"]);
        assert_eq!(planned.code, Some(0), "{planned:?}");
        let json: Value = serde_json::from_str(&planned.out).unwrap();
        assert_eq!(json["plan"]["name"], name.as_str());
    }
}

#[test]
fn init_takes_a_file_as_it_will_be_named_to_run() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["mine.yaml", "sub/folder/mine.yaml"] {
        let written = ask(folder.path(), &["init", file]);
        assert_eq!(written.code, Some(0), "{written:?}");
        assert!(written.out.contains(&format!("choria-emulator run {file}")), "{}", written.out);
        let planned = ask(folder.path(), &["plan", file]);
        assert!(planned.out.contains("mine"), "{planned:?}");
        let schema = folder.path().join(file).with_file_name("schema.json");
        assert!(schema.is_file(), "{file}");
    }
}

#[test]
fn init_writes_the_unit_of_a_worker_for_this_program() {
    let folder = tempfile::tempdir().unwrap();
    let written = ask(folder.path(), &["init", "--unit"]);
    assert_eq!(written.code, Some(0), "{written:?}");
    let unit = fs::read_to_string(folder.path().join("choria-emulator-worker.service")).unwrap();
    assert!(unit.contains(&format!("ExecStart={} worker\n", super::PROGRAM)), "{unit}");
    assert!(unit.contains("LimitNOFILE=") && unit.contains("Restart=always"), "{unit}");
    assert_eq!(ask(folder.path(), &["init", "--unit"]).code, Some(2), "nothing is replaced");
    assert_eq!(ask(folder.path(), &["init", "--unit", "mine"]).code, Some(2));
}

#[test]
fn init_replaces_nothing_unless_told_to() {
    let folder = folder_with("first-look.yaml", b"mine");
    let file = folder.path().join("first-look.yaml");
    let refused = ask(folder.path(), &["init"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("--force"), "{}", refused.err);
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    assert_eq!(ask(folder.path(), &["init", "--force"]).code, Some(0));
    assert_ne!(fs::read(&file).unwrap(), b"mine");
}

#[test]
fn init_refuses_names_that_are_no_file_names() {
    let folder = tempfile::tempdir().unwrap();
    for (name, says) in [("my network", "letters"), ("mine.txt", "mine.txt"), ("a/-b", "letters")] {
        let said = ask(folder.path(), &["init", name]);
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.err.contains(says), "{}", said.err);
    }
}

#[test]
fn overrides_change_the_plan_and_its_digest() {
    let folder = folder_with("small.yaml", SMALL.as_bytes());
    let plan = |words: &[&str]| -> Value {
        let all = [&["plan", "small.yaml", "--json"], words].concat();
        serde_json::from_str(&ask(folder.path(), &all).out).unwrap()
    };
    let (as_written, changed) = (plan(&[]), plan(&["-P", "fleet.default.nodes=7"]));
    assert_eq!(as_written["plan"]["groups"][0]["nodes"], 10);
    assert_eq!(changed["plan"]["groups"][0]["nodes"], 7);
    assert_ne!(as_written["digest"], changed["digest"]);
    assert_eq!(as_written["digest"], plan(&[])["digest"]);
}

#[test]
fn options_come_from_the_environment_too() {
    let folder = folder_with("small.yaml", SMALL.as_bytes());
    let words = ["plan", "small.yaml"];
    let output = program(folder.path())
        .args(words)
        .env("CHORIA_EMULATOR_PROGRESS", "loud")
        .output()
        .unwrap();
    let said = said(output);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("loud"), "{}", said.err);
}
