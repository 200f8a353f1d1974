//! The script that rehearses many machines on one, with a small fleet.

use std::process::{Command, Stdio};

use nix::unistd::geteuid;

use super::rig::{Left, real, scenario};
use crate::support::left_out;

const NODES: u64 = 60;

/// Whether this system lets us name network namespaces; why not.
fn may_name_networks() -> Result<(), String> {
    if !geteuid().is_root() {
        return Err("not root".to_owned());
    }
    let name = format!("ce-test-{}", std::process::id());
    for act in ["add", "del"] {
        let said = Command::new("ip").args(["netns", act, &name]).output();
        let said = said.map_err(|error| format!("ip: {error}"))?;
        if !said.status.success() {
            return Err(String::from_utf8_lossy(&said.stderr).trim().to_owned());
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scenario_is_rehearsed_on_hosts_of_their_own_and_nothing_of_them_is_left() {
    if let Err(why) = may_name_networks() {
        let why = format!("this system lets us name no networks of our own ({why})");
        return left_out("the rehearsal of many machines", &why);
    }
    let folder = tempfile::tempdir().unwrap();
    let brokers = format!("topology: cluster, size: 3, {}", real().await);
    let wave = "rpc, request: {agent: emulated0, action: generate}, every: 1s, count: 2";
    let path = folder.path().join("scenario.yaml");
    std::fs::write(&path, scenario(&brokers, &["default, nodes: 1"], &[wave])).unwrap();
    let script = Command::new("tests/rehearsal.sh")
        .args([&NODES.to_string(), "3"])
        .arg(&path)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("EMULATOR", env!("CARGO_BIN_EXE_choria-emulator"))
        .env("OUT", folder.path().join("out"))
        // In there is no way to a release: the control broker is one that the tests have.
        .env("CHORIA_EMULATOR_CACHE", format!("{}/cache", env!("CARGO_TARGET_TMPDIR")))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let prefix = format!("ce{}-", script.id());
    let said = script.wait_with_output().unwrap();
    let told = [said.stdout, said.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    let told = told.concat();
    let left = Left::in_folder(&folder.path().join("out/results/latest"));
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{told}");
    let summary = &left.summary;
    assert!(summary.waves.iter().all(|wave| wave.on_time == NODES), "{told}");
    let nodes: Vec<_> = summary.workers.iter().map(|worker| worker.connected).collect();
    assert_eq!(nodes, [NODES / 3; 3], "{told}");
    if summary.exit_code == 0 {
        assert!(said.status.success() && told.contains("60 nodes in 3 workers"), "{told}");
    }
    let named = Command::new("ip").args(["netns", "list"]).output().unwrap();
    let named = String::from_utf8_lossy(&named.stdout).into_owned();
    assert!(!named.contains(&prefix), "left behind: {named}");
}
