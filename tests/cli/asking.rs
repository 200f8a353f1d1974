//! What can be asked without doing anything: help, version, completions, schema.

use std::io::Read;
use std::path::Path;
use std::process::Stdio;

use super::{ask, program};

const COMMANDS: [&str; 13] = [
    "run",
    "worker",
    "scale",
    "plan",
    "doctor",
    "emulate",
    "measure",
    "fidelity",
    "broker",
    "report",
    "init",
    "schema",
    "completions",
];

#[test]
fn help_names_every_command_and_each_has_help_with_an_example() {
    let folder = tempfile::tempdir().unwrap();
    let top = ask(folder.path(), &["--help"]);
    assert_eq!(top.code, Some(0));
    for command in COMMANDS {
        assert!(top.out.contains(&format!("\n  {command} ")), "{command}\n{}", top.out);
        let help = ask(folder.path(), &[command, "--help"]);
        assert_eq!((help.code, help.err.as_str()), (Some(0), ""), "{command}");
        assert!(help.out.contains("Example"), "{command}\n{}", help.out);
        assert!(help.out.contains("Usage: choria-emulator"), "{command}\n{}", help.out);
    }
    assert!(!top.out.contains("internal"), "{}", top.out);
}

#[test]
fn help_can_be_asked_for_as_a_command() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(ask(folder.path(), &["help"]).out, ask(folder.path(), &["--help"]).out);
    let (said, meant) =
        (ask(folder.path(), &["help", "run"]), ask(folder.path(), &["run", "--help"]));
    assert_eq!((said.code, said.out), (Some(0), meant.out));
}

#[test]
fn help_of_run_has_the_table_of_exit_codes() {
    let help = ask(Path::new("."), &["run", "--help"]).out;
    for row in ["  0  valid", "  2  usage", " 99  thresholds failed", "143  terminated"] {
        assert!(help.contains(row), "{row}\n{help}");
    }
}

#[test]
fn a_command_line_without_a_command_shows_help_and_is_a_usage_error() {
    let said = ask(Path::new("."), &[]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("Usage:"), "{}", said.err);
}

#[test]
fn the_version_is_that_of_the_package() {
    let said = ask(Path::new("."), &["--version"]);
    assert_eq!(said.out, concat!("choria-emulator ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let said = ask(Path::new("."), &["completions", shell]);
        assert_eq!(said.code, Some(0), "{shell}");
        assert!(COMMANDS.iter().all(|command| said.out.contains(command)), "{shell}");
        assert!(!said.out.contains("internal-child"), "{shell}");
    }
}

#[test]
fn the_schema_is_the_one_that_is_checked_in() {
    let printed = ask(Path::new("."), &["schema"]).out;
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/schema.json");
    assert_eq!(printed, std::fs::read_to_string(kept).unwrap());
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = program(Path::new("."))
        .args(["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The reading end is closed before anything is read.
    drop(child.stdout.take());
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""));
}

#[test]
fn a_disk_that_is_full_is_an_error() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = program(Path::new(".")).arg("schema").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("No space left"));
}
