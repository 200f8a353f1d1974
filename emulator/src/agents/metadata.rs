//! What agents say of themselves (recorded: `rpcutil#agent_inventory`).

use super::ddl::Metadata;
use super::{emulated, rpc};
use crate::node::Group;
use std::borrow::Cow;

/// An agent's metadata as `rpcutil#agent_inventory` shows it.
pub(super) fn of(agent: &str, group: &Group) -> String {
    format!(r#"{{"agent":{},{}}}"#, rpc::quoted(agent), members(agent, group))
}

/// An agent's metadata as registrations carry it (recorded: `inventory_content`).
pub(super) fn registered(agent: &str, group: &Group) -> String {
    format!("{{{}}}", members(agent, group))
}

fn members(agent: &str, group: &Group) -> String {
    match group.hosted(agent) {
        Some(hosted) => members_of(hosted.metadata()),
        None => members_of(&stock(agent, &group.profile().version)),
    }
}

/// How long an action of such an agent may take, in seconds.
#[must_use]
pub fn stock_timeout_s(agent: &str) -> u32 {
    match agent {
        "choria_util" => 10,
        "choria_provision" | "scout" => 20,
        _ if emulated::is_agent(agent) => 5,
        _ => 2,
    }
}

/// All of go-choria's agents have one author and licence.
fn stock(agent: &str, server_version: &str) -> Metadata {
    let (version, url, description) = match agent {
        "choria_provision" => (server_version, "https://choria.io", "Choria Provisioner"),
        "choria_util" => (server_version, "https://choria.io", "Choria Utilities"),
        "discovery" => (server_version, "http://choria.io", "Discovery Agent"),
        "rpcutil" => (server_version, "http://choria.io", "Choria RPC Utilities"),
        "scout" => (server_version, "http://choria.io", "Choria Scout Agent Management API"),
        _ if emulated::is_agent(agent) => ("1.0.0", "http://choria.io", "Emulated Agent"),
        _ => (server_version, "http://choria.io", ""),
    };
    Metadata {
        name: agent.to_owned(),
        license: "Apache-2.0".to_owned(),
        author: "R.I.Pienaar <rip@devco.net>".to_owned(),
        timeout_s: stock_timeout_s(agent),
        version: version.to_owned(),
        url: url.to_owned(),
        description: description.to_owned(),
        ..Metadata::default()
    }
}

/// Provider and service stand there only where there is something to say (protocol document 4.5).
fn members_of(metadata: &Metadata) -> String {
    let Metadata { name, license, author, timeout_s, version, url, description, .. } = metadata;
    let mut out = format!(r#""license":{},"author":{}"#, rpc::quoted(license), rpc::quoted(author));
    out.push_str(&format!(r#","timeout":{timeout_s}"#));
    let provider = Some(&metadata.provider).filter(|provider| !provider.is_empty());
    let texts = [("name", name), ("version", version), ("url", url), ("description", description)];
    for (member, text) in texts.into_iter().chain(provider.map(|provider| ("provider", provider))) {
        out.push_str(&format!(r#","{member}":{}"#, rpc::quoted(text)));
    }
    out
}

/// A JSON array of texts.
pub(crate) fn list<'a>(texts: impl IntoIterator<Item = Cow<'a, str>>) -> String {
    array(texts.into_iter().map(|text| rpc::quoted(&text)))
}

/// A JSON array of values that are JSON already.
pub(crate) fn array(values: impl Iterator<Item = String>) -> String {
    let mut out = "[".to_owned();
    for (at, value) in values.enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str(&value);
    }
    out.push(']');
    out
}
