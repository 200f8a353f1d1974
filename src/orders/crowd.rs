//! Who must answer which wave: the roster of all nodes, and an expected set for each entry of the plan.

use std::sync::Arc;

use emulator::filter::{CompiledFilter, FactFilterError, Filter, parse_fact};
use emulator::fleet::Refuge;
use emulator::node::{Group, GroupError};
use emulator::spec::FleetSpec;
use reports::place::{PlaceResult, Places};

use crate::driver::{BitSet, Roster, RosterError};
use crate::plan::{self, Asked, Entry, Plan};

/// Why nobody can be expected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CrowdError {
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error(transparent)]
    Fact(#[from] FactFilterError),
    #[error(transparent)]
    Roster(#[from] RosterError),
}

/// The nodes of a group.
struct Members {
    /// Global index of the first.
    first: u64,
    name: String,
    /// Positions of the brokers that any of them is configured with.
    known: Vec<usize>,
}

/// A node's place in the plan.
pub(crate) struct Place<'a> {
    pub(crate) index: u64,
    pub(crate) group: &'a str,
}

/// All nodes, and who of them must answer.
pub(crate) struct Crowd {
    pub(crate) roster: Arc<Roster>,
    /// By position in the plan's entries: one for all clients, or one for each.
    expected: Vec<Vec<Arc<BitSet>>>,
    /// Empty where the nodes are not ours.
    groups: Vec<Members>,
    /// What the roster's tags mean to each client: the brokers by their positions. Empty where there is
    /// only one, or nothing is known of the nodes' homes.
    places: Vec<Vec<Arc<reports::place::Place>>>,
    /// The names of the brokers by their positions; empty where there is one, or the nodes are not ours.
    brokers: Vec<String>,
}

impl Crowd {
    /// The nodes of the plan: each entry expects those in its collective that host its agent and match
    /// its filter.
    pub(crate) fn of_plan(plan: &Plan, spec: &FleetSpec) -> Result<Self, CrowdError> {
        let groups: Vec<Group> = spec.groups.iter().map(Group::new).collect::<Result<_, _>>()?;
        let nodes = || {
            spec.groups.iter().zip(&groups).enumerate().flat_map(|(position, (spec, group))| {
                let indexes = spec.first..spec.first + spec.nodes;
                indexes.map(move |index| (position, group, index))
            })
        };
        let roster = Roster::new(nodes().map(|(_, group, index)| (group.identity(index), index)))?;
        let roster = roster.tagged(homes(plan));
        let who = |Asked { selects, expected, .. }: Asked<'_>| {
            let filter = CompiledFilter::new(wire_filter(selects)?);
            let mut set = BitSet::new(roster.len());
            for (place, (position, group, index)) in (0_u32..).zip(nodes()) {
                let asked = expected.groups.contains(&position);
                let meant =
                    || expected.exact || group.is_meant(&filter, index, roster.identity(place));
                if asked && meant() {
                    set.insert(place);
                }
            }
            Ok(Arc::new(set))
        };
        let of_entry = |entry: &Entry| match entry.each_client.len() {
            0 => Ok(vec![who(entry.asked(1))?]),
            _ => (1..=entry.clients).map(|client| who(entry.asked(client))).collect(),
        };
        let expected = plan.entries.iter().map(of_entry).collect::<Result<_, CrowdError>>()?;
        let members = |group: &plan::Group| Members {
            first: group.first,
            name: group.name.clone(),
            known: group.placement.known(&plan.brokers).0,
        };
        let groups = plan.groups.iter().map(members).collect();
        let places = if roster.tag_count() > 0 { places(plan) } else { Vec::new() };
        let several = 0..if plan.brokers.count() > 1 { plan.brokers.count() } else { 0 };
        let brokers = several.map(|at| plan.brokers.name(at)).collect();
        Ok(Self { roster: Arc::new(roster), expected, groups, places, brokers })
    }

    /// Nodes that are not ours: all of them must answer everything.
    pub(crate) fn of_strangers(plan: &Plan, names: &[String]) -> Result<Self, CrowdError> {
        let roster =
            Roster::new((0_u64..).zip(names).map(|(index, name)| (name, index)))?.distinct()?;
        let all = Arc::new(BitSet::full(roster.len()));
        let expected = plan.entries.iter().map(|_| vec![Arc::clone(&all)]).collect();
        let (groups, places, brokers) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { roster: Arc::new(roster), expected, groups, places, brokers })
    }

    /// Who must answer a client (from 1) of the entry at a position.
    pub(crate) fn expected(&self, entry: usize, client: u32) -> Arc<BitSet> {
        let of_entry = self.expected.get(entry).map_or(&[][..], Vec::as_slice);
        let own = usize::try_from(client.saturating_sub(1)).ok().and_then(|at| of_entry.get(at));
        let expected = own.or_else(|| of_entry.first()).map(Arc::clone);
        expected.unwrap_or_else(|| Arc::new(BitSet::new(self.roster.len())))
    }

    /// The answers to a client by where the nodes are.
    pub(crate) fn places(&self, client: u32, by_tag: Vec<PlaceResult>) -> Places {
        let client = usize::try_from(client.saturating_sub(1)).unwrap_or(0);
        let Some(places) = self.places.get(client) else { return Places::new() };
        let places = places.iter().map(Arc::clone).zip(by_tag);
        places.filter(|(_, result)| result.counts.expected > 0).collect()
    }

    /// The broker that a node of the roster is at home on, where there are several.
    pub(crate) fn home(&self, entry: u32) -> Option<&str> {
        // Without tags all are at home on the first.
        let position = self.roster.tag(entry).unwrap_or(0);
        self.brokers.get(usize::from(position)).map(String::as_str)
    }

    /// The broker that a node of the roster has fled to: its name, or where it is if nothing but that is known.
    pub(crate) fn refuge<'a>(&'a self, entry: u32, refuge: &'a Refuge) -> Option<&'a str> {
        match refuge {
            Refuge::Told(place) => Some(place),
            Refuge::Configured(at) => {
                let position = self.members(entry)?.known.get(usize::from(*at))?;
                self.brokers.get(*position).map(String::as_str)
            }
        }
    }

    fn members(&self, entry: u32) -> Option<&Members> {
        let index = self.roster.node(entry)?;
        self.groups.iter().rev().find(|group| group.first <= index)
    }

    /// Where a node of the roster stands in the plan; `None` if it is not ours.
    pub(crate) fn place(&self, entry: u32) -> Option<Place<'_>> {
        let index = self.roster.node(entry)?;
        Some(Place { index, group: &self.members(entry)?.name })
    }
}

/// The position of the broker that each node is at home on, in the order of the roster; none where there
/// is only one.
fn homes(plan: &Plan) -> Vec<u16> {
    if plan.brokers.count() < 2 {
        return Vec::new();
    }
    let of_group = |group: &plan::Group| {
        let homes = group.placement.homes(&plan.brokers);
        let home = |n: u64| homes.configured(n).first().copied().map_or(0, u16::from);
        (0..group.nodes).map(home).collect::<Vec<_>>()
    };
    plan.groups.iter().flat_map(of_group).collect()
}

/// The brokers by their positions, as seen from each client's home.
fn places(plan: &Plan) -> Vec<Vec<Arc<reports::place::Place>>> {
    let managed = plan.brokers.managed();
    let from = |client: u32| {
        let home = plan.client_pool(client).first().copied();
        let place = |at: usize| {
            let broker = managed.and_then(|managed| managed.brokers.get(at));
            Arc::new(reports::place::Place {
                broker: plan.brokers.name(at),
                cluster: broker.and_then(|broker| broker.cluster.clone()),
                hops: managed.zip(home).map(|(managed, home)| managed.hops(home, at)),
            })
        };
        (0..plan.brokers.count()).map(place).collect()
    };
    (1..=plan.most_clients()).map(from).collect()
}

/// The plan's filter as it stands in a request.
pub(crate) fn wire_filter(filter: &plan::Filter) -> Result<Filter, FactFilterError> {
    let plan::Filter { identity, classes, facts, agents, compound } = filter;
    Ok(Filter {
        fact: facts.iter().map(|fact| parse_fact(fact)).collect::<Result<_, _>>()?,
        cf_class: classes.clone(),
        agent: agents.clone(),
        identity: identity.clone(),
        compound: compound.iter().map(|expression| vec![expression.clone()]).collect(),
    })
}
