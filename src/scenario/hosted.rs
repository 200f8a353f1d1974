//! Who hosts what: the questions that the checks and the plan ask a group.

use super::own_agents::DdlContent;
use super::types::{Group, StockAgent};
use emulator::agents::ddl::{Ddl, DdlAgent};

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

    /// The agents of Choria Server that its nodes host besides those of every node.
    pub(crate) fn more_stock_agents(&self) -> impl Iterator<Item = &'static str> {
        self.stock_agents.iter().flatten().map(|agent| agent.name())
    }

    /// The user's own agents that its nodes host, as far as their files could be read.
    pub(crate) fn own_agents(&self) -> impl Iterator<Item = &DdlAgent> {
        self.ddl_agents.iter().flatten().filter_map(|agent| match &agent.content {
            DdlContent::Agent(agent) => Some(&**agent),
            DdlContent::Unread | DdlContent::Wrong { .. } => None,
        })
    }

    /// What the DDL of one of these agents says.
    pub(crate) fn ddl(&self, agent: &str) -> Option<&Ddl> {
        self.own_agents().map(|own| &own.ddl).find(|ddl| ddl.name() == agent)
    }

    /// The agents its nodes host.
    pub(crate) fn hosted_agents(&self) -> impl Iterator<Item = String> {
        let emulated = (0..self.emulated_agents()).map(|number| format!("emulated{number}"));
        let stock = STOCK_AGENTS.into_iter().chain(self.more_stock_agents()).map(str::to_owned);
        stock.chain(emulated).chain(self.own_agents().map(|own| own.ddl.name().to_owned()))
    }

    /// Whether its nodes may have an identity that others have, too.
    pub(crate) fn shares_identities(&self) -> bool {
        self.shared_identities == Some(true)
    }

    /// Whether its nodes host `agent`.
    pub(crate) fn hosts(&self, agent: &str) -> bool {
        hosts(self.emulated_agents(), agent)
            || self.more_stock_agents().any(|stock| stock == agent)
            || self.ddl(agent).is_some()
    }
}

impl StockAgent {
    /// Name of the agent.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scout => "scout",
            Self::ChoriaProvision => "choria_provision",
        }
    }
}

/// Whether a node with this many emulated agents and no others hosts `agent`.
pub(crate) fn hosts(emulated_agents: u64, agent: &str) -> bool {
    STOCK_AGENTS.contains(&agent)
        || agent.strip_prefix("emulated").is_some_and(|digits| {
            let number = digits.parse::<u64>();
            number.is_ok_and(|n| n < emulated_agents && n.to_string() == digits)
        })
}
