//! What a node does as time passes, with a clock that stands still until everybody waits: real sockets,
//! no real waiting.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::churn::come_and_go;
use super::context::Context;
use super::counts::ShardCounts;
use super::ledger::{Fate, Ledgers};
use super::node::{Node, live};
use super::{Fleet, Started};
use crate::connection::directory::Directory;
use crate::homes::Homes;
use crate::node::Group;
use crate::spec::{
    Behaviour, Churn, Clock, Connect, Delay, Fidelity, FleetSpec, GroupSpec, Lifecycle, Login,
    MoreAgents, Queue, Server, Share, Stuck,
};

const MINUTES_2: Duration = Duration::from_secs(120);

fn listener() -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    socket.listen(4).unwrap()
}

fn context(listener: &TcpListener, behaviour: Behaviour) -> Context {
    let address = listener.local_addr().unwrap();
    let spec = Arc::new(GroupSpec {
        name: "web".to_owned(),
        first: 0,
        nodes: 1,
        identity: "web{index}".to_owned(),
        collectives: vec!["mcollective".to_owned()],
        emulated_agents: 1,
        more_agents: MoreAgents::default(),
        machines: Vec::new(),
        facts: serde_json::Map::new(),
        classes: Vec::new(),
        behaviour,
        servers: vec![Server::at(address)],
        homes: Homes::default(),
        shown: None,
        source_addresses: Vec::new(),
        connect: Connect { rate_per_s: None, in_flight: 1, timeout: Duration::from_secs(2) },
        login: Login::default(),
        fidelity: Fidelity { flush_each_subscription: false, flush_each_reply: false },
        lifecycle: Lifecycle::SILENT,
    });
    // No nodes and no threads of its own beyond one that waits.
    let nobody = FleetSpec {
        seed: 1,
        groups: Vec::new(),
        share: Share::WHOLE,
        shards: 1,
        clock: Clock::System,
    };
    let fleet = Fleet::start(nobody).unwrap();
    let group = Started {
        compiled: Arc::new(Group::new(&spec).unwrap()),
        directory: Arc::new(Directory::new(&spec.servers)),
        in_flight: Arc::new(Semaphore::new(1)),
        spec,
    };
    let mut context = fleet.context(1, &group, &Arc::new(ShardCounts::default()));
    // The fleet ends here; the node does not.
    context.stop = tokio_util::sync::CancellationToken::new();
    context.ledgers = Arc::new(Ledgers::new(1, true));
    context
}

async fn life(context: &Context) {
    let permit = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
    let node = Box::new(Node::new(context, 0, 0, permit));
    match context.spec.behaviour.churn {
        Some(churn) => come_and_go(node, context, churn).await,
        None => drop(live(node, context, &context.stop).await),
    }
}

/// Runs a broker's part beside a node's life.
async fn with_node<T>(context: &Context, broker: impl Future<Output = T>) -> T {
    tokio::select! {
        () = life(context) => panic!("the node gave up"),
        value = broker => value,
    }
}

/// Everything up to and with this text.
async fn read_until(peer: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let mut bytes = [0; 4096];
        let size = peer.read(&mut bytes).await.unwrap();
        assert!(size > 0, "closed after {text:?}");
        text.push_str(std::str::from_utf8(&bytes[..size]).unwrap());
    }
    text
}

/// Accepts and answers `CONNECT`; the node has sent all its subscriptions.
async fn accept(listener: &TcpListener) -> TcpStream {
    let (mut peer, _) = listener.accept().await.unwrap();
    peer.write_all(b"INFO {\"headers\":true}\r\n").await.unwrap();
    read_until(&mut peer, "PING\r\n").await;
    peer.write_all(b"PONG\r\n").await.unwrap();
    assert!(read_until(&mut peer, "PING\r\n").await.starts_with("SUB "));
    peer
}

async fn accept_ready(listener: &TcpListener, context: &Context) -> TcpStream {
    let mut peer = accept(listener).await;
    peer.write_all(b"PONG\r\n").await.unwrap();
    while count(&context.counts.connected) == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    peer
}

fn count(counter: &std::sync::atomic::AtomicU64) -> u64 {
    counter.load(std::sync::atomic::Ordering::Relaxed)
}

#[tokio::test]
async fn a_node_pings_every_two_minutes_and_leaves_after_two_without_an_answer() {
    let listener = listener();
    let context = context(&listener, Behaviour::default());
    let broker = async {
        let mut peer = accept_ready(&listener, &context).await;
        tokio::time::pause();
        let mut last = Instant::now();
        for number in 0..5 {
            assert_eq!(read_until(&mut peer, "\r\n").await, "PING\r\n");
            let waited = last.elapsed();
            assert!(waited <= MINUTES_2 + Duration::from_millis(5), "{waited:?}");
            assert!(number == 0 || waited >= MINUTES_2 - Duration::from_millis(5), "{waited:?}");
            last = Instant::now();
            if number < 3 {
                peer.write_all(b"PONG\r\n").await.unwrap();
            }
        }
        assert_eq!(peer.read(&mut [0; 9]).await.unwrap(), 0, "no third without an answer");
        assert!(last.elapsed() >= MINUTES_2 - Duration::from_millis(5));
    };
    with_node(&context, broker).await;
    assert_eq!(count(&context.counts.stale_connections), 1);
    assert_eq!(count(&context.counts.connected), 0);
}

#[tokio::test]
async fn a_first_subscription_that_nobody_confirms_is_given_up_after_ten_seconds() {
    let listener = listener();
    let context = context(&listener, Behaviour::default());
    let broker = async {
        let mut peer = accept(&listener).await;
        tokio::time::pause();
        let began = Instant::now();
        // A ping may fall into this time; nothing else does.
        let mut text = String::new();
        peer.read_to_string(&mut text).await.unwrap();
        assert_eq!(text.replace("PING\r\n", ""), "");
        began.elapsed()
    };
    let waited = with_node(&context, broker).await;
    assert!(waited > Duration::from_secs(8) && waited < Duration::from_secs(11), "{waited:?}");
    assert_eq!(count(&context.counts.handshake_failures), 1);
}

#[tokio::test]
async fn after_a_reconnect_only_the_pings_tell_that_nobody_confirms() {
    let listener = listener();
    let context = context(&listener, Behaviour::default());
    let broker = async {
        drop(accept_ready(&listener, &context).await);
        let mut peer = accept(&listener).await;
        tokio::time::pause();
        let began = Instant::now();
        let mut text = String::new();
        peer.read_to_string(&mut text).await.unwrap();
        (text, began.elapsed())
    };
    let (text, waited) = with_node(&context, broker).await;
    assert_eq!(text, "PING\r\nPING\r\n");
    assert!(waited >= 2 * MINUTES_2 - Duration::from_secs(1), "{waited:?}");
    assert_eq!(count(&context.counts.stale_connections), 1);
}

#[tokio::test]
async fn a_node_with_overdue_replies_that_nobody_takes_still_notices() {
    let listener = listener();
    let delay = Delay::Fixed(Duration::from_secs(1));
    let context = context(
        &listener,
        Behaviour { reply_delay: delay, queue: Queue::AT_ONCE, ..Behaviour::default() },
    );
    let body = r#"{"agent":"emulated0","action":"generate","data":{"size":100000}}"#;
    let draft = crate::protocol::client::RequestDraft {
        caller_id: "choria=ops".to_owned(),
        sender_id: "ops".to_owned(),
        collective: "mcollective".to_owned(),
        agent: "emulated0".to_owned(),
        ttl_s: 3600,
        filter: crate::filter::Filter::default(),
        body: body.to_owned(),
    };
    let id = "0123456789abcdef0123456789abcdef";
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_secs()).unwrap();
    let request = crate::protocol::client::encode_request(&draft, id, "re.ply", "nats://x", now);
    let broker = async {
        let mut peer = accept_ready(&listener, &context).await;
        tokio::time::pause();
        for _ in 0..200 {
            let line = format!("MSG a 1 {}\r\n", request.len());
            peer.write_all(&[line.as_bytes(), &request, b"\r\n"].concat()).await.unwrap();
        }
        let mut waits = 0;
        while count(&context.counts.stale_connections) == 0 {
            assert!(waits < 1000, "still there after {waits} s");
            sleep(Duration::from_secs(1)).await;
            waits += 1;
        }
    };
    with_node(&context, broker).await;
    assert_eq!(count(&context.counts.messages_in), 200);
    assert!(count(&context.counts.replies) < 200);
}

/// A node of which nobody leaves but itself, in each round.
fn churning(share: f64) -> Behaviour {
    let (every, away) = (Duration::from_secs(60), Duration::from_secs(10));
    Behaviour { churn: Some(Churn { share, every, away }), ..Behaviour::default() }
}

#[tokio::test]
async fn a_node_that_leaves_is_stopped_in_order_and_comes_back_as_one_that_has_just_been_started() {
    let listener = listener();
    let mut context = context(&listener, churning(1.0));
    let spec = Arc::make_mut(&mut context.spec);
    spec.lifecycle.events.shutdown = true;
    spec.fidelity.flush_each_subscription = true;
    let mut ids = HashSet::new();
    let broker = async {
        let began = Instant::now();
        for stay in 1..4 {
            let (mut peer, _) = listener.accept().await.unwrap();
            if stay > 1 {
                tokio::time::resume();
            }
            peer.write_all(b"INFO {}\r\n").await.unwrap();
            read_until(&mut peer, "PING\r\n").await;
            // One by one, as at a first start.
            for _ in 0..context.subscriptions() {
                peer.write_all(b"PONG\r\n").await.unwrap();
                let subscription = read_until(&mut peer, "PING\r\n").await;
                assert_eq!(subscription.matches("SUB ").count(), 1, "{subscription}");
            }
            peer.write_all(b"PONG\r\n").await.unwrap();
            while count(&context.counts.connected) == 0 {
                sleep(Duration::from_millis(1)).await;
            }
            let ledger = context.ledgers.open("r");
            assert_eq!(context.ledgers.fate(&ledger, 0), Fate::NotDelivered);
            tokio::time::pause();
            let farewell = read_until(&mut peer, "PING\r\n").await;
            assert!(farewell.contains("PUB choria.lifecycle.event.shutdown"), "{farewell}");
            let id = farewell.split("\"id\":\"").nth(1).map(|rest| rest[..36].to_owned());
            assert!(ids.insert(id.unwrap()), "the id of an earlier process");
            let left = began.elapsed();
            assert!(left >= stay * Duration::from_secs(60), "{left:?}");
            assert!(left <= stay * Duration::from_secs(60) + Duration::from_secs(51), "{left:?}");
            peer.write_all(b"PONG\r\n").await.unwrap();
            assert_eq!(peer.read(&mut [0; 9]).await.unwrap(), 0);
            assert_eq!(context.ledgers.fate(&ledger, 0), Fate::Left);
            context.ledgers.close("r");
            assert_eq!(count(&context.counts.left), u64::from(stay));
            assert_eq!(count(&context.counts.returned), u64::from(stay) - 1);
        }
    };
    with_node(&context, broker).await;
    let counts = &context.counts;
    assert_eq!((count(&counts.ever_connected), count(&counts.shutdown_events)), (1, 3));
    assert_eq!((count(&counts.disconnects), count(&counts.reconnects)), (0, 0));
}

#[tokio::test]
async fn a_node_that_is_lost_when_it_is_to_leave_is_looked_for_and_does_not_leave() {
    let listener = listener();
    let context = context(&listener, churning(1.0));
    let broker = async {
        drop(accept_ready(&listener, &context).await);
        let peer = accept(&listener).await;
        tokio::time::pause();
        // Its second and third round are over; nobody has confirmed its subscriptions.
        sleep(Duration::from_secs(181)).await;
        peer
    };
    drop(with_node(&context, broker).await);
    assert_eq!((count(&context.counts.left), count(&context.counts.disconnects)), (0, 1));
}

#[tokio::test]
async fn a_stuck_node_reads_and_says_nothing_any_more_and_takes_few_bytes_in() {
    let listener = listener();
    let stuck = Some(Stuck { after: Duration::from_secs(60) });
    let context = context(&listener, Behaviour { stuck, ..Behaviour::default() });
    let broker = async {
        let mut peer = accept_ready(&listener, &context).await;
        peer.write_all(b"PING\r\n").await.unwrap();
        assert!(read_until(&mut peer, "PONG\r\n").await.ends_with("PONG\r\n"));
        tokio::time::pause();
        sleep(Duration::from_secs(61)).await;
        let mut taken = 0;
        loop {
            let writable = tokio::time::timeout(Duration::from_secs(600), peer.writable()).await;
            match writable.map(|_| peer.try_write(&[b'x'; 1024])) {
                Ok(Ok(size)) => taken += size,
                Ok(Err(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Ok(Err(error)) => panic!("{error}"),
                // Ten minutes in which it took nothing, and sent no PING either.
                Err(_) => break,
            }
        }
        assert!(
            peer.try_read(&mut [0; 9]).is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock)
        );
        let counts = &context.counts;
        // It has no idea.
        assert_eq!((count(&counts.connected), count(&counts.disconnects)), (1, 0));
        taken
    };
    let taken = with_node(&context, broker).await;
    assert!((1024..1024 * 1024).contains(&taken), "{taken} bytes");
}
