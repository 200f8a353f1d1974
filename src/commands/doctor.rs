//! `doctor`: this host against what a scenario needs.

use std::path::PathBuf;

use clap::{Args, value_parser};
use reports::verdict::ExitCode;

use super::Shell;
use super::scenario_file::{self, Params};
use crate::doctor::{Examination, Hands, Verdict};
use crate::plan;
use crate::scenario::Scenario;

const EXAMPLES: &str = "\
Examples:
  choria-emulator doctor scenarios/fifteen-thousand.yaml
  choria-emulator doctor first-look.yaml -P fleet.default.nodes=200000
  choria-emulator doctor fifty-thousand.yaml --workers 4
  choria-emulator doctor first-look.yaml --json | jq .largest

Without a scenario it is the first look's. The exit code is 3 when the host cannot carry the plan.";

/// The scenario that is examined when none is named.
const FIRST_LOOK: &str = include_str!("../../scenarios/first-look.yaml");

/// Options of `doctor`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DoctorArgs {
    /// The scenario file
    scenario: Option<PathBuf>,
    #[command(flatten)]
    params: Params,
    /// Carry the nodes in so many worker processes [default: one process, or as many as the limit of open files wants]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=10_000))]
    workers: Option<u64>,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &DoctorArgs, shell: &Shell) -> anyhow::Result<ExitCode> {
    let scenario = match &args.scenario {
        Some(path) => scenario_file::read(path, &args.params)?.scenario,
        None => Scenario::parse(FIRST_LOOK, "first-look.yaml", &args.params.params)?,
    };
    let hands = args.workers.map_or(Hands::AsNeeded, Hands::Workers);
    let examined = Examination::of(&plan::resolve(&scenario)?, hands)?;
    let text = match args.json {
        true => format!("{:#}\n", examined.to_json()),
        false => examined.to_text(),
    };
    shell.screen.print(&text)?;
    Ok(match examined.verdict() {
        Verdict::Ok | Verdict::Warn => ExitCode::Passed,
        Verdict::Fail => ExitCode::Refused,
    })
}
