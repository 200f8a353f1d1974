//! The agent `choria_provision` (protocol document 8.4; go-choria
//! `providers/agent/mcorpc/golang/provision`) of a server that is not being provisioned and whose token
//! nobody knows: it does nothing, in the real server's words. A departure: the lock that keeps two
//! provisioners apart is not held, as nothing happens under it.

use super::Answer;
use super::inputs::{self, Field};
use super::rpc::{Asked, Failure};

/// The actions that have an answer.
pub(super) const ACTIONS: [&str; 8] = [
    "configure",
    "gen25519",
    "gencsr",
    "jwt",
    "release_update",
    "reprovision",
    "restart",
    "shutdown",
];

pub(super) fn ask(asked: Asked<'_>) -> Result<Answer, Failure> {
    let type_name = match asked.action {
        "configure" | "gen25519" | "gencsr" | "jwt" => {
            let message = "Cannot reconfigure a server that is not in provisioning mode";
            return Err(Failure::aborted(message));
        }
        "release_update" => {
            let message = "Cannot update a server that is not in provisioning mode";
            return Err(Failure::aborted(message));
        }
        "reprovision" => "ReprovisionRequest",
        "restart" => "RestartRequest",
        "shutdown" => "ShutdownRequest",
        _ => return Err(Failure::unknown_action(asked.agent, asked.action)),
    };
    let (mut token, mut splay) = (String::new(), 0);
    let mut fields = vec![("token", Field::Text(&mut token))];
    if asked.action == "restart" {
        fields.push(("splay", Field::Integer(&mut splay)));
    }
    inputs::read(asked.data, "provision", type_name, &mut fields)
        .map_err(|problem| Failure::bad_inputs(asked, &problem))?;
    Err(Failure::aborted("Incorrect provision token supplied"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_provisioned() {
        const RECONFIGURE: &str = "Cannot reconfigure a server that is not in provisioning mode";
        const TOKEN: &str = "Incorrect provision token supplied";
        for (action, data, says) in [
            ("configure", "{}", RECONFIGURE),
            ("gen25519", "{}", RECONFIGURE),
            ("gencsr", "{}", RECONFIGURE),
            ("jwt", r#"{"token":"x"}"#, RECONFIGURE),
            ("release_update", "{}", "Cannot update a server that is not in provisioning mode"),
            ("reprovision", "{}", TOKEN),
            ("restart", r#"{"token":"x","splay":2}"#, TOKEN),
            ("restart", r#"{"splay":"2"}"#, "RestartRequest.splay of type int"),
            ("shutdown", r#"{"token":1}"#, "ShutdownRequest.token of type string"),
            ("shutdown", r#"{"splay":"2"}"#, TOKEN),
            ("nosuch", "{}", "Unknown action nosuch for agent choria_provision"),
        ] {
            let failure = ask(Asked::of("choria_provision", action, data)).unwrap_err();
            assert!(failure.reply(action).contains(says), "{action} {data}: {failure:?}");
        }
    }
}
