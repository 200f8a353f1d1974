//! `worker`: a process that carries a share of the nodes for a conductor.

use std::fs;

use clap::Args;
use reports::format::{count, counted};
use reports::verdict::ExitCode;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Shell;
use super::control::CredentialArgs;
use super::failure::Refusal;
use super::progress::Display;
use super::signals;
use crate::control::{LineError, WORKER_NAME, is_worker_name};
use crate::worker::{self, End, Progress, Setup, WorkerError};

const EXAMPLES: &str = "\
Examples:
  CHORIA_EMULATOR_CONTROL_TOKEN=secret choria-emulator worker --control nats://conductor:4222
  choria-emulator worker --control tls://control.example.net --control-creds worker.creds --name east-3

It waits for a run that wants workers (choria-emulator run SCENARIO --workers N --control URL), serves it, and
ends with it. `choria-emulator init --unit` writes a systemd unit that starts it again for the next run.";

/// Lines that wait to be shown; what finds them full is left out.
const QUEUE: usize = 64;

/// Options of `worker`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct WorkerArgs {
    /// The control broker
    #[arg(long, value_name = "URL", env = "CHORIA_EMULATOR_CONTROL", hide_env_values = true)]
    control: String,
    #[command(flatten)]
    credentials: CredentialArgs,
    /// Name, unique among the workers of a run [default: the name of this host]
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Option<String>,
    /// Serve this run only
    #[arg(long, value_name = "ID", hide = true)]
    for_run: Option<String>,
}

/// A name that suits subjects and file names.
fn name(text: &str) -> Result<String, String> {
    match is_worker_name(text) {
        true => Ok(text.to_owned()),
        false => Err(WORKER_NAME.to_owned()),
    }
}

pub(super) fn run(args: WorkerArgs, shell: &Shell) -> anyhow::Result<ExitCode> {
    let setup = Setup {
        control: args.credentials.options(&args.control)?,
        name: args.name.unwrap_or_else(name_of_host),
        run: args.for_run,
    };
    let shell = shell.clone();
    let screen = shell.screen.clone();
    signals::run(&screen, "stopping", async move |stop| {
        let (progress, mut told) = mpsc::channel(QUEUE);
        let display = Display::new(&shell);
        let mut showing = JoinSet::new();
        showing.spawn(async move {
            while let Some(progress) = told.recv().await {
                display.say(&line(&progress));
            }
        });
        let ended = worker::work(setup, stop, progress).await;
        while showing.join_next().await.is_some() {}
        outcome(ended, &shell)
    })
}

fn outcome(ended: Result<End, WorkerError>, shell: &Shell) -> anyhow::Result<ExitCode> {
    match ended {
        Ok(End::Released) => Ok(ExitCode::Passed),
        // Not always a fault of this host, as the text of the exit code would have it.
        Ok(End::Refused(reason)) => {
            shell.screen.say(&format!("turned away: {reason}"));
            Ok(ExitCode::Refused)
        }
        Ok(End::Alone { instead }) => {
            let look = match instead {
                None => {
                    "look whether it runs, and at the control broker and the way to it".to_owned()
                }
                Some(run) => format!(
                    "its run is over, and run {run} is conducted over the control broker: start this worker again for that one"
                ),
            };
            Err(Refusal::of(
                ExitCode::WorkerLost,
                format!("the conductor was not heard any more: all nodes have ended\n{look}"),
            ))
        }
        Ok(End::Asked(reason)) => Ok(signals::code(reason)),
        Err(WorkerError::Line(error @ LineError::Options(_))) => {
            Err(Refusal::usage(error.to_string()))
        }
        Err(WorkerError::Line(error)) => {
            Err(Refusal::of(ExitCode::BrokerUnreachable, error.to_string()))
        }
        Err(error @ (WorkerError::Host(_) | WorkerError::Build(_))) => {
            Err(Refusal::of(ExitCode::Refused, error.to_string()))
        }
    }
}

fn line(progress: &Progress) -> String {
    match progress {
        Progress::Waiting(why) => format!("{why}\nit is tried again"),
        Progress::Ready { url } => {
            format!("connected to the control broker {url}; waiting for a run")
        }
        Progress::Joined { run, scenario, number, of } => {
            format!("run {run} of {scenario}: worker {} of {}", count(number + 1), count(*of))
        }
        Progress::Carrying { nodes } => {
            format!("connecting {}", counted(*nodes, "node", "nodes"))
        }
    }
}

/// The name of this host as a worker may have it.
fn name_of_host() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain = host.trim().replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "-");
    name(&plain).unwrap_or_else(|_| "worker".to_owned())
}
