//! Networks that are there already and of which several brokers are named: one network, or not.

use choria_emulator::broker::Broker;
use choria_emulator::conductor::Strangers;
use reports::verdict::Verdict;
use tokio::net::TcpListener;

use super::rig::{Left, broker_with, run_alone, scenario};
use super::setup;
use super::watched::two;
use crate::support::SOON;

const QUIET: &str = "web, nodes: 40, events: {startup: false, alive: false, shutdown: false}";
const RPC: &str = "rpc, request: {agent: emulated0, action: generate}, every: 1s, count: 2";

/// The brokers of a scenario: these, in this order, with two seconds to prove that they are joined.
fn all_of(urls: &[&str]) -> String {
    let urls: Vec<_> = urls.iter().map(|url| format!("\"{url}\"")).collect();
    format!("topology: external, urls: [{}], form_within: 2s", urls.join(", "))
}

async fn run_on(urls: &[&str]) -> Left {
    let out = tempfile::tempdir().unwrap();
    let text = scenario(&all_of(urls), &[QUIET], &[RPC]);
    Left::by(&run_alone(setup(&text, &[], out.path()).await).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_are_joined_are_proved_before_nodes_connect_and_when_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let brokers = two(folder.path()).await;
    let [one, other] = brokers.each_ref().map(Broker::url);
    let out = tempfile::tempdir().unwrap();
    let text = scenario(&all_of(&[&one, &other]), &[QUIET], &[RPC])
        + "thresholds:\n  forming.time: [\"value > 0s\"]\n  forming.interest_time: [\"value > 0s\"]\n";
    let left = Left::by(&run_alone(setup(&text, &[], out.path()).await).await.unwrap());
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{}", left.error());
    assert!(left.summary.waves.iter().all(|wave| wave.on_time == 40), "{:?}", left.summary.missing);
    let forming = left.summary.forming.as_ref().unwrap();
    assert!(forming.links.is_empty(), "how they are joined is not known: {forming:?}");
    for kind in ["formed", "interest"] {
        assert!(left.lines("events.jsonl").iter().any(|event| event["kind"] == kind), "{kind}");
    }
    // Half of the nodes and a probe each; the client and its listener are on the first.
    for broker in brokers {
        let varz = broker.sample().await.unwrap().varz;
        assert_eq!((varz.connections, varz.total_connections > 20), (0, true), "{varz:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_are_not_joined_end_the_run_before_any_load_and_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let start = async |name: &str| broker_with(&folder.path().join(name), "").await;
    let brokers = [start("one").await, start("other").await];
    let [one, other] = brokers.each_ref().map(Broker::url);
    let left = run_on(&[&one, &other]).await;
    assert_eq!((left.summary.exit_code, left.summary.verdict), (4, Verdict::Error));
    for says in [
        "are not one network",
        &format!("no message has come from n1 ({one}) to n2 ({other})"),
        &format!("no message has come from n2 ({other}) to n1 ({one})"),
        "leave a URL out",
    ] {
        assert!(left.error().contains(says), "{says:?} is not in\n{}", left.error());
    }
    assert!(left.summary.waves.is_empty() && left.summary.fleet.ever_connected == 0);

    // The same where the nodes are not ours.
    let out = tempfile::tempdir().unwrap();
    let text = scenario(&all_of(&[&one, &other]), &[QUIET], &[RPC]);
    let mut setup = setup(&text, &[], out.path()).await;
    setup.strangers = Some(Strangers::Discovered);
    let left = Left::by(&run_alone(setup).await.unwrap());
    assert_eq!(left.summary.exit_code, 4);
    assert!(left.error().contains("are not one network"), "{}", left.error());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_of_several_that_is_not_there_or_says_nothing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker_with(folder.path(), "").await;
    // Nobody listens where a listener was until now; and somebody who never says who he is.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for url in [gone, silent.local_addr().unwrap()].map(|at| format!("nats://{at}")) {
        let here = broker.url();
        let urls = [here.as_str(), url.as_str()];
        let left = tokio::time::timeout(2 * SOON, run_on(&urls)).await.unwrap();
        assert_eq!(left.summary.exit_code, 4, "{url}");
        assert!(left.error().contains(&url), "{}", left.error());
        assert_eq!(left.summary.fleet.ever_connected, 0, "{url}");
    }
}
