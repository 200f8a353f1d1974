//! How a run ended: verdict, doubts and exit codes.
//!
//! The exit codes are data here, because documentation, commands and results share them; the process
//! itself is ended by `main` alone.

use serde::{Deserialize, Serialize};

/// How much a doubt weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; the result stands.
    Note,
    /// The result says more about the tool or its host than about the network.
    Invalid,
}

/// A reason to distrust a result.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Doubt {
    /// Short name, for scripts: `debug_build`, `generator_saturated`.
    pub kind: String,
    /// How much it weighs.
    pub severity: Severity,
    /// What was seen, with the figures.
    pub detail: String,
    /// What to do about it.
    pub advice: String,
}

/// The verdict of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Valid, and every threshold was met.
    Passed,
    /// Valid, and at least one threshold was not met.
    ThresholdsFailed,
    /// The tool itself was the bottleneck.
    Invalid,
    /// Ended before its end; what there is, is partial.
    Interrupted,
    /// Something broke.
    Error,
}

impl Verdict {
    /// Its name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::ThresholdsFailed => "thresholds_failed",
            Self::Invalid => "invalid",
            Self::Interrupted => "interrupted",
            Self::Error => "error",
        }
    }
}

/// Exit codes of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitCode {
    /// Valid, all thresholds met.
    Passed,
    /// An error nobody foresaw.
    Unexpected,
    /// The command line or the scenario is wrong.
    Usage,
    /// The host cannot carry this plan.
    Refused,
    /// A broker could not be reached, or the topology did not form.
    BrokerUnreachable,
    /// A worker was lost beyond policy.
    WorkerLost,
    /// The run is invalid.
    Invalid,
    /// Worse than the baseline.
    Regression,
    /// Thresholds failed.
    ThresholdsFailed,
    /// Ended by Ctrl-C.
    Interrupted,
    /// Ended by SIGTERM.
    Terminated,
}

/// Number and meaning of every exit code, in the order of the numbers.
const TABLE: [(ExitCode, u8, &str); 11] = [
    (ExitCode::Passed, 0, "valid, all thresholds met"),
    (ExitCode::Unexpected, 1, "unexpected error"),
    (ExitCode::Usage, 2, "usage or scenario error"),
    (ExitCode::Refused, 3, "refused by preflight: the host cannot carry this plan"),
    (ExitCode::BrokerUnreachable, 4, "broker unreachable, or the topology did not form"),
    (ExitCode::WorkerLost, 5, "a worker was lost beyond policy"),
    (ExitCode::Invalid, 97, "run invalid: the tool itself was the bottleneck"),
    (ExitCode::Regression, 98, "regression against the baseline"),
    (ExitCode::ThresholdsFailed, 99, "thresholds failed"),
    (ExitCode::Interrupted, 130, "interrupted; partial results written"),
    (ExitCode::Terminated, 143, "terminated; partial results written"),
];

/// Which code wins when several apply, strongest first: what ended the run early, then
/// 5 > 97 > 99 > 98.
const PRECEDENCE: [ExitCode; 11] = [
    ExitCode::Interrupted,
    ExitCode::Terminated,
    ExitCode::Usage,
    ExitCode::Refused,
    ExitCode::Unexpected,
    ExitCode::BrokerUnreachable,
    ExitCode::WorkerLost,
    ExitCode::Invalid,
    ExitCode::ThresholdsFailed,
    ExitCode::Regression,
    ExitCode::Passed,
];

impl ExitCode {
    /// Every code, in the order of the numbers.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|(code, _, _)| *code)
    }

    /// What the process returns.
    #[must_use]
    pub fn number(self) -> u8 {
        self.row().1
    }

    /// What it means, for a person.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        self.row().2
    }

    /// The code with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        TABLE.iter().find(|(_, n, _)| *n == number).map(|(code, _, _)| *code)
    }

    /// The strongest of several; [`ExitCode::Passed`] of none.
    #[must_use]
    pub fn strongest(codes: impl IntoIterator<Item = Self>) -> Self {
        let codes: Vec<_> = codes.into_iter().collect();
        PRECEDENCE.into_iter().find(|code| codes.contains(code)).unwrap_or(Self::Passed)
    }

    /// The verdict of a run that ends with this code.
    #[must_use]
    pub fn verdict(self) -> Verdict {
        match self {
            Self::Passed | Self::Regression => Verdict::Passed,
            Self::ThresholdsFailed => Verdict::ThresholdsFailed,
            Self::Invalid => Verdict::Invalid,
            Self::Interrupted | Self::Terminated => Verdict::Interrupted,
            Self::Unexpected
            | Self::Usage
            | Self::Refused
            | Self::BrokerUnreachable
            | Self::WorkerLost => Verdict::Error,
        }
    }

    fn row(self) -> (Self, u8, &'static str) {
        let found = TABLE.iter().find(|(code, _, _)| *code == self);
        // Every variant has its row; a test says so.
        found.copied().unwrap_or((self, 1, "unexpected error"))
    }
}
