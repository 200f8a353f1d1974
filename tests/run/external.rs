//! Networks that are there already, or are not.

use std::path::Path;
use std::time::Duration;

use choria_emulator::broker::config::Cluster;
use choria_emulator::broker::{Broker, PortChoice};
use choria_emulator::conductor::Setup;
use choria_emulator::driver::Secret;
use emulator::spec::Login;
use reports::missing::Cause;
use reports::verdict::Verdict;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::rig::{
    Ears, Left, Program, broker_with, external, left_in, run_alone, run_while, scenario,
};
use super::setup;
use crate::support::{SOON, in_own_mounts, launcher, start_spec};

const RPC: &str = "rpc, request: {agent: emulated0, action: generate}, deadline: 5s";

/// A run at `url` ends soon with code 4 and a text that names it.
async fn check_refused(url: &str, spoil: impl FnOnce(&mut Setup), says: &[&str]) {
    let out = tempfile::tempdir().unwrap();
    let text = scenario(&external(url), &["default, nodes: 5"], &[RPC]);
    let mut setup = setup(&text, &[], out.path()).await;
    spoil(&mut setup);
    let finished = tokio::time::timeout(SOON, run_alone(setup)).await.unwrap().unwrap();
    let left = Left::by(&finished);
    assert_eq!((left.summary.exit_code, left.summary.verdict), (4, Verdict::Error));
    assert!(left.summary.partial && left.summary.waves.is_empty());
    for text in says {
        assert!(left.error().contains(text), "{text:?} is not in\n{}", left.error());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_refuses_is_an_error_at_once() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("nats://127.0.0.1:{port}");
    check_refused(&url, |_| {}, &[&url, "refused", "check that the broker runs there"]).await;
}

/// Two brokers of one cluster, on one port of two addresses of this host.
async fn behind_one_name(folder: &Path) -> [Broker; 2] {
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (client, routes) = (free(), vec![free(), free()]);
    let start = async |at: usize| {
        let mut spec = start_spec(&folder.join(format!("{at}"))).await;
        spec.name = format!("far{at}");
        spec.host = [[127, 0, 0, 2], [127, 0, 0, 3]][at].into();
        spec.ports = PortChoice::Fixed { client, monitor: free() };
        let (name, port, routes) = ("far".to_owned(), routes[at], routes.clone());
        spec.wiring.cluster = Some(Cluster { name, port, routes });
        Broker::start(&spec, &launcher()).await.unwrap()
    };
    [start(0).await, start(1).await]
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_go_to_every_address_of_a_name_that_has_several_and_round_the_one_that_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut command) = in_own_mounts("a name with several addresses") else { return };
    let brokers = behind_one_name(&folder.path().join("brokers")).await;
    let addresses = ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.1"];
    let hosts = addresses.map(|address| format!("{address} brokers.test\n")).concat();
    std::fs::write(folder.path().join("hosts"), hosts).unwrap();
    let url = format!("nats://brokers.test:{}", brokers[0].client().port());
    let rpc = format!("{RPC}, every: 1s, count: 2");
    let text = scenario(&external(&url), &["default, nodes: 60"], &[&rpc]);
    let at_work = folder.path().join("run");
    std::fs::create_dir(&at_work).unwrap();
    let run = Program::command(&at_work, &text);
    let steps = "mount --bind ../hosts /etc/hosts || exit 77; exec \"$@\"";
    command.args(["sh", "-c", steps, "sh"]).arg(run.get_program()).args(run.get_args());
    let ended = Program::start(command, &at_work).end();
    let left = left_in(&at_work);
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{}", ended.said);
    assert!(left.summary.waves.iter().all(|wave| wave.on_time == 60), "{:?}", left.summary.missing);
    assert_eq!(left.summary.fleet.counters.get("dial_failures"), None, "refusals are no failures");
    for broker in brokers {
        let seen = broker.sample().await.unwrap().varz.total_connections;
        assert!((15..60).contains(&seen), "{seen} of 60 nodes and some clients");
        broker.stop(SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_else_on_the_port_is_an_error_in_bounded_time() {
    for greeting in ["HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", ""] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        let accept = async {
            let mut open = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(greeting.as_bytes()).await.unwrap();
                open.push(stream);
            }
        };
        let says = [url.as_str(), "check that the broker runs there"];
        tokio::select! {
            () = check_refused(&url, |_| {}, &says) => {}
            () = accept => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_that_does_not_fit_is_an_error_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| format!("{}/tests/data/tls/{name}", env!("CARGO_MANIFEST_DIR"));
    let (cert, key) = (file("cert.pem"), file("key.pem"));
    let tls = format!("tls {{ cert_file: \"{cert}\", key_file: \"{key}\" }}");
    let secure = broker_with(&folder.path().join("secure"), &tls).await;
    let plain = broker_with(&folder.path().join("plain"), "").await;
    let url = secure.url();
    // Nobody whom we trust vouches for it.
    check_refused(&url, |_| {}, &[&url, "UnknownIssuer", "--tlsca"]).await;
    // The client may come in then, and plain nodes may not.
    let trusting = |setup: &mut Setup| setup.connection.tls_ca = Some(cert.into());
    check_refused(&url, trusting, &[&url, "no node could connect", "TLS"]).await;
    // The other way round: we insist, and the broker knows nothing of it.
    let insisting = |setup: &mut Setup| setup.connection.tls_first = true;
    check_refused(&plain.url(), insisting, &[&plain.url(), "--tlsca", "leave TLS out"]).await;
}

const USERS: &str = r#"authorization { users: [
    { user: driver, password: secret }
    { user: node, password: secret }
    { user: deaf, password: secret, permissions: { subscribe: { deny: "*.broadcast.agent.emulated0" } } }
    { user: mute, password: secret, permissions: { publish: { deny: "*.reply.>" } } }
] }"#;

/// Logs the driver and the nodes in.
fn log_in(setup: &mut Setup, node: &str, password: &str) {
    setup.connection.user = Some("driver".to_owned());
    setup.connection.password = Some(Secret::new(password));
    setup.login = Login {
        user: Some(node.to_owned()),
        password: Some("secret".to_owned()),
        ..Login::default()
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_are_used_and_refused_ones_end_the_run_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker_with(folder.path(), USERS).await;
    let url = broker.url();
    check_refused(&url, |setup| log_in(setup, "node", "wrong"), &[&url, "credentials"]).await;
    check_refused(&url, |_| {}, &[&url, "credentials"]).await;
    let out = tempfile::tempdir().unwrap();
    let text = scenario(&external(&url), &["default, nodes: 5"], &[RPC]);
    let mut setup = setup(&text, &[], out.path()).await;
    log_in(&mut setup, "node", "secret");
    let left = Left::by(&run_alone(setup).await.unwrap());
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{}", left.error());
    assert_eq!(left.summary.waves[0].on_time, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_broker_does_not_deliver_is_told_from_what_it_loses_on_the_way_back() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker_with(folder.path(), USERS).await;
    for (user, cause) in [("deaf", Cause::NotDelivered), ("mute", Cause::ReplyLost)] {
        let out = tempfile::tempdir().unwrap();
        let rpc = "rpc, request: {agent: emulated0, action: generate}, deadline: 1s";
        let text = scenario(&external(&broker.url()), &["default, nodes: 7"], &[rpc]);
        let mut setup = setup(&text, &[], out.path()).await;
        log_in(&mut setup, user, "secret");
        let left = Left::by(&run_alone(setup).await.unwrap());
        assert_eq!(left.code_on_a_quiet_machine(), 0, "{}", left.error());
        let wave = &left.summary.waves[0];
        assert_eq!((wave.on_time, wave.missing, wave.completeness), (0, 7, Some(0.0)), "{user}");
        assert_eq!(left.summary.missing.by_cause[&cause], 7, "{user}");
        assert!(left.missing().iter().all(|node| node.cause == cause), "{user}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_the_broker_has_no_room_for_are_named_as_never_connected() {
    let (brokers, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // Two of them are the driver's, one is the listener's.
    let broker = broker_with(brokers.path(), "max_connections: 13").await;
    let rpc =
        "rpc, request: {agent: emulated0, action: generate}, deadline: 1s, count: 2, every: 1s";
    let text = scenario(&external(&broker.url()), &["default, nodes: 20"], &[rpc]);
    let ended = Program::run(folder.path(), &text).end();
    let left = left_in(folder.path());
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{ended:?}");
    let summary = &left.summary;
    assert_eq!((summary.fleet.planned, summary.fleet.connected), (20, 10));
    assert!(summary.waves.iter().all(|wave| (wave.on_time, wave.missing) == (10, 10)));
    assert_eq!(summary.missing.by_cause[&Cause::NeverConnected], 20);
    assert!(summary.doubts.iter().any(|doubt| doubt.kind == "fleet_incomplete"));
    let mut names: Vec<_> = left.missing().into_iter().map(|node| node.identity).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 10, "the same ten twice: {names:?}");
    assert!(names.iter().all(|name| name.starts_with("default-")), "{names:?}");
    assert!(ended.said.contains("never_connected"), "{}", ended.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_accepts_no_node_at_all_is_an_error_with_what_it_said() {
    let (brokers, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let broker = broker_with(brokers.path(), "max_connections: 3").await;
    let text = scenario(&external(&broker.url()), &["default, nodes: 5"], &[RPC]);
    let ended = Program::run(folder.path(), &text).end();
    assert_eq!(ended.code, Some(4), "{}", ended.said);
    let left = left_in(folder.path());
    for says in ["no node could connect", "max_connections", &broker.url()] {
        assert!(left.error().contains(says), "{}", left.error());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_lose_their_broker_in_mid_wave_are_disconnected_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = start_spec(folder.path()).await;
    let broker = Broker::start(&spec, &launcher()).await.unwrap();
    let (client, monitor) = (broker.client().port(), broker.monitor().port());
    spec.ports = PortChoice::Fixed { client, monitor };
    let groups = ["default, nodes: 20, behaviour: {reply_delay: 800ms}"];
    let rpc =
        "rpc, request: {agent: emulated0, action: generate}, deadline: 2s, every: 9s, count: 2";
    let text = scenario(&external(&broker.url()), &groups, &[rpc]);
    let out = tempfile::tempdir().unwrap();
    let (finished, back) = run_while(setup(&text, &[], out.path()).await, async |mut told| {
        let mut ears = Ears::on(&broker.url()).await;
        ears.request().await;
        broker.stop(Duration::ZERO).await;
        told.waves(1).await;
        Broker::start(&spec, &launcher()).await.unwrap()
    })
    .await;
    let left = Left::by(&finished.unwrap());
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{:?}", left.summary.doubts);
    let waves: Vec<_> = left.summary.waves.iter().map(|w| (w.on_time, w.missing)).collect();
    assert_eq!(waves, [(0, 20), (20, 0)]);
    assert_eq!(left.summary.missing.by_cause[&Cause::Disconnected], 20);
    let fleet = &left.summary.fleet;
    assert_eq!((fleet.connected, fleet.disconnects, fleet.reconnects), (20, 20, 20));
    assert!(left.summary.doubts.iter().any(|doubt| doubt.kind == "driver_disconnected"));
    back.stop(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_nobody_knows_ends_a_run_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    // Reserved to be unknown (RFC 6761).
    let text = scenario(&external("nats://no.invalid:4222"), &["default, nodes: 5"], &[RPC]);
    let ended = Program::run(folder.path(), &text).end();
    assert_eq!(ended.code, Some(4), "{}", ended.said);
    let left = left_in(folder.path());
    assert!(left.summary.partial && left.summary.waves.is_empty());
    for told in [left.error(), &ended.said] {
        assert!(told.contains("nats://no.invalid:4222 cannot be looked up"), "{told}");
    }
}
