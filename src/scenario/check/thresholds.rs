//! Thresholds: known metrics, expressions that fit them, and selectors that select something.

use reports::threshold::{Metric, Selector, Threshold};

use super::{at, choose, strangers_only, told};
use crate::plan::EVENT_KINDS;
use crate::scenario::error::Problem;
use crate::scenario::timeline::Step as TimelineStep;
use crate::scenario::tree::Step;
use crate::scenario::types::{Scenario, Wave};
use crate::scenario::{Topology, layout};

/// Everything that is wrong with the thresholds.
pub(super) fn check(found: &mut Vec<Problem>, scenario: &Scenario) {
    for (metric, expressions) in scenario.thresholds.iter().flat_map(|thresholds| &thresholds.0) {
        let at = at!["thresholds", metric.as_str()];
        let name = metric.split('{').next().unwrap_or_default().trim();
        if Metric::find(name).is_none() {
            // An expression is needed to ask; which one does not matter for the metric's name.
            if let Err(error) = Threshold::parse(metric, "max == 0") {
                found.push(told(at, &error.to_string()).of_key());
            }
            continue;
        }
        if name.starts_with("fleet.") && strangers_only(scenario) {
            let message = "nothing is known of the connections of nodes that are not ours";
            let advice = "ask for `completeness`, or leave it out";
            found.push(Problem::new(at, message, advice).of_key());
            continue;
        }
        if name.starts_with("recovery.") && scenario.timeline.iter().flatten().next().is_none() {
            let message = "nothing is done to the brokers from which a network would recover";
            let advice = "write a `timeline`, such as `timeline: [{at: 10s, restart: n1}]`";
            found.push(Problem::new(at, message, advice).of_key());
            continue;
        }
        if expressions.is_empty() {
            let advice = "write at least one, such as `[\"min == 100%\"]`";
            found.push(Problem::new(at.clone(), "a metric without expressions", advice));
        }
        for (position, expression) in expressions.iter().enumerate() {
            let mut here = at.clone();
            here.push(position.into());
            match Threshold::parse(metric, expression) {
                Ok(threshold) if position == 0 => {
                    check_selector(found, &at, threshold.selector(), scenario);
                }
                Ok(_) => {}
                Err(error) => found.push(told(here, &error.to_string())),
            }
        }
    }
}

fn check_selector(found: &mut Vec<Problem>, at: &[Step], selector: &Selector, scenario: &Scenario) {
    let waves = || scenario.waves.iter();
    let selected: Vec<&Wave> = waves()
        .filter(|wave| selector.wave.as_ref().is_none_or(|name| *name == wave.name))
        .collect();
    if let (Some(wave), true) = (&selector.wave, selected.is_empty()) {
        let names: Vec<&str> = waves().map(|wave| wave.name.as_str()).collect();
        let message = format!("there is no wave `{wave}`");
        found.push(Problem::new(at.to_vec(), message, choose(wave, &names)).of_key());
        return;
    }
    if let Some(group) = &selector.group {
        let names: Vec<&str> = scenario.fleet.iter().map(|group| group.group.as_str()).collect();
        if !names.contains(&group.as_str()) {
            let message = format!("there is no group `{group}`");
            found.push(Problem::new(at.to_vec(), message, choose(group, &names)).of_key());
        }
    }
    if let Some(kind) = &selector.kind
        && !EVENT_KINDS.contains(&kind.as_str())
    {
        let message = format!("there is no kind of event `{kind}`");
        found.push(Problem::new(at.to_vec(), message, choose(kind, &EVENT_KINDS)).of_key());
    }
    check_steps(found, at, selector, scenario);
    check_place(found, at, selector, scenario);
    let clients = selected.iter().map(|wave| wave.client_count().0).max();
    let clients = clients.unwrap_or(1);
    if let Some(client) = selector.client
        && !(1..=clients).contains(&u64::from(client))
    {
        let message = format!("there is no client {client}");
        let advice = format!("write a number from 1 to {clients}");
        found.push(Problem::new(at.to_vec(), message, advice).of_key());
    }
}

/// Steps of the timeline, and brokers, that a selector names.
fn check_steps(found: &mut Vec<Problem>, at: &[Step], selector: &Selector, scenario: &Scenario) {
    let steps: Vec<&str> = scenario.timeline.iter().flatten().map(TimelineStep::name).collect();
    let Selector { step, before, during, after, .. } = selector;
    for step in [step, before, during, after].into_iter().flatten() {
        if !steps.contains(&step.as_str()) {
            let message = format!("there is no step `{step}` in the timeline");
            let advice = match steps.as_slice() {
                [] => "write a `timeline`, or leave the tag out".to_owned(),
                steps => choose(step, steps),
            };
            found.push(Problem::new(at.to_vec(), message, advice).of_key());
        }
    }
}

/// Brokers and clusters that are named must be there, as far as the scenario says which there are.
fn check_place(found: &mut Vec<Problem>, at: &[Step], selector: &Selector, scenario: &Scenario) {
    let brokers = scenario.brokers.as_ref();
    if brokers.and_then(|brokers| brokers.topology) == Some(Topology::External) {
        return;
    }
    let known = layout(brokers);
    let names: Vec<&str> = known.iter().map(|broker| broker.name.as_str()).collect();
    let mut clusters: Vec<&str> =
        known.iter().filter_map(|broker| broker.cluster.as_deref()).collect();
    clusters.dedup();
    for (what, wanted, known) in
        [("broker", &selector.broker, &names), ("cluster", &selector.cluster, &clusters)]
    {
        if let Some(wanted) = wanted
            && !known.contains(&wanted.as_str())
        {
            let message = format!("there is no {what} `{wanted}`");
            found.push(Problem::new(at.to_vec(), message, choose(wanted, known)).of_key());
        }
    }
}
