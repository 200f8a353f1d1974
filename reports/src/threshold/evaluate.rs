//! Evaluating thresholds over a run: select, aggregate, compare exactly, say what was found.
//!
//! No data is never a pass: where a value cannot be worked out, the reason is the outcome's detail.

use super::metric::Source;
use super::value::{Found, Fraction};
use super::{Aggregation, Selector, Threshold, ThresholdOutcome};
use crate::broker::BrokerFigure;
use crate::format;
use crate::latency::Latency;
use crate::place::{Place, PlaceCounts};
use crate::recovery::{Consequences, Phase, Recovery};
use crate::run::{EventTotals, RunResult};
use crate::wave::{WaveKey, WaveRecord};
use crate::waves::Distributions;

/// The value and where it was found (or nothing to say), or why there is none.
type Observation = Result<(Found, String), String>;
type Wave<'a> = (&'a WaveKey, &'a WaveRecord);

impl Threshold {
    /// Evaluates the threshold over the counted waves of a run.
    #[must_use]
    pub fn evaluate(&self, run: &RunResult) -> ThresholdOutcome {
        let unit = self.metric.unit_of(self.aggregation.family());
        let (value, passed, detail) = match self.observe(run) {
            Ok((found, place)) => {
                let shown = found.show(unit);
                let detail = if place.is_empty() { shown } else { format!("{shown} ({place})") };
                (Some(found.as_f64()), found.meets(self.operator, self.bound), detail)
            }
            Err(reason) => (None, false, format!("no data: {reason}")),
        };
        let (metric, expression) = self.text.clone();
        ThresholdOutcome { metric, expression, value, unit, passed, detail }
    }

    fn observe(&self, run: &RunResult) -> Observation {
        let tally = &run.tally;
        match self.metric.source {
            Source::Completeness => self.completeness(&self.answers(self.waves(run)?)?),
            Source::ToComplete => {
                let waves = self.waves(run)?;
                spread(
                    waves.into_iter().map(to_complete).collect::<Result<_, _>>()?,
                    self.aggregation,
                )
            }
            Source::Answers(count) => {
                let answers = self.answers(self.waves(run)?)?.into_iter();
                self.counts(answers.map(|(c, wave)| (count(&c), c.expected, wave)).collect())
            }
            Source::WaveCount(count) => {
                let waves = self.waves(run)?.into_iter();
                self.counts(waves.map(|w| (count(&w.1.result), w.1.result.expected, w)).collect())
            }
            Source::Missing(cause) => {
                let group = self.selector.group.as_deref();
                let of = |wave: Wave| tally.missing.of_wave(wave.0, cause, group);
                let waves = self.waves(run)?.into_iter();
                self.counts(waves.map(|w| (of(w), w.1.result.expected, w)).collect())
            }
            Source::ResponseTime => self.replies(&self.response_time(run)?),
            Source::WaveLatency(values) => self.replies(values(&self.distributions(run)?)),
            Source::RunLatency(values) => {
                latency(values(tally), self.aggregation).map(|found| (found, String::new()))
            }
            Source::Connected => self.connected(run),
            Source::Disconnects => self.disconnects(run),
            Source::Counter(name) => self.counter(run, name),
            Source::Events(value) => self.events(run, value),
            Source::Broker(figure) => self.brokers(run, figure),
            Source::NodesLost => self.nodes_lost(run),
            Source::Recovery(value) => self.recoveries(self.actions(run, value)?),
            Source::Single(value) => value(tally)
                .map(|value| (Found::Measured(value), String::new()))
                .ok_or_else(|| "it was not measured".to_owned()),
        }
    }

    /// The counted waves that the selector means; none is an error.
    fn waves<'a>(&self, run: &'a RunResult) -> Result<Vec<Wave<'a>>, String> {
        let mut waves = run.tally.waves.counted();
        waves.retain(|(key, _)| self.means(&key.name, key.client));
        let Selector { before, during, after, .. } = &self.selector;
        for (step, phase) in
            [(before, Phase::Before), (during, Phase::During), (after, Phase::After)]
        {
            let Some(step) = step else { continue };
            let phases = waves.iter().map(|(_, wave)| run.tally.recovery.phase(step, &wave.result));
            let phases: Vec<_> = phases.collect::<Result<_, _>>()?;
            let mut phases = phases.into_iter();
            waves.retain(|_| phases.next() == Some(phase));
        }
        if waves.is_empty() {
            return Err("no counted wave matches".to_owned());
        }
        Ok(waves)
    }

    fn means(&self, name: &str, client: u32) -> bool {
        let Selector { wave, client: wanted, .. } = &self.selector;
        wave.as_ref().is_none_or(|wave| wave == name)
            && wanted.is_none_or(|wanted| wanted == client)
    }

    /// Whether only nodes of some places are meant.
    fn is_placed(&self) -> bool {
        let Selector { broker, cluster, hops, .. } = &self.selector;
        broker.is_some() || cluster.is_some() || hops.is_some()
    }

    fn is_place_meant(&self, place: &Place) -> bool {
        let Selector { broker, cluster, hops, .. } = &self.selector;
        broker.as_ref().is_none_or(|wanted| *wanted == place.broker)
            && cluster.as_ref().is_none_or(|wanted| Some(wanted) == place.cluster.as_ref())
            && hops.is_none_or(|wanted| Some(wanted) == place.hops)
    }

    /// What became of the nodes that are meant, wave by wave.
    fn answers<'a>(&self, waves: Vec<Wave<'a>>) -> Result<Vec<(PlaceCounts, Wave<'a>)>, String> {
        if !self.is_placed() {
            return Ok(waves.into_iter().map(|wave| (wave.1.result.answers(), wave)).collect());
        }
        let of =
            |wave: Wave<'a>| (wave.1.result.answers_of(|place| self.is_place_meant(place)), wave);
        let mut answers: Vec<_> = waves.into_iter().map(of).collect();
        // A wave may expect nobody there.
        answers.retain(|(counts, _)| counts.expected > 0);
        if answers.is_empty() {
            return Err("no wave expected a node there".to_owned());
        }
        Ok(answers)
    }

    fn completeness(&self, answers: &[(PlaceCounts, Wave)]) -> Observation {
        if self.aggregation == Aggregation::Rate {
            let sum = |count: fn(&PlaceCounts) -> u64| answers.iter().map(|(c, _)| count(c)).sum();
            return share(sum(|counts| counts.on_time), sum(|counts| counts.expected));
        }
        let points = answers.iter().map(|(counts, wave)| {
            let share = Fraction::share(counts.on_time, counts.expected)
                .ok_or_else(|| format!("{} expected nobody", label(*wave)))?;
            Ok((Found::Exact(share), label(*wave)))
        });
        spread(points.collect::<Result<_, String>>()?, self.aggregation)
    }

    /// One count a wave, each with the nodes that were expected in it.
    fn counts(&self, counts: Vec<(u64, u64, Wave)>) -> Observation {
        let sum = || counts.iter().map(|(count, _, _)| count).sum();
        match self.aggregation {
            Aggregation::Count => Ok((Found::Exact(Fraction::whole(sum())), String::new())),
            Aggregation::Rate => share(sum(), counts.iter().map(|(_, expected, _)| expected).sum()),
            other => {
                let point = |(count, _, wave)| (Found::Exact(Fraction::whole(count)), label(wave));
                spread(counts.into_iter().map(point).collect(), other)
            }
        }
    }

    fn replies(&self, values: &Latency) -> Observation {
        let found = latency(values, self.aggregation)?;
        Ok((found, format!("{} values", format::count(values.count()))))
    }

    /// The merged distributions of the waves that are meant.
    fn distributions(&self, run: &RunResult) -> Result<Distributions, String> {
        // Asked first: it says that no wave matches.
        self.waves(run)?;
        Ok(run.tally.waves.distributions(|key| self.means(&key.name, key.client)))
    }

    /// The response times of the nodes that are meant.
    fn response_time(&self, run: &RunResult) -> Result<Latency, String> {
        let all = self.distributions(run)?;
        if !self.is_placed() {
            return Ok(all.response_time);
        }
        let mut merged = Latency::default();
        let places = all.places.iter().filter(|(place, _)| self.is_place_meant(place));
        places.for_each(|(_, place)| merged.merge(&place.response_time));
        Ok(merged)
    }

    fn connected(&self, run: &RunResult) -> Observation {
        ours(run)?;
        let fleet = &run.tally.fleet;
        let (connected, planned) = match &self.selector.group {
            None => (fleet.connected, fleet.planned),
            Some(name) => {
                let group = fleet.groups.get(name).ok_or_else(|| format!("no group `{name}`"))?;
                (group.connected, group.planned)
            }
        };
        let share = Fraction::share(connected, planned).ok_or("the run has no fleet")?;
        let place = format!("{} of {}", format::count(connected), format::count(planned));
        Ok(match self.aggregation {
            Aggregation::Rate => (Found::Exact(share), place),
            _ => (Found::Exact(Fraction::whole(connected)), place),
        })
    }

    fn disconnects(&self, run: &RunResult) -> Observation {
        ours(run)?;
        let fleet = &run.tally.fleet;
        if fleet.planned == 0 {
            return Err("the run has no fleet".to_owned());
        }
        if self.aggregation == Aggregation::Rate {
            let seconds = run.duration.as_secs_f64();
            return if seconds > 0.0 {
                Ok((Found::Measured(fleet.disconnects as f64 / seconds), String::new()))
            } else {
                Err("the run has no duration".to_owned())
            };
        }
        Ok((Found::Exact(Fraction::whole(fleet.disconnects)), String::new()))
    }

    fn events(&self, run: &RunResult, value: fn(&EventTotals) -> u64) -> Observation {
        let wanted = self.selector.kind.as_deref();
        let (mut found, mut published) = (0, 0);
        for (kind, totals) in &run.tally.events {
            if wanted.is_none_or(|wanted| wanted == kind) {
                found += value(totals);
                published += totals.published;
            }
        }
        let share = Fraction::share(found, published).ok_or("no node published any")?;
        let place = format!("{} of {}", format::count(found), format::count(published));
        Ok(match self.aggregation {
            Aggregation::Rate => (Found::Exact(share), place),
            _ => (Found::Exact(Fraction::whole(found)), place),
        })
    }

    fn counter(&self, run: &RunResult, name: &str) -> Observation {
        ours(run)?;
        let fleet = &run.tally.fleet;
        let count = fleet.counter(name).ok_or("it was not measured")?;
        let place = format!("{} nodes planned", format::count(fleet.planned));
        match self.aggregation {
            Aggregation::Rate => {
                let share = Fraction::share(count, fleet.planned).ok_or("the run has no fleet")?;
                Ok((Found::Exact(share), format!("{} of {place}", format::count(count))))
            }
            _ => Ok((Found::Exact(Fraction::whole(count)), String::new())),
        }
    }

    /// What followed each action that is meant, and the action's name.
    fn actions(
        &self,
        run: &RunResult,
        value: impl Fn(&Recovery, &Consequences) -> Option<f64>,
    ) -> Result<Vec<(Found, String)>, String> {
        let Selector { step, broker, .. } = &self.selector;
        let selected = run.tally.recovery.iter().filter(|(key, recovery)| {
            step.as_ref().is_none_or(|step| *step == key.step)
                && broker.as_ref().is_none_or(|broker| recovery.brokers.contains(broker))
        });
        let points = selected.map(|(key, recovery)| {
            let place = format!("{} {}", key.step, names(recovery));
            let waves = Consequences::of(recovery, &run.tally.waves);
            match (recovery.began, value(recovery, &waves)) {
                (None, _) => Err(format!("{place} was not carried out")),
                (_, None) => Err(format!("{place} did not come to that while it was watched")),
                (_, Some(value)) => Ok((Found::Measured(value), place)),
            }
        });
        let points: Vec<_> = points.collect::<Result<_, String>>()?;
        match points.as_slice() {
            [] => Err("no step of the timeline matches".to_owned()),
            _ => Ok(points),
        }
    }

    fn recoveries(&self, points: Vec<(Found, String)>) -> Observation {
        match self.aggregation {
            Aggregation::Count => {
                let sum = points.iter().map(|(found, _)| found.as_f64()).sum();
                Ok((Found::Measured(sum), String::new()))
            }
            other => spread(points, other),
        }
    }

    fn nodes_lost(&self, run: &RunResult) -> Observation {
        let points = self.actions(run, |recovery, _| Some(recovery.lost.total() as f64))?;
        if self.aggregation != Aggregation::Rate {
            return self.recoveries(points);
        }
        // Counts of nodes, which a float holds exactly.
        let lost = points.iter().map(|(found, _)| found.as_f64() as u64).sum();
        let connected = run.tally.fleet.connected;
        let share = Fraction::share(lost, connected).ok_or("no node was connected")?;
        let place = format!("{} of {}", format::count(lost), format::count(connected));
        Ok((Found::Exact(share), place))
    }

    fn brokers(&self, run: &RunResult, figure: BrokerFigure) -> Observation {
        let wanted = self.selector.broker.as_deref();
        let selected = run.tally.cost.brokers.iter();
        let selected = selected.filter(|(name, _)| wanted.is_none_or(|wanted| wanted == *name));
        let points = selected.map(|(name, broker)| {
            let value = broker.figures.get(figure);
            let value = value.ok_or_else(|| format!("broker {name} was not measured"))?;
            Ok((Found::Measured(figure.in_its_unit(value)), format!("broker {name}")))
        });
        let points: Vec<_> = points.collect::<Result<_, String>>()?;
        match (self.aggregation, points.as_slice()) {
            (_, []) => Err("no broker matches".to_owned()),
            (Aggregation::Value, [only]) => Ok(only.clone()),
            (Aggregation::Value, several) => Err(format!(
                "`value` needs one broker and {} match: select one, or use max",
                several.len()
            )),
            (Aggregation::Count, all) => {
                let sum = all.iter().map(|(found, _)| found.as_f64()).sum();
                Ok((Found::Measured(sum), String::new()))
            }
            (other, _) => spread(points, other),
        }
    }
}

/// Of the connections of other nodes nothing is known.
fn ours(run: &RunResult) -> Result<(), String> {
    match run.about.origin.is_foreign() {
        true => Err("the nodes are not ours".to_owned()),
        false => Ok(()),
    }
}

fn names(recovery: &Recovery) -> String {
    let names: Vec<&str> = recovery.brokers.iter().map(String::as_str).collect();
    names.join(", ")
}

fn label((key, _): Wave) -> String {
    if key.client == 1 {
        format!("wave {} {}", key.name, key.number)
    } else {
        format!("wave {} {}, client {}", key.name, key.number, key.client)
    }
}

fn to_complete(wave: Wave) -> Result<(Found, String), String> {
    let WaveRecord { result, to_complete, .. } = wave.1;
    to_complete
        .last
        .map(|last| (Found::Measured(last.as_secs_f64() * 1e6), label(wave)))
        .ok_or_else(|| {
            format!(
                "{} never completed, {} of {} answered",
                label(wave),
                format::count(result.on_time + result.late),
                format::count(result.expected)
            )
        })
}

/// A sum over the waves as a share of the nodes expected in them.
fn share(part: u64, whole: u64) -> Observation {
    let share = Fraction::share(part, whole).ok_or("the waves expected nobody")?;
    let place = format!("{} of {}", format::count(part), format::count(whole));
    Ok((Found::Exact(share), place))
}

/// One of several values, or their mean; percentiles by nearest rank.
fn spread(mut points: Vec<(Found, String)>, aggregation: Aggregation) -> Observation {
    points.sort_by(|(a, _), (b, _)| a.compare(*b));
    let n = points.len();
    let rank = |millionths: usize| (n * millionths).div_ceil(1_000_000).max(1) - 1;
    let (index, over_all) = match aggregation {
        Aggregation::Min => (0, false),
        Aggregation::Max => (n.saturating_sub(1), false),
        Aggregation::Med => (rank(500_000), true),
        Aggregation::Percentile(millionths) => (rank(millionths as usize), true),
        _ => {
            let mean = points.iter().map(|(found, _)| found.as_f64()).sum::<f64>() / n as f64;
            return Ok((Found::Measured(mean), format!("of {n}")));
        }
    };
    let (found, place) = points.get(index).cloned().ok_or("nothing was measured")?;
    Ok((found, if over_all { format!("of {n}") } else { place }))
}

fn latency(values: &Latency, aggregation: Aggregation) -> Result<Found, String> {
    let figures = values.figures().ok_or("nothing was measured")?;
    let quantile =
        |millionths: u32| values.histogram().value_at_quantile(f64::from(millionths) / 1_000_000.0);
    Ok(Found::Exact(Fraction::whole(match aggregation {
        Aggregation::Avg => return Ok(Found::Measured(figures.mean)),
        Aggregation::Count => figures.count,
        Aggregation::Min => figures.min,
        Aggregation::Med => figures.p50,
        Aggregation::Percentile(millionths) => quantile(millionths),
        _ => figures.max,
    })))
}
