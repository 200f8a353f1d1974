//! `scale` with sizes of a few nodes: what it leaves, what it refuses, and how it ends early.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use choria_emulator::broker::Broker;
use nix::sys::signal::Signal;
use reports::scaling::Scaling;
use reports::summary::Summary;
use tempfile::TempDir;

use super::living::Living;
use super::{PROGRAM, SMALL, ask, folder_with, in_folder, program, said};
use crate::support::{code_on_a_quiet_machine, launcher, nats_server, start_spec};

/// Two groups, three to one, on a broker of ours; all waves are over in a second.
async fn two_groups() -> TempDir {
    let broker = nats_server().await.path;
    let text = format!(
        "version: 1\nname: two-groups\nbrokers: {{path: {}}}\nfleet:\n  \
         - {{group: many, nodes: 300}}\n  \
         - {{group: few, nodes: 100, identity: \"few{{index}}\"}}\nwaves:\n  \
         - {{name: rpc, request: {{agent: rpcutil, action: ping}}, every: 200ms, count: 3}}\n",
        broker.display()
    );
    folder_with("two.yaml", text.as_bytes())
}

/// The only series in the folder `results`.
fn series(folder: &Path) -> (PathBuf, Scaling) {
    let found: Vec<_> = fs::read_dir(folder.join("results")).unwrap().flatten().collect();
    let [only] = &found[..] else { panic!("{found:?}") };
    let text = fs::read(only.path().join("scaling.json")).unwrap();
    (only.path(), serde_json::from_slice(&text).unwrap())
}

#[tokio::test]
async fn every_size_is_a_run_and_the_series_has_laws_and_predictions() {
    let folder = two_groups().await;
    // No machine is quiet enough for a bound on figures of so few nodes.
    let words = ["scale", "two.yaml", "--nodes", "20,40,60,81", "--predict", "500,1000"];
    let said = ask(folder.path(), &[&words[..], &["--depart", "100000%"]].concat());
    assert_eq!(said.code, Some(0), "{said:?}");
    for text in
        ["two-groups · 4 sizes · 20, 40, 60, 81 nodes", "wave rpc", "memory, brokers", "1,000"]
    {
        assert!(said.out.contains(text), "{text}\n{}", said.out);
    }
    assert!(said.err.contains("\n81 nodes: rpc 3 of 3 complete, "), "{}", said.err);

    let (path, scaling) = series(folder.path());
    assert!(!scaling.partial && scaling.why_no_laws.is_none());
    let sizes: Vec<_> = scaling.sizes.iter().map(|size| size.nodes).collect();
    assert_eq!((sizes, scaling.exit_code), (vec![20, 40, 60, 81], 0));
    // CPU time is counted in ticks of 10 ms, and so few nodes may need none.
    for name in ["wave:rpc", "emulator_memory", "brokers_memory"] {
        let law = scaling.laws.iter().find(|law| law.measure.name() == name).expect(name);
        assert_eq!((law.sizes.len(), law.predictions.len()), (4, 2), "{law:?}");
    }
    let largest = Summary::read(&path.join(&scaling.sizes[3].folder)).unwrap();
    let nodes = |group: &str| largest.fleet.groups[group].connected;
    // 81 times 3 / 4 is 60.75.
    assert_eq!((nodes("many"), nodes("few")), (61, 20));
    let text = fs::read_to_string(path.join(&scaling.sizes[3].folder).join("scenario.yaml"));
    assert!(text.unwrap().contains("nodes: 61"), "the scenario is kept as it was run");
    let csv = fs::read_to_string(path.join("scaling.csv")).unwrap();
    let of_wave = csv.lines().filter(|line| line.starts_with("wave:rpc,"));
    assert_eq!(of_wave.count(), 4 + 2, "{csv}");
    assert!(fs::read_to_string(path.join("scaling.md")).unwrap().starts_with("## two-groups"));
}

#[tokio::test]
async fn a_size_that_one_process_cannot_carry_is_run_with_workers() {
    let place = tempfile::tempdir().unwrap();
    let broker = Broker::start(&start_spec(place.path()).await, &launcher()).await.unwrap();
    let text = format!(
        "version: 1\nname: wide\nbrokers: {{topology: external, urls: [\"{}\"]}}\nfleet:\n  \
         - {{group: default, nodes: 10}}\nwaves:\n  \
         - {{name: rpc, request: {{agent: rpcutil, action: ping}}, every: 200ms, count: 3}}\n",
        broker.url()
    );
    let folder = folder_with("wide.yaml", text.as_bytes());
    // 41 connections a process.
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 300 && exec \"$@\"", "sh", PROGRAM, "scale", "wide.yaml"]);
    command.args(["--nodes", "10,20,60", "--depart", "100000%"]);
    let said = said(in_folder(command, folder.path()).output().unwrap());
    let (path, scaling) = series(folder.path());
    assert_eq!(scaling.sizes.len(), 3, "{said:?}");
    let workers = scaling.sizes.iter().map(|size| {
        let fleet = Summary::read(&path.join(&size.folder)).unwrap().fleet;
        (fleet.connected, fleet.workers)
    });
    assert!(workers.eq([(10, 1), (20, 1), (60, 2)]), "{said:?}");
    broker.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn ctrl_c_in_the_middle_keeps_the_sizes_so_far() {
    let folder = two_groups().await;
    let mut command = program(folder.path());
    command.args(["scale", "two.yaml", "--nodes", "20,30,40,50", "-P", "waves.rpc.count=20"]);
    let mut scale = Living::start(command);
    scale.until("30 nodes: rpc 20 of 20 complete");
    scale.until("rpc 1: ");
    scale.signal(Signal::SIGINT);
    let said = scale.end();
    assert_eq!(said.code, Some(130), "{said:?}");
    let (path, scaling) = series(folder.path());
    assert!(scaling.partial);
    assert_eq!((scaling.sizes.len(), scaling.exit_code), (3, 130));
    assert!(said.out.contains("3 of 4 sizes · 20, 30, 40 nodes"), "{}", said.out);
    let runs = scaling.sizes.iter().map(|size| Summary::read(&path.join(&size.folder)).unwrap());
    let runs: Vec<_> = runs.collect();
    // A busy machine may have spoilt one: that one counts for no law.
    assert!(runs[..2].iter().all(|run| !run.partial && code_on_a_quiet_machine(run) == 0));
    let valid = runs[..2].iter().filter(|run| run.exit_code == 0).count();
    let why = scaling.why_no_laws.unwrap();
    assert!(why.starts_with(&format!("{valid} of the sizes gave a valid result")), "{why}");
}

#[test]
fn sizes_that_make_no_sense_are_refused_before_anything_starts() {
    let folder = folder_with("small.yaml", SMALL.as_bytes());
    for (nodes, more, code, says) in [
        ("1000", None, 2, "--nodes: 1 of at least 3 sizes"),
        ("10,20", None, 2, "--nodes: 2 of at least 3 sizes"),
        ("0,10,20", None, 2, "--nodes: 0 nodes cannot be dealt out"),
        ("10,10,20", None, 2, "--nodes: 10 nodes are named twice"),
        ("10,30,20", None, 2, "--nodes: 20 nodes come after 30"),
        ("10,many,20", None, 2, "invalid value 'many'"),
        ("10,20,30", Some("--predict=0"), 2, "--predict: 0 nodes"),
        ("10,20,30", Some("--depart=25"), 2, "write a percentage above zero"),
        ("10,20,30", Some("--depart=-1%"), 2, "write a percentage above zero"),
        ("10,20,2000000", None, 2, "at most 1000000 nodes"),
        ("10,20,1000000", None, 3, "with 1,000,000 nodes:"),
    ] {
        let words = ["scale", "small.yaml", "--nodes", nodes];
        let said = ask(folder.path(), &[&words[..], more.as_slice()].concat());
        assert_eq!(said.code, Some(code), "{nodes} {more:?} {said:?}");
        assert!(said.err.contains(says), "{says}\n{}", said.err);
        assert!(!folder.path().join("results").exists(), "{nodes}");
    }
}

#[test]
fn a_network_of_strangers_has_no_fleet_to_scale() {
    let text = "version: 1\nname: far\nbrokers: {topology: external, urls: [\"nats://h:4222\"]}\n\
                fleet: []\nwaves:\n  - {name: rpc, request: {agent: rpcutil, action: ping}}\n";
    let folder = folder_with("far.yaml", text.as_bytes());
    let said = ask(folder.path(), &["scale", "far.yaml", "--nodes", "10,20,30"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("the scenario has no fleet"), "{}", said.err);
}
