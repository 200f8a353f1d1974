//! What a run cost, as `summary.json` has it: nodes, client, brokers.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::units::{seconds, two_decimals};
use crate::broker::{BrokerCost, BrokerFigure, Build, ConnectionLook, Links};
use crate::run::Cost;

/// What the run cost; `null` where it was not measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CostSummary {
    /// The processes that carried nodes.
    pub emulator: EmulatorSummary,
    /// The client.
    pub driver: DriverSummary,
    /// The brokers.
    pub brokers: Vec<BrokerSummary>,
}

/// What the nodes cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmulatorSummary {
    /// Resident memory with the fleet connected and idle.
    pub rss_bytes: u64,
    /// The same over the nodes.
    pub rss_bytes_per_node: Option<f64>,
    /// CPU time over the whole run.
    pub cpu_s: f64,
    /// CPU time of the nodes over their replies, while waves ran.
    pub cpu_us_per_answer: Option<f64>,
}

/// What the client cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriverSummary {
    /// CPU time over the replies received.
    pub cpu_us_per_reply: Option<f64>,
}

/// What one broker cost, and what was seen of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BrokerSummary {
    /// Its name.
    pub name: String,
    /// The version it reports, at the end where it was replaced.
    pub version: String,
    /// The Go toolchain that built it, where it says so.
    #[serde(default)]
    pub go: Option<String>,
    /// Where it was replaced: what it ran, in order, the last included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ran: Vec<RanSummary>,
    /// The cluster that it says it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// CPU time while waves ran; of managed brokers only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wave_cpu_s: Option<f64>,
    /// How long its monitoring did not answer although the broker was there, in seconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub silent_s: f64,
    /// Connections that ended, by the reason that the broker gives, of the last ones that it remembers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub closed: BTreeMap<String, u64>,
    /// Looks at its connections before and after the phases of the run, by when that was.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub looks: BTreeMap<String, ConnectionLook>,
    /// Keys of its configuration that its release does not know and that were left out.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub left_out: BTreeSet<String>,
    /// Its connections to other brokers by whom they lead to: a broker, or through a gateway a cluster.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub peers: Links,
    /// The figures by name ([`BrokerFigure`]), each a member of its own: counters over the whole run, of all
    /// else the largest reading; `null` where it was not measured.
    #[serde(flatten)]
    pub figures: BTreeMap<String, Option<serde_json::Number>>,
}

/// What a broker ran for a part of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RanSummary {
    /// When it was first seen to, since the run's epoch.
    pub since_s: f64,
    /// What it was.
    #[serde(flatten)]
    pub build: Build,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(seconds: &f64) -> bool {
    *seconds == 0.0
}

impl CostSummary {
    pub(super) fn of(cost: &Cost) -> Self {
        let Cost { emulator, driver, brokers } = cost;
        Self {
            emulator: EmulatorSummary {
                rss_bytes: emulator.rss_bytes,
                rss_bytes_per_node: emulator.rss_bytes_per_node().map(f64::round),
                cpu_s: seconds(emulator.cpu),
                cpu_us_per_answer: emulator.cpu_us_per_answer().map(two_decimals),
            },
            driver: DriverSummary { cpu_us_per_reply: driver.cpu_us_per_reply().map(two_decimals) },
            brokers: brokers.iter().map(|(name, broker)| BrokerSummary::of(name, broker)).collect(),
        }
    }
}

impl BrokerSummary {
    /// A figure in the unit of its name.
    #[must_use]
    pub fn figure(&self, figure: BrokerFigure) -> Option<f64> {
        self.figures.get(figure.name())?.as_ref()?.as_f64()
    }

    fn of(name: &str, broker: &BrokerCost) -> Self {
        let BrokerCost {
            builds,
            cluster,
            figures,
            links,
            wave_cpu,
            silent,
            closed,
            looks,
            left_out,
        } = broker;
        let Build { version, go } = builds.last();
        let ran = builds.in_order().into_iter();
        let ran = ran.map(|(since, build)| RanSummary { since_s: seconds(since), build });
        let ran: Vec<_> = ran.collect();
        let number = |figure: BrokerFigure, value: u64| match figure {
            BrokerFigure::CpuUs => serde_json::Number::from_f64(figure.in_its_unit(value)),
            _ => Some(value.into()),
        };
        let member = |figure: BrokerFigure| {
            let value = figures.get(figure).and_then(|value| number(figure, value));
            (figure.name().to_owned(), value)
        };
        Self {
            name: name.to_owned(),
            version,
            go,
            ran: if ran.len() > 1 { ran } else { Vec::new() },
            cluster: cluster.clone(),
            wave_cpu_s: wave_cpu.map(seconds),
            silent_s: seconds(*silent),
            closed: closed.clone(),
            looks: looks.clone(),
            left_out: left_out.clone(),
            peers: links.clone(),
            figures: BrokerFigure::ALL.into_iter().map(member).collect(),
        }
    }
}
