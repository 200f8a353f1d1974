//! The data plugins behind `rpcutil#get_data` (protocol document 4.5): `choria`, `config_item`, and
//! `machine_state` and `scout`, which look at autonomous agents.

use super::config;
use super::metadata::list;
use super::rpc::{Failure, quoted};
use crate::node::NodeView;

/// Process id that nodes show: they have no process of their own.
pub(super) const PID: u32 = 1;
/// Version of Go that a real server of this generation is built with.
pub(super) const GO_VERSION: &str = "go1.26";
/// Goroutines of an idle real server.
pub(super) const GOROUTINES: u32 = 33;
/// Cores that nodes show.
pub(super) const CPUS: u32 = 2;

/// A plugin and what it is asked.
#[derive(Debug)]
pub(crate) enum Source {
    Choria,
    ConfigItem(String),
    /// `machine_state` of a name, path or id; it fails for a machine that is not there and gives null
    /// (protocol document 4.5).
    Machine(String),
    /// `scout` of a name; it shows nothing of a check that is not there (seen of go-choria 0.30.2).
    Check(String),
}

impl Source {
    pub(super) fn named(source: &str, query: String) -> Result<Self, Failure> {
        match source {
            "choria" => Ok(Self::Choria),
            "config_item" => Ok(Self::ConfigItem(query)),
            "machine_state" => Ok(Self::Machine(query)),
            "scout" => Ok(Self::Check(query)),
            _ => Err(Failure::aborted("Unknown data plugin")),
        }
    }

    pub(super) fn get(&self, node: &NodeView<'_>, now_unix: i64) -> String {
        match self {
            Self::Choria => choria(node, now_unix),
            Self::ConfigItem(item) => {
                let value = config::get(node, item);
                let present = value.is_some();
                let value = value.unwrap_or_else(|| "null".to_owned());
                format!(r#"{{"present":{present},"value":{value}}}"#)
            }
            Self::Machine(query) => {
                let machines = node.machines.by_name();
                let found = machines.iter().find(|machine| {
                    [machine.name(), machine.path(), &machine.id()].contains(&query.as_str())
                });
                found.map_or_else(|| "null".to_owned(), |machine| machine.full(now_unix))
            }
            Self::Check(query) => {
                let machines = node.machines.by_name();
                let mut named = machines.iter().filter(|machine| machine.name() == query);
                let found = named.find_map(|machine| machine.as_scout_data(now_unix));
                found.unwrap_or_else(|| "{}".to_owned())
            }
        }
    }
}

fn choria(node: &NodeView<'_>, now_unix: i64) -> String {
    let profile = node.group.profile();
    let counters = &*node.counters;
    let classes = node.classes_sorted();
    let agents = node.group.agents().len();
    let machines = node.machines.by_name();
    let what = format!(
        concat!(
            r#""agents":{},"agents_count":{},"built":"unknown","classes":{},"classes_count":{},"#,
            r#""commit":"unknown","configfile":{},"connected_broker":{},"cpus":{},"events":{}"#
        ),
        list(node.group.agents_sorted().map(Into::into)),
        agents,
        list(classes.iter().map(Into::into)),
        classes.len(),
        quoted(&profile.config_file),
        quoted(node.broker),
        CPUS,
        counters.events,
    );
    let counted = format!(
        concat!(
            r#""filtered":{},"passed":{},"replies":{},"total":{},"ttlexpired":{},"#,
            r#""unvalidated":{},"validated":{}"#
        ),
        counters.filtered,
        counters.passed,
        counters.replies,
        counters.total,
        counters.ttl_expired,
        counters.unvalidated,
        counters.validated,
    );
    format!(
        concat!(
            r#"{{{},{},"go_version":"{}","goroutines":{},"license":"Apache-2.0","machines":{},"#,
            r#""machines_count":{},"pid":{},"provisioning":false,"uptime":{},"version":{}}}"#
        ),
        what,
        counted,
        GO_VERSION,
        GOROUTINES,
        list(machines.iter().map(|machine| machine.name().into())),
        machines.len(),
        PID,
        now_unix - node.started_unix,
        quoted(&profile.version),
    )
}
