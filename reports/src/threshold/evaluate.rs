//! Evaluating thresholds over a run: select, aggregate, compare exactly, say what was found.
//!
//! No data is never a pass: where a value cannot be worked out, the reason is the outcome's detail.

use super::metric::Source;
use super::value::{Found, Fraction};
use super::{Aggregation, Selector, Threshold, ThresholdOutcome};
use crate::broker::BrokerFigure;
use crate::format;
use crate::latency::Latency;
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
            Source::Completeness => self.completeness(&self.waves(run)?),
            Source::ToComplete => {
                let waves = self.waves(run)?;
                spread(
                    waves.into_iter().map(to_complete).collect::<Result<_, _>>()?,
                    self.aggregation,
                )
            }
            Source::WaveCount(count) => {
                self.counts(&self.waves(run)?, |(_, wave)| count(&wave.result))
            }
            Source::Missing(cause) => {
                let group = self.selector.group.as_deref();
                self.counts(&self.waves(run)?, |(key, _)| tally.missing.of_wave(key, cause, group))
            }
            Source::WaveLatency(values) => self.replies(run, values),
            Source::RunLatency(values) => {
                latency(values(tally), self.aggregation).map(|found| (found, String::new()))
            }
            Source::Connected => self.connected(run),
            Source::Disconnects => self.disconnects(run),
            Source::Events(value) => self.events(run, value),
            Source::Broker(figure) => self.brokers(run, figure),
            Source::Recovery(value) => self.recoveries(run, value),
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

    fn completeness(&self, waves: &[Wave]) -> Observation {
        if self.aggregation == Aggregation::Rate {
            return of_expected(waves, |(_, wave)| wave.result.on_time);
        }
        let points = waves.iter().map(|wave| {
            let share = Fraction::share(wave.1.result.on_time, wave.1.result.expected)
                .ok_or_else(|| format!("{} expected nobody", label(*wave)))?;
            Ok((Found::Exact(share), label(*wave)))
        });
        spread(points.collect::<Result<_, String>>()?, self.aggregation)
    }

    fn counts(&self, waves: &[Wave], count: impl Fn(Wave) -> u64) -> Observation {
        match self.aggregation {
            Aggregation::Count => {
                let sum = waves.iter().map(|wave| count(*wave)).sum();
                Ok((Found::Exact(Fraction::whole(sum)), String::new()))
            }
            Aggregation::Rate => of_expected(waves, count),
            other => {
                let point =
                    |wave: &Wave| (Found::Exact(Fraction::whole(count(*wave))), label(*wave));
                spread(waves.iter().map(point).collect(), other)
            }
        }
    }

    fn replies(&self, run: &RunResult, values: fn(&Distributions) -> &Latency) -> Observation {
        // Asked first: it says that no wave matches.
        self.waves(run)?;
        let all = run.tally.waves.distributions(|key| self.means(&key.name, key.client));
        let found = latency(values(&all), self.aggregation)?;
        Ok((found, format!("{} values", format::count(values(&all).count()))))
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

    fn recoveries(
        &self,
        run: &RunResult,
        value: fn(&Recovery, &Consequences) -> Option<f64>,
    ) -> Observation {
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
        match (self.aggregation, points.as_slice()) {
            (_, []) => Err("no step of the timeline matches".to_owned()),
            (Aggregation::Count, all) => {
                let sum = all.iter().map(|(found, _)| found.as_f64()).sum();
                Ok((Found::Measured(sum), String::new()))
            }
            (other, _) => spread(points, other),
        }
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
fn of_expected(waves: &[Wave], count: impl Fn(Wave) -> u64) -> Observation {
    let part = waves.iter().map(|wave| count(*wave)).sum();
    let whole = waves.iter().map(|(_, wave)| wave.result.expected).sum();
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
