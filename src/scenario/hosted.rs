//! Who hosts what: the questions that the checks and the plan ask a group.

use super::types::Group;

/// The collective of nodes that name none, Choria's own default.
pub const MAIN_COLLECTIVE: &str = "mcollective";
/// Agents every node hosts, in the order of their subscription (protocol document 2.4).
pub const STOCK_AGENTS: [&str; 3] = ["discovery", "rpcutil", "choria_util"];
/// How many emulated agents a group has that does not say.
pub(crate) const DEFAULT_AGENTS: u64 = 1;

impl Group {
    /// The collectives of its nodes, the main one first.
    pub(crate) fn collectives(&self) -> impl Iterator<Item = &str> {
        let given = self.collectives.as_deref();
        let default = given.is_none().then_some(MAIN_COLLECTIVE);
        given.unwrap_or_default().iter().map(String::as_str).chain(default)
    }

    /// The main collective.
    pub(crate) fn main_collective(&self) -> &str {
        self.collectives().next().unwrap_or(MAIN_COLLECTIVE)
    }

    /// How many agents `emulated0` .. its nodes host.
    pub(crate) fn emulated_agents(&self) -> u64 {
        self.agents.map_or(DEFAULT_AGENTS, |agents| agents.0)
    }

    /// The agents its nodes host.
    pub(crate) fn hosted_agents(&self) -> impl Iterator<Item = String> {
        let emulated = (0..self.emulated_agents()).map(|number| format!("emulated{number}"));
        STOCK_AGENTS.iter().map(|agent| (*agent).to_owned()).chain(emulated)
    }

    /// Whether its nodes host `agent`.
    pub(crate) fn hosts(&self, agent: &str) -> bool {
        hosts(self.emulated_agents(), agent)
    }
}

/// Whether a node with this many emulated agents hosts `agent`.
pub(crate) fn hosts(emulated_agents: u64, agent: &str) -> bool {
    STOCK_AGENTS.contains(&agent)
        || agent.strip_prefix("emulated").is_some_and(|digits| {
            let number = digits.parse::<u64>();
            number.is_ok_and(|n| n < emulated_agents && n.to_string() == digits)
        })
}
