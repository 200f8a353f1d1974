//! The brokers of a plan: what they are, how they are joined, and how far one is from another.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::micros;
use crate::broker::merge;
use crate::scenario::{self, BrokerConfig, BrokerName, PerBroker, Role, layout};

/// A few times what a supercluster needs on a busy machine; forming takes 1 s (brokers-checked).
const FORM_WITHIN: Duration = Duration::from_secs(30);

/// The brokers under test. Everything that names a broker names its position: in
/// [`Managed::brokers`], or in the URLs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Brokers {
    /// Brokers that the tool starts and ends.
    Managed(Managed),
    /// A network that is there already.
    External {
        /// `nats://HOST:PORT`, at least one; all of one network.
        urls: Vec<String>,
        /// Where monitoring of its brokers answers: what stands before `/varz`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        monitoring: Vec<String>,
        /// File of credentials of its system account.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        system_creds: Option<String>,
        /// How long messages may take to get through between the URLs, where there are several.
        #[serde(rename = "form_within_us", with = "micros", default = "usual_form_within")]
        #[serde(skip_serializing_if = "is_usual")]
        form_within: Duration,
    },
}

fn usual_form_within() -> Duration {
    FORM_WITHIN
}

fn is_usual(form_within: &Duration) -> bool {
    *form_within == FORM_WITHIN
}

/// Brokers that the tool starts and ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Managed {
    /// How they are joined.
    pub topology: Topology,
    /// All of them, at least one.
    pub brokers: Vec<PlannedBroker>,
    /// What must be there between them for the network to count as formed, each pair once.
    pub links: Vec<Link>,
    /// Where they take nodes and clients; `None`: on loopback. Links and monitoring are there in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<Ipv4Addr>,
    /// Added to the environment of each.
    pub environment: BTreeMap<String, String>,
    /// Whether each has a port for profiling, through which it is looked at between phases.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub profiling: bool,
    /// How long they may take, from their start, to form, and the interest of connected nodes to spread:
    /// both together.
    #[serde(rename = "form_within_us", with = "micros")]
    pub form_within: Duration,
}

/// How brokers are joined. Federation is not: its brokers join networks that are formed by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Topology {
    /// There is one.
    Single,
    /// A full mesh of routes.
    Cluster,
    /// Leaves that each connect to a hub.
    Leafnodes,
    /// Clusters joined by gateways.
    Supercluster,
}

/// One broker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedBroker {
    /// Its name, unique in the network: `n1`, `hub1`, `leaf1`, `c1-n1`.
    pub name: String,
    /// The cluster that it is in.
    pub cluster: Option<String>,
    /// What it is in its network.
    pub role: Role,
    /// Which nats-server it is.
    pub nats_server: NatsServer,
    /// The user's own keys, merged into ours.
    pub config: Map<String, Value>,
    /// The user's own text, appended to the configuration as it is.
    pub config_text: String,
}

/// Which nats-server a managed broker is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NatsServer {
    /// The newest at hand without a download, else the newest known.
    Newest,
    /// This version, without a `v`.
    Version(String),
    /// This binary.
    Path(String),
}

/// A connection between two brokers that must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Who makes it: of a leaf connection the leaf, of a gateway connection the one it goes out from, of
    /// a route the one that comes first.
    pub from: usize,
    /// The other end. Of a gateway connection the first broker of the other cluster: which one of it
    /// answers is the brokers' own choice.
    pub to: usize,
    /// What it is.
    pub kind: LinkKind,
}

/// What joins two brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkKind {
    /// Two of one cluster.
    Route,
    /// Two of different clusters.
    Gateway,
    /// A leaf and its hub.
    Leaf,
}

impl Brokers {
    /// How the brokers are joined, as results name it.
    #[must_use]
    pub fn topology(&self) -> &'static str {
        match self {
            Self::Managed(managed) => managed.topology.name(),
            Self::External { .. } => "external",
        }
    }

    /// How long the proof that they are one network may take, the waiting of nodes not counted.
    #[must_use]
    pub fn form_within(&self) -> Duration {
        match self {
            Self::Managed(managed) => managed.form_within,
            Self::External { form_within, .. } => *form_within,
        }
    }

    /// How many brokers are known.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Managed(managed) => managed.brokers.len(),
            Self::External { urls, .. } => urls.len(),
        }
    }

    /// The brokers that are started here.
    #[must_use]
    pub fn managed(&self) -> Option<&Managed> {
        match self {
            Self::Managed(managed) => Some(managed),
            Self::External { .. } => None,
        }
    }

    /// The name of the broker at a position.
    #[must_use]
    pub fn name(&self, position: usize) -> String {
        let broker = self.managed().and_then(|managed| managed.brokers.get(position));
        broker.map_or_else(|| format!("n{}", position + 1), |broker| broker.name.clone())
    }

    /// The brokers whose URLs a client learns from the one at `position`: those of its cluster
    /// (`connect_urls` in INFO), of a network that is not ours all.
    #[must_use]
    pub fn mates(&self, position: usize) -> Vec<usize> {
        let others = (0..self.count()).filter(|other| *other != position);
        match self {
            Self::External { .. } => others.collect(),
            Self::Managed(managed) => {
                others.filter(|other| managed.is_one_cluster(position, *other)).collect()
            }
        }
    }
}

impl LinkKind {
    /// As results name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Gateway => "gateway",
            Self::Leaf => "leaf",
        }
    }
}

impl Topology {
    /// As scenarios have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Cluster => "cluster",
            Self::Leafnodes => "leafnodes",
            Self::Supercluster => "supercluster",
        }
    }
}

impl Managed {
    /// One broker without anything of its own.
    #[must_use]
    pub fn single(nats_server: NatsServer) -> Self {
        let broker = PlannedBroker {
            name: "n1".to_owned(),
            cluster: None,
            role: Role::Single,
            nats_server,
            config: Map::new(),
            config_text: String::new(),
        };
        Self {
            topology: Topology::Single,
            brokers: vec![broker],
            links: Vec::new(),
            listen: None,
            environment: BTreeMap::new(),
            profiling: false,
            form_within: FORM_WITHIN,
        }
    }

    /// The position of the broker with this name.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.brokers.iter().position(|broker| broker.name == name)
    }

    /// Whether both are in the same cluster.
    #[must_use]
    pub fn is_one_cluster(&self, one: usize, other: usize) -> bool {
        let cluster = |position: usize| self.brokers.get(position)?.cluster.as_ref();
        cluster(one).is_some_and(|name| Some(name) == cluster(other))
    }

    /// The hub's broker that a leaf connects to first.
    #[must_use]
    pub fn hub_of(&self, leaf: usize) -> Option<usize> {
        let link = self.links.iter().find(|link| link.kind == LinkKind::Leaf && link.from == leaf);
        link.map(|link| link.to)
    }

    /// How many connections between brokers a message takes from one to the other: none on the same
    /// broker; a route, a gateway connection and a leaf connection are one each. Behind a gateway there
    /// may be a route more, where the brokers have not chosen the shortest way: it is not counted.
    #[must_use]
    pub fn hops(&self, from: usize, to: usize) -> u32 {
        if from == to {
            return 0;
        }
        let (from_core, up) = self.core(from);
        let (to_core, down) = self.core(to);
        up + down + u32::from(from_core != to_core)
    }

    /// The broker itself, or of a leaf its hub's, and how far that is.
    fn core(&self, position: usize) -> (usize, u32) {
        self.hub_of(position).map_or((position, 0), |hub| (hub, 1))
    }

    /// The names of the clusters, in order.
    #[must_use]
    pub fn clusters(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.brokers.iter().filter_map(|broker| broker.cluster.as_deref()).collect();
        names.dedup();
        names
    }
}

/// The brokers of a scenario.
pub(super) fn resolve(given: Option<&scenario::Brokers>) -> Brokers {
    let default = scenario::Brokers::default();
    let brokers = given.unwrap_or(&default);
    let topology = match brokers.topology {
        Some(scenario::Topology::External) => {
            return Brokers::External {
                urls: brokers.urls.clone().unwrap_or_default(),
                monitoring: brokers.monitoring.clone().unwrap_or_default(),
                system_creds: brokers.system_creds.clone(),
                form_within: brokers.form_within.map_or(FORM_WITHIN, |span| span.0),
            };
        }
        Some(scenario::Topology::Cluster) => Topology::Cluster,
        Some(scenario::Topology::Leafnodes) => Topology::Leafnodes,
        Some(scenario::Topology::Supercluster) => Topology::Supercluster,
        Some(scenario::Topology::Single | scenario::Topology::Federation) | None => {
            Topology::Single
        }
    };
    let planned: Vec<_> =
        layout(given).into_iter().map(|name| self::planned(brokers, name)).collect();
    let environment = brokers.environment.clone().unwrap_or_default().0;
    Brokers::Managed(Managed {
        topology,
        links: links(&planned),
        brokers: planned,
        listen: brokers.listen.map(|address| address.0),
        environment: environment.into_iter().collect(),
        profiling: brokers.profiling.unwrap_or(false),
        form_within: brokers.form_within.map_or(FORM_WITHIN, |span| span.0),
    })
}

fn planned(brokers: &scenario::Brokers, name: BrokerName) -> PlannedBroker {
    let of = |programs: &Option<PerBroker>| match programs {
        None => None,
        Some(PerBroker::All(text)) => Some(text.clone()),
        Some(PerBroker::Each(each)) => {
            let meant = each.0.iter().find(|(who, _)| name.is_meant_by(who));
            meant.map(|(_, text)| text.clone())
        }
    };
    let nats_server = match (of(&brokers.path), of(&brokers.nats)) {
        (Some(path), _) => NatsServer::Path(path),
        (None, Some(version)) => NatsServer::Version(version.trim_start_matches('v').to_owned()),
        (None, None) => NatsServer::Newest,
    };
    let own = brokers.config_for.iter().flat_map(|each| &each.0);
    let own = own.filter(|(who, _)| name.is_meant_by(who)).map(|(_, config)| config);
    let (mut config, mut config_text) = (Map::new(), String::new());
    for part in brokers.config.iter().chain(own) {
        match part {
            BrokerConfig::Map(map) => merge(&mut config, &map.0),
            BrokerConfig::Text(text) => {
                config_text.push_str(text.trim_end());
                config_text.push('\n');
            }
        }
    }
    let BrokerName { name, cluster, role } = name;
    PlannedBroker { name, cluster, role, nats_server, config, config_text }
}

/// What must be there between these brokers.
fn links(brokers: &[PlannedBroker]) -> Vec<Link> {
    let hubs: VecDeque<usize> =
        (0..brokers.len()).filter(|at| brokers[*at].role == Role::Hub).collect();
    let mut links = Vec::new();
    for (from, broker) in brokers.iter().enumerate() {
        let cluster = broker.cluster.as_ref();
        for (to, other) in brokers.iter().enumerate().filter(|(to, _)| *to != from) {
            let same = cluster.is_some() && cluster == other.cluster.as_ref();
            // One connection from each broker to each other cluster.
            let first_of_cluster = !brokers[..to].iter().any(|b| b.cluster == other.cluster);
            let is_gateway =
                broker.role == Role::Member && other.role == Role::Member && first_of_cluster;
            if same && from < to {
                links.push(Link { from, to, kind: LinkKind::Route });
            } else if !same && is_gateway {
                links.push(Link { from, to, kind: LinkKind::Gateway });
            }
        }
        if broker.role == Role::Leaf {
            let number = from.saturating_sub(hubs.len());
            if let Some(to) = hubs.get(number % hubs.len().max(1)) {
                links.push(Link { from, to: *to, kind: LinkKind::Leaf });
            }
        }
    }
    links
}
