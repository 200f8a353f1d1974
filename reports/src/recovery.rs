//! How a network came back after something had been done to its brokers: who lost the connection,
//! when each came back, and what that cost.
//!
//! What is measured are counts of instants, which merge by adding; every time that is reported is
//! worked out of them. Instants are known to [`STEP`], the pace at which a fleet is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::wave::{WaveKey, WaveKind, WaveRecord, WaveResult};
use crate::waves::Waves;

/// How exactly instants are known.
pub const STEP: Duration = Duration::from_millis(50);
/// Steps in a second, over which rates are taken.
const STEPS_PER_S: u32 = 20;

/// How many times something happened, by the instant at which it did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Instants(BTreeMap<u32, u64>);

impl Instants {
    /// Something happened `times` times at this time, to the nearest [`STEP`].
    pub fn add(&mut self, at: Duration, times: u64) {
        if times > 0 {
            let step = (at + STEP / 2).as_millis() / STEP.as_millis();
            *self.0.entry(u32::try_from(step).unwrap_or(u32::MAX)).or_default() += times;
        }
    }

    /// How many times in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// When it had happened so many times; at once for none.
    #[must_use]
    pub fn reached(&self, times: u64) -> Option<Duration> {
        if times == 0 {
            return Some(Duration::ZERO);
        }
        let mut sum = 0;
        self.0.iter().find_map(|(step, count)| {
            sum += count;
            (sum >= times).then(|| STEP.saturating_mul(*step))
        })
    }

    /// The most times in any one second.
    #[must_use]
    pub fn most_in_a_second(&self) -> u64 {
        let in_second =
            |from: u32| self.0.range(from..from.saturating_add(STEPS_PER_S)).map(|(_, n)| n).sum();
        self.0.keys().map(|from| in_second(*from)).max().unwrap_or(0)
    }

    /// Takes over everything that `other` holds.
    pub fn merge(&mut self, other: &Self) {
        for (step, times) in &other.0 {
            *self.0.entry(*step).or_default() += times;
        }
    }
}

/// Which of the timeline's actions.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecoveryKey {
    /// Position of the step in the timeline, from 1.
    pub number: u32,
    /// Which turn of the step, from 1: brokers that go one after the other have one each.
    pub turn: u32,
    /// Name of the step.
    pub step: String,
}

/// What followed one action. Instants count from the action. Merging is associative and
/// commutative, and `default()` is its identity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// What was done: `restart`, `kill`, ...
    pub action: String,
    /// To which brokers.
    pub brokers: BTreeSet<String>,
    /// When, since the run's epoch; `None`: it was not.
    pub began: Option<Duration>,
    /// When the action was over: the brokers were gone, or ready again.
    pub done: Option<Duration>,
    /// When the brokers were ready again, where the action brings them back.
    pub ready: Option<Duration>,
    /// Nodes that were away already when it began.
    pub away_before: u64,
    /// Complete connections of nodes that were lost.
    pub lost: Instants,
    /// Connections of nodes that were complete again.
    pub back: Instants,
    /// Connections that nodes tried to open.
    pub dials: Instants,
    /// When all connections of the client were there again; `None`: it lost none, or they are not.
    pub client_back: Option<Duration>,
    /// Connections of the client that were not back when it was last looked.
    pub client_away: u64,
    /// Connections of each broker before, as far as it said.
    pub connections_before: BTreeMap<String, u64>,
    /// The same when it was last looked.
    pub connections_after: BTreeMap<String, u64>,
}

impl Recovery {
    /// Takes over what another part of the run saw of the same action.
    pub fn merge(&mut self, other: &Self) {
        let Self {
            action,
            brokers,
            began,
            done,
            ready,
            away_before,
            lost,
            back,
            dials,
            client_back,
            client_away,
            connections_before,
            connections_after,
        } = other;
        if *action > self.action {
            self.action.clone_from(action);
        }
        self.brokers.extend(brokers.iter().cloned());
        self.began = [self.began, *began].into_iter().flatten().min();
        self.done = self.done.max(*done);
        self.ready = self.ready.max(*ready);
        self.away_before += away_before;
        self.lost.merge(lost);
        self.back.merge(back);
        self.dials.merge(dials);
        self.client_back = self.client_back.max(*client_back);
        self.client_away += client_away;
        largest(&mut self.connections_before, connections_before);
        largest(&mut self.connections_after, connections_after);
    }

    /// Connections that have to be made again: those that were away, and those lost.
    fn owed(&self) -> u64 {
        self.away_before + self.lost.total()
    }

    /// Time until this share of the lost nodes, in hundredths, was back; `None`: never.
    #[must_use]
    pub fn time_to(&self, hundredths: u64) -> Option<Duration> {
        self.began?;
        self.back.reached((self.owed() * hundredths).div_ceil(100))
    }

    /// The same from the instant at which the broker was ready again; zero where they did not wait
    /// for it.
    #[must_use]
    pub fn time_from_ready(&self, hundredths: u64) -> Option<Duration> {
        Some(self.time_to(hundredths)?.saturating_sub(self.ready?))
    }

    /// Time until all was as before: the action over, all nodes back, the client too.
    #[must_use]
    pub fn whole(&self) -> Option<Duration> {
        if self.client_away > 0 {
            return None;
        }
        let client = self.client_back.unwrap_or_default();
        Some(self.time_to(100)?.max(self.done?).max(client))
    }

    /// Connections of the least loaded broker over those of the most loaded one, afterwards; 1:
    /// all have the same.
    #[must_use]
    pub fn balance(&self) -> Option<f64> {
        let least = self.connections_after.values().min()?;
        let most = self.connections_after.values().max().filter(|most| **most > 0)?;
        Some(*least as f64 / *most as f64)
    }
}

fn largest(mine: &mut BTreeMap<String, u64>, theirs: &BTreeMap<String, u64>) {
    for (name, count) in theirs {
        let mine = mine.entry(name.clone()).or_default();
        *mine = (*mine).max(*count);
    }
}

/// Every action of a run's timeline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recoveries(BTreeMap<RecoveryKey, Recovery>);

/// The time of a step as waves see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The wave was over when the step began.
    Before,
    /// The wave was under way while the network was not whole.
    During,
    /// The wave was to be sent when the network was whole again.
    After,
}

/// From the first action of a step until the network was whole after its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    from: Duration,
    /// `None`: it was not whole again.
    to: Option<Duration>,
}

impl Window {
    fn of(recovery: &Recovery) -> Option<Self> {
        let from = recovery.began?;
        Some(Self { from, to: recovery.whole().map(|whole| from + whole) })
    }

    fn phase<L>(self, wave: &WaveResult<L>) -> Phase {
        if wave.intended_at + wave.request_duration < self.from {
            Phase::Before
        } else if self.to.is_some_and(|to| wave.intended_at >= to) {
            Phase::After
        } else {
            Phase::During
        }
    }
}

impl Recoveries {
    /// Adds what was seen of an action.
    pub fn add(&mut self, key: RecoveryKey, recovery: &Recovery) {
        self.entry(key).merge(recovery);
    }

    /// Takes over everything that `other` holds.
    pub fn merge(&mut self, other: &Self) {
        for (key, recovery) in &other.0 {
            self.add(key.clone(), recovery);
        }
    }

    /// What is known of an action, to be changed.
    pub fn entry(&mut self, key: RecoveryKey) -> &mut Recovery {
        self.0.entry(key).or_default()
    }

    /// All of them in the order of the timeline.
    pub fn iter(&self) -> impl Iterator<Item = (&RecoveryKey, &Recovery)> {
        self.0.iter()
    }

    /// True if the run had no timeline.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any part of a time, since the run's epoch, lies between an action and the end of
    /// what followed it.
    #[must_use]
    pub fn disturbed(&self, from: Duration, to: Duration) -> bool {
        let mut windows = self.0.values().filter_map(Window::of);
        windows.any(|window| window.from <= to && window.to.is_none_or(|end| from <= end))
    }

    /// Where a wave lies around a step.
    ///
    /// # Errors
    /// When the step was not carried out, or nothing comes after it.
    pub fn phase<L>(&self, step: &str, wave: &WaveResult<L>) -> Result<Phase, String> {
        let mut all: Option<Window> = None;
        for (_, recovery) in self.0.iter().filter(|(key, _)| key.step == step) {
            let window = Window::of(recovery)
                .ok_or_else(|| format!("step {step} of the timeline was not carried out"))?;
            all = Some(all.map_or(window, |sum| Window {
                from: sum.from.min(window.from),
                to: sum.to.zip(window.to).map(|(a, b)| a.max(b)),
            }));
        }
        let window = all.ok_or_else(|| format!("the timeline did not come to step {step}"))?;
        Ok(window.phase(wave))
    }
}

/// What the waves say about one action.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Consequences {
    /// Nodes that did not answer on time, over all waves that were under way while the network was
    /// not whole.
    pub requests_lost: u64,
    /// From the action until a wave was complete, the first behind the last incomplete one of that
    /// time.
    pub first_complete: Option<Duration>,
    /// The same of discoveries.
    pub first_discovery: Option<Duration>,
}

impl Consequences {
    /// What the counted waves of a run say about an action of its timeline.
    #[must_use]
    pub fn of(recovery: &Recovery, waves: &Waves) -> Self {
        let Some(window) = Window::of(recovery) else { return Self::default() };
        let mut waves = waves.counted();
        let during = waves.iter().map(|(_, wave)| &wave.result);
        let during = during.filter(|wave| window.phase(wave) == Phase::During);
        let lost = during.map(|wave| wave.expected.saturating_sub(wave.on_time)).sum();
        let any = first_complete(window, &waves);
        waves.retain(|(_, wave)| wave.result.kind == WaveKind::Discover);
        Self {
            requests_lost: lost,
            first_complete: any,
            first_discovery: first_complete(window, &waves),
        }
    }
}

fn first_complete(window: Window, waves: &[(&WaveKey, &WaveRecord)]) -> Option<Duration> {
    let is_complete =
        |wave: &WaveRecord| wave.result.expected > 0 && wave.result.on_time == wave.result.expected;
    let spoilt = waves
        .iter()
        .rposition(|(_, wave)| window.phase(&wave.result) == Phase::During && !is_complete(wave));
    let later = &waves[spoilt.map_or(0, |last| last + 1)..];
    let mut later = later.iter().filter(|(_, wave)| wave.result.intended_at >= window.from);
    later.find_map(|(_, wave)| {
        let last = wave.to_complete.last.filter(|_| is_complete(wave))?;
        Some(wave.result.intended_at + last - window.from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn instants(rows: &[(u64, u64)]) -> Instants {
        let mut instants = Instants::default();
        rows.iter().for_each(|(at, times)| instants.add(ms(*at), *times));
        instants
    }

    /// A broker with a hundred nodes is away for two seconds.
    fn restart() -> Recovery {
        Recovery {
            action: "restart".to_owned(),
            began: Some(ms(10_000)),
            done: Some(ms(2_000)),
            ready: Some(ms(2_000)),
            lost: instants(&[(50, 60), (100, 40)]),
            back: instants(&[(2_500, 50), (3_000, 48), (3_500, 1), (4_000, 1)]),
            ..Recovery::default()
        }
    }

    #[test]
    fn times_count_from_the_action_and_from_the_ready_broker() {
        let recovery = restart();
        for (hundredths, from_action, from_ready) in [
            (50, 2_500, 500),
            (51, 3_000, 1_000),
            (98, 3_000, 1_000),
            (99, 3_500, 1_500),
            (100, 4_000, 2_000),
        ] {
            assert_eq!(recovery.time_to(hundredths), Some(ms(from_action)), "{hundredths}");
            assert_eq!(recovery.time_from_ready(hundredths), Some(ms(from_ready)), "{hundredths}");
        }
        assert_eq!(recovery.whole(), Some(ms(4_000)));
    }

    #[test]
    fn who_does_not_come_back_leaves_the_time_open() {
        let mut recovery = restart();
        recovery.lost.add(ms(3_800), 1);
        assert_eq!((recovery.time_to(50), recovery.time_to(100)), (Some(ms(3_000)), None));
        assert_eq!(recovery.whole(), None);
        let away = Recovery { away_before: 1, ..restart() };
        assert_eq!(away.time_to(100), None);
        let client = Recovery { client_away: 1, ..restart() };
        assert_eq!((client.time_to(100), client.whole()), (Some(ms(4_000)), None));
        assert_eq!(Recovery::default().time_to(100), None, "nothing was done");
    }

    #[test]
    fn nobody_lost_is_back_at_once_and_the_network_whole_when_the_action_is_over() {
        let idle = Recovery { lost: Instants::default(), back: Instants::default(), ..restart() };
        assert_eq!((idle.time_to(100), idle.whole()), (Some(ms(0)), Some(ms(2_000))));
        let late = Recovery { client_back: Some(ms(2_300)), ..idle };
        assert_eq!(late.whole(), Some(ms(2_300)));
    }

    #[test]
    fn the_rate_of_a_stampede_is_that_of_its_busiest_second() {
        for (rows, expected) in [
            (&[][..], 0),
            (&[(50, 7)], 7),
            (&[(50, 7), (1_000, 5), (1_050, 6)], 12),
            (&[(50, 7), (1_000, 5), (1_050, 6), (1_950, 1)], 12),
            (&[(24, 7), (26, 5)], 12),
        ] {
            assert_eq!(instants(rows).most_in_a_second(), expected, "{rows:?}");
        }
    }

    fn wave(at_ms: u64, kind: WaveKind, on_time: u64) -> WaveResult {
        let mut wave: WaveResult = WaveResult {
            kind,
            intended_at: ms(at_ms),
            expected: 100,
            on_time,
            request_duration: if on_time == 100 { ms(20) } else { ms(1_000) },
            ..WaveResult::default()
        };
        (0..on_time).for_each(|_| wave.response_time.record(ms(20)));
        wave
    }

    #[test]
    fn waves_tell_what_was_lost_and_when_one_was_complete_again() {
        use WaveKind::{Discover, Request};
        let mut waves = Waves::default();
        let rows = [
            (8_000, Request, 90),
            (9_500, Request, 40),
            (10_000, Discover, 100),
            (11_000, Request, 0),
            (13_000, Request, 70),
            (13_500, Discover, 99),
            (14_000, Request, 100),
            (15_000, Request, 50),
            (16_000, Discover, 100),
        ];
        for (number, (at, kind, on_time)) in (1..).zip(rows) {
            let key = WaveKey { name: "w".to_owned(), number, warmup: false, client: 1 };
            waves.add(key, &wave(at, kind, on_time));
        }
        let consequences = Consequences::of(&restart(), &waves);
        assert_eq!(consequences.requests_lost, 60 + 100 + 30 + 1);
        let near = |found: Option<Duration>, expected_ms: u64| {
            let found = found.unwrap_or_default();
            assert!(found.abs_diff(ms(expected_ms)) < ms(2), "{found:?}");
        };
        near(consequences.first_complete, 4_020);
        near(consequences.first_discovery, 6_020);
        let mut never = restart();
        never.lost.add(ms(3_000), 1);
        assert_eq!(Consequences::of(&never, &waves).requests_lost, 60 + 100 + 30 + 1 + 50);
        assert_eq!(Consequences::of(&Recovery::default(), &waves), Consequences::default());
    }

    #[test]
    fn waves_lie_before_during_or_after_all_turns_of_a_step() {
        let mut recoveries = Recoveries::default();
        let key = |turn| RecoveryKey { number: 1, turn, step: "roll".to_owned() };
        recoveries.add(key(1), &restart());
        recoveries.add(key(2), &Recovery { began: Some(ms(15_000)), ..restart() });
        let phase = |at| recoveries.phase("roll", &wave(at, WaveKind::Request, 100));
        for (at, expected) in [
            (9_900, Phase::Before),
            (9_990, Phase::During),
            (14_500, Phase::During),
            (18_999, Phase::During),
            (19_000, Phase::After),
        ] {
            assert_eq!(phase(at), Ok(expected), "{at}");
        }
        assert!(recoveries.phase("other", &wave(0, WaveKind::Request, 0)).is_err());
        for (from, to, expected) in [
            (0, 9_999, false),
            (0, 10_000, true),
            (14_001, 14_999, false),
            (14_000, 14_999, true),
            (19_001, 99_000, false),
        ] {
            assert_eq!(recoveries.disturbed(ms(from), ms(to)), expected, "{from} to {to}");
        }
        recoveries.add(key(3), &Recovery::default());
        assert!(
            recoveries.phase("roll", &wave(0, WaveKind::Request, 0)).is_err(),
            "a turn is open"
        );
    }
}
