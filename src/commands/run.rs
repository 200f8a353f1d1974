//! `run`: a scenario from broker to report.

use std::path::{Path, PathBuf};

use clap::Args;
use emulator::spec::Login;
use reports::render::terminal::{self, Style};
use reports::run::Ending;
use reports::summary::Summary;
use reports::verdict::ExitCode;

use super::Shell;
use super::cli;
use super::connection::{Address, NatsArgs};
use super::control::WorkersArgs;
use super::failure::Refusal;
use super::progress::Shown;
use super::scenario_file::{self, Params, Read};
use super::signals;
use super::sources::{self, SourceArgs};
use super::watch::WatchArgs;
use crate::conductor::{self, Finished, RunError, Setup};
use crate::driver::ConnectionOptions;
use crate::plan;
use crate::scenario::Topology;

const EXAMPLES: &str = "\
Examples:
  choria-emulator run scenarios/first-look.yaml
  choria-emulator run first-look.yaml -P fleet.default.nodes=500 -P waves.rpc.count=20
  choria-emulator run my-network.yaml --server nats://broker.example.net:4222
  choria-emulator run fifty-thousand.yaml --workers 4
  choria-emulator run my-network.yaml --workers 20 --control nats://control.example.net:4222

Ctrl-C, SIGTERM or a closed terminal ends a run early: results so far are kept. A second Ctrl-C ends at once.";

/// Examples and the table of exit codes.
pub(super) fn after_help() -> String {
    format!("{EXAMPLES}\n\n{}", cli::exit_codes())
}

/// Options of `run`.
#[derive(Debug, Clone, Args)]
pub(super) struct RunArgs {
    /// The scenario file
    pub(super) scenario: PathBuf,
    #[command(flatten)]
    pub(super) params: Params,
    #[command(flatten)]
    pub(super) out: OutArg,
    #[command(flatten)]
    sources: SourceArgs,
    #[command(flatten)]
    workers: WorkersArgs,
    #[command(flatten)]
    nats: NatsArgs,
    #[command(flatten)]
    watch: WatchArgs,
}

/// Where results go.
#[derive(Debug, Clone, Args)]
pub(super) struct OutArg {
    /// Folder in which result folders are made
    #[arg(short, long, value_name = "DIR", default_value = "results")]
    #[arg(env = "CHORIA_EMULATOR_OUT", hide_env_values = true)]
    pub(super) out: PathBuf,
}

pub(super) fn run(args: RunArgs, shell: &Shell) -> anyhow::Result<ExitCode> {
    conduct(setup(args, shell)?, shell)
}

/// What the conductor is handed.
pub(super) fn setup(args: RunArgs, shell: &Shell) -> anyhow::Result<Setup> {
    let mut read = scenario_file::read(&args.scenario, &args.params)?;
    let (login, connection) = reach(args.nats, &args.watch, &mut read, shell)?;
    let plan = plan::resolve(&read.scenario)?;
    Ok(Setup {
        system: args.watch.system(&connection, &plan.brokers),
        plan,
        scenario_text: read.text,
        out: args.out.out,
        sources: args.sources.sources(shell),
        launcher: sources::launcher()?,
        login,
        connection,
        workers: args.workers.workers()?,
        strangers: None,
        discovery_timeout: None,
        log: shell.log.clone(),
    })
}

/// Puts the servers of the command line into the scenario, and tells what nodes show to them.
fn reach(
    nats: NatsArgs,
    watch: &WatchArgs,
    read: &mut Read,
    shell: &Shell,
) -> anyhow::Result<(Login, ConnectionOptions)> {
    let topology = read.scenario.brokers.as_ref().and_then(|brokers| brokers.topology);
    if topology != Some(Topology::External) {
        return match NatsArgs::typed(shell).or_else(|| WatchArgs::typed(shell)) {
            Some(flag) => Err(Refusal::usage(format!(
                "{flag} is for a network that is there already, and this scenario starts its own broker\n\
                 leave it out, or add -P 'brokers={{topology: external, urls: [\"nats://HOST:PORT\"]}}'"
            ))),
            None => Ok(Default::default()),
        };
    }
    let brokers = read.scenario.brokers.as_ref();
    let network = nats.network(shell, Address::FromCommandLine, brokers)?;
    let login = network.login_of_nodes()?;
    if let Some(brokers) = network.brokers().filter(|_| network.named) {
        let named = format!("# run with --server {}\n", network.options.servers.join(","));
        read.text.insert_str(0, &named);
        read.scenario.brokers = Some(brokers);
    }
    if let Some(brokers) = &mut read.scenario.brokers {
        read.text.insert_str(0, &watch.name(brokers));
    }
    Ok((login, network.options))
}

/// Runs a plan, shows how it goes, and prints the report.
pub(super) fn conduct(setup: Setup, shell: &Shell) -> anyhow::Result<ExitCode> {
    let shell = shell.clone();
    let screen = shell.screen.clone();
    signals::run(&screen, "stopping; results so far are kept", async move |stop| {
        let (progress, shown) = Shown::start(&shell);
        let ended = conductor::run(setup, stop, progress).await;
        shown.finish().await;
        let Finished { result, folder } = ended?;
        let summary = Summary::of(&result);
        print_report(&summary, &folder, &shell)?;
        let code = result.exit_code();
        match result.ending {
            // Who reads stderr alone, or threw the report away, is told as well.
            Ending::Failed(_, message) => Err(RunError { code, message }.into()),
            _ => Ok(code),
        }
    })
}

fn print_report(summary: &Summary, folder: &Path, shell: &Shell) -> anyhow::Result<()> {
    let style = Style { color: shell.screen.color_out() };
    shell.screen.print(&terminal::render(summary, Some(folder), style))
}
