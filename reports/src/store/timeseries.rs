//! The rows of `timeseries.csv`.
//!
//! One table in long form: `broker` names the broker of a row, and is empty in the row of the tool
//! itself. Rows of both kinds share time, phase, memory and CPU time; of the other columns each kind
//! has its own, and the rest of a row stays empty, as does what is not known. So every row of one
//! broker is found by one filter, however many brokers there are and whenever they come and go.

use super::lines::csv_text;
use super::{BrokerRow, Sample};
use crate::broker::BrokerFigure;

/// Columns of both kinds of rows, before those of each.
const SHARED: &str = "at_s,broker,phase,rss_bytes,cpu_s";
/// Columns of the tool's own rows. Counters count from the start of the run; the lag is the largest since
/// the row before; the unit ends the name.
const OF_TOOL: &str = "connected,disconnects,received,answered,replies,scheduler_lag_max_us";

/// The names of the columns.
#[must_use]
pub fn timeseries_columns() -> String {
    let names = of_brokers().map(BrokerFigure::name);
    format!("{SHARED},{OF_TOOL},{}", names.collect::<Vec<_>>().join(","))
}

/// The figures that have columns of their own.
fn of_brokers() -> impl Iterator<Item = BrokerFigure> {
    BrokerFigure::ALL.into_iter().filter(|figure| !figure.is_of_process())
}

pub(super) fn tool_row(sample: &Sample) -> String {
    let Sample {
        at,
        phase,
        connected,
        disconnects,
        received,
        answered,
        replies,
        rss_bytes,
        cpu,
        scheduler_lag_max,
    } = sample;
    let empty = ",".repeat(of_brokers().count());
    format!(
        "{:.3},,{},{rss_bytes},{:.3},{connected},{disconnects},{received},{answered},{replies},{}{empty}",
        at.as_secs_f64(),
        csv_text(phase),
        cpu.as_secs_f64(),
        scheduler_lag_max.as_micros(),
    )
}

pub(super) fn broker_row(row: &BrokerRow) -> String {
    let BrokerRow { at, broker, phase, figures } = row;
    let show = |figure: BrokerFigure| match (figure, figures.get(figure)) {
        (_, None) => String::new(),
        (BrokerFigure::CpuUs, Some(us)) => format!("{:.3}", figure.in_its_unit(us)),
        (_, Some(value)) => value.to_string(),
    };
    let empty = ",".repeat(OF_TOOL.split(',').count());
    let own: String = of_brokers().map(|figure| format!(",{}", show(figure))).collect();
    format!(
        "{:.3},{},{},{},{}{empty}{own}",
        at.as_secs_f64(),
        csv_text(broker),
        csv_text(phase),
        show(BrokerFigure::RssBytes),
        show(BrokerFigure::CpuUs),
    )
}
