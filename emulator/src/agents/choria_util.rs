//! The agent `choria_util` (protocol document 4.6 and 14; go-choria
//! `providers/agent/mcorpc/golang/choriautil`).

use super::metadata::list;
use super::rpc::{Asked, Failure, quoted};
use super::{Answer, Ask, config, inputs};
use crate::machines::View;
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

/// An action and its inputs.
#[derive(Debug)]
enum Question {
    Info,
    MachineStates,
    /// Name, instance and path of a machine; what is empty is not looked at.
    MachineState([String; 3]),
    /// The transition; name, version, path and instance of a machine.
    MachineTransition(String, [String; 4]),
}

pub(super) fn ask(asked: Asked<'_>) -> Result<Answer, Failure> {
    let bad = |problem: String| Failure::bad_inputs(asked, &problem);
    let data = asked.data;
    let question = match asked.action {
        "info" => Question::Info,
        "machine_states" => Question::MachineStates,
        "machine_state" => {
            let names = ["name", "instance", "path"];
            let given = inputs::texts(data, "choriautil", "machineStateRequest", names);
            Question::MachineState(given.map_err(bad)?)
        }
        "machine_transition" => {
            let names = ["transition", "name", "version", "path", "instance"];
            let given = inputs::texts(data, "choriautil", "machineTransitionRequest", names);
            let [transition, name, version, path, instance] = given.map_err(bad)?;
            Question::MachineTransition(transition, [name, version, path, instance])
        }
        _ => return Err(Failure::unknown_action(asked.agent, asked.action)),
    };
    Ok(Answer::of_node(question))
}

impl Ask for Question {
    fn answer(&self, node: &mut NodeView<'_>, now_unix: i64) -> Result<String, Failure> {
        match self {
            Question::Info => Ok(info(node)),
            Question::MachineStates => Ok(machine_states(&node.machines.by_name(), now_unix)),
            Question::MachineState(wanted) => {
                let found = machine(&node.machines.by_name(), wanted, now_unix);
                found.map_err(|message| Failure::aborted(message).with_data(NO_MACHINE))
            }
            Question::MachineTransition(transition, wanted) => {
                let wanted = wanted.each_ref().map(String::as_str);
                let made = node.machines.transition(wanted, transition, now_unix);
                made.map(|()| r#"{"success":true}"#.to_owned()).map_err(|problem| {
                    let message = format!("Could not perform {transition} transition: {problem}");
                    Failure::aborted(message).with_data(r#"{"success":false}"#)
                })
            }
        }
    }
}

fn machine_states(machines: &[View<'_>], now_unix: i64) -> String {
    let ids = machines.iter().map(|machine| machine.id().into());
    let names =
        machines.iter().map(|machine| format!("{} {}", machine.name(), machine.version()).into());
    let states =
        machines.iter().map(|machine| format!(r#""{}":{}"#, machine.id(), machine.full(now_unix)));
    format!(
        r#"{{"machine_ids":{},"machine_names":{},"states":{{{}}}}}"#,
        list(ids),
        list(names),
        states.collect::<Vec<_>>().join(",")
    )
}

/// The one machine with this name, instance and path, as far as they are given.
fn machine(
    machines: &[View<'_>],
    [name, instance, path]: &[String; 3],
    now_unix: i64,
) -> Result<String, &'static str> {
    if [name, instance, path].iter().all(|criterion| criterion.is_empty()) {
        return Err("No search criteria given");
    }
    if machines.is_empty() {
        return Err("No running machines");
    }
    let is = |wanted: &str, shown: &str| wanted.is_empty() || wanted == shown;
    let mut found = machines.iter().filter(|machine| {
        is(name, machine.name()) && is(path, machine.path()) && is(instance, &machine.id())
    });
    match (found.next(), found.next()) {
        (Some(machine), None) => Ok(machine.full(now_unix)),
        (Some(_), Some(_)) => Err("Found multiple machines matching criteria"),
        (None, _) => Err("Could not find a matching machine"),
    }
}

/// Data of `info`. QUIRK: `connector_tls` is true even with TLS off, unless the server was linked so.
fn info(node: &NodeView<'_>) -> String {
    let profile = node.group.profile();
    let servers = || node.group.servers(node.index);
    let configured = |item| config::get(node, item).unwrap_or_else(|| "null".to_owned());
    let options = format!(
        concat!(
            r#"{{"servers":{},"dont_randomize_servers":false,"name":{},"pedantic":false,"#,
            r#""secure":false,"allow_reconnect":true,"max_reconnect_attempts":-1,"#,
            r#""reconnect_time_wait":2,"connect_timeout":{},"ping_interval":120,"#,
            r#""max_outstanding_pings":2}}"#
        ),
        list(servers().map(Into::into)),
        quoted(node.identity),
        config::seconds(node, config::item::CONNECT_TIMEOUT),
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
            r#""connected_server":{},"facter_domain":"","facter_command":"","srv_domain":{},"#,
            r#""using_srv":{},"middleware_servers":{},"path":"/usr/bin:/bin","#,
            r#""choria_version":{},"secure_protocol":false,"connector_tls":true}}"#
        ),
        NATS_LIBRARY,
        super::data::GO_VERSION,
        options,
        statistics,
        quoted(node.broker),
        configured(config::item::SRV_DOMAIN),
        configured(config::item::USE_SRV),
        list(servers().map(|url| host_of(url).into())),
        quoted(&format!("choria {}", profile.version)),
    )
}

/// `host:port` of a server's URL.
pub(super) fn host_of(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, host)| host)
}
