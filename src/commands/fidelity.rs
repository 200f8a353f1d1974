//! `fidelity`: recorded traffic of real servers, replayed on emulated nodes.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use reports::verdict::ExitCode;

use super::Shell;
use super::failure::Refusal;
use super::named;
use super::progress::ObtainDisplay;
use super::signals;
use super::sources::{self, SourceArgs};
use crate::broker::Request;
use crate::fidelity::{self, FILE_NAME, RealServer, Recording, Setup};

const EXAMPLES: &str = "\
Examples:
  choria-emulator fidelity
  choria-emulator fidelity --broker 2.12.15 --json
  choria-emulator fidelity --real nats://broker.example.net:4222 --identity web1.example.net

Every recorded request is sent to freshly started nodes over a broker of its own, and what they do is
compared with what real servers did. The exit code is 0 if nothing differs, else 99.";

/// Options of `fidelity`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct FidelityArgs {
    /// Folder for the certificate (fidelity.json) and the broker's files
    #[arg(short, long, value_name = "DIR", default_value = "results/fidelity")]
    out: PathBuf,
    /// Print the certificate as JSON
    #[arg(long)]
    json: bool,
    /// Recordings to replay instead of those that are built in, one JSON case a line
    #[arg(long, value_name = "FILE", num_args = 1..)]
    captures: Vec<PathBuf>,
    /// A broker of a network with a real server: record what that does about the same requests
    /// (recording.jsonl), and replay it
    #[arg(long, value_name = "URL", requires = "identity", conflicts_with = "captures")]
    real: Option<String>,
    /// Identity of the real server
    #[arg(long, value_name = "NAME", requires = "real")]
    identity: Option<String>,
    /// A collective of the real server
    #[arg(long, value_name = "NAME", requires = "real", default_value = "mcollective")]
    collective: String,
    /// Version of nats-server [default: the newest at hand]
    #[arg(long, value_name = "VERSION")]
    broker: Option<String>,
    #[command(flatten)]
    sources: SourceArgs,
}

pub(super) fn run(args: FidelityArgs, shell: &Shell) -> anyhow::Result<ExitCode> {
    let real = args.real.zip(args.identity).map(|(url, identity)| RealServer {
        url,
        identity,
        collective: args.collective,
    });
    let mut setup = Setup {
        recordings: recordings(&args.captures)?,
        request: Request { version: args.broker, path: None },
        sources: args.sources.sources(shell),
        launcher: sources::launcher()?,
        folder: args.out.join("brokers"),
    };
    let display = ObtainDisplay::new(shell, "n1");
    let screen = shell.screen.clone();
    signals::run(&shell.screen, "stopping", async move |stop| {
        let proving = async {
            if let Some(real) = &real {
                let recording = fidelity::record(real).await;
                let recording = recording.map_err(|e| Refusal::of(e.code(), e.to_string()))?;
                write(&args.out, "recording.jsonl", &recording.lines)?;
                setup.recordings = vec![recording];
            }
            let proved = fidelity::prove(setup, move |step| display.show(&step)).await;
            proved.map_err(|e| Refusal::of(e.code(), e.to_string()))
        };
        let certificate = tokio::select! {
            proved = proving => proved?,
            reason = stop.asked() => return Ok(signals::code(reason)),
        };
        let file = write(&args.out, FILE_NAME, &certificate.to_json())?;
        if args.json {
            screen.print(&certificate.to_json())?;
        } else {
            let text = fidelity::to_text(&certificate);
            screen.print(&format!("{text}  in {}\n", file.display()))?;
        }
        Ok(if certificate.holds() { ExitCode::Passed } else { ExitCode::ThresholdsFailed })
    })
}

/// What is replayed: what the command line names, else what is built in.
fn recordings(files: &[PathBuf]) -> anyhow::Result<Vec<Recording>> {
    if files.is_empty() {
        return Ok(Recording::built_in());
    }
    let read = |file: &PathBuf| {
        let lines = named::text(file).map_err(|error| {
            Refusal::usage(format!("cannot read the recording {}: {error}", file.display()))
        })?;
        Ok(Recording { name: file.display().to_string(), lines: Cow::Owned(lines) })
    };
    files.iter().map(read).collect()
}

/// Writes a file by rename: a reader finds a whole one.
fn write(folder: &Path, name: &str, content: &str) -> anyhow::Result<PathBuf> {
    let file = folder.join(name);
    let unfinished = folder.join(format!(".{name}.new"));
    let cannot = || format!("cannot write {}", file.display());
    fs::create_dir_all(folder).with_context(cannot)?;
    fs::write(&unfinished, content).with_context(cannot)?;
    fs::rename(&unfinished, &file).with_context(cannot)?;
    Ok(file)
}
