//! What nodes say without being asked, byte by byte, and how they take their leave.

use std::io::Read as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use emulator::fleet::Fleet;
use emulator::fleet::counts::FleetCounts;
use emulator::protocol::client::rpc_body;
use emulator::protocol::request::Request;
use emulator::spec::{
    Events, GroupSpec, Lifecycle, Registration, RegistrationContent, StatusFiles,
};
use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::captures::lines;

use super::script::{Broker, INFO, Peer, deadline};
use super::{SUBSCRIPTIONS, group, msg, request, start, until};

/// Events with the real interval, but no alive event falls into the test's time.
const STARTUP: Lifecycle = with(Events { startup: true, ..Lifecycle::SILENT.events });
const SHUTDOWN: Lifecycle = with(Events { shutdown: true, ..Lifecycle::SILENT.events });

const fn with(events: Events) -> Lifecycle {
    Lifecycle { events, ..Lifecycle::SILENT }
}

fn saying(lifecycle: Lifecycle, broker: &Broker) -> GroupSpec {
    GroupSpec { lifecycle, ..group(1, &[broker]) }
}

fn json_of(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// What the node says of itself when it is asked.
async fn ask(peer: &mut Peer, action: &str) -> Value {
    peer.send(msg(&request(1, "rpcutil", &rpc_body("rpcutil", action, &json!({}))))).await;
    let (_, payload) = peer.publication().await;
    let transport = json_of(&payload);
    let secure = json_of(&STANDARD.decode(transport["data"].as_str().unwrap()).unwrap());
    let reply = json_of(secure["message"].as_str().unwrap().as_bytes());
    json_of(reply["message"].as_str().unwrap().as_bytes())["data"].clone()
}

#[tokio::test]
async fn startup_comes_once_behind_the_last_subscription_and_not_after_a_reconnect() {
    let broker = Broker::new().await;
    let fleet = start(vec![saying(STARTUP, &broker)]);
    let mut peer = broker.accept_ready().await;
    let line = peer.line().await;
    assert!(line.starts_with("PUB choria.lifecycle.event.startup.server "), "{line}");
    let event = json_of(peer.line().await.as_bytes());
    assert_eq!(event["data"]["identity"], "web0.example.net");
    assert_eq!(event["data"]["version"], "0.30.2");
    until(&fleet, "counted", |counts| counts.startup_events == 1).await;
    assert_eq!(ask(&mut peer, "daemon_stats").await["events"], 1);
    drop(peer);
    let mut peer = broker.accept_ready().await;
    until(&fleet, "back", |counts| counts.reconnects == 1).await;
    peer.is_silent_and_alive().await;
    let counts = fleet.stop().await;
    assert_eq!((counts.startup_events, counts.shutdown_events), (1, 0));
}

#[tokio::test]
async fn alive_repeats_with_the_same_bytes_and_the_time_of_the_start() {
    let broker = Broker::new().await;
    let events = Events { alive: true, alive_every: Duration::from_millis(60), ..STARTUP.events };
    let fleet = start(vec![saying(with(events), &broker)]);
    let mut peer = broker.accept_ready().await;
    let (_, startup) = peer.publication().await;
    let (subject, first) = peer.publication().await;
    assert_eq!(subject, "choria.lifecycle.event.alive.server");
    for _ in 0..3 {
        assert_eq!(peer.publication().await, (subject.clone(), first.clone()));
    }
    let (startup, alive) = (json_of(&startup), json_of(&first));
    assert_eq!(alive["data"]["timestamp"], startup["data"]["timestamp"]);
    assert_ne!(alive["id"], startup["id"]);
    // The next process of the same node says the same, but for its time.
    let id = alive["id"].clone();
    until(&fleet, "counted", |counts| counts.alive_events >= 4).await;
    drop(fleet);
    let _fleet = start(vec![saying(with(events), &broker)]);
    let mut peer = broker.accept_ready().await;
    peer.publication().await;
    assert_eq!(json_of(&peer.publication().await.1)["id"], id);
}

/// What a server that leaves has said: the numbers of its subscriptions, and one event amid them.
fn farewell(said: &[String]) -> (Vec<u64>, Value) {
    let unsubscribed =
        said.iter().filter_map(|line| line.strip_prefix("UNSUB ")?.strip_suffix(' '));
    let mut left: Vec<u64> = unsubscribed.map(|number| number.parse().unwrap()).collect();
    left.sort_unstable();
    let published = |line: &String| line.starts_with("PUB choria.lifecycle.event.shutdown.server ");
    let event = said.iter().position(published).unwrap();
    assert_eq!(said.last().unwrap(), "PING");
    assert_eq!(said.len(), left.len() + 3, "{said:?}");
    (left, json_of(said[event + 1].as_bytes()))
}

#[tokio::test]
async fn shutdown_stands_amid_the_unsubscriptions_and_its_pong_is_waited_for() {
    let broker = Broker::new().await;
    let fleet = start(vec![saying(SHUTDOWN, &broker)]);
    let mut peer = broker.accept_ready().await;
    until(&fleet, "connected", |counts| counts.connected == 1).await;
    let farewell = async {
        let mut said = Vec::new();
        while said.last().is_none_or(|line| line != "PING") {
            said.push(peer.line().await);
        }
        let (left, event) = farewell(&said);
        // What was on its way gets no answer any more.
        peer.send(msg(&super::generate(1, 10))).await;
        peer.send("PONG\r\n").await;
        peer.closed().await;
        assert_eq!(left, (1..=SUBSCRIPTIONS).collect::<Vec<_>>());
        // As the recorded server, which was in two collectives with five agents.
        let all = lines("connections.jsonl");
        let recorded = all.iter().find(|line| line["name"] == "server-stop").unwrap();
        let steps = recorded["conversation"].as_array().unwrap().iter();
        let bytes = steps.filter(|step| step["from"] == "peer").map(|step| step["bytes"].as_str());
        let bytes: String = bytes.map(Option::unwrap).collect();
        let said: Vec<String> = bytes.split_terminator("\r\n").map(str::to_owned).collect();
        let (theirs, their_event) = farewell(&said);
        assert_eq!(theirs, (1..=10).collect::<Vec<_>>());
        let members = |event: &Value| {
            let names =
                |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
            (names(event), names(&event["data"]))
        };
        assert_eq!(members(&event), members(&their_event));
    };
    let (counts, ()) = tokio::join!(fleet.stop(), farewell);
    assert_eq!((counts.shutdown_events, counts.replies, counts.connected), (1, 0, 0));
    assert_eq!((counts.disconnects, counts.handshake_failures, counts.subscriptions), (0, 0, 0));
}

/// Ends a fleet whose brokers do not help.
async fn stopped(fleet: Fleet) -> FleetCounts {
    let counts = deadline(fleet.stop()).await.expect("stopped");
    assert_eq!((counts.connected, counts.disconnects), (0, 0), "we left");
    counts
}

#[tokio::test]
async fn a_broker_that_is_deaf_or_stuck_does_not_hold_up_the_end() {
    for stuck in [false, true] {
        let broker = Broker::with_small_buffers();
        let fleet = start(vec![saying(SHUTDOWN, &broker)]);
        let mut peer = broker.accept_ready().await;
        until(&fleet, "connected", |counts| counts.connected == 1).await;
        if stuck {
            for id in 0..200 {
                peer.send(msg(&super::generate(id, 100_000))).await;
            }
            // Nobody reads: after some time no further byte gets out.
            let looks = std::cell::Cell::new((0, 0));
            let same = |counts: &FleetCounts| {
                let (bytes_out, times) = looks.get();
                let times = if counts.bytes_out == bytes_out { times + 1 } else { 0 };
                looks.set((counts.bytes_out, times));
                counts.messages_in > counts.replies && times > 50
            };
            until(&fleet, "stuck", same).await;
        }
        let counts = stopped(fleet).await;
        assert_eq!(counts.shutdown_events, u64::from(!stuck));
    }
}

#[tokio::test]
async fn a_connection_lost_while_leaving_ends_the_node() {
    let broker = Broker::new().await;
    let fleet = start(vec![saying(SHUTDOWN, &broker)]);
    let mut peer = broker.accept_ready().await;
    until(&fleet, "connected", |counts| counts.connected == 1).await;
    let gone = async {
        while peer.line().await != "PING" {}
        drop(peer);
    };
    let (counts, ()) = tokio::join!(stopped(fleet), gone);
    assert_eq!((counts.shutdown_events, counts.dials), (1, 1));
}

fn registering(content: RegistrationContent, compression: bool) -> Lifecycle {
    let (interval, splay, target) = (Duration::from_millis(100), false, None);
    let registration = Registration { content, interval, splay, compression, target };
    Lifecycle { registration: Some(registration), ..Lifecycle::SILENT }
}

/// The body that a registration carries.
fn body(payload: &[u8]) -> Value {
    let request = Request::decode(payload).unwrap();
    assert_eq!((request.agent.as_str(), request.ttl_s), ("registration", 60));
    assert_eq!(request.reply_to.as_deref(), Some("dev.null"));
    json_of(&request.payload)
}

fn unpacked(body: &Value) -> Value {
    if let Some(packed) = body["zcontent"].as_str() {
        let mut text = String::new();
        let bytes = STANDARD.decode(packed).unwrap();
        GzDecoder::new(&*bytes).read_to_string(&mut text).unwrap();
        return json_of(text.as_bytes());
    }
    match &body["content"] {
        Value::String(text) => json_of(&STANDARD.decode(text).unwrap()),
        document => document.clone(),
    }
}

#[tokio::test]
async fn a_registration_holds_what_the_node_shows_when_it_is_asked() {
    let cases = [
        (RegistrationContent::Inventory, true),
        (RegistrationContent::Inventory, false),
        (RegistrationContent::File, true),
        (RegistrationContent::File, false),
    ];
    futures_util::future::join_all(cases.map(|(content, compression)| async move {
        let broker = Broker::new().await;
        let mut group = saying(registering(content, compression), &broker);
        let facts = json!({ "dc": "dc{index}", "two": 2.0, "text": "Zürich \"<&" });
        group.facts = facts.as_object().unwrap().clone();
        group.classes = vec!["role::web".to_owned(), "base".to_owned()];
        let fleet = start(vec![group]);
        let mut peer = broker.accept_ready().await;
        let inventory = ask(&mut peer, "inventory").await;
        let (subject, first) = peer.publication().await;
        assert_eq!(subject, "mcollective.broadcast.agent.registration");
        let (_, second) = peer.publication().await;
        let ids = [&first, &second].map(|payload| Request::decode(payload).unwrap().request_id);
        assert_ne!(ids[0], ids[1]);
        let body = body(&first);
        assert_eq!(body.get("zcontent").is_some(), compression);
        let shown = unpacked(&body);
        if content == RegistrationContent::File {
            assert_eq!(shown, inventory["facts"]);
        } else {
            for member in ["facts", "classes", "collectives"] {
                assert_eq!(shown[member], inventory[member], "{member}");
            }
            let names = shown["agents"].as_array().unwrap().iter().map(|agent| &agent["name"]);
            assert!(names.eq(inventory["agents"].as_array().unwrap()));
            assert_eq!(shown["status"]["stats"]["total"], 1);
            assert_eq!(shown["status"]["identity"], "web0.example.net");
        }
        until(&fleet, "counted", |counts| counts.registrations >= 2).await;
    }))
    .await;
}

#[tokio::test]
async fn a_registration_larger_than_the_broker_takes_is_counted_and_not_sent() {
    let broker = Broker::new().await;
    let fleet = start(vec![saying(registering(RegistrationContent::Inventory, false), &broker)]);
    let mut peer = broker.accept().await;
    peer.hello_with(&INFO.replace("1048576", "500")).await;
    peer.subscribe().await;
    let counts = until(&fleet, "refused", |counts| counts.unpublishable >= 2).await;
    assert_eq!((counts.registrations, counts.connected), (0, 1));
    peer.is_silent_and_alive().await;
}

#[tokio::test]
async fn the_first_nodes_keep_a_status_file() {
    let broker = Broker::new().await;
    let folder = tempfile::tempdir().unwrap();
    let (path, every) = (folder.path().to_owned(), Duration::from_millis(10));
    let status_files = Some(StatusFiles { folder: path, every, nodes: 1 });
    let lifecycle = Lifecycle { status_files, ..Lifecycle::SILENT };
    let fleet = start(vec![GroupSpec { lifecycle, ..group(2, &[&broker]) }]);
    let mut peers = [broker.accept_ready().await, broker.accept_ready().await];
    let file = folder.path().join("web0.example.net.json");
    let status = || std::fs::read(&file).ok().map(|bytes| json_of(&bytes));
    until(&fleet, "written", |_| status().is_some()).await;
    for peer in &mut peers {
        ask(peer, "ping").await;
    }
    until(&fleet, "renewed", |_| status().is_some_and(|s| s["stats"]["replies"] == 1)).await;
    let status = status().unwrap();
    assert_eq!(status["connected_server"], broker.server().url);
    assert!(status["last_message"].as_i64().unwrap() > 0);
    fleet.stop().await;
    let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["web0.example.net.json"]);
}

#[tokio::test]
async fn without_a_connection_the_status_file_is_kept_and_names_no_broker() {
    let broker = Broker::new().await;
    let folder = tempfile::tempdir().unwrap();
    let (path, every) = (folder.path().to_owned(), Duration::from_millis(10));
    let status_files = Some(StatusFiles { folder: path, every, nodes: 1 });
    let fleet = start(vec![saying(Lifecycle { status_files, ..Lifecycle::SILENT }, &broker)]);
    let file = folder.path().join("web0.example.net.json");
    let names = |url: &str| {
        std::fs::read(&file).is_ok_and(|bytes| json_of(&bytes)["connected_server"] == url)
    };
    let url = broker.server().url;
    let peer = broker.accept_ready().await;
    until(&fleet, "written", |_| names(&url)).await;
    drop(peer);
    until(&fleet, "lost", |counts| counts.disconnects == 1 && names("")).await;
    let mut peer = broker.accept_ready().await;
    until(&fleet, "back", |counts| counts.reconnects == 1 && names(&url)).await;
    // Its library never comes back; its process is still there.
    peer.send("-ERR 'Whatever'\r\n").await;
    until(&fleet, "closed", |counts| counts.closed_for_good == 1 && names("")).await;
    assert_eq!(fleet.stop().await.status_file_failures, 0);
}

#[tokio::test]
async fn a_status_file_that_cannot_be_written_is_counted_and_costs_nothing_else() {
    let broker = Broker::new().await;
    let parent = tempfile::tempdir().unwrap();
    let of = |folder| {
        let status_files = Some(StatusFiles { folder, every: Duration::from_secs(600), nodes: 9 });
        saying(Lifecycle { status_files, ..Lifecycle::SILENT }, &broker)
    };
    let folder = parent.path().join("status");
    let fleet = start(vec![of(folder.clone())]);
    std::fs::remove_dir(folder).unwrap();
    let mut peer = broker.accept_ready().await;
    until(&fleet, "counted", |counts| counts.status_file_failures == 1).await;
    ask(&mut peer, "ping").await;
    let file = parent.path().join("file");
    std::fs::write(&file, "").unwrap();
    let refused = Fleet::start(super::spec(vec![of(file.join("status"))])).err().unwrap();
    assert!(refused.to_string().starts_with("folder "), "{refused}");
}
