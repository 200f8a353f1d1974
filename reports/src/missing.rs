//! Nodes that did not answer in time: why, how many, and who.
//!
//! A [`MissingNode`] is one line of `missing.jsonl`; [`Missing`] is what a report needs of them:
//! counts by wave, group and cause, and the first few names of each cause. The full list is never
//! kept in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::wave::WaveKey;

/// Names kept of each cause.
pub const EXAMPLES_PER_CAUSE: usize = 5;

/// Why an expected node was not on time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The node had not completed its connection once by the deadline.
    NeverConnected,
    /// The node was not connected when the wave went out, or lost its connection before answering.
    Disconnected,
    /// The node was connected throughout, yet the request never arrived.
    NotDelivered,
    /// The request arrived and no reply was written.
    NoReply,
    /// The reply was written to the socket and the driver never saw it.
    ReplyLost,
    /// The driver saw the reply after the deadline.
    Late,
    /// The worker process that carried the node was lost.
    WorkerLost,
    /// The fleet is not ours: only its silence is known.
    Unknown,
}

impl Cause {
    /// Every cause, in the order of a request's way through the network.
    pub const ALL: [Self; 8] = [
        Self::NeverConnected,
        Self::Disconnected,
        Self::NotDelivered,
        Self::NoReply,
        Self::ReplyLost,
        Self::Late,
        Self::WorkerLost,
        Self::Unknown,
    ];

    /// Its name in files and thresholds.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NeverConnected => "never_connected",
            Self::Disconnected => "disconnected",
            Self::NotDelivered => "not_delivered",
            Self::NoReply => "no_reply",
            Self::ReplyLost => "reply_lost",
            Self::Late => "late",
            Self::WorkerLost => "worker_lost",
            Self::Unknown => "unknown",
        }
    }

    /// What it means, for a person.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::NeverConnected => "had not connected once by the deadline",
            Self::Disconnected => "was not connected, or lost its connection before it answered",
            Self::NotDelivered => "was connected, but the request never reached it",
            Self::NoReply => "received the request and wrote no reply",
            Self::ReplyLost => "wrote its reply, which never reached the driver",
            Self::Late => "answered after the deadline",
            Self::WorkerLost => "was carried by a worker that was lost",
            Self::Unknown => "did not answer; what happened on its side is not known",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One expected node that was not on time in one wave: one line of `missing.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingNode {
    /// Name of the wave's entry.
    pub wave: String,
    /// Number of the wave within its entry, from 1.
    pub number: u32,
    /// True in a warm-up wave.
    pub warmup: bool,
    /// Client that missed the reply, from 1.
    pub client: u32,
    /// The node's identity.
    pub identity: String,
    /// Global index of an emulated node.
    pub index: Option<u64>,
    /// Group of an emulated node.
    pub group: Option<String>,
    /// Broker that the node was on when it was asked, or was on last before, where that is known: its name, or
    /// `HOST:PORT` of one that only other brokers have told of.
    pub broker: Option<String>,
    /// Why it was not on time.
    pub cause: Cause,
    /// Anything more that is known.
    pub detail: Option<String>,
}

impl MissingNode {
    /// A node of which only the name and the cause are known.
    #[must_use]
    pub fn new(key: &WaveKey, identity: impl Into<String>, cause: Cause) -> Self {
        let WaveKey { name, number, warmup, client } = key.clone();
        Self {
            wave: name,
            number,
            warmup,
            client,
            identity: identity.into(),
            index: None,
            group: None,
            broker: None,
            cause,
            detail: None,
        }
    }

    /// The wave that it missed.
    #[must_use]
    pub fn key(&self) -> WaveKey {
        WaveKey {
            name: self.wave.clone(),
            number: self.number,
            warmup: self.warmup,
            client: self.client,
        }
    }
}

/// How many were not on time, by cause.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MissingCount {
    by_cause: BTreeMap<Cause, u64>,
}

impl MissingCount {
    /// Counts `nodes` more.
    pub fn add(&mut self, cause: Cause, nodes: u64) {
        if nodes > 0 {
            *self.by_cause.entry(cause).or_default() += nodes;
        }
    }

    /// How many for this cause.
    #[must_use]
    pub fn get(&self, cause: Cause) -> u64 {
        self.by_cause.get(&cause).copied().unwrap_or_default()
    }

    /// How many for all causes, late ones included.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_cause.values().sum()
    }

    /// Takes over everything that `other` holds.
    pub fn merge(&mut self, other: &Self) {
        let Self { by_cause } = other;
        for (cause, nodes) in by_cause {
            self.add(*cause, *nodes);
        }
    }
}

/// A node by name, for a person to look at. Ordered by index, so that the first few are the same
/// however results were merged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodeName {
    /// Global index of an emulated node.
    pub index: Option<u64>,
    /// The node's identity.
    pub identity: String,
    /// Group of an emulated node.
    pub group: Option<String>,
    /// Broker that the node was on when it was asked, where that is known.
    #[serde(default)]
    pub broker: Option<String>,
}

/// What reports and thresholds need of the nodes that were not on time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Missing {
    /// Counts by wave and group; the group is empty where it is not known.
    counts: BTreeMap<WaveKey, BTreeMap<String, MissingCount>>,
    /// Counts by the broker that nodes were on, where that is known, over counted waves.
    by_broker: BTreeMap<String, u64>,
    /// The first names of each cause, over counted waves.
    examples: BTreeMap<Cause, BTreeSet<NodeName>>,
}

impl Missing {
    /// Counts one node.
    pub fn add(&mut self, node: &MissingNode) {
        let group = node.group.clone().unwrap_or_default();
        let wave = self.counts.entry(node.key()).or_default();
        wave.entry(group).or_default().add(node.cause, 1);
        if !node.warmup {
            if let Some(broker) = &node.broker {
                *self.by_broker.entry(broker.clone()).or_default() += 1;
            }
            let name = NodeName {
                index: node.index,
                identity: node.identity.clone(),
                group: node.group.clone(),
                broker: node.broker.clone(),
            };
            remember(self.examples.entry(node.cause).or_default(), name);
        }
    }

    /// Takes over everything that `other` holds.
    pub fn merge(&mut self, other: &Self) {
        let Self { counts, by_broker, examples } = other;
        for (key, groups) in counts {
            let wave = self.counts.entry(key.clone()).or_default();
            for (group, count) in groups {
                wave.entry(group.clone()).or_default().merge(count);
            }
        }
        for (broker, nodes) in by_broker {
            *self.by_broker.entry(broker.clone()).or_default() += nodes;
        }
        for (cause, names) in examples {
            let mine = self.examples.entry(*cause).or_default();
            names.iter().for_each(|name| remember(mine, name.clone()));
        }
    }

    /// Counts over all waves but warm-up ones.
    #[must_use]
    pub fn counted(&self) -> MissingCount {
        let mut total = MissingCount::default();
        for (_, groups) in self.counts.iter().filter(|(key, _)| !key.warmup) {
            groups.values().for_each(|count| total.merge(count));
        }
        total
    }

    /// The same by group, without the nodes whose group is not known.
    #[must_use]
    pub fn counted_by_group(&self) -> BTreeMap<String, MissingCount> {
        let mut totals = BTreeMap::<String, MissingCount>::new();
        let counted = self.counts.iter().filter(|(key, _)| !key.warmup);
        for (group, count) in counted.flat_map(|(_, groups)| groups) {
            if !group.is_empty() {
                totals.entry(group.clone()).or_default().merge(count);
            }
        }
        totals
    }

    /// How many by the broker that they were on when they were asked; warm-up waves left out.
    #[must_use]
    pub fn counted_by_broker(&self) -> &BTreeMap<String, u64> {
        &self.by_broker
    }

    /// How many nodes were not on time in one wave for one cause, of one group or of all.
    #[must_use]
    pub fn of_wave(&self, key: &WaveKey, cause: Cause, group: Option<&str>) -> u64 {
        let Some(groups) = self.counts.get(key) else { return 0 };
        groups
            .iter()
            .filter(|(name, _)| group.is_none_or(|wanted| wanted == name.as_str()))
            .map(|(_, count)| count.get(cause))
            .sum()
    }

    /// The first names of each cause, by index; warm-up waves left out.
    pub fn examples(&self) -> impl Iterator<Item = (Cause, &BTreeSet<NodeName>)> {
        self.examples.iter().map(|(cause, names)| (*cause, names))
    }
}

/// Keeps a name if it is among the first: each node once, with the first of the brokers that it was missing from.
fn remember(names: &mut BTreeSet<NodeName>, name: NodeName) {
    let same = |known: &&NodeName| {
        let NodeName { index, identity, group, broker: _ } = known;
        (*index, identity, group) == (name.index, &name.identity, &name.group)
    };
    match names.iter().find(same).cloned() {
        Some(known) if known <= name => return,
        Some(known) => drop(names.remove(&known)),
        None => {}
    }
    names.insert(name);
    if names.len() > EXAMPLES_PER_CAUSE {
        names.pop_last();
    }
}
