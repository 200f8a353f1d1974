//! Probes: one connection on each broker, over which a message proves that it gets from one broker to
//! another, and that the interest of whatever subscribed before has got there too.
//!
//! Brokers pass interest on in the order in which it came, connection by connection. A subscription that
//! is made after all others on a broker is therefore the last that others hear of: when a message
//! reaches it from afar, they have heard of all.
//!
//! Gateways of releases before 2.9 send what nobody is known not to want. Where a message comes before the interest in its
//! subject, they may take that for no interest, for good (one in thirty superclusters of 2.0.0): that is the
//! probe's own doing, and another subject gets through.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio::time::{timeout, timeout_at};
use tokio_util::task::TaskTracker;

use super::asker::single;
use super::client::{CLOSE_WITHIN, ClientError, close_all, reach};
use super::epoch::Epoch;
use super::incident::IncidentLog;
use super::options::ConnectionOptions;

/// After so long without a message another subject is tried as well, then after twice as long, and so on.
const FRESH_AFTER: Duration = Duration::from_secs(1);
/// Messages that are sent until then.
const MESSAGES: u32 = 100;

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
        let through = async {
            let (mut tries, mut patience) = (FuturesUnordered::new(), FRESH_AFTER);
            loop {
                tries.push(reach(from, to, patience / MESSAGES));
                if let Ok(through) = timeout(patience, tries.next()).await {
                    return through.flatten();
                }
                patience *= 2;
            }
        };
        timeout_at(by, through).await.ok().flatten()
    }

    /// Closes the connections and waits for their end, a second at the most.
    pub async fn close(self) {
        if !close_all(self.connections.iter(), &self.open, CLOSE_WITHIN).await {
            tracing::warn!("not every probe ended by itself");
        }
    }
}
