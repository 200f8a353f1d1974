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

    fn needs(&self) -> State {
        if self.word == "start" { State::Down } else { State::Running }
    }

    fn leaves(&self) -> State {
        match self.word {
            "stop" | "kill" | "lame_duck" => State::Down,
            _ => State::Running,
        }
    }

    /// When it is over at the earliest.
    fn over(&self) -> Duration {
        self.from.saturating_add(self.lasts)
    }

    /// As messages name it.
    fn shown(&self) -> String {
        format!("step {} (`{}`)", self.step + 1, self.word)
    }

    /// What is said where it finds the broker in the wrong state, the first of those that may have come last before it.
    fn told_unfit(&self, first: Option<&Self>, untouched: bool) -> (String, String) {
        let Self { word, broker, .. } = self;
        match (self.needs(), first) {
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
                    format!(
                        "write `start: {broker}` instead, or a step `start: {broker}` before it"
                    )
                } else {
                    format!("leave it out, or write a step `start: {broker}` before it")
                },
            ),
        }
    }
}

/// Everything that a step cannot do because of those before it. The rest of the timeline has to be right.
pub(super) fn check(found: &mut Vec<Problem>, steps: &[Step], scenario: &Scenario) {
    let deeds = deeds(steps, scenario);
    let mut of_broker: HashMap<&str, Vec<&Deed>> = HashMap::new();
    for deed in &deeds {
        of_broker.entry(&deed.broker).or_default().push(deed);
    }
    let courses: HashMap<&str, Course<'_>> =
        of_broker.into_iter().map(|(broker, deeds)| (broker, Course::new(deeds))).collect();
    let mut told = None;
    for deed in &deeds {
        // Of a step on several brokers the first is said.
        if told == Some(deed.step) {
            continue;
        }
        let course = courses.get(deed.broker.as_str());
        if let Some((message, advice)) = course.and_then(|course| course.wrong(deed)) {
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

/// Everything that is done to one broker, one deed a step. A thousand steps on a hundred brokers are looked at in a
/// moment, so that nothing goes over all deeds for each of them unless something is wrong with it.
struct Course<'a> {
    /// In the order of the timeline.
    deeds: Vec<&'a Deed>,
    /// The first at an instant.
    first_at: HashMap<(Duration, Duration), &'a Deed>,
    /// By the instants at which they have begun for sure; those of which nobody knows come last.
    by_end: Vec<&'a Deed>,
    /// Of as many of them as the position says, and one: the latest to begin, and the latest to be over.
    latest: Vec<(Duration, Duration)>,
}

impl<'a> Course<'a> {
    fn new(deeds: Vec<&'a Deed>) -> Self {
        let mut first_at = HashMap::new();
        for deed in &deeds {
            if let Some(to) = deed.to {
                first_at.entry((deed.from, to)).or_insert(*deed);
            }
        }
        let mut by_end = deeds.clone();
        by_end.sort_by_key(|deed| (deed.to.is_none(), deed.to));
        let latest = by_end.iter().scan((Duration::ZERO, Duration::ZERO), |(from, over), deed| {
            *from = deed.from.max(*from);
            *over = deed.over().max(*over);
            Some((*from, *over))
        });
        Self { latest: latest.collect(), deeds, first_at, by_end }
    }

    /// The others, in the order of the timeline.
    fn others(&self, deed: &Deed) -> impl Iterator<Item = &'a Deed> {
        let step = deed.step;
        self.deeds.iter().copied().filter(move |other| other.step != step)
    }

    /// When the latest of those that are before a deed begins, and when the last of them is over.
    fn before(&self, deed: &Deed) -> Option<(Duration, Duration)> {
        let count = self.by_end.partition_point(|other| other.is_before(deed));
        self.latest.get(count.checked_sub(1)?).copied()
    }

    /// What is wrong with a deed, and what to write instead.
    fn wrong(&self, deed: &Deed) -> Option<(String, String)> {
        let broker = &deed.broker;
        let first = deed.to.and_then(|to| self.first_at.get(&(deed.from, to)));
        if let Some(other) = first.filter(|first| first.step < deed.step) {
            let message = format!(
                "{} acts on {broker} at the same instant, and chance would say which comes first",
                other.shown()
            );
            let advice = "give each an instant of its own, or write one `restart` for a `stop` and a `start`";
            return Some((message, advice.to_owned()));
        }
        let (_, over) = self.before(deed).unzip();
        if deed.to < over && deed.to.is_some() {
            let within = |other: &&Deed| other.is_before(deed) && deed.to < Some(other.over());
            let other = self.others(deed).find(within)?;
            let until = format_duration(other.over());
            let how = if other.word == "pause" { "stands still" } else { "is away" };
            let message = format!(
                "{broker} {how} until {until}, because of {}: nothing else can be done to it meanwhile",
                other.shown()
            );
            let advice = format!("write an instant after {until}, or a shorter `for` in that step");
            return Some((message, advice));
        }
        self.unfit(deed)
    }

    /// What is wrong where the broker does not run, or does, whichever of the others came last before.
    fn unfit(&self, deed: &Deed) -> Option<(String, String)> {
        let latest = self.before(deed).map(|(from, _)| from);
        // As it was started, unless something was done to it for sure.
        let untouched = latest.is_none();
        let is_over = |other: &&Deed| other.to.is_some() && other.to < latest;
        // The last of those that are done before it, as far as that is decided.
        let may_be_last = |other: &&Deed| !deed.is_before(other) && !is_over(other);
        let from = self.by_end.partition_point(is_over);
        let last = self.by_end.iter().copied().skip(from);
        let mut last = last.filter(|other| other.step != deed.step && may_be_last(other));
        let needs = deed.needs();
        if untouched && needs == State::Running || last.any(|other| other.leaves() == needs) {
            return None;
        }
        let first = self.others(deed).find(may_be_last);
        Some(deed.told_unfit(first, untouched))
    }
}
