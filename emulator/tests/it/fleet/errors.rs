//! What a node makes of the broker's `-ERR`.

use emulator::connection::server_error::{Remedy, ServerError};
use futures_util::future::join_all;

use super::script::{Broker, deadline};
use super::{generate, group, msg, start, until};

/// Each kind as nats-server writes it.
const TEXTS: [(&str, ServerError); 9] = [
    ("Stale Connection", ServerError::StaleConnection),
    ("maximum connections exceeded", ServerError::MaxConnections),
    ("Permissions Violation for Subscription to \"a.b\"", ServerError::Permissions),
    ("Permissions Violation for Publish to \"a.b\"", ServerError::Permissions),
    ("maximum subscriptions exceeded", ServerError::MaxSubscriptions),
    ("Authorization Violation", ServerError::Authorization),
    ("Authentication Timeout", ServerError::AuthenticationTimeout),
    ("Maximum Payload Violation", ServerError::MaximumPayload),
    ("Unknown Protocol Operation", ServerError::Other),
];

#[tokio::test]
async fn before_the_connection_is_complete_every_error_leads_to_another_try() {
    join_all(TEXTS.map(|(text, kind)| async move {
        let broker = Broker::new().await;
        let fleet = start(vec![group(1, &[&broker])]);
        let mut peer = broker.accept().await;
        peer.hello().await;
        peer.send(format!("-ERR '{text}'\r\n")).await;
        peer.closed().await;
        broker.accept_ready().await;
        let counts = until(&fleet, "connected at last", |counts| counts.ever_connected == 1).await;
        assert_eq!((counts.handshake_failures, counts.reconnects), (1, 0), "{text}");
        assert_eq!(counts.server_errors[kind as usize], 1, "{text}");
        assert_eq!(counts.closed_for_good, 0, "{text}");
    }))
    .await;
}

#[tokio::test]
async fn on_a_complete_connection_the_error_decides() {
    join_all(TEXTS.map(|(text, kind)| async move {
        let broker = Broker::new().await;
        let fleet = start(vec![group(1, &[&broker])]);
        let mut peer = broker.accept_ready().await;
        until(&fleet, "connected", |counts| counts.connected == 1).await;
        peer.send(format!("-ERR '{text}'\r\n")).await;
        match kind.remedy() {
            Remedy::Stay => {
                peer.send(msg(&generate(5, 10))).await;
                assert_eq!(peer.reply().await.0, 5, "{text}");
                let counts = fleet.counts();
                assert_eq!((counts.connected, counts.disconnects), (1, 0), "{text}");
            }
            Remedy::Reconnect => {
                peer.closed().await;
                broker.accept_ready().await;
                until(&fleet, "reconnected", |counts| counts.reconnects == 1).await;
            }
            Remedy::CloseForGood => {
                peer.closed().await;
                let counts = until(&fleet, "closed", |counts| counts.closed_for_good == 1).await;
                assert_eq!(
                    (counts.connected, counts.disconnects, counts.dials),
                    (0, 1, 1),
                    "{text}"
                );
                // Nobody waits for a node that never comes.
                deadline(fleet.connected()).await.expect("settled");
            }
        }
        assert_eq!(fleet.counts().server_errors[kind as usize], 1, "{text}");
        assert_eq!(fleet.stop().await.connected, 0, "{text}");
    }))
    .await;
}

#[tokio::test]
async fn while_it_subscribes_again_an_unknown_error_closes_for_good() {
    let broker = Broker::new().await;
    let fleet = start(vec![group(1, &[&broker])]);
    let peer = broker.accept_ready().await;
    until(&fleet, "connected", |counts| counts.connected == 1).await;
    drop(peer);
    let mut peer = broker.accept().await;
    peer.hello().await;
    peer.send("PONG\r\n-ERR 'Whatever'\r\n").await;
    peer.closed().await;
    let counts = until(&fleet, "closed for good", |counts| counts.closed_for_good == 1).await;
    assert_eq!((counts.disconnects, counts.handshake_failures), (1, 1));
}
