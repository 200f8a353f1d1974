//! Logging: to stderr what the person wants to see, to the run's own log everything worth keeping.

use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

use super::cli::{Global, LogFormat};
use super::environment::Environment;
use super::failure::Refusal;
use super::screen::Screen;
use crate::conductor::RunLog;

/// Begins to log.
pub(super) fn start(
    global: &Global,
    environment: &Environment,
    screen: &Screen,
    log: &RunLog,
) -> anyhow::Result<()> {
    let shown = match global.log_format {
        LogFormat::Text => fmt::layer()
            .with_ansi(screen.color_err())
            .with_target(global.verbose > 1)
            .with_writer(screen.clone())
            .boxed(),
        LogFormat::Json => fmt::layer().json().with_writer(screen.clone()).boxed(),
    };
    let log = log.clone();
    let kept = fmt::layer().with_ansi(false).with_writer(move || log.clone());
    let installed = tracing_subscriber::registry()
        .with(boxed(shown).with_filter(filter(global, environment)?))
        .with(kept.with_filter(LevelFilter::INFO))
        .try_init();
    // A second start in one process (a test that calls the library) keeps the first one's log.
    let _ = installed;
    Ok(())
}

fn boxed(layer: Box<dyn Layer<Registry> + Send + Sync>) -> Box<dyn Layer<Registry> + Send + Sync> {
    layer
}

/// What stderr shows: the environment's filter, unless the command line says how much.
fn filter(global: &Global, environment: &Environment) -> anyhow::Result<EnvFilter> {
    let level = match (global.quiet, global.verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::INFO,
        (false, 2) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    let builder = EnvFilter::builder().with_default_directive(level.into());
    match &environment.log {
        Some(directives) if !global.quiet && global.verbose == 0 => {
            builder.parse(directives).map_err(|error| {
                Refusal::usage(format!(
                    "the log filter {directives:?} of the environment cannot be understood: {error}\n\
                     set CHORIA_EMULATOR_LOG to a level such as info, or unset it"
                ))
            })
        }
        _ => Ok(builder.parse_lossy("")),
    }
}
