//! The configuration that a node shows through `rpcutil#get_config_item` and the data plugin
//! `config_item`: the common items of a real server with their types and defaults (go-choria
//! `config`). An item that is not here is an unknown key; a real server knows a few hundred.

use super::choria_util::host_of;
use super::metadata::list;
use super::rpc::quoted;
use crate::node::NodeView;

/// How the text of an item is shown.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Number,
    /// `1`, `true`, `yes`, `y`, `on` and `t` are true.
    Bool,
    /// Texts between commas.
    List,
    /// Whole seconds, shown as nanoseconds (protocol document 14).
    Seconds,
}

/// Items, their types and their defaults.
const ITEMS: [(&str, Kind, &str); 24] = [
    ("classesfile", Kind::Text, "/opt/puppetlabs/puppet/cache/state/classes.txt"),
    ("collectives", Kind::List, "mcollective"),
    ("color", Kind::Bool, "1"),
    ("connector", Kind::Text, "nats"),
    ("factsource", Kind::Text, "yaml"),
    ("identity", Kind::Text, ""),
    ("libdir", Kind::List, ""),
    ("logfile", Kind::Text, ""),
    ("loglevel", Kind::Text, "info"),
    ("main_collective", Kind::Text, "mcollective"),
    ("plugin.choria.middleware_hosts", Kind::List, ""),
    ("plugin.choria.network.connect_timeout", Kind::Seconds, "2"),
    ("plugin.choria.status_file_path", Kind::Text, ""),
    ("plugin.choria.status_update_interval", Kind::Number, "30"),
    ("plugin.choria.use_srv", Kind::Bool, "1"),
    ("plugin.security.provider", Kind::Text, "puppet"),
    ("plugin.yaml", Kind::Text, ""),
    ("registerinterval", Kind::Number, "300"),
    ("registration", Kind::List, ""),
    ("registration_splay", Kind::Bool, "1"),
    ("rpcaudit", Kind::Bool, "0"),
    ("rpcauthorization", Kind::Bool, "1"),
    ("rpclimitmethod", Kind::Text, "first"),
    ("ttl", Kind::Number, "60"),
];

/// What the configuration of an emulated node holds besides what its group gives.
pub(crate) const STOCK: [(&str, &str); 4] = [
    ("plugin.choria.use_srv", "0"),
    ("plugin.security.provider", "file"),
    ("plugin.yaml", "/etc/choria/facts.json"),
    ("rpcauthorization", "0"),
];

/// The value of an item as JSON; `None` for an unknown key.
pub(super) fn get(node: &NodeView<'_>, item: &str) -> Option<String> {
    let (_, kind, default) = ITEMS.iter().find(|(name, ..)| *name == item)?;
    let profile = node.group.profile();
    Some(match (profile.config.get(item), item) {
        (Some(text), _) => show(*kind, text),
        (None, "identity") => quoted(node.identity),
        (None, "collectives") => list(profile.collectives.iter().map(Into::into)),
        (None, "main_collective") => quoted(node.group.main_collective()),
        (None, "plugin.choria.middleware_hosts") => {
            list(profile.servers.iter().map(|url| host_of(url).into()))
        }
        (None, _) => show(*kind, default),
    })
}

fn show(kind: Kind, text: &str) -> String {
    let number = || text.parse::<i64>().unwrap_or(0);
    match kind {
        Kind::Text => quoted(text),
        Kind::Number => number().to_string(),
        Kind::Seconds => number().saturating_mul(1_000_000_000).to_string(),
        Kind::Bool => matches!(text, "1" | "true" | "yes" | "y" | "on" | "t").to_string(),
        Kind::List if text.is_empty() => "[]".to_owned(),
        Kind::List => list(text.split(',').map(|text| text.trim().into())),
    }
}
