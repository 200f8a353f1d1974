//! The rows of `workers.csv`: a row a worker and second, from the slices that it sent. The file is there only
//! where nodes were carried by workers.

use std::path::Path;
use std::time::Duration;

use super::StoreError;
use super::lines::{LineFile, csv_text};

/// Counters count from the start of the run; the unit ends the name.
const COLUMNS: &str =
    "at_s,worker,connected,disconnects,received,answered,rss_bytes,cpu_s,lag_max_us";

/// A worker at one instant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkerRow {
    /// Since the run's epoch: when the worker counted.
    pub at: Duration,
    /// Its name.
    pub worker: String,
    /// Nodes connected.
    pub connected: u64,
    /// Connections lost so far.
    pub disconnects: u64,
    /// Requests that have reached its nodes so far.
    pub received: u64,
    /// Replies that they have written so far.
    pub answered: u64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// CPU time so far.
    pub cpu: Duration,
    /// The longest that a node's task had to wait for its turn since the row before.
    pub lag_max: Duration,
}

/// The file, once there is a row for it.
#[derive(Debug, Default)]
pub(super) struct WorkerFile(Option<LineFile>);

impl WorkerFile {
    pub(super) fn record(&mut self, folder: &Path, rows: &[WorkerRow]) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let file = match &mut self.0 {
            Some(file) => file,
            None => self.0.insert(LineFile::create_with(folder.join("workers.csv"), COLUMNS)?),
        };
        for row in rows {
            file.line(&line(row))?;
        }
        file.flush()
    }
}

fn line(row: &WorkerRow) -> String {
    let WorkerRow {
        at,
        worker,
        connected,
        disconnects,
        received,
        answered,
        rss_bytes,
        cpu,
        lag_max,
    } = row;
    format!(
        "{:.3},{},{connected},{disconnects},{received},{answered},{rss_bytes},{:.3},{}",
        at.as_secs_f64(),
        csv_text(worker),
        cpu.as_secs_f64(),
        lag_max.as_micros(),
    )
}
