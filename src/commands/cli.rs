//! The tree of commands and the options that all of them share. Each command's own options stand in
//! its file.

use std::ffi::OsString;

use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use reports::verdict::ExitCode;

use super::environment::Environment;
use super::progress::Style;
use super::screen::Screen;
use super::typed::Typed;
use super::{
    Shell, broker, completions, doctor, emulate, fidelity, init, measure, plan, report, run, scale,
    schema, worker,
};

const EXAMPLES: &str = "\
Examples:
  choria-emulator init                               write a first scenario
  choria-emulator run scenarios/first-look.yaml      run it: broker, nodes, waves, report
  choria-emulator run first-look.yaml -P fleet.default.nodes=500
  choria-emulator report results/latest              print the report of a run again

Where the help of an option names an environment variable, that can set it too.";

/// Load tester and network emulator for Choria: thousands of nodes on one machine, waves of
/// requests, and a report of who answered, how fast, and why not.
#[derive(Debug, Parser)]
#[command(name = "choria-emulator", version, after_help = EXAMPLES, max_term_width = 100)]
#[command(arg_required_else_help = true)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What can be asked for.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a scenario: broker, nodes, waves, report.
    Run(Box<run::RunArgs>),
    /// Run a scenario at several sizes: how it grows, and what a size that was not run would take.
    Scale(Box<scale::ScaleArgs>),
    /// Show what a scenario would do and cost, and start nothing.
    Plan(plan::PlanArgs),
    /// Compare this host with what a scenario needs.
    Doctor(doctor::DoctorArgs),
    /// Connect emulated nodes to a network and keep them there until Ctrl-C.
    Emulate(Box<emulate::EmulateArgs>),
    /// Measure a network that is there already, real servers included.
    Measure(Box<measure::MeasureArgs>),
    /// Carry a share of the nodes for a run that is conducted elsewhere.
    Worker(Box<worker::WorkerArgs>),
    /// Replay what real servers were recorded doing, and certify that nodes do the same.
    Fidelity(fidelity::FidelityArgs),
    /// List and install nats-server versions, or start the brokers of a scenario alone.
    Broker(broker::BrokerArgs),
    /// Print the report of a result folder again.
    Report(report::ReportArgs),
    /// Write a commented scenario to start from.
    Init(init::InitArgs),
    /// Print the JSON Schema of scenario files.
    Schema(schema::SchemaArgs),
    /// Print the completion script of a shell.
    Completions(completions::CompletionsArgs),
}

impl Command {
    pub(super) fn run(self, shell: &Shell) -> anyhow::Result<ExitCode> {
        match self {
            Self::Run(args) => run::run(*args, shell),
            Self::Scale(args) => scale::run(*args, shell),
            Self::Plan(args) => plan::run(&args, shell),
            Self::Doctor(args) => doctor::run(&args, shell),
            Self::Emulate(args) => emulate::run(*args, shell),
            Self::Measure(args) => measure::run(&args, shell),
            Self::Worker(args) => worker::run(*args, shell),
            Self::Fidelity(args) => fidelity::run(args, shell),
            Self::Broker(args) => broker::run(args, shell),
            Self::Report(args) => report::run(&args, shell),
            Self::Init(args) => init::run(&args, shell),
            Self::Schema(args) => schema::run(&args, shell),
            Self::Completions(args) => completions::run(&args, shell),
        }
    }
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(super) struct Global {
    /// Say only what was asked for: no progress, no warnings
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Log more: -v what happens, -vv in detail
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,
    /// How progress is shown on stderr
    #[arg(long, global = true, value_enum, value_name = "HOW", default_value_t)]
    #[arg(env = "CHORIA_EMULATOR_PROGRESS", hide_env_values = true)]
    progress: ProgressChoice,
    /// How log lines are written to stderr
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t)]
    #[arg(env = "CHORIA_EMULATOR_LOG_FORMAT", hide_env_values = true)]
    pub(super) log_format: LogFormat,
    /// Colours; NO_COLOR and CLICOLOR_FORCE are respected
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t)]
    #[arg(env = "CHORIA_EMULATOR_COLOR", hide_env_values = true)]
    pub(super) color: Color,
}

impl Global {
    /// How progress is shown, as the choice and the surroundings have it.
    pub(super) fn progress(&self, screen: &Screen, environment: &Environment) -> Style {
        match self.progress {
            _ if self.quiet => Style::None,
            ProgressChoice::None => Style::None,
            ProgressChoice::Plain => Style::Plain,
            // Whoever reads JSON lines wants no others.
            ProgressChoice::Auto if self.log_format == LogFormat::Json => Style::None,
            ProgressChoice::Auto if environment.ci || environment.dumb => Style::Plain,
            ProgressChoice::Auto if screen.bars().is_hidden() => Style::Plain,
            ProgressChoice::Auto => Style::Bars,
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum ProgressChoice {
    /// Bars on a terminal, nothing beside JSON log lines, else plain
    #[default]
    Auto,
    /// A line now and then
    Plain,
    /// Nothing
    None,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// When colours are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    /// Where the output is a terminal
    #[default]
    Auto,
    /// Everywhere
    Always,
    /// Nowhere
    Never,
}

/// Reads the command line.
pub(super) fn read(args: Vec<OsString>) -> Result<(Cli, Typed), clap::Error> {
    let mut command = command();
    let matches = command.try_get_matches_from_mut(args)?;
    let typed = Typed::of(&matches);
    let cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    Ok((cli, typed))
}

/// The whole tree, with what is worked out from data.
pub(super) fn command() -> clap::Command {
    let command = Cli::command()
        .mut_subcommand("run", |run| run.after_help(run::after_help()))
        .mut_subcommand("scale", |scale| scale.after_help(scale::after_help()));
    let mut built = command.clone();
    built.build();
    with_usage_of(command, &mut built)
}

/// Writes the usage lines down: one that is made for an error would name options that only stand in
/// the environment as if they were needed.
fn with_usage_of(command: clap::Command, built: &mut clap::Command) -> clap::Command {
    let usage = built.render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage).to_owned();
    command.override_usage(usage).mut_subcommands(|sub| {
        match built.find_subcommand_mut(sub.get_name()) {
            Some(built) => with_usage_of(sub, built),
            None => sub,
        }
    })
}

/// The table of exit codes, for help texts.
pub(super) fn exit_codes() -> String {
    let row = |code: ExitCode| format!("\n  {:>3}  {}", code.number(), code.meaning());
    ExitCode::all().map(row).fold("Exit codes:".to_owned(), |table, row| table + &row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_of_commands_holds_together() {
        command().debug_assert();
    }
}
