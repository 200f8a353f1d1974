//! How the driver connects: the connection flags of the `nats` CLI as values, turned into client
//! options in one place, with every option that matters here said out loud.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;

use super::incident::Observer;

/// Messages that a subscription holds at least while the driver is busy; beyond the capacity the
/// client library drops replies and reports a slow consumer.
const SUBSCRIPTION_CAPACITY_MIN: usize = 65_536;
/// Replies that a wave may bring, per node, before a subscription can be full.
const REPLIES_PER_NODE: usize = 4;
/// Commands (publishes, subscribes) that wait for the connection; a full queue makes the publisher
/// wait, which shows as publish duration.
const COMMAND_CAPACITY: usize = 2_048;
/// How often a client asks whether its broker is there: a dead connection is noticed within a minute.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// The largest that the client library takes.
const READ_BUFFER_BYTES: u16 = u16::MAX;
/// The longest pause between two attempts to reconnect: short, since a real client connects anew for
/// every request and has no pause to sit out.
const RECONNECT_DELAY_MAX: Duration = Duration::from_millis(200);

/// Most bytes of a file with an NKEY seed: a seed has 58.
const SEED_BYTES: u64 = 4096;

/// A text that never appears in logs or debug output. Written out it is what it is: only the control
/// plane, which lets in nobody without credentials, does that.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes charge of `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for where it has to be said.
    #[must_use]
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret(..)")
    }
}

/// Why connection options do not hold.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// No server at all.
    #[error("no server is named\ngive at least one, for example --server nats://127.0.0.1:4222")]
    NoServer,
    /// A server that is no address.
    #[error("server {url:?} is no address: {source}\nwrite it as nats://host:port")]
    Server {
        /// As given, without credentials.
        url: String,
        /// What the parser said.
        source: std::io::Error,
    },
    /// A server without a host.
    #[error("server {0:?} names no host\nwrite it as nats://host:port")]
    NoHost(String),
    /// A file of credentials or keys that cannot be read.
    #[error("cannot read {what} {}: {source}\ncheck the path and its permissions", path.display())]
    File {
        /// Which option named it.
        what: &'static str,
        /// As given.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A client certificate without its key or the other way round.
    #[error("a TLS certificate and its key belong together\ngive both --tlscert and --tlskey")]
    HalfCertificate,
}

/// A server's URL without what may be secret in it.
pub(crate) fn redacted(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    match rest.rsplit_once('@') {
        Some((_, host)) if scheme.is_empty() => format!("***@{host}"),
        Some((_, host)) => format!("{scheme}://***@{host}"),
        None => url.to_owned(),
    }
}

/// How to reach the network: named like the flags of the `nats` CLI.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionOptions {
    /// Servers, each `nats://host:port`, `tls://host:port` or `host:port`.
    pub servers: Vec<String>,
    /// User name.
    pub user: Option<String>,
    /// Password of the user.
    pub password: Option<Secret>,
    /// Token, instead of user and password.
    pub token: Option<Secret>,
    /// File of user credentials (JWT and seed).
    pub creds: Option<PathBuf>,
    /// File that holds an NKEY seed.
    pub nkey: Option<PathBuf>,
    /// TLS certificate of the client, with its chain.
    pub tls_cert: Option<PathBuf>,
    /// Key of the TLS certificate.
    pub tls_key: Option<PathBuf>,
    /// Certificate authorities to trust instead of the system's.
    pub tls_ca: Option<PathBuf>,
    /// TLS handshake before the broker's first line.
    pub tls_first: bool,
    /// What connection names begin with, instead of the caller id.
    pub name: Option<String>,
    /// Prefix of inboxes; the real client uses `<main collective>.reply` (protocol document 1.4).
    pub inbox_prefix: Option<String>,
    /// Time for TCP, TLS and the handshake of one connection; `None`: 5 s.
    pub timeout: Option<Duration>,
}

impl std::fmt::Debug for ConnectionOptions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ConnectionOptions")
            .field("servers", &self.servers.iter().map(|url| redacted(url)).collect::<Vec<_>>())
            .field("user", &self.user)
            .field("creds", &self.creds)
            .field("nkey", &self.nkey)
            .field("tls_cert", &self.tls_cert)
            .field("tls_ca", &self.tls_ca)
            .finish_non_exhaustive()
    }
}

impl ConnectionOptions {
    /// The servers as addresses.
    pub(crate) fn addresses(&self) -> Result<Vec<ServerAddr>, OptionsError> {
        if self.servers.is_empty() {
            return Err(OptionsError::NoServer);
        }
        let parse = |url: &String| match url.parse::<ServerAddr>() {
            Ok(address) if !address.host().is_empty() => Ok(address),
            Ok(_) => Err(OptionsError::NoHost(redacted(url))),
            Err(source) => Err(OptionsError::Server { url: redacted(url), source }),
        };
        self.servers.iter().map(parse).collect()
    }

    /// The client library's options for a connection called `name` that serves waves to `nodes`.
    pub(super) async fn build(
        &self,
        name: &str,
        nodes: u32,
        observer: Observer,
    ) -> Result<ConnectOptions, OptionsError> {
        let capacity = (nodes as usize).saturating_mul(REPLIES_PER_NODE);
        let mut options = ConnectOptions::new()
            .name(name)
            .ping_interval(PING_INTERVAL)
            .connection_timeout(self.timeout.unwrap_or(Duration::from_secs(5)))
            .subscription_capacity(capacity.max(SUBSCRIPTION_CAPACITY_MIN))
            .client_capacity(COMMAND_CAPACITY)
            .read_buffer_capacity(READ_BUFFER_BYTES)
            // The first is where the scenario says; the others are for when it is away.
            .retain_servers_order()
            // A broker that is away at the start is an error at once; one that goes away during a
            // run is tried again until the run ends.
            .max_reconnects(None)
            .reconnect_delay_callback(|attempts| {
                let exponent = u32::try_from(attempts).unwrap_or(u32::MAX).min(11);
                Duration::from_millis(1 << exponent).min(RECONNECT_DELAY_MAX)
            })
            .event_callback(move |event| {
                observer.note(event);
                std::future::ready(())
            });
        // `no_echo` stays off: a connection proves its subscription by a message to itself.
        if let Some(prefix) = &self.inbox_prefix {
            options = options.custom_inbox_prefix(prefix);
        }
        self.identify(options).await
    }

    /// Adds who we are, and TLS.
    pub(crate) async fn identify(
        &self,
        mut options: ConnectOptions,
    ) -> Result<ConnectOptions, OptionsError> {
        if let Some(user) = &self.user {
            let password = self.password.as_ref().map_or("", |secret| &secret.0);
            options = options.user_and_password(user.clone(), password.to_owned());
        }
        if let Some(token) = &self.token {
            options = options.token(token.0.clone());
        }
        if let Some(path) = &self.creds {
            options = options.credentials_file(path).await.map_err(file("credentials", path))?;
        }
        if let Some(path) = &self.nkey {
            let mut seed = String::new();
            let opened = tokio::fs::File::open(path).await.map_err(file("NKEY seed", path))?;
            let read = opened.take(SEED_BYTES).read_to_string(&mut seed).await;
            read.map_err(file("NKEY seed", path))?;
            options = options.nkey(seed.trim().to_owned());
        }
        self.with_tls(options)
    }

    fn with_tls(&self, mut options: ConnectOptions) -> Result<ConnectOptions, OptionsError> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => {
                options = options.add_client_certificate(cert.clone(), key.clone());
            }
            (None, None) => {}
            _ => return Err(OptionsError::HalfCertificate),
        }
        if let Some(authorities) = &self.tls_ca {
            options = options.add_root_certificates(authorities.clone());
        }
        if self.tls_first {
            options = options.tls_first();
        }
        // A URL of scheme tls:// asks for it by itself.
        let tls = self.tls_first || self.tls_cert.is_some() || self.tls_ca.is_some();
        Ok(options.require_tls(tls))
    }
}

/// Names the file in an error of reading it.
fn file(what: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> OptionsError {
    let path = path.to_owned();
    move |source| OptionsError::File { what, path, source }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio_util::task::TaskTracker;

    use super::{ConnectionOptions, Secret};
    use crate::driver::epoch::Epoch;
    use crate::driver::incident::IncidentLog;

    async fn refusal(options: ConnectionOptions) -> Option<String> {
        let log = IncidentLog::default();
        let open = TaskTracker::new().token();
        let observer = log.observer(Epoch::at(Instant::now()), "test".to_owned(), open);
        let built = options.build("test", 10, observer).await.map(drop);
        let both = options.addresses().and(built);
        both.err().map(|error| error.to_string())
    }

    #[tokio::test]
    async fn options_that_do_not_hold_are_refused_with_what_to_do() {
        let good =
            ConnectionOptions { servers: vec!["127.0.0.1:4222".into()], ..Default::default() };
        let rows = [
            (good.clone(), None),
            (ConnectionOptions::default(), Some("give at least one")),
            (
                ConnectionOptions { servers: vec!["nats://".into()], ..Default::default() },
                Some("write it as nats://host:port"),
            ),
            (
                ConnectionOptions { servers: vec!["host:port".into()], ..Default::default() },
                Some("write it as nats://host:port"),
            ),
            (
                ConnectionOptions { creds: Some("/no/such.creds".into()), ..good.clone() },
                Some("cannot read credentials /no/such.creds"),
            ),
            (
                ConnectionOptions { nkey: Some("/no/such.nk".into()), ..good.clone() },
                Some("cannot read NKEY seed /no/such.nk"),
            ),
            (
                ConnectionOptions { tls_cert: Some("/a.pem".into()), ..good },
                Some("give both --tlscert and --tlskey"),
            ),
        ];
        for (options, expected) in rows {
            let shown = format!("{options:?}");
            let refusal = refusal(options).await;
            match expected {
                None => assert_eq!(refusal, None, "{shown}"),
                Some(text) => {
                    assert!(refusal.as_deref().is_some_and(|is| is.contains(text)), "{refusal:?}");
                }
            }
        }
    }

    #[test]
    fn secrets_do_not_appear_in_debug_output_or_errors() {
        let options = ConnectionOptions {
            servers: vec!["nats://user:hunter2@host".into(), "hunter2@host:port".into()],
            password: Some(Secret::new("hunter2")),
            token: Some(Secret::new("hunter2")),
            ..Default::default()
        };
        let shown = format!("{options:?} {:?}", options.password);
        let error = options.addresses().err().map(|error| error.to_string()).unwrap_or_default();
        assert!(shown.contains("***@host") && error.contains("***@host"), "{shown} {error}");
        assert!(!shown.contains("hunter2") && !error.contains("hunter2"), "{shown} {error}");
    }
}
