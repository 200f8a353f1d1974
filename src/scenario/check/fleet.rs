//! Groups of nodes: names, numbers, patterns, and that no two nodes have one identity.

use std::collections::HashMap;
use std::time::Duration;

use emulator::pattern::{FactTemplate, Pattern, Vars};

use super::{
    agents, at, check_positive, check_span, check_subject_part, check_token, lifecycle,
    strangers_only,
};
use crate::plan::{CHURN_AWAY, CHURN_EVERY, IDENTITY};
use crate::scenario::error::Problem;
use crate::scenario::types::{Churn, FullQueue, Group, Queue, ReplyDelay, Scenario, Spread};
use crate::scenario::units::Span;

/// Most nodes of a fleet: what has been shown to work is 200,000, and every identity is compared.
const MAX_NODES: u64 = 1_000_000;
/// Most places of a request queue: far more than any real server has.
const MAX_QUEUE: u64 = 65_536;
/// Longest connect timeout that a server takes (protocol document 1.2).
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(120);
/// Most emulated agents of a node.
const MAX_AGENTS: u64 = 1000;

/// Everything that is wrong with the fleet.
pub(super) fn check(found: &mut Vec<Problem>, scenario: &Scenario) {
    let fleet = &scenario.fleet;
    if fleet.is_empty() && !strangers_only(scenario) {
        let advice = "write a group: `- {group: default, nodes: 1000}`; only topology external may have none";
        found.push(Problem::new(at!["fleet"], "a fleet without groups", advice));
    }
    let mut names: HashMap<&str, usize> = HashMap::new();
    let mut nodes = 0u64;
    for (index, group) in fleet.iter().enumerate() {
        if let Some(first) = names.insert(&group.group, index) {
            let message =
                format!("group `{}` is there already, as entry {}", group.group, first + 1);
            let advice = "give each group a name of its own";
            found.push(Problem::new(at!["fleet", index, "group"], message, advice));
        }
        nodes = nodes.saturating_add(group.nodes.0);
        check_group(found, index, group);
    }
    if nodes > MAX_NODES {
        let message = format!("{nodes} nodes in all");
        let advice = format!("a fleet has at most {MAX_NODES} nodes");
        found.push(Problem::new(at!["fleet"], message, advice));
    } else {
        check_identities(found, fleet);
        lifecycle::check_twins(found, fleet);
    }
}

/// Every identity is a subject, and no two are the same (the real network would mix their replies).
fn check_identities(found: &mut Vec<Problem>, fleet: &[Group]) {
    let mut owners: HashMap<String, &Group> = HashMap::new();
    let mut first = 0;
    for (position, group) in fleet.iter().enumerate() {
        let at = at!["fleet", position, "identity"];
        let indices = first..first + group.nodes.0;
        first = indices.end;
        let pattern = match Pattern::parse(group.identity.as_deref().unwrap_or(IDENTITY)) {
            Ok(pattern) => pattern,
            Err(error) => {
                found.push(Problem::new(at, error.problem, error.advice));
                continue;
            }
        };
        for index in indices {
            let mut identity = String::new();
            pattern.render(&Vars { index, group: &group.group }, &mut identity);
            if let Err(why) = check_identity(&identity, group) {
                let advice = format!("write an identity such as `{IDENTITY}`");
                found.push(Problem::new(at, why, advice));
                break;
            }
            if let Some(owner) = owners.get(&identity) {
                if owner.shares_identities() && group.shares_identities() {
                    continue;
                }
                let whose = match owner.group == group.group {
                    true => format!("two nodes of group `{}`", owner.group),
                    false => {
                        format!("a node of group `{}` and one of `{}`", owner.group, group.group)
                    }
                };
                let advice = format!(
                    "let the pattern differ for each node, as `{IDENTITY}` does, or write \
                     `shared_identities: true` in each group that wants it"
                );
                found.push(Problem::new(at, format!("{whose} have identity `{identity}`"), advice));
                break;
            }
            owners.insert(identity, group);
        }
    }
}

/// An identity is part of a subject, and names a file where nodes write status files.
fn check_identity(identity: &str, group: &Group) -> Result<(), String> {
    check_subject_part(identity)?;
    if group.status_files.is_some() && identity.contains('/') {
        return Err(format!("`{identity}` holds a slash, and names a status file"));
    }
    Ok(())
}

fn check_patterns(found: &mut Vec<Problem>, index: usize, group: &Group) {
    let facts = group.facts.as_ref().map(|facts| FactTemplate::compile(&facts.0));
    if let Some(Err(error)) = facts {
        let message = format!("fact `{}`: {}", error.fact, error.error.problem);
        let at = at!["fleet", index, "facts", error.fact.as_str()];
        found.push(Problem::new(at, message, error.error.advice));
    }
    for (position, class) in group.classes.iter().flatten().enumerate() {
        if let Err(error) = Pattern::parse(class) {
            let at = at!["fleet", index, "classes", position];
            found.push(Problem::new(at, error.problem, error.advice));
        }
    }
}

fn check_group(found: &mut Vec<Problem>, index: usize, group: &Group) {
    let at = |key: &str| at!["fleet", index, key];
    check_token(found, at("group"), "group name", &group.group);
    if group.nodes.0 == 0 {
        let advice = "write the number of nodes, at least 1, or take the group out";
        found.push(Problem::new(at("nodes"), "a group of zero nodes", advice));
    }
    if let Some(agents) = group.agents
        && agents.0 > MAX_AGENTS
    {
        let advice = format!("a node has at most {MAX_AGENTS} emulated agents");
        found.push(Problem::new(at("agents"), format!("{} agents", agents.0), advice));
    }
    check_collectives(found, index, group);
    agents::check(found, index, group);
    check_connect(found, index, group);
    check_behaviour(found, index, group);
    check_queue(found, index, group);
    check_patterns(found, index, group);
    lifecycle::check(found, index, group);
}

fn check_collectives(found: &mut Vec<Problem>, index: usize, group: &Group) {
    let Some(collectives) = &group.collectives else { return };
    let at = at!["fleet", index, "collectives"];
    if collectives.is_empty() {
        let advice = "write at least the main one, such as `[mcollective]`, or leave the key out";
        found.push(Problem::new(at.clone(), "a node without collectives", advice));
    }
    for (position, collective) in collectives.iter().enumerate() {
        let mut at = at.clone();
        at.push(position.into());
        if collectives[..position].contains(collective) {
            let message = format!("collective `{collective}` is listed twice");
            found.push(Problem::new(at.clone(), message, "keep one of them"));
        }
        check_token(found, at, "collective", collective);
    }
}

fn check_connect(found: &mut Vec<Problem>, index: usize, group: &Group) {
    let Some(connect) = &group.connect else { return };
    if connect.in_flight.is_some_and(|n| n.0 == 0) {
        let advice = "write how many may connect at once, such as `in_flight: 500`";
        let at = at!["fleet", index, "connect", "in_flight"];
        found.push(Problem::new(at, "no connection may be in flight", advice));
    }
    if let Some(timeout) = connect.timeout {
        let at = at!["fleet", index, "connect", "timeout"];
        check_positive(found, at.clone(), "connect timeout", timeout.0, "timeout: 2s");
        if timeout.0 > CONNECT_TIMEOUT_MAX {
            let message = format!("a connect timeout of {timeout} is refused by Choria servers");
            found.push(Problem::new(at, message, "write `2m` or less"));
        }
    }
}

fn check_queue(found: &mut Vec<Problem>, index: usize, group: &Group) {
    let at = at!["fleet", index, "queue"];
    let FullQueue { size, handling } = match group.queue {
        None => return,
        Some(Queue::Size(size)) => FullQueue { size: Some(size), handling: None },
        Some(Queue::Full(queue)) => queue,
    };
    if let Some(size) = size
        && !(1..=MAX_QUEUE).contains(&size.0)
    {
        let advice = format!("write a number from 1 to {MAX_QUEUE}; a real server has 10");
        found.push(Problem::new(at.clone(), format!("a queue of {} places", size.0), advice));
    }
    if let Some(handling) = handling {
        check_span(found, at, "handling", handling.0);
    }
}

fn check_churn(found: &mut Vec<Problem>, index: usize, churn: &Churn) {
    let at = |key: &str| at!["fleet", index, "behaviour", "churn", key];
    let every = churn.every.unwrap_or(Span(CHURN_EVERY));
    let away = churn.away.unwrap_or(Span(CHURN_AWAY));
    if churn.share.share <= 0.0 {
        let advice = "write the share that leaves in a round, such as `5%`, or take `churn` out";
        found.push(Problem::new(at("share"), "a churn in which nobody leaves", advice));
    }
    check_positive(found, at("every"), "round", every.0, "every: 1m");
    check_positive(found, at("away"), "time away", away.0, "away: 10s");
    if away >= every && !every.0.is_zero() {
        let message = format!("away for {away}, in rounds of {every}");
        let advice = "write a time away that is shorter than a round";
        found.push(Problem::new(at("away"), message, advice));
    }
}

fn check_behaviour(found: &mut Vec<Problem>, index: usize, group: &Group) {
    let Some(behaviour) = &group.behaviour else { return };
    if let Some(churn) = &behaviour.churn {
        check_churn(found, index, churn);
    }
    if let Some(stuck) = behaviour.stuck {
        let at = at!["fleet", index, "behaviour", "stuck", "after"];
        check_span(found, at, "time until nodes hang", stuck.after.0);
    }
    let at = at!["fleet", index, "behaviour", "reply_delay"];
    match behaviour.reply_delay {
        None => {}
        Some(ReplyDelay::Fixed(delay)) => check_span(found, at, "reply delay", delay.0),
        Some(ReplyDelay::Spread(Spread::Uniform([low, high]))) => {
            if low > high {
                let message = format!("uniform from {low} to {high} is empty");
                let advice = format!("write the smaller one first: `uniform: [{high}, {low}]`");
                found.push(Problem::new(at.clone(), message, advice));
            }
            check_span(found, at, "reply delay", high.0);
        }
        Some(ReplyDelay::Spread(Spread::Lognormal(lognormal))) => {
            if !(0.0..=5.0).contains(&lognormal.sigma) {
                let message = format!("sigma {} is out of range", lognormal.sigma);
                let advice = "write a sigma from 0 to 5; 0.6 is a usual spread";
                found.push(Problem::new(at.clone(), message, advice));
            }
            check_positive(found, at, "median", lognormal.median.0, "median: 40ms");
        }
    }
}
