//! What happens to brokers while waves go on, with every default written in.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Entry, NatsServer, Plan, micros};
use crate::scenario::{self, BrokerName, Scenario, TimelineStep};

/// How long the network is watched after an action: the longest pause of a real server between two
/// attempts is 30 s (protocol document 1.7).
const WATCH: Duration = Duration::from_secs(60);

/// One step of the timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Name, unique in the timeline.
    pub name: String,
    /// When it begins.
    pub when: When,
    /// What is done.
    pub act: Act,
    /// To which brokers, by name, in this order; at least one.
    pub brokers: Vec<String>,
    /// `Some`: to one after the other.
    pub rolling: Option<Rolling>,
    /// How long the network is watched for being whole again, after each action.
    #[serde(rename = "watch_us", with = "micros")]
    pub watch: Duration,
}

/// When a step begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// At an instant.
    At {
        /// Since the instant of the first wave.
        #[serde(rename = "at_us", with = "micros")]
        at: Duration,
    },
    /// As soon as a counted wave is over for all its clients.
    After {
        /// Position of its entry in [`Plan::entries`].
        entry: usize,
        /// Its number in the entry, from 1.
        number: u32,
    },
}

/// What is done to a broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// It is ended and stays away.
    End {
        /// How.
        by: By,
    },
    /// It is started as what it was last.
    Start,
    /// It stands still.
    Pause {
        /// For so long.
        #[serde(rename = "for_us", with = "micros")]
        length: Duration,
    },
    /// It is ended and started again.
    Restart {
        /// How it is ended.
        by: By,
        /// From its end to its start.
        #[serde(rename = "away_us", with = "micros")]
        away: Duration,
        /// `Some`: as another program.
        nats_server: Option<NatsServer>,
    },
}

/// How a broker is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// SIGTERM.
    Term,
    /// SIGKILL.
    Kill,
    /// SIGUSR2, and then it ends by itself.
    LameDuck,
}

/// What the next broker waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rolling {
    /// That the network is whole again, or is no longer watched.
    Whole,
    /// A pause after the action.
    Pause {
        /// How long.
        #[serde(rename = "pause_us", with = "micros")]
        pause: Duration,
    },
}

impl Act {
    /// The word of a scenario for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::End { by: By::Term } => "stop",
            Self::End { by: By::Kill } => "kill",
            Self::End { by: By::LameDuck } => "lame_duck",
            Self::Start => "start",
            Self::Pause { .. } => "pause",
            Self::Restart { nats_server: None, .. } => "restart",
            Self::Restart { nats_server: Some(_), .. } => "replace",
        }
    }
}

impl Plan {
    /// The name of the entry and the number of the wave that a step waits for.
    #[must_use]
    pub fn wave_before(&self, when: &When) -> Option<(&str, u32)> {
        match when {
            When::At { .. } => None,
            When::After { entry, number } => {
                self.entries.get(*entry).map(|entry| (entry.name.as_str(), *number))
            }
        }
    }
}

/// When the last wave of a scenario is to be sent, and between which instants a step begins, as far as the waves are
/// as the scenario has them: one at an instant at that, one after a wave between the instant at which that is sent
/// and the last at which it is listened to.
pub(crate) fn instants(
    scenario: &Scenario,
    step: &TimelineStep,
) -> Option<(Duration, RangeInclusive<Duration>)> {
    let entries = super::resolve::entries(&scenario.waves, &[]);
    let instant = |entry: &Entry, counted: u32| {
        entry.starts_at + entry.every * (entry.warmup + counted).saturating_sub(1)
    };
    let last = entries.iter().map(|entry| instant(entry, entry.count)).max()?;
    let begins = match when(step, scenario)? {
        When::At { at } => at..=at,
        When::After { entry, number } => {
            let entry = entries.get(entry)?;
            let sent = instant(entry, number);
            sent..=sent + entry.deadline + super::resolve::late_grace(scenario)
        }
    };
    Some((last, begins))
}

/// The steps of a scenario whose checks found nothing, over these brokers.
pub(super) fn steps(scenario: &Scenario, brokers: &[BrokerName]) -> Vec<Step> {
    let steps = scenario.timeline.iter().flatten();
    steps.filter_map(|given| step(given, scenario, brokers)).collect()
}

fn step(given: &TimelineStep, scenario: &Scenario, known: &[BrokerName]) -> Option<Step> {
    let (word, names) = given.actions().into_iter().next()?;
    let brokers = names.choose(known).ok()?;
    Some(Step {
        name: given.name().to_owned(),
        when: when(given, scenario)?,
        act: act(word, given),
        brokers,
        rolling: given.rolling.map(|rolling| match rolling {
            scenario::Rolling::Whole => Rolling::Whole,
            scenario::Rolling::Pause(pause) => Rolling::Pause { pause: pause.0 },
        }),
        watch: given.watch.map_or(WATCH, |watch| watch.0),
    })
}

fn when(given: &TimelineStep, scenario: &Scenario) -> Option<When> {
    if let Some(at) = given.at {
        return Some(When::At { at: at.0 });
    }
    let after = given.after.as_ref()?;
    let entry = scenario.waves.iter().position(|wave| wave.name == after.wave)?;
    let last = scenario.waves[entry].count.map_or(1, scenario::Count::saturating_u32);
    Some(When::After { entry, number: after.number.map_or(last, |number| number.saturating_u32()) })
}

fn act(word: &str, given: &TimelineStep) -> Act {
    let by = match given.by {
        None | Some(scenario::EndedBy::Term) => By::Term,
        Some(scenario::EndedBy::Kill) => By::Kill,
        Some(scenario::EndedBy::LameDuck) => By::LameDuck,
    };
    let lasts = given.lasts.map_or(Duration::ZERO, |span| span.0);
    match word {
        "stop" => Act::End { by: By::Term },
        "kill" => Act::End { by: By::Kill },
        "lame_duck" => Act::End { by: By::LameDuck },
        "start" => Act::Start,
        "pause" => Act::Pause { length: lasts },
        _ => Act::Restart { by, away: lasts, nats_server: program(given) },
    }
}

fn program(given: &TimelineStep) -> Option<NatsServer> {
    let path = given.path.clone().map(NatsServer::Path);
    let version = |text: &String| NatsServer::Version(text.trim_start_matches('v').to_owned());
    path.or_else(|| given.nats.as_ref().map(version))
}
