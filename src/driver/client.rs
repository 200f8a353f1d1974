//! One emulated Choria client: a caller id, a connection that publishes and connections that receive
//! (protocol document 1.3, 5.6).
//!
//! Unlike the real client, which connects anew for every request, its connections last for the run:
//! a wave measures the network, not the client's connecting.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::{ServerAddr, Subscriber};
use futures_util::StreamExt;

use super::epoch::Epoch;
use super::incident::IncidentLog;
use super::options::{ConnectionOptions, OptionsError, redacted};

/// Pause between two attempts to reach a receiver while a network settles.
const SETTLE_RETRY: Duration = Duration::from_millis(100);
/// Pause between two attempts to have a wave's subscription confirmed, which take a fraction of it.
const CONFIRM_RETRY: Duration = Duration::from_millis(20);

/// Who a client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSpec {
    /// Number in [`WaveKey::client`](reports::wave::WaveKey), from 1.
    pub number: u32,
    /// Caller id, for example `choria=client1.mcollective`.
    pub caller_id: String,
    /// Receiving connections: 1, or several in a queue group named after the caller id; the real
    /// client has 3 for discoveries and requests and 1 for batches.
    pub receivers: u32,
}

/// Why a client cannot work.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The options do not hold.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The broker did not let it in, or did not answer.
    #[error(
        "cannot connect {name:?} to {servers}: {source}\ncheck that the broker runs there and takes these credentials"
    )]
    Connect {
        /// Name of the connection.
        name: String,
        /// Where it was to connect.
        servers: String,
        /// What the client library said.
        source: async_nats::ConnectError,
    },
    /// A message to itself did not come back.
    #[error(
        "{name:?} gets no message of its own within {waited:?}\ncheck that its user may publish and subscribe to its inbox"
    )]
    Deaf {
        /// Name of the connection.
        name: String,
        /// How long it was tried.
        waited: Duration,
    },
}

/// A client with its connections up.
pub(super) struct Client {
    pub(super) spec: ClientSpec,
    base_name: String,
    pub(super) publisher: async_nats::Client,
    receivers: Vec<async_nats::Client>,
    servers: Vec<ServerAddr>,
    /// What its latest discovery found; 0: none ran.
    discovered: AtomicU64,
}

impl Client {
    /// Opens the connections of `spec`, for waves over `nodes` nodes.
    pub(super) async fn connect(
        spec: ClientSpec,
        options: &ConnectionOptions,
        nodes: u32,
        epoch: Epoch,
        log: &IncidentLog,
    ) -> Result<Self, ClientError> {
        let base_name = options.name.as_ref().unwrap_or(&spec.caller_id).clone();
        let servers = options.addresses()?;
        let connect = async |name: String| {
            let observer = log.observer(epoch, name.clone());
            let built = options.build(&name, nodes, observer).await?;
            built.connect(&servers[..]).await.map_err(|source| ClientError::Connect {
                name,
                servers: options
                    .servers
                    .iter()
                    .map(|url| redacted(url))
                    .collect::<Vec<_>>()
                    .join(", "),
                source,
            })
        };
        let publisher = connect(format!("{base_name}-publisher")).await?;
        let mut receivers = Vec::new();
        for number in 0..spec.receivers.max(1) {
            receivers.push(connect(format!("{base_name}-receiver{number}")).await?);
        }
        Ok(Self { spec, base_name, publisher, receivers, servers, discovered: AtomicU64::new(0) })
    }

    /// Subscribes every receiver to `subject`.
    pub(super) async fn subscribe(
        &self,
        subject: &str,
    ) -> Result<Vec<Subscriber>, async_nats::SubscribeError> {
        let mut subscribers = Vec::with_capacity(self.receivers.len());
        for receiver in &self.receivers {
            let subject = subject.to_owned();
            subscribers.push(if self.receivers.len() > 1 {
                receiver.queue_subscribe(subject, self.spec.caller_id.clone()).await?
            } else {
                receiver.subscribe(subject).await?
            });
        }
        Ok(subscribers)
    }

    /// Waits until the broker has handled everything that the receivers sent before, so that a
    /// subscription made before is in force there: each sends the publisher a message, since a flush
    /// of the client library ends at its own socket. Not the other way round: then the message would
    /// queue up behind the replies to a wave that runs. Returns false when one did not come in time.
    pub(super) async fn confirm(&self, timeout: Duration) -> bool {
        let confirmed = async {
            for receiver in &self.receivers {
                reach(receiver, &self.publisher, CONFIRM_RETRY).await?;
            }
            Some(())
        };
        matches!(tokio::time::timeout(timeout, confirmed).await, Ok(Some(())))
    }

    /// Proves that what the publisher sends reaches every receiver.
    pub(super) async fn settle(&self, timeout: Duration) -> Result<(), ClientError> {
        for (number, receiver) in self.receivers.iter().enumerate() {
            let reached = reach(&self.publisher, receiver, SETTLE_RETRY);
            if !matches!(tokio::time::timeout(timeout, reached).await, Ok(Some(()))) {
                let name = format!("{}-receiver{number}", self.base_name);
                return Err(ClientError::Deaf { name, waited: timeout });
            }
        }
        Ok(())
    }

    /// What the client's latest discovery found; 0: none ran.
    pub(super) fn discovered(&self) -> u64 {
        self.discovered.load(Ordering::Relaxed)
    }

    /// Takes note of what a discovery found.
    pub(super) fn note_discovered(&self, nodes: u64) {
        self.discovered.store(nodes, Ordering::Relaxed);
    }

    /// The broker that the publisher is connected to, as `seen-by` shows it: without credentials. Of
    /// several configured ones it is that with the port which the broker says it listens on.
    pub(super) fn broker_url(&self) -> String {
        self.url_of(&self.publisher)
    }

    /// The same for any of its connections.
    pub(super) fn url_of(&self, connection: &async_nats::Client) -> String {
        let port = connection.try_server_info().map(|info| info.port);
        let connected = self.servers.iter().find(|server| Some(server.port()) == port);
        connected.or(self.servers.first()).map_or_else(String::new, |server| {
            format!("{}://{}:{}", server.scheme(), server.host(), server.port())
        })
    }

    /// All its connections.
    pub(super) fn connections(&self) -> impl Iterator<Item = &async_nats::Client> {
        self.receivers.iter().chain([&self.publisher])
    }

    /// Closes the connections; what is queued is sent before.
    pub(super) async fn close(&self) {
        for connection in self.connections() {
            // It fails only where the connection is closed already.
            let _ = connection.drain().await;
        }
    }
}

/// Sends messages from one connection to the other until one arrives: the interest in a subject takes
/// time to travel from connection to connection and from broker to broker. `None`: one is closed.
pub(super) async fn reach(
    from: &async_nats::Client,
    to: &async_nats::Client,
    retry: Duration,
) -> Option<()> {
    let inbox = to.new_inbox();
    let mut subscriber = to.subscribe(inbox.clone()).await.ok()?;
    loop {
        from.publish(inbox.clone(), "".into()).await.ok()?;
        if let Ok(message) = tokio::time::timeout(retry, subscriber.next()).await {
            return message.map(drop);
        }
    }
}
