//! Brokers that are started here, for workers of other hosts: where they listen, and what is said where nobody would
//! reach them.

use std::fs;
use std::path::Path;

use super::apart::{TOKEN, conduct, worker};
use super::hosts::{HERE, Hosts};
use super::rig::{Program, external, left_in, readable, real, scenario};
use super::workers::{LONG, text};

const NODES: u64 = 60;
const RPC: &str = "rpc, request: {agent: emulated0, action: generate}, every: 1s, count: 3";

/// A cluster of two that is started by the run, on this address.
async fn cluster(listen: &str) -> String {
    let brokers = format!("topology: cluster, size: 2, {}, listen: {listen}", real().await);
    scenario(&brokers, &[&format!("default, nodes: {NODES}")], &[RPC])
}

/// A run that would wait for workers that come from elsewhere is refused before anything is begun.
fn check_refused(folder: &Path, text: &str, more: &[&str], says: &[&str]) {
    let more = [more, &["--expect-max-wait", "10m"]].concat();
    let ended = conduct(folder, text, "2", &more).end();
    assert_eq!(ended.code, Some(3), "{more:?}: {}", ended.said);
    for text in says.iter().chain(&["the brokers are on loopback", "workers of other hosts"]) {
        assert!(ended.said.contains(text), "{text:?} is not in {}", ended.said);
    }
    assert!(!folder.join("results").exists(), "nothing was begun: {}", ended.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_on_loopback_are_refused_before_workers_of_other_hosts_are_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let managed = text(LONG, "").await;
    let listen = ["--control-listen", "192.0.2.1:4300"];
    let given = ["--control", "nats://control.example.net:4222"];
    let both = ["-P brokers.listen=ADDRESS", "brokers={topology: external, urls:"];
    check_refused(folder.path(), &managed, &listen, &both);
    check_refused(folder.path(), &managed, &given, &both);
    let there = scenario(&external("nats://localhost:4222"), &["default, nodes: 6"], &[LONG]);
    check_refused(
        folder.path(),
        &there,
        &listen,
        &["write URLs with hosts that all workers reach"],
    );
    check_refused(folder.path(), &cluster("127.0.0.2").await, &listen, &both);
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_listen_for_other_hosts_carry_nodes_of_a_worker_there() {
    let Some(hosts) = Hosts::for_test("brokers that listen for other hosts") else { return };
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let mut run = Program::command(folders[0].path(), &cluster(HERE).await);
    run.args(["--workers", "2", "--control-listen", &format!("{HERE}:4300")]).args(TOKEN);
    // In there is no way to a release: the control broker is one that the tests have.
    run.args(["--cache", &format!("{}/cache", env!("CARGO_TARGET_TMPDIR"))]);
    let program = Program::start(hosts.here.with(&run), folders[0].path());
    program.wait_until_said("waiting for workers");
    let worker = |name: &str| worker(&format!("nats://{HERE}:4300"), name, &TOKEN);
    let near = Program::start(hosts.here.with(&worker("near")), folders[1].path());
    let far = Program::start(hosts.there.with(&worker("far")), folders[2].path());
    let ended = program.end();
    let left = readable(folders[0].path());
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{}", ended.said);
    assert_eq!((near.end().code, far.end().code), (Some(0), Some(0)), "{}", ended.said);
    let waves = &left.summary.waves;
    assert!(waves.len() == 3 && waves.iter().all(|wave| wave.on_time == NODES), "{}", ended.said);
    let answered = left.summary.workers.iter().map(|worker| (&*worker.name, worker.answered));
    let answered: std::collections::BTreeMap<_, _> = answered.collect();
    assert_eq!((answered["near"], answered["far"]), (3 * NODES / 2, 3 * NODES / 2));
    for name in ["n1", "n2"] {
        let config = fs::read_to_string(left.folder.join(format!("brokers/{name}.conf"))).unwrap();
        let addresses = ["host: \"10.", "http: \"127.0.0.1:", "listen: \"127.0.0.1:"];
        assert!(addresses.iter().all(|address| config.contains(address)), "{config}");
        assert_eq!(config.matches(HERE).count(), 1, "nothing else is in reach: {config}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_this_host_does_not_have_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let ended = Program::run(folder.path(), &cluster("192.0.2.1").await).end();
    assert_eq!(ended.code, Some(4), "{}", ended.said);
    let left = left_in(folder.path());
    for text in ["192.0.2.1 is no address of this host", "ip -brief address"] {
        assert!(left.error().contains(text), "{text:?} is not in {}", left.error());
    }
}
