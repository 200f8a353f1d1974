//! Brokers that are there already, watched by their monitoring and through their system account.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use choria_emulator::broker::Broker;
use choria_emulator::broker::obtain::{Obtained, Request, obtain};
use choria_emulator::driver::{ConnectionOptions, Secret};
use reports::broker::BrokerFigure;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::rig::{Left, Program, external, left_in, run_alone, run_while, scenario};
use super::setup;
use super::telemetry::Series;
use crate::support::{SOON, lasting_sources, launcher, nats_server, start_spec, wait_until};

const NODES: u64 = 40;
const WAVES: u64 = 3;
const QUIET: &str = "web, nodes: 40, events: {startup: false, alive: false, shutdown: false}";
const RPC: &str = "rpc, request: {agent: emulated0, action: generate}, every: 1s, count: 3";

/// Two of a cluster with a system account: user and password are `sys`; anybody else is anonymous.
pub(super) async fn two(folder: &Path) -> [Broker; 2] {
    two_of(folder, nats_server().await).await
}

/// The same of this program.
async fn two_of(folder: &Path, program: Obtained) -> [Broker; 2] {
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let routes = [free(), free()];
    let start = async |at: usize| {
        let mut spec = start_spec(&folder.join(format!("{at}"))).await;
        spec.name = format!("far{at}");
        spec.program = program.clone();
        spec.extra_config = format!(
            "accounts {{ SYS {{ users: [ {{ user: sys, password: sys }} ] }}\n\
             A {{ users: [ {{ user: a, password: a }} ] }} }}\n\
             system_account: SYS\nno_auth_user: a\n\
             cluster {{ name: east, listen: \"{}\", routes: [\"nats://{}\"] }}",
            routes[at], routes[0]
        );
        Broker::start(&spec, &launcher()).await.unwrap()
    };
    [start(0).await, start(1).await]
}

/// Something that the brokers count before the run.
async fn earlier(url: &str) {
    let client = async_nats::connect(url).await.unwrap();
    for _ in 0..1000 {
        client.publish("earlier", "x".into()).await.unwrap();
    }
    client.flush().await.unwrap();
    client.drain().await.unwrap();
}

fn system(urls: &[&str], password: &str) -> ConnectionOptions {
    ConnectionOptions {
        servers: urls.iter().map(|url| (*url).to_owned()).collect(),
        user: Some("sys".to_owned()),
        password: Some(Secret::new(password)),
        ..ConnectionOptions::default()
    }
}

/// A real nats-server that was given no name, and a system account as above. It does not outlive its test.
struct Nameless(Child);

impl Nameless {
    async fn start(folder: &Path, port: u16) -> Self {
        let config = folder.join("nameless.conf");
        let accounts = "accounts { SYS { users: [ { user: sys, password: sys } ] }\n\
                        A { users: [ { user: a, password: a } ] } }\n\
                        system_account: SYS\nno_auth_user: a\n";
        fs::write(&config, format!("listen: \"127.0.0.1:{port}\"\n{accounts}")).unwrap();
        let mut command = Command::new(nats_server().await.path);
        command.arg("-c").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Self(command.spawn().unwrap());
        let listens = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        wait_until("a server without a name listens", listens);
        server
    }
}

impl Drop for Nameless {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_name_is_found_again_after_its_restart() {
    let folder = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = Nameless::start(folder.path(), port).await;
    let url = format!("nats://127.0.0.1:{port}");
    let rpc = "rpc, request: {agent: emulated0, action: generate}, every: 1s, count: 15";
    let out = tempfile::tempdir().unwrap();
    let mut setup = setup(&scenario(&external(&url), &[QUIET], &[rpc]), &[], out.path()).await;
    setup.system = Some(system(&[&url], "sys"));
    let (finished, again) = run_while(setup, async |mut told| {
        told.waves(2).await;
        drop(server);
        Nameless::start(folder.path(), port).await
    })
    .await;
    let left = Left::by(&finished.unwrap());
    let [broker] = &left.summary.cost.brokers[..] else { panic!("{:?}", left.summary.cost) };
    assert_eq!(broker.name, "n1");
    // It counts anew, and what it had counted before is not forgotten.
    let series = Series::of(&left);
    let (at, msgs_in) = (series.column("n1", "at_s"), series.column("n1", "msgs_in"));
    let last = left.summary.waves.last().unwrap();
    assert_eq!(last.on_time, NODES, "{:?}", left.summary.missing);
    let late = at.iter().filter(|at| **at > last.intended_at_s - 5.0).count();
    assert!(late >= 3, "not seen again: {at:?}");
    assert!(msgs_in.is_sorted() && msgs_in.last() > Some(&(10.0 * NODES as f64)), "{msgs_in:?}");
    drop(again);
}

/// Both brokers were watched, and what was seen is of this run.
fn check_watched(left: &Left) {
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{}", left.error());
    let brokers = &left.summary.cost.brokers;
    let names: Vec<_> = brokers.iter().map(|broker| broker.name.as_str()).collect();
    assert_eq!(names, ["far0", "far1"]);
    for broker in brokers {
        assert_eq!(broker.cluster.as_deref(), Some("east"));
        assert!(broker.go.is_some() && !broker.version.is_empty());
        assert!(broker.figure(BrokerFigure::Links) >= Some(1.0), "{broker:?}");
        assert!(broker.figure(BrokerFigure::RssBytes) > Some(0.0), "as it says itself");
        assert_eq!(broker.figure(BrokerFigure::CpuUs), None, "nobody can know");
        assert_eq!(broker.silent_s, 0.0);
        let looks: Vec<_> = broker.looks.keys().map(String::as_str).collect();
        assert_eq!(looks, ["after waves", "before connect", "before waves"]);
    }
    let msgs_in = brokers[0].figure(BrokerFigure::MsgsIn).unwrap() as u64;
    let sure = WAVES * (1 + NODES);
    assert!((sure..sure + 500).contains(&msgs_in), "{msgs_in} in; 1000 came before the run");
    let series = Series::of(left);
    for broker in ["far0", "far1"] {
        assert!(series.column(broker, "connections").len() >= 3, "{broker}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_are_there_already_are_watched_by_url_and_through_the_system_account() {
    let folder = tempfile::tempdir().unwrap();
    let brokers = two(folder.path()).await;
    let url = brokers[0].url();
    earlier(&url).await;
    let monitoring = brokers.each_ref().map(|broker| format!("\"http://{}\"", broker.monitor()));
    let by_url = format!("{}, monitoring: [{}]", external(&url), monitoring.join(", "));
    let out = tempfile::tempdir().unwrap();
    let asked = "thresholds:\n  \"broker.slow_consumers{broker:far1}\": [\"count == 0\"]\n  \
                 \"broker.connections{broker:far0}\": [\"count >= 42\"]\n";
    let text = scenario(&by_url, &[QUIET], &[RPC]) + asked;
    let left = Left::by(&run_alone(setup(&text, &[], out.path()).await).await.unwrap());
    check_watched(&left);

    // Through one of them the other is found too; what has a URL as well is there once.
    for by in [external(&url), format!("{}, monitoring: [{}]", external(&url), monitoring[1])] {
        let text = scenario(&by, &[QUIET], &[RPC]) + asked;
        let mut setup = setup(&text, &[], out.path()).await;
        setup.system = Some(system(&[&url], "sys"));
        let left = Left::by(&run_alone(setup).await.unwrap());
        check_watched(&left);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "builds old releases: minutes, and needs Go; run with --ignored"]
async fn releases_from_2_9_are_watched_through_the_system_account() {
    for version in ["2.9.25", "2.12.15"] {
        let folder = tempfile::tempdir().unwrap();
        let request = Request { version: Some(version.to_owned()), path: None };
        let program = obtain(request, lasting_sources(), |_| {}).await.unwrap();
        let brokers = two_of(folder.path(), program).await;
        let url = brokers[0].url();
        earlier(&url).await;
        let out = tempfile::tempdir().unwrap();
        let text = scenario(&external(&url), &[QUIET], &[RPC]);
        let mut setup = setup(&text, &[], out.path()).await;
        setup.system = Some(system(&[&url], "sys"));
        let left = Left::by(&run_alone(setup).await.unwrap());
        check_watched(&left);
        assert!(left.summary.cost.brokers.iter().all(|broker| broker.version == version));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_to_watch_that_leads_nowhere_is_an_error_before_anything_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let brokers = two(folder.path()).await;
    let url = brokers[0].url();
    let nowhere = format!("{}, monitoring: [\"http://127.0.0.1:1\"]", external(&url));
    // A client port is no web server.
    let client = format!("{}, monitoring: [\"http://{}\"]", external(&url), brokers[0].client());
    let nobody = ConnectionOptions { servers: vec![url.clone()], ..ConnectionOptions::default() };
    let plain = external(&url);
    for (by, system, says) in [
        (&nowhere, None, &["http://127.0.0.1:1/varz", "leave `monitoring` out"][..]),
        (&client, None, &["/varz", "leave `monitoring` out"]),
        (&plain, Some(system(&[&url], "wrong")), &[&url, "takes these credentials"]),
        (&plain, Some(nobody), &["PING.VARZ", "system account"]),
    ] {
        let out = tempfile::tempdir().unwrap();
        let mut setup = setup(&scenario(by, &[QUIET], &[RPC]), &[], out.path()).await;
        setup.system = system;
        let left = Left::by(&run_alone(setup).await.unwrap());
        assert_eq!(left.summary.exit_code, 4, "{by}");
        for text in says {
            assert!(left.error().contains(text), "{text:?} is not in\n{}", left.error());
        }
        assert!(left.summary.waves.is_empty());
    }
}

/// What stands between us and a broker's monitoring, and may stop to pass anything on.
async fn in_between(broker: &Broker) -> (String, CancellationToken, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stuck = CancellationToken::new();
    let (stop, behind) = (stuck.clone(), broker.monitor());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut passing = JoinSet::new();
        loop {
            let (mut ours, _) = listener.accept().await.unwrap();
            let mut theirs = TcpStream::connect(behind).await.unwrap();
            let stop = stop.clone();
            passing.spawn(async move {
                let passed = copy_bidirectional(&mut ours, &mut theirs);
                if stop.run_until_cancelled_owned(passed).await.is_none() {
                    // Open, and silent from now on.
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    (url, stuck, tasks)
}

#[tokio::test(flavor = "multi_thread")]
async fn monitoring_that_stops_answering_is_a_doubt_and_the_waves_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(&start_spec(folder.path()).await, &launcher()).await.unwrap();
    let (monitoring, stuck, _tasks) = in_between(&broker).await;
    let by = format!("{}, monitoring: [\"{monitoring}\"]", external(&broker.url()));
    let rpc = "rpc, request: {agent: emulated0, action: generate}, every: 1s, count: 10";
    let out = tempfile::tempdir().unwrap();
    let setup = setup(&scenario(&by, &[QUIET], &[rpc]), &[], out.path()).await;
    let (finished, ()) = run_while(setup, async |mut told| {
        told.waves(1).await;
        stuck.cancel();
    })
    .await;
    let left = Left::by(&finished.unwrap());
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{}", left.error());
    let summary = &left.summary;
    assert!(summary.waves.iter().all(|wave| wave.on_time == NODES), "{:?}", summary.missing);
    assert!(summary.doubts.iter().any(|doubt| doubt.kind == "monitoring_silent"));
    assert!(summary.cost.brokers[0].silent_s >= 3.0, "{:?}", summary.cost.brokers);
    let events = left.lines("events.jsonl");
    assert_eq!(events.iter().filter(|e| e["kind"] == "monitoring_silent").count(), 1);
    let looks: Vec<_> = summary.cost.brokers[0].looks.keys().map(String::as_str).collect();
    assert_eq!(looks, ["before connect", "before waves"], "nobody waits for another");
    let rows = Series::of(&left).column("n1", "connections").len();
    assert!((1..8).contains(&rows), "nothing is invented: {rows}");
}

#[tokio::test(flavor = "multi_thread")]
async fn run_and_measure_take_ways_to_watch_as_flags() {
    let folder = tempfile::tempdir().unwrap();
    let brokers = two(folder.path()).await;
    let (url, monitor) = (brokers[0].url(), format!("http://{}", brokers[0].monitor()));
    let text = scenario(&external(&url), &[QUIET], &[RPC]);
    let ended = tokio::task::spawn_blocking(move || {
        let out = tempfile::tempdir().unwrap();
        let mut command = Program::command(out.path(), &text);
        command.args(["--monitor", &monitor]);
        let ended = Program::start(command, out.path()).end();
        let left = left_in(out.path());
        assert_eq!(left.code_on_a_quiet_machine(), 0, "{}", ended.said);
        assert!(left.summary.cost.brokers[0].figure(BrokerFigure::MsgsIn) > Some(0.0));
        let kept = std::fs::read_to_string(left.folder.join("scenario.yaml")).unwrap();
        assert!(kept.starts_with(&format!("# run with --monitor {monitor}\n")), "{kept}");

        let out = tempfile::tempdir().unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_choria-emulator"));
        command.args(["measure", "-s", &url, "--expect", "1", "--count", "1", "--deadline", "1s"]);
        command.args(["--system-user", "sys", "--system-password", "sys"]);
        let ended = Program::start(command, out.path()).end();
        let left = left_in(out.path());
        assert_eq!(left.code_on_a_quiet_machine(), 99, "nobody is there: {}", ended.said);
        let names: Vec<_> = left.summary.cost.brokers.iter().map(|b| b.name.as_str()).collect();
        assert_eq!(names, ["far0", "far1"], "{}", ended.said);
        let kept = std::fs::read_to_string(left.folder.join("scenario.yaml")).unwrap();
        assert!(!kept.contains("sys"), "{kept}");
    });
    ended.await.unwrap();
    for broker in brokers {
        broker.stop(SOON).await;
    }
}
