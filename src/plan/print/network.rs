//! The network of a plan, drawn: which brokers, joined how, with how many nodes at home on each.

use std::fmt::{self, Write as _};

use super::super::text::{Table, thousands};
use super::super::{Brokers, LinkKind, Managed, NatsServer, Plan, Role, Topology};

/// Draws it, with names, links, nodes and subscriptions of each broker.
pub(super) fn write(out: &mut String, plan: &Plan) -> fmt::Result {
    match &plan.brokers {
        Brokers::Managed(managed) => {
            let at = managed.listen.map_or_else(|| "loopback".to_owned(), |at| at.to_string());
            writeln!(out, "\nBrokers\n  {}, started and ended by the run, on {at}", what(managed))?;
        }
        Brokers::External { monitoring, system_creds, .. } => {
            let ways = [
                (!monitoring.is_empty())
                    .then(|| format!("monitoring at {}", monitoring.join(", "))),
                system_creds.as_ref().map(|file| format!("the system account of {file}")),
            ];
            let ways: Vec<_> = ways.into_iter().flatten().collect();
            let watched = match ways.as_slice() {
                [] => "not watched (see `monitoring` and `system_creds`)".to_owned(),
                ways => format!("watched by {}", ways.join(" and ")),
            };
            writeln!(out, "\nBrokers\n  there already, {watched}")?;
        }
    }
    let mut table = Table::new(&["broker", "nats-server", "nodes", "subscriptions", "joined by"]);
    let burden = burden(plan);
    for Line { branch, position } in lines(&plan.brokers) {
        let Some(position) = position else {
            table.row([branch, String::new(), String::new(), String::new(), String::new()]);
            continue;
        };
        let (nodes, subscriptions) = burden.get(position).copied().unwrap_or_default();
        table.row([
            format!("{branch}{}", plan.brokers.name(position)),
            program(&plan.brokers, position),
            thousands(nodes),
            thousands(subscriptions),
            joined(&plan.brokers, position),
        ]);
    }
    table.write(out)?;
    let homes = plan.client.connects_to.iter().map(|home| plan.brokers.name(*home));
    let homes: Vec<_> = homes.collect();
    let turns = if plan.client.is_spread() { ", by turns" } else { "" };
    writeln!(out, "  clients connect to {}{turns}", homes.join(", "))?;
    match plan.client.at.as_slice() {
        [] => Ok(()),
        [place] => writeln!(out, "  clients are at {place}"),
        places => writeln!(out, "  clients are at {}, by turns", places.join(", ")),
    }
}

/// The topology in words.
fn what(managed: &Managed) -> String {
    let with = |role: Role| managed.brokers.iter().filter(|broker| broker.role == role).count();
    match managed.topology {
        Topology::Single => "one".to_owned(),
        Topology::Cluster => format!("a cluster of {}", managed.brokers.len()),
        Topology::Leafnodes => {
            let hub = match with(Role::Hub) {
                1 => "a hub".to_owned(),
                hubs => format!("a hub of {hubs}"),
            };
            match with(Role::Leaf) {
                1 => format!("{hub} with one leaf"),
                leaves => format!("{hub} with {leaves} leaves"),
            }
        }
        Topology::Supercluster => {
            let clusters = managed.clusters().len();
            let size = managed.brokers.len() / clusters.max(1);
            format!("a supercluster of {clusters} x {size}")
        }
    }
}

/// A line of the drawing: what stands before the name, and whose line it is, if a broker's.
struct Line {
    branch: String,
    position: Option<usize>,
}

/// Brokers below their cluster, leaves below their hub.
fn lines(brokers: &Brokers) -> Vec<Line> {
    let Some(managed) = brokers.managed() else {
        let line = |position| Line { branch: String::new(), position: Some(position) };
        return (0..brokers.count()).map(line).collect();
    };
    let mut lines = Vec::new();
    let roots: Vec<usize> =
        (0..brokers.count()).filter(|at| managed.brokers[*at].role != Role::Leaf).collect();
    for (number, at) in roots.iter().enumerate() {
        let cluster = managed.brokers[*at].cluster.as_ref();
        let is_with = |other: Option<&usize>| {
            other.is_some_and(|other| managed.brokers[*other].cluster.as_ref() == cluster)
        };
        let before = number.checked_sub(1).and_then(|before| roots.get(before));
        if let (Some(name), false) = (cluster, is_with(before)) {
            lines.push(Line { branch: name.clone(), position: None });
        }
        let is_last = !is_with(roots.get(number + 1));
        let (own, below) = match (cluster, is_last) {
            (None, _) => ("", ""),
            (Some(_), false) => ("├─ ", "│  "),
            (Some(_), true) => ("└─ ", "   "),
        };
        lines.push(Line { branch: own.to_owned(), position: Some(*at) });
        let leaves: Vec<usize> =
            (0..brokers.count()).filter(|leaf| managed.hub_of(*leaf) == Some(*at)).collect();
        for leaf in &leaves {
            let twig = if Some(leaf) == leaves.last() { "└─ " } else { "├─ " };
            lines.push(Line { branch: format!("{below}{twig}"), position: Some(*leaf) });
        }
    }
    lines
}

fn program(brokers: &Brokers, position: usize) -> String {
    match brokers {
        Brokers::External { urls, .. } => urls.get(position).cloned().unwrap_or_default(),
        Brokers::Managed(managed) => match &managed.brokers[position].nats_server {
            NatsServer::Newest => "newest at hand".to_owned(),
            NatsServer::Version(version) => version.clone(),
            NatsServer::Path(path) => path.clone(),
        },
    }
}

/// The links of a broker, each pair told at both ends but for gateways, which have a direction.
fn joined(brokers: &Brokers, position: usize) -> String {
    let Some(managed) = brokers.managed() else { return String::new() };
    let ends = |kind: LinkKind| {
        managed.links.iter().filter(move |link| link.kind == kind).filter_map(move |link| {
            match (link.from == position, link.to == position) {
                (true, _) => Some(link.to),
                (_, true) if kind == LinkKind::Route => Some(link.from),
                _ => None,
            }
        })
    };
    let mut parts = Vec::new();
    let names = |ends: Vec<String>| ends.join(", ");
    let routes: Vec<_> = ends(LinkKind::Route).map(|end| brokers.name(end)).collect();
    if !routes.is_empty() {
        parts.push(format!("routes to {}", names(routes)));
    }
    let gateways: Vec<_> =
        ends(LinkKind::Gateway).filter_map(|end| managed.brokers[end].cluster.clone()).collect();
    if !gateways.is_empty() {
        parts.push(format!("gateway to {}", names(gateways)));
    }
    let leaf: Vec<_> = ends(LinkKind::Leaf).map(|end| brokers.name(end)).collect();
    if !leaf.is_empty() {
        parts.push(format!("leafnode of {}", names(leaf)));
    }
    parts.join(", ")
}

/// Nodes and their subscriptions at home on each broker.
fn burden(plan: &Plan) -> Vec<(u64, u64)> {
    let mut burden = vec![(0, 0); plan.brokers.count()];
    for (group, dealt) in plan.groups.iter().zip(plan.at_home()) {
        for ((nodes, subscriptions), here) in burden.iter_mut().zip(dealt) {
            *nodes += here;
            *subscriptions += here * group.subscriptions_per_node();
        }
    }
    burden
}
