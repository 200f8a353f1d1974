//! What the nodes of a group share, compiled once.

use super::behaviour::{self, Answer};
use crate::agents::STOCK_CONFIG;
use crate::agents::ddl::{DdlAgent, Hosted};
use crate::filter::CompiledFilter;
use crate::machines::{Compiled, Machine};
use crate::pattern::{FactTemplate, Pattern, PatternSubject, Vars};
use crate::spec::{Behaviour, GroupSpec, MoreAgents, Shown};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Version of Choria Server that nodes emulate and show.
pub const SERVER_VERSION: &str = "0.30.2";

/// Where a server finds its machines, and where packages of Choria put them.
const MACHINE_STORE: &str = "plugin.choria.machine.store";
const DEFAULT_STORE: &str = "/etc/choria/machine";

/// What the nodes of a group show of themselves. Texts called patterns are worked out per node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Profile {
    /// Name of the group.
    pub name: String,
    /// Pattern of the identity.
    pub identity: String,
    /// Collectives, the main collective first.
    pub collectives: Vec<String>,
    /// Hosted agents, in the order in which they are subscribed.
    pub agents: Vec<String>,
    /// What those of them answer that are the user's own.
    pub ddl_agents: Vec<DdlAgent>,
    /// Autonomous agents.
    pub machines: Vec<Machine>,
    /// The facts; strings are patterns.
    pub facts: serde_json::Map<String, serde_json::Value>,
    /// The lines of the classes file: patterns.
    pub classes: Vec<String>,
    /// URLs of the brokers in the pool.
    pub servers: Vec<String>,
    /// Version of the server.
    pub version: String,
    /// Path of the configuration file.
    pub config_file: String,
    /// What is configured, as texts; collectives, identity and servers need not stand here.
    pub config: BTreeMap<String, String>,
}

impl From<&GroupSpec> for Profile {
    fn from(spec: &GroupSpec) -> Self {
        let shown =
            spec.shown.clone().unwrap_or_else(|| stock(spec.emulated_agents, &spec.more_agents));
        let Shown { agents, version, config_file, config } = shown;
        Self {
            name: spec.name.clone(),
            identity: spec.identity.clone(),
            collectives: spec.collectives.clone(),
            agents,
            ddl_agents: spec.more_agents.ddl.clone(),
            machines: spec.machines.clone(),
            facts: spec.facts.clone(),
            classes: spec.classes.clone(),
            servers: spec.servers.iter().map(|server| server.url.clone()).collect(),
            version,
            config_file,
            config: config.into_iter().chain(lifecycle_config(spec)).collect(),
        }
    }
}

/// What a server of this tool shows, with so many emulated agents and these. A real server finds
/// external agents in the background and subscribes them last.
fn stock(emulated_agents: u32, more: &MoreAgents) -> Shown {
    let stock = ["discovery", "rpcutil", "choria_util"].map(str::to_owned);
    let own = more.ddl.iter().map(|agent| agent.ddl.name().to_owned());
    let emulated = (0..emulated_agents).map(|number| format!("emulated{number}"));
    let config = STOCK_CONFIG.map(|(item, text)| (item.to_owned(), text.to_owned()));
    Shown {
        agents: stock.into_iter().chain(more.stock.clone()).chain(emulated).chain(own).collect(),
        version: SERVER_VERSION.to_owned(),
        config_file: "/etc/choria/server.conf".to_owned(),
        config: config.into(),
    }
}

/// What a server that registers or writes a status file has in its configuration.
fn lifecycle_config(spec: &GroupSpec) -> Vec<(String, String)> {
    let mut items = Vec::new();
    let mut item = |name: &str, value: String| items.push((name.to_owned(), value));
    if let Some(registration) = &spec.lifecycle.registration {
        item("registration", registration.content.name().to_owned());
        item("registerinterval", registration.interval.as_secs().to_string());
        item("registration_splay", u8::from(registration.splay).to_string());
    }
    if let Some(files) = &spec.lifecycle.status_files {
        item("plugin.choria.status_update_interval", files.every.as_secs().to_string());
    }
    items
}

/// A group that cannot be: one of its texts is no pattern, or one of its replies cannot be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part} of group {group}: {problem}")]
pub struct GroupError {
    /// Name of the group.
    pub group: String,
    /// Which part of it.
    pub part: &'static str,
    /// What is wrong and what to write instead.
    pub problem: String,
}

/// A group, its patterns compiled.
#[derive(Debug)]
pub struct Group {
    profile: Profile,
    behaviour: Behaviour,
    identity: Pattern,
    classes: Vec<Pattern>,
    facts: FactTemplate,
    /// Positions of the agents, sorted by name.
    agents_sorted: Vec<usize>,
    hosted: Vec<Hosted>,
    machines: Arc<[Compiled]>,
}

impl Group {
    /// Compiles the group of a fleet.
    ///
    /// # Errors
    ///
    /// Names the part that is wrong.
    pub fn new(spec: &GroupSpec) -> Result<Self, GroupError> {
        Self::with_profile(spec.into(), spec.behaviour.clone())
    }

    /// Compiles a group that shows something else than a fleet's group does.
    ///
    /// # Errors
    ///
    /// Names the part that is wrong.
    pub fn with_profile(profile: Profile, behaviour: Behaviour) -> Result<Self, GroupError> {
        let wrong = |part, error: &dyn std::error::Error| GroupError {
            group: profile.name.clone(),
            part,
            problem: error.to_string(),
        };
        let identity =
            Pattern::parse(&profile.identity).map_err(|error| wrong("identity", &error))?;
        let classes = profile.classes.iter().map(|class| Pattern::parse(class));
        let classes = classes.collect::<Result<_, _>>().map_err(|error| wrong("class", &error))?;
        let facts =
            FactTemplate::compile(&profile.facts).map_err(|error| wrong("facts", &error))?;
        let hosted = profile.ddl_agents.iter().map(Hosted::new);
        let hosted = hosted.collect::<Result<_, _>>().map_err(|error| wrong("agents", &error))?;
        let store = profile.config.get(MACHINE_STORE).map_or(DEFAULT_STORE, String::as_str);
        let machines = profile.machines.iter().map(|machine| Compiled::new(machine, store));
        let machines =
            machines.collect::<Result<_, _>>().map_err(|error| wrong("machines", &error))?;
        let mut agents_sorted: Vec<usize> = (0..profile.agents.len()).collect();
        agents_sorted.sort_by_key(|&at| profile.agents.get(at));
        Ok(Self { profile, behaviour, identity, classes, facts, agents_sorted, hosted, machines })
    }

    /// What the group's nodes show of themselves.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The identity of the node with this global index.
    pub fn identity(&self, index: u64) -> String {
        let mut identity = String::new();
        self.identity.render(&self.vars(index), &mut identity);
        identity
    }

    /// The hosted agents, in the order in which they are subscribed.
    pub fn agents(&self) -> &[String] {
        &self.profile.agents
    }

    /// What the nodes answer for an agent of the user's own; `None` if it is no such agent.
    pub(crate) fn hosted(&self, agent: &str) -> Option<&Hosted> {
        self.hosted.iter().find(|hosted| hosted.name() == agent)
    }

    /// The autonomous agents, as they are defined.
    pub(crate) fn machines(&self) -> &Arc<[Compiled]> {
        &self.machines
    }

    /// How a node treats its nth request (from 0) that it accepted.
    pub fn behave(&self, seed: u64, index: u64, nth: u32) -> Answer {
        behaviour::behave(&self.behaviour, seed, index, nth)
    }

    pub(crate) fn main_collective(&self) -> &str {
        self.profile.collectives.first().map_or("", String::as_str)
    }

    pub(crate) fn agents_sorted(&self) -> impl Iterator<Item = &str> {
        self.agents_sorted.iter().filter_map(|&at| self.profile.agents.get(at)).map(String::as_str)
    }

    /// Whether a filter means the node with this global index and identity. Expressions that ask
    /// what a running server alone can say (its counters, its configuration) mean nobody here.
    pub fn is_meant(&self, filter: &CompiledFilter, index: u64, identity: &str) -> bool {
        filter.matches(&self.subject(index, identity, &Cell::default()))
    }

    /// The node with this global index and identity, as filters see it.
    pub(crate) fn subject<'a>(
        &'a self,
        index: u64,
        identity: &'a str,
        scratch: &'a Cell<String>,
    ) -> PatternSubject<'a> {
        PatternSubject {
            identity,
            agents: self.agents(),
            classes: &self.classes,
            facts: &self.facts,
            vars: self.vars(index),
            scratch,
        }
    }

    /// What patterns are worked out from, for the node with this global index.
    pub(crate) fn vars(&self, index: u64) -> Vars<'_> {
        Vars { index, group: &self.profile.name }
    }

    pub(crate) fn classes(&self) -> &[Pattern] {
        &self.classes
    }

    pub(crate) fn facts(&self) -> &FactTemplate {
        &self.facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_no_pattern_is_named() {
        for (identity, class, fact, expected) in [
            ("{nope}", "c", "f", "identity of group web: "),
            ("{index}", "c}", "f", "class of group web: "),
            ("{index}", "c", "{", "facts of group web: "),
        ] {
            let facts = serde_json::json!({ "a": fact });
            let profile = Profile {
                name: "web".to_owned(),
                identity: identity.to_owned(),
                classes: vec![class.to_owned()],
                facts: facts.as_object().unwrap().clone(),
                ..Profile::default()
            };
            let error = Group::with_profile(profile, Behaviour::default()).unwrap_err();
            assert!(error.to_string().starts_with(expected), "{error}");
        }
    }
}
