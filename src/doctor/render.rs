//! The doctor's findings as tables for people.

use std::fmt::{self, Write as _};

use super::duty::counted;
use super::{Check, Examination, Verdict, worst};
use crate::plan::Table;

/// A table for each host, the advice below each line that needs one, and the conclusion.
pub(super) fn to_text(examination: &Examination) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_all(&mut out, examination);
    out
}

fn write_all(out: &mut String, examination: &Examination) -> fmt::Result {
    for examined in &examination.hosts {
        writeln!(out, "{}: {}", examined.host.name, examined.duty.in_words())?;
        write_checks(out, &examined.checks)?;
    }
    write_conclusion(out, examination)
}

fn write_checks(out: &mut String, checks: &[Check]) -> fmt::Result {
    let mut table = Table::new(&["check", "need", "have", "verdict"]);
    for check in checks {
        let verdict = match check.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        let Check { name, need, have, .. } = check;
        table.row([(*name).to_owned(), need.clone(), have.clone(), verdict.to_owned()]);
    }
    table.write(out)?;
    for check in checks.iter().filter(|check| !check.advice.is_empty()) {
        writeln!(out, "  {}: {}", check.name, check.advice)?;
    }
    Ok(())
}

fn write_conclusion(out: &mut String, examination: &Examination) -> fmt::Result {
    let hosts = &examination.hosts;
    let alone = hosts.len() == 1;
    let these = if alone { "this host carries" } else { "these hosts carry" };
    match examination.verdict() {
        Verdict::Ok => return writeln!(out, "{these} the plan"),
        Verdict::Warn => return writeln!(out, "{these} the plan; mind the warnings"),
        Verdict::Fail if alone => writeln!(out, "this host cannot carry the plan as it is")?,
        Verdict::Fail => {
            let failing = hosts.iter().filter(|host| worst(&host.checks) == Verdict::Fail);
            let names: Vec<_> = failing.map(|host| host.host.name.as_str()).collect();
            let (few, all) = (names.len(), hosts.len());
            let names = names.join(", ");
            writeln!(out, "{few} of {all} hosts cannot carry the plan as it is: {names}")?;
        }
    }
    match examination.largest {
        None | Some(0) => writeln!(out, "no fleet fits, however small"),
        Some(nodes) => {
            let brokers = counted(examination.budget.demand.brokers, "broker");
            let nodes = counted(nodes, "node");
            writeln!(out, "the largest fleet that fits: {nodes} on {brokers}")
        }
    }
}
