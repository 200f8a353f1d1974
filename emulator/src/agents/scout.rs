//! The agent `scout` (go-choria `scout/agent`) of a server that has no checks, as emulated nodes run no
//! autonomous agents (recorded: `req-scout-trigger-no-checks`, `edge/scout-trigger-bad-type`,
//! `req-scout-goss-missing-file`). A departure: rules for goss that come with the request are not run.

use super::Answer;
use super::inputs::{self, Field};
use super::metadata::list;
use super::rpc::{self, Failure};

/// The actions that have an answer.
pub(super) const ACTIONS: [&str; 5] =
    ["checks", "trigger", "maintenance", "resume", "goss_validate"];

/// Data of a failed `goss_validate`.
const NOTHING_VALIDATED: &str = concat!(
    r#"{"failures":0,"results":[],"runtime":0,"success":0,"skipped":0,"#,
    r#""summary":"","tests":0}"#
);

pub(super) fn ask(agent: &str, action: &str, data: &[u8]) -> Result<Answer, Failure> {
    match action {
        "checks" => Ok(Answer::Same(rpc::reply(action, 0, "OK", r#"{"checks":[]}"#))),
        "trigger" => transition(agent, action, data, "TriggerRequest", "FORCE_CHECK"),
        "maintenance" => transition(agent, action, data, "MaintenanceRequest", "MAINTENANCE"),
        "resume" => transition(agent, action, data, "ResumeRequest", "RESUME"),
        "goss_validate" => Err(goss(agent, action, data).with_data(NOTHING_VALIDATED)),
        _ => Err(Failure::unknown_action(agent, action)),
    }
}

/// Checks that are named are unknown; without a name it is all of none.
fn transition(
    agent: &str,
    action: &str,
    data: &[u8],
    type_name: &str,
    to: &str,
) -> Result<Answer, Failure> {
    let transitioned = |failed: Vec<String>| {
        let failed = list(failed.into_iter().map(Into::into));
        format!(r#"{{"transitioned":[],"failed":{failed},"skipped":[]}}"#)
    };
    let mut checks = Vec::new();
    let mut fields = [("checks", Field::Texts(&mut checks))];
    inputs::read(data, "agent", type_name, &mut fields).map_err(|problem| {
        Failure::bad_inputs(agent, action, &problem).with_data(transitioned(Vec::new()))
    })?;
    if checks.is_empty() {
        return Ok(Answer::Same(rpc::reply(action, 0, "OK", &transitioned(checks))));
    }
    let message = format!("Some checks could not be transitioned to {to}");
    Err(Failure::aborted(message).with_data(transitioned(checks)))
}

/// Why nothing is validated: nodes have no files.
fn goss(agent: &str, action: &str, data: &[u8]) -> Failure {
    let names = ["yaml_rules", "file", "vars", "yaml_vars"];
    let given = inputs::texts(data, "agent", "GossValidateRequest", names);
    let [rules, file, vars, vars_data] = match given {
        Ok(given) => given,
        Err(problem) => return Failure::bad_inputs(agent, action, &problem),
    };
    Failure::aborted(match (rules.is_empty(), file.is_empty()) {
        (true, true) => "One of rules or file is required".to_owned(),
        (false, false) => "Only one of rules or file can be supplied".to_owned(),
        _ if !vars.is_empty() && !vars_data.is_empty() => {
            "Only one of yaml_vars or vars can be supplied".to_owned()
        }
        (true, false) => {
            format!("Could not validate: file error: open {file}: no such file or directory")
        }
        (false, true) => "Could not validate: emulated nodes do not run goss".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Asks for an action with this data; expects a status code, its text and the reply's data.
    fn check(rows: &[(&str, &str, u8, &str, Value)]) {
        for (action, data, code, message, expected) in rows {
            let reply = match ask("scout", action, data.as_bytes()) {
                Ok(Answer::Same(reply)) => reply,
                Ok(other) => panic!("{action} {data}: {other:?}"),
                Err(failure) => failure.reply(action),
            };
            let reply: Value = serde_json::from_str(&reply).unwrap();
            let expected = json!({
                "action": action, "statuscode": code, "statusmsg": message, "data": expected,
            });
            assert_eq!(reply, expected, "{action} {data}");
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
                r#"{"file":"/a"}"#,
                1,
                "Could not validate: file error: open /a: no such file or directory",
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
