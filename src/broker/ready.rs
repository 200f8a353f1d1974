//! When a broker counts as started: it has said which ports it listens on, it greets as itself on
//! the client port, and its monitoring answers.
//!
//! The ports file is named after the process and written when all listeners are open, on every
//! release; a log line is no proof (it is written before the route listener is open), and
//! `/healthz` exists since 2.7 only.

use std::fmt;
use std::fs::DirEntry;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::monitor::{Monitor, Varz};
use super::version::Version;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(10);
/// A server that has accepted a connection greets at once.
const GREETING_WITHIN: Duration = Duration::from_secs(2);
/// A greeting is one line; a real one has some 500 bytes plus the URLs of a cluster.
const GREETING_BYTES: u64 = 64 * 1024;

/// What a broker must show to count as started.
#[derive(Debug, Clone)]
pub(super) struct Expectation {
    pub(super) name: String,
    pub(super) version: Version,
    /// Where it is to listen for clients.
    pub(super) host: Ipv4Addr,
    /// Where we reach it as a client.
    pub(super) client: SocketAddrV4,
    pub(super) monitor: SocketAddrV4,
    /// Where it is to listen for routes, if it is in a cluster.
    pub(super) cluster: Option<SocketAddrV4>,
    pub(super) ports_file: PortsFile,
}

/// What is still missing, or wrong.
#[derive(Debug, Error)]
pub enum Unready {
    /// The listeners are not all open.
    #[error("it has not written {0}")]
    NoPorts(String),
    /// It listens elsewhere: its configuration was overridden.
    #[error(
        "it listens on {found} instead of {expected} alone: leave the host and the ports out of its configuration"
    )]
    OtherPorts {
        /// The address it was given.
        expected: SocketAddrV4,
        /// The addresses it named.
        found: String,
    },
    /// It is ours, and calls itself something else.
    #[error(
        "{address} is answered by {found}, not by {expected}: leave server_name out of its configuration"
    )]
    OtherName {
        /// The client address.
        address: SocketAddrV4,
        /// What it was to be called.
        expected: String,
        /// What it calls itself.
        found: String,
    },
    /// It monitors itself under another path.
    #[error(
        "its monitoring at {address} knows no /varz: leave http_base_path out of its configuration"
    )]
    OtherPath {
        /// The monitoring address.
        address: SocketAddrV4,
    },
    /// It does not greet.
    #[error("no greeting on {address}: {why}")]
    NoGreeting {
        /// The client address.
        address: SocketAddrV4,
        /// What came instead.
        why: String,
    },
    /// Somebody greets, under another identity.
    #[error("{address} is answered by {found}, not by {expected}")]
    Stranger {
        /// The client address.
        address: SocketAddrV4,
        /// Who should have answered.
        expected: String,
        /// Who answered.
        found: String,
    },
    /// Monitoring does not answer.
    #[error("no monitoring on {address}: {why}")]
    NoMonitoring {
        /// The monitoring address.
        address: SocketAddrV4,
        /// What came instead.
        why: String,
    },
}

impl Unready {
    /// Whether it is of no use to wait: a server that listens has read its configuration.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::OtherPorts { .. } | Self::OtherName { .. } | Self::OtherPath { .. })
    }
}

/// What a broker showed when it was ready.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) varz: Varz,
    /// Its port for profiling, if it has one.
    pub(super) profile: Option<u16>,
}

/// Looks until the broker shows everything, or returns what was missing at the deadline, or what will not change.
pub(super) async fn ready(expected: &Expectation, deadline: Instant) -> Result<Shown, Unready> {
    let mut missing = Unready::NoPorts(expected.ports_file.to_string());
    loop {
        match timeout_at(deadline, look(expected)).await {
            Ok(Ok(shown)) => return Ok(shown),
            Ok(Err(unready)) if unready.is_final() => return Err(unready),
            Ok(Err(unready)) => missing = unready,
            Err(_) => return Err(missing),
        }
        if Instant::now() + PAUSE >= deadline {
            return Err(missing);
        }
        sleep(PAUSE).await;
    }
}

async fn look(expected: &Expectation) -> Result<Shown, Unready> {
    let ports = expected
        .ports_file
        .read()
        .ok_or_else(|| Unready::NoPorts(expected.ports_file.to_string()))?;
    Ports::check(&ports.nats, SocketAddrV4::new(expected.host, expected.client.port()))?;
    Ports::check(&ports.monitoring, expected.monitor)?;
    if let Some(cluster) = expected.cluster {
        Ports::check(&ports.cluster, cluster)?;
    }

    let greeting = greeting(expected.client)
        .await
        .map_err(|why| Unready::NoGreeting { address: expected.client, why })?;
    let varz = Monitor::new(expected.monitor.into()).varz().await.map_err(|error| {
        let address = expected.monitor;
        if error.is_unknown_path() {
            Unready::OtherPath { address }
        } else {
            Unready::NoMonitoring { address, why: error.to_string() }
        }
    })?;
    if greeting.server_id != varz.server_id {
        let (address, found) = (expected.client, greeting.server_id);
        return Err(Unready::Stranger { address, expected: varz.server_id, found });
    }
    // Releases before 2.1.9 have no name: there the ports file of our process is the proof.
    match greeting.server_name {
        Some(name) if name != expected.name && expected.version >= Version::new(2, 1, 9) => {
            let (address, expected) = (expected.client, expected.name.clone());
            Err(Unready::OtherName { address, expected, found: name })
        }
        _ => Ok(Shown { varz, profile: ports.profile() }),
    }
}

/// The file in which a server names its ports.
#[derive(Debug, Deserialize)]
struct Ports {
    #[serde(default)]
    nats: Vec<String>,
    #[serde(default)]
    monitoring: Vec<String>,
    #[serde(default)]
    cluster: Vec<String>,
    #[serde(default)]
    profile: Vec<String>,
}

impl Ports {
    fn profile(&self) -> Option<u16> {
        self.profile.first()?.rsplit(':').next()?.parse().ok()
    }

    /// There it listens, and nowhere else: who was to listen everywhere names every address of the host.
    fn check(addresses: &[String], expected: SocketAddrV4) -> Result<(), Unready> {
        let everywhere = expected.ip().is_unspecified();
        let ours = |address: &String| {
            let place = address.rsplit('/').next().unwrap_or_default();
            match place.rsplit_once(':') {
                Some((_, port)) if everywhere => port == expected.port().to_string(),
                _ => place == expected.to_string(),
            }
        };
        if !addresses.is_empty() && addresses.iter().all(ours) {
            return Ok(());
        }
        let found = if addresses.is_empty() { "nothing".to_owned() } else { addresses.join(", ") };
        Err(Unready::OtherPorts { expected, found })
    }
}

/// Where the server of a process names its ports. Its file is called after the program and the process; the
/// program may be a script that became the server, so the process alone says which one it is.
#[derive(Debug, Clone)]
pub(super) struct PortsFile {
    folder: PathBuf,
    pid: i32,
}

impl PortsFile {
    pub(super) fn new(folder: &Path, pid: i32) -> Self {
        Self { folder: folder.to_owned(), pid }
    }

    fn find(&self) -> Option<PathBuf> {
        let ending = format!("_{}.ports", self.pid);
        let files = std::fs::read_dir(&self.folder).ok()?.flatten();
        let mine = |entry: &DirEntry| entry.file_name().to_string_lossy().ends_with(&ending);
        files.into_iter().find(mine).map(|entry| entry.path())
    }

    fn read(&self) -> Option<Ports> {
        serde_json::from_slice(&std::fs::read(self.find()?).ok()?).ok()
    }

    /// Removes the file, if it is there.
    pub(super) fn remove(&self) {
        if let Some(path) = self.find() {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl fmt::Display for PortsFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { folder, pid } = self;
        write!(f, "{}", folder.join(format!("*_{pid}.ports")).display())
    }
}

/// The part of a server's first line that tells who it is.
#[derive(Debug, Deserialize)]
struct Greeting {
    server_id: String,
    server_name: Option<String>,
}

async fn greeting(address: SocketAddrV4) -> Result<Greeting, String> {
    let read = async {
        let stream = TcpStream::connect(address).await?;
        let mut line = Vec::new();
        let mut stream = BufReader::new(stream).take(GREETING_BYTES);
        stream.read_until(b'\n', &mut line).await?;
        std::io::Result::Ok(line)
    };
    let line = match timeout(GREETING_WITHIN, read).await {
        Err(_) => return Err("it accepts connections and stays silent".to_owned()),
        Ok(Err(error)) => return Err(error.to_string()),
        Ok(Ok(line)) => line,
    };
    line.strip_prefix(b"INFO ")
        .and_then(|json| serde_json::from_slice(json).ok())
        .ok_or_else(|| format!("\"{}\" is no INFO line", first_words(&line)))
}

fn first_words(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end().chars().take(80).collect()
}

/// Loopback with this port.
pub(super) fn loopback(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_where_it_was_told_to_be_and_nowhere_else() {
        let (here, everywhere) = (Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED);
        for (host, found, fits) in [
            (here, &["nats://127.0.0.1:4000"][..], true),
            (here, &["nats://127.0.0.1:4000", "nats://192.0.2.2:4000"], false),
            (here, &["nats://192.0.2.2:4000"], false),
            (here, &["nats://127.0.0.1:14000"], false),
            (here, &[], false),
            (everywhere, &["nats://127.0.0.1:4000", "nats://[fd00::2]:4000"], true),
            (everywhere, &["nats://127.0.0.1:4001"], false),
            (everywhere, &[], false),
        ] {
            let found: Vec<_> = found.iter().map(ToString::to_string).collect();
            let checked = Ports::check(&found, SocketAddrV4::new(host, 4000));
            assert_eq!(checked.is_ok(), fits, "{host}: {found:?}");
        }
    }
}
