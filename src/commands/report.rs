//! `report`: the report of a run again, from its folder alone.

use std::path::PathBuf;

use clap::Args;
use reports::render::terminal::{self, Style};
use reports::summary::Summary;
use reports::verdict::ExitCode;

use super::Shell;
use super::failure::Refusal;

const EXAMPLES: &str = "\
Examples:
  choria-emulator report results/latest
  choria-emulator report results/first-look-20261005T142233Z-4f2a | less

The exit code tells whether the report could be printed, not how the run went.";

/// Options of `report`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ReportArgs {
    /// A result folder, or its summary.json
    result: PathBuf,
}

pub(super) fn run(args: &ReportArgs, shell: &Shell) -> anyhow::Result<ExitCode> {
    let summary = Summary::read(&args.result).map_err(|e| Refusal::usage(e.to_string()))?;
    let folder = args.result.is_dir().then_some(args.result.as_path());
    let style = Style { color: shell.screen.color_out() };
    shell.screen.print(&terminal::render(&summary, folder, style))?;
    Ok(ExitCode::Passed)
}
