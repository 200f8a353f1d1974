//! The environment, read once: what no option of the command line stands for.

use std::env;
use std::path::PathBuf;

/// Name of our folder below the usual cache folders.
const CACHE_FOLDER: &str = "choria-emulator";

/// What the environment says.
#[derive(Debug, Clone, Default)]
pub(super) struct Environment {
    /// `PATH`, in order.
    pub(super) path: Vec<PathBuf>,
    /// `NO_COLOR` is set and not empty (no-color.org).
    pub(super) no_color: bool,
    /// `CLICOLOR_FORCE` is set and not `0` (bixense.com/clicolors).
    pub(super) force_color: bool,
    /// `CI` is set and not `false`.
    pub(super) ci: bool,
    /// `TERM` is `dumb`.
    pub(super) dumb: bool,
    /// `CHORIA_EMULATOR_LOG`, else `RUST_LOG`: a filter of `tracing`.
    pub(super) log: Option<String>,
    /// `NATS_URL`.
    pub(super) nats_url: Option<String>,
    /// `NATS_CONTEXT`.
    pub(super) nats_context: Option<String>,
    home: Option<PathBuf>,
    xdg_cache: Option<PathBuf>,
    xdg_config: Option<PathBuf>,
}

impl Environment {
    /// Reads it.
    pub(super) fn read() -> Self {
        let path = env::var_os("PATH").unwrap_or_default();
        Self {
            path: env::split_paths(&path).collect(),
            no_color: text("NO_COLOR").is_some(),
            force_color: text("CLICOLOR_FORCE").is_some_and(|value| value != "0"),
            ci: text("CI").is_some_and(|value| value != "false"),
            dumb: text("TERM").is_some_and(|value| value == "dumb"),
            log: text("CHORIA_EMULATOR_LOG").or_else(|| text("RUST_LOG")),
            nats_url: text("NATS_URL"),
            nats_context: text("NATS_CONTEXT"),
            home: folder("HOME"),
            xdg_cache: folder("XDG_CACHE_HOME"),
            xdg_config: folder("XDG_CONFIG_HOME"),
        }
    }

    /// Where programs that were obtained are kept; `None` where nothing says where.
    pub(super) fn cache_folder(&self) -> Option<PathBuf> {
        let home = || Some(self.home.as_ref()?.join(".cache"));
        Some(self.xdg_cache.clone().or_else(home)?.join(CACHE_FOLDER))
    }

    /// Where configuration lies; `None` where nothing says where.
    pub(super) fn config_folder(&self) -> Option<PathBuf> {
        let home = || Some(self.home.as_ref()?.join(".config"));
        self.xdg_config.clone().or_else(home)
    }
}

/// A variable that is set, not empty, and text.
fn text(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// A folder; relative ones are ignored, as the XDG base directory specification asks.
fn folder(name: &str) -> Option<PathBuf> {
    env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}
