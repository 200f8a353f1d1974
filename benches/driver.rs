//! CPU of the driver per reply: one client, waves of prepared replies through a real nats-server.
//!
//! `cargo bench --bench driver [-- REPLIES [WAVES]]` (default 20,000 replies, 10 waves). The replies
//! come from a child process, so that user and system time of this process are the driver's alone:
//! client library, decoding and accounting. The nats-server is that of
//! `CHORIA_EMULATOR_NATS_SERVER`, or one on PATH or in the cache. Prints a line a wave, the median, and
//! what decoding alone costs in the same run.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench says what it finds, or that it found nothing by a panic"
)]

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use choria_emulator::broker::obtain::{self, Request, Sources};
use choria_emulator::broker::{Broker, StartSpec};
use choria_emulator::child::Launcher;
use choria_emulator::driver::{
    BitSet, ClientSpec, ConnectionOptions, Driver, Epoch, Roster, SendMode, WaveDone, WaveOrder,
};
use emulator::protocol::client::{ReplyScratch, RequestDraft, decode_reply};
use emulator::protocol::filter::Filter;
use futures_util::StreamExt;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use reports::wave::{WaveKey, WaveKind};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Set for the child that sends the replies: the broker's URL.
const FEEDER_URL: &str = "DRIVER_BENCH_FEEDER_URL";
/// Set for the child: how many replies it sends to a request.
const FEEDER_REPLIES: &str = "DRIVER_BENCH_FEEDER_REPLIES";
/// The agent that the child answers for.
const AGENT: &str = "bench";
/// The caller of all requests.
const CALLER: &str = "choria=bench.mcollective";

fn main() {
    let threads = if env::var_os(FEEDER_URL).is_some() { 1 } else { 2 };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .unwrap();
    match env::var(FEEDER_URL) {
        Ok(url) => runtime.block_on(feed(&url, env::var(FEEDER_REPLIES).unwrap().parse().unwrap())),
        Err(_) => runtime.block_on(measure()),
    }
}

async fn measure() {
    let mut numbers = env::args().skip(1).filter_map(|argument| argument.parse::<u32>().ok());
    let replies = numbers.next().unwrap_or(20_000);
    let waves = numbers.next().unwrap_or(10);
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path()).await;
    let _feeder = Feeder::start(&broker.url(), replies);

    let roster = Arc::new(Roster::new((0..replies).map(|n| (identity(n), n.into()))).unwrap());
    let options = ConnectionOptions { servers: vec![broker.url()], ..Default::default() };
    let client =
        ClientSpec { number: 1, caller_id: CALLER.into(), receivers: 1, servers: Vec::new() };
    let epoch = Epoch::at(Instant::now());
    let driver = Driver::connect(vec![client], &options, roster, epoch).await.unwrap();
    driver.settle(Duration::from_secs(10)).await.unwrap();
    wait_for_feeder(&driver, epoch, replies).await;

    println!("nats-server {}, {replies} replies a wave", broker.at_start().version);
    let mut costs = Vec::new();
    for number in 1..=waves {
        let before = cpu_us();
        let done = wave(&driver, order(epoch, number, replies, Duration::from_secs(60))).await;
        let cost = (cpu_us() - before) / f64::from(replies);
        assert_eq!(done.result.on_time, u64::from(replies), "{:?}", done.failure);
        let took_ms = done.result.request_duration.as_secs_f64() * 1e3;
        let backlog = done.backlog_max;
        println!("wave {number:>2}: {cost:6.2} us a reply, {took_ms:7.1} ms, backlog {backlog}");
        costs.push(cost);
    }
    costs.sort_by(f64::total_cmp);
    println!("median:  {:6.2} us of driver CPU a reply (mark: 10)", costs[costs.len() / 2]);
    println!("decode:  {:6.2} us of it", decoding_us());
    let (incidents, _) = driver.incidents();
    println!("bytes a reply: {}; incidents: {}", reply(0).len(), incidents.len());
}

/// Waits until the child answers: it starts by itself.
async fn wait_for_feeder(driver: &Driver, epoch: Epoch, replies: u32) {
    for attempt in 0..60 {
        let order = order(epoch, attempt, replies, Duration::from_secs(1));
        if wave(driver, order).await.result.on_time > 0 {
            return;
        }
    }
    panic!("the feeding process does not answer");
}

async fn wave(driver: &Driver, order: WaveOrder) -> WaveDone {
    let (sink, mut done) = mpsc::channel(1);
    driver.run(vec![order], sink, CancellationToken::new()).await.unwrap();
    done.recv().await.unwrap()
}

fn order(epoch: Epoch, number: u32, replies: u32, deadline: Duration) -> WaveOrder {
    let draft = RequestDraft {
        caller_id: CALLER.into(),
        sender_id: "bench.example.net".into(),
        collective: "mcollective".into(),
        agent: AGENT.into(),
        ttl_s: 60,
        filter: Filter::default(),
        body: "{}".into(),
    };
    WaveOrder {
        key: WaveKey { name: AGENT.into(), number, warmup: false, client: 1 },
        kind: WaveKind::Request,
        mode: SendMode::Broadcast,
        intended_at: epoch.now() + Duration::from_millis(50),
        deadline,
        late_grace: Duration::ZERO,
        linger: Duration::ZERO,
        draft: Arc::new(draft),
        reply_collective: "mcollective".into(),
        request_id: format!("{:032x}", epoch.now().as_nanos()),
        expected: Arc::new(BitSet::full(replies)),
    }
}

/// User and system time of this process so far, in microseconds.
fn cpu_us() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64
}

/// CPU of decoding one reply, in microseconds.
fn decoding_us() -> f64 {
    const TIMES: u32 = 50_000;
    let (reply, mut scratch) = (reply(0), ReplyScratch::default());
    let before = cpu_us();
    for _ in 0..TIMES {
        let reply = decode_reply(std::hint::black_box(&reply), &mut scratch).unwrap();
        std::hint::black_box(reply.sender_id);
    }
    (cpu_us() - before) / f64::from(TIMES)
}

async fn broker(folder: &Path) -> Broker {
    let path = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect::<Vec<_>>();
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
    let named = env::var_os("CHORIA_EMULATOR_NATS_SERVER").map(PathBuf::from);
    let request = Request { path: named, ..Request::default() };
    let program = obtain::obtain(request, Sources::usual(cache, path), |_| {}).await.unwrap();
    let spec = StartSpec::alone(program, folder.to_owned(), Duration::from_secs(30));
    let launcher = Launcher::of_other(PathBuf::from(env!("CARGO_BIN_EXE_choria-emulator")));
    Broker::start(&spec, &launcher).await.unwrap()
}

/// The child process that sends the replies; killed when dropped.
struct Feeder(Child);

impl Feeder {
    fn start(url: &str, replies: u32) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.env(FEEDER_URL, url).env(FEEDER_REPLIES, replies.to_string());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Answers every request with one reply of each identity, made before.
async fn feed(url: &str, replies: u32) {
    let replies: Vec<bytes::Bytes> = (0..replies).map(|number| reply(number).into()).collect();
    let client = async_nats::connect(url).await.unwrap();
    let subject = format!("mcollective.broadcast.agent.{AGENT}");
    let mut requests = client.subscribe(subject).await.unwrap();
    while let Some(request) = requests.next().await {
        let transport: Value = serde_json::from_slice(&request.payload).unwrap();
        let to = transport["headers"]["reply-to"].as_str().unwrap().to_owned();
        for reply in &replies {
            client.publish(to.clone(), reply.clone()).await.unwrap();
        }
    }
}

fn identity(number: u32) -> String {
    format!("default-{number}.choria.local")
}

/// A reply as a node sends it to `generate` with 100 bytes. The request id is not checked by clients.
fn reply(number: u32) -> Vec<u8> {
    let data = json!({"message": "x".repeat(100)});
    let body = json!({"action": "generate", "statuscode": 0, "statusmsg": "OK", "data": data});
    let sender = identity(number);
    let envelope =
        json!({"requestid": "0".repeat(32), "senderid": sender, "agent": AGENT, "time": 0});
    let reply =
        json!({"protocol": "choria:reply:1", "message": body.to_string(), "envelope": envelope});
    let reply = reply.to_string();
    let hash = BASE64_STANDARD.encode(Sha256::digest(&reply));
    let secure = json!({"protocol": "choria:secure:reply:1", "message": reply, "hash": hash});
    let hop = json!(["nats://127.0.0.1:4222", sender, "nats://127.0.0.1:4222"]);
    let transport = json!({
        "protocol": "choria:transport:1",
        "data": BASE64_STANDARD.encode(secure.to_string()),
        "headers": {"mc_sender": sender, "seen-by": [hop]},
    });
    transport.to_string().into_bytes()
}
