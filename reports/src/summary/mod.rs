//! `summary.json`: the type that scripts and renderers rely on.
//!
//! Its members are a promise of their own, apart from every type of the program: [`RunResult`] may
//! change, a `schema_version` may not. A summary has all that the reports show, so that
//! `report RESULT` prints the same from the folder alone.

mod cost;
mod entry;
mod fleet;
mod histograms;
mod recovery;
mod units;
mod wave;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::de::Error as _;
use serde::{Deserialize, Serialize};

use crate::forming::FormingSummary;
use crate::latency::LatencyFigures;
use crate::missing::{Cause, NodeName};
use crate::place::PlacesSummary;
use crate::run::{Ending, EventTotals, Host, RunResult, Tool};
use crate::store::StoreError;
use crate::threshold::ThresholdOutcome;
use crate::verdict::{Doubt, Verdict};
use crate::worker::WorkerSummary;

pub use cost::{BrokerSummary, CostSummary, DriverSummary, EmulatorSummary, RanSummary};
pub use entry::{EntrySummary, WholeMs};
pub use fleet::{ConnectSummary, FleetSummary};
pub use histograms::HistogramTexts;
pub use recovery::{RecoverySummary, SharesBack};
pub use wave::{ToCompleteMs, WaveSummary};

/// Version of the members and their meaning.
pub const SCHEMA_VERSION: u32 = 1;

/// Name of the file in a result folder.
pub const FILE_NAME: &str = "summary.json";

/// Most bytes of a file that is read as a summary: 100,000 waves take 200 MiB with their histograms.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Everything a result says, as `summary.json` has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Version of the members, [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The tool that ran.
    pub tool: Tool,
    /// Name of the scenario.
    pub scenario: String,
    /// Digest of the plan.
    pub plan_digest: String,
    /// Digest of the certificate that the fleet's nodes behave as real servers do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_digest: Option<String>,
    /// When the run started: RFC 3339, UTC.
    pub started_at: String,
    /// How long the run took.
    pub duration_s: f64,
    /// The verdict; of a run that goes on, `interrupted`.
    pub verdict: Verdict,
    /// The exit code.
    pub exit_code: u8,
    /// True while the run goes on, and when it did not reach its end.
    pub partial: bool,
    /// The message of what broke.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Reasons to distrust the result.
    pub doubts: Vec<Doubt>,
    /// Where the nodes departed from a real server.
    pub departures: Vec<String>,
    /// How the brokers are joined.
    pub topology: String,
    /// How several brokers became a network; left out where there is one, or it is not ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forming: Option<FormingSummary>,
    /// The fleet.
    pub fleet: FleetSummary,
    /// The worker processes that carried nodes; left out where the tool's own process did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<WorkerSummary>,
    /// The entries of the scenario's `waves` with all their counted waves merged, in run order.
    pub entries: Vec<EntrySummary>,
    /// The answers of all counted waves by where the nodes are; left out where all are in one place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub places: Option<PlacesSummary>,
    /// Every wave as every client saw it, in run order, warm-up waves included.
    pub waves: Vec<WaveSummary>,
    /// Who was not on time in counted waves.
    pub missing: MissingSummary,
    /// What nodes published without being asked and a listener received, by kind; kinds that the
    /// scenario switches off are left out.
    #[serde(default)]
    pub events: BTreeMap<String, EventTotals>,
    /// How the network came back after what the timeline did to its brokers, in the order of the
    /// timeline.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recovery: Vec<RecoverySummary>,
    /// The thresholds.
    pub thresholds: Vec<ThresholdOutcome>,
    /// What the run cost.
    pub cost: CostSummary,
    /// How late the tool's own timers fired.
    pub scheduler_lag_us: Option<LatencyFigures>,
    /// The machine.
    pub host: Host,
}

/// Who was not on time in counted waves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MissingSummary {
    /// How many, over all waves and causes: the sum of `by_cause`, late ones included.
    pub count: u64,
    /// How many of each cause.
    pub by_cause: BTreeMap<Cause, u64>,
    /// How many of each group; groups that were always on time are left out.
    #[serde(default)]
    pub by_group: BTreeMap<String, u64>,
    /// How many by the broker that they are at home on.
    #[serde(default)]
    pub by_broker: BTreeMap<String, u64>,
    /// The first names of each cause.
    #[serde(default)]
    pub examples: BTreeMap<Cause, Vec<NodeName>>,
}

/// A summary could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SummaryError {
    /// The file is not there, or cannot be read.
    #[error(transparent)]
    File(#[from] StoreError),
    /// The file is no summary.
    #[error(
        "{} is no summary of a run: {source}\ngive the folder that a run has made, or its summary.json",
        path.display()
    )]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The summary is of another version.
    #[error(
        "{} has schema_version {found}, and this version reads {SCHEMA_VERSION}\n\
         read it with the version that wrote it (member `tool`)",
        path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
}

impl Summary {
    /// The summary of a run, with the histograms of its entries. Those of single waves are with whoever
    /// wrote the waves down ([`ResultFolder::finish`](crate::store::ResultFolder::finish)).
    #[must_use]
    pub fn of(run: &RunResult) -> Self {
        Self::build(run, true)
    }

    /// The summary without any histogram: cheap enough to be written after every wave.
    #[must_use]
    pub fn without_histograms(run: &RunResult) -> Self {
        Self::build(run, false)
    }

    fn build(run: &RunResult, histograms: bool) -> Self {
        let RunResult { about, duration, ending, tally, thresholds } = run;
        let waves = tally.waves.in_run_order();
        Self {
            schema_version: SCHEMA_VERSION,
            tool: about.tool.clone(),
            scenario: about.scenario.clone(),
            plan_digest: about.plan_digest.clone(),
            certificate_digest: about.certificate_digest.clone(),
            started_at: about.started_at.clone(),
            duration_s: units::seconds(*duration),
            verdict: run.verdict(),
            exit_code: run.exit_code().number(),
            partial: run.is_partial(),
            error: match ending {
                Ending::Failed(_, message) => Some(message.clone()),
                _ => None,
            },
            doubts: tally.doubts.iter().cloned().collect(),
            departures: about.departures.clone(),
            topology: about.topology.clone(),
            forming: tally.forming.as_ref().map(FormingSummary::of),
            fleet: FleetSummary::of(&tally.fleet, about.origin),
            workers: WorkerSummary::of_all(&tally.workers),
            places: PlacesSummary::of(&tally.waves.distributions(|_| true).places),
            entries: EntrySummary::of_all(&tally.waves, histograms),
            waves: waves.iter().map(|(key, wave)| WaveSummary::of(key, wave)).collect(),
            missing: MissingSummary::of(run),
            events: tally.events.clone(),
            recovery: RecoverySummary::of_all(tally),
            thresholds: thresholds.clone(),
            cost: CostSummary::of(&tally.cost),
            scheduler_lag_us: tally.scheduler_lag.figures(),
            host: about.host.clone(),
        }
    }

    /// Reads a summary: from a result folder, or from the file itself.
    ///
    /// # Errors
    /// When there is none, or it is of another version.
    pub fn read(path: &Path) -> Result<Self, SummaryError> {
        let file = if path.is_dir() { path.join(FILE_NAME) } else { path.to_owned() };
        let text = read_bounded(&file).map_err(|e| StoreError::reading(&file, e))?;
        Self::from_json(&text, &file)
    }

    fn from_json(text: &[u8], file: &Path) -> Result<Self, SummaryError> {
        let content = |source| SummaryError::Content { path: file.to_owned(), source };
        let value: serde_json::Value = serde_json::from_slice(text).map_err(content)?;
        if !value.is_object() {
            return Err(content(serde_json::Error::custom("it holds no JSON object")));
        }
        match value.get("schema_version").and_then(serde_json::Value::as_u64) {
            Some(found) if found != u64::from(SCHEMA_VERSION) => {
                Err(SummaryError::Version { path: file.to_owned(), found })
            }
            _ => serde_json::from_value(value).map_err(content),
        }
    }

    /// The text of `summary.json`.
    ///
    /// # Errors
    /// Never for a summary of a run: no member is a map with keys that JSON cannot have.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }
}

/// The bytes of a file, if it is one and has an end that a summary may have.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let other = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    // Asked before it is opened: a pipe without a writer would never open.
    let found = fs::metadata(path)?;
    if !found.is_file() {
        return other("it is no regular file".to_owned());
    }
    if found.len() > FILE_BYTES_MAX {
        return other(format!("it is larger than any summary ({FILE_BYTES_MAX} bytes)"));
    }
    // It may grow meanwhile, or not know its length, as files of the kernel do.
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl MissingSummary {
    fn of(run: &RunResult) -> Self {
        let missing = &run.tally.missing;
        let counts = missing.counted();
        let groups = missing.counted_by_group();
        let examples = missing.examples();
        Self {
            count: counts.total(),
            by_cause: Cause::ALL.into_iter().map(|cause| (cause, counts.get(cause))).collect(),
            by_broker: missing.counted_by_broker().clone(),
            by_group: groups.into_iter().map(|(name, count)| (name, count.total())).collect(),
            examples: examples
                .map(|(cause, names)| (cause, names.iter().cloned().collect()))
                .collect(),
        }
    }
}
