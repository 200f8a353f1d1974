//! `measure`: waves against a network that is there already, real servers included.
//!
//! Modern flags, and the predecessor's positional form `measure COUNT EXPECT DESCRIPTION OUTDIR`.

mod flags;
mod request;

use std::path::Path;

use emulator::spec::Login;
use reports::verdict::ExitCode;

use super::Shell;
use super::connection::Address;
use super::failure::Refusal;
use super::named;
use super::run::conduct;
use super::sources;
use crate::broker::Sources;
use crate::conductor::{Setup, Strangers};
use crate::crew::Workers;

pub(super) use flags::MeasureArgs;

/// Most names of a list of nodes.
const MAX_LISTED: usize = 1_000_000;

pub(super) fn run(args: &MeasureArgs, shell: &Shell) -> anyhow::Result<ExitCode> {
    let timeout = args.connect_timeout.map(|span| span.0);
    let network = args.nats.clone().network(shell, Address::FromEnvironment, None)?;
    let network = network.within(timeout);
    let brokers = network.named_brokers()?;
    let out = args.out();
    let strangers = strangers(args)?;
    let request = request::of(args, brokers.urls.unwrap_or_default())?;
    let setup = Setup {
        system: args.watch.clone().system(&network.options, &request.plan.brokers),
        plan: request.plan,
        scenario_text: request.scenario_text,
        out,
        // Nothing is started, so nothing is looked for.
        sources: Sources::usual(None, []),
        launcher: sources::launcher()?,
        login: Login::default(),
        connection: network.options,
        workers: Workers::AsNeeded,
        strangers: Some(strangers),
        discovery_timeout: args.discovery_timeout.map(|span| span.0),
        log: shell.log.clone(),
    };
    conduct(setup, shell)
}

/// Who must answer.
fn strangers(args: &MeasureArgs) -> anyhow::Result<Strangers> {
    if let Some(path) = &args.nodes_file {
        return Ok(Strangers::Listed(listed(path)?));
    }
    Ok(match args.expected()? {
        Some(count) => Strangers::Count(count),
        None => Strangers::Discovered,
    })
}

/// A list of identities: one a line, blank lines and lines with # left out.
fn listed(path: &Path) -> anyhow::Result<Vec<String>> {
    let shown = path.display();
    let text = named::text(path).map_err(|error| {
        Refusal::usage(format!("cannot read the list of nodes {shown}: {error}\ncheck the path"))
    })?;
    let lines = text.lines().map(str::trim);
    let mut names: Vec<String> = lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    let bad = |name: &&String| name.contains(char::is_whitespace) || name.contains(['*', '>']);
    if let Some(bad) = names.iter().find(bad) {
        return Err(Refusal::usage(format!(
            "{shown} names {bad:?}, which is no identity\nwrite one identity a line"
        )));
    }
    let written = names.len();
    names.sort();
    names.dedup();
    if names.is_empty() || written > MAX_LISTED {
        return Err(Refusal::usage(format!(
            "{shown} names {written} nodes\nwrite 1 to {MAX_LISTED} identities, one a line"
        )));
    }
    if names.len() < written {
        tracing::warn!("{shown} names {} nodes more than once", written - names.len());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_list_of_nodes_is_one_identity_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nodes");
        fs::write(&path, "# the estate\nb.example.net\n\n a.example.net \nb.example.net\n")
            .unwrap();
        assert_eq!(listed(&path).unwrap(), ["a.example.net", "b.example.net"]);
        for (text, says) in [("", "names 0 nodes"), ("a b", "no identity"), ("web*", "no identity")]
        {
            fs::write(&path, text).unwrap();
            let told = listed(&path).unwrap_err().to_string();
            assert!(told.contains(says), "{told}");
        }
    }
}
