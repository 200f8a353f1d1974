//! What a report says and in which order, apart from how it looks.
//!
//! The order is that of the questions that people have about a large network: does everyone answer
//! and how fast, how long does discovery take, what do agents and collectives cost, what do brokers
//! carry, what about reconnects, which version was it. What speaks for or against the run follows.

mod brokers;
mod evidence;
mod sections;
mod workers;

use crate::format;
use crate::summary::Summary;
use crate::verdict::Verdict;

/// How a text is meant, for colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// As it should be, or neither good nor bad.
    Plain,
    /// Good news.
    Good,
    /// Worth a look.
    Warning,
    /// Bad news.
    Bad,
}

/// A text and how it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How it is meant.
    pub mood: Mood,
    /// The text, of any length.
    pub text: String,
}

/// A table: cells of the first column are left-aligned, others as `numeric` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Title and whether its cells are numbers (right-aligned).
    pub columns: Vec<(&'static str, bool)>,
    /// Rows, as long as `columns`.
    pub rows: Vec<(Mood, Vec<String>)>,
}

/// One answer: a title, perhaps a table, and some lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The question or the subject.
    pub title: &'static str,
    /// Figures.
    pub table: Option<Table>,
    /// Sentences.
    pub lines: Vec<Line>,
}

/// A whole report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// What was run.
    pub headline: String,
    /// The answers, then the evidence.
    pub sections: Vec<Section>,
    /// The verdict in one sentence.
    pub verdict: Line,
}

impl Content {
    /// What a report of this summary says.
    #[must_use]
    pub fn of(summary: &Summary) -> Self {
        Self {
            headline: headline(summary),
            sections: sections::answers(summary)
                .into_iter()
                .chain(evidence::evidence(summary))
                .collect(),
            verdict: verdict(summary),
        }
    }
}

impl Line {
    pub(super) fn new(mood: Mood, text: impl Into<String>) -> Self {
        Self { mood, text: text.into() }
    }

    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self::new(Mood::Plain, text)
    }
}

fn headline(summary: &Summary) -> String {
    let brokers = summary.cost.brokers.len() as u64;
    let mut parts = vec![summary.scenario.clone()];
    if summary.fleet.planned > 0 {
        parts.push(format::counted(summary.fleet.planned, "node", "nodes"));
    }
    if brokers > 0 {
        parts.push(format::counted(brokers, "broker", "brokers"));
    }
    parts.push(format::micros(summary.duration_s * 1e6));
    parts.push(whole_seconds(&summary.started_at));
    parts.join(" · ")
}

/// A time of RFC 3339 without the fraction of its second.
fn whole_seconds(time: &str) -> String {
    match time.split_once('.') {
        Some((whole, fraction)) => {
            let zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{whole}{zone}")
        }
        None => time.to_owned(),
    }
}

/// How many answers of counted waves were not on time, of how many.
fn answers_away(summary: &Summary) -> String {
    let counted = summary.waves.iter().filter(|wave| !wave.warmup);
    let expected: u64 = counted.map(|wave| wave.expected).sum();
    let of = format::counted(expected, "answer", "answers");
    format!("{} of {of}", format::count(summary.missing.count))
}

fn verdict(summary: &Summary) -> Line {
    let all = summary.thresholds.len() as u64;
    let failed = summary.thresholds.iter().filter(|threshold| !threshold.passed).count() as u64;
    let thresholds = format::counted(all, "threshold", "thresholds");
    match summary.verdict {
        Verdict::Passed if all == 0 && summary.missing.count > 0 => Line::new(
            Mood::Warning,
            format!(
                "PASSED, BUT INCOMPLETE: {} not on time, and the scenario sets no thresholds",
                answers_away(summary)
            ),
        ),
        Verdict::Passed if all == 0 => {
            Line::new(Mood::Good, "PASSED: valid, but the scenario sets no thresholds")
        }
        Verdict::Passed => Line::new(Mood::Good, format!("PASSED: valid, {thresholds} met")),
        Verdict::ThresholdsFailed => Line::new(
            Mood::Bad,
            format!("THRESHOLDS FAILED: {} of {thresholds} not met", format::count(failed)),
        ),
        Verdict::Invalid => Line::new(
            Mood::Bad,
            "INVALID: the figures say more about the tool or its host than about the network",
        ),
        Verdict::Interrupted => Line::new(
            Mood::Warning,
            "INTERRUPTED: partial, the run has not reached its end; nothing is judged",
        ),
        Verdict::Error => {
            let message = summary.error.as_deref().unwrap_or("the run broke");
            Line::new(Mood::Bad, format!("ERROR: {message}"))
        }
    }
}
