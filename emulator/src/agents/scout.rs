//! The agent `scout` (go-choria `scout/agent`): checks are the machines that have a watcher `nagios`
//! (recorded: `req-scout-checks`, `req-scout-maintenance`, `req-scout-trigger-no-checks`,
//! `edge/scout-trigger-bad-type`, `req-scout-goss-missing-file`). A departure: rules for goss that come
//! with the request are not run.

use super::inputs::{self, Field, Texts};
use super::metadata::{array, list};
use super::rpc::{Asked, Failure};
use super::{Answer, Ask};
use crate::node::NodeView;

/// The actions that have an answer.
pub(super) const ACTIONS: [&str; 5] =
    ["checks", "trigger", "maintenance", "resume", "goss_validate"];

/// Data of a failed `goss_validate`.
const NOTHING_VALIDATED: &str = concat!(
    r#"{"failures":0,"results":[],"runtime":0,"success":0,"skipped":0,"#,
    r#""summary":"","tests":0}"#
);

/// An action and its inputs.
#[derive(Debug)]
enum Question {
    Checks,
    /// The transition, and the checks that shall make it; none are all.
    Transition(&'static str, Texts),
}

pub(super) fn ask(asked: Asked<'_>) -> Result<Answer, Failure> {
    let question = match asked.action {
        "checks" => Question::Checks,
        "trigger" => transition(asked, "TriggerRequest", "FORCE_CHECK")?,
        "maintenance" => transition(asked, "MaintenanceRequest", "MAINTENANCE")?,
        "resume" => transition(asked, "ResumeRequest", "RESUME")?,
        "goss_validate" => return Err(goss(asked).with_data(NOTHING_VALIDATED)),
        _ => return Err(Failure::unknown_action(asked.agent, asked.action)),
    };
    Ok(Answer::of_node(question))
}

fn transition(asked: Asked<'_>, type_name: &str, to: &'static str) -> Result<Question, Failure> {
    let mut checks = Texts::default();
    let mut fields = [("checks", Field::Texts(&mut checks))];
    inputs::read(asked.data, "agent", type_name, &mut fields).map_err(|problem| {
        let none = || std::iter::empty();
        Failure::bad_inputs(asked, &problem).with_data(moved(none(), none(), none()))
    })?;
    Ok(Question::Transition(to, checks))
}

fn moved<'a>(
    made: impl Iterator<Item = &'a str>,
    failed: impl Iterator<Item = &'a str>,
    skipped: impl Iterator<Item = &'a str>,
) -> String {
    let (made, failed, skipped) =
        (list(made.map(Into::into)), list(failed.map(Into::into)), list(skipped.map(Into::into)));
    format!(r#"{{"transitioned":{made},"failed":{failed},"skipped":{skipped}}}"#)
}

impl Ask for Question {
    fn answer(&self, node: &mut NodeView<'_>, now_unix: i64) -> Result<String, Failure> {
        match self {
            Question::Checks => {
                let machines = node.machines.by_name();
                let checks = machines.iter().filter_map(|machine| machine.as_check(now_unix));
                Ok(format!(r#"{{"checks":{}}}"#, array(checks)))
            }
            Question::Transition(to, checks) => move_checks(node, to, checks, now_unix),
        }
    }
}

/// What became of a check that was to make a transition.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Made,
    Failed,
    Skipped,
}

/// Checks that are there make the transition if they can; a name that is no check fails.
fn move_checks(
    node: &mut NodeView<'_>,
    to: &str,
    named: &Texts,
    now_unix: i64,
) -> Result<String, Failure> {
    let known: Vec<(String, bool)> = {
        let machines = node.machines.by_name();
        let checks = machines.iter().filter(|machine| machine.is_check());
        checks.map(|check| (check.name().to_owned(), check.can(to))).collect()
    };
    let all = known.iter().map(|(name, _)| name.as_str()).filter(|_| named.is_empty());
    let names = || all.clone().chain(named.iter());
    let mut fate = |name: &str| match known.iter().find(|(check, _)| check == name) {
        None => Fate::Failed,
        Some((_, false)) => Fate::Skipped,
        Some(_) => match node.machines.transition([name, "", "", ""], to, now_unix) {
            Ok(()) => Fate::Made,
            Err(_) => Fate::Failed,
        },
    };
    let fates: Vec<Fate> = names().map(&mut fate).collect();
    let of = |fate| {
        let named = names().zip(&fates).filter(move |(_, is)| **is == fate);
        named.map(|(name, _)| name)
    };
    let data = moved(of(Fate::Made), of(Fate::Failed), of(Fate::Skipped));
    if !named.is_empty() && of(Fate::Failed).next().is_some() {
        let message = format!("Some checks could not be transitioned to {to}");
        return Err(Failure::aborted(message).with_data(data));
    }
    Ok(data)
}

/// Why nothing is validated: nodes have no files.
fn goss(asked: Asked<'_>) -> Failure {
    let names = ["yaml_rules", "file", "vars", "yaml_vars"];
    let given = inputs::texts(asked.data, "agent", "GossValidateRequest", names);
    let [rules, file, vars, vars_data] = match given {
        Ok(given) => given,
        Err(problem) => return Failure::bad_inputs(asked, &problem),
    };
    Failure::aborted(match (rules.is_empty(), file.is_empty()) {
        (true, true) => "One of rules or file is required".to_owned(),
        (false, false) => "Only one of rules or file can be supplied".to_owned(),
        _ if !vars.is_empty() && !vars_data.is_empty() => {
            "Only one of yaml_vars or vars can be supplied".to_owned()
        }
        // goss looks at the name first (seen of go-choria 0.30.2).
        (true, false) => match extension(&file) {
            ".yaml" | ".yml" | ".json" => {
                format!("Could not validate: file error: open {file}: no such file or directory")
            }
            other => format!("Could not validate: unknown file extension: {other}"),
        },
        (false, true) => "Could not validate: emulated nodes do not run goss".to_owned(),
    })
}

/// The end of a file's name from its last dot on, as Go has it.
fn extension(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or_default();
    name.rfind('.').and_then(|dot| name.get(dot..)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::Machines;
    use crate::node::{Counters, Group, Profile};
    use crate::spec::Behaviour;
    use serde_json::{Value, json};

    /// Asks for an action with this data; expects a status code, its text and the reply's data.
    fn check(rows: &[(&str, &str, u8, &str, Value)]) {
        for (action, data, code, message, expected) in rows {
            let reply: Value = serde_json::from_str(&reply(action, data)).unwrap();
            let expected = json!({
                "action": action, "statuscode": code, "statusmsg": message, "data": expected,
            });
            assert_eq!(reply, expected, "{action} {data}");
        }
    }

    fn reply(action: &str, data: &str) -> String {
        let question = match ask(Asked::of("scout", action, data)) {
            Ok(Answer::OfNode(super::super::Question::Stock(question))) => question,
            Ok(other) => panic!("{action} {data}: {other:?}"),
            Err(failure) => return failure.reply(action),
        };
        let mut node = NodeView {
            group: &Group::with_profile(Profile::default(), Behaviour::default()).unwrap(),
            index: 0,
            identity: "web1.example.net",
            broker: "nats://127.0.0.1:4222",
            counters: &mut Counters::default(),
            started_unix: 1,
            machines: &mut Machines::default(),
        };
        match question.answer(&mut node, 2) {
            Ok(data) => super::super::rpc::reply(action, 0, "OK", &data),
            Err(failure) => failure.reply(action),
        }
    }

    #[test]
    fn a_server_without_checks_has_nothing_to_do() {
        let none = json!({"transitioned": [], "failed": [], "skipped": []});
        let failed = |name: &str| json!({"transitioned": [], "failed": [name], "skipped": []});
        check(&[
            ("checks", "{}", 0, "OK", json!({"checks": []})),
            ("trigger", "{}", 0, "OK", none.clone()),
            ("resume", r#"{"checks":null}"#, 0, "OK", none.clone()),
            (
                "maintenance",
                r#"{"checks":["a"]}"#,
                1,
                "Some checks could not be transitioned to MAINTENANCE",
                failed("a"),
            ),
            (
                "trigger",
                r#"{"checks":[null]}"#,
                1,
                "Some checks could not be transitioned to FORCE_CHECK",
                failed(""),
            ),
            (
                "trigger",
                r#"{"checks":["a",1]}"#,
                4,
                "Could not parse request data for scout#trigger: json: cannot unmarshal number into Go struct field TriggerRequest.checks of type string",
                none.clone(),
            ),
            (
                "trigger",
                r#"{"checks":"x"}"#,
                4,
                "Could not parse request data for scout#trigger: json: cannot unmarshal string into Go struct field TriggerRequest.checks of type []string",
                none,
            ),
            ("nosuch", "{}", 2, "Unknown action nosuch for agent scout", json!({})),
        ]);
    }

    #[test]
    fn nothing_is_validated_and_why_is_said() {
        let goss: Value = serde_json::from_str(NOTHING_VALIDATED).unwrap();
        check(&[
            ("goss_validate", "{}", 1, "One of rules or file is required", goss.clone()),
            (
                "goss_validate",
                r#"{"file":"a","yaml_rules":"b"}"#,
                1,
                "Only one of rules or file can be supplied",
                goss.clone(),
            ),
            (
                "goss_validate",
                r#"{"file":"a","vars":"b","yaml_vars":"c"}"#,
                1,
                "Only one of yaml_vars or vars can be supplied",
                goss.clone(),
            ),
            (
                "goss_validate",
                r#"{"file":"/b.d/a.yaml"}"#,
                1,
                "Could not validate: file error: open /b.d/a.yaml: no such file or directory",
                goss.clone(),
            ),
            (
                "goss_validate",
                r#"{"file":"/b.d/a"}"#,
                1,
                "Could not validate: unknown file extension: ",
                goss.clone(),
            ),
            (
                "goss_validate",
                r#"{"file":"/a.txt"}"#,
                1,
                "Could not validate: unknown file extension: .txt",
                goss.clone(),
            ),
            (
                "goss_validate",
                r#"{"yaml_rules":"a"}"#,
                1,
                "Could not validate: emulated nodes do not run goss",
                goss,
            ),
        ]);
    }
}
