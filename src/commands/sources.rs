//! Options that say where a nats-server comes from and where results go.

use std::path::PathBuf;

use clap::Args;

use reports::verdict::ExitCode;

use super::Shell;
use super::failure::Refusal;
use crate::broker::Sources;
use crate::child::Launcher;

/// Where a nats-server comes from.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Where a nats-server comes from")]
pub(super) struct SourceArgs {
    /// Folder for downloaded programs [default: ~/.cache/choria-emulator]
    #[arg(long, value_name = "DIR", env = "CHORIA_EMULATOR_CACHE", hide_env_values = true)]
    cache: Option<PathBuf>,
    /// Base URL of release archives, for a mirror [default: the NATS project's releases]
    #[arg(long, value_name = "URL", env = "CHORIA_EMULATOR_RELEASES", hide_env_values = true)]
    releases: Option<String>,
}

impl SourceArgs {
    /// The sources that these options and the environment name.
    pub(super) fn sources(self, shell: &Shell) -> Sources {
        let cache = self.cache.or_else(|| shell.environment.cache_folder());
        let mut sources = Sources::usual(cache, shell.environment.path.iter().cloned());
        if let Some(releases) = self.releases {
            sources.releases = releases.trim_end_matches('/').to_owned();
        }
        sources
    }
}

/// Our own program, through which brokers are started.
pub(super) fn launcher() -> anyhow::Result<Launcher> {
    let program = std::env::current_exe().map_err(|error| {
        let message = format!(
            "cannot find this program's own file, through which brokers are started: {error}\n\
             mount /proc, for example: mount -t proc proc /proc"
        );
        Refusal::of(ExitCode::Refused, message)
    })?;
    Ok(Launcher::of_this(program))
}
