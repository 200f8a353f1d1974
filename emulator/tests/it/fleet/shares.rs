//! A node is the same node whichever process carries it: of a fleet in one process and the same in many, every node
//! shows the same of itself, at the same broker, and answers alike.

use std::collections::BTreeMap;

use emulator::fleet::Fleet;
use emulator::homes::{Home, Homes};
use emulator::protocol::client::{ReplyScratch, decode_reply, rpc_body};
use emulator::spec::{Behaviour, Fidelity, FleetSpec, GroupSpec, Server, Share};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::script::{Broker, Peer};
use super::{at_once, generate, group, msg, request, spec};

const BROKERS: usize = 3;
/// Requests whose answers are the dice of seed, node and request.
const REQUESTS: u32 = 4;

/// What a scenario says of a group.
#[derive(Debug, Clone)]
struct Kind {
    nodes: u64,
    agents: u32,
    collectives: usize,
    /// Of the brokers; a weight of 0: none is at home there.
    weights: [u32; BROKERS],
    flush_each: bool,
}

/// A fleet, and where its global indexes begin.
#[derive(Debug, Clone)]
struct Kinds {
    seed: u64,
    first: u64,
    kinds: Vec<Kind>,
}

fn kind() -> impl Strategy<Value = Kind> {
    let weights = prop::array::uniform3(0_u32..4)
        .prop_filter("a home", |weights| weights.iter().any(|weight| *weight > 0));
    (1_u64..14, 1_u32..4, 1_usize..4, weights, any::<bool>()).prop_map(
        |(nodes, agents, collectives, weights, flush_each)| Kind {
            nodes,
            agents,
            collectives,
            weights,
            flush_each,
        },
    )
}

fn kinds() -> impl Strategy<Value = Kinds> {
    let kinds = prop::collection::vec(kind(), 1..4);
    (any::<u64>(), 0_u64..50, kinds).prop_map(|(seed, first, kinds)| Kinds { seed, first, kinds })
}

impl Kinds {
    /// The share of them that a process carries on so many threads.
    fn spec(&self, servers: &[Server], share: Share, shards: usize) -> FleetSpec {
        let mut first = self.first;
        let groups = self.kinds.iter().enumerate().map(|(number, kind)| {
            let group = kind.group(number, first, servers);
            first += kind.nodes;
            group
        });
        FleetSpec { seed: self.seed, share, shards, ..spec(groups.collect()) }
    }

    fn nodes(&self) -> usize {
        self.kinds.iter().map(|kind| usize::try_from(kind.nodes).unwrap()).sum()
    }

    /// Subscriptions of the nodes of a group: as many as its agents, and itself, in each collective.
    fn subscriptions(&self, name: &str) -> usize {
        let number: usize =
            name.trim_start_matches('g').split('-').next().unwrap().parse().unwrap();
        let Kind { agents, collectives, .. } = self.kinds[number];
        (usize::try_from(agents).unwrap() + 4) * collectives
    }
}

impl Kind {
    fn group(&self, number: usize, first: u64, servers: &[Server]) -> GroupSpec {
        let facts = json!({ "dc": "dc{index % 3}", "group": "{group}", "n": "{index * 7 / 2}" });
        let collectives = ["mcollective", "eu", "web"].into_iter().take(self.collectives);
        let weights = (0_u16..).zip(self.weights).filter(|(_, weight)| *weight > 0);
        let home = |(home, weight)| Home { weight, servers: vec![home] };
        GroupSpec {
            name: format!("g{number}"),
            first,
            nodes: self.nodes,
            identity: format!("g{number}-{{index:03}}.example.net"),
            collectives: collectives.map(str::to_owned).collect(),
            emulated_agents: self.agents,
            facts: facts.as_object().unwrap().clone(),
            classes: vec!["role::{group}".to_owned(), "rack{index / 4}".to_owned()],
            behaviour: Behaviour { error_reply: 0.5, ..at_once() },
            servers: servers.to_vec(),
            homes: Homes::new(weights.map(home).collect()),
            fidelity: Fidelity { flush_each_subscription: self.flush_each, ..Fidelity::default() },
            ..group(self.nodes, &[])
        }
    }
}

/// What a node shows.
#[derive(Debug, PartialEq)]
struct Shown {
    broker: usize,
    connect: Value,
    subscriptions: Vec<String>,
    inventory: Value,
    statuses: Vec<Option<i64>>,
}

/// All nodes of so many processes, by identity.
async fn shown(kinds: &Kinds, of: u64, shards: usize) -> BTreeMap<String, Shown> {
    let mut brokers = Vec::new();
    for _ in 0..BROKERS {
        brokers.push(Broker::new().await);
    }
    let servers: Vec<_> = brokers.iter().map(Broker::server).collect();
    let start = |index| Fleet::start(kinds.spec(&servers, Share { index, of }, shards)).unwrap();
    let fleets: Vec<_> = (0..of).map(start).collect();
    let (mut nodes, mut peers) = (BTreeMap::new(), Vec::new());
    for _ in 0..kinds.nodes() {
        let (broker, mut peer) = tokio::select! {
            peer = brokers[0].accept() => (0, peer),
            peer = brokers[1].accept() => (1, peer),
            peer = brokers[2].accept() => (2, peer),
        };
        let (name, shown) = look(kinds, broker, &mut peer).await;
        assert!(nodes.insert(name, shown).is_none(), "twice");
        peers.push(peer);
    }
    for fleet in fleets {
        fleet.stop().await;
    }
    nodes
}

async fn look(kinds: &Kinds, broker: usize, peer: &mut Peer) -> (String, Shown) {
    let connect = peer.hello().await;
    let name = connect["name"].as_str().unwrap().to_owned();
    let subscriptions = peer.subscribe_all(kinds.subscriptions(&name)).await;
    let inventory = rpc_body("rpcutil", "inventory", &json!({}));
    peer.send(msg(&request(0, "rpcutil", &inventory))).await;
    let (_, reply) = peer.publication().await;
    let mut scratch = ReplyScratch::default();
    let inventory = serde_json::from_str(decode_reply(&reply, &mut scratch).unwrap().body).unwrap();
    let mut statuses = Vec::new();
    for number in 1..=REQUESTS {
        peer.send(msg(&generate(number, 10))).await;
        statuses.push(peer.reply().await.1);
    }
    (name, Shown { broker, connect, subscriptions, inventory, statuses })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn a_fleet_in_one_process_and_in_many_is_the_same_fleet(kinds in kinds(), of in 2_u64..21) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (alone, shared, twenty) = runtime.block_on(async {
            (shown(&kinds, 1, 2).await, shown(&kinds, of, 1).await, shown(&kinds, 20, 1).await)
        });
        prop_assert_eq!(&shared, &alone);
        prop_assert_eq!(&twenty, &alone);
    }
}
