//! Finding a nats-server, or obtaining one.
//!
//! The order: a program that was named; the version in our cache; one on the search path; the
//! official release archive, checked against its published sums; `go install`. What was tried and
//! why it did not do is a value. Nothing is downloaded when no version was asked for and one is at
//! hand: a first run must work without a network.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::version::{Version, VersionError};

mod cache;
mod go;
mod inspect;
mod release;
mod say;

pub use inspect::{Unusable, go_toolchain};
pub use release::OFFICIAL_RELEASES;
pub use say::{Attempt, ObtainError, Origin, Progress, Reason, Source};

use cache::{Cache, Workplace};

/// How long one run waits for another that is obtaining the same version.
const WAIT_FOR_ANOTHER_RUN: Duration = Duration::from_secs(20 * 60);
/// Folders that are searched besides PATH: Debian installs servers into `/usr/sbin`, which is not
/// on the PATH of ordinary users.
const ALSO_SEARCHED: [&str; 2] = ["/usr/sbin", "/usr/local/bin"];
/// The name of the program.
pub(super) const PROGRAM: &str = "nats-server";

/// Which nats-server is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// This version; any if `None`.
    pub version: Option<String>,
    /// This program, and no other.
    pub path: Option<PathBuf>,
}

/// Where to look.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The tool's own cache folder; programs lie in `nats-server/VERSION/nats-server` below it.
    /// `None` where nothing says where: then only what is there already will do.
    pub cache: Option<PathBuf>,
    /// Folders in which programs are searched, in order.
    pub search: Vec<PathBuf>,
    /// Where release archives lie, as `BASE/vVERSION/ARCHIVE`.
    pub releases: String,
}

impl Sources {
    /// The usual places: the folders of a PATH, those where servers are installed, and the
    /// project's own releases.
    #[must_use]
    pub fn usual(
        cache: impl Into<Option<PathBuf>>,
        path: impl IntoIterator<Item = PathBuf>,
    ) -> Self {
        let mut search: Vec<PathBuf> = path.into_iter().collect();
        search.extend(ALSO_SEARCHED.map(PathBuf::from));
        Self { cache: cache.into(), search, releases: OFFICIAL_RELEASES.to_owned() }
    }
}

/// A nats-server that can be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obtained {
    /// The program.
    pub path: PathBuf,
    /// The version it says it is.
    pub version: Version,
    /// Where it came from.
    pub origin: Origin,
}

/// One nats-server at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AtHand {
    /// The program and its version.
    pub program: Obtained,
    /// The Go toolchain that built it, where the binary says so.
    pub go: Option<String>,
}

/// Finds or obtains what is wanted. The work runs beside the caller and ends early when this
/// future is dropped; what was half done is removed by the next run.
///
/// # Errors
/// When nothing will do: the error lists what was tried.
pub async fn obtain(
    request: Request,
    sources: Sources,
    progress: impl Fn(Progress) + Send + 'static,
) -> Result<Obtained, ObtainError> {
    in_background(progress, move |errand| errand.obtain(&request, &sources)).await
}

/// Makes sure that a version is in the cache.
///
/// # Errors
/// As [`obtain`].
pub async fn install(
    version: String,
    sources: Sources,
    progress: impl Fn(Progress) + Send + 'static,
) -> Result<Obtained, ObtainError> {
    in_background(progress, move |errand| {
        let version = parse(&version)?;
        let mut tried = Vec::new();
        match errand.cached(&version, &sources, &mut tried) {
            Some(found) => Ok(found),
            None => errand.install(&version, &sources, tried),
        }
    })
    .await
}

/// Every usable nats-server in the cache and on the search path, newest first. Runs each program
/// once to ask for its version: call it where blocking is allowed.
#[must_use]
pub fn list(sources: &Sources) -> Vec<AtHand> {
    at_hand(sources, &mut Vec::new(), &CancellationToken::new())
        .into_iter()
        .map(|program| AtHand { go: go_toolchain(&program.path), program })
        .collect()
}

async fn in_background(
    progress: impl Fn(Progress) + Send + 'static,
    work: impl FnOnce(&Errand<'_>) -> Result<Obtained, ObtainError> + Send + 'static,
) -> Result<Obtained, ObtainError> {
    let cancel = CancellationToken::new();
    let _ends_with_us = cancel.clone().drop_guard();
    tokio::task::spawn_blocking(move || work(&Errand { progress: &progress, cancel: &cancel }))
        .await
        .unwrap_or(Err(ObtainError::Cancelled))
}

/// A way to make a program in the workplace.
type Make<'a> = &'a dyn Fn() -> Result<PathBuf, Reason>;

/// Work that reports as it goes and can be called back.
struct Errand<'a> {
    progress: &'a (dyn Fn(Progress) + Send),
    cancel: &'a CancellationToken,
}

impl Errand<'_> {
    fn obtain(&self, request: &Request, sources: &Sources) -> Result<Obtained, ObtainError> {
        let wanted = request.version.as_deref().map(parse).transpose()?;
        if let Some(path) = &request.path {
            return named(path, wanted.as_ref(), self.cancel);
        }
        let mut tried = Vec::new();
        if let Some(version) = wanted {
            if let Some(found) = self.cached(&version, sources, &mut tried) {
                return Ok(found);
            }
            return match self.searched(&version, sources, &mut tried) {
                Some(found) => Ok(found),
                None => self.install(&version, sources, tried),
            };
        }
        let newest = at_hand(sources, &mut tried, self.cancel).into_iter().next();
        self.pass(&tried);
        match newest {
            Some(newest) => Ok(self.found(newest)),
            None => self.install(&Version::NEWEST_KNOWN, sources, tried),
        }
    }

    fn cached(
        &self,
        version: &Version,
        sources: &Sources,
        tried: &mut Vec<Attempt>,
    ) -> Option<Obtained> {
        let path = Cache::of(sources)?.program(version);
        match usable(path.clone(), Origin::Cache, Some(version), self.cancel) {
            Ok(found) => Some(self.found(found)),
            Err(reason) => {
                self.passed(Attempt { source: Source::Cache(path), reason }, tried);
                None
            }
        }
    }

    fn searched(
        &self,
        version: &Version,
        sources: &Sources,
        tried: &mut Vec<Attempt>,
    ) -> Option<Obtained> {
        let programs = inspect::search(PROGRAM, &sources.search);
        if programs.is_empty() {
            let nothing = Attempt { source: Source::Search, reason: Reason::NotOnPath };
            self.passed(nothing, tried);
        }
        for path in programs {
            match usable(path.clone(), Origin::Search, Some(version), self.cancel) {
                Ok(found) => return Some(self.found(found)),
                Err(reason) => {
                    self.passed(Attempt { source: Source::Program(path), reason }, tried);
                }
            }
        }
        None
    }

    /// Brings a version into the cache. One run at a time does so, others wait and find it there.
    fn install(
        &self,
        version: &Version,
        sources: &Sources,
        mut tried: Vec<Attempt>,
    ) -> Result<Obtained, ObtainError> {
        let Some(cache) = Cache::of(sources) else {
            return Err(ObtainError::NoCache { version: version.clone() });
        };
        let workplace = match self.workplace(&cache, version) {
            Ok(workplace) => workplace,
            Err(reason) => {
                self.passed(Attempt { source: Source::Cache(cache.folder()), reason }, &mut tried);
                return Err(ObtainError::nothing_did(version, tried));
            }
        };
        // Another run may have finished while we waited.
        let already = usable(cache.program(version), Origin::Cache, Some(version), self.cancel);
        if let Ok(found) = already {
            return Ok(self.found(found));
        }
        let archive = release::Archive::of(version, &sources.releases);
        let download = || release::download(self, archive.as_ref(), &workplace);
        let build = || go::install(self, version, &sources.search, &workplace);
        let ways: [(Source, Origin, Make<'_>); 2] = [
            (release::source(archive.as_ref()), Origin::Release, &download),
            (Source::GoInstall, Origin::GoInstall, &build),
        ];
        for (source, origin, make) in ways {
            let installed = make()
                .and_then(|made| usable(made, origin, Some(version), self.cancel))
                .and_then(|made| workplace.keep(&made.path, version))
                .map(|path| Obtained { path, version: version.clone(), origin });
            match installed {
                Ok(installed) => return Ok(self.found(installed)),
                Err(Reason::Cancelled) => return Err(ObtainError::Cancelled),
                Err(reason) => self.passed(Attempt { source, reason }, &mut tried),
            }
        }
        Err(ObtainError::nothing_did(version, tried))
    }

    fn workplace(&self, cache: &Cache, version: &Version) -> Result<Workplace, Reason> {
        cache.workplace(
            version,
            WAIT_FOR_ANOTHER_RUN,
            || (self.progress)(Progress::WaitingForAnotherRun { version: version.clone() }),
            self.cancel,
        )
    }

    fn found(&self, found: Obtained) -> Obtained {
        (self.progress)(Progress::Found(found.clone()));
        found
    }

    fn pass(&self, attempts: &[Attempt]) {
        for attempt in attempts {
            (self.progress)(Progress::Passed(attempt.clone()));
        }
    }

    fn passed(&self, attempt: Attempt, tried: &mut Vec<Attempt>) {
        self.pass(std::slice::from_ref(&attempt));
        tried.push(attempt);
    }
}

fn parse(text: impl AsRef<str>) -> Result<Version, VersionError> {
    text.as_ref().parse()
}

/// The program that the user named: that one or an error.
fn named(
    path: &Path,
    wanted: Option<&Version>,
    cancel: &CancellationToken,
) -> Result<Obtained, ObtainError> {
    // A bare name would be searched on the PATH when it is started.
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    usable(whole, Origin::Named, wanted, cancel)
        .map_err(|reason| ObtainError::Named { path: path.to_owned(), reason })
}

/// Asks a program for its version and compares.
fn usable(
    path: PathBuf,
    origin: Origin,
    wanted: Option<&Version>,
    cancel: &CancellationToken,
) -> Result<Obtained, Reason> {
    let version = inspect::version(&path, cancel)?;
    match wanted {
        Some(wanted) if *wanted != version => Err(Reason::OtherVersion { found: version }),
        _ => Ok(Obtained { path, version, origin }),
    }
}

/// What is in the cache and on the search path, newest first; of two equal ones the cached.
fn at_hand(
    sources: &Sources,
    tried: &mut Vec<Attempt>,
    cancel: &CancellationToken,
) -> Vec<Obtained> {
    let cached = Cache::of(sources).map(|cache| cache.programs()).unwrap_or_default();
    let cached = cached.into_iter().map(|p| (p, Origin::Cache));
    let searched =
        inspect::search(PROGRAM, &sources.search).into_iter().map(|p| (p, Origin::Search));
    let mut found = Vec::new();
    for (path, origin) in cached.chain(searched) {
        match usable(path.clone(), origin, None, cancel) {
            Ok(program) => found.push(program),
            Err(reason) => tried.push(Attempt { source: Source::Program(path), reason }),
        }
    }
    if found.is_empty() && tried.is_empty() {
        tried.push(Attempt { source: Source::Search, reason: Reason::NotOnPath });
    }
    found.sort_by(|a, b| b.version.cmp(&a.version));
    found
}
