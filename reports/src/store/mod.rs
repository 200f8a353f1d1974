//! The result folder: written as the run goes, finished by rename.
//!
//! `std::fs` only, and no clock: what names a run is handed in. Whatever happens to the process,
//! the folder can be read: rows are flushed wave by wave, and `summary.json` says that it is
//! partial until the run is finished. What a wave's replies took goes to disk once and is dropped;
//! its distributions stay until the end as texts, 64 MiB of them at most.

mod error;
mod files;
mod lines;
mod texts;
mod timeseries;
mod workers;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

pub use error::StoreError;
use files::WaveFiles;
use lines::LineFile;
pub(crate) use lines::csv_text;
use texts::Texts;
pub use timeseries::timeseries_columns;
pub use workers::WorkerRow;

use crate::broker::BrokerFigures;
use crate::missing::MissingNode;
use crate::render;
use crate::run::RunResult;
use crate::summary::{self, Summary};
use crate::wave::{WaveKey, WaveResult};

/// What names a result folder: `<scenario>-<timestamp>-<id>`.
#[derive(Debug, Clone)]
pub struct FolderName {
    /// Name of the scenario; characters that do not suit a file name become `-`.
    pub scenario: String,
    /// UTC in ISO 8601 basic form: `20261005T142233Z`.
    pub timestamp: String,
    /// A short text that tells runs of the same second apart.
    pub id: String,
    /// The run's epoch: instants in the files count from here.
    pub epoch: SystemTime,
}

impl FolderName {
    pub(crate) fn folder(&self) -> String {
        let suits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let scenario = self.scenario.chars().map(|c| if suits(c) { c } else { '-' });
        let scenario: String = scenario.collect();
        format!("{}-{}-{}", scenario.trim_start_matches('.'), self.timestamp, self.id)
    }
}

/// Something that happened during a run: one line of `events.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Seconds since the run's epoch.
    pub at_s: f64,
    /// Short name: `broker_started`, `wave_sent`.
    pub kind: String,
    /// What happened, for a person.
    pub detail: String,
    /// Figures, for scripts.
    #[serde(flatten)]
    pub fields: serde_json::Map<String, serde_json::Value>,
}

/// The state of the tool itself at one instant: one row of `timeseries.csv`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// Since the run's epoch.
    pub at: Duration,
    /// What the run was doing: `connect`, `waves`.
    pub phase: String,
    /// Nodes connected.
    pub connected: u64,
    /// Connections lost so far.
    pub disconnects: u64,
    /// Requests that have reached nodes so far.
    pub received: u64,
    /// Replies that nodes have written so far.
    pub answered: u64,
    /// Replies that the driver has received so far.
    pub replies: u64,
    /// Resident memory of the processes that carry nodes and driver.
    pub rss_bytes: u64,
    /// CPU time of those processes so far.
    pub cpu: Duration,
    /// Largest lag of the tool's own timers since the last sample.
    pub scheduler_lag_max: Duration,
}

/// A broker at one instant: one row of `timeseries.csv`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BrokerRow {
    /// Since the run's epoch: when the broker had answered.
    pub at: Duration,
    /// Its name.
    pub broker: String,
    /// What the run was doing.
    pub phase: String,
    /// What is known of it; counters count from the broker's first start in the run.
    pub figures: BrokerFigures,
}

/// A result folder that is being written.
#[derive(Debug)]
pub struct ResultFolder {
    path: PathBuf,
    waves: WaveFiles,
    texts: Texts,
    missing: LineFile,
    events: LineFile,
    timeseries: LineFile,
    workers: workers::WorkerFile,
}

impl ResultFolder {
    /// Makes `<out>/<scenario>-<timestamp>-<id>/` with its files, and points `<out>/latest` at it.
    ///
    /// # Errors
    /// When the folder exists, or cannot be made.
    pub fn create(out: &Path, name: &FolderName) -> Result<Self, StoreError> {
        let folder = name.folder();
        let path = out.join(&folder);
        fs::create_dir_all(out).map_err(|e| StoreError::new("make folder", out, e))?;
        fs::create_dir(&path).map_err(|e| StoreError::new("make folder", &path, e))?;
        let result = Self {
            waves: WaveFiles::create(&path, name.epoch)?,
            texts: Texts::default(),
            missing: LineFile::create(path.join("missing.jsonl"))?,
            events: LineFile::create(path.join("events.jsonl"))?,
            timeseries: LineFile::create_with(path.join("timeseries.csv"), &timeseries_columns())?,
            workers: workers::WorkerFile::default(),
            path,
        };
        if let Err(error) = point_latest(out, &folder) {
            // Nothing is in it, and nothing will be.
            let _ = fs::remove_dir_all(&result.path);
            return Err(error);
        }
        Ok(result)
    }

    /// Lets the rows of `requests.csv` say this instead of entry, number and client; a client after the
    /// first is named behind it.
    pub fn describe_requests(&mut self, description: String) {
        self.waves.description = Some(description);
    }

    /// Writes a `summary.json` that says that the run goes on; call it at the start and after
    /// each wave. It has no histograms, yet its cost grows with the number of waves: a fraction of
    /// a millisecond for each, so a run of many short waves calls it less often, and never on a
    /// thread that measures.
    ///
    /// # Errors
    /// When it cannot be written; the one before stays.
    pub fn refresh(&self, run: &RunResult) -> Result<(), StoreError> {
        self.write_summary(&Summary::without_histograms(run))
    }

    /// Writes what is left, then `summary.md` and `summary.json` in their final form.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn finish(&mut self, run: &RunResult) -> Result<(), StoreError> {
        self.missing.flush()?;
        let mut summary = Summary::of(run);
        self.texts.fill(&mut summary);
        self.replace("summary.md", render::markdown::render(&summary).as_bytes())?;
        self.write_summary(&summary)
    }

    fn write_summary(&self, summary: &Summary) -> Result<(), StoreError> {
        let json = summary
            .to_json()
            .map_err(|e| StoreError::new("write", &self.path.join(summary::FILE_NAME), e.into()))?;
        self.replace(summary::FILE_NAME, json.as_bytes())
    }

    fn replace(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        replace_file(&self.path, name, content)
    }

    /// Where the folder is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a whole file beside the others: `scenario.yaml`, `plan.json`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_file(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        let path = self.path.join(name);
        fs::write(&path, content).map_err(|e| StoreError::new("write", &path, e))
    }

    /// Makes a folder inside, for example `brokers`, and says where it is.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn subfolder(&self, name: &str) -> Result<PathBuf, StoreError> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).map_err(|e| StoreError::new("make folder", &path, e))?;
        Ok(path)
    }

    /// Writes one wave of one client, with the nanoseconds since publishing of each reply in the
    /// order of their arrival. Warm-up waves go to `latency.hlog` only.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn record_wave(
        &mut self,
        key: &WaveKey,
        wave: &WaveResult,
        reply_offsets_ns: &[u64],
    ) -> Result<(), StoreError> {
        self.waves.record(key, wave, reply_offsets_ns)?;
        self.texts.keep(key, wave);
        self.missing.flush()
    }

    /// Writes one node that was not on time. It reaches the disk with its wave.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn record_missing(&mut self, node: &MissingNode) -> Result<(), StoreError> {
        self.missing.json(node)
    }

    /// Writes one event.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn record_event(&mut self, event: &Event) -> Result<(), StoreError> {
        self.events.json(event)?;
        self.events.flush()
    }

    /// Writes one sample of the time series: the rows of brokers, then that of the tool.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn record_sample(
        &mut self,
        sample: &Sample,
        brokers: &[BrokerRow],
    ) -> Result<(), StoreError> {
        for row in brokers {
            self.timeseries.line(&timeseries::broker_row(row))?;
        }
        self.timeseries.line(&timeseries::tool_row(sample))?;
        self.timeseries.flush()
    }

    /// Writes what workers sent of their own time series.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn record_workers(&mut self, rows: &[WorkerRow]) -> Result<(), StoreError> {
        self.workers.record(&self.path, rows)
    }
}

/// Replaces a file of a folder in one step: a reader sees the old content or the new, never a part.
pub(crate) fn replace_file(folder: &Path, name: &str, content: &[u8]) -> Result<(), StoreError> {
    let path = folder.join(name);
    let fresh = folder.join(format!(".{name}.new"));
    fs::write(&fresh, content).and_then(|()| fs::rename(&fresh, &path)).map_err(|e| {
        // The first error is the one to report; the leftover is only tidied away.
        let _ = fs::remove_file(&fresh);
        StoreError::new("write", &path, e)
    })
}

/// Replaces `latest` in one step, so that it always points somewhere.
fn point_latest(out: &Path, folder: &str) -> Result<(), StoreError> {
    let latest = out.join("latest");
    let fresh = out.join(format!(".latest-{folder}"));
    std::os::unix::fs::symlink(folder, &fresh).map_err(|e| StoreError::new("link", &fresh, e))?;
    fs::rename(&fresh, &latest).map_err(|e| {
        // The rename's error is the one to report; the leftover link is only tidied away.
        let _ = fs::remove_file(&fresh);
        StoreError::new("point link", &latest, e)
    })
}
