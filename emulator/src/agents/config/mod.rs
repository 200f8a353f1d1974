//! The configuration that a node shows through `rpcutil#get_config_item` and the data plugin
//! `config_item`: every item that a real server knows (go-choria `config`), by its exact name.
//!
//! A departure: the password that a node logs in with is not shown, where a real server shows it.

mod items;
mod value;

use super::choria_util::host_of;
use super::metadata::list;
use super::rpc::quoted;
use crate::node::NodeView;
use items::ITEMS;
use serde_json::Value;
use std::time::Duration;
use value::Kind;

/// Names of items that others set or read.
pub(crate) mod item {
    pub(crate) const CONNECT_TIMEOUT: &str = "plugin.choria.network.connect_timeout";
    pub(crate) const MACHINE_STORE: &str = "plugin.choria.machine.store";
    pub(crate) const REGISTERED_FILE: &str = "plugin.choria.registration.file_content.data";
    pub(crate) const REGISTER_INTERVAL: &str = "registerinterval";
    pub(crate) const REGISTRATION: &str = "registration";
    pub(crate) const REGISTRATION_SPLAY: &str = "registration_splay";
    pub(crate) const SCOUT_DISABLED: &str = "plugin.scout.agent_disabled";
    pub(crate) const SRV_DOMAIN: &str = "plugin.choria.srv_domain";
    pub(crate) const STATUS_INTERVAL: &str = "plugin.choria.status_update_interval";
    pub(crate) const USER: &str = "plugin.nats.user";
    pub(crate) const USE_SRV: &str = "plugin.choria.use_srv";
}

/// Where an emulated node has its facts.
pub(crate) const FACTS_FILE: &str = "/etc/choria/facts.json";

/// What the configuration of an emulated node holds besides what its group gives.
pub(crate) const STOCK: [(&str, &str); 4] = [
    (item::USE_SRV, "0"),
    ("plugin.security.provider", "file"),
    ("plugin.yaml", FACTS_FILE),
    ("rpcauthorization", "0"),
];

/// The names of all items, sorted.
pub fn items() -> impl Iterator<Item = &'static str> {
    ITEMS.iter().map(|(name, ..)| *name)
}

/// What a server has in its configuration that shows this value of an item. `None`: there is no such
/// item, nothing is configured, or nothing that one text could say.
#[must_use]
pub fn text_of(item: &str, value: &Value) -> Option<String> {
    find(item)?.1.text(value)
}

fn find(item: &str) -> Option<&'static (&'static str, Kind, &'static str)> {
    ITEMS.get(ITEMS.binary_search_by(|(name, ..)| (*name).cmp(item)).ok()?)
}

/// The value of an item as JSON; `None` for an unknown key. Upper and lower case are different, as in
/// a real server.
pub(super) fn get(node: &NodeView<'_>, item: &str) -> Option<String> {
    let (_, kind, default) = find(item)?;
    configured(node, item)
        .and_then(|text| kind.show(text))
        .or_else(|| worked_out(node, item))
        .or_else(|| kind.show(default))
}

/// The value of an item that is a time, as Go writes seconds.
pub(super) fn seconds(node: &NodeView<'_>, item: &str) -> String {
    let nanoseconds = get(node, item).and_then(|shown| shown.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0)).as_secs_f64().to_string()
}

/// What stands in the configuration. A file cannot hold an empty text.
fn configured<'a>(node: &'a NodeView<'_>, item: &str) -> Option<&'a str> {
    let text = node.group.profile().config.get(item)?;
    (!text.is_empty()).then_some(text)
}

/// What a server works out where nothing is configured (go-choria `config/config.go`: `normalize`), or
/// a group gives apart from its configuration.
fn worked_out(node: &NodeView<'_>, item: &str) -> Option<String> {
    match item {
        "identity" => Some(quoted(node.identity)),
        "collectives" => Some(list(node.group.profile().collectives.iter().map(Into::into))),
        "main_collective" => Some(quoted(node.group.main_collective())),
        "registration_collective" => get(node, "main_collective"),
        "plugin.choria.middleware_hosts" if !node.group.profile().servers.is_empty() => {
            Some(list(node.group.servers(node.index).map(|url| host_of(url).into())))
        }
        "plugin.choria.status_file_path" => {
            let path = node.group.status_file(node.index, node.identity)?;
            Some(quoted(&path.to_string_lossy()))
        }
        "plugin.choria.security.server.token_file" => beside_config(node, "server.jwt"),
        "plugin.choria.security.server.seed_file" => beside_config(node, "server.seed"),
        _ => None,
    }
}

/// A file in the folder of the configuration, where servers that connect with a token have theirs.
fn beside_config(node: &NodeView<'_>, file: &str) -> Option<String> {
    let anonymous = configured(node, "plugin.security.server_anon_tls")?;
    let folder = std::path::Path::new(&node.group.profile().config_file).parent()?;
    value::is_true(anonymous).then(|| quoted(&folder.join(file).to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_sorted_and_each_is_there_once() {
        let disordered = ITEMS.windows(2).find(|pair| pair[0].0 >= pair[1].0);
        assert_eq!(disordered, None);
    }

    #[test]
    fn every_default_is_a_value_of_its_type() {
        let wrong: Vec<_> =
            ITEMS.iter().filter(|(_, kind, default)| kind.show(default).is_none()).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
