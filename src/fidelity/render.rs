//! A certificate as a person reads it.

use std::fmt::{self, Write as _};

use super::{Certificate, Counts, InTests, Outcome, Proof};
use crate::plan::{Table, thousands};

/// The certificate: what was replayed, a row a recording, what was skipped and what differs.
#[must_use]
pub fn to_text(certificate: &Certificate) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_all(&mut out, certificate);
    out
}

fn write_all(out: &mut String, certificate: &Certificate) -> fmt::Result {
    let Certificate { digest, proof, .. } = certificate;
    let Proof { tool, choria_server, nats_server, .. } = proof;
    writeln!(out, "Nodes of {} {} as Choria Server {choria_server}", tool.name, tool.version)?;
    writeln!(out, "over nats-server {nats_server}, case by case beside what real servers did\n")?;
    write_counts(out, proof)?;
    if !proof.skipped.is_empty() {
        writeln!(out, "\nSkipped")?;
    }
    for skipped in &proof.skipped {
        writeln!(out, "  {} ({}): {}", skipped.need, skipped.cases, skipped.reason)?;
    }
    write_in_tests(out, proof)?;
    write_differences(out, proof)?;
    writeln!(out, "\nCertificate {digest}")
}

fn write_counts(out: &mut String, proof: &Proof) -> fmt::Result {
    let head = ["recording", "cases", "equal", "equal but for *", "different", "skipped"];
    let mut table = Table::new(&head);
    let mut row = |name: &str, counts: Counts| {
        let Counts { cases, equal, equal_but_for, different, skipped } = counts;
        let [cases, equal, equal_but_for, different, skipped] =
            [cases, equal, equal_but_for, different, skipped].map(thousands);
        table.row([name.to_owned(), cases, equal, equal_but_for, different, skipped]);
    };
    for (name, outcomes) in &proof.recordings {
        row(name, Counts::of(outcomes.values()));
    }
    row("all", proof.counts);
    table.write(out)?;
    writeln!(out, "  * values that belong to the recorded process, or to an older server")
}

fn write_in_tests(out: &mut String, proof: &Proof) -> fmt::Result {
    if proof.in_tests.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\nWithout requests to a server, so replayed by the test suite alone, every case"
    )?;
    let mut table = Table::new(&["recording", "cases", "what is compared"]);
    for InTests { recording, cases, about } in &proof.in_tests {
        table.row([recording.clone(), thousands(*cases), about.clone()]);
    }
    table.write(out)
}

fn write_differences(out: &mut String, proof: &Proof) -> fmt::Result {
    let cases = proof.recordings.values().flatten();
    let different = cases.filter_map(|(id, outcome)| match outcome {
        Outcome::Different(found) => Some((id, found)),
        _ => None,
    });
    for (number, (id, found)) in different.enumerate() {
        if number == 0 {
            writeln!(out, "\nDifferent")?;
        }
        writeln!(out, "  {id}")?;
        for line in found.iter().flat_map(|difference| difference.lines()) {
            writeln!(out, "    {line}")?;
        }
    }
    Ok(())
}
