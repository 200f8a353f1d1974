//! The user's own configuration of brokers: what is ours to say, and what would be said twice.
//!
//! A map is merged into ours, whatever its keys are called. Text is appended as it is: of two lines that spell a key
//! alike the server takes the last, of two that do not, one or the other, as chance has it.

use super::at;
use super::brokers::check_meant;
use crate::broker::{Setting, config::ServerConfig, our_name, settings};
use crate::scenario::brokers::{BrokerConfig, Brokers, Topology};
use crate::scenario::error::Problem;
use crate::scenario::layout::layout;
use crate::scenario::tree::Step;

/// Where and as whom a broker listens, by our names for its keys.
const OURS: [&str; 10] = [
    "port",
    "listen",
    "host",
    "http",
    "http_port",
    "https",
    "https_port",
    "http_base_path",
    "server_name",
    "ports_file_dir",
];

/// Blocks in which we say how a broker is joined with others, and what of them is ours.
const CLUSTER: (&str, &[&str]) = ("cluster", &["listen", "host", "port", "routes"]);
const GATEWAY: (&str, &[&str]) = ("gateway", &["listen", "host", "port", "gateways"]);
const LEAFNODES: (&str, &[&str]) = ("leafnodes", &["listen", "host", "port", "remotes"]);

/// Blocks with their keys.
type Joints<'a> = &'a [(&'a str, &'a [&'a str])];

/// Everything that is wrong with `config` and `config_for`.
pub(super) fn check(found: &mut Vec<Problem>, brokers: &Brokers) {
    let names = layout(Some(brokers));
    for (name, _) in brokers.config_for.iter().flat_map(|each| &each.0) {
        check_meant(found, at!["brokers", "config_for", name.as_str()], name, &names, true);
    }
    for (at, config) in parts(brokers, |_| true) {
        match config {
            BrokerConfig::Map(map) => check_map(found, &at, &map.0, joints(brokers)),
            BrokerConfig::Text(text) => check_text(found, &at, text, joints(brokers)),
        }
    }
    let mut said = Vec::new();
    for broker in &names {
        for problem in competing(&parts(brokers, |who| broker.is_meant_by(who)), joints(brokers)) {
            // Once, whomever it is said to.
            if !said.contains(&problem) {
                said.push(problem);
            }
        }
    }
    found.append(&mut said);
}

/// The user's own configuration with its places, of all brokers and of those that somebody means.
fn parts(brokers: &Brokers, is_meant: impl Fn(&str) -> bool) -> Vec<(Vec<Step>, &BrokerConfig)> {
    let of_all = brokers.config.iter().map(|config| (at!["brokers", "config"], config));
    let of_some = brokers.config_for.iter().flat_map(|each| &each.0);
    let of_some = of_some.filter(|(who, _)| is_meant(who));
    let of_some = of_some.map(|(who, c)| (at!["brokers", "config_for", who.as_str()], c));
    of_all.chain(of_some).collect()
}

/// The blocks that join brokers in a topology.
fn joints(brokers: &Brokers) -> Joints<'static> {
    match brokers.topology {
        Some(Topology::Cluster) => &[CLUSTER],
        Some(Topology::Supercluster) => &[CLUSTER, GATEWAY],
        Some(Topology::Leafnodes) => &[CLUSTER, LEAFNODES],
        Some(Topology::Single | Topology::External | Topology::Federation) | None => &[],
    }
}

fn check_map(
    found: &mut Vec<Problem>,
    at: &[Step],
    map: &serde_json::Map<String, serde_json::Value>,
    joints: Joints<'_>,
) {
    let here =
        |keys: &[&str]| [at, &keys.iter().map(|key| (*key).into()).collect::<Vec<_>>()].concat();
    for (key, value) in map {
        let name = our_name(key);
        if OURS.contains(&name.as_str()) {
            let message = format!("`{key}` is ours to say: the run must find the broker");
            found.push(Problem::new(here(&[key]), message, "leave it out").of_key());
        }
        let joint = joints.iter().find(|(block, _)| *block == name);
        let within = value.as_object().into_iter().flat_map(serde_json::Map::keys);
        for inner in
            within.filter(|k| joint.is_some_and(|(_, o)| o.contains(&our_name(k).as_str())))
        {
            let message =
                format!("`{inner}` in `{key}` is ours to say: brokers must find each other");
            found.push(Problem::new(here(&[key, inner]), message, "leave it out").of_key());
        }
    }
}

fn check_text(found: &mut Vec<Problem>, at: &[Step], text: &str, joints: Joints<'_>) {
    for Setting { key, line } in settings(text) {
        let name = our_name(&key);
        if OURS.contains(&name.as_str()) {
            let message = format!(
                "`{key}` in line {line} of the text is ours to say: the run must find the broker"
            );
            found.push(Problem::new(at.to_vec(), message, "leave it out"));
        } else if joints.iter().any(|(block, _)| *block == name) {
            let message = format!(
                "`{key}` in line {line} of the text would take the place of ours, by which brokers find each other"
            );
            let advice = format!("write it as a map, which is merged: `{{{name}: {{...}}}}`");
            found.push(Problem::new(at.to_vec(), message, advice));
        }
    }
}

/// What a broker with these parts would be told in two ways.
fn competing(parts: &[(Vec<Step>, &BrokerConfig)], joints: Joints<'_>) -> Vec<Problem> {
    let maps = parts.iter().filter_map(|(_, config)| match config {
        BrokerConfig::Map(map) => Some(&map.0),
        BrokerConfig::Text(_) => None,
    });
    let in_maps: Vec<&String> = maps.flat_map(serde_json::Map::keys).collect();
    let mut known = ServerConfig::written();
    let mut problems = Vec::new();
    for (at, config) in parts {
        let BrokerConfig::Text(text) = config else { continue };
        for Setting { key, line } in settings(text) {
            let name = our_name(&key);
            let is_same = |other: &str| our_name(other) == name;
            let mut problem = |message: String, advice: String| {
                problems.push(Problem::new(at.clone(), message, advice));
            };
            // Told already.
            if OURS.contains(&name.as_str()) || joints.iter().any(|(block, _)| *block == name) {
                continue;
            }
            if let Some(twice) = in_maps.iter().find(|other| is_same(other)) {
                let message = format!(
                    "`{key}` in line {line} of the text is `{twice}` in a map that is for the same broker"
                );
                problem(message, "say it in one of the two".to_owned());
                continue;
            }
            match known.iter().find(|other| is_same(other)) {
                Some(other) if *other != key => {
                    let message = format!(
                        "`{key}` in line {line} of the text is `{other}` elsewhere: chance would say which counts"
                    );
                    problem(message, format!("write `{other}`"));
                }
                Some(_) => {}
                None => known.push(key),
            }
        }
    }
    problems
}
