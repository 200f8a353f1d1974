//! The meaning of a scenario: what types cannot refuse, each with its path and what to write.
//!
//! Pure: no file is looked for and no name resolved.

use std::collections::HashMap;
use std::time::Duration;

use super::error::{Problem, nearest};
use super::tree::Step;
use super::types::{Brokers, Client, Group, Mode, ReplyDelay, Scenario, Spread, Topology, Wave};

/// Most nodes of a fleet: global indices and counts stay far from any limit of arithmetic.
const MAX_NODES: u64 = 10_000_000;
/// Most emulated agents of a node.
const MAX_AGENTS: u64 = 1000;
/// Most clients of a wave: each is a connection of its own.
const MAX_CLIENTS: u64 = 1000;
/// Most waves of an entry.
const MAX_WAVES: u64 = 1_000_000;
/// The longest duration a scenario may ask for, so that sums of instants stay exact.
const MAX_SPAN: Duration = Duration::from_secs(7 * 24 * 3600);
/// Least time to live of a v1 request (protocol document 3.5).
const MIN_TTL: Duration = Duration::from_secs(30);

/// A path from its parts.
macro_rules! path {
    ($($step:expr),* $(,)?) => { vec![$(Step::from($step)),*] };
}

/// Everything that is wrong with `scenario`.
pub(super) fn problems(scenario: &Scenario) -> Vec<Problem> {
    let mut found = Vec::new();
    if scenario.version.0 != 1 {
        let message = format!("version {} of the format is not known", scenario.version.0);
        found.push(Problem::new(path!["version"], message, "write `version: 1`"));
    }
    check_file_name(&mut found, &scenario.name);
    if let Some(brokers) = &scenario.brokers {
        check_brokers(&mut found, brokers);
    }
    check_fleet(&mut found, &scenario.fleet);
    if let Some(client) = &scenario.client {
        check_client(&mut found, client);
    }
    check_waves(&mut found, scenario);
    found
}

fn check_file_name(found: &mut Vec<Problem>, name: &str) {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if name.is_empty() || name.len() > 100 || name.starts_with(['.', '-']) || !plain {
        let message = format!("`{name}` cannot name a result folder");
        let advice = "write a name of letters, digits, `-`, `_` and `.`, such as `first-look`";
        found.push(Problem::new(path!["name"], message, advice));
    }
}

fn check_brokers(found: &mut Vec<Problem>, brokers: &Brokers) {
    let urls = brokers.urls.as_deref().unwrap_or_default();
    match brokers.topology.unwrap_or(Topology::Single) {
        Topology::Single => {
            if brokers.urls.is_some() {
                let message = "`urls` belong to a network that is there already";
                let advice = "write `topology: external` beside them, or leave `urls` out";
                found.push(Problem::new(path!["brokers", "urls"], message, advice).of_key());
            }
            if brokers.nats.is_some() && brokers.path.is_some() {
                let message = "`nats` and `path` both say which nats-server to start";
                let advice = "keep one of the two";
                found.push(Problem::new(path!["brokers", "path"], message, advice).of_key());
            }
        }
        Topology::External => {
            if urls.is_empty() {
                let message = "topology external needs the URLs of the network";
                let advice = "write `urls: [\"nats://broker.example.net:4222\"]`";
                found.push(Problem::new(path!["brokers", "topology"], message, advice));
            }
            for key in ["nats", "path"] {
                let given = if key == "nats" { &brokers.nats } else { &brokers.path };
                if given.is_some() {
                    let message = format!("`{key}` is for brokers that are started here");
                    let advice = format!("leave `{key}` out with topology external");
                    found.push(Problem::new(path!["brokers", key], message, advice).of_key());
                }
            }
        }
        Topology::Cluster | Topology::Leafnodes | Topology::Supercluster | Topology::Federation => {
            let message = "this topology is not there yet";
            let advice = "write `single` (one managed broker) or `external` (a network at `urls`)";
            found.push(Problem::new(path!["brokers", "topology"], message, advice));
        }
    }
    for (index, url) in urls.iter().enumerate() {
        if let Err(why) = check_url(url) {
            let advice = "write it as in `nats://broker.example.net:4222`";
            found.push(Problem::new(path!["brokers", "urls", index], why, advice));
        }
    }
    if let Some(version) = &brokers.nats
        && !is_version(version)
    {
        let message = format!("`{version}` is no version of nats-server");
        let advice = "write three numbers, such as `2.12.15`";
        found.push(Problem::new(path!["brokers", "nats"], message, advice));
    }
}

fn check_url(text: &str) -> Result<(), String> {
    let url = url::Url::parse(text).map_err(|error| format!("`{text}` is no URL ({error})"))?;
    match url.scheme() {
        "nats" if url.has_host() => Ok(()),
        "nats" => Err(format!("`{text}` names no host")),
        scheme => Err(format!("scheme `{scheme}` is not there yet")),
    }
}

/// Three numbers, with or without `v` before or a pre-release such as `-RC.1` behind.
fn is_version(text: &str) -> bool {
    let text = text.strip_prefix('v').unwrap_or(text);
    let numbers = text.split_once('-').map_or(text, |(numbers, _)| numbers);
    let parts: Vec<&str> = numbers.split('.').collect();
    parts.len() == 3 && parts.iter().all(|part| part.parse::<u32>().is_ok())
}

fn check_fleet(found: &mut Vec<Problem>, fleet: &[Group]) {
    if fleet.is_empty() {
        let advice = "write a group: `- {group: default, nodes: 1000}`";
        found.push(Problem::new(path!["fleet"], "a fleet without groups", advice));
    }
    let mut names: HashMap<&str, usize> = HashMap::new();
    let mut nodes = 0u64;
    for (index, group) in fleet.iter().enumerate() {
        if let Some(first) = names.insert(&group.group, index) {
            let message =
                format!("group `{}` is there already, as entry {}", group.group, first + 1);
            let advice = "give each group a name of its own";
            found.push(Problem::new(path!["fleet", index, "group"], message, advice));
        }
        nodes = nodes.saturating_add(group.nodes.0);
        check_group(found, index, group);
    }
    if nodes > MAX_NODES {
        let message = format!("{nodes} nodes in all");
        let advice = format!("a fleet has at most {MAX_NODES} nodes");
        found.push(Problem::new(path!["fleet"], message, advice));
    }
}

fn check_group(found: &mut Vec<Problem>, index: usize, group: &Group) {
    let at = |key: &str| path!["fleet", index, key];
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
    check_connect(found, index, group);
    check_behaviour(found, index, group);
}

fn check_collectives(found: &mut Vec<Problem>, index: usize, group: &Group) {
    let Some(collectives) = &group.collectives else { return };
    let at = path!["fleet", index, "collectives"];
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
        let at = path!["fleet", index, "connect", "in_flight"];
        found.push(Problem::new(at, "no connection may be in flight", advice));
    }
    if let Some(timeout) = connect.timeout {
        let at = path!["fleet", index, "connect", "timeout"];
        check_positive(found, at, "connect timeout", timeout.0, "timeout: 2s");
    }
}

fn check_behaviour(found: &mut Vec<Problem>, index: usize, group: &Group) {
    let Some(behaviour) = &group.behaviour else { return };
    let at = path!["fleet", index, "behaviour", "reply_delay"];
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

fn check_client(found: &mut Vec<Problem>, client: &Client) {
    if let Some(callerid) = &client.callerid
        && !is_callerid(callerid)
    {
        let message = format!("`{callerid}` is no caller id");
        let advice = "write lower case letters, `=` and a name, such as `choria=emulator`";
        found.push(Problem::new(path!["client", "callerid"], message, advice));
    }
    if let Some(identity) = &client.identity
        && let Err(why) = check_subject_part(identity)
    {
        let advice = "write a name such as `client.choria.local`";
        found.push(Problem::new(path!["client", "identity"], why, advice));
    }
    if let Some(ttl) = client.ttl {
        let at = path!["client", "ttl"];
        if ttl.0 < MIN_TTL || ttl.0.subsec_nanos() != 0 {
            let message = format!("a time to live of {ttl} is refused by Choria servers");
            found.push(Problem::new(at.clone(), message, "write whole seconds, at least `30s`"));
        }
        check_span(found, at, "time to live", ttl.0);
    }
}

/// `^[a-z]+=([\w\.\-]+)$` (protocol document 3.7).
fn is_callerid(text: &str) -> bool {
    text.split_once('=').is_some_and(|(kind, name)| {
        !kind.is_empty()
            && kind.chars().all(|c| c.is_ascii_lowercase())
            && !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    })
}

fn check_waves(found: &mut Vec<Problem>, scenario: &Scenario) {
    let mut names: HashMap<&str, usize> = HashMap::new();
    for (index, wave) in scenario.waves.iter().enumerate() {
        if let Some(first) = names.insert(&wave.name, index) {
            let message = format!("wave `{}` is there already, as entry {}", wave.name, first + 1);
            let advice = "give each entry a name of its own: thresholds select by it";
            found.push(Problem::new(path!["waves", index, "name"], message, advice));
        }
        check_token(found, path!["waves", index, "name"], "wave name", &wave.name);
        check_numbers(found, index, wave);
        check_mode(found, index, wave);
        check_question(found, index, wave, &scenario.fleet);
    }
}

fn check_numbers(found: &mut Vec<Problem>, index: usize, wave: &Wave) {
    let at = |key: &str| path!["waves", index, key];
    for (key, value, least, most) in [
        ("count", wave.count, 1, MAX_WAVES),
        ("warmup", wave.warmup, 0, MAX_WAVES),
        ("clients", wave.clients, 1, MAX_CLIENTS),
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
    let at = |key: &str| path!["waves", index, key];
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
            let at = path!["waves", index, "batch", "size"];
            found.push(Problem::new(at, "a slice of zero nodes", advice));
        }
        if let Some(sleep) = batch.sleep {
            check_span(found, path!["waves", index, "batch", "sleep"], "pause", sleep.0);
        }
    }
}

/// Whom the wave asks: somebody must be there to answer.
fn check_question(found: &mut Vec<Problem>, index: usize, wave: &Wave, fleet: &[Group]) {
    let (kind, agent, collective) = match (&wave.discover, &wave.request) {
        (Some(discover), None) => ("discover", discover.agent.as_ref(), &discover.collective),
        (None, Some(request)) => ("request", Some(&request.agent), &request.collective),
        (both, _) => {
            let message = match both {
                Some(_) => "a wave is either a discovery or a request, not both",
                None => "a wave that asks nothing",
            };
            let advice = "write `discover: {}` or `request: {agent: rpcutil, action: ping}`";
            found.push(Problem::new(path!["waves", index], message, advice));
            return;
        }
    };
    let at = |key: &str| path!["waves", index, kind, key];
    let main = || fleet.first().map_or(super::MAIN_COLLECTIVE, Group::main_collective);
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
        let known: Vec<String> = fleet.iter().flat_map(Group::hosted_agents).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        found.push(Problem::new(at("agent"), message, choose(agent, &known)));
    }
}

fn choose(name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let mut names: Vec<&str> = known.to_vec();
            names.dedup();
            names.truncate(20);
            format!("there are: {}", names.join(", "))
        }
    }
}

fn check_positive(found: &mut Vec<Problem>, at: Vec<Step>, what: &str, span: Duration, like: &str) {
    if span.is_zero() {
        let advice = format!("write a duration above zero, such as `{like}`");
        found.push(Problem::new(at.clone(), format!("{what} of zero"), advice));
    }
    check_span(found, at, what, span);
}

fn check_span(found: &mut Vec<Problem>, at: Vec<Step>, what: &str, span: Duration) {
    if span > MAX_SPAN {
        let message = format!("{what} is longer than a week");
        found.push(Problem::new(at, message, "write a shorter one: the longest is `7days`"));
    }
}

/// One token of a NATS subject.
fn check_token(found: &mut Vec<Problem>, at: Vec<Step>, what: &str, text: &str) {
    let why = if text.contains('.') {
        Err(format!("`{text}` holds a dot"))
    } else {
        check_subject_part(text)
    };
    if let Err(why) = why {
        let advice = format!("a {what} is one word without dots, blanks, `*` and `>`");
        found.push(Problem::new(at, why, advice));
    }
}

/// What may stand in a NATS subject: no blanks, wildcards, control characters, or empty tokens.
fn check_subject_part(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("an empty name".to_owned());
    }
    if let Some(bad) =
        text.chars().find(|c| c.is_whitespace() || c.is_control() || "*>".contains(*c))
    {
        return Err(format!("`{}` holds {bad:?}, which NATS subjects forbid", text.escape_debug()));
    }
    if text.split('.').any(str::is_empty) {
        return Err(format!("`{text}` has an empty part between dots"));
    }
    Ok(())
}
