//! `broker`: which nats-server versions are at hand, bringing one here, and starting the brokers of a
//! scenario without a run.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::pin::pin;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use reports::verdict::ExitCode;
use tokio::sync::mpsc;

use super::Shell;
use super::failure::Refusal;
use super::progress::{Display, ObtainDisplay};
use super::scenario_file::{self, Params};
use super::scratch::Scratch;
use super::signals;
use super::sources::SourceArgs;
use crate::broker::Sources;
use crate::broker::obtain::{self, AtHand, Origin};
use crate::conductor::{self, Progress};
use crate::doctor::{self, Examination, Hands, Verdict};
use crate::plan;

/// Reports that may wait to be shown; then one is missed.
const TOLD: usize = 1000;

const EXAMPLES: &str = "\
Examples:
  choria-emulator broker list
  choria-emulator broker install 2.12.15
  choria-emulator broker start scenarios/leafnodes.yaml

A version comes from the cache, the search path, the official release archive (checked against its
published SHA-256), or `go install`, in this order.";

/// Options of `broker`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct BrokerArgs {
    #[command(subcommand)]
    command: BrokerCommand,
}

#[derive(Debug, Subcommand)]
enum BrokerCommand {
    /// List every nats-server at hand, newest first.
    List {
        #[command(flatten)]
        sources: SourceArgs,
    },
    /// Start the brokers of a scenario and nothing else, until Ctrl-C.
    Start {
        /// The scenario file
        scenario: PathBuf,
        #[command(flatten)]
        params: Params,
        #[command(flatten)]
        sources: SourceArgs,
    },
    /// Bring a version of nats-server into the cache.
    Install {
        /// The version, such as 2.12.15
        version: String,
        #[command(flatten)]
        sources: SourceArgs,
    },
}

pub(super) fn run(args: BrokerArgs, shell: &Shell) -> anyhow::Result<ExitCode> {
    match args.command {
        BrokerCommand::List { sources } => list(&sources.sources(shell), shell),
        BrokerCommand::Start { scenario, params, sources } => {
            start(&scenario, &params, sources.sources(shell), shell)
        }
        BrokerCommand::Install { version, sources } => {
            install(version, sources.sources(shell), shell)
        }
    }
}

fn list(sources: &Sources, shell: &Shell) -> anyhow::Result<ExitCode> {
    let programs = obtain::list(sources);
    if programs.is_empty() {
        shell.screen.say("no nats-server is at hand: neither in the cache nor on the search path");
        shell.screen.say("bring one here with: choria-emulator broker install VERSION");
        return Ok(ExitCode::Passed);
    }
    shell.screen.print(&table(&programs)?)?;
    Ok(ExitCode::Passed)
}

fn table(programs: &[AtHand]) -> Result<String, std::fmt::Error> {
    let mut rows = vec![["VERSION", "BUILT WITH", "FROM", "PROGRAM"].map(str::to_owned)];
    rows.extend(programs.iter().map(|at_hand| {
        let from = match at_hand.program.origin {
            Origin::Cache => "cache",
            Origin::Search => "search path",
            Origin::Named => "named",
            Origin::Release => "release",
            Origin::GoInstall => "go install",
        };
        [
            at_hand.program.version.to_string(),
            at_hand.go.clone().unwrap_or_else(|| "unknown".to_owned()),
            from.to_owned(),
            at_hand.program.path.display().to_string(),
        ]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let mut text = String::new();
    for [version, go, from, program] in &rows {
        let (first, second, third) = (width(0), width(1), width(2));
        writeln!(text, "{version:first$}  {go:second$}  {from:third$}  {program}")?;
    }
    Ok(text)
}

fn install(version: String, sources: Sources, shell: &Shell) -> anyhow::Result<ExitCode> {
    let display = ObtainDisplay::new(shell, "install");
    let screen = shell.screen.clone();
    signals::run(&shell.screen, "stopping", async move |stop| {
        let installing = obtain::install(version, sources, move |step| display.show(&step));
        tokio::select! {
            installed = installing => {
                let installed = installed?;
                let path = installed.path.display();
                screen.print(&format!("nats-server {} is at {path}\n", installed.version))?;
                Ok(ExitCode::Passed)
            }
            reason = stop.asked() => Ok(signals::code(reason)),
        }
    })
}

/// Starts the brokers of a scenario, tells where they are, and keeps them until somebody asks to end.
fn start(
    scenario: &Path,
    params: &Params,
    sources: Sources,
    shell: &Shell,
) -> anyhow::Result<ExitCode> {
    let read = scenario_file::read(scenario, params)?;
    let plan = plan::resolve(&read.scenario)?;
    if plan.brokers.managed().is_none() {
        return Err(Refusal::usage(
            "topology external is a network that is there already: there is nothing to start\n\
             name a scenario that starts its own brokers",
        ));
    }
    let examined = Examination::of(&plan, Hands::AsNeeded)?;
    if examined.verdict() == Verdict::Fail {
        return Err(Refusal::of(ExitCode::Refused, examined.to_text()));
    }
    doctor::raise_open_files()?;
    let launcher = super::sources::launcher()?;
    let mut display = Display::new(shell);
    let screen = shell.screen.clone();
    signals::run(&shell.screen, "stopping", async move |stop| {
        // Dropped after the brokers, whose configurations and logs it takes.
        let folder = Scratch::new("choria-emulator-brokers")
            .context("cannot make a folder for the brokers")?;
        let (progress, mut told) = mpsc::channel(TOLD);
        let (mut urls, alone) = (Vec::new(), plan.brokers.count() == 1);
        let keep =
            conductor::keep_brokers(&plan, folder.path().into(), sources, launcher, stop, progress);
        let mut keep = pin!(keep);
        let ended = loop {
            tokio::select! {
                ended = &mut keep => break ended,
                Some(step) = told.recv() => {
                    if let Progress::Broker { url, .. } = &step {
                        urls.push(format!("NATS_URL={url}\n"));
                    }
                    display.show(&step);
                    // Whoever reads them may connect: the network has formed, or there is but one.
                    if alone || matches!(step, Progress::Formed { .. }) {
                        screen.print(&std::mem::take(&mut urls).concat())?;
                    }
                }
            }
        };
        Ok(signals::code(ended?))
    })
}
