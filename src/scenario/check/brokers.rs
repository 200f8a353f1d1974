//! Brokers: that keys belong to the topology, that versions are some, and that whoever is named is there.

use std::collections::HashMap;

use super::{at, check_positive, choose, config};
use crate::broker::version::{Version, VersionError};
use crate::scenario::brokers::{Brokers, PerBroker, Placement, Topology};
use crate::scenario::error::Problem;
use crate::scenario::layout::{BrokerName, MAX_BROKERS, layout};
use crate::scenario::tree::Step;
use crate::scenario::types::Scenario;
use crate::scenario::units::Count;

/// The largest weight of a broker: shares of a thousandth can be said.
const MAX_WEIGHT: u64 = 1000;

/// Where secrets are said instead of in a scenario.
const SECRETS_ELSEWHERE: &str = "write `nats://HOST:PORT`, and say who you are with --user and \
     --password, --token or --creds, or with NATS_USER, NATS_PASSWORD, NATS_TOKEN or NATS_CREDS";

/// Everything that is wrong with the brokers and with who connects to which.
pub(super) fn check(found: &mut Vec<Problem>, scenario: &Scenario) {
    let before = found.len();
    if let Some(brokers) = &scenario.brokers {
        check_keys(found, brokers);
        check_sizes(found, brokers);
        check_urls(found, brokers);
        check_monitoring(found, brokers);
        if found.len() == before {
            check_programs(found, brokers);
            config::check(found, brokers);
            check_environment(found, brokers);
        }
        if let Some(span) = brokers.form_within {
            check_positive(
                found,
                at!["brokers", "form_within"],
                "time",
                span.0,
                "form_within: 30s",
            );
        }
    }
    if found.len() == before {
        // Names mean something only where it is known which brokers there are.
        check_placements(found, scenario);
    }
}

fn topology(brokers: &Brokers) -> Topology {
    brokers.topology.unwrap_or(Topology::Single)
}

/// Which keys belong to which topologies.
fn check_keys(found: &mut Vec<Problem>, brokers: &Brokers) {
    use Topology::{Cluster, External, Federation, Leafnodes, Single, Supercluster};
    let topology = topology(brokers);
    if topology == Federation {
        let message = "this topology is not there yet";
        let advice = "write `single`, `cluster`, `leafnodes`, `supercluster` or `external`";
        found.push(Problem::new(at!["brokers", "topology"], message, advice));
        return;
    }
    let managed = [Single, Cluster, Leafnodes, Supercluster].as_slice();
    let (joined, started) = ("how brokers are joined", "brokers that are started here");
    let elsewhere = "a network that is there already";
    let rows = [
        ("size", brokers.size.is_some(), &[Cluster, Leafnodes, Supercluster][..], joined),
        ("leaves", brokers.leaves.is_some(), &[Leafnodes], joined),
        ("clusters", brokers.clusters.is_some(), &[Supercluster], joined),
        ("listen", brokers.listen.is_some(), managed, started),
        ("nats", brokers.nats.is_some(), managed, started),
        ("path", brokers.path.is_some(), managed, started),
        ("config", brokers.config.is_some(), managed, started),
        ("config_for", brokers.config_for.is_some(), managed, started),
        ("environment", brokers.environment.is_some(), managed, started),
        ("profiling", brokers.profiling.is_some(), managed, started),
        ("urls", brokers.urls.is_some(), &[External], elsewhere),
        ("monitoring", brokers.monitoring.is_some(), &[External], elsewhere),
        ("system_creds", brokers.system_creds.is_some(), &[External], elsewhere),
    ];
    for (key, given, topologies, about) in rows {
        if given && !topologies.contains(&topology) {
            let names: Vec<_> = topologies.iter().map(|topology| name(*topology)).collect();
            let message = format!("`{key}` is for {about}, not for topology `{}`", name(topology));
            let advice = format!(
                "write `topology: {}` beside it, or leave `{key}` out",
                names.join("` or `")
            );
            found.push(Problem::new(at!["brokers", key], message, advice).of_key());
        }
    }
    // nats-server opens it where it listens for clients (`StartProfiler`), and it asks nobody who they are.
    if brokers.profiling == Some(true) && brokers.listen.is_some() {
        let message =
            "`profiling` beside `listen`: the profiling port would be open where clients are";
        found.push(
            Problem::new(at!["brokers", "profiling"], message, "leave one of the two out").of_key(),
        );
    }
    if topology == External && brokers.urls.as_ref().is_none_or(Vec::is_empty) {
        let message = "topology external needs the URLs of the network";
        let advice = "write `urls: [\"nats://broker.example.net:4222\"]`";
        found.push(Problem::new(at!["brokers", "topology"], message, advice));
    }
}

fn name(topology: Topology) -> &'static str {
    match topology {
        Topology::Single => "single",
        Topology::Cluster => "cluster",
        Topology::Leafnodes => "leafnodes",
        Topology::Supercluster => "supercluster",
        Topology::External => "external",
        Topology::Federation => "federation",
    }
}

fn check_sizes(found: &mut Vec<Problem>, brokers: &Brokers) {
    let topology = topology(brokers);
    let least_size = if topology == Topology::Cluster { 2 } else { 1 };
    for (key, count, least, instead) in [
        ("size", brokers.size, least_size, "for one broker write `topology: single`"),
        ("leaves", brokers.leaves, 1, "without leaves write `topology: cluster` or `single`"),
        ("clusters", brokers.clusters, 2, "for one cluster write `topology: cluster`"),
    ] {
        if let Some(Count(count)) = count
            && !(least..=MAX_BROKERS).contains(&count)
        {
            let message = format!("`{key}` of {count}");
            let advice = format!("write a number from {least} to {MAX_BROKERS}; {instead}");
            found.push(Problem::new(at!["brokers", key], message, advice));
        }
    }
    let brokers = layout(Some(brokers)).len();
    if u64::try_from(brokers).unwrap_or(u64::MAX) > MAX_BROKERS {
        let advice = format!("a network has at most {MAX_BROKERS} brokers");
        found.push(Problem::new(at!["brokers"], format!("{brokers} brokers in all"), advice));
    }
}

fn check_urls(found: &mut Vec<Problem>, brokers: &Brokers) {
    let mut known = HashMap::new();
    for (index, url) in brokers.urls.iter().flatten().enumerate() {
        let at = at!["brokers", "urls", index];
        let twice = known.insert(url, index + 1);
        if url.contains('@') {
            let message = "a URL with a user, a password or a token: results repeat the scenario";
            found.push(Problem::new(at, message, SECRETS_ELSEWHERE));
        } else if let Err(why) = check_url(url) {
            found.push(Problem::new(at, why, "write it as in `nats://broker.example.net:4222`"));
        } else if let Some(first) = twice {
            let message = format!("the URL of n{first} again: one broker would count as two");
            found.push(Problem::new(at, message, "write each once"));
        }
    }
}

/// Where monitoring answers.
fn check_monitoring(found: &mut Vec<Problem>, brokers: &Brokers) {
    for (index, text) in brokers.monitoring.iter().flatten().enumerate() {
        let at = at!["brokers", "monitoring", index];
        if let Err(why) = monitoring_url(text) {
            let advice = "write what stands before `/varz`, such as `http://HOST:8222`";
            found.push(Problem::new(at, why, advice));
        }
    }
}

/// The text as it is, if monitoring can answer there.
pub(crate) fn monitoring_url(text: &str) -> Result<String, String> {
    let url = url::Url::parse(text);
    match url.map_err(|error| format!("`{text}` is no URL ({error})")) {
        _ if text.contains('@') => Err("a URL with a user or a password".to_owned()),
        Ok(url) if !["http", "https"].contains(&url.scheme()) => {
            Err(format!("`{text}` is no URL of a web server, as monitoring is one"))
        }
        Ok(url) if url.query().is_some() => Err(format!("`{text}` is more than an address")),
        Ok(_) => Ok(text.to_owned()),
        Err(why) => Err(why),
    }
}

fn check_url(text: &str) -> Result<(), String> {
    let url = url::Url::parse(text).map_err(|error| format!("`{text}` is no URL ({error})"))?;
    match url.scheme() {
        "nats" if !["", "/"].contains(&url.path()) || url.query().is_some() => {
            Err(format!("`{text}` is more than an address"))
        }
        "nats" if url.has_host() => Ok(()),
        "nats" => Err(format!("`{text}` names no host")),
        "tls" => {
            Err("scheme `tls` is not there yet: nodes connect without TLS, and `measure` uses it \
                      where the broker asks for it"
                .to_owned())
        }
        scheme => Err(format!("scheme `{scheme}` is not there yet")),
    }
}

/// Which nats-server each broker is.
fn check_programs(found: &mut Vec<Problem>, brokers: &Brokers) {
    let names = layout(Some(brokers));
    for (key, programs) in [("nats", &brokers.nats), ("path", &brokers.path)] {
        let texts = match programs {
            None => Vec::new(),
            Some(PerBroker::All(text)) => vec![(at!["brokers", key], text)],
            Some(PerBroker::Each(each)) => {
                let each = each.0.iter();
                each.map(|(name, text)| (at!["brokers", key, name.as_str()], text)).collect()
            }
        };
        for (at, text) in &texts {
            if let (Some(Step::Key(name)), 3) = (at.last(), at.len()) {
                check_meant(found, at.clone(), name, &names, true);
            }
            if key == "nats" {
                check_version(found, at, text, topology(brokers));
            } else {
                check_path(found, at, text);
            }
        }
    }
    let twice = names.iter().find(|broker| {
        let says = |programs: &Option<PerBroker>| match programs {
            None => false,
            Some(PerBroker::All(_)) => true,
            Some(PerBroker::Each(each)) => each.0.iter().any(|(name, _)| broker.is_meant_by(name)),
        };
        says(&brokers.nats) && says(&brokers.path)
    });
    if let Some(broker) = twice {
        let message = format!("`nats` and `path` both say which nats-server {} is", broker.name);
        let advice = "keep one of the two";
        found.push(Problem::new(at!["brokers", "path"], message, advice).of_key());
    }
}

/// Something that can be the path of a program.
pub(super) fn check_path(found: &mut Vec<Problem>, at: &[Step], text: &str) {
    if text.trim().is_empty() {
        let advice = "write the path of a nats-server, or leave it out";
        found.push(Problem::new(at.to_vec(), "an empty path", advice));
    }
}

/// A version of nats-server in which there is such a topology.
pub(super) fn check_version(found: &mut Vec<Problem>, at: &[Step], text: &str, topology: Topology) {
    let (message, advice) = match text.parse::<Version>() {
        Ok(_) => return,
        Err(VersionError::Malformed(_)) => (
            format!("`{text}` is no version of nats-server"),
            "write three numbers, such as `2.12.15`",
        ),
        Err(VersionError::TooOld(_)) => {
            // Accounts, leafnodes and gateways came with 2.0.0 (its release notes).
            let lacks = match topology {
                Topology::Leafnodes => "has no leafnodes: 2.0.0 is the first release that has them",
                Topology::Supercluster => {
                    "has no gateways: 2.0.0 is the first release that has them"
                }
                _ => "is older than this tool knows: 2.0.0 is the first release that it can start",
            };
            (format!("nats-server {text} {lacks}"), "write `2.0.0` or later")
        }
    };
    found.push(Problem::new(at.to_vec(), message, advice));
}

/// Variables that an environment can have.
fn check_environment(found: &mut Vec<Problem>, brokers: &Brokers) {
    for (name, _) in brokers.environment.iter().flat_map(|environment| &environment.0) {
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if name.is_empty() || !plain {
            let at = at!["brokers", "environment", name.as_str()];
            let message = format!("`{name}` cannot name a variable");
            found.push(Problem::new(at, message, "write a name such as `GOMAXPROCS`").of_key());
        }
    }
}

/// Who connects where.
fn check_placements(found: &mut Vec<Problem>, scenario: &Scenario) {
    let names = layout(scenario.brokers.as_ref());
    for (index, group) in scenario.fleet.iter().enumerate() {
        if let Some(placement) = &group.brokers {
            check_placement(found, at!["fleet", index, "brokers"], placement, &names);
        }
        for (position, name) in group.fallback.iter().flatten().enumerate() {
            check_meant(found, at!["fleet", index, "fallback", position], name, &names, false);
        }
    }
    if let Some(placement) = scenario.client.as_ref().and_then(|client| client.brokers.as_ref()) {
        check_placement(found, at!["client", "brokers"], placement, &names);
    }
}

fn check_placement(
    found: &mut Vec<Problem>,
    at: Vec<Step>,
    placement: &Placement,
    names: &[BrokerName],
) {
    let weights = placement.weights();
    if weights.is_empty() {
        let advice = "write a broker such as `leaf1`, or leave the key out";
        found.push(Problem::new(at.clone(), "no broker at all", advice));
    }
    for (position, (name, weight)) in weights.into_iter().enumerate() {
        let (here, is_key) = match placement {
            Placement::One(_) => (at.clone(), false),
            Placement::Several(_) => ([&at[..], &[position.into()]].concat(), false),
            Placement::Weighted(_) => ([&at[..], &[name.into()]].concat(), true),
        };
        check_meant(found, here.clone(), name, names, is_key);
        if !(1..=MAX_WEIGHT).contains(&weight) {
            let advice = format!("write a number from 1 to {MAX_WEIGHT}");
            found.push(Problem::new(here, format!("a weight of {weight}"), advice));
        }
    }
}

/// A name, cluster or pattern that means no broker is a mistake.
pub(super) fn check_meant(
    found: &mut Vec<Problem>,
    at: Vec<Step>,
    text: &str,
    names: &[BrokerName],
    is_key: bool,
) {
    if names.iter().any(|broker| broker.is_meant_by(text)) {
        return;
    }
    let known: Vec<&str> = names.iter().map(|broker| broker.name.as_str()).collect();
    let message = format!("there is no broker `{text}`");
    let problem = Problem::new(at, message, choose(text, &known));
    found.push(if is_key { problem.of_key() } else { problem });
}
