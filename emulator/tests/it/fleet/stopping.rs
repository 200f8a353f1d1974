//! A fleet that is stopped or dropped is gone, whatever its nodes were doing.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use emulator::fleet::Fleet;
use emulator::spec::{Connect, GroupSpec, Server};
use tokio::net::TcpSocket;

use super::script::{Broker, Peer, deadline};
use super::{LONG, generate, group, msg, patient, start, until, wait};

/// Ends the fleet in both ways. All times of the fleet are far longer than the deadline.
async fn end(fleet: Fleet, by_drop: bool) {
    if by_drop {
        deadline(tokio::task::spawn_blocking(move || drop(fleet))).await.unwrap().unwrap();
    } else {
        let counts = deadline(fleet.stop()).await.expect("stopped");
        assert_eq!((counts.connected, counts.subscriptions), (0, 0));
        assert_eq!((counts.disconnects, counts.handshake_failures), (0, 0), "we left");
    }
}

#[tokio::test]
async fn while_it_dials() {
    for by_drop in [false, true] {
        let (server, _full) = deaf_server();
        let mut group = group(1, &[]);
        group.servers = vec![server];
        let fleet = start(vec![group]);
        until(&fleet, "dialling", |counts| counts.dials == 1).await;
        end(fleet, by_drop).await;
    }
}

/// A server whose queue of connections is full: a dial to it neither succeeds nor fails.
fn deaf_server() -> (Server, (tokio::net::TcpListener, Vec<TcpStream>)) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut full = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        full.push(stream);
    }
    (Server::at(address), (listener, full))
}

#[tokio::test]
async fn while_it_waits_for_info_for_pong_or_for_a_subscription() {
    for by_drop in [false, true] {
        for phase in 0..3 {
            let broker = Broker::new().await;
            let fleet = start(vec![group(1, &[&broker])]);
            let mut peer = broker.accept().await;
            if phase > 0 {
                peer.hello().await;
            }
            if phase > 1 {
                peer.send("PONG\r\n").await;
                assert!(peer.line().await.starts_with("SUB "));
            }
            end(fleet, by_drop).await;
            peer.closed().await;
        }
    }
}

#[tokio::test]
async fn while_it_waits_before_another_dial() {
    for by_drop in [false, true] {
        let mut group = group(1, &[]);
        group.servers = vec![Broker::new().await.server()];
        let fleet = start(vec![group]);
        until(&fleet, "refused", |counts| counts.dial_failures == 1).await;
        end(fleet, by_drop).await;
    }
}

#[tokio::test]
async fn while_it_waits_for_the_turn_of_the_next_node() {
    for by_drop in [false, true] {
        let broker = Broker::new().await;
        let slow = Connect { rate_per_s: Some(0.001), in_flight: 9, timeout: LONG };
        let crowded = Connect { rate_per_s: None, in_flight: 1, timeout: LONG };
        for connect in [slow, crowded] {
            let fleet = start(vec![GroupSpec { connect, ..group(3, &[&broker]) }]);
            let mut peer = broker.accept().await;
            end(fleet, by_drop).await;
            peer.closed().await;
        }
    }
}

#[tokio::test]
async fn while_it_is_connected_idle_with_replies_to_come_or_stuck() {
    for by_drop in [false, true] {
        for busy in 0..3 {
            let broker = Broker::with_small_buffers();
            let slow = busy == 1;
            let brokers = [&broker];
            let group = if slow { patient(2, &brokers) } else { group(2, &brokers) };
            let fleet = start(vec![group]);
            let mut peers = Vec::<Peer>::new();
            for _ in 0..2 {
                peers.push(broker.accept_ready().await);
            }
            deadline(fleet.connected()).await.expect("connected");
            let requests = if busy == 0 { 0 } else { 100 };
            for id in 0..requests {
                let request = if slow { wait(id) } else { generate(id, 100_000) };
                peers[0].send(msg(&request)).await;
            }
            if requests > 0 {
                until(&fleet, "arrived", |counts| counts.messages_in > 10).await;
            }
            end(fleet, by_drop).await;
            for peer in &mut peers {
                peer.closed().await;
            }
        }
    }
}

#[tokio::test]
async fn after_it_closed_for_good() {
    for by_drop in [false, true] {
        let broker = Broker::new().await;
        let fleet = start(vec![group(1, &[&broker])]);
        let mut peer = broker.accept_ready().await;
        until(&fleet, "connected", |counts| counts.connected == 1).await;
        peer.send("-ERR 'Whatever'\r\n").await;
        until(&fleet, "closed", |counts| counts.closed_for_good == 1).await;
        if by_drop {
            end(fleet, true).await;
        } else {
            let counts = deadline(fleet.stop()).await.expect("stopped");
            assert_eq!((counts.connected, counts.disconnects), (0, 1));
        }
    }
}
