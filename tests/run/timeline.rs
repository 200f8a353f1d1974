//! Brokers that are taken away in the middle of a run on purpose: what is measured of it, and that
//! nothing is left of it.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reports::missing::Cause;
use reports::summary::{RecoverySummary, Summary, WaveSummary};
use reports::verdict::Severity;
use serde_json::Value;

use super::rig::{Left, Program, left_in, processes_about, real, run_alone, run_while, scenario};
use super::{Progress, setup};
use crate::support::is_about_machine;

/// Waves every 250 ms.
const PULSE: &str = "pulse, request: {agent: emulated0, action: generate}, every: 250ms, \
                     deadline: 1s";
const NODES: u64 = 40;

/// A scenario of one broker with 40 nodes and so many waves, and these steps.
async fn with_steps(steps: &[&str], waves: u32, more: &str) -> String {
    let pulse = format!("{PULSE}, count: {waves}");
    let text = scenario(&real().await, &[&format!("default, nodes: {NODES}")], &[&pulse]);
    let steps: Vec<_> = steps.iter().map(|step| format!("  - {{{step}}}\n")).collect();
    format!("{text}late_grace: 250ms\ntimeline:\n{}{more}", steps.concat())
}

/// What such a run has left.
struct Ran {
    summary: Summary,
    events: Vec<Value>,
    causes: Vec<Cause>,
}

impl Ran {
    async fn to_the_end(text: &str) -> Self {
        let out = tempfile::tempdir().unwrap();
        let finished = run_alone(setup(text, &[], out.path()).await).await.unwrap();
        let left = Left::by(&finished);
        let ran = Self {
            events: left.lines("events.jsonl"),
            causes: left.missing().into_iter().map(|node| node.cause).collect(),
            summary: left.summary,
        };
        let mut invalid = ran.summary.doubts.iter().filter(|d| d.severity == Severity::Invalid);
        assert!(invalid.all(is_about_machine(&ran.summary)), "{:?}", ran.summary.doubts);
        assert!(!ran.summary.partial, "{:?}", ran.summary.error);
        ran
    }

    fn only(&self) -> &RecoverySummary {
        assert_eq!(self.summary.recovery.len(), 1);
        &self.summary.recovery[0]
    }

    fn waves(&self, holds: impl Fn(&WaveSummary) -> bool) -> usize {
        self.summary.waves.iter().filter(|wave| holds(wave)).count()
    }

    /// Every wave was sent at its instant, whatever had become of the driver's connection.
    fn check_instants(&self) {
        for wave in &self.summary.waves {
            if let Some(delay) = &wave.send_delay_us {
                assert!(delay.max < 2_000_000, "{wave:?}");
            }
        }
    }

    fn kinds(&self) -> Vec<&str> {
        let kinds = self.events.iter().filter_map(|event| event["kind"].as_str());
        kinds.filter(|kind| kind.starts_with("timeline")).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_measured_from_the_action_to_the_last_node_and_the_first_complete_wave() {
    let thresholds = "\
thresholds:
  recovery.time_to_full: [\"max < 60s\"]
  recovery.nodes_lost: [\"max == 40\"]
  \"completeness{before:restart}\": [\"min == 100%\"]
  \"completeness{after:restart}\": [\"min == 100%\"]
";
    let text = with_steps(&["at: 1s, restart: n1, for: 1s"], 32, thresholds).await;
    let ran = Ran::to_the_end(&text).await;
    let failed: Vec<_> = ran.summary.thresholds.iter().filter(|t| !t.passed).collect();
    assert!(failed.is_empty(), "{failed:?}\n{:?}", ran.only());
    let recovery = ran.only();
    assert_eq!((recovery.step.as_str(), recovery.action.as_str()), ("restart", "restart"));
    assert_eq!((recovery.nodes_lost, recovery.nodes_back, recovery.nodes_away_before), (40, 40, 0));
    let ready = recovery.ready_s.unwrap();
    let [half, most, all] =
        [recovery.time_to_s.p50, recovery.time_to_s.p99, recovery.time_to_s.all]
            .map(Option::unwrap);
    // The broker is away for a second, and no real server dials before 375 ms are over.
    assert!(ready >= 1.0 && half <= most && most <= all, "{recovery:?}");
    assert!(all > 1.0 && recovery.from_ready_to_s.all.unwrap() < all, "{recovery:?}");
    assert!(recovery.first_complete_s.unwrap() > ready, "{recovery:?}");
    assert!(recovery.first_discovery_s.is_none(), "none was sent");
    // Four waves a second went into the void, and are all accounted for.
    assert!(recovery.requests_lost >= 3 * NODES, "{recovery:?}");
    assert_eq!(recovery.requests_lost, ran.summary.missing.count);
    assert!(ran.causes.iter().filter(|cause| **cause == Cause::Disconnected).count() >= 80);
    assert!(ran.causes.iter().all(|cause| *cause != Cause::NeverConnected));
    assert!((1..=NODES).contains(&recovery.connects_per_s_max), "{recovery:?}");
    assert!(recovery.dials_per_s_max >= recovery.connects_per_s_max);
    // Nodes, and the driver's own.
    assert!(recovery.connections_before["n1"] > NODES);
    assert_eq!(recovery.connections_before, recovery.connections_after);
    ran.check_instants();
    assert!(ran.waves(|wave| wave.on_time < NODES) >= 3);
    assert_eq!(ran.kinds(), ["timeline_action", "timeline_done", "timeline_whole"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_follow_waves_and_one_another() {
    let steps = [
        "step: gone, after: {wave: pulse, number: 2}, kill: n1",
        "step: again, at: 2s, start: \"n*\"",
    ];
    let ran = Ran::to_the_end(&with_steps(&steps, 32, "").await).await;
    let [gone, again] = &ran.summary.recovery[..] else { panic!("{:?}", ran.summary.recovery) };
    assert_eq!((gone.action.as_str(), again.action.as_str()), ("kill", "start"));
    let second = &ran.summary.waves[1];
    let over = second.intended_at_s + second.request_ms / 1e3;
    assert!(gone.at_s.unwrap() >= over, "{gone:?} before {second:?}");
    assert_eq!((gone.nodes_lost, gone.ready_s), (NODES, None));
    assert_eq!((again.nodes_away_before, again.nodes_lost, again.nodes_back), (NODES, 0, NODES));
    // Both end with the same instant: the last node is back.
    let ends = [gone, again].map(|r| r.at_s.unwrap() + r.time_to_s.all.unwrap());
    assert!((ends[0] - ends[1]).abs() < 0.2, "{ends:?}");
    assert!(ran.waves(|wave| wave.on_time == NODES) >= 4);
    ran.check_instants();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_answers_up_and_costs_no_connection() {
    let ran = Ran::to_the_end(&with_steps(&["at: 1s, pause: n1, for: 2s"], 20, "").await).await;
    let recovery = ran.only();
    assert_eq!((recovery.nodes_lost, recovery.time_to_s.all), (0, Some(0.0)));
    assert!((2.0..3.0).contains(&recovery.action_s.unwrap()), "{recovery:?}");
    assert!(recovery.requests_lost >= 2 * NODES, "deadlines of a second pass: {recovery:?}");
    assert!(!ran.causes.contains(&Cause::Disconnected), "{:?}", ran.causes);
    assert_eq!(ran.summary.fleet.disconnects, 0);
    ran.check_instants();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_to_a_broker_that_stands_still_or_is_away_waits_for_its_end() {
    let brokers = format!("topology: cluster, size: 2, {}", real().await);
    let pulse = format!("{PULSE}, count: 40");
    for first in ["pause: n1, for: 4s", "restart: n1, for: 4s"] {
        // When the second turn of the rolling step begins is not known when the scenario is read.
        let steps = format!(
            "late_grace: 250ms\ntimeline:\n  - {{step: first, at: 1100ms, {first}, watch: 1s}}\n  \
             - {{step: second, at: 1s, restart: [n2, n1], rolling: 200ms, watch: 1s}}\n"
        );
        let text = scenario(&brokers, &["default, nodes: 4"], &[&pulse]) + &steps;
        let ran = Ran::to_the_end(&text).await;
        let done = ran.events.iter().filter(|event| event["kind"] == "timeline_done");
        let done: Vec<_> =
            done.map(|event| (event["step"].as_str().unwrap(), event["turn"].as_u64())).collect();
        assert_eq!(done, [("second", Some(1)), ("first", Some(1)), ("second", Some(2))], "{first}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stays_away_leaves_the_time_open_and_fails_what_is_asked_of_it() {
    let thresholds = "\
thresholds:
  recovery.time_to_full: [\"max < 45s\"]
  \"completeness{after:stop}\": [\"min == 100%\"]
";
    let text = with_steps(&["at: 500ms, stop: [n1], watch: 1s"], 12, thresholds).await;
    let ran = Ran::to_the_end(&text).await;
    let recovery = ran.only();
    assert_eq!((recovery.nodes_lost, recovery.nodes_back), (NODES, 0));
    assert_eq!((recovery.time_to_s.all, recovery.whole_s), (None, None));
    assert_eq!(ran.kinds(), ["timeline_action", "timeline_done", "timeline_not_whole"]);
    let found: Vec<_> = ran.summary.thresholds.iter().map(|t| (t.passed, &t.detail)).collect();
    assert!(
        found.iter().all(|(passed, detail)| !passed && detail.contains("no data")),
        "{found:?}"
    );
    assert!(ran.waves(|wave| wave.on_time == 0) >= 8);
    ran.check_instants();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lame_duck_that_outlasts_the_run_goes_with_it() {
    let text = with_steps(&["at: 500ms, lame_duck: n1"], 12, "").await;
    let ran = Ran::to_the_end(&text).await;
    let recovery = ran.only();
    // It sends its clients away over two thirds of half a minute.
    assert_eq!((recovery.action_s, recovery.whole_s), (None, None), "{recovery:?}");
    assert!(recovery.at_s.is_some() && recovery.nodes_lost < NODES, "{recovery:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_does_not_end_when_it_is_asked_is_killed_and_that_is_said() {
    let text = with_steps(&["at: 2s, stop: n1, watch: 1s"], 60, "").await;
    let out = tempfile::tempdir().unwrap();
    let (finished, ()) = run_while(setup(&text, &[], out.path()).await, async |mut told| {
        told.waves(1).await;
        for pid in processes_about(out.path()) {
            kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
        }
    })
    .await;
    let left = Left::by(&finished.unwrap());
    let events = left.lines("events.jsonl");
    let done = events.iter().find(|event| event["kind"] == "timeline_done").unwrap();
    assert_eq!(done["killed"], serde_json::json!(["n1"]), "{done}");
    assert!(done["took_s"].as_f64() > Some(9.0), "{done}");
    assert!(done["detail"].as_str().unwrap().contains("n1 had to be killed"), "{done}");
    // One that is killed on purpose has not resisted.
    let ran = Ran::to_the_end(&with_steps(&["at: 500ms, kill: n1"], 8, "").await).await;
    let done = ran.events.iter().find(|event| event["kind"] == "timeline_done").unwrap();
    assert_eq!(done["killed"], serde_json::json!([]), "{done}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_the_run_does_not_come_to_is_in_the_result_as_that() {
    // The last wave is over at once; the step comes after a wave that takes its whole time.
    let groups = ["quick, nodes: 5", "silent, nodes: 5, behaviour: {no_reply: 100%}"];
    let waves = [
        "rpc, request: {agent: emulated0, action: generate}, deadline: 3s, every: 200ms",
        "end, discover: {filter: {identity: [\"/^quick/\"]}}, count: 2, every: 200ms",
    ];
    let text = scenario(&real().await, &groups, &waves)
        + "late_grace: 0s\ntimeline: [{after: {wave: rpc}, kill: n1}]\n";
    let ran = Ran::to_the_end(&text).await;
    // Whichever came first: all waves over, or the broker killed with nothing left to ask.
    assert_eq!(ran.summary.recovery.len(), 1);
    assert!(ran.waves(|wave| wave.name == "end" && wave.on_time == 5) == 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_nobody_has_ends_the_run_before_anything_is_started() {
    let text = with_steps(&["at: 1s, replace: n1, path: /no/such/nats-server"], 12, "").await;
    let out = tempfile::tempdir().unwrap();
    let finished = run_alone(setup(&text, &[], out.path()).await).await.unwrap();
    let left = Left::by(&finished);
    assert_eq!(left.summary.exit_code, 4);
    assert!(left.error().contains("/no/such/nats-server"), "{}", left.error());
    assert!(left.summary.waves.is_empty() && left.summary.fleet.ever_connected == 0);
    assert!(!left.folder.join("brokers/n1.log").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_broker_is_another_program_on_the_same_ports() {
    let out = tempfile::tempdir().unwrap();
    let real = crate::support::nats_server().await;
    let body = format!(
        "echo replaced >> \"{}\"; exec {} \"$@\"",
        out.path().join("note").display(),
        real.path.display()
    );
    let other = crate::support::script(&out.path().join("bin/nats-server"), &body);
    let step = format!("at: 1s, replace: n1, path: {}, by: kill", other.display());
    let ran = Ran::to_the_end(&with_steps(&[&step], 24, "").await).await;
    assert_eq!(ran.only().action, "replace");
    assert!(ran.only().time_to_s.all.is_some(), "{:?}", ran.only());
    // Once it was asked for its version, then it was the broker.
    let note = std::fs::read_to_string(out.path().join("note")).unwrap();
    assert!(note.lines().count() >= 2, "{note}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_does_not_come_up_again_ends_the_run_with_its_words() {
    let out = tempfile::tempdir().unwrap();
    let body =
        "[ \"$1\" = --version ] && echo 'nats-server: v2.14.5' && exit 0\necho out of luck; exit 7";
    let broken = crate::support::script(&out.path().join("bin/nats-server"), body);
    let step = format!("at: 500ms, replace: n1, path: {}", broken.display());
    let text = with_steps(&[&step], 40, "").await;
    let finished = run_alone(setup(&text, &[], out.path()).await).await.unwrap();
    let left = Left::by(&finished);
    assert_eq!(left.summary.exit_code, 4);
    for says in ["step replace of the timeline", "exited with code 7", "out of luck"] {
        assert!(left.error().contains(says), "{}", left.error());
    }
    assert_eq!(left.summary.recovery[0].at_s, None, "it was not carried out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_dies_by_itself_has_died_also_after_a_restart() {
    let text = with_steps(&["at: 300ms, restart: n1"], 400, "").await;
    let out = tempfile::tempdir().unwrap();
    let (finished, ()) = run_while(setup(&text, &[], out.path()).await, async |mut told| {
        told.until(|step| match step {
            Progress::Timeline(text) => text.contains("all is back").then_some(()),
            _ => None,
        })
        .await;
        for pid in processes_about(out.path()) {
            kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        }
    })
    .await;
    let left = Left::by(&finished.unwrap());
    assert_eq!(left.summary.exit_code, 4);
    assert!(left.error().contains("broker n1 was ended by signal 9"), "{}", left.error());
    assert_eq!(left.summary.recovery[0].nodes_back, NODES, "what was measured is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_ended_while_its_broker_stands_still_or_is_down_leaves_nothing() {
    let steps = [
        "pause: n1, for: 300s",
        "kill: n1",
        "restart: n1, for: 300s",
        "lame_duck: n1",
        "restart: n1, by: lame_duck",
    ];
    for (step, signal) in steps.iter().zip([Signal::SIGINT, Signal::SIGTERM].into_iter().cycle()) {
        check_ended(step, signal).await;
    }
    check_ended("pause: n1, for: 300s", Signal::SIGKILL).await;
}

/// Ends a run whose timeline has begun; nothing of it is left.
async fn check_ended(step: &str, signal: Signal) {
    let folder = tempfile::tempdir().unwrap();
    let text = with_steps(&[&format!("at: 300ms, {step}")], 1000, "").await;
    let program = Program::run(folder.path(), &text);
    program.wait_for("timeline_action", 1);
    // Some wave goes nowhere meanwhile.
    program.wait_for("wave", 4);
    program.signal(signal);
    let ended = program.end();
    let left = left_in(folder.path());
    assert!(left.summary.partial, "{step}: {}", ended.said);
    let code = match signal {
        Signal::SIGINT => Some(130),
        Signal::SIGTERM => Some(143),
        _ => None,
    };
    assert_eq!(ended.code, code, "{step}: {}", ended.said);
}
