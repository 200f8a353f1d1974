//! The agent `rpcutil`: all nine actions (protocol document 4.5 and 14; go-choria
//! `providers/agent/mcorpc/golang/rpcutil`).

use super::metadata::{array, list};
use super::rpc::{Asked, Failure, quoted};
use super::{ANSWER_BYTES_MAX, Answer, Ask, config, data, inputs, metadata};
use crate::filter::DATA_PLUGINS;
use crate::filter::facts::write_go_json;
use crate::filter::path::FactPath;
use crate::machines::View;
use crate::node::NodeView;

/// The actions that have an answer.
pub(super) const ACTIONS: [&str; 9] = [
    "ping",
    "inventory",
    "agent_inventory",
    "collective_info",
    "daemon_stats",
    "get_fact",
    "get_facts",
    "get_config_item",
    "get_data",
];

/// An action and its inputs.
#[derive(Debug)]
enum Question {
    Ping,
    Inventory,
    AgentInventory,
    CollectiveInfo,
    DaemonStats,
    /// Name as it was asked for.
    GetFact(String, FactPath),
    /// Different names with a comma between them, in the order of Go's maps: what is made of each takes
    /// many times the room of its text, so that is made as it is answered.
    GetFacts(String),
    GetConfigItem(String),
    GetData(data::Source),
}

pub(super) fn ask(asked: Asked<'_>) -> Result<Answer, Failure> {
    let bad = |problem: String| Failure::bad_inputs(asked, &problem);
    let text = |type_name: &str, name: &str| {
        let given = inputs::texts(asked.data, "rpcutil", type_name, [name]);
        given.map(|[text]| text).map_err(bad)
    };
    Ok(Answer::of_node(match asked.action {
        "ping" => Question::Ping,
        "inventory" => Question::Inventory,
        "agent_inventory" => Question::AgentInventory,
        "collective_info" => Question::CollectiveInfo,
        "daemon_stats" => Question::DaemonStats,
        "get_fact" => {
            let name = text("input", "fact")?;
            let path = FactPath::parse(&name);
            Question::GetFact(name, path)
        }
        "get_facts" => {
            let names = text("input", "facts")?;
            // Each once, with four bytes for where it begins: names may be many and short.
            let starts = std::iter::once(0).chain(names.match_indices(',').map(|(at, _)| at + 1));
            let mut different = Vec::with_capacity(names.matches(',').count() + 1);
            different.extend(starts.map(|start| u32::try_from(start).unwrap_or(u32::MAX)));
            let name = |start: &u32| {
                let rest = names.get(*start as usize..).unwrap_or_default();
                rest.split(',').next().unwrap_or_default().trim()
            };
            different.sort_unstable_by_key(name);
            different.dedup_by_key(|start| name(start));
            let mut sorted = String::with_capacity(names.len());
            for (at, start) in different.iter().enumerate() {
                if at > 0 {
                    sorted.push(',');
                }
                sorted.push_str(name(start));
            }
            Question::GetFacts(sorted)
        }
        "get_config_item" => Question::GetConfigItem(text("GetConfigItemRequest", "item")?),
        "get_data" => {
            let names = ["source", "query"];
            let given = inputs::texts(asked.data, "rpcutil", "GetDataRequest", names);
            let [source, query] = given.map_err(bad)?;
            Question::GetData(data::Source::named(&source, query)?)
        }
        _ => return Err(Failure::unknown_action(asked.agent, asked.action)),
    }))
}

impl Ask for Question {
    fn answer(&self, node: &mut NodeView<'_>, now_unix: i64) -> Result<String, Failure> {
        Ok(match self {
            Question::Ping => format!(r#"{{"pong":{now_unix}}}"#),
            Question::Inventory => inventory(node),
            Question::AgentInventory => agent_inventory(node),
            Question::CollectiveInfo => {
                let collectives = &node.group.profile().collectives;
                format!(
                    r#"{{"main_collective":{},"collectives":{}}}"#,
                    quoted(node.group.main_collective()),
                    list(collectives.iter().map(Into::into))
                )
            }
            Question::DaemonStats => daemon_stats(node),
            Question::GetFact(name, path) => {
                let mut out = format!(r#"{{"fact":{},"value":"#, quoted(name));
                push_fact(node, path, &mut out);
                out.push('}');
                out
            }
            Question::GetFacts(names) => get_facts(node, names),
            Question::GetConfigItem(item) => {
                let value =
                    config::get(node, item).ok_or_else(|| Failure::aborted("Unknown key"))?;
                format!(r#"{{"item":{},"value":{value}}}"#, quoted(item))
            }
            Question::GetData(source) => source.get(node, now_unix),
        })
    }
}

fn push_fact(node: &NodeView<'_>, path: &FactPath, out: &mut String) {
    match node.group.facts().get(path, &node.vars()) {
        Some(value) => write_go_json(&value, out),
        None => out.push_str("null"),
    }
}

fn get_facts(node: &NodeView<'_>, names: &str) -> String {
    let mut out = r#"{"values":{"#.to_owned();
    for (at, name) in names.split(',').enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str(&quoted(name));
        out.push(':');
        push_fact(node, &FactPath::parse(name), &mut out);
        if out.len() > ANSWER_BYTES_MAX {
            break;
        }
    }
    out.push_str("}}");
    out
}

fn inventory(node: &NodeView<'_>) -> String {
    let profile = node.group.profile();
    let mut facts = String::new();
    write_go_json(&node.group.facts().facts(&node.vars()), &mut facts);
    format!(
        concat!(
            r#"{{"agents":{},"classes":{},"collectives":{},"data_plugins":{},"facts":{},"#,
            r#""machines":{},"main_collective":{},"version":{},"upgradable":false}}"#
        ),
        list(node.group.agents_sorted().map(Into::into)),
        list(node.classes_sorted().into_iter().map(Into::into)),
        list(profile.collectives.iter().map(Into::into)),
        list(DATA_PLUGINS.map(|(name, _)| name.into())),
        facts,
        array(node.machines.by_name().iter().map(View::brief)),
        quoted(node.group.main_collective()),
        quoted(&profile.version),
    )
}

fn agent_inventory(node: &NodeView<'_>) -> String {
    let agents = node.group.agents_sorted().map(|agent| metadata::of(agent, node.group));
    format!(r#"{{"agents":{}}}"#, array(agents))
}

fn daemon_stats(node: &NodeView<'_>) -> String {
    let profile = node.group.profile();
    let counters = &*node.counters;
    format!(
        concat!(
            r#"{{"agents":{},"configfile":{},"filtered":{},"pid":{},"passed":{},"#,
            r#""threads":["Go {} with {} go procs on {} cores"],"replies":{},"starttime":{},"#,
            r#""ttlexpired":{},"events":{},"times":{{"cstime":0,"cutime":0,"stime":0,"utime":0}},"#,
            r#""total":{},"unvalidated":{},"validated":{},"version":{}}}"#
        ),
        list(node.group.agents_sorted().map(Into::into)),
        quoted(&profile.config_file),
        counters.filtered,
        data::PID,
        counters.passed,
        data::GO_VERSION,
        data::GOROUTINES,
        data::CPUS,
        counters.replies,
        node.started_unix,
        counters.ttl_expired,
        counters.events,
        counters.total,
        counters.unvalidated,
        counters.validated,
        quoted(&profile.version),
    )
}
