//! Brokers of truly different releases in one run: put in the place of one another while waves go on, and
//! networks that they do not form.

use reports::summary::Summary;
use reports::verdict::Verdict;

use super::rig::{Left, run_alone, scenario};
use super::scenarios::check;
use super::setup;

/// What each broker ran, in order, as versions.
fn ran(summary: &Summary) -> Vec<Vec<&str>> {
    let mut ran = Vec::new();
    for broker in &summary.cost.brokers {
        assert!(broker.ran.iter().all(|ran| ran.build.go.is_some()), "{broker:?}");
        ran.push(broker.ran.iter().map(|ran| ran.build.version.as_str()).collect());
    }
    ran
}

/// A broker with 40 nodes becomes another release in mid run: everybody comes back, and answers.
async fn check_replaced(from: &str, to: &str) {
    let rpc = "rpc, request: {agent: emulated0, action: generate}, every: 250ms, deadline: 1s, \
               count: 60";
    let text = scenario(&format!("nats: \"{from}\""), &["default, nodes: 40"], &[rpc])
        + &format!(
            "late_grace: 250ms\ntimeline: [{{at: 1s, replace: n1, nats: \"{to}\"}}]\nthresholds:\n  \
             recovery.nodes_lost: [\"rate == 100%\"]\n  recovery.time_to_full: [\"max < 60s\"]\n  \
             \"completeness{{before:replace}}\": [\"min == 100%\"]\n  \
             \"completeness{{after:replace}}\": [\"min == 100%\"]\n"
        );
    let out = tempfile::tempdir().unwrap();
    let left = Left::by(&run_alone(setup(&text, &[], out.path()).await).await.unwrap());
    let summary = &left.summary;
    let what = format!("{from} to {to}");
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{what}: {:?}", summary.thresholds);
    let recovery = &summary.recovery[0];
    assert_eq!((recovery.nodes_lost, recovery.nodes_back), (40, 40), "{what}");
    assert_eq!(summary.waves.last().map(|wave| wave.on_time), Some(40), "{what}");
    // What it is now is what counts, also where that is the older one.
    assert_eq!(ran(summary), [[from, to]], "{what}");
    let broker = &summary.cost.brokers[0];
    assert_eq!((broker.version.as_str(), broker.go.is_some()), (to, true), "{what}");
    let since = broker.ran[1].since_s;
    assert!(since > recovery.at_s.unwrap() && since < summary.duration_s, "{what}: {broker:?}");
    let text = reports::render::terminal::render(summary, None, Default::default());
    assert!(text.contains(&format!("{from}, then {to}")), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "builds old releases: minutes, and needs Go; run with --ignored"]
async fn releases_from_2_9_take_the_place_of_one_another_up_and_down_while_waves_go_on() {
    for (from, to) in [("2.12.15", "2.14.5"), ("2.9.25", "2.14.5"), ("2.14.5", "2.12.15")] {
        check_replaced(from, to).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "builds old releases: minutes, and needs Go; run with --ignored"]
async fn releases_from_2_12_are_upgraded_one_after_the_other_as_lame_ducks() {
    // The scenario as it is, thresholds included, but for its size and its pace.
    let small = [
        "fleet.default.nodes=90",
        "brokers.nats=2.12.15",
        "waves.discovery.every=1s",
        "waves.discovery.count=110",
    ];
    let summary = check("rolling-upgrade.yaml", &small).await;
    assert_eq!(ran(&summary), [["2.12.15", "2.14.5"]; 3]);
    let turns: Vec<_> = summary.recovery.iter().map(|r| (r.turn, r.brokers.join(" "))).collect();
    assert_eq!(turns, [(1, "n1".to_owned()), (2, "n2".to_owned()), (3, "n3".to_owned())]);
    for recovery in &summary.recovery {
        assert!(recovery.nodes_lost >= 30 && recovery.whole_s.is_some(), "{recovery:?}");
        // It sends them away over a while, and not at once.
        assert!(recovery.ready_s.unwrap() > 1.0, "{recovery:?}");
    }
    let last = &summary.recovery[2];
    let whole = last.at_s.unwrap() + last.whole_s.unwrap();
    let after: Vec<_> = summary.waves.iter().filter(|wave| wave.intended_at_s > whole).collect();
    assert!(after.len() >= 3 && after.iter().all(|wave| wave.on_time == 90), "{last:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "builds old releases: minutes, and needs Go; run with --ignored"]
async fn releases_from_before_what_a_hub_asks_for_form_no_network_and_the_link_is_named() {
    // Each two of 2.0.0, 2.1.9, 2.2.6, 2.9.25, 2.12.15 and 2.14.5 form a cluster, a supercluster, and a hub with
    // a leaf either way, as we configure them: all were run. What keeps two releases apart is a hub that
    // takes no leaves older than this.
    let brokers = "topology: leafnodes, leaves: 2, form_within: 4s, \
                   nats: {hub1: \"2.14.5\", leaf1: \"2.14.5\", leaf2: \"2.9.25\"}, \
                   config_for: {hub1: {leafnodes: {min_version: \"2.12.0\"}}}";
    let rpc = "rpc, request: {agent: emulated0, action: generate}";
    let out = tempfile::tempdir().unwrap();
    let text = scenario(brokers, &["default, nodes: 5"], &[rpc]);
    let left = Left::by(&run_alone(setup(&text, &[], out.path()).await).await.unwrap());
    assert_eq!((left.summary.exit_code, left.summary.verdict), (4, Verdict::Error));
    for says in ["did not form within 4s", "no leaf connection from leaf2 to hub1"] {
        assert!(left.error().contains(says), "{says:?} is not in\n{}", left.error());
    }
    assert!(!left.error().contains("leaf1"), "{}", left.error());
    assert!(left.summary.waves.is_empty() && left.summary.forming.is_none());
    let log = std::fs::read_to_string(left.folder.join("brokers/hub1.log")).unwrap();
    assert!(log.contains("minimum version"), "{log}");
}
