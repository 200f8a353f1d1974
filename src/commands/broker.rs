//! `broker`: which nats-server versions are at hand, and bringing one here.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use reports::verdict::ExitCode;

use super::Shell;
use super::progress::ObtainDisplay;
use super::signals;
use super::sources::SourceArgs;
use crate::broker::Sources;
use crate::broker::obtain::{self, AtHand, Origin};

const EXAMPLES: &str = "\
Examples:
  choria-emulator broker list
  choria-emulator broker install 2.12.15

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
