//! A worker as a NATS micro service: what `nats micro ls`, `info` and `stats` are answered, read by the types of NATS' own
//! client library.

use std::time::Duration;

use async_nats::Client;
use async_nats::service::{Info, PingResponse, Stats};
use nix::sys::signal::Signal;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::apart::{TOKEN, conductor_over, control_broker, worker};
use super::handmade::{line, next};
use super::rig::{Program, left_in};
use super::workers::{LONG, NODES, text};
use crate::support::SOON;
use choria_emulator::control::Subjects;
use choria_emulator::control::messages::Beat;

const NAME: &str = "choria-emulator-worker";
const COUNTERS: &str = "choria_emulator.worker.east";

/// Asks until somebody answers; what was said is of a type that NATS defines.
async fn ask<T: DeserializeOwned>(client: &Client, subject: &str) -> T {
    let asked = async {
        loop {
            match client.request(subject.to_owned(), "".into()).await {
                Ok(answer) => return serde_json::from_slice(&answer.payload).unwrap(),
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    };
    timeout(SOON, asked).await.unwrap_or_else(|_| panic!("nobody answers {subject}"))
}

/// What it says of itself does not change while it is there.
async fn check_identity(client: &Client, pid: i32) -> String {
    let ping: PingResponse = ask(client, &format!("$SRV.PING.{NAME}")).await;
    assert_eq!((ping.kind.as_str(), ping.name.as_str()), ("io.nats.micro.v1.ping_response", NAME));
    assert_eq!(ping.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(
        (&ping.metadata["worker"], &ping.metadata["pid"]),
        (&"east".into(), &pid.to_string())
    );
    let info: Info = ask(client, &format!("$SRV.INFO.{NAME}.{}", ping.id)).await;
    assert_eq!((info.kind.as_str(), &info.id), ("io.nats.micro.v1.info_response", &ping.id));
    assert_eq!(info.metadata, ping.metadata);
    let endpoints = info.endpoints.iter();
    assert!(
        endpoints.map(|it| (it.name.as_str(), it.subject.as_str())).eq([("counters", COUNTERS)])
    );
    // `nats micro ls` asks all services at once.
    let all: PingResponse = ask(client, "$SRV.PING").await;
    assert_eq!(all.id, ping.id);
    ping.id
}

/// How often its counters were asked for, and the data of its statistics.
async fn stats(client: &Client, id: &str) -> (u64, Value) {
    let stats: Stats = ask(client, &format!("$SRV.STATS.{NAME}.{id}")).await;
    assert_eq!((stats.kind.as_str(), stats.id.as_str()), ("io.nats.micro.v1.stats_response", id));
    let [counters] = &stats.endpoints[..] else { panic!("one endpoint") };
    assert_eq!((counters.name.as_str(), counters.errors), ("counters", 0));
    (counters.requests.try_into().unwrap(), counters.data.clone().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_a_micro_service_from_when_it_waits_for_a_run_until_it_has_gone() {
    let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let control = control_broker(folders[0].path(), "").await;
    let url = control.url();
    let east = Program::start(worker(&url, "east", &TOKEN), folders[1].path());
    let line = line(&url, "operator").await;
    let client = line.client();
    let id = check_identity(client, east.pid()).await;
    let (asked, data) = stats(client, &id).await;
    assert_eq!((asked, &data["run"]), (0, &Value::Null));
    assert_eq!(data["counters"]["connected"], 0);

    let mut beats = line.listen(Subjects::BEAT).await.unwrap();
    let text = text(LONG, "").await;
    let program = conductor_over((&url, &TOKEN), folders[2].path(), &text, "1");
    program.wait_for("wave", 1);
    assert_eq!(check_identity(client, east.pid()).await, id);
    let counters: Value = ask(client, COUNTERS).await;
    assert_eq!(counters["connected"], NODES);
    let (asked, first) = stats(client, &id).await;
    assert_eq!((asked, &first["run"]), (1, &next::<Beat>(&mut beats).await.1.run.into()));
    assert_eq!(first["counters"]["connected"], NODES);
    let _: Value = ask(client, COUNTERS).await;
    program.wait_for("wave", 4);
    let (asked, later) = stats(client, &id).await;
    let replies = |data: &Value| data["counters"]["replies"].as_u64().unwrap();
    assert_eq!(asked, 2);
    assert!(replies(&first) >= NODES && replies(&later) > replies(&first), "{first} {later}");

    program.signal(Signal::SIGINT);
    assert_eq!(program.end().code, Some(130));
    assert_eq!(east.end().code, Some(0));
    let gone = client.request(format!("$SRV.PING.{NAME}"), "".into()).await;
    assert!(gone.is_err(), "{gone:?}");
    assert_eq!(left_in(folders[2].path()).summary.fleet.workers, 1);
    control.stop(Duration::ZERO).await;
}
