//! What agents say of themselves (recorded: `rpcutil#agent_inventory`).

use super::{emulated, rpc};
use std::borrow::Cow;

/// An agent's metadata as `rpcutil#agent_inventory` shows it.
pub(super) fn of(agent: &str, server_version: &str) -> String {
    format!(r#"{{"agent":{},{}}}"#, rpc::quoted(agent), members(agent, server_version))
}

/// An agent's metadata as registrations carry it (recorded: `inventory_content`).
pub(super) fn registered(agent: &str, server_version: &str) -> String {
    format!("{{{}}}", members(agent, server_version))
}

/// All of go-choria's agents have one author and licence.
fn members(agent: &str, server_version: &str) -> String {
    let (timeout_s, version, url, description) = match agent {
        "choria_util" => (10, server_version, "https://choria.io", "Choria Utilities"),
        "discovery" => (2, server_version, "http://choria.io", "Discovery Agent"),
        "rpcutil" => (2, server_version, "http://choria.io", "Choria RPC Utilities"),
        "scout" => (20, server_version, "http://choria.io", "Choria Scout Agent Management API"),
        _ if emulated::is_agent(agent) => (5, "1.0.0", "http://choria.io", "Emulated Agent"),
        _ => (2, server_version, "http://choria.io", ""),
    };
    let (agent, version) = (rpc::quoted(agent), rpc::quoted(version));
    format!(
        r#""license":"Apache-2.0","author":"R.I.Pienaar <rip@devco.net>","timeout":{timeout_s},"name":{agent},"version":{version},"url":"{url}","description":"{description}""#
    )
}

/// A JSON array of texts.
pub(crate) fn list<'a>(texts: impl IntoIterator<Item = Cow<'a, str>>) -> String {
    array(texts.into_iter().map(|text| rpc::quoted(&text)))
}

/// A JSON array of values that are JSON already.
pub(super) fn array(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(","))
}
