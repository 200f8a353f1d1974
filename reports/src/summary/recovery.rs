//! The part of `summary.json` that says how the network came back after something had been done to
//! its brokers.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units::seconds;
use crate::recovery::{Consequences, Recovery, RecoveryKey};
use crate::run::Tally;

/// What followed one action of the timeline. Times are seconds since the action; `null`: it did not
/// come to that while the network was watched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecoverySummary {
    /// Name of the step.
    pub step: String,
    /// Which turn of it, from 1: brokers that go one after the other have one each.
    pub turn: u32,
    /// What was done: `restart`, `kill`, ...
    pub action: String,
    /// To which brokers.
    pub brokers: Vec<String>,
    /// When, since the run's epoch; `null`: it was not.
    pub at_s: Option<f64>,
    /// Until the brokers were gone, or ready again.
    pub action_s: Option<f64>,
    /// Until the brokers were ready again.
    pub ready_s: Option<f64>,
    /// Nodes that were away already.
    pub nodes_away_before: u64,
    /// Complete connections of nodes that were lost.
    pub nodes_lost: u64,
    /// Connections of nodes that were complete again.
    pub nodes_back: u64,
    /// Until parts of the nodes were back, resubscribed.
    pub time_to_s: SharesBack,
    /// The same since the brokers were ready again.
    pub from_ready_to_s: SharesBack,
    /// Until the action was over and all nodes and the client's own connections were back.
    pub whole_s: Option<f64>,
    /// Until a wave was complete, the first behind the last incomplete one of that time.
    pub first_complete_s: Option<f64>,
    /// The same of discoveries.
    pub first_discovery_s: Option<f64>,
    /// Nodes that did not answer on time, over all waves under way until the network was whole.
    pub requests_lost: u64,
    /// Connections completed in the busiest second.
    pub connects_per_s_max: u64,
    /// Connections tried in the busiest second.
    pub dials_per_s_max: u64,
    /// Connections of each broker before.
    pub connections_before: BTreeMap<String, u64>,
    /// The same afterwards.
    pub connections_after: BTreeMap<String, u64>,
}

/// Times until parts of the nodes were back, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct SharesBack {
    /// Half of them.
    pub p50: Option<f64>,
    /// 99 % of them.
    pub p99: Option<f64>,
    /// All of them.
    pub all: Option<f64>,
}

impl SharesBack {
    fn of(time: impl Fn(u64) -> Option<Duration>) -> Self {
        let [p50, p99, all] = [50, 99, 100].map(|share| time(share).map(seconds));
        Self { p50, p99, all }
    }
}

impl RecoverySummary {
    pub(super) fn of_all(tally: &Tally) -> Vec<Self> {
        let of = |(key, recovery)| Self::of(key, recovery, tally);
        tally.recovery.iter().map(of).collect()
    }

    fn of(key: &RecoveryKey, recovery: &Recovery, tally: &Tally) -> Self {
        let waves = Consequences::of(recovery, &tally.waves);
        Self {
            step: key.step.clone(),
            turn: key.turn,
            action: recovery.action.clone(),
            brokers: recovery.brokers.iter().cloned().collect(),
            at_s: recovery.began.map(seconds),
            action_s: recovery.done.map(seconds),
            ready_s: recovery.ready.map(seconds),
            nodes_away_before: recovery.away_before,
            nodes_lost: recovery.lost.total(),
            nodes_back: recovery.back.total(),
            time_to_s: SharesBack::of(|share| recovery.time_to(share)),
            from_ready_to_s: SharesBack::of(|share| recovery.time_from_ready(share)),
            whole_s: recovery.whole().map(seconds),
            first_complete_s: waves.first_complete.map(seconds),
            first_discovery_s: waves.first_discovery.map(seconds),
            requests_lost: waves.requests_lost,
            connects_per_s_max: recovery.back.most_in_a_second(),
            dials_per_s_max: recovery.dials.most_in_a_second(),
            connections_before: recovery.connections_before.clone(),
            connections_after: recovery.connections_after.clone(),
        }
    }
}
