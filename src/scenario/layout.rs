//! Which brokers a scenario has and what they are called: what the checks and the plan ask.

use serde::{Deserialize, Serialize};

use super::brokers::{Brokers, Topology};
use super::units::Count;

/// Most brokers of a network: each is a process on this host.
pub(crate) const MAX_BROKERS: u64 = 100;
/// Brokers of a cluster that does not say.
pub(crate) const SIZE: u64 = 3;
/// Leaves of leafnodes that do not say.
pub(crate) const LEAVES: u64 = 2;
/// Clusters of a supercluster that does not say.
pub(crate) const CLUSTERS: u64 = 2;

/// What a broker is in its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The only one.
    Single,
    /// One of a cluster.
    Member,
    /// Leaves connect to it.
    Hub,
    /// It connects to a hub.
    Leaf,
    /// It is not ours.
    External,
}

/// A broker by its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BrokerName {
    /// Its own.
    pub(crate) name: String,
    /// That of its cluster, if it is in one.
    pub(crate) cluster: Option<String>,
    /// What it is.
    pub(crate) role: Role,
}

impl BrokerName {
    /// Whether a name, a cluster's name or a pattern with `*` means it.
    pub(crate) fn is_meant_by(&self, text: &str) -> bool {
        fits(text, &self.name) || self.cluster.as_deref().is_some_and(|name| fits(text, name))
    }
}

/// Whether `text` fits the pattern, in which `*` stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == text };
    let Some(rest) = text.strip_prefix(before) else { return false };
    (0..=rest.len()).any(|at| rest.get(at..).is_some_and(|rest| fits(after, rest)))
}

/// The brokers in the order of their positions.
pub(crate) fn layout(brokers: Option<&Brokers>) -> Vec<BrokerName> {
    let topology = brokers.and_then(|brokers| brokers.topology).unwrap_or(Topology::Single);
    let given = |pick: fn(&Brokers) -> Option<Count>| brokers.and_then(pick).map(|count| count.0);
    let size = given(|brokers| brokers.size);
    let row = |prefix: &str, count: u64, role: Role, cluster: Option<&str>| -> Vec<BrokerName> {
        let broker = |number: u64| BrokerName {
            name: format!("{prefix}{number}"),
            cluster: cluster.map(str::to_owned),
            role,
        };
        // What is beyond the limit is refused elsewhere: enough to see that it is.
        (1..=count.min(MAX_BROKERS + 1)).map(broker).collect()
    };
    match topology {
        Topology::Single => row("n", 1, Role::Single, None),
        Topology::Cluster => row("n", size.unwrap_or(SIZE), Role::Member, Some("c1")),
        Topology::Leafnodes => {
            let size = size.unwrap_or(1);
            let leaves = given(|brokers| brokers.leaves).unwrap_or(LEAVES);
            let cluster = (size > 1).then_some("hub");
            [row("hub", size, Role::Hub, cluster), row("leaf", leaves, Role::Leaf, None)].concat()
        }
        Topology::Supercluster => {
            let clusters = given(|brokers| brokers.clusters).unwrap_or(CLUSTERS);
            let cluster = |number: u64| {
                let name = format!("c{number}");
                row(&format!("{name}-n"), size.unwrap_or(SIZE), Role::Member, Some(&name))
            };
            (1..=clusters.min(MAX_BROKERS + 1)).flat_map(cluster).collect()
        }
        Topology::External => {
            let urls = brokers.and_then(|brokers| brokers.urls.as_ref()).map_or(0, Vec::len);
            row("n", u64::try_from(urls).unwrap_or(u64::MAX), Role::External, None)
        }
        Topology::Federation => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(topology: Topology, size: u64, more: u64) -> Vec<String> {
        let brokers = Brokers {
            topology: Some(topology),
            size: Some(Count(size)),
            leaves: Some(Count(more)),
            clusters: Some(Count(more)),
            ..Brokers::default()
        };
        let named = |broker: BrokerName| match broker.cluster {
            Some(cluster) => format!("{} in {cluster}", broker.name),
            None => broker.name,
        };
        layout(Some(&brokers)).into_iter().map(named).collect()
    }

    #[test]
    fn brokers_have_names_that_a_person_guesses() {
        for (topology, size, more, expected) in [
            (Topology::Single, 1, 0, &["n1"][..]),
            (Topology::Cluster, 3, 0, &["n1 in c1", "n2 in c1", "n3 in c1"]),
            (Topology::Leafnodes, 1, 2, &["hub1", "leaf1", "leaf2"]),
            (Topology::Leafnodes, 2, 1, &["hub1 in hub", "hub2 in hub", "leaf1"]),
            (Topology::Supercluster, 1, 2, &["c1-n1 in c1", "c2-n1 in c2"]),
        ] {
            assert_eq!(names(topology, size, more), expected);
        }
    }

    #[test]
    fn a_broker_is_meant_by_its_name_its_cluster_and_patterns() {
        let broker =
            BrokerName { name: "c1-n2".to_owned(), cluster: Some("c1".into()), role: Role::Member };
        for (text, meant) in [
            ("c1-n2", true),
            ("c1", true),
            ("*", true),
            ("c1-*", true),
            ("*-n2", true),
            ("c*n*", true),
            ("c1-n", false),
            ("n2", false),
            ("c2*", false),
            ("", false),
        ] {
            assert_eq!(broker.is_meant_by(text), meant, "{text:?}");
        }
    }
}
