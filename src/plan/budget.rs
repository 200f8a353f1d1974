//! What a plan costs: connections, subscriptions, ports, files, memory, messages and time, worked
//! out before anything is started. Estimates carry the figure they rest on.
//!
//! It does not know the host: `doctor` holds the budget against it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use reports::wave::WaveMode;
use serde::Serialize;

use super::processes::FILES_ASIDE_EMULATOR;
use super::{Brokers, Entry, Group, Plan, micros};
use crate::scenario::{CONDUCTOR, STOCK_AGENTS};

/// Size of Linux' default `ip_local_port_range`, 32768 to 60999.
pub const DEFAULT_PORT_RANGE: u64 = 28_232;
/// nats-server's own `max_connections`.
pub const DEFAULT_MAX_CONNECTIONS: u64 = 65_536;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
/// A process of ours without nodes.
const EMULATOR_BASE: u64 = 24 * MIB;
/// An emulated node: the mark is 3 KiB with 5 subscriptions and 4 KiB with 55.
const NODE: u64 = 4 * KIB;
/// What a reply costs the driver while its wave is open.
const DRIVER_PER_NODE: u64 = KIB;
/// An idle nats-server.
const BROKER_BASE: u64 = 20 * MIB;
/// A connection in nats-server 2.14.5 after waves, without its subscriptions (measured: 66 KiB with
/// five; 22 KiB of it when idle, the rest are grown stacks and buffers).
const BROKER_CONNECTION: u64 = 62 * KIB;
/// A subscription in nats-server (measured: 0.9 KiB).
const BROKER_SUBSCRIPTION: u64 = 920;
/// One end of a loopback connection in the kernel (measured: 7.5 to 8.3 KiB for both).
const KERNEL_END: u64 = 4 * KIB;

/// First connections per second that a broker and we manage on two cores with no pacing (measured:
/// 8,026/s with 6 subscriptions).
const CONNECTS_PER_S: f64 = 8_000.0;
/// A broadcast and its replies, per node, on two cores (measured: 18 to 21 us).
const WAVE_US_PER_NODE: u64 = 20;

/// Drivers at workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct AtWorkers {
    /// How many, each at a worker of its own.
    pub drivers: u64,
    /// Their connections.
    pub connections: u64,
    /// Those of the driver that has most of them.
    pub most: u64,
}

impl AtWorkers {
    /// One more worker, whose driver has so many connections; 0: it has no driver.
    #[must_use]
    pub fn with(self, connections: u64) -> Self {
        Self {
            drivers: self.drivers + u64::from(connections > 0),
            connections: self.connections + connections,
            most: self.most.max(connections),
        }
    }
}

/// What a plan asks of hosts, in numbers that scale with its nodes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Demand {
    /// Nodes in all.
    pub nodes: u64,
    /// Nodes of each group.
    pub group_nodes: Vec<u64>,
    /// Subscriptions of all nodes.
    pub subscriptions: u64,
    /// Connections of the conductor's driver.
    pub driver_connections: u64,
    /// The drivers that are at workers.
    pub at_workers: AtWorkers,
    /// Brokers that nodes can be at home on.
    pub brokers: u64,
    /// Nodes at home on the broker that has most of them.
    pub busiest_nodes: u64,
    /// Subjects that only one node subscribes to: brokers that are joined tell each other of each.
    pub own_subjects: u64,
    /// Whether the brokers are started here, so that this host pays for them.
    pub managed: bool,
    /// Whether all endpoints are on loopback, where source addresses are free.
    pub loopback: bool,
    /// First connections in flight at once, over all groups.
    pub in_flight: u64,
}

/// What a plan costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Budget {
    /// What it was worked out from.
    pub demand: Demand,
    /// Connections in all: nodes and driver.
    pub connections: u64,
    /// Connections of the busiest broker.
    pub busiest_connections: u64,
    /// `max_connections` that each broker needs.
    pub broker_max_connections: u64,
    /// Local ports of one source address towards one endpoint.
    pub port_range: u64,
    /// Source addresses needed; 1: the system's choice suffices.
    pub source_addresses: u64,
    /// Open files of this process.
    pub emulator_files: u64,
    /// Open files of the busiest broker.
    pub broker_files: u64,
    /// Memory of this process.
    pub emulator_bytes: u64,
    /// Memory of all managed brokers; 0 for external ones.
    pub broker_bytes: u64,
    /// Memory of the kernel for connections.
    pub kernel_bytes: u64,
}

impl Demand {
    /// What `plan` asks.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let at_workers = plan.clients_places().into_iter();
        let mut at_home = vec![0; plan.brokers.count()];
        for dealt in plan.at_home() {
            at_home.iter_mut().zip(dealt).for_each(|(sum, nodes)| *sum += nodes);
        }
        Self {
            nodes: plan.nodes(),
            group_nodes: plan.groups.iter().map(|group| group.nodes).collect(),
            subscriptions: plan.groups.iter().map(|g| g.nodes * g.subscriptions_per_node()).sum(),
            // Each client has one connection that publishes beside those that receive; one more
            // listens to what nodes publish without being asked.
            driver_connections: plan.client_connections(CONDUCTOR)
                + u64::from(!plan.event_kinds().is_empty()),
            at_workers: at_workers
                .fold(AtWorkers::default(), |all, place| all.with(plan.client_connections(place))),
            brokers: count(plan.brokers.count()).max(1),
            busiest_nodes: at_home.into_iter().max().unwrap_or(0),
            own_subjects: plan.groups.iter().map(|g| g.nodes * count(g.collectives.len())).sum(),
            managed: plan.brokers.managed().is_some(),
            loopback: match &plan.brokers {
                Brokers::Managed(managed) => managed.listen.is_none_or(|at| at.is_loopback()),
                Brokers::External { urls, .. } => urls.iter().all(|url| is_loopback(url)),
            },
            in_flight: plan.groups.iter().map(|g| g.connect.in_flight.min(g.nodes)).sum(),
        }
    }

    /// Connections of all drivers, wherever they are.
    #[must_use]
    pub fn connections_of_drivers(&self) -> u64 {
        self.driver_connections + self.at_workers.connections
    }

    /// The same with another number of nodes.
    #[must_use]
    pub fn with_nodes(&self, nodes: u64) -> Self {
        let scaled = |number: u64| {
            let scaled = u128::from(number) * u128::from(nodes);
            u64::try_from(scaled.div_ceil(u128::from(self.nodes.max(1)))).unwrap_or(u64::MAX)
        };
        Self {
            nodes,
            group_nodes: self.group_nodes.iter().copied().map(scaled).collect(),
            subscriptions: scaled(self.subscriptions),
            busiest_nodes: scaled(self.busiest_nodes),
            own_subjects: scaled(self.own_subjects),
            in_flight: self.in_flight.min(nodes),
            ..self.clone()
        }
    }

    /// Memory of so many processes of ours that carry so many nodes together.
    #[must_use]
    pub fn bytes_of_ours(processes: u64, nodes: u64) -> u64 {
        processes * EMULATOR_BASE + nodes * NODE
    }

    /// What a driver remembers, whoever carries the nodes.
    #[must_use]
    pub fn bytes_of_driver(&self) -> u64 {
        self.nodes * DRIVER_PER_NODE
    }

    /// Memory of all brokers.
    #[must_use]
    pub fn bytes_of_brokers(&self) -> u64 {
        let connections = self.nodes + self.connections_of_drivers();
        let joined = self.brokers.saturating_sub(1) * self.own_subjects;
        self.brokers * BROKER_BASE
            + connections * BROKER_CONNECTION
            + (self.subscriptions + joined) * BROKER_SUBSCRIPTION
    }

    /// Memory of the kernel for so many ends of connections.
    #[must_use]
    pub fn bytes_of_kernel(ends: u64) -> u64 {
        ends * KERNEL_END
    }
}

impl Budget {
    /// What `plan` costs where one source address has `port_range` local ports.
    #[must_use]
    pub fn of(plan: &Plan, port_range: u64) -> Self {
        Self::for_demand(Demand::of(plan), port_range)
    }

    /// What `demand` costs where one source address has `port_range` local ports.
    #[must_use]
    pub fn for_demand(demand: Demand, port_range: u64) -> Self {
        let connections = demand.nodes + demand.connections_of_drivers();
        let per_broker = demand.busiest_nodes + demand.connections_of_drivers();
        // Nodes of a broker that goes away flee to others.
        let at_most = if demand.managed { connections } else { per_broker };
        Self {
            connections,
            busiest_connections: per_broker,
            broker_max_connections: DEFAULT_MAX_CONNECTIONS.max(with_reserve(at_most) + 100),
            port_range,
            source_addresses: source_addresses(per_broker, port_range),
            emulator_files: with_reserve(connections) + FILES_ASIDE_EMULATOR,
            broker_files: demand.files_of_broker(),
            emulator_bytes: Demand::bytes_of_ours(1, demand.nodes) + demand.bytes_of_driver(),
            broker_bytes: if demand.managed { demand.bytes_of_brokers() } else { 0 },
            kernel_bytes: Demand::bytes_of_kernel(2 * connections),
            demand,
        }
    }

    /// The loopback addresses to connect from, 127.0.1.1 onwards; empty when the system's choice
    /// suffices. Linux needs no configuration for them: the whole of 127/8 is local.
    #[must_use]
    pub fn loopback_sources(&self) -> Vec<IpAddr> {
        if self.source_addresses <= 1 {
            return Vec::new();
        }
        let address = |k: u64| {
            let (third, fourth) = (1 + k / 254, 1 + k % 254);
            let octet = |n: u64| u8::try_from(n).unwrap_or(u8::MAX);
            IpAddr::V4(Ipv4Addr::new(127, 0, octet(third), octet(fourth)))
        };
        (0..self.source_addresses.min(254 * 254)).map(address).collect()
    }
}

/// Five per cent above.
pub(crate) fn with_reserve(files: u64) -> u64 {
    files + files.div_ceil(20)
}

/// Source addresses so that each uses at most two fifths of its ports towards the busiest broker: with
/// `IP_BIND_ADDRESS_NO_PORT` a port is taken per source and endpoint (verified in a network
/// namespace with 2,000 ports). Two fifths, because the kernel looks for a port among every second one first
/// (`__inet_hash_connect`): when that half is taken, each further connection costs it a look at all of
/// these, milliseconds on a range of 28,232.
pub(crate) fn source_addresses(busiest_connections: u64, port_range: u64) -> u64 {
    let usable = (port_range * 2 / 5).max(1);
    busiest_connections.div_ceil(usable).max(1)
}

/// Whether a URL leads to the host that it is used on.
pub(crate) fn is_loopback(text: &str) -> bool {
    let url = url::Url::parse(text);
    // `nats` is no scheme whose hosts the URL standard knows: an address is a plain name in it.
    let host = url.as_ref().ok().and_then(|url| url.host_str()).unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

impl Group {
    /// Agents of a node, the stock ones included.
    #[must_use]
    pub fn agents_per_node(&self) -> u64 {
        let more = self.stock_agents.len() + self.ddl_agents.len();
        count(STOCK_AGENTS.len() + more) + u64::from(self.emulated_agents)
    }

    /// Subscriptions of a node: one for each agent in each collective, and the node's own subject in
    /// each collective (protocol document 2.4).
    #[must_use]
    pub fn subscriptions_per_node(&self) -> u64 {
        (self.agents_per_node() + 1) * count(self.collectives.len())
    }

    /// How long the group's first connections take: at its rate, or as fast as measured.
    #[must_use]
    pub fn connect_time(&self) -> Duration {
        let rate = self.connect.rate_per_s.unwrap_or(CONNECTS_PER_S).min(CONNECTS_PER_S);
        Duration::try_from_secs_f64(float(self.nodes) / rate).unwrap_or(Duration::MAX)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of nodes are far below 2^52")]
fn float(number: u64) -> f64 {
    number as f64
}

/// Messages of one wave at the broker, all clients together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct WaveMessages {
    /// Requests that clients publish.
    pub requests: u64,
    /// Requests that nodes receive.
    pub delivered: u64,
    /// Replies that nodes publish, each of which one client receives.
    pub replies: u64,
    /// Into the broker: requests and replies.
    pub broker_in: u64,
    /// Out of the broker: deliveries and replies.
    pub broker_out: u64,
    /// How long the wave takes on two cores; delays of the nodes not included.
    #[serde(rename = "expected_us", with = "micros")]
    pub expected: Duration,
}

impl Entry {
    /// The messages of one wave, at most: filters may let fewer nodes answer. A broadcast reaches
    /// every node that subscribes to the agent in the collective, whatever the filter says.
    #[must_use]
    pub fn messages(&self, groups: &[Group]) -> WaveMessages {
        let clients = u64::from(self.clients);
        let subscribed = groups.iter().filter(|group| {
            group.collectives.contains(&self.collective) && group.hosts(self.question.agent())
        });
        let of_clients = (1..=self.clients).map(|client| self.asked(client).expected.nodes);
        let (replies, most) = match self.each_client.is_empty() {
            true => (self.expected.nodes * clients, self.expected.nodes),
            false => (of_clients.clone().sum(), of_clients.max().unwrap_or(0)),
        };
        let (requests, delivered) = match self.mode {
            WaveMode::Broadcast => {
                (clients, subscribed.map(|group| group.nodes).sum::<u64>() * clients)
            }
            WaveMode::Direct | WaveMode::Batch => (replies, replies),
        };
        let pauses = self.batch.map_or(Duration::ZERO, |batch| {
            let slices = most.div_ceil(batch.size.max(1));
            batch.sleep * u32::try_from(slices.saturating_sub(1)).unwrap_or(u32::MAX)
        });
        WaveMessages {
            requests,
            delivered,
            replies,
            broker_in: requests + replies,
            broker_out: delivered + replies,
            expected: Duration::from_micros(replies * WAVE_US_PER_NODE) + pauses,
        }
    }
}
