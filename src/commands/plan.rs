//! `plan`: what a scenario would do and cost.

use std::path::PathBuf;

use clap::Args;
use reports::verdict::ExitCode;

use super::Shell;
use super::scenario_file::{self, Params};
use crate::plan::{self, Budget, DEFAULT_PORT_RANGE};

const EXAMPLES: &str = "\
Examples:
  choria-emulator plan scenarios/first-look.yaml
  choria-emulator plan first-look.yaml -P fleet.default.nodes=50000
  choria-emulator plan first-look.yaml --json | jq .digest";

/// Options of `plan`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PlanArgs {
    /// The scenario file
    scenario: PathBuf,
    #[command(flatten)]
    params: Params,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &PlanArgs, shell: &Shell) -> anyhow::Result<ExitCode> {
    let read = scenario_file::read(&args.scenario, &args.params)?;
    let plan = plan::resolve(&read.scenario)?;
    let budget = Budget::of(&plan, DEFAULT_PORT_RANGE);
    let text = match args.json {
        true => format!("{:#}\n", plan::to_json(&plan, &budget)),
        false => plan::to_text(&plan, &budget),
    };
    shell.screen.print(&text)?;
    Ok(ExitCode::Passed)
}
