//! The timeline: steps that say what, to whom and when, so that a run can carry them out.

use std::collections::HashMap;
use std::time::Duration;

use super::brokers::{check_path, check_version};
use super::{at, check_positive, check_span, check_token, choose, course};
use crate::plan;
use crate::scenario::Topology;
use crate::scenario::error::Problem;
use crate::scenario::layout::{BrokerName, layout};
use crate::scenario::timeline::{Names, Rolling, Step};
use crate::scenario::types::Scenario;

/// Most steps of a timeline.
const MAX_STEPS: usize = 1000;
/// Longest watch over a network after a step: each instant of it has its counts.
const MAX_WATCH: Duration = Duration::from_secs(3600);
const ACTIONS: &str = "`restart`, `stop`, `start`, `kill`, `pause`, `lame_duck`, `replace`";

/// Everything that is wrong with the timeline. What it says about waves is looked at only where
/// nothing is wrong with those.
pub(super) fn check(found: &mut Vec<Problem>, scenario: &Scenario) {
    let Some(steps) = &scenario.timeline else { return };
    let sound = found.is_empty();
    let topology = scenario.brokers.as_ref().and_then(|brokers| brokers.topology);
    if topology == Some(Topology::External) {
        let message = "a timeline acts on brokers that are started here, and these are not";
        let advice = "leave it out, or let the run start its brokers with another `topology`";
        found.push(Problem::new(at!["timeline"], message, advice).of_key());
        return;
    }
    if steps.len() > MAX_STEPS {
        let message = format!("{} steps", steps.len());
        let advice = format!("write {MAX_STEPS} at the most");
        found.push(Problem::new(at!["timeline"], message, advice));
    }
    let brokers = layout(scenario.brokers.as_ref());
    let mut names = HashMap::new();
    for (index, step) in steps.iter().enumerate() {
        check_actions(found, index, step, &brokers);
        check_when(found, index, step, scenario, sound);
        check_spans(found, index, step);
        check_program(found, index, step, scenario);
        check_token(found, at!["timeline", index, "step"], "step", step.name());
        if let Some(first) = names.insert(step.name(), index)
            && !step.name().is_empty()
        {
            let message = format!("step {} is called `{}` as well", first + 1, step.name());
            let advice = "give each a name of its own, as in `step: second-restart`";
            found.push(Problem::new(at!["timeline", index], message, advice));
        }
    }
    if found.is_empty() {
        course::check(found, steps, scenario);
    }
}

fn check_actions(found: &mut Vec<Problem>, index: usize, step: &Step, brokers: &[BrokerName]) {
    let actions = step.actions();
    let [(word, names)] = actions.as_slice() else {
        let message = match actions.len() {
            0 => "a step that does nothing".to_owned(),
            _ => {
                let words: Vec<_> = actions.iter().map(|(word, _)| format!("`{word}`")).collect();
                format!("a step does one thing: {}", words.join(" or "))
            }
        };
        let advice = format!("write one of {ACTIONS} with the name of a broker");
        found.push(Problem::new(at!["timeline", index], message, advice));
        return;
    };
    check_names(found, at!["timeline", index, *word], names, brokers);
    let comes_back = matches!(*word, "restart" | "replace");
    for (key, given, belongs, whose) in [
        ("for", step.lasts.is_some(), comes_back || *word == "pause", "pause, restart and replace"),
        ("by", step.by.is_some(), comes_back, "restart and replace"),
        ("nats", step.nats.is_some(), *word == "replace", "replace"),
        ("path", step.path.is_some(), *word == "replace", "replace"),
    ] {
        if given && !belongs {
            let message = format!("`{key}` has no meaning for `{word}`");
            let advice = format!("leave it out: it belongs to {whose}");
            found.push(Problem::new(at!["timeline", index, key], message, advice).of_key());
        }
    }
    if *word == "pause" && step.lasts.is_none_or(|span| span.0.is_zero()) {
        let advice = "write for how long the brokers stand still, such as `for: 5s`";
        found.push(Problem::new(at!["timeline", index], "a pause without its length", advice));
    }
}

fn check_names(
    found: &mut Vec<Problem>,
    at: Vec<crate::scenario::Step>,
    names: &Names,
    brokers: &[BrokerName],
) {
    let known: Vec<&str> = brokers.iter().map(|broker| broker.name.as_str()).collect();
    if names.0.is_empty() {
        let advice = format!("there are: {}", known.join(", "));
        found.push(Problem::new(at, "no broker is named", advice));
    } else if let Err(nobody) = names.choose(brokers) {
        let message = format!("there is no broker `{nobody}`");
        found.push(Problem::new(at, message, choose(nobody, &known)));
    }
}

fn check_when(
    found: &mut Vec<Problem>,
    index: usize,
    step: &Step,
    scenario: &Scenario,
    sound: bool,
) {
    let at = |key: &str| at!["timeline", index, key];
    match (&step.at, &step.after) {
        (Some(_), None) => {}
        (None, Some(after)) => {
            let Some(wave) = scenario.waves.iter().find(|wave| wave.name == after.wave) else {
                let known: Vec<&str> = scenario.waves.iter().map(|w| w.name.as_str()).collect();
                let message = format!("there is no wave `{}`", after.wave);
                let at = at!["timeline", index, "after", "wave"];
                found.push(Problem::new(at, message, choose(&after.wave, &known)));
                return;
            };
            let count = wave.count.map_or(1, |count| count.0);
            if let Some(number) = after.number
                && !(1..=count).contains(&number.0)
            {
                let message = format!("there is no wave {} {}", after.wave, number.0);
                let advice = format!("write a number from 1 to {count}");
                found.push(Problem::new(
                    at!["timeline", index, "after", "number"],
                    message,
                    advice,
                ));
                return;
            }
        }
        (both, _) => {
            let message = match both {
                Some(_) => "`at` and `after` both say when",
                None => "a step without its time",
            };
            let advice = "write `at: 20s` or `after: {wave: NAME, number: 3}`";
            found.push(Problem::new(at!["timeline", index], message, advice));
            return;
        }
    }
    if sound && let Some((last, begins)) = plan::instants(scenario, step) {
        let begins = *begins.start();
        if begins > last || (step.after.is_some() && begins >= last) {
            let key = if step.at.is_some() { "at" } else { "after" };
            let message = "no wave is sent after this step";
            let advice = format!(
                "the last one is sent at {}: put the step before it, or add waves that show what follows",
                humantime::format_duration(last)
            );
            found.push(Problem::new(at(key), message, advice));
        }
    }
}

fn check_spans(found: &mut Vec<Problem>, index: usize, step: &Step) {
    let at = |key: &str| at!["timeline", index, key];
    for (key, what, span) in [("at", "instant", step.at), ("for", "time", step.lasts)] {
        if let Some(span) = span {
            check_span(found, at(key), what, span.0);
        }
    }
    if let Some(Rolling::Pause(pause)) = step.rolling {
        check_span(found, at("rolling"), "pause", pause.0);
    }
    if let Some(watch) = step.watch {
        check_positive(found, at("watch"), "watch", watch.0, "watch: 60s");
        if watch.0 > MAX_WATCH {
            let message = "a watch of more than an hour";
            found.push(Problem::new(at("watch"), message, "write `1h` at the most"));
        }
    }
}

fn check_program(found: &mut Vec<Problem>, index: usize, step: &Step, scenario: &Scenario) {
    if step.replace.is_none() {
        return;
    }
    let at = |key: &str| at!["timeline", index, key];
    match (&step.nats, &step.path) {
        (None, None) => {
            let advice = "write `nats: \"2.12.15\"` beside it, or `path:` of a nats-server";
            found.push(Problem::new(at("replace"), "nothing to replace it with", advice).of_key());
        }
        (Some(_), Some(_)) => {
            let message = "`nats` and `path` both say which nats-server to start";
            found.push(Problem::new(at("path"), message, "keep one of the two").of_key());
        }
        (Some(version), None) => {
            let topology = scenario.brokers.as_ref().and_then(|brokers| brokers.topology);
            check_version(found, &at("nats"), version, topology.unwrap_or(Topology::Single));
        }
        (None, Some(path)) => check_path(found, &at("path"), path),
    }
}
