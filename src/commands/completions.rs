//! `completions`: the completion script of a shell.

use clap::Args;
use clap_complete::Shell as Kind;
use reports::verdict::ExitCode;

use super::{Shell, cli};

const EXAMPLES: &str = "\
Examples:
  choria-emulator completions bash > ~/.local/share/bash-completion/completions/choria-emulator
  choria-emulator completions zsh > ~/.zfunc/_choria-emulator
  choria-emulator completions fish > ~/.config/fish/completions/choria-emulator.fish";

/// Options of `completions`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Kind,
}

pub(super) fn run(args: &CompletionsArgs, shell: &Shell) -> anyhow::Result<ExitCode> {
    let mut command = cli::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    shell.screen.print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::Passed)
}
