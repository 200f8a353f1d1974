//! The plan's fleet as the emulator takes it. Addresses are known only when the brokers are up, so
//! they are handed in.

use std::net::IpAddr;

use emulator::spec::{self, FleetSpec, GroupSpec, Server, Share};

use super::{Churn, Group, Plan, ReplyDelay, Stuck};

/// What a fleet needs beside the plan: where it sits.
#[derive(Debug, Clone)]
pub struct Seat {
    /// The part of the nodes that this process carries.
    pub share: Share,
    /// Threads that carry nodes, at least 1.
    pub shards: usize,
    /// The brokers by their positions.
    pub servers: Vec<Server>,
    /// Source addresses to spread connections over; empty: the system chooses.
    pub source_addresses: Vec<IpAddr>,
    /// What the nodes show to the brokers.
    pub login: spec::Login,
}

impl Plan {
    /// The fleet of this plan, in this seat.
    #[must_use]
    pub fn fleet_spec(&self, seat: &Seat) -> FleetSpec {
        FleetSpec {
            seed: self.seed,
            groups: self.groups.iter().map(|group| self.group_spec(group, seat)).collect(),
            share: seat.share,
            shards: seat.shards.max(1),
            clock: spec::Clock::System,
        }
    }

    fn group_spec(&self, group: &Group, seat: &Seat) -> GroupSpec {
        let (positions, homes) = group.placement.known(&self.brokers);
        GroupSpec {
            name: group.name.clone(),
            first: group.first,
            nodes: group.nodes,
            identity: group.identity.clone(),
            collectives: group.collectives.clone(),
            emulated_agents: group.emulated_agents,
            more_agents: spec::MoreAgents {
                stock: group.stock_agents.clone(),
                ddl: group.ddl_agents.clone(),
            },
            machines: group.machines.clone(),
            facts: group.facts.clone(),
            classes: group.classes.clone(),
            behaviour: behaviour(group),
            servers: positions.iter().filter_map(|at| seat.servers.get(*at)).cloned().collect(),
            homes,
            source_addresses: seat.source_addresses.clone(),
            connect: spec::Connect {
                rate_per_s: group.connect.rate_per_s,
                in_flight: usize::try_from(group.connect.in_flight).unwrap_or(usize::MAX),
                timeout: group.connect.timeout,
            },
            login: seat.login.clone(),
            fidelity: spec::Fidelity {
                flush_each_subscription: group.fidelity.flush_each_subscription,
                flush_each_reply: group.fidelity.flush_each_reply,
            },
            shown: None,
            lifecycle: group.lifecycle_spec(),
        }
    }
}

fn behaviour(group: &Group) -> spec::Behaviour {
    let Group { behaviour, queue, .. } = group;
    spec::Behaviour {
        reply_delay: match behaviour.reply_delay {
            ReplyDelay::None => spec::Delay::None,
            ReplyDelay::Fixed { delay } => spec::Delay::Fixed(delay),
            ReplyDelay::Uniform { low, high } => spec::Delay::Uniform(low, high),
            ReplyDelay::Lognormal { median, sigma } => spec::Delay::Lognormal { median, sigma },
        },
        no_reply: behaviour.no_reply,
        error_reply: behaviour.error_reply,
        queue: queue.spec(),
        churn: behaviour.churn.map(|Churn { share, every, away }| spec::Churn {
            share,
            every,
            away,
        }),
        stuck: behaviour.stuck.map(|Stuck { after }| spec::Stuck { after }),
    }
}
