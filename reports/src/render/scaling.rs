//! What the report of a series of sizes says: what each size gave, the laws, whether the largest size
//! follows them, and what a size that was not run would take.

use super::content::{Content, Line, Mood, Section, Table};
use crate::format;
use crate::scaling::{Comparison, Law, Scaling, Size, Unit};
use crate::verdict::{ExitCode, Verdict};

/// What a report of this series says.
#[must_use]
pub fn content(scaling: &Scaling) -> Content {
    let sections = [
        Some(waves(scaling)),
        Some(costs(scaling)),
        laws(scaling),
        departures(scaling),
        predictions(scaling),
    ];
    Content {
        headline: headline(scaling),
        sections: sections.into_iter().flatten().collect(),
        verdict: verdict(scaling),
    }
}

fn headline(scaling: &Scaling) -> String {
    let Scaling { scenario, sizes, asked, started_at, .. } = scaling;
    let count = match sizes.len() == asked.len() {
        true => format!("{} sizes", sizes.len()),
        false => format!("{} of {} sizes", sizes.len(), asked.len()),
    };
    let nodes: Vec<_> = sizes.iter().map(|size| format::count(size.nodes)).collect();
    [scenario.clone(), count, nodes.join(", ") + " nodes", started_at.clone()].join(" · ")
}

fn waves(scaling: &Scaling) -> Section {
    let ms = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| Unit::Ms.show(v));
    let rows = scaling.sizes.iter().flat_map(|size| {
        size.waves.iter().map(move |wave| {
            let each = wave.median_ms.map(|median| median * 1e3 / size.nodes as f64);
            let complete = wave.complete_waves == wave.waves;
            let cells = vec![
                wave.name.clone(),
                format::count(size.nodes),
                format!("{} of {}", wave.complete_waves, wave.waves),
                ms(wave.min_ms),
                ms(wave.median_ms),
                ms(wave.max_ms),
                each.map_or_else(|| "-".to_owned(), |us| Unit::Us.show(us)),
            ];
            (if complete { Mood::Plain } else { Mood::Bad }, cells)
        })
    });
    let mut rows: Vec<_> = rows.collect();
    // All sizes of one entry below each other; the order within stays.
    rows.sort_by_key(|(_, cells)| position(scaling, &cells[0]));
    let columns = vec![
        ("wave", false),
        ("nodes", true),
        ("complete", true),
        ("min", true),
        ("median", true),
        ("max", true),
        ("a node", true),
    ];
    let title = "How long does a wave take until everyone has answered?";
    Section { title, table: Some(Table { columns, rows }), lines: Vec::new() }
}

fn position(scaling: &Scaling, entry: &str) -> usize {
    let mut names = scaling.sizes.iter().flat_map(|size| &size.waves).map(|wave| &wave.name);
    names.position(|name| name == entry).unwrap_or(usize::MAX)
}

fn costs(scaling: &Scaling) -> Section {
    let us = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| Unit::Us.show(v));
    let bytes = |value: Option<u64>| {
        value.map_or_else(|| "-".to_owned(), |value| format::bytes(value as f64))
    };
    let row = |size: &Size| {
        let each = size.emulator_rss_bytes.map(|bytes| bytes / size.nodes.max(1));
        let cells = vec![
            format::count(size.nodes),
            us(size.emulator_cpu_us_per_answer),
            us(size.brokers_cpu_us_per_answer),
            bytes(size.emulator_rss_bytes),
            bytes(each),
            bytes(size.brokers_rss_bytes),
            size.verdict.name().to_owned(),
        ];
        let mood = match size.verdict {
            Verdict::Passed => Mood::Plain,
            Verdict::ThresholdsFailed => Mood::Bad,
            Verdict::Invalid | Verdict::Interrupted | Verdict::Error => Mood::Warning,
        };
        (mood, cells)
    };
    let columns = vec![
        ("nodes", true),
        ("CPU, nodes", true),
        ("CPU, brokers", true),
        ("memory, nodes", true),
        ("a node", true),
        ("memory, brokers", true),
        ("verdict", false),
    ];
    let rows = scaling.sizes.iter().map(row).collect();
    let left_out = scaling.sizes.iter().filter(|size| !size.is_valid()).map(|size| {
        let why = size.error.as_deref().unwrap_or(size.verdict.name());
        let nodes = format::count(size.nodes);
        Line::new(Mood::Warning, format!("{nodes} nodes say nothing about the law: {why}"))
    });
    Section {
        title: "What does an answer cost in CPU time, and what does a size in memory?",
        table: Some(Table { columns, rows }),
        lines: left_out.collect(),
    }
}

fn laws(scaling: &Scaling) -> Option<Section> {
    if scaling.laws.is_empty() {
        return None;
    }
    let row = |law: &Law| {
        let (times, step) = step(law.unit);
        let each = law.unit.show(law.each_node * times);
        let interval = law.each_node_interval.map(|ends| ends.map(|end| end * times));
        let cells = vec![
            law.measure.title(),
            law.unit.show(law.fixed),
            format!("{each} {step}"),
            shown(law.unit, interval),
        ];
        (Mood::Plain, cells)
    };
    let columns = vec![("figure", false), ("fixed", true), ("grows by", true), (INTERVAL, true)];
    let rows = scaling.laws.iter().map(row).collect();
    Some(Section {
        title: "How does it grow with the nodes?",
        table: Some(Table { columns, rows }),
        lines: vec![Line::plain(
            "a straight line through the sizes by least squares; each wave counts with its median",
        )],
    })
}

/// Title of columns with intervals.
const INTERVAL: &str = "95 % interval";

/// The number of nodes for which growth is shown: memory is known by the node, CPU time by the answer.
fn step(unit: Unit) -> (f64, &'static str) {
    match unit {
        Unit::Bytes => (1.0, "a node"),
        Unit::Us => (1.0, "an answer"),
        Unit::Ms => (1000.0, "per 1,000 nodes"),
    }
}

fn shown(unit: Unit, interval: Option<[f64; 2]>) -> String {
    interval.map_or_else(
        || "open: too few sizes".to_owned(),
        |[low, high]| format!("{} to {}", unit.show(low), unit.show(high)),
    )
}

fn departures(scaling: &Scaling) -> Option<Section> {
    if scaling.laws.is_empty() {
        return None;
    }
    let rows = scaling
        .laws
        .iter()
        .filter_map(|law| Some(row(law, law.sizes.iter().find(|size| size.judged)?)));
    let columns = vec![
        ("figure", false),
        ("nodes", true),
        ("expected", true),
        (INTERVAL, true),
        ("measured", true),
        ("departure", true),
    ];
    let bound = percent(scaling.bound);
    Some(Section {
        title: "Does the largest size follow the law of the smaller ones?",
        table: Some(Table { columns, rows: rows.collect() }),
        lines: vec![Line::plain(format!(
            "it may take {bound} more than they let expect; scaling.csv has every size against the others"
        ))],
    })
}

fn row(law: &Law, size: &Comparison) -> (Mood, Vec<String>) {
    let departure = match (size.measured, size.departure) {
        (None, _) => "never complete".to_owned(),
        (_, None) => "-".to_owned(),
        (_, Some(departure)) if departure > 0.0 => format!("+{}", percent(departure)),
        (_, Some(departure)) => percent(departure),
    };
    let mood = if size.departs { Mood::Bad } else { Mood::Plain };
    let measured = size.measured.map_or_else(|| "-".to_owned(), |value| law.unit.show(value));
    let cells = vec![
        law.measure.title(),
        format::count(size.nodes),
        law.unit.show(size.expected),
        shown(law.unit, size.interval),
        measured,
        departure,
    ];
    (mood, cells)
}

fn percent(share: f64) -> String {
    format!("{} %", format::three_digits(share * 100.0))
}

fn predictions(scaling: &Scaling) -> Option<Section> {
    let row = |law: &Law, nodes: u64, value: f64, interval: Option<[f64; 2]>| {
        let cells = vec![
            law.measure.title(),
            format::count(nodes),
            law.unit.show(value),
            shown(law.unit, interval),
        ];
        (Mood::Plain, cells)
    };
    let rows = scaling.laws.iter().flat_map(|law| {
        law.predictions.iter().map(move |p| row(law, p.nodes, p.value, p.interval))
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return None;
    }
    let columns = vec![("figure", false), ("nodes", true), ("predicted", true), (INTERVAL, true)];
    Some(Section {
        title: "What would a size take that was not run?",
        table: Some(Table { columns, rows }),
        lines: Vec::new(),
    })
}

fn verdict(scaling: &Scaling) -> Line {
    let departing = scaling.departing();
    if let Some(why) = &scaling.why_no_laws {
        let code = scaling.exit_code;
        return Line::new(Mood::Warning, format!("no law: {why} (exit code {code})"));
    }
    if !departing.is_empty() {
        let names: Vec<_> = departing.iter().map(|(law, _)| law.measure.title()).collect();
        let nodes = departing.first().map_or(0, |(_, size)| size.nodes);
        let text = format!(
            "{} nodes depart from the law of the smaller sizes by more than {}: {} (exit code {})",
            format::count(nodes),
            percent(scaling.bound),
            names.join(", "),
            scaling.exit_code,
        );
        return Line::new(Mood::Bad, text);
    }
    let code = ExitCode::from_number(scaling.exit_code).unwrap_or(ExitCode::Unexpected);
    match code {
        ExitCode::Passed => {
            Line::new(Mood::Good, "every figure follows its law, and every size passed")
        }
        other => Line::new(
            Mood::Bad,
            format!(
                "every figure follows its law, yet: {} (exit code {})",
                other.meaning(),
                scaling.exit_code
            ),
        ),
    }
}
