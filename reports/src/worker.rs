//! A worker process as results have it: what it carried, what it cost, and whether it was lost.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What became of one worker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkerResult {
    /// Name of its host.
    pub host: String,
    /// Nodes of its share.
    pub nodes: u64,
    /// Those of them that were connected at least once.
    pub connected: u64,
    /// Replies that they wrote.
    pub answered: u64,
    /// Resident memory, the most at any look.
    pub rss_bytes: u64,
    /// CPU time.
    pub cpu: Duration,
    /// The longest that a node's task had to wait for its turn.
    pub lag_max: Duration,
    /// Slices in which it sent what it counted.
    pub slices: u64,
    /// `Some`: it was lost, and why.
    pub lost: Option<String>,
}

impl WorkerResult {
    /// Takes over what another part knows of the same worker: the later state.
    pub fn merge(&mut self, other: &Self) {
        let Self { host, nodes, connected, answered, rss_bytes, cpu, lag_max, slices, lost } =
            other;
        self.host = std::mem::take(&mut self.host).max(host.clone());
        self.nodes = self.nodes.max(*nodes);
        self.connected = self.connected.max(*connected);
        self.answered = self.answered.max(*answered);
        self.rss_bytes = self.rss_bytes.max(*rss_bytes);
        self.cpu = self.cpu.max(*cpu);
        self.lag_max = self.lag_max.max(*lag_max);
        self.slices = self.slices.max(*slices);
        self.lost = self.lost.take().max(lost.clone());
    }
}

/// One worker in `summary.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerSummary {
    /// Its name.
    pub name: String,
    /// Name of its host.
    pub host: String,
    /// Nodes of its share.
    pub nodes: u64,
    /// Those of them that were connected at least once.
    pub connected: u64,
    /// Replies that they wrote.
    pub answered: u64,
    /// Resident memory, the most at any look.
    pub rss_bytes: u64,
    /// CPU time.
    pub cpu_s: f64,
    /// The longest that a node's task had to wait for its turn.
    pub lag_max_ms: f64,
    /// Slices in which it sent what it counted.
    pub slices: u64,
    /// Why it was lost, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
}

impl WorkerSummary {
    /// All workers in the order of their names.
    #[must_use]
    pub fn of_all(workers: &BTreeMap<String, WorkerResult>) -> Vec<Self> {
        let of = |(name, worker): (&String, &WorkerResult)| {
            let WorkerResult { host, nodes, connected, answered, .. } = worker.clone();
            Self {
                name: name.clone(),
                host,
                nodes,
                connected,
                answered,
                rss_bytes: worker.rss_bytes,
                cpu_s: worker.cpu.as_micros() as f64 / 1e6,
                lag_max_ms: worker.lag_max.as_micros() as f64 / 1e3,
                slices: worker.slices,
                lost: worker.lost.clone(),
            }
        };
        workers.iter().map(of).collect()
    }
}
