//! What the nodes of a group share, compiled once.

use super::behaviour::{self, Answer};
use crate::agents::ddl::{DdlAgent, Hosted};
use crate::agents::{FACTS_FILE, STOCK_CONFIG, config_item as item, stock_timeout_s};
use crate::filter::CompiledFilter;
use crate::homes::Homes;
use crate::lifecycle::status;
use crate::machines::{Compiled, Machine};
use crate::pattern::{FactTemplate, Pattern, PatternSubject, Vars};
use crate::spec::{Behaviour, GroupSpec, RegistrationContent, Shown, StatusFiles};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Version of Choria Server that nodes emulate and show.
pub const SERVER_VERSION: &str = "0.30.2";

/// Where packages of Choria put machines.
const DEFAULT_STORE: &str = "/etc/choria/machine";

/// What the nodes of a group show of themselves. Texts called patterns are worked out per node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Profile {
    /// Name of the group.
    pub name: String,
    /// Global index of its first node.
    pub first: u64,
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
    /// URLs of the brokers that any node is configured with.
    pub servers: Vec<String>,
    /// Which of them each node is configured with.
    pub homes: Homes,
    /// Version of the server.
    pub version: String,
    /// Path of the configuration file.
    pub config_file: String,
    /// What is configured, as texts; collectives, identity and servers need not stand here.
    pub config: BTreeMap<String, String>,
    /// The status files that nodes are configured to write.
    pub status_files: Option<StatusFiles>,
}

impl From<&GroupSpec> for Profile {
    fn from(spec: &GroupSpec) -> Self {
        let Shown { agents, version, config_file, config } =
            spec.shown.clone().unwrap_or_else(|| stock(spec));
        Self {
            name: spec.name.clone(),
            first: spec.first,
            identity: spec.identity.clone(),
            collectives: spec.collectives.clone(),
            agents,
            ddl_agents: spec.more_agents.ddl.clone(),
            machines: spec.machines.clone(),
            facts: spec.facts.clone(),
            classes: spec.classes.clone(),
            servers: spec.servers.iter().map(|server| server.url.clone()).collect(),
            homes: spec.homes.clone(),
            version,
            config_file,
            config,
            status_files: spec.lifecycle.status_files.clone(),
        }
    }
}

/// What a server of this tool shows. A real server finds external agents in the background and
/// subscribes them last.
fn stock(spec: &GroupSpec) -> Shown {
    let more = &spec.more_agents;
    let stock = ["discovery", "rpcutil", "choria_util"].map(str::to_owned);
    let own = more.ddl.iter().map(|agent| agent.ddl.name().to_owned());
    let emulated = (0..spec.emulated_agents).map(|number| format!("emulated{number}"));
    Shown {
        agents: stock.into_iter().chain(more.stock.clone()).chain(emulated).chain(own).collect(),
        version: SERVER_VERSION.to_owned(),
        config_file: "/etc/choria/server.conf".to_owned(),
        config: configuration(spec),
    }
}

/// What a real server is configured with that does what the nodes of this group do.
fn configuration(spec: &GroupSpec) -> BTreeMap<String, String> {
    let stock = STOCK_CONFIG.map(|(item, text)| (item.to_owned(), text.to_owned()));
    let mut config = BTreeMap::from(stock);
    let mut set = |item: &str, text: String| config.insert(item.to_owned(), text);
    set(item::CONNECT_TIMEOUT, format!("{}ns", spec.connect.timeout.as_nanos()));
    if !spec.more_agents.stock.iter().any(|agent| agent == "scout") {
        set(item::SCOUT_DISABLED, "1".to_owned());
    }
    if !spec.machines.is_empty() {
        set(item::MACHINE_STORE, DEFAULT_STORE.to_owned());
    }
    if let (Some(user), Some(_)) = (&spec.login.user, &spec.login.password) {
        set(item::USER, user.clone());
    }
    if let Some(files) = &spec.lifecycle.status_files {
        set(item::STATUS_INTERVAL, files.every.as_secs().to_string());
    }
    if let Some(registration) = &spec.lifecycle.registration {
        let content = registration.content.name();
        let flag = |on: bool| u8::from(on).to_string();
        set(item::REGISTRATION, content.to_owned());
        set(item::REGISTER_INTERVAL, registration.interval.as_secs().to_string());
        set(item::REGISTRATION_SPLAY, flag(registration.splay));
        let its = |what: &str| format!("plugin.choria.registration.{content}.{what}");
        set(&its("compression"), flag(registration.compression));
        if let Some(target) = &registration.target {
            set(&its("target"), target.clone());
        }
        if registration.content == RegistrationContent::File {
            set(item::REGISTERED_FILE, FACTS_FILE.to_owned());
        }
    }
    config
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
        let store = profile.config.get(item::MACHINE_STORE).map_or(DEFAULT_STORE, String::as_str);
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

    /// How a node treats its nth request (from 0) that it accepted, one to this agent.
    pub fn behave(&self, agent: &str, seed: u64, index: u64, nth: u32) -> Answer {
        let mut answer = behaviour::behave(&self.behaviour, seed, index, nth);
        if !answer.delay.is_zero() && answer.delay >= self.timeout(agent) {
            answer.kind = None;
        }
        answer
    }

    /// After how long a server gives an agent up: a reply that is not there by then never comes, and
    /// the request's ttl is of no further interest (go-choria `server/agents/agents.go`: `Dispatch`).
    fn timeout(&self, agent: &str) -> Duration {
        let hosted = self.hosted(agent).map(|hosted| hosted.metadata().timeout_s);
        Duration::from_secs(hosted.unwrap_or_else(|| stock_timeout_s(agent)).into())
    }

    /// URLs of the brokers that the node with this global index is configured with, its home first.
    pub(crate) fn servers(&self, index: u64) -> impl Iterator<Item = &str> {
        let Profile { homes, servers, .. } = &self.profile;
        let configured = homes.configured(self.place(index));
        configured.iter().filter_map(|at| servers.get(usize::from(*at))).map(String::as_str)
    }

    /// The status file of the node with this global index and identity, if it has one.
    pub(crate) fn status_file(&self, index: u64, identity: &str) -> Option<PathBuf> {
        let files = self.profile.status_files.as_ref()?;
        (self.place(index) < files.nodes).then(|| status::path(&files.folder, identity))
    }

    fn place(&self, index: u64) -> u64 {
        index.saturating_sub(self.profile.first)
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
