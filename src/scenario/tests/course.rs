//! Timelines of which a step does not find its brokers as it needs them.

use super::*;

/// Ten waves, one a second, each over after 2.5 s at the latest.
fn scenario(steps: &str) -> String {
    format!(
        "version: 1\nname: t\nlate_grace: 500ms\nbrokers: {{topology: cluster, size: 3}}\n\
         fleet: [{{group: a, nodes: 1}}]\n\
         waves: [{{name: a, discover: {{}}, every: 1s, count: 10, deadline: 2s}}]\n\
         timeline:\n{steps}"
    )
}

fn lines(steps: &[&str]) -> String {
    let line = |(number, step): (usize, &&str)| format!("  - {{step: s{number}, {step}}}\n");
    steps.iter().enumerate().map(line).collect()
}

#[test]
fn a_step_that_cannot_find_its_broker_as_it_needs_it_is_refused_where_it_stands() {
    for (steps, line, says) in [
        (
            &["at: 1s, kill: n1", "at: 2s, restart: n1"][..],
            9,
            "n1 does not run then: step 1 (`kill`) has ended it|write `start: n1` instead",
        ),
        (
            &["at: 1s, stop: [n2, n1]", "at: 2s, stop: \"n*\""],
            9,
            "n1 does not run then: step 1 (`stop`) has ended it|leave it out, or write a step `start: n1`",
        ),
        (&["at: 1s, lame_duck: n1", "at: 2s, kill: n1"], 9, "step 1 (`lame_duck`) has ended it"),
        (&["at: 1s, kill: n1", "at: 2s, pause: n1, for: 1s"], 9, "step 1 (`kill`) has ended it"),
        // Written in another order than it happens.
        (&["at: 3s, kill: n1", "at: 1s, stop: n1"], 8, "step 2 (`stop`) has ended it"),
        (&["at: 3s, stop: n1", "at: 1s, start: n1"], 9, "nothing ends n1 before"),
        (
            &["at: 1s, stop: n1", "at: 2s, start: n1", "at: 3s, start: n1"],
            10,
            "n1 runs then: nothing ends it after step 2 (`start`)|or `restart: n1` instead",
        ),
        (
            &["at: 1s, pause: n1, for: 5s", "at: 3s, kill: n1"],
            9,
            "n1 stands still until 6s, because of step 1 (`pause`)|write an instant after 6s",
        ),
        (
            &["at: 1s, restart: n1, for: 5s", "at: 3s, start: n1"],
            9,
            "n1 is away until 6s, because of step 1 (`restart`)",
        ),
        (
            &["at: 2s, stop: n1", "at: 2s, start: n1"],
            9,
            "step 1 (`stop`) acts on n1 at the same instant|one `restart`",
        ),
        (
            &["after: {wave: a, number: 2}, stop: n1", "after: {wave: a, number: 2}, kill: n1"],
            9,
            "acts on n1 at the same instant",
        ),
        // Wave 2 is sent at 1 s and over at 3.5 s.
        (
            &["after: {wave: a, number: 2}, kill: n1", "at: 3501ms, kill: n1"],
            9,
            "step 1 (`kill`) has ended it",
        ),
        (
            &["at: 999ms, kill: n1", "after: {wave: a, number: 2}, kill: n1"],
            9,
            "step 1 (`kill`) has ended it",
        ),
        (
            &["after: {wave: a, number: 1}, kill: n1", "after: {wave: a, number: 5}, kill: n1"],
            9,
            "step 1 (`kill`) has ended it",
        ),
        (
            &["at: 500ms, pause: n1, for: 4s", "after: {wave: a, number: 2}, kill: n1"],
            9,
            "n1 stands still until 4s 500ms",
        ),
        // The second of the rolling ones ends after 4 s at the earliest.
        (
            &["at: 1s, stop: [n1, n2], rolling: 3s", "at: 2s, start: n2"],
            9,
            "nothing ends n2 before",
        ),
    ] {
        let told = refusal(&scenario(&lines(steps)), &[]);
        for says in says.split('|') {
            assert!(told.contains(says), "{steps:?}: {told}");
        }
        assert!(told.starts_with(&format!("full.yaml:{line}:")), "{steps:?}: {told}");
        assert_eq!(told.matches("full.yaml:").count(), 1, "{steps:?}: {told}");
    }
}

#[test]
fn what_is_not_decided_by_the_instants_of_steps_is_left_to_the_run() {
    for steps in [
        &["at: 1s, kill: n1", "at: 2s, start: n1", "at: 3s, stop: n1"][..],
        &["at: 1s, kill: n1", "at: 1s, kill: n2"],
        &["at: 1s, pause: n1, for: 2s", "at: 3s, kill: n1"],
        &["at: 1s, pause: n1, for: 2s", "at: 2s, kill: n2"],
        &["at: 1s, restart: n1", "at: 2s, restart: n1"],
        // After wave 2, which may be over at 1 s or at 3.5 s.
        &["after: {wave: a, number: 2}, kill: n1", "at: 3s, start: n1"],
        &["at: 3s, kill: n1", "after: {wave: a, number: 2}, stop: n1", "at: 8s, start: n1"],
        &["after: {wave: a, number: 2}, kill: n1", "after: {wave: a, number: 3}, start: n1"],
        &["at: 1s, stop: n*, rolling: 2s", "at: 8s, start: n3"],
        &["at: 1s, stop: n*, rolling: whole", "at: 2s, start: n3"],
    ] {
        let parsed = parse(&scenario(&lines(steps)), &[]);
        assert!(parsed.is_ok(), "{steps:?}: {}", parsed.unwrap_err());
    }
}
