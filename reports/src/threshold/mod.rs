//! Thresholds: what a run has to reach, in k6's grammar with units.
//!
//! A threshold is a metric with an optional selector, `completeness{wave:rpc}`, and an expression,
//! `min == 100%`. It is evaluated over counted waves only; no data is a failed threshold, and an
//! unknown metric is an error at once (k6 issues 4283 and 1526 tell why). Shares of nodes are
//! compared as integers: 99.9999 % is not 100 %.

mod evaluate;
mod metric;
mod parse;
mod value;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use metric::{CATALOGUE, Metric, Unit};
use value::Fraction;

/// A threshold that can be evaluated.
#[derive(Debug, Clone)]
pub struct Threshold {
    text: (String, String),
    metric: &'static Metric,
    selector: Selector,
    aggregation: Aggregation,
    operator: Operator,
    bound: Fraction,
}

/// A threshold that cannot be understood; the last line says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{subject}: {reason}\n{help}")]
pub struct ThresholdError {
    subject: String,
    reason: String,
    help: String,
}

/// What came of a threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThresholdOutcome {
    /// The metric with its selector, as written.
    pub metric: String,
    /// The expression, as written.
    pub expression: String,
    /// The value found, counted in `unit`; `None`: there was no data.
    pub value: Option<f64>,
    /// What `value` is counted in.
    pub unit: Unit,
    /// True when it was met.
    pub passed: bool,
    /// The value with its unit and where it was found, or why there is none.
    pub detail: String,
}

/// Which waves, groups or brokers are meant; what is `None` is not restricted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// Name of a wave's entry.
    pub wave: Option<String>,
    /// Client, from 1.
    pub client: Option<u32>,
    /// Group of nodes.
    pub group: Option<String>,
    /// Broker.
    pub broker: Option<String>,
    /// Kind of event.
    pub kind: Option<String>,
    /// Step of the timeline.
    pub step: Option<String>,
    /// Waves that were over before this step of the timeline.
    pub before: Option<String>,
    /// Waves under way while the network was not whole after this step.
    pub during: Option<String>,
    /// Waves sent when the network was whole again after this step.
    pub after: Option<String>,
    /// Cluster of brokers.
    pub cluster: Option<String>,
    /// Connections between brokers on the way from the client.
    pub hops: Option<u32>,
}

/// How many values become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aggregation {
    Avg,
    Min,
    Max,
    Med,
    /// A percentile in millionths: 999,000 is `p(99.9)`.
    Percentile(u32),
    Count,
    Rate,
    Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
}

impl Threshold {
    /// Reads a threshold, for example `completeness{wave:rpc}` and `min == 100%`.
    ///
    /// # Errors
    /// When the metric is unknown, or the expression does not fit it.
    pub fn parse(metric: &str, expression: &str) -> Result<Self, ThresholdError> {
        parse::threshold(metric, expression)
    }

    /// The metric.
    #[must_use]
    pub fn metric(&self) -> &'static Metric {
        self.metric
    }

    /// What the metric is restricted to: a scenario checks that its waves, groups and brokers
    /// exist.
    #[must_use]
    pub fn selector(&self) -> &Selector {
        &self.selector
    }
}

impl ThresholdError {
    /// What is wrong, for a message that has a place of its own to name.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// What to write instead.
    #[must_use]
    pub fn help(&self) -> &str {
        &self.help
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.text.0, self.text.1)
    }
}

impl Aggregation {
    /// As the catalogue names it.
    fn family(self) -> &'static str {
        match self {
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Med => "med",
            Self::Percentile(_) => "p(N)",
            Self::Count => "count",
            Self::Rate => "rate",
            Self::Value => "value",
        }
    }
}
