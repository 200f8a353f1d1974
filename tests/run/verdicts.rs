//! What a run passes and fails for.

use reports::verdict::Verdict;

use super::rig::{Left, real, run_alone, scenario};
use super::setup;

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
