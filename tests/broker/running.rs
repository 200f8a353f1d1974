//! Starting, watching and ending nats-server.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use choria_emulator::broker::config::{Cluster, Gateway};
use choria_emulator::broker::obtain::{Obtained, Request, obtain};
use choria_emulator::broker::process::{Unready, ended};
use choria_emulator::broker::{
    Broker, Limits, PortChoice, Ports, StartError, StartSpec, Wiring, start_together,
};
use choria_emulator::child::Launcher;
use futures_util::StreamExt as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::{
    SOON, is_running, lasting_sources, launcher, nats_server, number_in, script, start_spec,
    wait_until,
};

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn files_ending(folder: &Path, end: &str) -> usize {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().ends_with(end)).count()
}

async fn start(spec: &StartSpec) -> Broker {
    Broker::start(spec, &launcher()).await.unwrap_or_else(|error| panic!("{error}"))
}

async fn fail(spec: &StartSpec) -> StartError {
    match Broker::start(spec, &launcher()).await {
        Ok(broker) => panic!("it started: {broker:?}"),
        Err(error) => error,
    }
}

/// A start of a shell script that calls itself the version of the real server.
async fn scripted(folder: &Path, body: &str) -> StartSpec {
    let real = start_spec(folder).await;
    let path = script(&folder.join("bin/nats-server"), body);
    StartSpec { program: Obtained { path, ..real.program.clone() }, ..real }
}

fn send(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}

#[tokio::test]
async fn a_started_broker_is_ready_and_a_stopped_one_is_gone() {
    let folder = folder();
    let spec = start_spec(folder.path()).await;
    let broker = start(&spec).await;

    let client = async_nats::connect(broker.url()).await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(client.server_info().server_name, "n1");
    assert_eq!(broker.at_start().version, spec.program.version.to_string());
    assert!(broker.at_start().go.starts_with("go1."), "{}", broker.at_start().go);
    assert!(fs::read_to_string(broker.log()).unwrap().contains("Server is ready"));
    drop(client);

    let (pid, exit) = (broker.pid(), broker.exit());
    let stopped = broker.stop(SOON).await;
    assert!(!stopped.killed && !is_running(pid), "{stopped:?}");
    assert_eq!(stopped.exit, *exit.borrow());
    assert_eq!(files_ending(folder.path(), ".ports"), 0, "the ports file is left");
}

#[tokio::test]
async fn a_broker_listens_on_loopback_outside_the_ephemeral_range() {
    let folder = folder();
    let broker = start(&start_spec(folder.path()).await).await;
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let range: Vec<u16> = range.split_whitespace().map(|n| n.parse().unwrap()).collect();
    for address in [broker.client(), broker.monitor()] {
        assert!(address.ip().is_loopback());
        assert!(!(range[0]..=range[1]).contains(&address.port()), "{address} in {range:?}");
    }
    assert!(broker.stop(SOON).await.exit.is_some());
}

#[tokio::test]
async fn limits_of_a_big_plan_and_the_users_own_words_reach_the_broker() {
    for (limits, extra, expected) in [
        (Limits::default(), "", (65_536, 1 << 20)),
        (Limits::carrying(200_000, 2 << 20), "", (201_000, 2 << 20)),
        (Limits::carrying(200_000, 0), "max_connections: 7", (7, 1 << 20)),
    ] {
        let folder = folder();
        let extra_config = extra.to_owned();
        let environment = vec![("GOMAXPROCS".into(), "1".into())];
        let real = start_spec(folder.path()).await;
        let broker = start(&StartSpec { limits, extra_config, environment, ..real }).await;
        let varz = broker.at_start();
        assert_eq!((varz.max_connections, varz.max_payload), expected);
        let environment = fs::read(format!("/proc/{}/environ", broker.pid())).unwrap();
        assert!(environment.split(|&b| b == 0).any(|variable| variable == b"GOMAXPROCS=1"));
        assert!(broker.stop(SOON).await.exit.is_some());
    }
}

#[tokio::test]
async fn a_broker_that_dies_at_the_start_is_quoted() {
    let folder = folder();
    let spec = scripted(folder.path(), "echo one; echo two >&2; exit 3").await;
    let error = fail(&spec).await;
    let StartError::Died { ref exit, ref log, .. } = error else { panic!("{error:?}") };
    assert_eq!((exit.code, exit.signal), (Some(3), None));
    assert_eq!(exit.log_tail, ["one", "two"]);
    assert_eq!(*log, folder.path().join("n1.log"));
    assert!(error.to_string().contains("exited with code 3\n    one\n    two\n"), "{error}");
}

#[tokio::test]
async fn a_configuration_that_the_broker_refuses_is_quoted() {
    let folder = folder();
    let extra_config = "no_such_key: 1".to_owned();
    let error = fail(&StartSpec { extra_config, ..start_spec(folder.path()).await }).await;
    assert!(matches!(error, StartError::Died { .. }), "{error:?}");
    assert!(error.to_string().contains("unknown field \"no_such_key\""), "{error}");
}

#[tokio::test]
async fn a_broker_that_does_not_become_ready_is_given_up_and_ended() {
    let folder = folder();
    let number = folder.path().join("number");
    let body = format!("echo waiting; echo $$ > {}; exec sleep 1000", number.display());
    let ready_within = Duration::from_millis(500);
    let spec = StartSpec { ready_within, ..scripted(folder.path(), &body).await };
    let error = fail(&spec).await;
    let StartError::NotReady { unready, log_tail, .. } = &error else { panic!("{error:?}") };
    assert!(matches!(**unready, Unready::NoPorts(_)), "{unready}");
    assert_eq!(*log_tail, ["waiting"]);
    assert!(!is_running(number_in(&number)));
}

#[tokio::test]
async fn a_broker_that_is_not_what_it_was_told_to_be_does_not_count_as_started() {
    for (extra, said) in [
        ("server_name: other", "is answered by other, not by n1: leave server_name out"),
        ("http: \"127.0.0.1:-1\"", "leave the host and the ports out of its configuration"),
        ("host: \"127.0.0.2\"", "leave the host and the ports out of its configuration"),
        ("http_base_path: /nats", "leave http_base_path out of its configuration"),
        ("cluster: {name: c1, listen: \"127.0.0.2:-1\"}", "leave the host and the ports out"),
    ] {
        let folder = folder();
        let cluster = Cluster { name: "c1".to_owned(), port: free_port(), routes: Vec::new() };
        let spec = StartSpec {
            extra_config: extra.to_owned(),
            // What is known at once is said at once: nobody waits so long.
            ready_within: Duration::from_secs(3600),
            wiring: Wiring { cluster: Some(cluster), ..Wiring::default() },
            ..start_spec(folder.path()).await
        };
        let error = timeout(Duration::from_secs(120), fail(&spec)).await.expect("it is said soon");
        assert!(matches!(error, StartError::Misled { .. }), "{error:?}");
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[tokio::test]
async fn a_start_that_is_abandoned_leaves_nothing() {
    let folder = folder();
    let number = folder.path().join("number");
    let body = format!("echo $$ > {}; exec sleep 1000", number.display());
    let spec = scripted(folder.path(), &body).await;
    let launcher = launcher();
    let pid = tokio::select! {
        started = Broker::start(&spec, &launcher) => panic!("{started:?}"),
        pid = tokio::task::spawn_blocking(move || number_in(&number)) => pid.unwrap(),
    };
    assert!(!is_running(pid));
}

#[tokio::test]
async fn a_port_in_use_is_named_and_its_owner_left_alone() {
    let (ours, theirs) = (folder(), folder());
    let other = start(&start_spec(theirs.path()).await).await;
    let free = free_port();
    for (client, monitor) in [(other.client().port(), free), (free, other.monitor().port())] {
        let ports = PortChoice::Fixed { client, monitor };
        let error = fail(&StartSpec { ports, ..start_spec(ours.path()).await }).await;
        assert!(matches!(error, StartError::PortInUse { .. }), "{error:?}");
        assert!(error.to_string().contains("address already in use"), "{error}");
        assert!(is_running(other.pid()));
    }
    assert!(!other.stop(SOON).await.killed);
}

#[tokio::test]
async fn other_ports_are_tried_when_free_ones_turn_out_to_be_taken() {
    let folder = folder();
    let real = nats_server().await.path;
    let seen = folder.path().join("seen");
    let body = format!(
        "test -e {seen} && exec {real} \"$@\"\ntouch {seen}; echo 'bind: address already in use'; \
         exit 1",
        seen = seen.display(),
        real = real.display()
    );
    let broker = start(&scripted(folder.path(), &body).await).await;
    assert!(seen.exists());
    assert!(!broker.stop(SOON).await.killed);
}

#[tokio::test]
async fn fixed_ports_can_be_used_again_after_a_stop() {
    let folder = folder();
    let first = start(&start_spec(folder.path()).await).await;
    let (client, monitor) = (first.client().port(), first.monitor().port());
    assert!(!first.stop(SOON).await.killed);
    let ports = PortChoice::Fixed { client, monitor };
    let second = start(&StartSpec { ports, ..start_spec(folder.path()).await }).await;
    assert_eq!((second.client().port(), second.monitor().port()), (client, monitor));
    assert!(!second.stop(SOON).await.killed);
}

#[tokio::test]
async fn death_during_a_run_is_noticed_with_the_last_log_lines() {
    for (signal, number, said) in [
        (Signal::SIGKILL, Some(9), "Server is ready"),
        // Go programs answer with a report of many lines: its beginning says why.
        (Signal::SIGQUIT, None, "exited with code 2\n    SIGQUIT: quit\n"),
    ] {
        let folder = folder();
        let broker = start(&start_spec(folder.path()).await).await;
        let mut exit = broker.exit();
        assert!(exit.borrow().is_none());
        send(broker.pid(), signal);
        let exit = timeout(SOON, ended(&mut exit)).await.unwrap();
        assert_eq!(exit.signal, number, "{exit}");
        assert!(exit.to_string().contains(said), "{exit}");
        assert!(exit.log_tail.len() <= 20);
        assert_eq!(broker.stop(SOON).await.exit, Some(exit));
    }
}

#[tokio::test]
async fn a_broker_that_hangs_is_killed_after_its_grace() {
    let folder = folder();
    let broker = start(&start_spec(folder.path()).await).await;
    let pid = broker.pid();
    send(pid, Signal::SIGSTOP);
    let stopped = broker.stop(Duration::from_millis(100)).await;
    assert!(stopped.killed && !is_running(pid), "{stopped:?}");
    assert_eq!(stopped.exit.unwrap().signal, Some(9));
    assert_eq!(files_ending(folder.path(), ".ports"), 0, "the ports file is left");
}

/// How a broker is joined with others that would listen on this port.
fn wirings(port: u16) -> [(&'static str, Wiring); 3] {
    let name = || "c1".to_owned();
    let cluster = |port| Some(Cluster { name: name(), port, routes: Vec::new() });
    let gateway = Gateway { name: name(), port, clusters: Vec::new() };
    [
        ("cluster", Wiring { cluster: cluster(port), ..Wiring::default() }),
        ("gateway", Wiring { gateway: Some(gateway), ..Wiring::default() }),
        ("leaf", Wiring { leaf_port: Some(port), ..Wiring::default() }),
    ]
}

#[tokio::test]
async fn a_port_for_other_brokers_that_a_stranger_has_is_named_and_others_are_tried() {
    let stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken = stranger.local_addr().unwrap().port();
    for ((what, at_taken), number) in wirings(taken).into_iter().zip(0..) {
        let folder = folder();
        let spec = StartSpec { wiring: at_taken, ..start_spec(folder.path()).await };
        let error = fail(&spec).await;
        let StartError::PortInUse { ports, .. } = &error else { panic!("{what}: {error}") };
        assert!(ports.contains(&taken), "{what}: {error}");
        assert!(error.to_string().contains("choose other ports"), "{what}: {error}");

        // Of several one has bad luck: all start again, with other ports.
        let attempts = AtomicU16::new(0);
        let specs = |ports: &[Ports]| -> Vec<StartSpec> {
            let unlucky = attempts.fetch_add(1, Ordering::Relaxed) == 0;
            let spec = |(at, ports): (usize, &Ports)| {
                let free = [ports.cluster, ports.gateway, ports.leaf][number];
                let port = if unlucky && at == 1 { taken } else { free };
                let [.., (_, wiring)] = &wirings(port)[..=number] else { panic!("{number}") };
                let (name, ports) = (format!("n{at}"), ports.choice());
                StartSpec { name, ports, wiring: wiring.clone(), ..spec.clone() }
            };
            ports.iter().enumerate().map(spec).collect()
        };
        let started = start_together(2, specs, &launcher()).await;
        let started = started.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!((started.len(), attempts.into_inner()), (2, 2), "{what}");
    }
    assert_eq!(stranger.local_addr().unwrap().port(), taken, "left alone");
}

#[tokio::test]
async fn dropping_a_broker_ends_it() {
    let folder = folder();
    let broker = start(&start_spec(folder.path()).await).await;
    let pid = broker.pid();
    drop(broker);
    assert!(!is_running(pid));
}

#[tokio::test]
async fn a_sample_counts_what_passed_through_the_broker() {
    let folder = folder();
    let broker = start(&start_spec(folder.path()).await).await;
    let client = async_nats::connect(broker.url()).await.unwrap();
    let mut subscriber = client.subscribe("a").await.unwrap();
    // What has come back was handled by the broker: a flush of this library only writes.
    let mut pass = async |count: usize| {
        for _ in 0..count {
            client.publish("a", "12345".into()).await.unwrap();
        }
        for _ in 0..count {
            timeout(SOON, subscriber.next()).await.unwrap().unwrap();
        }
    };
    pass(1).await;
    let before = broker.sample().await.unwrap();
    pass(10).await;
    let after = broker.sample().await.unwrap();
    assert_eq!((before.varz.connections, after.varz.connections), (1, 1));
    assert_eq!(after.varz.in_msgs - before.varz.in_msgs, 10);
    assert_eq!(after.varz.out_msgs - before.varz.out_msgs, 10);
    assert_eq!(after.varz.out_bytes - before.varz.out_bytes, 50);
    assert_eq!(after.varz.slow_consumers, 0);
    assert!(after.varz.subscriptions >= 1);
    assert!(after.process.cpu >= before.process.cpu && after.process.rss_bytes > 1 << 20);
    assert!(broker.stop(SOON).await.exit.is_some());
}

#[tokio::test]
async fn a_sample_of_a_broker_that_is_gone_is_an_error() {
    let folder = folder();
    let broker = start(&start_spec(folder.path()).await).await;
    send(broker.pid(), Signal::SIGKILL);
    ended(&mut broker.exit()).await;
    assert!(broker.sample().await.is_err());
}

#[tokio::test]
async fn ctrl_c_in_a_terminal_does_not_reach_a_broker() {
    let folder = folder();
    let broker = start(&start_spec(folder.path()).await).await;
    let group = nix::unistd::getpgid(Some(Pid::from_raw(broker.pid()))).unwrap();
    assert_eq!(group.as_raw(), broker.pid());
    assert!(broker.stop(SOON).await.exit.is_some());
}

#[tokio::test]
async fn what_cannot_be_written_or_started_is_named() {
    let place = folder();
    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    let spec = StartSpec { folder: file.join("below"), ..start_spec(place.path()).await };
    let error = fail(&spec).await;
    assert!(matches!(&error, StartError::Write { path, .. } if path.starts_with(&file)), "{error}");

    let nowhere = Launcher::of_other(PathBuf::from("/nonexistent/choria-emulator"));
    let error = Broker::start(&start_spec(place.path()).await, &nowhere).await.unwrap_err();
    assert!(matches!(error, StartError::Spawn { .. }), "{error}");
    assert!(error.to_string().contains("/nonexistent/choria-emulator"), "{error}");
}

/// Runs the hidden sub-command under a soft limit of 64 open files, with us as its parent.
fn run_bound(parent: u32, command: &str) -> Output {
    let ours = launcher().program;
    let line = format!(
        "ulimit -Sn 64; exec {} internal-child --parent {parent} -- {command}",
        ours.display()
    );
    Command::new("sh").args(["-c", &line]).output().unwrap()
}

#[test]
fn a_broker_gets_as_many_open_files_as_the_system_allows() {
    let ran = run_bound(std::process::id(), "sh -c 'ulimit -Sn; ulimit -Hn'");
    let said = String::from_utf8(ran.stdout).unwrap();
    let limits: Vec<&str> = said.lines().collect();
    assert!(limits.len() == 2 && limits[0] == limits[1], "{limits:?}");
}

#[test]
fn a_broker_whose_parent_is_gone_is_not_started() {
    for (parent, command, said) in [
        (1, "echo started", "the process 1 that wanted a child is gone"),
        (std::process::id(), "/nonexistent/nats-server", "cannot execute /nonexistent/nats-server"),
    ] {
        let ran = run_bound(parent, command);
        assert!(!ran.status.success() && ran.stdout.is_empty(), "{ran:?}");
        assert!(String::from_utf8_lossy(&ran.stderr).contains(said), "{ran:?}");
    }
}

/// Names the file into which [`holder_of_a_broker`] writes the number of its broker.
const HOLDER: &str = "CHORIA_EMULATOR_TEST_HOLDER";

#[tokio::test]
#[ignore = "a part of sigkill_of_our_process_leaves_no_broker, which runs it in a process of its own"]
async fn holder_of_a_broker() {
    let Some(number) = std::env::var_os(HOLDER).map(PathBuf::from) else { return };
    let broker = start(&start_spec(number.parent().unwrap()).await).await;
    fs::write(number, format!("{}\n", broker.pid())).unwrap();
    std::future::pending::<()>().await;
}

/// A process that does not outlive its test, even one that fails.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn sigkill_of_our_process_leaves_no_broker() {
    let folder = folder();
    let number = folder.path().join("number");
    let holder = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "broker::running::holder_of_a_broker"])
        .env(HOLDER, &number)
        .spawn()
        .map(Killed)
        .unwrap();
    let broker = number_in(&number);
    assert!(is_running(broker));
    // Child::kill sends SIGKILL.
    drop(holder);
    wait_until("the broker has gone with its parent", || !is_running(broker));
}

#[tokio::test]
#[ignore = "builds old releases: minutes, and needs Go; run with --ignored"]
async fn releases_from_the_oldest_on_take_what_they_are_told() {
    for version in ["2.0.0", "2.1.9", "2.2.6", "2.9.25"] {
        let request = Request { version: Some(version.to_owned()), path: None };
        let program = obtain(request, lasting_sources(), |_| {}).await.unwrap();
        let folder = folder();
        let limits = Limits::carrying(100_000, 0);
        let broker = start(&StartSpec { program, limits, ..start_spec(folder.path()).await }).await;
        assert_eq!(broker.at_start().version, version);
        assert_eq!(broker.at_start().max_connections, 101_000);
        let client = async_nats::connect(broker.url()).await.unwrap();
        client.flush().await.unwrap();
        assert_eq!(broker.sample().await.unwrap().varz.connections, 1, "{version}");
        let stopped = broker.stop(SOON).await;
        assert!(!stopped.killed, "{version}: {stopped:?}");
        assert_eq!(files_ending(folder.path(), ".ports"), 0, "{version}: the ports file is left");
    }
}

#[tokio::test]
async fn a_script_that_becomes_the_broker_is_one_whatever_it_is_called() {
    let folder = folder();
    let real = start_spec(folder.path()).await;
    let body = format!("exec {} \"$@\"", real.program.path.display());
    let path = script(&folder.path().join("bin/with-limits.sh"), &body);
    let spec = StartSpec { program: Obtained { path, ..real.program.clone() }, ..real };
    let broker = start(&spec).await;
    assert_eq!(files_ending(folder.path(), ".ports"), 1);
    // Killed, it removes nothing itself.
    drop(broker);
    assert_eq!(files_ending(folder.path(), ".ports"), 0);
}
