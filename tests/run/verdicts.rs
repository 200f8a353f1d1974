//! What a run passes and fails for.

use choria_emulator::conductor::{Stop, StopReason};
use reports::verdict::Verdict;

use super::rig::{Left, real, run_alone, scenario};
use super::{run, setup};

/// Registrations that no broker takes are no lost events, since nobody published them: the result says so.
#[tokio::test(flavor = "multi_thread")]
async fn registrations_that_cannot_be_published_are_a_doubt() {
    let registration = |name: &str, compression: bool| {
        format!(
            "{name}, nodes: 2, facts: {{text: {}}}, registration: {{content: inventory_content, \
             interval: 1s, splay: false, compression: {compression}}}",
            "x".repeat(6000)
        )
    };
    let groups = [registration("small", true), registration("large", false)];
    let brokers = format!("{}, config: {{max_payload: 5000}}", real().await);
    let rpc = "rpc, request: {agent: rpcutil, action: ping}, every: 1s, count: 7";
    let text = scenario(&brokers, &groups.each_ref().map(String::as_str), &[rpc]);
    let out = tempfile::tempdir().unwrap();
    let left = Left::by(&run_alone(setup(&text, &[], out.path()).await).await.unwrap());
    let registrations = left.summary.events["registration"];
    assert!(registrations.published >= 2, "{registrations:?}");
    assert_eq!(registrations.published, registrations.received);
    let doubt = left.summary.doubts.iter().find(|doubt| doubt.kind == "unpublishable");
    let detail = &doubt.expect("a doubt").detail;
    let count: u64 = detail.split(' ').next().unwrap().parse().unwrap();
    assert!(count >= left.summary.fleet.counters["unpublishable"] && count >= 2, "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn thresholds_that_are_missed_or_have_no_data_fail_the_run_and_say_why() {
    let groups = ["good, nodes: 9", "silent, nodes: 1, behaviour: {no_reply: 100%}"];
    let ask = |name, group| {
        format!(
            "{name}, request: {{agent: emulated0, action: generate, \
             filter: {{identity: [\"/^{group}/\"]}}}}, deadline: 500ms, every: 1s"
        )
    };
    let waves = [ask("rpc", "."), ask("nobody", "silent")];
    let waves: Vec<&str> = waves.iter().map(String::as_str).collect();
    let text = scenario(&real().await, &groups, &waves)
        + "late_grace: 0s\n\
           thresholds:\n  \
             \"completeness{wave:rpc}\": [\"min == 100%\", \"min > 80%\"]\n  \
             \"response_time{wave:nobody}\": [\"p(99) < 10s\"]\n  \
             missing: [\"count < 5\"]\n";
    let out = tempfile::tempdir().unwrap();
    let left = Left::by(&run_alone(setup(&text, &[], out.path()).await).await.unwrap());
    assert_eq!(left.code_on_a_quiet_machine(), 99, "{:?}", left.summary);
    if left.summary.exit_code == 99 {
        assert_eq!(left.summary.verdict, Verdict::ThresholdsFailed);
    }
    assert!(!left.summary.partial);
    let outcomes: Vec<_> = left.summary.thresholds.iter().collect();
    let passed: Vec<_> = outcomes.iter().map(|t| (t.expression.as_str(), t.passed)).collect();
    assert_eq!(
        passed,
        [("min == 100%", false), ("min > 80%", true), ("p(99) < 10s", false), ("count < 5", true)]
    );
    assert_eq!(outcomes[0].value, Some(0.9));
    assert_eq!(outcomes[2].value, None);
    assert!(outcomes[2].detail.contains("no data"), "{:?}", outcomes[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_short_waves_are_sent_in_time_and_end_when_somebody_asks() {
    let rpc = "rpc, request: {agent: emulated0, action: generate}, every: 20ms, count: 100000";
    let text = scenario(&real().await, &["good, nodes: 20"], &[rpc]);
    let out = tempfile::tempdir().unwrap();
    let stop = Stop::default();
    let asks = stop.clone();
    let setup = setup(&text, &[], out.path()).await;
    let enough = async {
        // Until the result tells of some hundreds of waves.
        let events = || std::fs::read_to_string(out.path().join("latest/events.jsonl"));
        while events().unwrap_or_default().matches("\"wave\":").count() < 300 {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        asks.ask(StopReason::Interrupted);
    };
    let both = Box::pin(async { tokio::join!(run(setup, stop), enough) });
    let bound = std::time::Duration::from_secs(100);
    let ((finished, _), ()) = tokio::time::timeout(bound, both).await.unwrap();
    let finished = finished.unwrap();
    assert_eq!(finished.result.verdict(), Verdict::Interrupted);
    let waves = finished.result.tally.waves.counted();
    assert!(waves.len() >= 290, "{}", waves.len());
    assert!(finished.result.tally.doubts.len() < 10, "{:?}", finished.result.tally.doubts);
}
