//! The fleet as `summary.json` has it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::units::seconds;
use crate::latency::LatencyFigures;
use crate::run::{FleetTotals, GroupTotals, Origin};

/// The fleet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FleetSummary {
    /// Where the nodes come from.
    #[serde(default)]
    pub origin: Origin,
    /// Nodes in the plan; of nodes that are not ours, those that have to answer.
    pub planned: u64,
    /// Nodes connected when the waves began; like all below 0 where the nodes are not ours.
    pub connected: u64,
    /// Time until the fleet was connected.
    pub connect_s: f64,
    /// Subscriptions of the connected nodes.
    pub subscriptions: u64,
    /// Processes that carried nodes.
    pub workers: u64,
    /// Nodes that were connected at least once.
    pub ever_connected: u64,
    /// Connections lost after they had been complete.
    pub disconnects: u64,
    /// Connections made again.
    pub reconnects: u64,
    /// Requests that reached nodes.
    pub received: u64,
    /// Replies that nodes wrote.
    pub answered: u64,
    /// All that nodes count, by name, as far as it is not zero: also requests lost in full request queues
    /// (`slow_consumer`), and what was due without a connection and had no room (`lost_unconnected`).
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
    /// What the first connections took, step by step.
    pub connect_time_us: ConnectSummary,
    /// The groups by name.
    pub groups: BTreeMap<String, GroupTotals>,
}

/// Durations of first connections; `null` where nothing was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConnectSummary {
    /// Dial to the established TCP connection.
    pub tcp: Option<LatencyFigures>,
    /// TCP to the broker's INFO.
    pub info: Option<LatencyFigures>,
    /// CONNECT to PONG.
    pub pong: Option<LatencyFigures>,
    /// PONG to the last subscription flushed.
    pub subscribed: Option<LatencyFigures>,
    /// All of it.
    pub total: Option<LatencyFigures>,
}

impl FleetSummary {
    pub(super) fn of(fleet: &FleetTotals, origin: Origin) -> Self {
        let connect = &fleet.connect;
        Self {
            origin,
            planned: fleet.planned,
            connected: fleet.connected,
            connect_s: seconds(fleet.connect_duration),
            subscriptions: fleet.subscriptions,
            workers: fleet.workers,
            ever_connected: fleet.ever_connected,
            disconnects: fleet.disconnects,
            reconnects: fleet.reconnects,
            received: fleet.received,
            answered: fleet.answered,
            counters: fleet.counters.clone(),
            connect_time_us: ConnectSummary {
                tcp: connect.tcp.figures(),
                info: connect.info.figures(),
                pong: connect.pong.figures(),
                subscribed: connect.subscribed.figures(),
                total: connect.total.figures(),
            },
            groups: fleet.groups.clone(),
        }
    }
}
