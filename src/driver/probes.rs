//! Probes: one connection on each broker, over which a message proves that it gets from one broker to
//! another, and that the interest of whatever subscribed before has got there too.
//!
//! Brokers pass interest on in the order in which it came, connection by connection. A subscription that
//! is made after all others on a broker is therefore the last that others hear of: when a message
//! reaches it from afar, they have heard of all.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio_util::task::TaskTracker;

use super::asker::single;
use super::client::{CLOSE_WITHIN, ClientError, close_all, reach};
use super::epoch::Epoch;
use super::incident::IncidentLog;
use super::options::ConnectionOptions;

/// Pause between two attempts.
const RETRY: Duration = Duration::from_millis(10);

/// Connections to the brokers of a network, by position.
pub struct Probes {
    connections: Vec<async_nats::Client>,
    /// Has a token for each connection that has not ended.
    open: TaskTracker,
}

impl Probes {
    /// Connects to each of these.
    ///
    /// # Errors
    /// When one is refused.
    pub async fn connect(
        urls: &[String],
        options: &ConnectionOptions,
    ) -> Result<Self, ClientError> {
        let (incidents, open) = (IncidentLog::default(), TaskTracker::new());
        let connect = |(number, url): (usize, &String)| {
            let name = format!("choria-emulator-probe{}", number + 1);
            let observer =
                incidents.observer(Epoch::at(Instant::now()), name.clone(), open.token());
            let options = ConnectionOptions { servers: vec![url.clone()], ..options.clone() };
            async move { single(&name, &options, 1, observer, false).await }
        };
        let connected = join_all(urls.iter().enumerate().map(connect)).await;
        let connections = connected.into_iter().collect::<Result<_, ClientError>>()?;
        Ok(Self { connections, open })
    }

    /// Sends from one broker to another until it arrives, for each of these pairs at the same time.
    /// Returns how long the slowest took, or the pairs that did not come through by the deadline.
    ///
    /// # Errors
    /// With the pairs.
    pub async fn reach(
        &self,
        pairs: &[(usize, usize)],
        deadline: tokio::time::Instant,
    ) -> Result<Duration, Vec<(usize, usize)>> {
        let began = Instant::now();
        let through = join_all(pairs.iter().map(|pair| self.one(*pair, deadline))).await;
        let stuck = pairs.iter().zip(through).filter(|(_, through)| through.is_none());
        let stuck: Vec<_> = stuck.map(|(pair, _)| *pair).collect();
        if stuck.is_empty() { Ok(began.elapsed()) } else { Err(stuck) }
    }

    async fn one(&self, (from, to): (usize, usize), by: tokio::time::Instant) -> Option<()> {
        let (from, to) = (self.connections.get(from)?, self.connections.get(to)?);
        tokio::time::timeout_at(by, reach(from, to, RETRY)).await.ok()?
    }

    /// Closes the connections and waits for their end, a second at the most.
    pub async fn close(self) {
        if !close_all(self.connections.iter(), &self.open, CLOSE_WITHIN).await {
            tracing::warn!("not every probe ended by itself");
        }
    }
}
