//! The doctor's findings as a table for people.

use std::fmt::{self, Write as _};

use super::{Check, Verdict, worst};
use crate::plan::{Table, thousands};

/// The table, the advice below each line that needs one, and the conclusion. `largest` is the number
/// of nodes that would fit, when the plan does not.
#[must_use]
pub fn to_text(checks: &[Check], largest: Option<u64>) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_all(&mut out, checks, largest);
    out
}

fn write_all(out: &mut String, checks: &[Check], largest: Option<u64>) -> fmt::Result {
    let mut table = Table::new(&["check", "need", "have", "verdict"]);
    for check in checks {
        let verdict = match check.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        table.row([
            check.name.to_owned(),
            check.need.clone(),
            check.have.clone(),
            verdict.to_owned(),
        ]);
    }
    table.write(out)?;
    for check in checks.iter().filter(|check| !check.advice.is_empty()) {
        writeln!(out, "  {}: {}", check.name, check.advice)?;
    }
    match (worst(checks), largest) {
        (Verdict::Ok, _) => writeln!(out, "this host carries the plan"),
        (Verdict::Warn, _) => writeln!(out, "this host carries the plan; mind the warnings"),
        (Verdict::Fail, Some(nodes)) => writeln!(
            out,
            "this host cannot carry the plan as it is; it would carry {} nodes",
            thousands(nodes)
        ),
        (Verdict::Fail, None) => writeln!(out, "this host cannot carry the plan as it is"),
    }
}
