//! One emulated Choria client: a caller id, a connection that publishes and connections that receive
//! (protocol document 1.3, 5.6).
//!
//! Unlike the real client, which connects anew for every request, its connections last for the run:
//! a wave measures the network, not the client's connecting.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{ServerAddr, Subscriber};
use futures_util::StreamExt;
use futures_util::future::join_all;
use tokio_util::task::TaskTracker;

use super::asker::single;
use super::epoch::Epoch;
use super::incident::IncidentLog;
use super::options::{ConnectionOptions, OptionsError};

/// Pause between two attempts to reach a receiver while a network settles.
const SETTLE_RETRY: Duration = Duration::from_millis(100);
/// Pause between two attempts to have a wave's subscription confirmed, which take a fraction of it.
const CONFIRM_RETRY: Duration = Duration::from_millis(20);
/// Closing waits so long for connections to end; it takes a fraction where brokers read.
pub(super) const CLOSE_WITHIN: Duration = Duration::from_secs(1);

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
    /// Where it connects, in this order; empty: where the options say.
    pub servers: Vec<String>,
}

/// Why a client cannot work.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The options do not hold.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The broker did not let it in, or did not answer.
    #[error("cannot connect {name:?} to {servers}: {source}\n{}", advice(source))]
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

/// What to do about a connection that did not come up.
fn advice(source: &async_nats::ConnectError) -> String {
    tls_advice(source, "--tlsca").unwrap_or_else(|| {
        "check that the broker runs there and takes these credentials".to_owned()
    })
}

/// The same where TLS failed; `option` is what names an authority.
pub(crate) fn tls_advice(source: &async_nats::ConnectError, option: &str) -> Option<String> {
    failed_tls(source).then(|| {
        format!(
            "TLS failed: name the authority that vouches for the broker with {option}, or \
             leave TLS out where the broker has none"
        )
    })
}

/// Whether a connection did not come up for what was wrong with TLS: that does not pass by waiting.
pub(crate) fn failed_tls(source: &async_nats::ConnectError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(source);
    while let Some(error) = cause {
        // As tokio-rustls wraps what is wrong with a handshake or a certificate.
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::InvalidData) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// How often the receivers of a client have connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Connects(u64);

/// A client with its connections up.
pub(super) struct Client {
    pub(super) spec: ClientSpec,
    base_name: String,
    pub(super) publisher: async_nats::Client,
    receivers: Vec<async_nats::Client>,
    servers: Vec<ServerAddr>,
    /// Has a token for each connection that has not ended.
    open: TaskTracker,
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
        let own = ConnectionOptions { servers: spec.servers.clone(), ..options.clone() };
        let options = if spec.servers.is_empty() { options } else { &own };
        let servers = options.addresses()?;
        let open = TaskTracker::new();
        let connect = async |name: String| {
            let observer = log.observer(epoch, name.clone(), open.token());
            single(&name, options, nodes, observer, true).await
        };
        let publisher = connect(format!("{base_name}-publisher")).await?;
        let mut receivers = Vec::new();
        for number in 0..spec.receivers.max(1) {
            receivers.push(connect(format!("{base_name}-receiver{number}")).await?);
        }
        let discovered = AtomicU64::new(0);
        Ok(Self { spec, base_name, publisher, receivers, servers, open, discovered })
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
    /// queue up behind the replies to a wave that runs. Returns what [`Self::has_stayed`] is to be asked
    /// with from then on; `None`: one did not come in time.
    pub(super) async fn confirm(&self, timeout: Duration) -> Option<Connects> {
        let confirmed = async {
            loop {
                let connects = self.connects();
                for receiver in &self.receivers {
                    reach(receiver, &self.publisher, CONFIRM_RETRY).await?;
                }
                if self.has_stayed(connects) {
                    return Some(connects);
                }
            }
        };
        tokio::time::timeout(timeout, confirmed).await.ok().flatten()
    }

    fn connects(&self) -> Connects {
        let each = self.receivers.iter();
        Connects(each.map(|receiver| receiver.statistics().connects.load(Ordering::Relaxed)).sum())
    }

    /// Whether its receivers are still on the connections that they had when they had connected so often: else what
    /// the broker confirmed then holds no more.
    pub(super) fn has_stayed(&self, connects: Connects) -> bool {
        self.receivers.iter().all(is_up) && self.connects() == connects
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

    /// Closes the connections as [`close_all`] does.
    pub(super) async fn close(&self, within: Duration) -> bool {
        close_all(self.connections(), &self.open, within).await
    }
}

/// Writes what is queued, closes the connections and waits until they have ended, for `within` at
/// most; each has a token of `open` until then. Returns whether they have: one that is away has not,
/// and is not waited for.
pub(super) async fn close_all<'a>(
    connections: impl Iterator<Item = &'a async_nats::Client>,
    open: &TaskTracker,
    within: Duration,
) -> bool {
    open.close();
    let connections: Vec<_> = connections.collect();
    let away = connections.iter().any(|connection| !is_up(connection));
    let ended = async {
        join_all(connections.into_iter().map(end)).await;
        if !away {
            open.wait().await;
        }
        !away
    };
    tokio::time::timeout(within, ended).await.unwrap_or(false)
}

/// Whether a connection is there at this moment.
pub(super) fn is_up(connection: &async_nats::Client) -> bool {
    connection.connection_state() == State::Connected
}

/// Writes what is queued for a connection that is up, and asks it to end.
async fn end(connection: &async_nats::Client) {
    // Both fail only where the connection has ended already. Draining alone would leave behind what
    // the socket does not take at once.
    if is_up(connection) {
        let _ = connection.flush().await;
    }
    let _ = connection.drain().await;
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
        // What a connection that is away is given would all be sent when it is back.
        if is_up(from) {
            from.publish(inbox.clone(), "".into()).await.ok()?;
        }
        if let Ok(message) = tokio::time::timeout(retry, subscriber.next()).await {
            return message.map(drop);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::{Client, ClientSpec, ConnectionOptions, Epoch, IncidentLog};

    /// Long enough for a busy machine.
    const SOON: Duration = Duration::from_secs(30);
    /// Together more than the sockets of a connection hold, and no multiple of 16: that many at a time
    /// the client library takes from its queue, so that the last come together with the end.
    const QUEUED: usize = 40;
    const MESSAGE_BYTES: usize = 1024 * 1024;
    const PING: &[u8] = b"PING\r\n";
    const PONG: &[u8] = b"PONG\r\n";

    /// The broker's end of a connection, of which it reads only what it is told to: no real broker
    /// leaves a client waiting at will.
    struct Seat(TcpStream);

    impl Seat {
        async fn accept(listener: &TcpListener) -> Self {
            let mut seat = Self(listener.accept().await.unwrap().0);
            let info = format!("INFO {{\"max_payload\":{}}}\r\n", MESSAGE_BYTES * 2);
            seat.0.write_all(info.as_bytes()).await.unwrap();
            // The client asks last of all, and then waits.
            seat.read_to_ping().await;
            seat.0.write_all(PONG).await.unwrap();
            seat
        }

        /// Reads to the end of the connection and answers. Returns how many bytes that was.
        async fn serve(mut self) -> usize {
            let mut bytes = 0;
            while let read @ 1.. = self.read_to_ping().await {
                bytes += read;
                // It fails where the client is gone: then there is nothing more to read either.
                let _ = self.0.write_all(PONG).await;
            }
            bytes
        }

        /// Reads up to a PING or to the end. Returns how many bytes that was.
        async fn read_to_ping(&mut self) -> usize {
            let (mut bytes, mut last) = (0, Vec::new());
            let mut buffer = vec![0; MESSAGE_BYTES];
            while last != PING
                && let Ok(read @ 1..) = self.0.read(&mut buffer).await
            {
                bytes += read;
                last.extend_from_slice(&buffer[..read]);
                last.drain(..last.len().saturating_sub(PING.len()));
            }
            bytes
        }
    }

    /// A client with much in its queue, and the broker's ends of its publisher and its receiver.
    async fn busy_client() -> (Client, Seat, Seat) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let servers = vec![listener.local_addr().unwrap().to_string()];
        let options = ConnectionOptions { servers, ..ConnectionOptions::default() };
        let spec = ClientSpec {
            number: 1,
            caller_id: "choria=a.b".to_owned(),
            receivers: 1,
            servers: Vec::new(),
        };
        let (epoch, log) = (Epoch::at(Instant::now()), IncidentLog::default());
        let connect = Client::connect(spec, &options, 1, epoch, &log);
        let seats = async { (Seat::accept(&listener).await, Seat::accept(&listener).await) };
        let (client, (publisher, receiver)) = tokio::join!(connect, seats);
        let client = client.unwrap();
        for _ in 0..QUEUED {
            client.publisher.publish("a", vec![b'x'; MESSAGE_BYTES].into()).await.unwrap();
        }
        (client, publisher, receiver)
    }

    #[tokio::test]
    async fn closing_writes_what_is_queued_and_waits_for_the_end() {
        let (client, publisher, receiver) = busy_client().await;
        let close = async { (client.close(SOON).await, client.open.is_empty()) };
        let (closed, read, _) = tokio::join!(close, publisher.serve(), receiver.serve());
        assert_eq!(closed, (true, true), "every connection had ended");
        assert!(read >= QUEUED * MESSAGE_BYTES, "{read} bytes");
    }

    #[tokio::test]
    async fn closing_ends_though_the_broker_does_not_read() {
        let (client, _publisher, _receiver) = busy_client().await;
        let closed = tokio::time::timeout(SOON, client.close(Duration::from_millis(50))).await;
        assert_eq!(closed, Ok(false));
        assert!(!client.open.is_empty());
    }
}
