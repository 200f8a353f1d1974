//! The agent `choria_util` (protocol document 4.6 and 14; go-choria
//! `providers/agent/mcorpc/golang/choriautil`). Emulated nodes run no autonomous agents, and their
//! answers say so in the words of a server without any.

use super::metadata::list;
use super::rpc::{self, Failure, quoted};
use super::{Answer, Question, inputs};
use crate::node::NodeView;

/// The actions that have an answer.
pub(super) const ACTIONS: [&str; 4] =
    ["info", "machine_states", "machine_state", "machine_transition"];

/// Data of a failed `machine_state` (recorded).
const NO_MACHINE: &str = concat!(
    r#"{"name":"unknown machine","version":"unknown machine","state":"unknown machine","#,
    r#""path":"","id":"","start_time":0,"available_transitions":null,"scout":false}"#
);

/// Version of the NATS library of a real server of this generation.
const NATS_LIBRARY: &str = "1.52.0";

pub(super) fn ask(agent: &str, action: &str, data: &[u8]) -> Result<Answer, Failure> {
    let bad = |problem: String| Failure::bad_inputs(agent, action, &problem);
    match action {
        "info" => Ok(Answer::OfNode(Question::Info)),
        "machine_states" => {
            let none = r#"{"machine_ids":[],"machine_names":[],"states":{}}"#;
            Ok(Answer::Same(rpc::reply(action, 0, "OK", none)))
        }
        "machine_state" => {
            let names = ["name", "instance", "path"];
            inputs::texts(data, "choriautil", "machineStateRequest", names).map_err(bad)?;
            Err(Failure::aborted("No running machines").with_data(NO_MACHINE))
        }
        "machine_transition" => {
            let names = ["transition", "name", "version", "instance", "path"];
            let [transition, ..] =
                inputs::texts(data, "choriautil", "machineTransitionRequest", names)
                    .map_err(bad)?;
            let message = format!(
                "Could not perform {transition} transition: autonomous agent host not initialized"
            );
            Err(Failure::aborted(message).with_data(r#"{"success":false}"#))
        }
        _ => Err(Failure::unknown_action(agent, action)),
    }
}

/// Data of `info`. QUIRK: `connector_tls` is true even with TLS off, unless the server was linked so.
pub(super) fn info(node: &NodeView<'_>) -> String {
    let profile = node.group.profile();
    let hosts = profile.servers.iter().map(|url| host_of(url).into());
    let options = format!(
        concat!(
            r#"{{"servers":{},"dont_randomize_servers":false,"name":{},"pedantic":false,"#,
            r#""secure":false,"allow_reconnect":true,"max_reconnect_attempts":-1,"#,
            r#""reconnect_time_wait":2,"connect_timeout":2,"ping_interval":120,"#,
            r#""max_outstanding_pings":2}}"#
        ),
        list(profile.servers.iter().map(Into::into)),
        quoted(node.identity),
    );
    let statistics = format!(
        r#"{{"in_msgs":{},"out_msgs":{},"in_bytes":0,"out_bytes":0,"reconnects":0}}"#,
        node.counters.total,
        u64::from(node.counters.replies) + u64::from(node.counters.events),
    );
    format!(
        concat!(
            r#"{{"security":"choria","connector":"choria","client_version":"{}","#,
            r#""client_flavour":"nats.go {}","client_options":{},"client_stats":{},"#,
            r#""connected_server":{},"facter_domain":"","facter_command":"","srv_domain":"","#,
            r#""using_srv":false,"middleware_servers":{},"path":"/usr/bin:/bin","#,
            r#""choria_version":{},"secure_protocol":false,"connector_tls":true}}"#
        ),
        NATS_LIBRARY,
        super::data::GO_VERSION,
        options,
        statistics,
        quoted(node.broker),
        list(hosts),
        quoted(&format!("choria {}", profile.version)),
    )
}

/// `host:port` of a server's URL.
pub(super) fn host_of(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, host)| host)
}
