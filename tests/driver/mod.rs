//! The driver against a real broker with stand-ins for nodes.

mod counting;
mod gate;
mod probing;
mod sending;
pub(crate) mod standin;
mod trouble;

use std::sync::Arc;
use std::time::{Duration, Instant};

use choria_emulator::broker::Broker;
use choria_emulator::driver::{
    BitSet, ClientSpec, ConnectionOptions, Driver, Epoch, Roster, RunSummary, SendMode, WaveDone,
    WaveOrder,
};
use emulator::protocol::client::RequestDraft;
use emulator::protocol::filter::Filter;
use reports::wave::{WaveKey, WaveKind};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::support::{SOON, launcher, start_spec};
use standin::StandIns;

/// A broker, stand-ins and a driver.
struct Rig {
    broker: Broker,
    driver: Arc<Driver>,
    epoch: Epoch,
    stand_ins: StandIns,
    nodes: u32,
    _folder: TempDir,
}

impl Rig {
    /// Stand-ins with these identities, which are the roster too, and clients with so many receivers.
    async fn start(identities: &[&str], receivers: &[u32]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let spec = start_spec(folder.path()).await;
        let broker = Broker::start(&spec, &launcher()).await.unwrap();
        let stand_ins = StandIns::start(&broker.url(), identities).await;
        let roster = Roster::new(identities.iter().zip(0..)).unwrap();
        let nodes = roster.len();
        let epoch = Epoch::at(Instant::now());
        let clients = (1..).zip(receivers).map(|(number, &receivers)| client(number, receivers));
        let options = connection(&broker);
        let driver = Driver::connect(clients.collect(), &options, Arc::new(roster), epoch).await;
        let driver = Arc::new(driver.unwrap());
        driver.settle(SOON).await.unwrap();
        Self { broker, driver, epoch, stand_ins, nodes, _folder: folder }
    }

    /// An order by client 1 that everybody has to answer, soon.
    fn order(&self, agent: &str, kind: WaveKind, mode: SendMode) -> WaveOrder {
        order(agent, kind, mode, self.epoch.now() + Duration::from_millis(200), self.nodes)
    }

    /// Runs the orders to their ends.
    async fn run(&self, orders: Vec<WaveOrder>) -> Vec<WaveDone> {
        let (sink, mut done) = mpsc::channel(orders.len().max(1));
        let cancel = CancellationToken::new();
        let count = orders.len() as u64;
        let summary = self.driver.run(orders, sink, cancel).await.unwrap();
        assert_eq!(summary, RunSummary { done: count, cancelled: 0 });
        let mut all = Vec::new();
        while let Some(done) = done.recv().await {
            all.push(done);
        }
        all
    }
}

fn connection(broker: &Broker) -> ConnectionOptions {
    ConnectionOptions {
        servers: vec![broker.url()],
        inbox_prefix: Some("mcollective.reply".to_owned()),
        ..ConnectionOptions::default()
    }
}

fn caller_id(client: u32) -> String {
    format!("choria=client{client}.mcollective")
}

fn client(number: u32, receivers: u32) -> ClientSpec {
    ClientSpec { number, caller_id: caller_id(number), receivers, servers: Vec::new() }
}

fn order(
    agent: &str,
    kind: WaveKind,
    mode: SendMode,
    intended_at: Duration,
    nodes: u32,
) -> WaveOrder {
    let draft = RequestDraft {
        caller_id: caller_id(1),
        sender_id: "client.example.net".into(),
        collective: "mcollective".into(),
        agent: agent.into(),
        ttl_s: 60,
        filter: Filter { agent: vec![agent.into()], ..Filter::default() },
        body: "{}".into(),
    };
    WaveOrder {
        key: WaveKey { name: agent.into(), number: 1, warmup: false, client: 1 },
        kind,
        mode,
        intended_at,
        deadline: Duration::from_secs(2),
        late_grace: Duration::ZERO,
        linger: Duration::ZERO,
        draft: Arc::new(draft),
        reply_collective: "mcollective".into(),
        request_id: request_id(),
        expected: Arc::new(BitSet::full(nodes)),
    }
}

/// 32 hexadecimal characters that no other wave of the tests has.
fn request_id() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{:032x}", NEXT.fetch_add(1, Ordering::Relaxed))
}
