//! Filters: which nodes a request is for (protocol document 5.1 to 5.4 and 14).
//!
//! [`Filter`] is the object in a request. [`CompiledFilter`] is the same with its expressions compiled
//! once, to be held against many nodes; a node shows itself as a [`Subject`]. Deciding whether a
//! request's filter is well-formed is the protocol's work; here everything that can be decoded has an
//! answer, and what the real server reports as an error is no match.

mod compound;
mod fact;
pub mod facts;
pub mod path;
pub(crate) mod regexp;

use std::borrow::Cow;

use regex::Regex;
use serde_json::Value;

pub use crate::protocol::filter::{FactFilter, Filter};
pub use fact::{FactFilterError, parse_fact};

use compound::Compound;
use fact::CompiledFact;
use facts::FactRef;
use path::FactPath;
use regexp::Budget;

/// The data plugins of a server, sorted, and whether they are asked something (go-choria `providers/data`,
/// `aagent/data/machinedata`, `scout/data/scoutdata`).
pub(crate) const DATA_PLUGINS: [(&str, bool); 4] =
    [("choria", false), ("config_item", true), ("machine_state", true), ("scout", true)];

/// What a filter looks at in a node.
pub trait Subject {
    /// The node's identity.
    fn identity(&self) -> &str;

    /// Whether the name of any hosted agent passes the test.
    fn any_agent(&self, test: &mut dyn FnMut(&str) -> bool) -> bool;

    /// Whether any class passes the test.
    fn any_class(&self, test: &mut dyn FnMut(&str) -> bool) -> bool;

    /// What a path finds in the facts.
    fn fact(&self, path: &FactPath) -> Option<Cow<'_, Value>>;

    /// Shows what a path finds in the facts to `judge` and gives its verdict; false if it finds nothing.
    fn judge_fact(&self, path: &FactPath, judge: &mut dyn FnMut(FactRef<'_>) -> bool) -> bool {
        self.fact(path).is_some_and(|fact| judge(FactRef::from(&*fact)))
    }

    /// What a data plugin answers in a compound filter, for example `config_item('ttl')`: an object, or null
    /// if it fails; `None` if the node has no such plugin.
    fn data(&self, _plugin: &str, _query: Option<&str>) -> Option<Value> {
        None
    }
}

/// A filter with its expressions compiled.
#[derive(Debug)]
pub struct CompiledFilter {
    identity: Vec<Needle>,
    agent: Vec<Needle>,
    class: Vec<Needle>,
    fact: Vec<CompiledFact>,
    compound: Compound,
}

impl CompiledFilter {
    /// Compiles a filter, whose texts stay where they are. Nothing is refused: what the real server cannot
    /// compile matches nothing.
    #[must_use]
    pub fn new(filter: Filter) -> Self {
        let Filter { fact, cf_class, agent, identity, compound } = filter;
        let budget = &mut Budget::default();
        Self {
            identity: identity
                .into_iter()
                .map(|needle| Needle::new(needle, false, budget))
                .collect(),
            agent: agent.into_iter().map(|needle| Needle::new(needle, false, budget)).collect(),
            class: cf_class.into_iter().map(|needle| Needle::class(needle, budget)).collect(),
            fact: fact.into_iter().map(|filter| CompiledFact::new(filter, budget)).collect(),
            compound: Compound::new(&compound, budget),
        }
    }

    /// Whether a node is meant.
    #[must_use]
    pub fn matches(&self, subject: &dyn Subject) -> bool {
        self.matches_identity(subject.identity())
            && self.agent.iter().all(|agent| subject.any_agent(&mut |name| agent.matches(name)))
            && self.class.iter().all(|class| subject.any_class(&mut |name| class.matches(name)))
            && self
                .fact
                .iter()
                .all(|fact| subject.judge_fact(fact.path(), &mut |value| fact.matches(value)))
            && self.compound.matches(subject)
    }

    /// Whether the identities of the filter let this one pass; the rest of the filter is not looked at.
    #[must_use]
    pub fn matches_identity(&self, identity: &str) -> bool {
        self.identity.is_empty() || self.identity.iter().any(|needle| needle.matches(identity))
    }
}

/// A name, or an expression for names.
#[derive(Debug)]
enum Needle {
    Exact(String),
    Expression(Box<Regex>),
    /// An expression that the real server cannot compile.
    Nothing,
}

impl Needle {
    fn new(needle: String, ignore_case: bool, budget: &mut Budget) -> Self {
        match regexp::between_slashes(&needle) {
            None => Self::Exact(needle),
            Some(expression) => match budget.compile(expression, ignore_case) {
                Some(regex) => Self::Expression(Box::new(regex)),
                None => Self::Nothing,
            },
        }
    }

    /// QUIRK: a plain class is lower-cased, and classes are not (protocol document 5.2).
    fn class(needle: String, budget: &mut Budget) -> Self {
        match Self::new(needle, true, budget) {
            Self::Exact(name) => Self::Exact(fact::lower(&name).collect()),
            expression => expression,
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(needle) => needle == name,
            Self::Expression(regex) => regex.is_match(name),
            Self::Nothing => false,
        }
    }
}
