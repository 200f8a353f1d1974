//! The files with one row or interval a wave: the predecessor's three, and the histogram log.
//!
//! Columns as the predecessor wrote them (choria-legacy/choria-emulator, `emulator/result.go` and
//! `emulator/measure.go`): durations in nanoseconds; `times.csv` and `time_buckets.csv` have no
//! header. A row of these two has every reply that arrived, the late ones too, while `responded` and `ok`
//! of `requests.csv` count those on time: a row has as many times as that wave had replies on time and
//! late. One departure: a bucket holds what falls into its 10 ms, where the predecessor rounded
//! to the nearest.

use std::path::Path;
use std::time::SystemTime;

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{
    IntervalLogWriterBuilder, IntervalLogWriterError, Tag,
};

use super::StoreError;
use super::lines::{LineFile, csv_text};
use crate::wave::{WaveKey, WaveResult};

const REQUESTS_COLUMNS: &str = "test,description,payload_bytes,expected,discovered,\
    publish_duration,request_duration,failed,ok,noresponses,unexpected,responded";

/// Width of a bucket of `time_buckets.csv`.
const BUCKET_NS: u64 = 10_000_000;

/// Most buckets of a row, an hour: what is later falls into the last one.
const BUCKETS_MAX: u64 = 360_000;

#[derive(Debug)]
pub(super) struct WaveFiles {
    requests: LineFile,
    times: LineFile,
    buckets: LineFile,
    hlog: LineFile,
    tests: u64,
    /// What rows of `requests.csv` are about, in the words of whoever asked.
    pub(super) description: Option<String>,
}

impl WaveFiles {
    pub(super) fn create(folder: &Path, epoch: SystemTime) -> Result<Self, StoreError> {
        let mut hlog = LineFile::create(folder.join("latency.hlog"))?;
        hlog.with(|file| {
            IntervalLogWriterBuilder::new()
                .add_comment("[Histogram log format version 1.3]")
                .add_comment("response times in microseconds, tagged by wave")
                .with_start_time(epoch)
                .with_base_time(epoch)
                .begin_log_with(file, &mut V2DeflateSerializer::new())
                .map(|_| ())
        })?;
        hlog.flush()?;
        Ok(Self {
            requests: LineFile::create_with(folder.join("requests.csv"), REQUESTS_COLUMNS)?,
            times: LineFile::create(folder.join("times.csv"))?,
            buckets: LineFile::create(folder.join("time_buckets.csv"))?,
            hlog,
            tests: 0,
            description: None,
        })
    }

    pub(super) fn record(
        &mut self,
        key: &WaveKey,
        wave: &WaveResult,
        offsets_ns: &[u64],
    ) -> Result<(), StoreError> {
        self.interval(key, wave)?;
        if key.warmup {
            return Ok(());
        }
        self.tests += 1;
        self.requests.line(&self.requests_row(key, wave))?;
        self.times.numbers(offsets_ns)?;
        self.buckets.numbers(&buckets(offsets_ns))?;
        self.requests.flush()?;
        self.times.flush()?;
        self.buckets.flush()
    }

    fn requests_row(&self, key: &WaveKey, wave: &WaveResult) -> String {
        let description = match (&self.description, key.client) {
            (None, client) => format!("{} {} client {client}", key.name, key.number),
            (Some(description), 1) => description.clone(),
            (Some(description), client) => format!("{description} client {client}"),
        };
        format!(
            "{},{},{},{},{},{},{},{},{},{},{},{}",
            self.tests,
            csv_text(&description),
            wave.payload_bytes,
            wave.expected,
            wave.discovered,
            wave.publish_duration.as_nanos(),
            wave.request_duration.as_nanos(),
            wave.errors,
            wave.on_time.saturating_sub(wave.errors),
            // The predecessor stopped listening at the deadline: to it, a late reply was none.
            wave.missing() + wave.late,
            wave.unexpected,
            wave.on_time,
        )
    }

    fn interval(&mut self, key: &WaveKey, wave: &WaveResult) -> Result<(), StoreError> {
        let tag = tag(key);
        let mut serializer = V2DeflateSerializer::new();
        self.hlog.with(|file| {
            let mut log = IntervalLogWriterBuilder::new().begin_log_with(file, &mut serializer)?;
            log.write_histogram(
                wave.response_time.histogram(),
                wave.intended_at,
                wave.request_duration,
                Tag::new(&tag),
            )
            .map_err(|error| match error {
                IntervalLogWriterError::IoError(error) => error,
                IntervalLogWriterError::SerializeError(error) => {
                    std::io::Error::other(error.to_string())
                }
            })
        })?;
        self.hlog.flush()
    }
}

/// A log's tag has no room for commas and white space.
fn tag(key: &WaveKey) -> String {
    let name = key.name.replace(|c: char| c == ',' || c.is_whitespace(), "_");
    if key.warmup { format!("warmup:{name}") } else { name }
}

/// Replies per 10 ms since publishing, up to the last reply.
fn buckets(offsets_ns: &[u64]) -> Vec<u64> {
    let bucket = |ns: u64| (ns / BUCKET_NS).min(BUCKETS_MAX - 1) as usize;
    let last = offsets_ns.iter().copied().max().map_or(0, bucket);
    let mut counts = vec![0; last + 1];
    for ns in offsets_ns {
        counts[bucket(*ns)] += 1;
    }
    counts
}
