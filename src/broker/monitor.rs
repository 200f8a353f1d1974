//! What a broker says about itself, and what the system says about its process.
//!
//! `/varz`, `/routez`, `/gatewayz` and `/leafz` cost the broker 0.1 to 0.3 ms each (brokers-checked, 7);
//! [`Monitor::look`] asks for them. `/connz` copies every connection under the server's lock whatever
//! its limit, tens of milliseconds: it has no place in a loop ([`super::connections`]).

use std::net::SocketAddr;
use std::time::Duration;

use procfs::process::Process;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::links::{Gatewayz, Leafz, LinkSample, Routez};
use super::system::OneServer;

/// A monitoring request that takes longer than this is a failure of the broker. Whoever looks once a
/// second misses two looks then.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Most that is read of an answer: a `/varz` has some 3 KiB, 10,000 closed connections have 5 MiB.
const ANSWER_BYTES: u64 = 32 * 1024 * 1024;

/// Monitoring that did not answer as it should.
#[derive(Debug, Error)]
pub enum MonitorError {
    /// No answer, or not the right one.
    #[error("{url}: {source}")]
    Http {
        /// What was asked.
        url: String,
        /// What went wrong.
        source: Box<ureq::Error>,
    },
    /// An answer that is not nats-server's.
    #[error("{url}: {source}")]
    Answer {
        /// What was asked.
        url: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Nobody answers through the system account, or not as nats-server does.
    #[error("{subject} through the system account: {why}")]
    System {
        /// What was asked.
        subject: String,
        /// What went wrong.
        why: String,
    },
    /// The process is not there.
    #[error("process {pid}: {source}")]
    Process {
        /// The broker's process.
        pid: i32,
        /// What the system said.
        source: procfs::ProcError,
    },
    /// An answer without the figures that belong into it.
    #[error("{url}: that is not what a Go program answers")]
    Strange {
        /// What was asked.
        url: String,
    },
    /// The program is ending.
    #[error("{url}: not asked, the program is ending")]
    Ending {
        /// What was to be asked.
        url: String,
    },
}

impl MonitorError {
    /// Whether a web server answered that has nothing at this path.
    pub(super) fn is_unknown_path(&self) -> bool {
        matches!(self, Self::Http { source, .. } if matches!(**source, ureq::Error::StatusCode(404)))
    }
}

/// The part of `/varz` that is kept. Every field exists since 2.0.0 unless said otherwise.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Varz {
    /// The server's identity of this start.
    pub server_id: String,
    /// Its name (since 2.1.9).
    #[serde(default)]
    pub server_name: Option<String>,
    /// Its version.
    pub version: String,
    /// The Go toolchain that built it.
    pub go: String,
    /// Connections it accepts at most.
    pub max_connections: u64,
    /// Bytes of the largest message it accepts.
    pub max_payload: u64,
    /// Resident memory as the server sees it, bytes.
    pub mem: u64,
    /// CPU as the server sees it, percent of one core.
    pub cpu: f64,
    /// Client connections now.
    pub connections: u64,
    /// Client connections since the start.
    pub total_connections: u64,
    /// Subscriptions now.
    pub subscriptions: u64,
    /// Messages in since the start.
    pub in_msgs: u64,
    /// Messages out since the start.
    pub out_msgs: u64,
    /// Bytes in since the start.
    pub in_bytes: u64,
    /// Bytes out since the start.
    pub out_bytes: u64,
    /// Connections cut because they read too slowly, since the start.
    pub slow_consumers: u64,
    /// The same by kind (since 2.10.0).
    #[serde(default)]
    pub slow_consumer_stats: Option<SlowConsumers>,
    /// Times that a fast producer was held up for a slow consumer (since 2.12.15).
    #[serde(default)]
    pub stalled_clients: Option<u64>,
    /// Connections cut because they answered no PING (since 2.12.15).
    #[serde(default)]
    pub stale_connections: Option<u64>,
    /// Connections of routes.
    #[serde(default)]
    pub routes: u64,
    /// Leaf connections, on either side; `None`: the release does not say (before 2.0.4).
    #[serde(default)]
    pub leafnodes: Option<u64>,
    /// Its cluster.
    #[serde(default)]
    pub cluster: JoinedVarz,
    /// Its gateways.
    #[serde(default)]
    pub gateway: JoinedVarz,
}

impl Varz {
    /// The name that it was given; `None` where it only has the identity that it gave itself.
    #[must_use]
    pub fn given_name(&self) -> Option<&str> {
        self.server_name.as_deref().filter(|name| *name != self.server_id)
    }
}

/// Slow consumers by what they were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct SlowConsumers {
    /// Clients.
    pub clients: u64,
    /// Routes.
    pub routes: u64,
    /// Gateways.
    pub gateways: u64,
    /// Leaf connections.
    pub leafs: u64,
}

/// What `/varz` says about a cluster, or about gateways.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct JoinedVarz {
    /// Name of the cluster; absent where there is none, or where there are no gateways.
    #[serde(default)]
    pub name: Option<String>,
}

/// One look at a broker: what it says and what the system says. The instant is the caller's.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerSample {
    /// What it says about itself.
    pub varz: Varz,
    /// What the system says about its process.
    pub process: ProcessSample,
}

/// One look at a process through /proc.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessSample {
    /// CPU time since the start, user and system, all threads.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub rss_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Whether it runs: it neither stands still nor has ended.
    pub is_live: bool,
}

impl ProcessSample {
    /// Reads a process.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn read(pid: i32) -> Result<Self, MonitorError> {
        let failed = |source| MonitorError::Process { pid, source };
        let stat = Process::new(pid).and_then(|process| process.stat()).map_err(failed)?;
        let ticks =
            Duration::from_secs(1) / u32::try_from(procfs::ticks_per_second()).unwrap_or(100);
        let used = u32::try_from(stat.utime.saturating_add(stat.stime)).unwrap_or(u32::MAX);
        Ok(Self {
            cpu: ticks.saturating_mul(used),
            rss_bytes: stat.rss.saturating_mul(procfs::page_size()),
            threads: u64::try_from(stat.num_threads).unwrap_or(0),
            // Stopped by a signal or a tracer, dead, a zombie (proc_pid_stat(5)).
            is_live: !matches!(stat.state, 'T' | 't' | 'X' | 'x' | 'Z'),
        })
    }
}

/// What a broker says of itself at one instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// The server.
    pub varz: Varz,
    /// Its connections to other brokers.
    pub links: Vec<LinkSample>,
}

/// The monitoring of one broker.
#[derive(Debug, Clone)]
pub struct Monitor(Way);

/// How a broker is asked.
#[derive(Debug, Clone)]
enum Way {
    /// Its own web server.
    Site(Site),
    /// Messages, through the system account of its network.
    System(OneServer),
}

/// A broker's web server: of monitoring, or of profiling.
#[derive(Debug, Clone)]
pub(super) struct Site {
    base: String,
    agent: ureq::Agent,
}

impl Monitor {
    /// Monitoring of our own broker at this address, by plain HTTP.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self(Way::Site(Site::ours(address)))
    }

    /// Monitoring of somebody else's broker: `http://HOST:PORT`, or what stands before `/varz` there.
    #[must_use]
    pub fn at(url: &str) -> Self {
        let base = url.trim_end_matches('/').to_owned();
        Self(Way::Site(Site { base, agent: agent(false) }))
    }

    /// Monitoring of a server through the system account of its network.
    pub(super) fn of_server(server: OneServer) -> Self {
        Self(Way::System(server))
    }

    /// Whether it is asked by messages: answers have to fit into those.
    pub(super) fn is_by_message(&self) -> bool {
        matches!(self.0, Way::System(_))
    }

    /// Asks for `/varz`.
    ///
    /// # Errors
    /// When there is no answer within two seconds or it is not what nats-server answers.
    pub async fn varz(&self) -> Result<Varz, MonitorError> {
        self.json("/varz").await
    }

    /// Asks for what is cheap: `/varz`, and what it says that there is of routes, gateways and leaf
    /// connections.
    ///
    /// # Errors
    /// When one of them does not answer.
    pub async fn look(&self) -> Result<Look, MonitorError> {
        let varz = self.varz().await?;
        let mut links = Vec::new();
        if varz.routes > 0 {
            links.extend(self.json::<Routez>("/routez").await?.links());
        }
        if varz.gateway.name.is_some() {
            links.extend(self.json::<Gatewayz>("/gatewayz").await?.links());
        }
        // Since 2.1.0.
        if varz.leafnodes.is_some_and(|count| count > 0)
            && let Ok(leafs) = self.json::<Leafz>("/leafz").await
        {
            links.extend(leafs.links());
        }
        Ok(Look { varz, links })
    }

    /// One sample of the broker in this process.
    ///
    /// # Errors
    /// When monitoring does not answer or the process is gone.
    pub async fn sample(&self, pid: i32) -> Result<BrokerSample, MonitorError> {
        let varz = self.varz().await?;
        Ok(BrokerSample { varz, process: ProcessSample::read(pid)? })
    }

    /// Asks for a path and reads the answer as JSON.
    pub(super) async fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, MonitorError> {
        let site = match &self.0 {
            Way::Site(site) => site,
            Way::System(server) => return server.ask(path).await,
        };
        let text = site.text(path).await?;
        serde_json::from_str(&text)
            .map_err(|source| MonitorError::Answer { url: site.url(path), source })
    }
}

impl Site {
    /// Our own broker's at this address, by plain HTTP.
    pub(super) fn ours(address: SocketAddr) -> Self {
        Self { base: format!("http://{address}"), agent: agent(true) }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Asks for a path and reads the answer as text.
    pub(super) async fn text(&self, path: &str) -> Result<String, MonitorError> {
        let (url, agent) = (self.url(path), self.agent.clone());
        let ending = MonitorError::Ending { url: url.clone() };
        tokio::task::spawn_blocking(move || {
            let answer = agent.get(&url).call();
            answer
                .and_then(|mut answer| {
                    answer.body_mut().with_config().limit(ANSWER_BYTES).read_to_string()
                })
                .map_err(|source| MonitorError::Http { url, source: Box::new(source) })
        })
        .await
        .unwrap_or(Err(ending))
    }
}

fn agent(ours: bool) -> ureq::Agent {
    let config = ureq::Agent::config_builder().timeout_global(Some(ANSWER_WITHIN)).max_redirects(0);
    // Ours is on loopback: a proxy meant for the outside has no part in it.
    let config = if ours { config.proxy(None) } else { config };
    config.build().new_agent()
}
