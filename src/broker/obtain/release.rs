//! The project's own release archives, checked against the sums that it publishes beside them.
//!
//! `BASE/vX/nats-server-vX-linux-amd64.tar.gz` and `BASE/vX/SHA256SUMS`; in the archive lies
//! `nats-server-vX-linux-amd64/nats-server`. Up to 2.1.8 there are only .zip archives, before
//! 2.0.4 no sums: those versions come from `go install`.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

use super::cache::{Workplace, failed};
use super::inspect::PROGRAM_BYTES;
use super::say::{Progress, Reason, Source};
use super::{Errand, PROGRAM};
use crate::broker::version::Version;

/// Where the NATS project publishes its releases.
pub const OFFICIAL_RELEASES: &str = "https://github.com/nats-io/nats-server/releases/download";

const FIRST_TAR_GZ: Version = Version::new(2, 1, 9);
/// Current archives have some 7 MB.
const ARCHIVE_BYTES: u64 = 200 * 1024 * 1024;
/// Current sums have some 3 KB.
const SUMS_BYTES: u64 = 1024 * 1024;
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// A download that brings nothing for so long has failed.
const STALLED_AFTER: Duration = Duration::from_secs(15);
const REPORT_EVERY: Duration = Duration::from_millis(200);

/// The archive of one version for this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Archive {
    folder_url: String,
    name: String,
}

impl Archive {
    /// The archive, or why there is none that we can take.
    pub(super) fn of(version: &Version, base: &str) -> Result<Self, &'static str> {
        if *version < FIRST_TAR_GZ {
            return Err("the project has only .zip archives of releases before 2.1.9");
        }
        let platform = platform().ok_or("the project has no archive for this kind of machine")?;
        Ok(Self {
            folder_url: format!("{}/v{version}", base.trim_end_matches('/')),
            name: format!("{PROGRAM}-v{version}-{platform}.tar.gz"),
        })
    }

    fn url(&self) -> String {
        format!("{}/{}", self.folder_url, self.name)
    }
}

/// What is tried, for a report.
pub(super) fn source(archive: Result<&Archive, &&'static str>) -> Source {
    Source::Release(archive.ok().map(Archive::url))
}

/// This machine in the project's words.
fn platform() -> Option<&'static str> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Some("linux-amd64"),
        ("linux", "aarch64") => Some("linux-arm64"),
        ("linux", "x86") => Some("linux-386"),
        ("linux", "s390x") => Some("linux-s390x"),
        _ => None,
    }
}

/// Downloads, checks and unpacks an archive; returns the program, not yet in its final place.
pub(super) fn download(
    errand: &Errand<'_>,
    archive: Result<&Archive, &&'static str>,
    workplace: &Workplace,
) -> Result<PathBuf, Reason> {
    let archive = archive.map_err(|why| Reason::NoArchive(why))?;
    let agent = agent();
    let sums = fetch_sums(&agent, archive)?;
    let published = sum_of(&sums, &archive.name)
        .ok_or_else(|| Reason::NoSum { archive: archive.name.clone() })?;
    let file = workplace.path("archive.tar.gz");
    let found = fetch_archive(errand, &agent, &archive.url(), &file)?;
    if found != published {
        return Err(Reason::WrongSum { found, published });
    }
    let program = workplace.path(PROGRAM);
    unpack(&file, &program)?;
    Ok(program)
}

fn agent() -> ureq::Agent {
    // A proxy is taken from the environment (`HTTPS_PROXY`), as users behind one expect.
    ureq::Agent::config_builder()
        .timeout_resolve(Some(CONNECT_WITHIN))
        .timeout_connect(Some(CONNECT_WITHIN))
        .timeout_recv_response(Some(ANSWER_WITHIN))
        .timeout_per_read(Some(STALLED_AFTER))
        .user_agent(concat!("choria-emulator/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}

fn not_downloaded(url: &str) -> impl Fn(&dyn std::fmt::Display) -> Reason {
    move |why| Reason::Download { url: url.to_owned(), why: why.to_string() }
}

fn fetch_sums(agent: &ureq::Agent, archive: &Archive) -> Result<String, Reason> {
    let url = format!("{}/SHA256SUMS", archive.folder_url);
    let failed = not_downloaded(&url);
    let mut answer = agent.get(&url).call().map_err(|error| failed(&error))?;
    answer
        .body_mut()
        .with_config()
        .limit(SUMS_BYTES)
        .read_to_string()
        .map_err(|error| failed(&error))
}

/// The sum of a file in the words of sha256sum(1): hexadecimal digits, blanks, perhaps a star.
fn sum_of(sums: &str, file: &str) -> Option<String> {
    sums.lines().find_map(|line| {
        let (sum, name) = line.split_once(char::is_whitespace)?;
        let name = name.trim_start().trim_start_matches('*').trim_end();
        let is_sum = sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit());
        (is_sum && name == file).then(|| sum.to_ascii_lowercase())
    })
}

/// Writes what comes to a file and returns its SHA-256.
fn fetch_archive(
    errand: &Errand<'_>,
    agent: &ureq::Agent,
    url: &str,
    path: &Path,
) -> Result<String, Reason> {
    let not_downloaded = not_downloaded(url);
    let answer = agent.get(url).call().map_err(|error| not_downloaded(&error))?;
    let total_bytes = answer.body().content_length();
    let mut body = answer.into_body().into_with_config().limit(u64::MAX).reader();
    let mut file = File::create(path).map_err(failed("write", path))?;
    let mut sum = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut received_bytes = 0;
    let mut reported_at = None;
    loop {
        if errand.cancel.is_cancelled() {
            return Err(Reason::Cancelled);
        }
        if reported_at.is_none_or(|at: Instant| at.elapsed() >= REPORT_EVERY) {
            reported_at = Some(Instant::now());
            let url = url.to_owned();
            (errand.progress)(Progress::Downloading { url, received_bytes, total_bytes });
        }
        let count = body.read(&mut buffer).map_err(|error| not_downloaded(&error))?;
        if count == 0 {
            break;
        }
        received_bytes += count as u64;
        if received_bytes > ARCHIVE_BYTES {
            return Err(Reason::TooLarge { what: "the archive", limit_bytes: ARCHIVE_BYTES });
        }
        sum.update(&buffer[..count]);
        file.write_all(&buffer[..count]).map_err(failed("write", path))?;
    }
    Ok(sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Takes the program, and nothing else, out of an archive.
fn unpack(archive: &Path, program: &Path) -> Result<(), Reason> {
    let broken = |error: io::Error| Reason::Unpack(error.to_string());
    let file = File::open(archive).map_err(failed("read", archive))?;
    let mut archive = tar::Archive::new(GzDecoder::new(file));
    for entry in archive.entries().map_err(broken)? {
        let entry = entry.map_err(broken)?;
        let is_program = entry.path().is_ok_and(|path| path.file_name() == Some(PROGRAM.as_ref()));
        if !(is_program && entry.header().entry_type().is_file()) {
            continue;
        }
        if entry.size() > PROGRAM_BYTES {
            return Err(Reason::TooLarge { what: "the program", limit_bytes: PROGRAM_BYTES });
        }
        return write_program(entry, program);
    }
    Err(Reason::Unpack(format!("there is no {PROGRAM} in it")))
}

fn write_program(mut from: impl Read, program: &Path) -> Result<(), Reason> {
    let unwritable = || failed("write", program);
    let mut file = File::create(program).map_err(unwritable())?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer).map_err(|error| Reason::Unpack(error.to_string()))?;
        if count == 0 {
            break;
        }
        file.write_all(&buffer[..count]).map_err(unwritable())?;
    }
    file.sync_all().map_err(unwritable())?;
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).map_err(unwritable())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_have_the_projects_names_where_it_has_archives() {
        let platform = platform().unwrap();
        for (version, expected) in [
            ("2.14.5", Ok(format!("http://m/r/v2.14.5/nats-server-v2.14.5-{platform}.tar.gz"))),
            ("2.1.9", Ok(format!("http://m/r/v2.1.9/nats-server-v2.1.9-{platform}.tar.gz"))),
            ("2.1.8", Err("the project has only .zip archives of releases before 2.1.9")),
            ("2.0.0", Err("the project has only .zip archives of releases before 2.1.9")),
        ] {
            let archive = Archive::of(&version.parse().unwrap(), "http://m/r/");
            assert_eq!(archive.map(|archive| archive.url()), expected, "{version}");
        }
    }

    #[test]
    fn a_published_sum_is_that_of_the_whole_name() {
        let (a, b) = ("a".repeat(64), "B".repeat(64));
        let sums = format!("{a}  x.tar.gz.sig\n{b} *y.tar.gz\nshort  z.tar.gz\n\n{a}  x.tar.gz\n");
        for (file, expected) in [
            ("x.tar.gz", Some(a.clone())),
            ("y.tar.gz", Some("b".repeat(64))),
            ("z.tar.gz", None),
            ("tar.gz", None),
        ] {
            assert_eq!(sum_of(&sums, file), expected, "{file}");
        }
    }
}
