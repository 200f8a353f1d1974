//! Which broker each node and each client is at home on, and where it may flee to.

use emulator::homes::{self, Homes};
use serde::{Deserialize, Serialize};

use super::{Brokers, Client, Group, Plan};
use crate::scenario::{self, BrokerName, Role};

/// Where the nodes of a group connect. Node `n` of the group is at home on the broker whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Where nodes are at home; at least one.
    pub homes: Vec<Home>,
    /// Positions of further brokers whose URLs every node is configured with.
    pub fallback: Vec<usize>,
}

/// A broker that nodes are at home on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Home {
    /// Position of the broker.
    pub broker: usize,
    /// How many nodes, in relation to the other homes; at least 1.
    pub weight: u32,
}

impl Placement {
    /// Where the group's nodes are at home, as positions of brokers; behind each home stand the brokers
    /// that a node learns of from it, and those that it is configured with besides.
    #[must_use]
    pub fn homes(&self, brokers: &Brokers) -> Homes {
        let home = |home: &Home| {
            let mut servers = vec![home.broker];
            for other in brokers.mates(home.broker).into_iter().chain(self.fallback.clone()) {
                if !servers.contains(&other) {
                    servers.push(other);
                }
            }
            let servers = servers.into_iter().filter_map(|at| u16::try_from(at).ok()).collect();
            homes::Home { weight: home.weight, servers }
        };
        Homes::new(self.homes.iter().map(home).collect())
    }

    /// Where the order in which nodes try brokers departs from a real server's, whose library shuffles
    /// all that it is configured with (protocol document 1.2; nats.go: `setupServerPool`). A server that
    /// is configured with one broker has none to choose from.
    pub(super) fn departure(&self, brokers: &Brokers) -> Option<&'static str> {
        let has_others = |home: &Home| {
            let others = brokers.mates(home.broker).into_iter().chain(self.fallback.clone());
            others.into_iter().any(|other| other != home.broker)
        };
        self.homes.iter().any(has_others).then_some(
            "nodes try the broker first that they are at home on, where a server begins with any of its own",
        )
    }

    /// The brokers that any node of the group knows, by position, and the homes as places among them.
    pub(crate) fn known(&self, brokers: &Brokers) -> (Vec<usize>, Homes) {
        let homes = self.homes(brokers);
        let known = homes.servers();
        let place =
            |broker| known.binary_search(&broker).ok().and_then(|at| u16::try_from(at).ok());
        let homes = homes.map(|broker| place(broker).unwrap_or(0));
        (known.into_iter().map(usize::from).collect(), homes)
    }
}

impl Plan {
    /// The brokers that node `n` (from 0) of a group goes round, as positions: the one that it is at home
    /// on, and those to which it flees, in an order that is the node's own.
    #[must_use]
    pub fn pool(&self, group: &Group, n: u64) -> Vec<usize> {
        let homes = group.placement.homes(&self.brokers);
        homes.configured(n).iter().copied().map(usize::from).collect()
    }

    /// How many of each group's nodes are at home on each broker: by group, by position.
    #[must_use]
    pub fn at_home(&self) -> Vec<Vec<u64>> {
        let dealt = |group: &Group| {
            group.placement.homes(&self.brokers).dealt(group.nodes, self.brokers.count())
        };
        self.groups.iter().map(dealt).collect()
    }

    /// The brokers that client `number` (from 1) goes round, as positions, home first.
    #[must_use]
    pub fn client_pool(&self, number: u32) -> Vec<usize> {
        let homes = &self.client.connects_to;
        let turn = usize::try_from(number.saturating_sub(1)).unwrap_or(0);
        let home = homes.get(turn % homes.len().max(1)).copied().unwrap_or(0);
        std::iter::once(home).chain(self.brokers.mates(home)).collect()
    }
}

/// The positions and weights that a placement means, in the order of the brokers.
fn meant(placement: &scenario::Placement, names: &[BrokerName]) -> Vec<Home> {
    let weights = placement.weights();
    let home = |(broker, name): (usize, &BrokerName)| {
        // The first that fits counts, as with versions.
        let (_, weight) = weights.iter().find(|(text, _)| name.is_meant_by(text))?;
        Some(Home { broker, weight: u32::try_from(*weight).unwrap_or(u32::MAX).max(1) })
    };
    names.iter().enumerate().filter_map(home).collect()
}

/// Where a group's nodes are at home.
pub(super) fn of_group(given: &scenario::Group, names: &[BrokerName]) -> Placement {
    let everywhere = || {
        let has_leaves = names.iter().any(|name| name.role == Role::Leaf);
        let at_home = |(_, name): &(usize, &BrokerName)| !has_leaves || name.role == Role::Leaf;
        let homes = names.iter().enumerate().filter(at_home);
        homes.map(|(broker, _)| Home { broker, weight: 1 }).collect()
    };
    let fallback = given.fallback.clone().unwrap_or_default();
    let is_fallback = |at: &usize| fallback.iter().any(|text| names[*at].is_meant_by(text));
    Placement {
        homes: given.brokers.as_ref().map_or_else(everywhere, |placement| meant(placement, names)),
        fallback: (0..names.len()).filter(is_fallback).collect(),
    }
}

/// Where clients are at home, by turns.
pub(super) fn of_client(given: Option<&scenario::Client>, names: &[BrokerName]) -> Vec<usize> {
    match given.and_then(|client| client.brokers.as_ref()) {
        None => vec![0],
        Some(placement) => meant(placement, names).iter().map(|home| home.broker).collect(),
    }
}

impl Client {
    /// Whether clients have different homes.
    #[must_use]
    pub fn is_spread(&self) -> bool {
        self.connects_to.len() > 1
    }
}
