//! Waves: names, numbers, modes, and that somebody is there to answer.

use std::collections::HashMap;

use emulator::filter::parse_fact;

use super::{
    at, check_place, check_positive, check_span, check_token, choose, request, strangers_only, told,
};
use crate::scenario::MAIN_COLLECTIVE;
use crate::scenario::clients::WaveClients;
use crate::scenario::error::Problem;
use crate::scenario::tree::Step;
use crate::scenario::types::{Filter, Group, Mode, Scenario, Wave};
use crate::scenario::units::Count;

/// Most clients of a wave: each has a connection of its own.
const MAX_CLIENTS: u64 = 1000;
/// Most waves of an entry.
const MAX_WAVES: u64 = 100_000;

/// Most waves of a scenario, a wave counted once for each client: a run keeps some 2 KiB of each, as
/// an order and as a record, and half a MiB of distributions for each entry and client.
const MAX_WAVES_IN_ALL: u64 = 100_000;
/// Most entries of a scenario, an entry counted once for each client.
const MAX_SENDERS_IN_ALL: u64 = 2_000;

/// Everything that is wrong with the waves.
pub(super) fn check(found: &mut Vec<Problem>, scenario: &Scenario) {
    let mut names: HashMap<&str, usize> = HashMap::new();
    for (index, wave) in scenario.waves.iter().enumerate() {
        if let Some(first) = names.insert(&wave.name, index) {
            let message = format!("wave `{}` is there already, as entry {}", wave.name, first + 1);
            let advice = "give each entry a name of its own: thresholds select by it";
            found.push(Problem::new(at!["waves", index, "name"], message, advice));
        }
        check_token(found, at!["waves", index, "name"], "wave name", &wave.name);
        check_numbers(found, index, wave);
        check_mode(found, index, wave);
        check_question(found, index, wave, scenario);
    }
    check_totals(found, &scenario.waves);
}

/// What a run keeps until its end has a bound.
fn check_totals(found: &mut Vec<Problem>, waves: &[Wave]) {
    let of = |count: Option<Count>, default| count.map_or(default, |count| count.0);
    let (mut in_all, mut senders) = (0_u64, 0_u64);
    for wave in waves {
        let clients = wave.client_count().0;
        let each = of(wave.warmup, 0).saturating_add(of(wave.count, 1));
        in_all = in_all.saturating_add(each.saturating_mul(clients));
        senders = senders.saturating_add(clients);
    }
    for (what, number, most, advice) in [
        (
            "waves",
            in_all,
            MAX_WAVES_IN_ALL,
            "write smaller numbers of `count`, or several scenarios",
        ),
        ("entries", senders, MAX_SENDERS_IN_ALL, "write fewer `clients`, or several scenarios"),
    ] {
        if number > most {
            let message =
                format!("{number} {what}, each counted once for each client: {most} at most");
            found.push(Problem::new(at!["waves"], message, advice).of_key());
        }
    }
}

fn check_numbers(found: &mut Vec<Problem>, index: usize, wave: &Wave) {
    let at = |key: &str| at!["waves", index, key];
    for (key, value, least, most) in [
        ("count", wave.count, 1, MAX_WAVES),
        ("warmup", wave.warmup, 0, MAX_WAVES),
        ("clients", wave.clients.as_ref().map(WaveClients::count), 1, MAX_CLIENTS),
    ] {
        if let Some(value) = value
            && !(least..=most).contains(&value.0)
        {
            let message = format!("`{key}` is {}", value.0);
            let advice = format!("write a number from {least} to {most}");
            found.push(Problem::new(at(key), message, advice));
        }
    }
    for (key, value) in [("every", wave.every), ("deadline", wave.deadline)] {
        if let Some(value) = value {
            check_positive(found, at(key), &format!("`{key}`"), value.0, &format!("{key}: 5s"));
        }
    }
}

fn check_mode(found: &mut Vec<Problem>, index: usize, wave: &Wave) {
    let at = |key: &str| at!["waves", index, key];
    match (wave.mode, &wave.batch) {
        (Some(Mode::Batch), None) => {
            let advice = "write `batch: {size: 100, sleep: 1s}` beside it";
            found.push(Problem::new(at("mode"), "mode batch without its sizes", advice));
        }
        (Some(Mode::Broadcast | Mode::Direct), Some(_)) => {
            let advice = "write `mode: batch`, or leave `batch` out";
            found.push(Problem::new(at("batch"), "`batch` belongs to mode batch", advice).of_key());
        }
        _ => {}
    }
    if wave.discover.is_some()
        && (wave.batch.is_some() || matches!(wave.mode, Some(Mode::Direct | Mode::Batch)))
    {
        let key = if wave.mode.is_some() { "mode" } else { "batch" };
        let advice = "a discovery finds the nodes, so it has mode broadcast: leave the key out";
        found.push(Problem::new(at(key), "a discovery is always a broadcast", advice).of_key());
    }
    if let Some(batch) = &wave.batch {
        if batch.size.0 == 0 {
            let advice = "write how many nodes are in a slice, such as `size: 100`";
            let at = at!["waves", index, "batch", "size"];
            found.push(Problem::new(at, "a slice of zero nodes", advice));
        }
        if let Some(sleep) = batch.sleep {
            check_span(found, at!["waves", index, "batch", "sleep"], "pause", sleep.0);
        }
    }
}

/// Whom the wave asks: somebody must be there to answer.
fn check_question(found: &mut Vec<Problem>, index: usize, wave: &Wave, scenario: &Scenario) {
    let fleet = &scenario.fleet;
    let (kind, agent, collective, filter) = match (&wave.discover, &wave.request) {
        (Some(discover), None) => {
            ("discover", discover.agent.as_ref(), &discover.collective, &discover.filter)
        }
        (None, Some(request)) => {
            ("request", Some(&request.agent), &request.collective, &request.filter)
        }
        (both, _) => {
            let message = match both {
                Some(_) => "a wave is either a discovery or a request, not both",
                None => "a wave that asks nothing",
            };
            let advice = "write `discover: {}` or `request: {agent: rpcutil, action: ping}`";
            found.push(Problem::new(at!["waves", index], message, advice));
            return;
        }
    };
    if let Some(filter) = filter {
        check_filter(found, at!["waves", index, kind, "filter"], filter);
    }
    check_clients(found, index, wave);
    if strangers_only(scenario) {
        return;
    }
    if let Some(request) = &wave.request {
        request::check(found, index, request, fleet);
    }
    let at = |key: &str| at!["waves", index, kind, key];
    let main = || fleet.first().map_or(MAIN_COLLECTIVE, Group::main_collective);
    let asked = collective.as_deref().unwrap_or_else(main);
    if !fleet.iter().any(|group| group.collectives().any(|c| c == asked)) {
        let message = format!("no group is in collective `{asked}`");
        let known: Vec<&str> = fleet.iter().flat_map(Group::collectives).collect();
        found.push(Problem::new(at("collective"), message, choose(asked, &known)));
        return;
    }
    if let Some(agent) = agent
        && !fleet.iter().any(|group| group.hosts(agent) && group.collectives().any(|c| c == asked))
    {
        let message = format!("no group in collective `{asked}` hosts agent `{agent}`");
        found.push(Problem::new(at("agent"), message, suggest_agent(agent, fleet)));
    }
}

fn suggest_agent(agent: &str, fleet: &[Group]) -> String {
    let number = agent.strip_prefix("emulated").and_then(|digits| digits.parse::<u64>().ok());
    if let Some(number) = number {
        return format!(
            "write `agents: {}` for the group that shall host it",
            number.saturating_add(1)
        );
    }
    let known: Vec<String> = fleet.iter().flat_map(Group::hosted_agents).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    choose(agent, &known)
}

fn check_filter(found: &mut Vec<Problem>, at: Vec<Step>, filter: &Filter) {
    for (position, fact) in filter.facts.iter().flatten().enumerate() {
        if let Err(error) = parse_fact(fact) {
            let at = at.iter().cloned().chain(at!["facts", position]).collect();
            found.push(told(at, &error.to_string()));
        }
    }
}

/// Clients with a place and a filter of their own.
fn check_clients(found: &mut Vec<Problem>, index: usize, wave: &Wave) {
    let each = wave.clients.as_ref().map(WaveClients::each).unwrap_or_default();
    for (position, client) in each.iter().enumerate() {
        if let Some(place) = &client.at {
            check_place(found, at!["waves", index, "clients", position, "at"], place);
        }
        if let Some(filter) = &client.filter {
            check_filter(found, at!["waves", index, "clients", position, "filter"], filter);
        }
    }
}
