//! What nodes learn from a real cluster: a broker that joins it, and one that is about to leave.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use choria_emulator::broker::Broker;
use emulator::fleet::Fleet;
use emulator::fleet::counts::FleetCounts;
use emulator::homes::Homes;
use emulator::protocol::client::{DISCOVERY_BODY, RequestDraft, encode_request};
use emulator::protocol::filter::Filter;
use emulator::spec::{
    Behaviour, Clock, Connect, Fidelity, FleetSpec, GroupSpec, Lifecycle, Login, MoreAgents,
    Server, Share,
};
use futures_util::StreamExt as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{SOON, launcher, start_spec};

pub(super) const NODES: u64 = 3;

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A member of the cluster, joined to the one that listens for others at `route`.
async fn member(folder: &Path, name: &str, port: u16, route: Option<u16>) -> Broker {
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let mut spec = start_spec(&folder).await;
    spec.name = name.to_owned();
    let routes = route.map(|port| format!("\"nats-route://127.0.0.1:{port}\"")).unwrap_or_default();
    spec.extra_config =
        format!("cluster {{ name: C1, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}");
    Broker::start(&spec, &launcher()).await.unwrap_or_else(|error| panic!("{error}"))
}

fn nodes_at(broker: &Broker) -> Fleet {
    nodes_behaving(broker, Behaviour::default())
}

/// Nodes that know this broker.
pub(super) fn nodes_behaving(broker: &Broker, behaviour: Behaviour) -> Fleet {
    let group = GroupSpec {
        homes: Homes::default(),
        name: "web".to_owned(),
        first: 0,
        nodes: NODES,
        identity: "web{index}.example.net".to_owned(),
        collectives: vec!["mcollective".to_owned()],
        emulated_agents: 1,
        more_agents: MoreAgents::default(),
        machines: Vec::new(),
        facts: serde_json::Map::new(),
        classes: Vec::new(),
        behaviour,
        servers: vec![Server::at(broker.client().into())],
        source_addresses: Vec::new(),
        connect: Connect { rate_per_s: None, in_flight: 10, timeout: Duration::from_secs(2) },
        login: Login::default(),
        fidelity: Fidelity::default(),
        shown: None,
        lifecycle: Lifecycle::default(),
    };
    let (groups, share) = (vec![group], Share::WHOLE);
    Fleet::start(FleetSpec { seed: 1, groups, share, shards: 1, clock: Clock::System }).unwrap()
}

pub(super) async fn until(
    fleet: &Fleet,
    what: &str,
    reached: impl Fn(&FleetCounts) -> bool,
) -> FleetCounts {
    let search = async {
        while !reached(&fleet.counts()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        fleet.counts()
    };
    let found = tokio::time::timeout(SOON, search).await;
    found.unwrap_or_else(|_| panic!("never came: {what}; {:?}", fleet.counts()))
}

/// A request, valid now.
pub(super) fn request(broker: &Broker, id: &str, agent: &str, body: &str, to: &str) -> Vec<u8> {
    let draft = RequestDraft {
        caller_id: "choria=ops1.example.net".to_owned(),
        sender_id: "ops1.example.net".to_owned(),
        collective: "mcollective".to_owned(),
        agent: agent.to_owned(),
        ttl_s: 60,
        filter: Filter::default(),
        body: body.to_owned(),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    encode_request(&draft, id, to, &broker.url(), i64::try_from(now).unwrap())
}

/// Who answers a discovery that is sent through this broker.
pub(super) async fn discovered_at(broker: &Broker) -> u64 {
    let client = async_nats::connect(broker.url()).await.unwrap();
    let replies = client.subscribe("mcollective.reply.x.y").await.unwrap();
    client.flush().await.unwrap();
    let request =
        request(broker, &"0".repeat(32), "discovery", DISCOVERY_BODY, "mcollective.reply.x.y");
    client.publish("mcollective.broadcast.agent.discovery", request.into()).await.unwrap();
    let mut replies = replies.take(usize::try_from(NODES).unwrap());
    let mut count = 0;
    while tokio::time::timeout(SOON, replies.next()).await.unwrap().is_some() {
        count += 1;
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_learn_of_a_broker_that_joins_and_go_there_when_theirs_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let (port, other_port) = (free_port(), free_port());
    let first = member(folder.path(), "n1", port, None).await;
    let fleet = nodes_at(&first);
    tokio::time::timeout(SOON, fleet.connected()).await.unwrap();
    assert_eq!(fleet.counts().servers_learnt, 0, "there is nobody else yet");

    let second = member(folder.path(), "n2", other_port, Some(port)).await;
    let counts = until(&fleet, "learnt", |counts| counts.servers_learnt == NODES).await;
    assert_eq!((counts.connected, counts.disconnects, counts.lame_ducks), (NODES, 0, 0));

    kill(Pid::from_raw(first.pid()), Signal::SIGUSR2).unwrap();
    until(&fleet, "told", |counts| counts.lame_ducks >= NODES).await;
    let there = |counts: &FleetCounts| counts.reconnects == NODES && counts.connected == NODES;
    let counts = until(&fleet, "at the other", there).await;
    // Straight there: the one that leaves is at the end of the list, and does not answer any more.
    assert_eq!((counts.dials, counts.dial_failures), (2 * NODES, 0));
    assert_eq!(counts.servers_learnt, NODES);
    assert_eq!(discovered_at(&second).await, NODES);
    fleet.stop().await;
}
