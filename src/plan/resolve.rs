//! Scenario to plan: writes every default in. The only place where defaults live.

use std::fmt;
use std::time::Duration;

use reports::wave::WaveMode;
use serde_json::{Map, Value};

use super::{
    Batch, Behaviour, Churn, Client, Connect, Entry, EntryClient, Expected, Fidelity, Filter,
    Group, Plan, Question, Queue, ReplyDelay, Stuck, Threshold, brokers, clients, lifecycle,
    placement, timeline,
};
use crate::scenario::{
    self, BrokerName, MAIN_COLLECTIVE, Mode, Problem, Scenario, Span, Spread, SubscribeFlush,
    layout,
};

const SEED: u64 = 1;
/// Pattern of the identities of a group that names none.
pub(crate) const IDENTITY: &str = "{group}-{index}.choria.local";
/// Below half of the usual `somaxconn` (4096), so that no SYN is dropped.
const IN_FLIGHT: u64 = 500;
/// The real server's `plugin.choria.network.connect_timeout` (protocol document 1.2).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A round of nodes that leave and return.
pub(crate) const CHURN_EVERY: Duration = Duration::from_secs(60);
/// How long they are away.
pub(crate) const CHURN_AWAY: Duration = Duration::from_secs(10);
const CALLERID: &str = "choria=emulator";
const CLIENT_IDENTITY: &str = "client.choria.local";
/// The real client's `ttl` (protocol document 5.8).
const TTL_S: u32 = 60;
/// One suffices; the real client has 3 (protocol document 5.6).
const RECEIVERS: u32 = 1;
const EVERY: Duration = Duration::from_secs(5);
const DEADLINE: Duration = Duration::from_secs(10);
/// The real client's `--batch-sleep` (protocol document 5.8).
const BATCH_SLEEP: Duration = Duration::from_secs(1);
const LATE_GRACE: Duration = Duration::from_secs(1);

/// Why a scenario has no plan; at least one problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ResolveErrors(pub Vec<Problem>);

impl fmt::Display for ResolveErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// The plan of `scenario`. Pure (law 1): no clock, environment or file system.
///
/// # Errors
/// What is wrong with the scenario; never for one that [`Scenario::parse`] gave.
pub fn resolve(scenario: &Scenario) -> Result<Plan, ResolveErrors> {
    let problems = scenario.problems();
    if !problems.is_empty() {
        return Err(ResolveErrors(problems));
    }
    let names = layout(scenario.brokers.as_ref());
    let groups = groups(&scenario.fleet, &names);
    let client = client(scenario.client.as_ref(), &names);
    let mut entries = entries(&scenario.waves, &groups);
    for (entry, wave) in entries.iter_mut().zip(&scenario.waves) {
        entry.each_client = each_client(wave, entry, &client, &groups);
    }
    Ok(Plan {
        version: 1,
        name: scenario.name.clone(),
        description: scenario.description.as_deref().map(|text| text.trim().to_owned()),
        seed: scenario.seed.map_or(SEED, |seed| seed.0),
        brokers: brokers::resolve(scenario.brokers.as_ref()),
        groups,
        client,
        entries,
        timeline: timeline::steps(scenario, &names),
        thresholds: thresholds(scenario),
        late_grace: late_grace(scenario),
        tolerated_loss: {
            let tolerate = scenario.workers.as_ref().and_then(|workers| workers.tolerate);
            tolerate.map_or(0.0, |percent| percent.share)
        },
    })
}

fn span(given: Option<Span>, default: Duration) -> Duration {
    given.map_or(default, |span| span.0)
}

fn groups(given: &[scenario::Group], names: &[BrokerName]) -> Vec<Group> {
    let mut first = 0;
    let mut next = |nodes: u64| {
        let mine = first;
        first += nodes;
        mine
    };
    given.iter().map(|group| self::group(group, next(group.nodes.0), names)).collect()
}

fn group(given: &scenario::Group, first: u64, names: &[BrokerName]) -> Group {
    let connect = given.connect.clone().unwrap_or_default();
    let fidelity = given.fidelity.clone().unwrap_or_default();
    Group {
        name: given.group.clone(),
        first,
        nodes: given.nodes.0,
        identity: given.identity.clone().unwrap_or_else(|| IDENTITY.to_owned()),
        collectives: given.collectives().map(str::to_owned).collect(),
        emulated_agents: u32::try_from(given.emulated_agents()).unwrap_or(u32::MAX),
        stock_agents: given.more_stock_agents().map(str::to_owned).collect(),
        ddl_agents: given.own_agents().cloned().collect(),
        machines: given
            .machines
            .iter()
            .flatten()
            .filter_map(|given| given.resolve().ok())
            .collect(),
        facts: given.facts.clone().unwrap_or_default().0,
        classes: given.classes.clone().unwrap_or_default(),
        placement: placement::of_group(given, names),
        connect: Connect {
            rate_per_s: connect.rate.map(|rate| rate.per_s),
            in_flight: connect.in_flight.map_or(IN_FLIGHT, |n| n.0),
            timeout: span(connect.timeout, CONNECT_TIMEOUT),
        },
        behaviour: behaviour(given.behaviour.as_ref()),
        queue: Queue::of(given.queue),
        shared_identities: given.shares_identities(),
        fidelity: Fidelity {
            flush_each_subscription: fidelity.subscribe_flush != Some(SubscribeFlush::Once),
            flush_each_reply: fidelity.reply_flush != Some(scenario::ReplyFlush::None),
        },
        events: lifecycle::events(given.events.as_ref()),
        registration: given.registration.as_ref().map(lifecycle::registration),
        status_files: given.status_files.as_ref().map(lifecycle::status_files),
    }
}

fn behaviour(given: Option<&scenario::Behaviour>) -> Behaviour {
    let given = given.cloned().unwrap_or_default();
    Behaviour {
        reply_delay: match given.reply_delay {
            None => ReplyDelay::None,
            Some(scenario::ReplyDelay::Fixed(delay)) => ReplyDelay::Fixed { delay: delay.0 },
            Some(scenario::ReplyDelay::Spread(Spread::Uniform([low, high]))) => {
                ReplyDelay::Uniform { low: low.0, high: high.0 }
            }
            Some(scenario::ReplyDelay::Spread(Spread::Lognormal(lognormal))) => {
                ReplyDelay::Lognormal { median: lognormal.median.0, sigma: lognormal.sigma }
            }
        },
        no_reply: given.no_reply.map_or(0.0, |percent| percent.share),
        error_reply: given.error_reply.map_or(0.0, |percent| percent.share),
        churn: given.churn.map(|churn| Churn {
            share: churn.share.share,
            every: span(churn.every, CHURN_EVERY),
            away: span(churn.away, CHURN_AWAY),
        }),
        stuck: given.stuck.map(|stuck| Stuck { after: stuck.after.0 }),
    }
}

fn client(given: Option<&scenario::Client>, names: &[BrokerName]) -> Client {
    let connects_to = placement::of_client(given, names);
    let given = given.cloned().unwrap_or_default();
    Client {
        callerid: given.callerid.unwrap_or_else(|| CALLERID.to_owned()),
        identity: given.identity.unwrap_or_else(|| CLIENT_IDENTITY.to_owned()),
        ttl_s: given.ttl.map_or(TTL_S, |ttl| u32::try_from(ttl.0.as_secs()).unwrap_or(u32::MAX)),
        receivers: given.receivers.map_or(RECEIVERS, scenario::Count::saturating_u32),
        connects_to,
        at: clients::places(given.at.as_ref()),
    }
}

fn thresholds(scenario: &Scenario) -> Vec<Threshold> {
    let given = scenario.thresholds.iter().flat_map(|thresholds| &thresholds.0);
    given
        .flat_map(|(metric, expressions)| {
            expressions.iter().map(|expression| Threshold {
                metric: metric.clone(),
                expression: expression.clone(),
            })
        })
        .collect()
}

pub(super) fn late_grace(scenario: &Scenario) -> Duration {
    span(scenario.late_grace, LATE_GRACE)
}

pub(super) fn entries(given: &[scenario::Wave], groups: &[Group]) -> Vec<Entry> {
    let mut starts_at = Duration::ZERO;
    let mut entries = Vec::with_capacity(given.len());
    for wave in given {
        let entry = entry(wave, groups, starts_at);
        starts_at += entry.every * entry.waves();
        entries.push(entry);
    }
    entries
}

fn entry(given: &scenario::Wave, groups: &[Group], starts_at: Duration) -> Entry {
    let (question, selects, collective) = question(given, groups);
    let main = || groups.first().and_then(|group| group.collectives.first()).cloned();
    let collective = collective.or_else(main).unwrap_or_else(|| MAIN_COLLECTIVE.to_owned());
    let mode = match (given.mode, &given.batch) {
        (Some(Mode::Batch), _) | (None, Some(_)) => WaveMode::Batch,
        (Some(Mode::Direct), _) => WaveMode::Direct,
        (Some(Mode::Broadcast) | None, _) => WaveMode::Broadcast,
    };
    let wire = wire(mode, &question, &selects);
    Entry {
        name: given.name.clone(),
        expected: expected(groups, &question, &collective, &selects),
        question,
        collective,
        mode,
        batch: given
            .batch
            .map(|batch| Batch { size: batch.size.0, sleep: span(batch.sleep, BATCH_SLEEP) }),
        selects,
        wire,
        starts_at,
        every: span(given.every, EVERY),
        warmup: given.warmup.map_or(0, scenario::Count::saturating_u32),
        count: given.count.map_or(1, scenario::Count::saturating_u32),
        deadline: span(given.deadline, DEADLINE),
        clients: given.client_count().saturating_u32(),
        each_client: Vec::new(),
    }
}

/// The question, the filter with the agent in it, and the collective if one is given.
fn question(given: &scenario::Wave, groups: &[Group]) -> (Question, Filter, Option<String>) {
    let (question, agent, given_filter, collective) = match (&given.request, &given.discover) {
        (Some(request), _) => {
            let question = Question::Request {
                agent: request.agent.clone(),
                action: request.action.clone(),
                data: inputs(request, groups),
            };
            (question, Some(&request.agent), &request.filter, &request.collective)
        }
        (None, Some(discover)) => {
            (Question::Discover, discover.agent.as_ref(), &discover.filter, &discover.collective)
        }
        (None, None) => (Question::Discover, None, &None, &None),
    };
    (question, selects(given_filter.as_ref(), agent), collective.clone())
}

/// The filter as given, with the agent in it.
fn selects(given: Option<&scenario::Filter>, agent: Option<&String>) -> Filter {
    let mut filter = filter(given);
    if let Some(agent) = agent
        && !filter.agents.contains(agent)
    {
        filter.agents.insert(0, agent.clone());
    }
    filter
}

/// What of the filter stands in the request.
fn wire(mode: WaveMode, question: &Question, selects: &Filter) -> Filter {
    match mode {
        WaveMode::Broadcast => selects.clone(),
        WaveMode::Direct | WaveMode::Batch => {
            Filter { agents: vec![question.agent().to_owned()], ..Filter::default() }
        }
    }
}

/// The clients of an entry, where the scenario lists them.
fn each_client(
    given: &scenario::Wave,
    entry: &Entry,
    client: &Client,
    groups: &[Group],
) -> Vec<EntryClient> {
    let agent = match (&given.request, &given.discover) {
        (Some(request), _) => Some(&request.agent),
        (None, discover) => discover.as_ref().and_then(|discover| discover.agent.as_ref()),
    };
    let one = |(number, one): (u32, &scenario::WaveClient)| {
        let own = one.filter.as_ref().map(|filter| selects(Some(filter), agent));
        let selects = own.unwrap_or_else(|| entry.selects.clone());
        EntryClient {
            at: one.at.clone().unwrap_or_else(|| client.place(number).to_owned()),
            wire: wire(entry.mode, &entry.question, &selects),
            expected: expected(groups, &entry.question, &entry.collective, &selects),
            selects,
        }
    };
    let each = given.clients.as_ref().map(scenario::WaveClients::each).unwrap_or_default();
    (1..).zip(each).map(one).collect()
}

/// The inputs, with the defaults that the real client takes from a DDL.
fn inputs(request: &scenario::Request, groups: &[Group]) -> Map<String, Value> {
    let mut data = request.data.clone().unwrap_or_default().0;
    let ddl = groups.iter().find_map(|group| group.ddl(&request.agent));
    if let Some(action) = ddl.and_then(|ddl| ddl.action(&request.action)) {
        action.fill_in(&mut data);
    }
    data
}

fn filter(given: Option<&scenario::Filter>) -> Filter {
    let given = given.cloned().unwrap_or_default();
    Filter {
        identity: given.identity.unwrap_or_default(),
        classes: given.classes.unwrap_or_default(),
        facts: given.facts.unwrap_or_default(),
        agents: given.agents.unwrap_or_default(),
        compound: given.compound.unwrap_or_default(),
    }
}

/// Plain agent names are decided here, per group; everything else looks at single nodes.
fn expected(groups: &[Group], question: &Question, collective: &str, selects: &Filter) -> Expected {
    let (plain, patterns): (Vec<&String>, Vec<&String>) =
        selects.agents.iter().partition(|agent| !agent.starts_with('/'));
    let answers = |group: &&Group| {
        group.collectives.iter().any(|c| c == collective)
            && group.hosts(question.agent())
            && plain.iter().all(|agent| group.hosts(agent))
    };
    let positions: Vec<usize> = groups
        .iter()
        .enumerate()
        .filter(|(_, g)| answers(g))
        .map(|(position, _)| position)
        .collect();
    let nodes = groups.iter().filter(answers).map(|group| group.nodes).sum();
    let exact = patterns.is_empty()
        && selects.identity.is_empty()
        && selects.classes.is_empty()
        && selects.facts.is_empty()
        && selects.compound.is_empty();
    Expected { groups: positions, nodes, exact }
}
