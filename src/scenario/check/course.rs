//! The course of a timeline: whether each step finds its brokers as it needs them.
//!
//! What is looked at is what the instants of the steps decide. A step after a wave begins somewhere between that
//! wave's instant and its end, the later turns of a rolling one when those before are over: where the order of two
//! steps follows from none of this, they are left to the run, in which the second waits for the first.

use std::collections::HashMap;
use std::time::Duration;

use humantime::format_duration;

use super::at;
use crate::plan;
use crate::scenario::Rolling;
use crate::scenario::error::Problem;
use crate::scenario::layout::layout;
use crate::scenario::timeline::Step;
use crate::scenario::types::Scenario;

/// What one step does to one broker.
struct Deed {
    /// Position of the step.
    step: usize,
    word: &'static str,
    broker: String,
    /// Not before this instant.
    from: Duration,
    /// Not after this one; `None`: nobody knows.
    to: Option<Duration>,
    /// How long it stands still or stays away because of it, at least.
    lasts: Duration,
}

/// Whether a broker runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Down,
}

impl Deed {
    fn is_before(&self, other: &Self) -> bool {
        self.to.is_some_and(|to| to < other.from)
    }

    /// Both begin at once, so that neither is the first.
    fn is_at_once_with(&self, other: &Self) -> bool {
        self.to.is_some() && (self.from, self.to) == (other.from, other.to)
    }

    fn needs(&self) -> State {
        if self.word == "start" { State::Down } else { State::Running }
    }

    fn leaves(&self) -> State {
        match self.word {
            "stop" | "kill" | "lame_duck" => State::Down,
            _ => State::Running,
        }
    }

    /// As messages name it.
    fn shown(&self) -> String {
        format!("step {} (`{}`)", self.step + 1, self.word)
    }
}

/// Everything that a step cannot do because of those before it. The rest of the timeline has to be right.
pub(super) fn check(found: &mut Vec<Problem>, steps: &[Step], scenario: &Scenario) {
    let deeds = deeds(steps, scenario);
    let mut of_broker: HashMap<&str, Vec<&Deed>> = HashMap::new();
    for deed in &deeds {
        of_broker.entry(&deed.broker).or_default().push(deed);
    }
    let mut told = None;
    for deed in &deeds {
        // Of a step on several brokers the first is said.
        if told == Some(deed.step) {
            continue;
        }
        let all = of_broker.get(deed.broker.as_str()).into_iter().flatten().copied();
        let others: Vec<_> = all.filter(|other| other.step != deed.step).collect();
        if let Some((message, advice)) = wrong(deed, &others) {
            let at = at!["timeline", deed.step, deed.word];
            found.push(Problem::new(at, message, advice).of_key());
            told = Some(deed.step);
        }
    }
}

/// What each step does to each of its brokers, in the order of the timeline.
fn deeds(steps: &[Step], scenario: &Scenario) -> Vec<Deed> {
    let known = layout(scenario.brokers.as_ref());
    let mut deeds = Vec::new();
    for (step, given) in steps.iter().enumerate() {
        let actions = given.actions();
        let Some((word, names)) = actions.first() else { continue };
        let Some((_, begins)) = plan::instants(scenario, given) else { continue };
        let lasts = given.lasts.map_or(Duration::ZERO, |span| span.0);
        let pause = match given.rolling {
            Some(Rolling::Pause(pause)) => pause.0,
            Some(Rolling::Whole) | None => Duration::ZERO,
        };
        let (mut from, mut to) = (*begins.start(), Some(*begins.end()));
        for broker in names.choose(&known).unwrap_or_default() {
            deeds.push(Deed { step, word, broker, from, to, lasts });
            if given.rolling.is_some() {
                (from, to) = (from.saturating_add(lasts + pause), None);
            }
        }
    }
    deeds
}

/// What is wrong with a deed beside all others on the same broker, and what to write instead.
fn wrong(deed: &Deed, others: &[&Deed]) -> Option<(String, String)> {
    let broker = &deed.broker;
    if let Some(other) = others.iter().find(|o| o.step < deed.step && o.is_at_once_with(deed)) {
        let message = format!(
            "{} acts on {broker} at the same instant, and chance would say which comes first",
            other.shown()
        );
        let advice =
            "give each an instant of its own, or write one `restart` for a `stop` and a `start`";
        return Some((message, advice.to_owned()));
    }
    let within = |other: &&&Deed| {
        let until = other.from.saturating_add(other.lasts);
        other.is_before(deed) && deed.to.is_some_and(|to| to < until)
    };
    if let Some(other) = others.iter().find(within) {
        let until = format_duration(other.from.saturating_add(other.lasts));
        let how = if other.word == "pause" { "stands still" } else { "is away" };
        let message = format!(
            "{broker} {how} until {until}, because of {}: nothing else can be done to it meanwhile",
            other.shown()
        );
        let advice = format!("write an instant after {until}, or a shorter `for` in that step");
        return Some((message, advice));
    }
    unfit(deed, others)
}

/// What is wrong where the broker does not run, or does, whichever of the others came last before.
fn unfit(deed: &Deed, others: &[&Deed]) -> Option<(String, String)> {
    let Deed { word, broker, .. } = deed;
    let before = others.iter().filter(|other| other.is_before(deed));
    let latest = before.map(|other| other.from).max();
    // The last of those that are done before it, as far as that is decided.
    let may_be_last = |other: &&&Deed| {
        !deed.is_before(other) && other.to.is_none_or(|to| latest.is_none_or(|from| to >= from))
    };
    let last: Vec<_> = others.iter().filter(may_be_last).collect();
    // As it was started, unless something was done to it for sure.
    let untouched = latest.is_none();
    let states = last.iter().map(|other| other.leaves());
    let mut states = states.chain(untouched.then_some(State::Running));
    if states.any(|state| state == deed.needs()) {
        return None;
    }
    let first = last.first();
    Some(match (deed.needs(), first) {
        (State::Down, Some(other)) if !untouched => (
            format!("{broker} runs then: nothing ends it after {}", other.shown()),
            format!(
                "write a step such as `stop: {broker}` between the two, or `restart: {broker}` instead"
            ),
        ),
        (State::Down, _) => (
            format!("nothing ends {broker} before"),
            format!(
                "write a step such as `stop: {broker}` before it, or `restart: {broker}` instead"
            ),
        ),
        (State::Running, _) => (
            format!(
                "{broker} does not run then: {} has ended it",
                first.map_or_else(String::new, |other| other.shown())
            ),
            if *word == "restart" || *word == "replace" {
                format!("write `start: {broker}` instead, or a step `start: {broker}` before it")
            } else {
                format!("leave it out, or write a step `start: {broker}` before it")
            },
        ),
    })
}
