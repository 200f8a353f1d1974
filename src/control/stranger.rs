//! Whether a control broker lets strangers command workers.
//!
//! A broker whose INFO asks for credentials lets nobody in without any. One whose INFO does not may keep strangers out
//! all the same: it may want a client certificate, or have a `no_auth_user` whose account or permissions do not
//! reach our subjects. So a stranger tries, with nothing but the address.

use std::time::Duration;

use async_nats::{Client, ConnectOptions, Subscriber};
use futures_util::StreamExt as _;
use tokio::time::{sleep, timeout};

use super::Subjects;
use crate::driver::ConnectionOptions;

/// How long the stranger tries: what brokers of a cluster tell each other takes less.
const TRIES_FOR: Duration = Duration::from_secs(2);
/// Between two attempts.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Whether an order of somebody without credentials reaches `ours`, over the broker of these options.
pub(super) async fn commands(options: &ConnectionOptions, ours: &Client) -> bool {
    // Those of a run that nobody conducts.
    let subject = Subjects::of(&format!("{:016x}", rand::random::<u64>())).order(0);
    let Ok(heard) = ours.subscribe(subject.clone()).await else { return false };
    let tried = timeout(TRIES_FOR, attempt(options, ours, subject, heard)).await;
    matches!(tried, Ok(Some(())))
}

/// Ends with `Some` when the order was heard, and with `None` when the stranger is not let in.
async fn attempt(
    options: &ConnectionOptions,
    ours: &Client,
    subject: String,
    mut heard: Subscriber,
) -> Option<()> {
    ours.flush().await.ok()?;
    let stranger = ConnectionOptions {
        tls_ca: options.tls_ca.clone(),
        tls_first: options.tls_first,
        ..ConnectionOptions::default()
    };
    let addresses = options.addresses().ok()?.into_iter();
    let bare = addresses.map(|at| format!("{}://{}:{}", at.scheme(), at.host(), at.port()));
    let connect = stranger.identify(ConnectOptions::new()).await.ok()?;
    let connect = connect.name("choria-emulator stranger").max_reconnects(1);
    let client = connect.connect(bare.collect::<Vec<_>>()).await.ok()?;
    loop {
        client.publish(subject.clone(), "leave".into()).await.ok()?;
        client.flush().await.ok()?;
        tokio::select! {
            _ = heard.next() => return Some(()),
            () = sleep(AGAIN_AFTER) => {}
        }
    }
}
