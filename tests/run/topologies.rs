//! Networks of several brokers: formed and proved, with everybody answering from everywhere, or refused
//! with the link that is missing.

use std::fs;
use std::time::{Duration, Instant};

use choria_emulator::conductor::{self, Setup, Stop};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reports::broker::BrokerFigure;
use reports::summary::Summary;
use reports::verdict::Verdict;

use super::rig::{Left, processes_about, real, run_alone, run_while, scenario};
use super::setup;

const RPC: &str = "rpc, request: {agent: emulated0, action: generate}, every: 1s, count: 2";

/// Nodes of a run here: dealt out evenly to any of the topologies.
const NODES: u64 = 60;

/// The topologies, with the links that make them.
const TOPOLOGIES: [(&str, &[(&str, u64)]); 4] = [
    ("topology: cluster, size: 3", &[("route", 3)]),
    ("topology: leafnodes, leaves: 2", &[("leaf", 2)]),
    ("topology: leafnodes, size: 2, leaves: 2", &[("leaf", 2), ("route", 1)]),
    ("topology: supercluster, clusters: 2, size: 2", &[("gateway", 4), ("route", 2)]),
];

/// A run on these brokers, with a client on each of them, is complete; nothing is left.
async fn check_complete(brokers: &str, links: &[(&str, u64)]) -> Summary {
    let out = tempfile::tempdir().unwrap();
    let rpc = format!("{RPC}, clients: 7");
    let quiet = "events: {startup: false, alive: false, shutdown: false}";
    let everywhere = format!("default, nodes: {NODES}, brokers: \"*\", {quiet}");
    let text = scenario(brokers, &[&everywhere], &[&rpc]) + "client: {brokers: \"*\"}\n";
    let left = Left::by(&run_alone(setup(&text, &[], out.path()).await).await.unwrap());
    let summary = left.summary.clone();
    assert_eq!(
        left.code_on_a_quiet_machine(),
        0,
        "{brokers}: {} {:?}",
        left.error(),
        summary.doubts
    );
    assert!(
        summary.waves.iter().all(|wave| wave.on_time == NODES),
        "{brokers}: {:?}",
        summary.missing
    );
    assert_eq!(summary.waves.len(), 2 * 7, "{brokers}");
    assert_eq!((summary.missing.count, summary.fleet.connected), (0, NODES), "{brokers}");
    let forming = summary.forming.as_ref().unwrap();
    let counted: Vec<_> = forming.links.iter().map(|(kind, n)| (kind.as_str(), *n)).collect();
    assert_eq!(counted, links, "{brokers}");
    assert!(forming.formed_s > 0.0 && forming.interest_s.is_some(), "{forming:?}");
    assert!(summary.cost.brokers.iter().all(|broker| broker.go.is_some()), "{brokers}");
    let kinds: Vec<_> = left.lines("events.jsonl").iter().map(|e| e["kind"].clone()).collect();
    assert!(
        kinds.iter().any(|kind| kind == "formed") && kinds.iter().any(|kind| kind == "interest")
    );
    // 2.0.0 passes some messages on to a broker of the hub where nobody waits for them.
    if summary.cost.brokers.iter().all(|broker| broker.version != "2.0.0") {
        check_counts(&summary, brokers);
    }
    summary
}

/// What brokers count agrees with the plan, however they are joined: a message that goes from one to
/// another is one out and one in, so that over all of them what goes out exceeds what comes in by the
/// deliveries of each message less one: a broadcast to all nodes by their number less one, a reply by
/// nothing.
fn check_counts(summary: &Summary, brokers: &str) {
    let sum = |figure| -> i64 {
        let of = summary.cost.brokers.iter().map(|broker| broker.figure(figure).unwrap());
        of.sum::<f64>() as i64
    };
    let (came, went) = (sum(BrokerFigure::MsgsIn), sum(BrokerFigure::MsgsOut));
    let waves = summary.waves.len() as i64;
    let (nodes, excess) = (NODES as i64, waves * (NODES as i64 - 1));
    // Beside that there are probes, some of which come before anybody hears them.
    let few = excess / 5;
    assert!((went - came - excess).abs() < few, "{brokers}: {went} out, {came} in, {excess} more");
    // Once in and once out at the least, and once more of each for each hop.
    let sure = waves * (1 + nodes);
    assert!(came >= sure && went >= waves * 2 * nodes, "{brokers}: {went} out, {came} in");
    let farthest = summary.places.as_ref().unwrap().by_hops.keys().max().copied().unwrap_or(0);
    let most = sure * (2 + i64::from(farthest)) + few;
    assert!(came <= most, "{brokers}: {came} in, {most} at the most over {farthest} hops");
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_answers_everybody_on_every_topology() {
    for (topology, links) in TOPOLOGIES {
        check_complete(&format!("{topology}, {}", real().await), links).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_joins_no_broker_of_ours_is_the_users_own_to_say() {
    let own = "config_for: {hub1: \"cluster { name: own, listen: 127.0.0.1:-1 }\", \
               leaf1: {cluster: {name: more, listen: \"127.0.0.1:-1\"}, leaf: {listen: \"127.0.0.1:-1\"}}}";
    let brokers = format!("topology: leafnodes, leaves: 2, {}, {own}", real().await);
    check_complete(&brokers, &[("leaf", 2)]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "builds old releases: minutes, and needs Go; run with --ignored"]
async fn releases_from_2_0_on_form_every_topology() {
    for version in ["2.0.0", "2.9.25", "2.12.15", "2.14.5"] {
        for (topology, links) in TOPOLOGIES {
            let brokers = format!("{topology}, nats: \"{version}\"");
            let summary = check_complete(&brokers, links).await;
            assert!(summary.cost.brokers.iter().all(|broker| broker.version == version));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "builds old releases: minutes, and needs Go; run with --ignored"]
async fn releases_from_2_0_to_the_newest_form_one_network() {
    let mixed = "nats: {n1: \"2.0.0\", n2: \"2.9.25\", n3: \"2.14.5\"}";
    let brokers = format!("topology: cluster, {mixed}");
    let summary = check_complete(&brokers, &[("route", 3)]).await;
    let versions: Vec<_> = summary.cost.brokers.iter().map(|b| b.version.as_str()).collect();
    assert_eq!(versions, ["2.0.0", "2.9.25", "2.14.5"]);
    let left_out = |at: usize| &summary.cost.brokers[at].left_out;
    assert!(left_out(0).contains("cluster.name") && left_out(1).contains("cluster.pool_size"));
    assert!(left_out(2).is_empty());
    // 2.0.0 has no name of its own: others know it by its identity, and results by its name in the plan.
    let peers = |at: usize| summary.cost.brokers[at].peers.keys().collect::<Vec<_>>();
    assert_eq!([peers(0), peers(1), peers(2)], [["n2", "n3"], ["n1", "n3"], ["n1", "n2"]]);
    let leaves = "nats: {hub1: \"2.14.5\", leaf1: \"2.0.0\", leaf2: \"2.9.25\"}";
    check_complete(&format!("topology: leafnodes, {leaves}"), &[("leaf", 2)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_users_own_configuration_and_environment_reach_the_brokers_they_are_meant_for() {
    let out = tempfile::tempdir().unwrap();
    let own = "config: {max_control_line: 5000, cluster: {no_advertise: true}}, \
               config_for: {n2: \"max_subscriptions: 777\"}, environment: {GOMAXPROCS: 1, GOGC: 77, GOMEMLIMIT: 400MiB}";
    let brokers = format!("topology: cluster, size: 2, {}, {own}", real().await);
    let text = scenario(&brokers, &["default, nodes: 4"], &[RPC]);
    let (finished, environments) =
        run_while(setup(&text, &[], out.path()).await, async |mut told| {
            let formed = |step| matches!(step, super::Progress::Formed { .. }).then_some(());
            told.until(formed).await;
            let environment = |pid: i32| fs::read(format!("/proc/{pid}/environ")).unwrap();
            processes_about(out.path()).into_iter().map(environment).collect::<Vec<_>>()
        })
        .await;
    let left = Left::by(&finished.unwrap());
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{}", left.error());
    assert_eq!(environments.len(), 2);
    for environment in environments {
        for variable in [&b"GOMAXPROCS=1"[..], b"GOGC=77", b"GOMEMLIMIT=400MiB"] {
            assert!(environment.split(|&byte| byte == 0).any(|found| found == variable));
        }
    }
    let config = |name| fs::read_to_string(left.folder.join("brokers").join(name)).unwrap();
    for (name, second) in [("n1.conf", false), ("n2.conf", true)] {
        let text = config(name);
        assert!(
            text.contains("max_control_line: 5000") && text.contains("no_advertise: true"),
            "{text}"
        );
        assert!(text.contains("name: \"c1\""), "merged, not replaced: {text}");
        assert_eq!(text.contains("max_subscriptions: 777"), second, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_does_not_form_ends_with_code_4_and_names_the_link() {
    for (brokers, says) in [
        (
            "topology: cluster, size: 2, config_for: {n2: {cluster: {name: other}}}",
            &["the cluster did not form within 2s", "no route between n1 and n2"][..],
        ),
        (
            "topology: leafnodes, leaves: 2, \
             config_for: {hub1: {leafnodes: {authorization: {user: a, password: b}}}}",
            &["the leafnodes did not form", "no leaf connection from leaf2 to hub1"],
        ),
        (
            "topology: supercluster, size: 1, \
             config_for: {c2: {gateway: {authorization: {user: a, password: b}}}}",
            &["the supercluster did not form", "no gateway from c1-n1 to c2"],
        ),
    ] {
        let out = tempfile::tempdir().unwrap();
        let brokers = format!("{brokers}, form_within: 2s, {}", real().await);
        let text = scenario(&brokers, &["default, nodes: 5"], &[RPC]);
        let left = Left::by(&run_alone(setup(&text, &[], out.path()).await).await.unwrap());
        assert_eq!(
            (left.summary.exit_code, left.summary.verdict),
            (4, Verdict::Error),
            "{brokers}"
        );
        for text in says.iter().chain(&["form_within"]) {
            assert!(left.error().contains(text), "{text:?} is not in\n{}", left.error());
        }
        assert!(left.summary.waves.is_empty() && left.summary.forming.is_none());
    }
}

/// What two clusters that are given so long end with, and after how long: gateways are there after a second, and
/// what clients publish in the second cluster gets nowhere.
async fn check_mute(form_within: &str) -> (Duration, String) {
    let mute = "authorization { users: [ { user: mute, password: mute, \
                permissions: { publish: { deny: \\\">\\\" } } } ] }\\nno_auth_user: mute";
    let brokers = format!(
        "topology: supercluster, size: 1, config_for: {{c2: \"{mute}\"}}, form_within: {form_within}, {}",
        real().await
    );
    let text = scenario(&brokers, &["default, nodes: 5"], &[RPC]);
    let folder = tempfile::tempdir().unwrap();
    let Setup { plan, sources, launcher, .. } = setup(&text, &[], folder.path()).await;
    let (told, _hears) = tokio::sync::mpsc::channel(100);
    let (place, stop) = (folder.path().to_owned(), Stop::default());
    let began = Instant::now();
    let kept = conductor::keep_brokers(&plan, place, sources, launcher, stop, told).await;
    (began.elapsed(), kept.unwrap_err().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_one_time_to_form_for_links_and_messages_together() {
    let mut seen = Vec::new();
    // A busy machine may need the time for other things: one that does not shows it.
    for _ in 0..5 {
        let (took, error) = check_mute("1500ms").await;
        let is_muted = error.contains("no message has come from c2-n1 to c1-n1");
        if is_muted && took < Duration::from_millis(2900) {
            assert!(error.contains("did not form within 1.5s") && !error.contains("gateway"));
            return;
        }
        seen.push((took, error));
    }
    panic!("messages had a time of their own: {seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_start_longer_than_the_network_may_take_to_form_are_not_waited_for() {
    let (_, error) = check_mute("1ms").await;
    assert!(error.contains("did not form within 1ms"), "{error}");
    assert!(error.contains("its brokers were not all ready"), "{error}");
}

/// Does this to the brokers while they form: a leaf that never connects keeps the forming going.
async fn check_spoilt(signal: Signal, says: &[&str]) {
    let out = tempfile::tempdir().unwrap();
    let never = "config_for: {hub1: {leafnodes: {authorization: {user: a, password: b}}}}";
    let brokers =
        format!("topology: leafnodes, leaves: 1, {never}, form_within: 6s, {}", real().await);
    let text = scenario(&brokers, &["default, nodes: 5"], &[RPC]);
    let (finished, ()) = run_while(setup(&text, &[], out.path()).await, async |mut told| {
        told.broker().await;
        let hub = |pid: &i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains("hub1.conf")
        };
        let pid = processes_about(out.path()).into_iter().find(hub).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    })
    .await;
    let left = Left::by(&finished.unwrap());
    assert_eq!(left.summary.exit_code, 4);
    for text in says {
        assert!(left.error().contains(text), "{text:?} is not in\n{}", left.error());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_dies_or_hangs_while_the_network_forms_is_named() {
    check_spoilt(
        Signal::SIGKILL,
        &["broker hub1 was ended by signal 9", "while the network formed"],
    )
    .await;
    check_spoilt(Signal::SIGSTOP, &["did not form", "broker hub1 shows no links"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_of_several_that_dies_in_mid_run_ends_the_run_with_its_name() {
    let out = tempfile::tempdir().unwrap();
    let brokers = format!("topology: cluster, size: 2, {}", real().await);
    let rpc = "rpc, request: {agent: emulated0, action: generate}, every: 1s, count: 60";
    let text = scenario(&brokers, &["default, nodes: 6"], &[rpc]);
    let (finished, ()) = run_while(setup(&text, &[], out.path()).await, async |mut told| {
        told.waves(1).await;
        let second = |pid: &i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains("n2.conf")
        };
        let pid = processes_about(out.path()).into_iter().find(second).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    })
    .await;
    let left = Left::by(&finished.unwrap());
    assert_eq!(left.summary.exit_code, 4);
    assert!(left.error().contains("broker n2 was ended by signal 9"), "{}", left.error());
    assert!(!left.summary.waves.is_empty());
}
