//! Proof that nodes behave on the wire as real servers did (law 12): every recorded case replayed on
//! freshly started nodes over a real broker, and the [`Certificate`] that says how it went.
//!
//! What was recorded and how replies are compared is the emulator's ([`emulator::fidelity`]); here are
//! the broker, the replay and the certificate. Nothing here prints.

mod certificate;
mod record;
mod render;
mod replay;
mod secrets;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use emulator::fidelity::{Case, CaseError, RECORDINGS, parse};
use reports::verdict::ExitCode;

use crate::broker::obtain::{self, ObtainError};
use crate::broker::{self, Broker, Sources, StartError, StartSpec};
use crate::child::Launcher;

pub use certificate::{
    Certificate, Counts, FILE_NAME, InTests, Outcome, Proof, Skipped, Tool, digest_of_this_build,
};
pub use record::{RealServer, RecordError, record};
pub use render::to_text;
pub use replay::ReplayError;

/// Time for the broker to become ready.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// Time for the broker to end in order; it carries two connections.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Who asks real servers, and nodes in their place.
const CALLER: &str = "choria=fidelity.mcollective";
/// Where it says that it is.
const SENDER: &str = "fidelity.example.net";

/// A recording and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// Its name in the certificate.
    pub name: String,
    /// Its cases, one a line.
    pub lines: Cow<'static, str>,
}

impl Recording {
    /// Everything that is compiled in.
    #[must_use]
    pub fn built_in() -> Vec<Self> {
        let recording = |(name, lines): (&str, _)| Self { name: name.to_owned(), lines };
        RECORDINGS.map(|(name, lines)| recording((name, Cow::Borrowed(lines)))).into()
    }
}

/// What a proof needs.
#[derive(Debug, Clone)]
pub struct Setup {
    /// What is replayed.
    pub recordings: Vec<Recording>,
    /// Which broker.
    pub request: broker::Request,
    /// Where a nats-server comes from.
    pub sources: Sources,
    /// How the broker is started.
    pub launcher: Launcher,
    /// Folder for the broker's configuration and log.
    pub folder: PathBuf,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// A recording cannot be replayed.
    #[error("recording {name}: {source}")]
    Recording {
        /// Its name.
        name: String,
        /// What is wrong with it.
        source: CaseError,
    },
    /// There is no broker to be had.
    #[error(transparent)]
    Obtain(#[from] ObtainError),
    /// The broker does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The replay broke off.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

impl ProofError {
    /// The exit code that it stands for.
    #[must_use]
    pub fn code(&self) -> ExitCode {
        match self {
            Self::Recording { .. } => ExitCode::Usage,
            Self::Obtain(ObtainError::Version(_) | ObtainError::Named { .. }) => ExitCode::Usage,
            Self::Obtain(_) | Self::Start(_) => ExitCode::BrokerUnreachable,
            Self::Replay(error) => error.code(),
        }
    }
}

/// Replays the recordings on a broker of its own, which is gone afterwards.
///
/// # Errors
/// When a recording cannot be read, the broker cannot be had, or a node does not answer at all.
pub async fn prove(
    setup: Setup,
    progress: impl Fn(broker::Progress) + Send + 'static,
) -> Result<Certificate, ProofError> {
    let Setup { recordings, request, sources, launcher, folder } = setup;
    let cases = |recording: &Recording| {
        let name = recording.name.clone();
        let cases = parse(&recording.lines).and_then(check_payloads);
        cases.map_err(|source| ProofError::Recording { name, source })
    };
    let parsed = recordings.iter().map(cases).collect::<Result<Vec<_>, _>>()?;
    let spec =
        StartSpec::alone(obtain::obtain(request, sources, progress).await?, folder, READY_WITHIN);
    let broker = Broker::start(&spec, &launcher).await?;
    let mut outcomes = BTreeMap::new();
    for (recording, cases) in recordings.iter().zip(&parsed) {
        let found = replay::replay(cases, broker.client()).await?;
        outcomes.insert(recording.name.clone(), found);
    }
    let version = broker.program().version.to_string();
    broker.stop(STOP_WITHIN).await;
    Ok(Certificate::new(&recordings, version, outcomes))
}

/// Refuses cases that cannot be sent before anything is started.
fn check_payloads(cases: Vec<Case>) -> Result<Vec<Case>, CaseError> {
    cases.iter().try_for_each(|case| case.payload().map(drop))?;
    Ok(cases)
}
