//! The file a person writes: types, parsing with line and column, overrides, JSON Schema.
//!
//! No defaults and no arithmetic: those are the plan's. The line is text -> tree (`yaml`), overrides
//! on the tree, tree -> types (`read`), then the meaning (`check`).

mod brokers;
mod check;
mod clients;
mod document;
mod error;
mod hosted;
mod layout;
mod machines;
mod overrides;
mod own_agents;
mod read;
mod schema;
mod timeline;
mod tree;
mod types;
mod units;
mod write;
mod yaml;

pub use brokers::{BrokerConfig, Brokers, Named, PerBroker, Placement, Topology};
pub(crate) use check::brokers::monitoring_url;
pub(crate) use clients::CONDUCTOR;
pub use clients::{Places, WaveClient, WaveClients};
pub use document::{Document, Thresholds};
pub use error::{Problem, ScenarioError, ScenarioErrors};
pub(crate) use hosted::hosts;
pub use hosted::{MAIN_COLLECTIVE, STOCK_AGENTS};
pub use layout::Role;
pub(crate) use layout::{BrokerName, layout};
pub use machines::{
    CheckStatus, Machine, MachineTransition, MachineWatcher, WatcherProperties, WatcherType,
};
pub use own_agents::{DdlContent, Files};
pub use schema::{json_schema, json_schema_text};
pub use timeline::{AfterWave, EndedBy, Names, Rolling, Step as TimelineStep};
pub use tree::Step;
pub use types::{
    Batch, Behaviour, Churn, Client, Connect, DdlAgent, Discover, Events, Fidelity, Filter,
    FullQueue, Group, Lognormal, Mode, Queue, Registration, RegistrationContent, ReplyDelay,
    ReplyFlush, Request, Scenario, Spread, StatusFiles, StockAgent, Stuck, SubscribeFlush, Wave,
};
pub use units::{Count, HostAddress, Percent, Rate, Span};

use error::{Desk, Finding};

impl Scenario {
    /// Reads a scenario from `text`; `file` names it in errors; `overrides` are texts such as
    /// `fleet.default.nodes=500`, applied in their order. A scenario that names files is refused: see
    /// [`Scenario::parse_with`].
    ///
    /// # Errors
    /// Everything that is wrong, each with its place and what to write instead.
    pub fn parse(text: &str, file: &str, overrides: &[String]) -> Result<Self, ScenarioErrors> {
        Self::parse_with(text, file, overrides, &|named| {
            Err(format!("no files are read here, such as {named}\nleave the agent out"))
        })
    }

    /// The same; `files` reads the files that the scenario names.
    ///
    /// # Errors
    /// As [`Scenario::parse`].
    pub fn parse_with(
        text: &str,
        file: &str,
        overrides: &[String],
        files: Files<'_>,
    ) -> Result<Self, ScenarioErrors> {
        let desk = Desk { file, text, overrides };
        Self::read(text, overrides, files).map_err(|findings| desk.report(findings))
    }

    /// The scenario in `text` with `overrides` written in, as YAML: what was run. Without overrides it
    /// is `text` itself.
    ///
    /// # Errors
    /// As [`Scenario::parse`].
    pub fn text_as_run(
        text: &str,
        file: &str,
        overrides: &[String],
    ) -> Result<String, ScenarioErrors> {
        if overrides.is_empty() {
            return Ok(text.to_owned());
        }
        let tree = tree_of(text, overrides);
        tree.map(|tree| write::write(&tree, text, overrides))
            .map_err(|findings| Desk { file, text, overrides }.report(findings))
    }

    /// What is wrong with the meaning of a scenario that did not come from a file; empty when
    /// nothing is. [`Scenario::parse`] has asked already.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        check::problems(self)
    }

    fn read(text: &str, overrides: &[String], files: Files<'_>) -> Result<Self, Vec<Finding>> {
        let tree = tree_of(text, overrides)?;
        let mut scenario: Self = read::read(&tree)?;
        own_agents::read_files(&mut scenario, files);
        let problems = scenario.problems();
        if problems.is_empty() { Ok(scenario) } else { Err(Desk::place(&tree, problems)) }
    }
}

/// The tree of `text` after `overrides`.
fn tree_of(text: &str, overrides: &[String]) -> Result<tree::Node, Vec<Finding>> {
    let mut tree = yaml::parse(text).map_err(|error| {
        let message = format!("{}\n{}", error.message, error.advice);
        vec![Finding { place: error.place, message }]
    })?;
    overrides::apply(&mut tree, overrides)?;
    Ok(tree)
}

/// A YAML text as a JSON value, for tests that hold it against the schema.
#[cfg(test)]
pub(crate) fn as_json(text: &str) -> Option<serde_json::Value> {
    read::read(&yaml::parse(text).ok()?).ok()
}

#[cfg(test)]
mod tests;
