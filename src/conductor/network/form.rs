//! The proof that a network of several brokers has formed: every connection that the plan has between
//! two of them is named by both sides, and messages get through each in both directions.
//!
//! `/healthz` says nothing about routes, leafs or gateways, and log lines come before listeners are
//! open (brokers-checked, 1.3): what counts are the peers that each side names.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use reports::forming::Forming;
use reports::verdict::ExitCode;
use tokio::time::{Instant, sleep, timeout_at};

use crate::broker::{Broker, Look, Version, given};
use crate::conductor::RunError;
use crate::driver::{ConnectionOptions, Probes};
use crate::plan::{Link, LinkKind, Managed, Role};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);
/// One more connection than routes in a pool belongs to the system account (brokers-checked, 2).
const POOL: u64 = 3;
/// Most missing links that are named.
const NAMED: usize = 10;

/// Whom a broker is joined with.
struct Neighbours {
    /// Routes to each other broker of its cluster, by that one's identity: since 2.10 several.
    routes: BTreeMap<String, usize>,
    /// The other clusters that it has a connection of its own to.
    gateways: BTreeSet<String>,
    /// Leaf connections, on either side; `None`: the release does not say.
    leafs: Option<u64>,
}

impl Neighbours {
    fn of(Look { varz, links }: Look) -> Self {
        let (mut routes, mut gateways) = (BTreeMap::new(), BTreeSet::new());
        for link in links {
            if link.kind == LinkKind::Gateway.name() {
                gateways.insert(link.peer);
            } else if let Some(id) = link.peer_id {
                *routes.entry(id).or_default() += 1;
            }
        }
        Self { routes, gateways, leafs: varz.leafnodes }
    }
}

/// What a broker showed, or why it showed nothing.
type Seen = Result<Neighbours, String>;

/// Waits until the network has formed, until the deadline of all that this takes.
pub(super) async fn form(
    planned: &Managed,
    brokers: &[Broker],
    began: Instant,
    deadline: Instant,
) -> Result<(Forming, Option<Probes>), RunError> {
    let mut forming = Forming::default();
    for link in &planned.links {
        *forming.links.entry(link.kind.name().to_owned()).or_default() += 1;
    }
    if brokers.len() < 2 {
        return Ok((forming, None));
    }
    let peers: Vec<Peer> =
        brokers.iter().enumerate().map(|(at, b)| Peer::of(planned, at, b)).collect();
    linked(planned, brokers, &peers, deadline).await?;
    let urls: Vec<String> = brokers.iter().map(Broker::url).collect();
    let options = ConnectionOptions::default();
    let probes = timeout_at(deadline, Probes::connect(&urls, &options)).await;
    let probes = probes.map_err(|_| unformed(planned, &["no probe could connect".to_owned()]))?;
    let probes = probes.map_err(|error| super::unreachable(&error))?;
    let pairs: Vec<_> = planned
        .links
        .iter()
        .flat_map(|link| [(link.from, link.to), (link.to, link.from)])
        .collect();
    if let Err(stuck) = probes.reach(&pairs, deadline).await {
        probes.close().await;
        let name = |at: usize| planned.brokers[at].name.as_str();
        let stuck = stuck
            .iter()
            .map(|(from, to)| format!("no message has come from {} to {}", name(*from), name(*to)));
        return Err(unformed(planned, &stuck.collect::<Vec<_>>()));
    }
    forming.formed = began.elapsed();
    Ok((forming, Some(probes)))
}

/// What is known of a broker beside its neighbours.
struct Peer {
    id: String,
    /// Routes that it opens to another one that does the same.
    routes: usize,
}

impl Peer {
    fn of(planned: &Managed, at: usize, broker: &Broker) -> Self {
        let own = &planned.brokers[at];
        let cluster = given(&own.config, "cluster").and_then(serde_json::Value::as_object);
        let pool = cluster.and_then(|cluster| given(cluster, "pool_size"));
        let pinned = cluster.and_then(|cluster| given(cluster, "accounts")?.as_array());
        let pools = broker.program().version >= Version::new(2, 10, 0);
        let size = pool.map_or(Some(POOL), serde_json::Value::as_u64).filter(|size| *size > 0);
        let routes = match size.and_then(|size| usize::try_from(size).ok()) {
            // What the user's own text changes is not known: one will do.
            Some(size) if pools && own.config_text.is_empty() => {
                size + 1 + pinned.map_or(0, Vec::len)
            }
            _ => 1,
        };
        Self { id: broker.at_start().server_id, routes }
    }
}

/// Looks until every broker names all its neighbours.
async fn linked(
    planned: &Managed,
    brokers: &[Broker],
    peers: &[Peer],
    deadline: Instant,
) -> Result<(), RunError> {
    let mut known = Vec::new();
    loop {
        let look =
            async |broker: &Broker| match timeout_at(deadline, broker.monitoring().look()).await {
                Ok(seen) => seen.map(Neighbours::of).map_err(|error| error.to_string()),
                Err(_) => Err("its monitoring does not answer".to_owned()),
            };
        let seen: Vec<Seen> = join_all(brokers.iter().map(look)).await;
        let missing = missing(planned, peers, &seen);
        if missing.is_empty() {
            return Ok(());
        }
        // A look that the deadline has cut short says less than the one before it.
        if known.is_empty() || Instant::now() < deadline {
            known = missing;
        }
        if Instant::now() + PAUSE >= deadline {
            return Err(unformed(planned, &known));
        }
        sleep(PAUSE).await;
    }
}

/// The links that are not there yet, in words.
fn missing(planned: &Managed, peers: &[Peer], seen: &[Seen]) -> Vec<String> {
    let name = |at: usize| planned.brokers[at].name.as_str();
    let silent = seen.iter().enumerate().filter_map(|(at, seen)| {
        seen.as_ref().err().map(|why| format!("broker {} shows no links: {why}", name(at)))
    });
    let mut missing: Vec<String> = silent.collect();
    for Link { from, to, kind } in &planned.links {
        let (Ok(ours), Ok(theirs)) = (&seen[*from], &seen[*to]) else { continue };
        match kind {
            LinkKind::Route => {
                let need = peers[*from].routes.min(peers[*to].routes);
                let have = |side: &Neighbours, other: usize| {
                    side.routes.get(&peers[other].id).copied().unwrap_or(0)
                };
                let have = have(ours, *to).min(have(theirs, *from));
                if have < need {
                    let of = if need > 1 { format!(" ({have} of {need})") } else { String::new() };
                    missing.push(format!("no route between {} and {}{of}", name(*from), name(*to)));
                }
            }
            LinkKind::Gateway => {
                let cluster = planned.brokers[*to].cluster.as_deref().unwrap_or_default();
                if !ours.gateways.contains(cluster) {
                    missing.push(format!("no gateway from {} to {cluster}", name(*from)));
                }
            }
            // Which broker of the hub it is, is the leaf's choice.
            LinkKind::Leaf if ours.leafs == Some(0) => {
                missing.push(format!("no leaf connection from {} to {}", name(*from), name(*to)));
            }
            LinkKind::Leaf => {}
        }
    }
    missing.extend(unseen_leaves(planned, seen));
    missing
}

/// The hub's side of leaf connections, where every broker of it says how many it has: together all.
fn unseen_leaves(planned: &Managed, seen: &[Seen]) -> Option<String> {
    let leaves = planned.links.iter().filter(|link| link.kind == LinkKind::Leaf).count() as u64;
    let hubs = planned.brokers.iter().zip(seen).filter(|(broker, _)| broker.role == Role::Hub);
    let have: u64 = hubs.map(|(_, seen)| seen.as_ref().ok()?.leafs).sum::<Option<u64>>()?;
    (have < leaves).then(|| format!("the hub has {have} of {leaves} leaf connections"))
}

/// Brokers that are not all there when the network should have formed.
pub(super) fn unready(planned: &Managed) -> RunError {
    unformed(planned, &["its brokers were not all ready".to_owned()])
}

/// The brokers that a client's broker does not reach, although they were linked after `formed`.
pub(super) fn without_interest(
    planned: &Managed,
    formed: Duration,
    stuck: &[(usize, usize)],
) -> RunError {
    let name = |at: usize| planned.brokers[at].name.as_str();
    let stuck = stuck.iter().map(|(from, to)| {
        format!("what subscribes at {} is not known at {}", name(*to), name(*from))
    });
    let what = format!(
        "formed in {formed:.2?}, and in the rest of {:?} the interest of its nodes did not spread",
        planned.form_within
    );
    failed(planned, &what, &stuck.collect::<Vec<_>>())
}

fn unformed(planned: &Managed, missing: &[String]) -> RunError {
    failed(planned, &format!("did not form within {:?}", planned.form_within), missing)
}

/// What the network did not do, and where.
fn failed(planned: &Managed, what: &str, missing: &[String]) -> RunError {
    let mut named: Vec<String> = missing.iter().take(NAMED).cloned().collect();
    if missing.len() > NAMED {
        named.push(format!("and {} more", missing.len() - NAMED));
    }
    let message = format!(
        "the {} {what}:\n  {}\n\
         see the brokers' logs in brokers/ of the result folder, or give it longer with `form_within`",
        planned.topology.name(),
        named.join("\n  ")
    );
    RunError { code: ExitCode::BrokerUnreachable, message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Plan, resolve};
    use crate::scenario::Scenario;

    fn plan(brokers: &str) -> Plan {
        let text = format!(
            "version: 1\nname: a\nfleet: [{{group: a, nodes: 1}}]\n\
             waves: [{{name: a, discover: {{}}}}]\nbrokers: {{{brokers}}}\n"
        );
        let scenario = Scenario::parse(&text, "a.yaml", &[]).unwrap_or_else(|e| panic!("{e}"));
        resolve(&scenario).expect("resolves")
    }

    fn peers(routes: &[usize]) -> Vec<Peer> {
        let peer = |(at, routes): (usize, &usize)| Peer { id: format!("id{at}"), routes: *routes };
        routes.iter().enumerate().map(peer).collect()
    }

    fn neighbours(routes: &[(&str, usize)], gateways: &[&str], leafs: Option<u64>) -> Seen {
        let routes: BTreeMap<_, _> = routes.iter().map(|(id, n)| ((*id).to_owned(), *n)).collect();
        let gateways: BTreeSet<_> = gateways.iter().map(|name| (*name).to_owned()).collect();
        Ok(Neighbours { routes, gateways, leafs })
    }

    #[test]
    fn what_is_missing_is_named_link_by_link() {
        let cluster = plan("topology: cluster, size: 2");
        let leafs = plan("topology: leafnodes, leaves: 1");
        let far = plan("topology: supercluster, size: 1");
        let both = |routes| {
            vec![
                neighbours(&[("id1", routes)], &[], None),
                neighbours(&[("id0", routes)], &[], None),
            ]
        };
        for (plan, routes, seen, expected) in [
            (&cluster, [4, 4], both(4), &[][..]),
            (&cluster, [4, 4], both(3), &["no route between n1 and n2 (3 of 4)"]),
            (&cluster, [4, 1], both(1), &[]),
            (
                &cluster,
                [1, 1],
                vec![neighbours(&[("id1", 1)], &[], None), neighbours(&[], &[], None)],
                &["no route between n1 and n2"],
            ),
            (
                &cluster,
                [1, 1],
                vec![Err("timeout".to_owned()), neighbours(&[], &[], None)],
                &["broker n1 shows no links: timeout"],
            ),
            (
                &leafs,
                [1, 1],
                vec![neighbours(&[], &[], Some(0)), neighbours(&[], &[], Some(0))],
                &["no leaf connection from leaf1 to hub1", "the hub has 0 of 1 leaf connections"],
            ),
            (
                &leafs,
                [1, 1],
                vec![neighbours(&[], &[], Some(0)), neighbours(&[], &[], Some(1))],
                &["the hub has 0 of 1 leaf connections"],
            ),
            (
                &leafs,
                [1, 1],
                vec![neighbours(&[], &[], Some(1)), neighbours(&[], &[], Some(1))],
                &[],
            ),
            // 2.0.0 does not say: there the probe is the proof.
            (&leafs, [1, 1], vec![neighbours(&[], &[], None), neighbours(&[], &[], None)], &[]),
            (
                &far,
                [1, 1],
                vec![neighbours(&[], &["c2"], None), neighbours(&[], &[], None)],
                &["no gateway from c2-n1 to c1"],
            ),
        ] {
            let managed = plan.brokers.managed().expect("managed");
            assert_eq!(missing(managed, &peers(&routes), &seen), expected);
        }
    }
}
