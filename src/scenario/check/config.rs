//! The user's own configuration of brokers: what is ours to say, and what would be said twice.
//!
//! A map is merged into ours, whatever its keys are called. Text is appended as it is: of two lines that spell a key
//! alike the server takes the last, of two that do not, one or the other, as chance has it.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::at;
use super::brokers::check_meant;
use super::own_map::{check_map, said_twice};
use crate::broker::config::{Cluster, Gateway};
use crate::broker::{Ours, Setting, Wiring, is_place, is_variable, merge, our_name, settings};
use crate::scenario::brokers::{BrokerConfig, Brokers, Topology};
use crate::scenario::error::Problem;
use crate::scenario::layout::{BrokerName, Role, layout};
use crate::scenario::tree::Step;

/// A map or a text of the user's.
struct Part<'a> {
    at: Vec<Step>,
    /// A name, cluster or pattern; `None`: of all brokers.
    who: Option<&'a str>,
    map: Option<&'a Map<String, Value>>,
    said: Vec<Said<'a>>,
}

/// A setting at the top of it.
struct Said<'a> {
    /// As it is spelled.
    key: String,
    /// As we call it.
    name: String,
    /// As messages have it: what it is called, and where it is.
    shown: String,
    /// Of a map.
    value: Option<&'a Value>,
}

/// Everything that is wrong with `config` and `config_for`.
pub(super) fn check(found: &mut Vec<Problem>, brokers: &Brokers) {
    let names = layout(Some(brokers));
    for (name, _) in brokers.config_for.iter().flat_map(|each| &each.0) {
        check_meant(found, at!["brokers", "config_for", name.as_str()], name, &names, true);
    }
    let parts = parts(brokers);
    for part in &parts {
        check_places(found, part, brokers.listen.is_some());
        if let Some(map) = part.map {
            check_map(found, &part.at, map);
        }
    }
    let mut kinds = HashSet::new();
    let mut told = HashSet::new();
    for broker in &names {
        let own: Vec<usize> = (0..parts.len()).filter(|at| parts[*at].is_for(broker)).collect();
        let in_cluster = broker.cluster.is_some();
        // Nothing else of a broker makes a difference.
        if !kinds.insert((own.clone(), in_cluster, broker.role == Role::Hub)) {
            continue;
        }
        let ours = Ours::of(wiring(brokers, broker), brokers.profiling == Some(true));
        let own: Vec<&Part<'_>> = own.into_iter().map(|at| &parts[at]).collect();
        for problem in [unjoined(&own, &ours), competing(&own, &ours), clashing(&own)].concat() {
            // Once, whomever it is said to.
            if told.insert(problem.clone()) {
                found.push(problem);
            }
        }
    }
}

/// The user's own configuration, that of all brokers first.
fn parts(brokers: &Brokers) -> Vec<Part<'_>> {
    let of_all =
        brokers.config.iter().map(|config| Part::new(at!["brokers", "config"], None, config));
    let of_some = brokers.config_for.iter().flat_map(|each| &each.0);
    let of_some = of_some.map(|(who, config)| {
        Part::new(at!["brokers", "config_for", who.as_str()], Some(who), config)
    });
    of_all.chain(of_some).collect()
}

impl<'a> Part<'a> {
    fn new(at: Vec<Step>, who: Option<&'a str>, config: &'a BrokerConfig) -> Self {
        match config {
            BrokerConfig::Map(map) => {
                let said = map.0.iter().map(|(key, value)| Said::of_map(key, value)).collect();
                Self { at, who, map: Some(&map.0), said }
            }
            BrokerConfig::Text(text) => {
                let said = settings(text).into_iter().map(Said::of_text).collect();
                Self { at, who, map: None, said }
            }
        }
    }

    fn is_for(&self, broker: &BrokerName) -> bool {
        self.who.is_none_or(|who| broker.is_meant_by(who))
    }

    /// Something wrong with a setting of it.
    fn problem(&self, said: &Said<'_>, message: String, advice: impl Into<String>) -> Problem {
        if self.map.is_none() {
            return Problem::new(self.at.clone(), message, advice);
        }
        let at = [&self.at[..], &[said.key.as_str().into()]].concat();
        Problem::new(at, message, advice).of_key()
    }
}

impl<'a> Said<'a> {
    fn of_map(key: &str, value: &'a Value) -> Self {
        let shown = format!("`{key}`");
        Self { key: key.to_owned(), name: our_name(key), shown, value: Some(value) }
    }

    fn of_text(Setting { key, line }: Setting) -> Self {
        let shown = format!("`{key}` in line {line} of the text");
        Self { name: our_name(&key), key, shown, value: None }
    }
}

/// How a broker is joined, but for its ports.
fn wiring(brokers: &Brokers, broker: &BrokerName) -> Wiring {
    let is_joined = brokers.topology == Some(Topology::Supercluster);
    let cluster = broker.cluster.as_ref();
    Wiring {
        cluster: cluster.map(|name| Cluster { name: name.clone(), port: 0, routes: Vec::new() }),
        gateway: cluster.filter(|_| is_joined).map(|name| Gateway {
            name: name.clone(),
            port: 0,
            clusters: Vec::new(),
        }),
        leaf_port: (broker.role == Role::Hub).then_some(0),
        hub_port: (broker.role == Role::Leaf).then_some(0),
    }
}

/// Where a broker listens is said already.
fn check_places(found: &mut Vec<Problem>, part: &Part<'_>, is_open: bool) {
    for said in &part.said {
        let Said { name, shown, .. } = said;
        if is_place(name) {
            let message = format!("{shown} is ours to say: the run must find the broker");
            found.push(part.problem(said, message, "leave it out"));
        } else if is_open && name == "prof_port" {
            let message = format!(
                "{shown}, beside `listen`: the profiling port would be open where clients are"
            );
            found.push(part.problem(said, message, "leave one of the two out"));
        }
    }
}

/// What would take the place of that by which a broker finds others.
fn unjoined(parts: &[&Part<'_>], ours: &Ours) -> Vec<Problem> {
    let mut problems = Vec::new();
    for part in parts {
        for said in part.said.iter().filter(|said| ours.joins_in(&said.name)) {
            let Said { key, name, shown, value } = said;
            let map = value.and_then(Value::as_object).filter(|map| !is_variable(map));
            let Some(map) = map else {
                let message = format!(
                    "{shown} would take the place of ours, by which brokers find each other"
                );
                let advice = format!("write it as a map, which is merged: `{{{name}: {{...}}}}`");
                problems.push(part.problem(said, message, advice));
                continue;
            };
            for inner in map.keys().filter(|inner| ours.joins_by(name, &our_name(inner))) {
                let at = [&part.at[..], &[key.as_str().into(), inner.as_str().into()]].concat();
                let message =
                    format!("`{inner}` in `{key}` is ours to say: brokers must find each other");
                problems.push(Problem::new(at, message, "leave it out").of_key());
            }
        }
    }
    problems
}

/// What a broker with these parts would be told in two ways, one of them by a text.
fn competing(parts: &[&Part<'_>], ours: &Ours) -> Vec<Problem> {
    let in_maps = parts.iter().filter(|part| part.map.is_some()).flat_map(|part| &part.said);
    let in_maps: HashMap<&str, &str> = in_maps.map(|s| (s.name.as_str(), s.key.as_str())).collect();
    let mut known: HashMap<&str, &str> =
        ours.settings().map(|key| (key.as_str(), key.as_str())).collect();
    let mut problems = Vec::new();
    for part in parts.iter().filter(|part| part.map.is_none()) {
        for said in &part.said {
            let Said { key, name, shown, .. } = said;
            // Told already.
            if is_place(name) || ours.joins_in(name) {
                continue;
            }
            if let Some(twice) = in_maps.get(name.as_str()) {
                let message = format!("{shown} is `{twice}` in a map that is for the same broker");
                problems.push(part.problem(said, message, "say it in one of the two"));
                continue;
            }
            let other = *known.entry(name).or_insert(key);
            if other != key {
                let message =
                    format!("{shown} is `{other}` elsewhere: chance would say which counts");
                problems.push(part.problem(said, message, format!("write `{other}`")));
            }
        }
    }
    problems
}

/// What two maps of a broker say twice, although neither does by itself.
fn clashing(parts: &[&Part<'_>]) -> Vec<Problem> {
    let maps: Vec<_> = parts.iter().filter_map(|part| Some((part, part.map?))).collect();
    let mut merged = Map::new();
    for (_, map) in &maps {
        merge(&mut merged, map);
    }
    let mut problems = Vec::new();
    for (key, value) in &merged {
        let Some(message) = said_twice(key, value) else { continue };
        let block = our_name(key);
        let said = maps.iter().flat_map(|(part, _)| part.said.iter().map(move |said| (part, said)));
        let said: Vec<_> = said.filter(|(_, said)| said.name == block).collect();
        // Of a single map it is told already.
        let by_itself = said
            .iter()
            .any(|(_, said)| said.value.is_some_and(|value| said_twice(key, value).is_some()));
        if let Some((part, said)) = said.last().filter(|_| !by_itself) {
            let message = format!("{message}, in maps for the same broker");
            problems.push(part.problem(said, message, "say it in one of the two ways"));
        }
    }
    problems
}
