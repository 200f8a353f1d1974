//! The run's book: everything measured so far as a value, and the result folder it is written to.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use procfs::FromRead as _;
use reports::missing::{Cause, MissingNode};
use reports::run::{About, Ending, Host, Origin, RunResult, Tool};
use reports::store::{BrokerRow, Event, FolderName, ResultFolder, Sample, StoreError, WorkerRow};
use reports::threshold::Threshold;
use reports::verdict::ExitCode;
use serde_json::json;

use super::{Setup, StartUp};
use crate::crew::{Crew, Reason};
use crate::driver::{BitSet, WaveDone, WaveOrder};
use crate::fidelity;
use crate::orders::Crowd;
use crate::plan::Plan;

/// The partial summary is at most this much behind, as long as writing it takes no time to speak of.
const REFRESH_EVERY: Duration = Duration::from_secs(1);

/// The result as it grows.
pub(super) struct Book {
    pub(super) run: RunResult,
    folder: ResultFolder,
    began: Instant,
    /// When the partial summary may be written again.
    refresh_from: Instant,
}

impl Book {
    /// Makes the result folder and writes what is known before anything runs.
    pub(super) fn open(setup: &Setup, start: &StartUp) -> Result<Self, StoreError> {
        let name = FolderName {
            scenario: setup.plan.name.clone(),
            timestamp: start.at.strftime("%Y%m%dT%H%M%SZ").to_string(),
            id: format!("{:04x}", rand::random::<u16>()),
            epoch: start.at.into(),
        };
        let mut folder = ResultFolder::create(&setup.out, &name)?;
        // As the predecessor's `measure` did.
        if let (Some(_), Some(description)) = (&setup.strangers, &setup.plan.description) {
            folder.describe_requests(description.clone());
        }
        folder.write_file("scenario.yaml", setup.scenario_text.as_bytes())?;
        let plan = serde_json::to_vec_pretty(&setup.plan).unwrap_or_default();
        folder.write_file("plan.json", &plan)?;
        let about = about(&setup.plan, start.at);
        let run = RunResult { about, ..RunResult::default() };
        let book = Self { run, folder, began: start.began, refresh_from: start.began };
        book.folder.refresh(&book.run)?;
        Ok(book)
    }

    /// Where the result folder is.
    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A folder inside the result folder.
    pub(super) fn subfolder(&self, name: &str) -> Result<std::path::PathBuf, StoreError> {
        self.folder.subfolder(name)
    }

    /// Since the run began.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Writes an event.
    pub(super) fn event(
        &mut self,
        kind: &str,
        detail: impl Into<String>,
        figures: serde_json::Value,
    ) -> Result<(), StoreError> {
        let detail = detail.into();
        tracing::info!(kind, "{detail}");
        let fields = figures.as_object().cloned().unwrap_or_default();
        let at_s = self.now().as_secs_f64();
        self.folder.record_event(&Event { at_s, kind: kind.to_owned(), detail, fields })
    }

    /// Writes rows of the time series.
    pub(super) fn sample(
        &mut self,
        sample: &Sample,
        brokers: &[BrokerRow],
    ) -> Result<(), StoreError> {
        self.folder.record_sample(sample, brokers)
    }

    /// Writes rows of the workers' own time series.
    pub(super) fn workers(&mut self, rows: &[WorkerRow]) -> Result<(), StoreError> {
        self.folder.record_workers(rows)
    }

    /// Takes over a wave that is over: counts it, names who stayed away and why, and writes it down.
    pub(super) fn wave(
        &mut self,
        done: &WaveDone,
        expected: &BitSet,
        crowd: &Crowd,
        witness: &Witness<'_>,
    ) -> Result<(), StoreError> {
        if done.interrupted {
            // Nobody was given the time to answer: a count of missing nodes would be a lie.
            return self.event("wave_interrupted", wave_text(done), wave_figures(done));
        }
        for entry in expected.iter().filter(|entry| !done.on_time.contains(*entry)) {
            let Reason { cause, detail, refuge } = witness.reason(done, entry);
            let mut node = MissingNode::new(&done.key, crowd.roster.identity(entry), cause);
            node.detail = detail;
            node.broker = match &refuge {
                Some(refuge) => crowd.refuge(entry, refuge),
                None => crowd.home(entry),
            }
            .or(witness.broker)
            .map(ToOwned::to_owned);
            if let Some(place) = crowd.place(entry) {
                node.index = Some(place.index);
                node.group = Some(place.group.to_owned());
            }
            self.folder.record_missing(&node)?;
            self.run.tally.missing.add(&node);
        }
        self.folder.record_wave(&done.key, &done.result, &done.reply_offsets_ns)?;
        self.run.tally.waves.add(done.key.clone(), &done.result);
        self.event("wave", wave_text(done), wave_figures(done))?;
        for sample in &done.samples.undecodable {
            tracing::warn!(wave = %done.key.name, number = done.key.number, "no valid reply: {sample}");
        }
        for sender in &done.samples.unexpected {
            tracing::warn!(wave = %done.key.name, number = done.key.number, "not expected: {sender}");
        }
        self.refresh()
    }

    /// Writes the partial summary, unless that was done a moment ago: what it costs grows with the waves,
    /// and it may take a twentieth of the time and no more.
    fn refresh(&mut self) -> Result<(), StoreError> {
        let began = Instant::now();
        if began < self.refresh_from {
            return Ok(());
        }
        self.folder.refresh(&self.run)?;
        self.refresh_from = Instant::now() + REFRESH_EVERY.max(began.elapsed() * 20);
        Ok(())
    }

    /// Judges the run and writes it in its final form.
    pub(super) fn close(&mut self, plan: &Plan, ending: Ending) -> Result<(), StoreError> {
        self.run.duration = self.now();
        self.run.ending = ending;
        if self.run.ending == Ending::Completed {
            let parsed = plan
                .thresholds
                .iter()
                .map(|threshold| Threshold::parse(&threshold.metric, &threshold.expression));
            // Resolving the plan has refused what cannot be parsed.
            let run = &self.run;
            let outcomes = parsed.flatten().map(|threshold| threshold.evaluate(run)).collect();
            self.run.thresholds = outcomes;
        }
        let text = match &self.run.ending {
            Ending::Failed(_, message) => message.clone(),
            other => format!("{other:?}").to_lowercase(),
        };
        // What cannot be written must not keep the summary from being tried: it takes little room, and
        // it is the file that says how the run ended.
        let noted = self.event("end", text, json!({ "exit_code": self.run.exit_code().number() }));
        if let (Err(error), Ending::Completed) = (noted, &self.run.ending) {
            self.run.ending = Ending::Failed(ExitCode::Unexpected, error.to_string());
        }
        self.folder.finish(&self.run)
    }
}

/// What is known of those who did not answer a wave.
pub(super) struct Witness<'a> {
    /// By their places in the roster.
    reasons: HashMap<u32, Reason>,
    broker: Option<&'a str>,
}

impl<'a> Witness<'a> {
    /// Asks the crew about a wave that is over; `order` is what was sent.
    pub(super) async fn hear(
        crew: Option<&Crew>,
        (order, done): (&WaveOrder, &WaveDone),
        crowd: &Crowd,
        broker: Option<&'a str>,
    ) -> Self {
        let Some(crew) = crew else { return Self { reasons: HashMap::new(), broker } };
        let answered = |entry: &u32| done.on_time.contains(*entry);
        // Of a wave that was ended early nobody asks who had not answered yet.
        let silent = order.expected.iter().filter(|entry| !done.interrupted && !answered(entry));
        let silent = silent.filter_map(|entry| Some((entry, crowd.place(entry)?.index)));
        let (entries, indexes): (Vec<_>, Vec<_>) = silent.unzip();
        let reasons = crew.close(&order.request_id, &indexes).await;
        Self { reasons: entries.into_iter().zip(reasons).collect(), broker }
    }

    fn reason(&self, done: &WaveDone, entry: u32) -> Reason {
        let known = self.reasons.get(&entry);
        if done.late.contains(entry) {
            let refuge = known.and_then(|known| known.refuge.clone());
            return Reason { cause: Cause::Late, detail: None, refuge };
        }
        known.cloned().unwrap_or(Reason { cause: Cause::Unknown, detail: None, refuge: None })
    }
}

fn wave_text(done: &WaveDone) -> String {
    let result = &done.result;
    let warmup = if done.key.warmup { "warm-up " } else { "" };
    format!(
        "{warmup}wave {} {} of client {}: {} of {} on time",
        done.key.name, done.key.number, done.key.client, result.on_time, result.expected
    )
}

fn wave_figures(done: &WaveDone) -> serde_json::Value {
    let result = &done.result;
    json!({
        "wave": done.key.name, "number": done.key.number, "client": done.key.client,
        "warmup": done.key.warmup, "expected": result.expected, "on_time": result.on_time,
        "late": result.late, "duplicate": result.duplicate, "unexpected": result.unexpected,
        "errors": result.errors, "undecodable": result.undecodable, "unsent": done.unsent,
        "backlog_max": done.backlog_max,
    })
}

fn about(plan: &Plan, at: Timestamp) -> About {
    let system = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = procfs::Meminfo::from_file("/proc/meminfo").map_or(0, |info| info.mem_total);
    About {
        tool: Tool {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
        },
        scenario: plan.name.clone(),
        plan_digest: plan.digest(),
        certificate_digest: if plan.groups.is_empty() {
            None
        } else {
            fidelity::digest_of_this_build()
        },
        started_at: at.to_string(),
        topology: plan.brokers.topology().to_owned(),
        departures: plan.departures(),
        origin: Origin::default(),
        host: Host {
            cores: cores as u64,
            memory_bytes: memory,
            kernel: system("/proc/sys/kernel/osrelease"),
            open_files_limit: nix::sys::resource::getrlimit(
                nix::sys::resource::Resource::RLIMIT_NOFILE,
            )
            .map_or(0, |(soft, _)| soft),
        },
    }
}
