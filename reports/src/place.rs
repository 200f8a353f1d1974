//! Where the nodes are: answers by broker, by cluster, and by how many brokers lie between.
//!
//! A node counts for the broker that it is at home on, wherever it may have fled to: so a wave's places
//! have the same nodes from the first wave to the last.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::latency::{Latency, LatencyDigest, LatencyFigures, Merge};

/// A broker with the nodes that are at home on it, as seen from one client.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Name of the broker.
    pub broker: String,
    /// The cluster that it is in.
    pub cluster: Option<String>,
    /// Connections between brokers on the way from the client's; `None` where that is not known.
    pub hops: Option<u32>,
}

/// What the nodes of one place, or of several, answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceCounts {
    /// Nodes that had to answer.
    pub expected: u64,
    /// First replies within the deadline.
    pub on_time: u64,
    /// First replies after it.
    pub late: u64,
}

impl PlaceCounts {
    /// Nodes that never answered.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.expected.saturating_sub(self.on_time + self.late)
    }

    /// Takes over everything that `other` holds.
    pub fn merge(&mut self, other: &Self) {
        let Self { expected, on_time, late } = other;
        self.expected += expected;
        self.on_time += on_time;
        self.late += late;
    }
}

/// The answers of one place with how long they took: a whole distribution, or what stays of it (`L`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PlaceResult<L = Latency> {
    /// How many.
    pub counts: PlaceCounts,
    /// Intended instant to reply, of replies on time and late.
    pub response_time: L,
}

/// The places of a wave. Some 300 bytes a place where the distributions are digests.
pub type Places<L = Latency> = BTreeMap<Arc<Place>, PlaceResult<L>>;

/// Takes over everything that `other` holds.
pub(crate) fn merge<L: Merge + Default>(places: &mut Places<L>, other: &Places<L>) {
    for (place, PlaceResult { counts, response_time }) in other {
        let mine = places.entry(Arc::clone(place)).or_default();
        mine.counts.merge(counts);
        mine.response_time.merge(response_time);
    }
}

/// The places with digests of their distributions.
pub(crate) fn digested(places: &Places) -> Places<LatencyDigest> {
    let digest = |place: &PlaceResult| PlaceResult {
        counts: place.counts,
        response_time: LatencyDigest::of(&place.response_time),
    };
    places.iter().map(|(place, result)| (Arc::clone(place), digest(result))).collect()
}

/// Answers by broker, cluster and hops, as `summary.json` has them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PlacesSummary {
    /// By the broker that nodes are at home on.
    pub by_broker: BTreeMap<String, PlaceSummary>,
    /// By the cluster of that broker; empty where there are no clusters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_cluster: BTreeMap<String, PlaceSummary>,
    /// By the connections between brokers on the way.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_hops: BTreeMap<u32, PlaceSummary>,
}

/// The answers of one place.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PlaceSummary {
    /// Nodes that had to answer, over all waves.
    pub expected: u64,
    /// Answers within the deadline.
    pub on_time: u64,
    /// Answers after it.
    pub late: u64,
    /// Answers that never came.
    pub missing: u64,
    /// `on_time` over `expected`; `null` when nobody was expected.
    pub completeness: Option<f64>,
    /// Intended instant to reply.
    pub response_time_us: Option<LatencyFigures>,
}

impl PlacesSummary {
    /// The summary of these places; `None` where there is only one: it would say what is said already.
    #[must_use]
    pub fn of(places: &Places) -> Option<Self> {
        let summary = Self {
            by_broker: grouped(places, |place| Some(place.broker.clone())),
            by_cluster: grouped(places, |place| place.cluster.clone()),
            by_hops: grouped(places, |place| place.hops),
        };
        (summary.by_broker.len() > 1).then_some(summary)
    }
}

/// Places with the same key as one.
fn grouped<K: Ord>(
    places: &Places,
    key: impl Fn(&Place) -> Option<K>,
) -> BTreeMap<K, PlaceSummary> {
    let mut groups = BTreeMap::<K, PlaceResult>::new();
    for (place, PlaceResult { counts, response_time }) in places {
        let Some(key) = key(place) else { continue };
        let group = groups.entry(key).or_default();
        group.counts.merge(counts);
        group.response_time.merge(response_time);
    }
    groups.into_iter().map(|(key, group)| (key, PlaceSummary::of(&group))).collect()
}

impl PlaceSummary {
    fn of(PlaceResult { counts, response_time }: &PlaceResult) -> Self {
        let PlaceCounts { expected, on_time, late } = *counts;
        Self {
            expected,
            on_time,
            late,
            missing: counts.missing(),
            completeness: (expected > 0).then(|| on_time as f64 / expected as f64),
            response_time_us: response_time.figures(),
        }
    }
}
