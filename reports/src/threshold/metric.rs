//! What a metric is: its name, dimension, tags, aggregations and meaning, and where in a run its
//! figures are found ([`Source`]). Which ones there are says the catalogue.

mod catalogue;

use serde::{Deserialize, Serialize};

use crate::broker::BrokerFigure;
use crate::latency::Latency;
use crate::missing::Cause;
use crate::place::PlaceCounts;
use crate::recovery::{Consequences, Recovery};
use crate::run::{EventTotals, Tally};
use crate::wave::WaveFigures;
use crate::waves::Distributions;

pub use catalogue::CATALOGUE;

/// What the values of a metric are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Microseconds.
    Us,
    /// Seconds.
    S,
    /// A share of a whole: 1 is 100 %.
    Ratio,
    /// Bytes.
    Bytes,
    /// Things.
    Count,
    /// Things per second.
    PerSecond,
}

impl Unit {
    /// What is measured in it, for a person.
    #[must_use]
    pub fn dimension(self) -> &'static str {
        match self {
            Self::Us | Self::S => "duration",
            Self::Ratio => "percentage",
            Self::Bytes => "size",
            Self::Count => "count",
            Self::PerSecond => "rate",
        }
    }

    /// How values of this dimension are written.
    #[must_use]
    pub fn examples(self) -> &'static str {
        match self {
            Self::Us | Self::S => "`250ms`, `5s` or `1m30s`",
            Self::Ratio => "`100%` or `99.9%`",
            Self::Bytes => "`512B`, `12KiB` or `1GiB`",
            Self::Count => "a plain number such as `0`",
            Self::PerSecond => "`500/s` or `30/m`",
        }
    }
}

/// Where the figures of a metric come from.
#[derive(Clone, Copy)]
pub(super) enum Source {
    /// Replies on time over nodes expected, one value a wave.
    Completeness,
    /// Time until the last expected node had answered, one value a wave.
    ToComplete,
    /// Values of every reply or message of a wave.
    WaveLatency(fn(&Distributions) -> &Latency),
    /// Values of every reply of a wave, which have a place each.
    ResponseTime,
    /// Nodes by what became of them, one count a wave; they have a place each.
    Answers(fn(&PlaceCounts) -> u64),
    /// One count a wave.
    WaveCount(fn(&WaveFigures) -> u64),
    /// Nodes not on time for this cause, one count a wave.
    Missing(Cause),
    /// Values of the whole run.
    RunLatency(fn(&Tally) -> &Latency),
    /// Nodes connected.
    Connected,
    /// Connections lost.
    Disconnects,
    /// Times that nodes did this, by the name of the fleet's counter.
    Counter(&'static str),
    /// Messages that nodes published without being asked, by kind.
    Events(fn(&EventTotals) -> u64),
    /// One value a broker.
    Broker(BrokerFigure),
    /// Connections of nodes lost after an action of the timeline, one count an action.
    NodesLost,
    /// One value an action of the timeline; `None`: it did not come to that.
    Recovery(fn(&Recovery, &Consequences) -> Option<f64>),
    /// One value of the run.
    Single(fn(&Tally) -> Option<f64>),
}

/// One metric of the catalogue.
#[derive(Clone, Copy)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What its values are counted in, but for `count` and `rate` (see [`Metric::unit_of`]).
    pub unit: Unit,
    /// What may stand before the operator.
    pub aggregations: &'static [&'static str],
    /// Tags that its selector may name.
    pub tags: &'static [&'static str],
    /// What it says, in one line.
    pub about: &'static str,
    pub(super) source: Source,
}

impl std::fmt::Debug for Metric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Metric").field(&self.name).finish()
    }
}

impl Metric {
    /// The metric with this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        CATALOGUE.iter().find(|metric| metric.name == name)
    }

    /// The known name that is closest to `name`, if any is close.
    #[must_use]
    pub fn closest(name: &str) -> Option<&'static str> {
        closest(name, CATALOGUE.iter().map(|metric| metric.name))
    }

    /// What the values of an aggregation are counted in: `count` counts, `rate` is a share of the
    /// nodes expected (or planned), of lost connections a rate per second.
    #[must_use]
    pub fn unit_of(&self, aggregation: &str) -> Unit {
        match (aggregation, self.source) {
            ("count", _) => Unit::Count,
            ("rate", Source::Disconnects) => Unit::PerSecond,
            ("rate", _) => Unit::Ratio,
            _ => self.unit,
        }
    }

    /// True where the name has the unit in it, so that plain numbers are understood.
    pub(super) fn names_its_unit(&self) -> bool {
        ["_bytes", "cpu_s", "cpu_us", "_rtt_us"].iter().any(|unit| self.name.contains(unit))
    }
}

/// The candidate that is most like `word`, if one is close enough to have been meant.
pub(super) fn closest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
