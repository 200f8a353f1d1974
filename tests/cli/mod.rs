//! The command line as a person uses it: the real program, its texts and exit codes.

mod asking;
mod checks;
mod fidelity;
mod living;
mod mistakes;
mod network;
mod scale;
mod scenarios;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// What the program said and how it ended.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

/// The program in a folder, with nothing of the test's own environment that it would read.
const PROGRAM: &str = env!("CARGO_BIN_EXE_choria-emulator");

fn program(folder: &Path) -> Command {
    in_folder(Command::new(PROGRAM), folder)
}

/// The program as a terminal starts it: hanging up ends it, also where these tests run under `nohup`.
fn hearing_program(folder: &Path) -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP", PROGRAM]);
    in_folder(command, folder)
}

fn in_folder(mut command: Command, folder: &Path) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .env_clear()
        .env("PATH", path)
        .env("HOME", folder)
        .env("XDG_CONFIG_HOME", folder.join("config"));
    command
}

fn said(output: Output) -> Said {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Runs the program with these words.
fn ask(folder: &Path, words: &[&str]) -> Said {
    said(program(folder).args(words).output().unwrap())
}

/// A folder with a file in it.
fn folder_with(name: &str, content: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(name), content).unwrap();
    folder
}

/// The smallest scenario.
const SMALL: &str = "\
version: 1
name: small
fleet:
  - group: default
    nodes: 10
waves:
  - name: rpc
    request: {agent: rpcutil, action: ping}
";
