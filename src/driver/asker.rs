//! A connection of its own for whoever asks brokers about themselves through their system account.

use std::time::Instant;

use tokio_util::task::TaskTracker;

use super::client::ClientError;
use super::epoch::Epoch;
use super::incident::{IncidentLog, Observer};
use super::options::{ConnectionOptions, redacted};

/// What brokers show as the name of the connection.
const NAME: &str = "choria-emulator-system";

/// Connects as these options say; the connection is made again until it is closed.
///
/// # Errors
/// When no server lets it in.
pub async fn connect_asker(options: &ConnectionOptions) -> Result<async_nats::Client, ClientError> {
    let (incidents, open) = (IncidentLog::default(), TaskTracker::new());
    let observer = incidents.observer(Epoch::at(Instant::now()), NAME.to_owned(), open.token());
    single(NAME, options, 1, observer, true).await
}

/// One connection that serves waves to so many nodes; `roams` says whether it may go to servers that it hears of.
pub(super) async fn single(
    name: &str,
    options: &ConnectionOptions,
    nodes: u32,
    observer: Observer,
    roams: bool,
) -> Result<async_nats::Client, ClientError> {
    let built = options.build(name, nodes, observer).await?;
    let built = if roams { built } else { built.ignore_discovered_servers() };
    built.connect(&options.addresses()?[..]).await.map_err(|source| {
        let servers = options.servers.iter().map(|url| redacted(url)).collect::<Vec<_>>();
        ClientError::Connect { name: name.to_owned(), servers: servers.join(", "), source }
    })
}
