//! Reading thresholds: k6's grammar (`metrics/thresholds_parser.go` in grafana/k6) with units.
//!
//! Every error says what was read and what to write instead.

use super::metric::closest;
use super::value::Fraction;
use super::{Aggregation, CATALOGUE, Metric, Operator, Selector, Threshold, ThresholdError, Unit};

/// Longest number: more digits than any figure has, and far from overflow.
const DIGITS_MAX: usize = 15;

/// Operators, longer ones first: `<=` must not be read as `<`.
const OPERATORS: [(&str, Operator); 6] = [
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

/// Units of each dimension with their factor to the base unit: microseconds, a whole, bytes,
/// things per second.
const DURATIONS: &[(&str, u128, u128)] = &[
    ("ns", 1, 1000),
    ("us", 1, 1),
    ("µs", 1, 1),
    ("ms", 1000, 1),
    ("s", 1_000_000, 1),
    ("m", 60_000_000, 1),
    ("h", 3_600_000_000, 1),
];
const SHARES: &[(&str, u128, u128)] = &[("%", 1, 100)];
const SIZES: &[(&str, u128, u128)] = &[
    ("B", 1, 1),
    ("KiB", 1 << 10, 1),
    ("MiB", 1 << 20, 1),
    ("GiB", 1 << 30, 1),
    ("TiB", 1 << 40, 1),
    ("kB", 1000, 1),
    ("KB", 1000, 1),
    ("MB", 1_000_000, 1),
    ("GB", 1_000_000_000, 1),
    ("TB", 1_000_000_000_000, 1),
];
const RATES: &[(&str, u128, u128)] = &[("/s", 1, 1), ("/m", 1, 60), ("/h", 1, 3600)];

fn error(subject: &str, reason: impl Into<String>, help: impl Into<String>) -> ThresholdError {
    ThresholdError {
        subject: format!("threshold `{subject}`"),
        reason: reason.into(),
        help: help.into(),
    }
}

pub(super) fn threshold(metric: &str, expression: &str) -> Result<Threshold, ThresholdError> {
    let text = (metric.trim().to_owned(), expression.trim().to_owned());
    let (name, tags) = split_metric(&text.0)?;
    let found = Metric::find(name).ok_or_else(|| unknown_metric(name))?;
    let selector = tags.map_or(Ok(Selector::default()), |tags| selector(&text.0, found, tags))?;
    let subject = format!("{}: {}", text.0, text.1);
    let (left, operator, right) = split_expression(&subject, &text.1)?;
    let aggregation = aggregation(&subject, found, left)?;
    let unit = found.unit_of(aggregation.family());
    let plain = unit == Unit::Count || (unit == found.unit && found.names_its_unit());
    let bound = number(right, unit, plain).map_err(|reason| {
        error(&subject, reason, format!("write a {} as {}", unit.dimension(), unit.examples()))
    })?;
    Ok(Threshold { text, metric: found, selector, aggregation, operator, bound })
}

fn split_metric(text: &str) -> Result<(&str, Option<&str>), ThresholdError> {
    match text.split_once('{') {
        None => Ok((text, None)),
        Some((name, rest)) => match rest.strip_suffix('}') {
            Some(tags) => Ok((name.trim(), Some(tags))),
            None => Err(error(
                text,
                "the selector is not closed",
                "write it as `completeness{wave:rpc}`",
            )),
        },
    }
}

fn unknown_metric(name: &str) -> ThresholdError {
    let help = Metric::closest(name).map_or_else(
        || {
            let known: Vec<_> = CATALOGUE.iter().map(|metric| metric.name).collect();
            format!("write one of {}", known.join(", "))
        },
        |meant| format!("did you mean `{meant}`?"),
    );
    error(name, "unknown metric", help)
}

fn selector(text: &str, metric: &Metric, tags: &str) -> Result<Selector, ThresholdError> {
    let mut selector = Selector::default();
    for part in tags.split(',') {
        let (tag, value) = part
            .split_once(':')
            .map(|(tag, value)| (tag.trim(), value.trim()))
            .filter(|(tag, value)| !tag.is_empty() && !value.is_empty())
            .ok_or_else(|| {
                error(
                    text,
                    format!("`{}` is no tag with a value", part.trim()),
                    "write `tag:value`",
                )
            })?;
        if !metric.tags.contains(&tag) {
            return Err(unknown_tag(text, metric, tag));
        }
        let slot = match tag {
            "client" => {
                let client = value.parse().ok().filter(|client| *client > 0).ok_or_else(|| {
                    error(text, format!("`{value}` is no client"), "write its number, from 1")
                })?;
                selector.client = Some(client);
                continue;
            }
            "hops" => {
                let hops = value.parse().map_err(|_| {
                    error(text, format!("`{value}` is no number of hops"), "write a number, from 0")
                })?;
                selector.hops = Some(hops);
                continue;
            }
            "wave" => &mut selector.wave,
            "group" => &mut selector.group,
            "kind" => &mut selector.kind,
            "step" => &mut selector.step,
            "before" => &mut selector.before,
            "during" => &mut selector.during,
            "after" => &mut selector.after,
            "cluster" => &mut selector.cluster,
            _ => &mut selector.broker,
        };
        *slot = Some(value.to_owned());
    }
    Ok(selector)
}

fn unknown_tag(text: &str, metric: &Metric, tag: &str) -> ThresholdError {
    let help = match metric.tags {
        [] => format!("`{}` takes no selector: leave it out", metric.name),
        tags => closest(tag, tags.iter().copied()).map_or_else(
            || format!("write one of {}", tags.join(", ")),
            |meant| format!("did you mean `{meant}`?"),
        ),
    };
    error(text, format!("`{}` has no tag `{tag}`", metric.name), help)
}

fn split_expression<'a>(
    subject: &str,
    text: &'a str,
) -> Result<(&'a str, Operator, &'a str), ThresholdError> {
    let help = "write for example `p(99) < 5s`, with one of < <= > >= == !=";
    let at = text
        .find(['<', '>', '=', '!'])
        .ok_or_else(|| error(subject, "there is no comparison in it", help))?;
    let (left, rest) = text.split_at(at);
    let (operator, right) = OPERATORS
        .iter()
        .find_map(|(sign, operator)| rest.strip_prefix(sign).map(|right| (*operator, right)))
        .ok_or_else(|| error(subject, "`=` or `!` alone is no comparison", help))?;
    if right.starts_with(['<', '>', '=', '!']) {
        return Err(error(subject, "the comparison is not known", help));
    }
    Ok((left.trim(), operator, right.trim()))
}

fn aggregation(subject: &str, metric: &Metric, text: &str) -> Result<Aggregation, ThresholdError> {
    let allowed = || format!("write one of {}", metric.aggregations.join(", "));
    let found = match text {
        "avg" => Aggregation::Avg,
        "min" => Aggregation::Min,
        "max" => Aggregation::Max,
        "med" => Aggregation::Med,
        "count" => Aggregation::Count,
        "rate" => Aggregation::Rate,
        "value" => Aggregation::Value,
        _ => percentile(subject, text).ok_or_else(|| {
            let help = meant_aggregation(text)
                .map_or_else(allowed, |meant| format!("did you mean `{meant}`?"));
            error(subject, format!("`{text}` is no aggregation"), help)
        })??,
    };
    if !metric.aggregations.contains(&found.family()) {
        let reason = format!("`{}` has no `{}`", metric.name, found.family());
        return Err(error(subject, reason, allowed()));
    }
    Ok(found)
}

/// `p(99.9)`; `None` when the text has not that form at all.
fn percentile(subject: &str, text: &str) -> Option<Result<Aggregation, ThresholdError>> {
    let inner = text.strip_prefix('p')?.trim_start().strip_prefix('(')?.strip_suffix(')')?;
    let millionths = decimal(inner.trim())
        .filter(|n| (n.over * 10_000).is_multiple_of(n.under))
        .and_then(|n| u32::try_from(n.over * 10_000 / n.under).ok())
        .filter(|millionths| *millionths <= 1_000_000);
    Some(millionths.map(Aggregation::Percentile).ok_or_else(|| {
        error(
            subject,
            format!("`{}` is no percentile", inner.trim()),
            "write a number from 0 to 100 with at most four decimals, as in `p(99.9)`",
        )
    }))
}

fn meant_aggregation(text: &str) -> Option<String> {
    let digits = text.strip_prefix('p').unwrap_or_default().trim_matches(['(', ')', ' ']);
    if decimal(digits).is_some() {
        return Some(format!("p({digits})"));
    }
    let meant = match text {
        "mean" | "average" => "avg",
        "median" => "med",
        "sum" | "total" => "count",
        "last" => "value",
        _ => return None,
    };
    Some(meant.to_owned())
}

/// A value with its unit, in the base unit of its dimension. The error says what is wrong.
fn number(text: &str, unit: Unit, plain: bool) -> Result<Fraction, String> {
    if text.is_empty() {
        return Err("there is no value after the comparison".to_owned());
    }
    if text.starts_with('-') {
        return Err(format!("`{text}` is negative, and no metric is"));
    }
    let units = match unit {
        Unit::Us | Unit::S => DURATIONS,
        Unit::Ratio => SHARES,
        Unit::Bytes => SIZES,
        Unit::Count => &[],
        Unit::PerSecond => RATES,
    };
    if let Some(value) = decimal(text) {
        // Zero needs no unit, as humantime has it.
        return if plain || value.over == 0 {
            Ok(value)
        } else {
            Err(format!("`{text}` has no unit"))
        };
    }
    let sum = with_units(text, units, unit).ok_or_else(|| wrong_unit(text, unit))?;
    Ok(match unit {
        Unit::S => Fraction { over: sum.over, under: sum.under * 1_000_000 },
        _ => sum,
    })
}

fn wrong_unit(text: &str, unit: Unit) -> String {
    format!("`{text}` is no {}", unit.dimension())
}

/// `99.9%`, `12KiB`; durations also in several parts: `1m30s`.
fn with_units(text: &str, units: &[(&str, u128, u128)], unit: Unit) -> Option<Fraction> {
    let mut sum = Fraction { over: 0, under: 1 };
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (digits, tail) = rest.split_at(end);
        let tail = tail.trim_start();
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (name, tail) = tail.split_at(end);
        let value = decimal(digits)?;
        let (_, times, over) = units.iter().find(|(known, _, _)| *known == name.trim())?;
        let (over_n, under_n) = (value.over * times, value.under * over);
        sum = Fraction {
            over: sum.over.checked_mul(under_n)?.checked_add(over_n.checked_mul(sum.under)?)?,
            under: sum.under.checked_mul(under_n)?,
        };
        rest = tail;
        if !matches!(unit, Unit::Us | Unit::S) && !rest.is_empty() {
            return None;
        }
    }
    Some(sum)
}

/// A decimal number without sign or exponent.
fn decimal(text: &str) -> Option<Fraction> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = format!("{whole}{decimals}");
    let fits = !whole.is_empty() && !decimals.is_empty() && digits.len() <= DIGITS_MAX;
    if !fits || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let under = 10_u128.checked_pow(u32::try_from(decimals.len()).ok()?)?;
    Some(Fraction { over: digits.parse().ok()?, under })
}
