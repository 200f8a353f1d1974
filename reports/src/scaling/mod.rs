//! How costs grow with the nodes: the same scenario at several sizes, a line through each figure, what a
//! size that was not run would take, and whether the largest one follows the law of the smaller ones.
//!
//! Pure arithmetic over the summaries of runs that are over. A law is `fixed + each * nodes`: so grow the
//! time of a wave, the CPU time that goes into it when every node answers, and the memory of a fleet. Each
//! wave counts with the median over its counted waves, so that a single slow one moves nothing.

pub mod fit;
mod measure;
mod store;

use serde::{Deserialize, Serialize};

pub use measure::{Measure, Unit};
pub use store::{CSV_FILE_NAME, FILE_NAME, ScalingFolder};

use crate::broker::BrokerFigure;
use crate::run::Tool;
use crate::summary::Summary;
use crate::verdict::{ExitCode, Verdict};
use fit::Line;

/// Version of the members of `scaling.json` and their meaning.
pub const SCHEMA_VERSION: u32 = 1;
/// Fewest sizes that a law can be made of: with two, any line fits.
pub const LEAST_SIZES: usize = 3;

/// Everything that a series of sizes gave, as `scaling.json` has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    /// Version of the members, [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The tool that ran.
    pub tool: Tool,
    /// Name of the scenario.
    pub scenario: String,
    /// When the series began: RFC 3339, UTC.
    pub started_at: String,
    /// True while it goes on, and when it did not reach its end.
    pub partial: bool,
    /// The sizes that were asked for.
    pub asked: Vec<u64>,
    /// The sizes that were run, in order.
    pub sizes: Vec<Size>,
    /// Confidence of all intervals.
    pub confidence: f64,
    /// By how much of what was expected a measured figure may exceed it.
    pub bound: f64,
    /// One law for each figure; none as long as too few sizes are valid.
    pub laws: Vec<Law>,
    /// Why there are no laws.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_no_laws: Option<String>,
    /// The exit code.
    pub exit_code: u8,
}

/// One size that was run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Size {
    /// Nodes of the fleet.
    pub nodes: u64,
    /// Its result folder, beside the file that says so.
    pub folder: String,
    /// The verdict of its run.
    pub verdict: Verdict,
    /// The exit code of its run.
    pub exit_code: u8,
    /// What broke.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its waves by entry, in run order.
    pub waves: Vec<WaveTimes>,
    /// CPU time of the nodes over their answers while waves ran.
    pub emulator_cpu_us_per_answer: Option<f64>,
    /// CPU time of all brokers over the same answers; managed brokers only.
    pub brokers_cpu_us_per_answer: Option<f64>,
    /// Memory of the processes that carry nodes, fleet connected and idle.
    pub emulator_rss_bytes: Option<u64>,
    /// Memory of all brokers, each at its largest.
    pub brokers_rss_bytes: Option<u64>,
}

/// The counted waves of one entry at one size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WaveTimes {
    /// Name of the entry.
    pub name: String,
    /// Counted waves.
    pub waves: u64,
    /// Those in which every expected node was on time.
    pub complete_waves: u64,
    /// Until the last expected node had answered: the fastest, middle and slowest wave that got there.
    pub min_ms: Option<f64>,
    /// The wave in the middle.
    pub median_ms: Option<f64>,
    /// The slowest.
    pub max_ms: Option<f64>,
}

/// `fixed + each_node * nodes`, and how measured sizes compare with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Law {
    /// What grows.
    pub measure: Measure,
    /// Unit of all its values.
    pub unit: Unit,
    /// The part that does not depend on the nodes.
    pub fixed: f64,
    /// The part of each node.
    pub each_node: f64,
    /// The interval of `each_node`; `null` where too few sizes have this figure.
    pub each_node_interval: Option<[f64; 2]>,
    /// Measured sizes against the law of the others.
    pub sizes: Vec<Comparison>,
    /// Sizes that were not run.
    pub predictions: Vec<Prediction>,
}

/// A measured size against the law of all the others.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Nodes.
    pub nodes: u64,
    /// What was measured; `null`: no wave of this size was complete, or it took less CPU time than the
    /// system counts in.
    pub measured: Option<f64>,
    /// What the other sizes let expect.
    pub expected: f64,
    /// The interval in which a further size was to be expected.
    pub interval: Option<[f64; 2]>,
    /// The difference over what was expected; positive: it costs more.
    pub departure: Option<f64>,
    /// Whether it decides: only the largest size does, the others show where a law bends.
    pub judged: bool,
    /// Whether it exceeds the bound, or was a wave that was never complete.
    pub departs: bool,
}

/// What a size that was not run would take.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Nodes.
    pub nodes: u64,
    /// The value of the law.
    pub value: f64,
    /// The interval in which a measured value is to be expected.
    pub interval: Option<[f64; 2]>,
}

/// Too few sizes have a valid result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{have} of the sizes gave a valid result, and a law with an interval needs at least {LEAST_SIZES}\n\
     name {} more sizes with --nodes", LEAST_SIZES - have
)]
pub struct TooFewSizes {
    /// How many there are.
    pub have: usize,
}

impl Size {
    /// What a run of `nodes` nodes gave; its result folder is called `folder`.
    #[must_use]
    pub fn of(nodes: u64, folder: String, summary: &Summary) -> Self {
        let cost = &summary.cost;
        let waves = summary.entries.iter().map(|entry| WaveTimes {
            name: entry.name.clone(),
            waves: entry.waves,
            complete_waves: entry.complete_waves,
            min_ms: entry.to_complete_ms.min,
            median_ms: entry.to_complete_ms.median,
            max_ms: entry.to_complete_ms.max,
        });
        let brokers = cost.brokers.iter();
        let cpu_s: Option<f64> = brokers.clone().map(|broker| broker.wave_cpu_s).sum();
        let rss = brokers.clone().map(|broker| broker.figure(BrokerFigure::RssBytes));
        let answered = summary.fleet.answered;
        Self {
            nodes,
            folder,
            verdict: summary.verdict,
            exit_code: summary.exit_code,
            error: summary.error.clone(),
            waves: waves.collect(),
            emulator_cpu_us_per_answer: cost.emulator.cpu_us_per_answer,
            brokers_cpu_us_per_answer: cpu_s
                .filter(|_| answered > 0 && !cost.brokers.is_empty())
                .map(|seconds| seconds * 1e6 / answered as f64),
            emulator_rss_bytes: (cost.emulator.rss_bytes > 0).then_some(cost.emulator.rss_bytes),
            brokers_rss_bytes: rss
                .sum::<Option<f64>>()
                .filter(|_| !cost.brokers.is_empty())
                .map(|bytes| bytes as u64),
        }
    }

    /// Whether its figures say something about the network: a run that the tool itself held up, or that
    /// ended early, says nothing.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        matches!(self.verdict, Verdict::Passed | Verdict::ThresholdsFailed)
    }
}

/// The laws of `sizes`, with a prediction for each of `predict`; a measured figure departs when it is
/// above what was expected by more than `bound` of it.
///
/// # Errors
/// When fewer than [`LEAST_SIZES`] sizes are valid.
pub fn laws(sizes: &[Size], predict: &[u64], bound: f64) -> Result<Vec<Law>, TooFewSizes> {
    let valid: Vec<&Size> = sizes.iter().filter(|size| size.is_valid()).collect();
    if valid.len() < LEAST_SIZES {
        return Err(TooFewSizes { have: valid.len() });
    }
    let measures = Measure::of_all(&valid);
    Ok(measures.into_iter().filter_map(|measure| law(measure, &valid, predict, bound)).collect())
}

/// `None`: too few sizes have this figure.
fn law(measure: Measure, sizes: &[&Size], predict: &[u64], bound: f64) -> Option<Law> {
    let points: Vec<(f64, f64)> =
        sizes.iter().filter_map(|size| Some((size.nodes as f64, measure.value(size)?))).collect();
    let line = Line::through(&points)?;
    let largest = sizes.iter().map(|size| size.nodes).max()?;
    let compare = |size: &&Size| {
        let others: Vec<_> =
            points.iter().copied().filter(|(x, _)| *x != size.nodes as f64).collect();
        let judged = size.nodes == largest;
        let mut found =
            comparison(&Line::through(&others)?, size.nodes, measure.value(size), judged, bound);
        // No wave was complete: worse than any figure. CPU time and memory that nobody saw say nothing.
        found.departs |= found.measured.is_none() && matches!(measure, Measure::Wave(_));
        Some(found)
    };
    let predictions = predict.iter().map(|nodes| {
        let x = *nodes as f64;
        let value = readable(cost(line.at(x)));
        Prediction { nodes: *nodes, value, interval: around(&line, x) }
    });
    Some(Law {
        unit: measure.unit(),
        fixed: readable(line.intercept),
        each_node: readable(line.slope),
        each_node_interval: line
            .slope_within()
            .map(|within| [line.slope - within, line.slope + within].map(readable)),
        sizes: sizes.iter().filter_map(compare).collect(),
        predictions: predictions.collect(),
        measure,
    })
}

fn comparison(
    others: &Line,
    nodes: u64,
    measured: Option<f64>,
    judged: bool,
    bound: f64,
) -> Comparison {
    let x = nodes as f64;
    let expected = cost(others.at(x));
    // A law that expects nothing at all cannot be exceeded by a share of it; what leaves its interval
    // exceeds it all the same.
    let departure = measured
        .filter(|_| expected > 0.0)
        .map(|value| ((value / expected - 1.0) * 1e6).round() / 1e6 + 0.0);
    let interval = around(others, x);
    let departs = match departure {
        Some(departure) => departure > bound,
        None => measured.zip(interval).is_some_and(|(value, [_, high])| value > high),
    };
    Comparison {
        nodes,
        measured,
        expected: readable(expected),
        interval,
        departure,
        judged,
        departs,
    }
}

/// No cost is below zero, wherever a line points.
fn cost(value: f64) -> f64 {
    value.max(0.0)
}

fn around(line: &Line, x: f64) -> Option<[f64; 2]> {
    let within = line.point_within(x)?;
    Some([line.at(x) - within, line.at(x) + within].map(|end| readable(cost(end))))
}

/// The same with nine significant digits: more than any clock gives, and every reader of JSON takes
/// them for what they are.
fn readable(value: f64) -> f64 {
    format!("{value:.8e}").parse().unwrap_or(value)
}

impl Scaling {
    /// Works out the laws of the sizes so far, and the exit code.
    pub fn conclude(&mut self, predict: &[u64], ended: Option<ExitCode>) {
        (self.laws, self.why_no_laws) = match laws(&self.sizes, predict, self.bound) {
            Ok(laws) => (laws, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let runs = self.sizes.iter().filter_map(|size| ExitCode::from_number(size.exit_code));
        let departs = (!self.departing().is_empty()).then_some(ExitCode::Regression);
        let all = runs.chain(departs).chain(ended);
        self.exit_code = ExitCode::strongest(all).number();
    }

    /// The laws that the largest size does not follow, with what it did instead.
    #[must_use]
    pub fn departing(&self) -> Vec<(&Law, &Comparison)> {
        let judged = |law: &'_ Law| law.sizes.iter().position(|size| size.judged && size.departs);
        self.laws.iter().filter_map(|law| Some((law, &law.sizes[judged(law)?]))).collect()
    }
}

#[cfg(test)]
mod tests;
