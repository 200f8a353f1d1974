//! Cancelled runs, full sinks, brokers that go away or refuse.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use choria_emulator::broker::{Broker, PortChoice};
use choria_emulator::driver::{
    ClientError, ConnectionOptions, Driver, DriverError, Epoch, IncidentKind, Roster, RunSummary,
    Secret, SendMode, WaveDone, WaveFailure, WaveOrder,
};
use reports::wave::{WaveKey, WaveKind};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::gate::{Gate, Pass};
use super::standin::StandIns;
use super::{Rig, client, connection};
use crate::support::{SOON, launcher, start_spec};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_run_ends_at_once_with_what_was_seen() {
    let rig = Rig::start(&["odd", "good"], &[1]).await;
    let running = rig.order("silent", WaveKind::Request, SendMode::Broadcast);
    let running = WaveOrder { deadline: SOON * 10, ..running };
    let waiting = rig.order("proper", WaveKind::Request, SendMode::Broadcast);
    let waiting = WaveOrder { intended_at: SOON * 10, ..waiting };
    let (sink, mut done) = mpsc::channel(1);
    let cancel = CancellationToken::new();
    let stop = async {
        rig.stand_ins.answered(1).await;
        cancel.cancel();
    };
    let run = rig.driver.run(vec![running, waiting], sink, cancel.clone());
    let (summary, ()) =
        tokio::time::timeout(SOON, async { tokio::join!(run, stop) }).await.unwrap();
    assert_eq!(summary, Ok(RunSummary { done: 1, cancelled: 1 }));
    let wave = done.recv().await.unwrap();
    assert!(wave.interrupted && wave.failure.is_none());
    assert_eq!((wave.result.expected, wave.result.late), (2, 0));
    assert!(wave.result.request_duration < SOON);
    assert!(done.recv().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_sink_holds_up_no_wave() {
    let rig = Rig::start(&["a"], &[1]).await;
    let orders = (1..=4).map(|number| {
        let order = rig.order("proper", WaveKind::Request, SendMode::Broadcast);
        WaveOrder { key: WaveKey { number, ..order.key }, deadline: SOON, ..order }
    });
    let (sink, mut done) = mpsc::channel(1);
    let run = rig.driver.run(orders.collect(), sink, CancellationToken::new());
    let read = async {
        // Nothing is read before every wave has been sent.
        rig.stand_ins.answered(4).await;
        let mut numbers = Vec::new();
        while let Some(wave) = done.recv().await {
            assert_eq!(wave.result.on_time, 1);
            numbers.push(wave.key.number);
        }
        numbers.sort_unstable();
        numbers
    };
    let (summary, numbers) = tokio::join!(run, read);
    assert_eq!(summary, Ok(RunSummary { done: 4, cancelled: 0 }));
    assert_eq!(numbers, [1, 2, 3, 4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_sink_is_dropped_ends() {
    let rig = Rig::start(&["a"], &[1]).await;
    let first = rig.order("proper", WaveKind::Request, SendMode::Broadcast);
    let later = WaveOrder { intended_at: SOON * 10, ..first.clone() };
    let (sink, done) = mpsc::channel(1);
    drop(done);
    let run = rig.driver.run(vec![first, later], sink, CancellationToken::new());
    let summary = tokio::time::timeout(SOON, run).await.unwrap();
    assert_eq!(summary, Ok(RunSummary { done: 1, cancelled: 1 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_dies_in_mid_wave_leaves_what_was_seen_and_an_incident() {
    let Rig { broker, driver, epoch, stand_ins, nodes, _folder } =
        Rig::start(&["odd", "good"], &[1]).await;
    let at = epoch.now() + Duration::from_millis(200);
    let wave = super::order("silent", WaveKind::Request, SendMode::Broadcast, at, nodes);
    let next = super::order("proper", WaveKind::Request, SendMode::Broadcast, at, nodes);
    let next = WaveOrder { intended_at: at + Duration::from_millis(2_500), ..next };
    let (sink, mut done) = mpsc::channel(2);
    let run = driver.run(vec![wave, next], sink, CancellationToken::new());
    let die = async {
        stand_ins.answered(1).await;
        // What now comes through the broker to the driver comes after the good node's reply.
        driver.settle(SOON).await.unwrap();
        broker.stop(SOON).await;
    };
    let (summary, _) = tokio::time::timeout(SOON, async { tokio::join!(run, die) }).await.unwrap();
    assert_eq!(summary, Ok(RunSummary { done: 2, cancelled: 0 }));
    let first = done.recv().await.unwrap();
    assert_eq!((first.result.on_time, first.result.missing()), (1, 1));
    let second = done.recv().await.unwrap();
    assert_eq!((second.result.on_time, second.result.missing()), (0, 2));
    assert!(second.failure.is_some(), "its subscription was not confirmed");
    assert_eq!(stand_ins.seen().len(), 1);
    let lost = driver.incidents().0;
    let lost = lost.iter().filter(|incident| incident.kind == IncidentKind::Disconnected);
    assert_eq!(lost.count(), 2, "publisher and receiver");
}

/// Two waves of which the second is prepared with the first; receivers are let pass so from the end of the first until
/// 200 ms after the second is to be sent. Returns the second.
async fn second_wave(pass: Pass) -> WaveDone {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(&start_spec(folder.path()).await, &launcher()).await.unwrap();
    let gate = Gate::before(&broker.url()).await;
    let _stand_ins = StandIns::start(&broker.url(), &["a"]).await;
    let roster = Arc::new(Roster::new([("a", 0)]).unwrap());
    let epoch = Epoch::at(Instant::now());
    let options = ConnectionOptions { servers: vec![gate.url()], ..connection(&broker) };
    let driver = Driver::connect(vec![client(1, 1)], &options, roster, epoch).await.unwrap();
    driver.settle(SOON).await.unwrap();
    let at = [300, 3_300].map(|ms| epoch.now() + Duration::from_millis(ms));
    let orders = at.map(|at| WaveOrder {
        deadline: Duration::from_secs(5),
        ..super::order("proper", WaveKind::Request, SendMode::Broadcast, at, 1)
    });
    let (sink, mut done) = mpsc::channel(2);
    let run = driver.run(orders.into(), sink, CancellationToken::new());
    let happen = async {
        let first = done.recv().await.unwrap();
        assert_eq!((first.result.on_time, first.failure), (1, None));
        gate.let_receivers(pass);
        tokio::time::sleep_until(epoch.instant(at[1] + Duration::from_millis(200))).await;
        gate.let_receivers(Pass::Free);
        done.recv().await.unwrap()
    };
    let both = async { tokio::join!(run, happen) };
    let (_, second) = tokio::time::timeout(SOON, both).await.unwrap();
    broker.stop(SOON).await;
    second
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wave_loses_no_reply_where_its_broker_takes_long_to_hear_of_a_subscription() {
    let wave = second_wave(Pass::Mute).await;
    assert_eq!((wave.result.on_time, wave.failure), (1, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wave_whose_receiver_is_away_since_it_had_subscribed_says_so() {
    let wave = second_wave(Pass::Broken).await;
    assert_eq!(wave.failure, Some(WaveFailure::Unconfirmed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_broker_came_back_waves_are_complete_again() {
    let rig = Rig::start(&["a", "b"], &[3]).await;
    let Rig { broker, driver, epoch, stand_ins: _stand_ins, nodes, _folder: folder } = rig;
    let mut spec = start_spec(folder.path()).await;
    let (client, monitor) = (broker.client().port(), broker.monitor().port());
    spec.ports = PortChoice::Fixed { client, monitor };
    broker.stop(SOON).await;
    let broker = Broker::start(&spec, &launcher()).await.unwrap();
    let back = async {
        // The driver's four connections, and the stand-ins with two subscriptions. A broker tells
        // nobody about them by itself, so it is asked until the deadline below.
        while let varz = broker.sample().await.unwrap().varz
            && (varz.connections < 5 || varz.subscriptions < 2)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        driver.settle(SOON).await.unwrap();
    };
    tokio::time::timeout(SOON, back).await.unwrap();
    let at = epoch.now() + Duration::from_millis(200);
    let wave = super::order("proper", WaveKind::Request, SendMode::Broadcast, at, nodes);
    let (sink, mut done) = mpsc::channel(1);
    let wave = WaveOrder { deadline: SOON, ..wave };
    driver.run(vec![wave], sink, CancellationToken::new()).await.unwrap();
    assert_eq!(done.recv().await.unwrap().result.on_time, 2);
    let kinds: Vec<_> = driver.incidents().0.into_iter().map(|incident| incident.kind).collect();
    for kind in [IncidentKind::Disconnected, IncidentKind::Reconnected] {
        assert_eq!(kinds.iter().filter(|seen| **seen == kind).count(), 4, "{kinds:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_that_do_not_fit_the_driver_are_refused_before_anything_is_sent() {
    let rig = Rig::start(&["a", "b"], &[1]).await;
    let good = rig.order("proper", WaveKind::Request, SendMode::Broadcast);
    let foreign_client = {
        let mut order = good.clone();
        order.key.client = 7;
        order
    };
    let foreign_caller = {
        let mut order = good.clone();
        Arc::make_mut(&mut order.draft).caller_id = super::caller_id(2);
        order
    };
    let foreign_roster = super::order("x", good.kind, good.mode, good.intended_at, 3);
    for order in [foreign_client, foreign_caller, foreign_roster] {
        let (sink, _done) = mpsc::channel(1);
        let shown = format!("{order:?}");
        let orders = vec![good.clone(), order];
        let refused = rig.driver.run(orders, sink, CancellationToken::new()).await.unwrap_err();
        assert!(!matches!(refused, DriverError::Panicked(_)), "{shown}: {refused}");
    }
    assert_eq!(rig.stand_ins.seen().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_named_as_the_real_client_names_them_and_gone_when_closed() {
    let rig = Rig::start(&["a"], &[1, 3]).await;
    let connections = format!("http://{}/connz", rig.broker.monitor());
    let names = async || {
        let url = connections.clone();
        let listed = tokio::task::spawn_blocking(move || {
            let mut answer = ureq::get(&url).call().unwrap();
            answer.body_mut().read_json::<serde_json::Value>().unwrap()
        });
        let listed = listed.await.unwrap();
        let name = |connection: &serde_json::Value| Some(connection["name"].as_str()?.to_owned());
        listed["connections"].as_array().unwrap().iter().filter_map(name).collect::<BTreeSet<_>>()
    };
    let ends = ["1.mcollective-publisher", "1.mcollective-receiver0", "2.mcollective-publisher"];
    let more = ["2.mcollective-receiver0", "2.mcollective-receiver1", "2.mcollective-receiver2"];
    let expected = ends.iter().chain(&more).map(|end| format!("choria=client{end}"));
    assert_eq!(names().await, expected.collect());

    rig.driver.close().await;
    let gone = async {
        while !names().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, gone).await.unwrap();
    assert_eq!(rig.driver.incidents().0, [], "closing is no incident");
}

async fn connect(options: &ConnectionOptions) -> Result<Driver, ClientError> {
    let roster = Arc::new(Roster::new([("a", 0)]).unwrap());
    Driver::connect(vec![client(1, 1)], options, roster, Epoch::at(Instant::now())).await
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_an_error_that_names_it() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("nats://127.0.0.1:{port}");
    let options = ConnectionOptions { servers: vec![url.clone()], ..ConnectionOptions::default() };
    let error = connect(&options).await.err().unwrap().to_string();
    assert!(error.contains(&url) && error.contains("client1.mcollective-publisher"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_are_used_and_missing_permissions_show_before_the_first_wave() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = start_spec(folder.path()).await;
    spec.extra_config = r#"
        authorization { users: [
            { user: able, password: secret }
            { user: deaf, password: secret, permissions: { subscribe: { deny: "mcollective.>" } } }
        ] }"#
        .to_owned();
    let broker = Broker::start(&spec, &launcher()).await.unwrap();
    let with = |user: &str, password: &str| ConnectionOptions {
        user: Some(user.to_owned()),
        password: Some(Secret::new(password)),
        ..connection(&broker)
    };
    let refused = connect(&with("able", "wrong")).await.err().unwrap();
    assert!(matches!(refused, ClientError::Connect { .. }), "{refused}");
    let able = connect(&with("able", "secret")).await.unwrap();
    able.settle(SOON).await.unwrap();
    let deaf = connect(&with("deaf", "secret")).await.unwrap();
    let refused = deaf.settle(Duration::from_millis(300)).await.unwrap_err();
    assert!(matches!(refused, ClientError::Deaf { .. }), "{refused}");
    let (incidents, _) = deaf.incidents();
    let denied = |kind: &IncidentKind| matches!(kind, IncidentKind::ServerError(text) if text.contains("ermissions"));
    assert!(incidents.iter().any(|incident| denied(&incident.kind)), "{incidents:?}");
}
