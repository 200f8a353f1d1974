//! Mistakes: each has its exit code, says what is wrong, and what to do.

use std::fs;
use std::path::Path;

use super::{SMALL, Said, ask, folder_with};
use crate::support::in_own_mounts;

/// Asserts an exit code and that stderr says these; nothing is printed and nothing panics.
fn refused(said: &Said, code: i32, says: &[&str]) {
    assert_eq!(said.code, Some(code), "{said:?}");
    for text in says {
        assert!(said.err.contains(text), "{text:?} is not in\n{}", said.err);
    }
    assert_eq!(said.out, "");
    assert!(!said.err.contains("panicked") && !said.err.contains("internal error"), "{}", said.err);
}

#[test]
fn command_lines_that_cannot_be_meant_are_usage_errors() {
    let folder = folder_with("small.yaml", SMALL.as_bytes());
    for (words, says) in [
        (&["emulte", "-i", "2"][..], &["emulte", "'emulate'"][..]),
        (&["run"], &["<SCENARIO>"]),
        (&["plan", "small.yaml", "--jsno"], &["--jsno", "--json"]),
        (&["plan", "small.yaml", "-q", "-v"], &["--quiet", "--verbose"]),
        (&["plan", "small.yaml", "--progress", "loud"], &["loud", "plain"]),
        (&["emulate"], &["--instances"]),
        (&["emulate", "-i", "0", "-s", "nats://127.0.0.1"], &["0 is not in"]),
        (&["measure", "3", "50"], &["OUTDIR"]),
        (&["broker"], &["install"]),
        (&["completions", "tcsh"], &["tcsh", "bash"]),
        (&["init", "--template", "none"], &["none", "first-look"]),
    ] {
        refused(&ask(folder.path(), words), 2, says);
    }
}

#[test]
fn the_usage_line_names_what_is_needed_whatever_the_environment_says() {
    for (words, usage) in [
        (&["run"][..], "Usage: choria-emulator run [OPTIONS] <SCENARIO>\n"),
        (&["broker", "install"], "Usage: choria-emulator broker install [OPTIONS] <VERSION>\n"),
    ] {
        let mut command = super::program(Path::new("."));
        command.env("CHORIA_EMULATOR_CACHE", "/tmp").env("CHORIA_EMULATOR_PROGRESS", "plain");
        refused(&super::said(command.args(words).output().unwrap()), 2, &[usage]);
    }
}

#[test]
fn a_system_without_proc_is_refused_with_the_way_out() {
    let folder = folder_with("small.yaml", SMALL.as_bytes());
    let Some(mut command) = in_own_mounts("a system without /proc") else { return };
    let without = "mount -t tmpfs none /proc && exec \"$0\" run small.yaml";
    command.args(["sh", "-c", without, env!("CARGO_BIN_EXE_choria-emulator")]);
    let said = super::said(command.current_dir(folder.path()).output().unwrap());
    refused(&said, 3, &["this program's own file", "mount -t proc proc /proc"]);
}

#[test]
fn scenario_files_that_are_none_are_told_apart() {
    let folder = folder_with("small.yaml", SMALL.as_bytes());
    fs::create_dir(folder.path().join("scenarios")).unwrap();
    fs::write(folder.path().join("scenarios/first-look.yaml"), SMALL).unwrap();
    fs::write(folder.path().join("empty.yaml"), "\n\n").unwrap();
    fs::write(folder.path().join("latin.yaml"), b"name: caf\xe9\n").unwrap();
    for (file, says) in [
        ("first-look", &["there is no file", "did you mean scenarios/first-look.yaml?"][..]),
        ("first-look.yaml", &["did you mean scenarios/first-look.yaml?"]),
        ("small", &["there is no file small\n", "did you mean small.yaml?"]),
        ("small.yml", &["did you mean small.yaml?"]),
        (
            "nothing.yaml",
            &["there is no file nothing.yaml", "small.yaml, scenarios/first-look.yaml"],
        ),
        ("scenarios", &["is a folder", "scenarios/first-look.yaml"]),
        ("empty.yaml", &["is empty", "init"]),
        ("latin.yaml", &["not UTF-8", "byte 9"]),
        ("/dev/zero", &["/dev/zero: it has more than 4194304 bytes, which no scenario has"]),
    ] {
        for command in ["run", "plan", "doctor"] {
            refused(&ask(folder.path(), &[command, file]), 2, says);
        }
    }
}

#[test]
fn a_mistake_in_a_scenario_has_its_line_and_column() {
    for (wrong, right, says) in [
        ("noodes: 10", "nodes: 10", &["small.yaml:5:5", "noodes", "did you mean `nodes`?"][..]),
        ("nodes: 0", "nodes: 10", &["small.yaml:5:12", "zero nodes"]),
        ("nodes: -3", "nodes: 10", &["small.yaml:5:12", "negative"]),
        ("group: default\n    conect: {}", "group: default", &["small.yaml:5:5", "`connect`"]),
    ] {
        let folder = folder_with("small.yaml", SMALL.replace(right, wrong).as_bytes());
        refused(&ask(folder.path(), &["plan", "small.yaml"]), 2, says);
    }
}

#[test]
fn a_wrong_override_is_named_as_it_was_written() {
    let folder = folder_with("small.yaml", SMALL.as_bytes());
    for (param, says) in [
        ("fleet.default.nodes", "-P fleet.default.nodes"),
        ("fleet.defualt.nodes=5", "did you mean `default`?"),
        ("fleet.default.nodes=many", "-P fleet.default.nodes=many"),
        ("fleet.default.nodes=0", "zero nodes"),
    ] {
        refused(&ask(folder.path(), &["plan", "small.yaml", "-P", param]), 2, &[says]);
    }
}

#[test]
fn a_folder_that_is_no_result_has_no_report() {
    let folder = folder_with("summary.json", b"{\"verdict\": 3}");
    refused(&ask(folder.path(), &["report", "."]), 2, &["no summary of a run"]);
    refused(&ask(folder.path(), &["report", "results/latest"]), 2, &["results/latest"]);
}

#[test]
fn a_host_that_cannot_carry_the_plan_is_exit_code_3_with_the_way_out() {
    let folder = folder_with("small.yaml", SMALL.as_bytes());
    let words = ["doctor", "small.yaml", "-P", "fleet.default.nodes=1000000"];
    let said = ask(folder.path(), &words);
    // A host with a million open files may carry it; none has the memory by default.
    assert_eq!(said.code, Some(3), "{said:?}");
    for says in ["FAIL", "cannot carry", "\nthe largest fleet that fits: "] {
        assert!(said.out.contains(says), "{says}: {}", said.out);
    }
    let said = ask(folder.path(), &[&words[..], &["--json"]].concat());
    let found: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, &found["verdict"]), (Some(3), &"fail".into()));
    let largest = found["largest"]["nodes"].as_u64().unwrap();
    // What is said to fit does.
    let param = format!("fleet.default.nodes={}", largest / 2);
    let said = ask(folder.path(), &["doctor", "small.yaml", "-P", &param]);
    assert_eq!(said.code, Some(0), "{}", said.out);
}

#[test]
fn a_place_where_no_results_can_be_made_gets_advice_about_that() {
    let folder = folder_with("small.yaml", SMALL.as_bytes());
    for out in ["/proc/x", "small.yaml/results"] {
        let said = ask(folder.path(), &["run", "small.yaml", "--out", out]);
        refused(&said, 1, &["cannot make folder", out, "choose another place with --out DIR"]);
        assert!(!said.err.contains("results/latest"), "{}", said.err);
    }
}

#[test]
fn a_run_that_fails_says_why_on_stderr_too_and_quiet_does_not_silence_it() {
    let text = format!("{SMALL}brokers: {{topology: external, urls: [\"nats://127.0.0.1:1\"]}}\n");
    let folder = folder_with("small.yaml", text.as_bytes());
    for words in [&["run", "small.yaml"][..], &["-q", "run", "small.yaml"]] {
        let said = ask(folder.path(), words);
        assert_eq!(said.code, Some(4), "{said:?}");
        let errors: Vec<&str> = said.err.lines().filter(|l| l.starts_with("error: ")).collect();
        assert!(matches!(errors[..], [one] if one.contains("127.0.0.1:1")), "{}", said.err);
        assert!(said.out.contains("ERROR: "), "{}", said.out);
    }
}

#[test]
fn a_log_filter_that_is_none_is_named() {
    let said = super::said(
        super::program(Path::new("."))
            .arg("schema")
            .env("CHORIA_EMULATOR_LOG", "a=b=c")
            .output()
            .unwrap(),
    );
    refused(&said, 2, &["a=b=c", "CHORIA_EMULATOR_LOG"]);
}
