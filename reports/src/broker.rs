//! What was seen of a broker: figures by name, and looks at its connections.
//!
//! One list of figures serves the columns of `timeseries.csv`, the members of `summary.json` and the
//! metrics of thresholds: what a broker shows has one name everywhere.

mod build;
mod link;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use build::{Build, Builds};
pub use link::{Link, Links};

/// One thing that can be known of a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BrokerFigure {
    /// Resident memory, bytes: as the system sees it, of a broker that is not ours as it says itself.
    RssBytes,
    /// CPU time, microseconds; of managed brokers only.
    CpuUs,
    /// Client connections.
    Connections,
    /// Subscriptions.
    Subscriptions,
    /// Messages that came in, from clients and other brokers.
    MsgsIn,
    /// Messages that went out.
    MsgsOut,
    /// Bytes that came in.
    BytesIn,
    /// Bytes that went out.
    BytesOut,
    /// Connections cut off because they read too slowly.
    SlowConsumers,
    /// Those of them that were clients (nats-server 2.10 and later).
    SlowClients,
    /// Those that were routes.
    SlowRoutes,
    /// Those that were gateways.
    SlowGateways,
    /// Those that were leaf connections.
    SlowLeafs,
    /// Times that a fast producer was held up for a slow consumer (2.12 and later).
    Stalls,
    /// Connections cut off because they did not answer a PING (2.12 and later).
    StaleConnections,
    /// Connections to other brokers: routes, outgoing gateways, leaf connections.
    Links,
    /// Bytes that wait for the fullest of them.
    LinkPendingBytes,
    /// Round trip of the slowest of them, microseconds.
    LinkRttUs,
    /// Goroutines, where profiling is on.
    Goroutines,
    /// Heap in use, bytes, where profiling is on.
    HeapInuseBytes,
    /// Stacks in use, bytes, where profiling is on.
    StackInuseBytes,
}

use BrokerFigure as F;

impl BrokerFigure {
    /// Every figure, in the order of the columns.
    pub const ALL: [Self; 21] = [
        F::RssBytes,
        F::CpuUs,
        F::Connections,
        F::Subscriptions,
        F::MsgsIn,
        F::MsgsOut,
        F::BytesIn,
        F::BytesOut,
        F::SlowConsumers,
        F::SlowClients,
        F::SlowRoutes,
        F::SlowGateways,
        F::SlowLeafs,
        F::Stalls,
        F::StaleConnections,
        F::Links,
        F::LinkPendingBytes,
        F::LinkRttUs,
        F::Goroutines,
        F::HeapInuseBytes,
        F::StackInuseBytes,
    ];

    /// Its name in columns and members, and behind `broker.` in thresholds.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            F::RssBytes => "rss_bytes",
            F::CpuUs => "cpu_s",
            F::Connections => "connections",
            F::Subscriptions => "subscriptions",
            F::MsgsIn => "msgs_in",
            F::MsgsOut => "msgs_out",
            F::BytesIn => "bytes_in",
            F::BytesOut => "bytes_out",
            F::SlowConsumers => "slow_consumers",
            F::SlowClients => "slow_clients",
            F::SlowRoutes => "slow_routes",
            F::SlowGateways => "slow_gateways",
            F::SlowLeafs => "slow_leafs",
            F::Stalls => "stalls",
            F::StaleConnections => "stale_connections",
            F::Links => "links",
            F::LinkPendingBytes => "link_pending_bytes",
            F::LinkRttUs => "link_rtt_us",
            F::Goroutines => "goroutines",
            F::HeapInuseBytes => "heap_inuse_bytes",
            F::StackInuseBytes => "stack_inuse_bytes",
        }
    }

    /// Whether it only grows while the broker runs, and starts from zero when that starts again.
    #[must_use]
    pub const fn is_counter(self) -> bool {
        match self {
            F::CpuUs
            | F::MsgsIn
            | F::MsgsOut
            | F::BytesIn
            | F::BytesOut
            | F::SlowConsumers
            | F::SlowClients
            | F::SlowRoutes
            | F::SlowGateways
            | F::SlowLeafs
            | F::Stalls
            | F::StaleConnections => true,
            F::RssBytes
            | F::Connections
            | F::Subscriptions
            | F::Links
            | F::LinkPendingBytes
            | F::LinkRttUs
            | F::Goroutines
            | F::HeapInuseBytes
            | F::StackInuseBytes => false,
        }
    }

    /// Whether it is what the system says of the process, and not what the broker says of itself.
    #[must_use]
    pub const fn is_of_process(self) -> bool {
        matches!(self, F::RssBytes | F::CpuUs)
    }

    /// The value in the unit that its name has.
    #[must_use]
    pub fn in_its_unit(self, value: u64) -> f64 {
        match self {
            F::CpuUs => value as f64 / 1e6,
            _ => value as f64,
        }
    }
}

/// Figures of a broker; what is not known is absent. Merging takes the larger of two readings, and
/// the empty set is its identity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BrokerFigures([Option<u64>; BrokerFigure::ALL.len()]);

impl BrokerFigures {
    /// The value of a figure, if it is known.
    #[must_use]
    pub fn get(&self, figure: BrokerFigure) -> Option<u64> {
        self.0[figure as usize]
    }

    /// Sets a figure, if there is a value.
    pub fn set(&mut self, figure: BrokerFigure, value: Option<u64>) {
        if value.is_some() {
            self.0[figure as usize] = value;
        }
    }

    /// The same with a figure set.
    #[must_use]
    pub fn with(mut self, figure: BrokerFigure, value: u64) -> Self {
        self.set(figure, Some(value));
        self
    }

    /// What is known, in the order of the columns.
    pub fn known(&self) -> impl Iterator<Item = (BrokerFigure, u64)> {
        BrokerFigure::ALL.into_iter().filter_map(|figure| Some((figure, self.get(figure)?)))
    }

    /// Takes over the larger readings of `other`.
    pub fn merge(&mut self, other: &Self) {
        let Self(theirs) = other;
        for (mine, theirs) in self.0.iter_mut().zip(theirs) {
            *mine = (*mine).max(*theirs);
        }
    }
}

/// What was seen of one broker over a run. Several observers of one broker agree on the largest
/// reading.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerCost {
    /// What it ran.
    pub builds: Builds,
    /// The cluster that it says it is in.
    pub cluster: Option<String>,
    /// Counters over the whole run, of all else the largest reading.
    pub figures: BrokerFigures,
    /// Its connections to other brokers.
    pub links: Links,
    /// CPU time while waves ran; of managed brokers only.
    pub wave_cpu: Option<Duration>,
    /// How long its monitoring did not answer although the broker was there.
    pub silent: Duration,
    /// Connections that ended, by the reason that the broker gives, of the last ones that it remembers.
    pub closed: BTreeMap<String, u64>,
    /// Looks at its connections before and after the phases of the run, by when that was.
    pub looks: BTreeMap<String, ConnectionLook>,
    /// Keys of its configuration that its release does not know and that were left out.
    pub left_out: BTreeSet<String>,
}

/// A look at the connections of a broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConnectionLook {
    /// Since the run's epoch, milliseconds.
    pub at_ms: u64,
    /// How many there were.
    pub connections: u64,
    /// Those for which most bytes waited in the broker, the fullest first; none where nothing waited.
    pub fullest: Vec<PendingConnection>,
}

/// A connection for which bytes wait in a broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PendingConnection {
    /// Bytes that wait.
    pub pending_bytes: u64,
    /// Name that the client gave itself.
    pub name: String,
}

impl BrokerCost {
    /// Takes over what another observer saw of the same broker.
    pub fn merge(&mut self, other: &Self) {
        let Self { builds, cluster, figures, links, wave_cpu, silent, closed, looks, left_out } =
            other;
        self.builds.merge(builds);
        for (peer, link) in links {
            self.links.entry(peer.clone()).or_default().merge(link);
        }
        if *cluster > self.cluster {
            self.cluster.clone_from(cluster);
        }
        self.figures.merge(figures);
        self.wave_cpu = self.wave_cpu.max(*wave_cpu);
        self.left_out.extend(left_out.iter().cloned());
        self.silent = self.silent.max(*silent);
        for (reason, count) in closed {
            let mine = self.closed.entry(reason.clone()).or_default();
            *mine = (*mine).max(*count);
        }
        for (when, look) in looks {
            let mine = self.looks.entry(when.clone()).or_default();
            if *look > *mine {
                mine.clone_from(look);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_has_a_place_and_a_name_of_its_own() {
        let mut names: Vec<_> = BrokerFigure::ALL.iter().map(|figure| figure.name()).collect();
        for (position, figure) in BrokerFigure::ALL.into_iter().enumerate() {
            assert_eq!(figure as usize, position, "{figure:?}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), BrokerFigure::ALL.len());
    }
}
