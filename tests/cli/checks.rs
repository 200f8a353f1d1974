//! The door to the checks, where a check cannot be made.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::support::path_folders;

/// What `.ci/check releases` does where there is no Go, with these variables set.
fn releases_without_go(variables: &[(&str, &str)]) -> (bool, String) {
    let programs = tempfile::tempdir().unwrap();
    for program in ["bash", "dirname"] {
        let path = path_folders().into_iter().map(|folder| folder.join(program));
        let path = path.into_iter().find(|path| path.is_file()).unwrap();
        symlink(path, programs.path().join(program)).unwrap();
    }
    let output = Command::new(programs.path().join("bash"))
        .args([".ci/check", "releases"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .env_clear()
        .env("PATH", programs.path())
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn old_releases_that_cannot_be_built_are_said_to_be_left_out_and_fail_where_nothing_may_be() {
    for (variables, passes) in [
        (&[][..], true),
        (&[("CHORIA_EMULATOR_LEAVE_OUT_NO_TEST", "1")], false),
        (&[("CI", "true")], false),
    ] {
        let (passed, said) = releases_without_go(variables);
        assert_eq!(passed, passes, "{variables:?}: {said}");
        assert!(said.contains("LEFT OUT: releases: no Go here"), "{variables:?}: {said}");
    }
}
