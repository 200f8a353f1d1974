//! The command line: one file a command, and the only place that reads flags and environment, and
//! prints.
//!
//! [`parse`] reads the command line, [`Invocation::build`] looks at environment and terminal, and
//! [`Program::run`] does what was asked. Nothing that a user of the library would want lives here.

mod broker;
mod cli;
mod completions;
mod connection;
mod control;
mod doctor;
mod emulate;
mod environment;
mod failure;
mod fidelity;
mod init;
mod logging;
mod measure;
mod named;
mod plan;
mod progress;
mod report;
mod run;
mod scale;
mod scenario_file;
mod schema;
mod scratch;
mod screen;
mod signals;
mod sources;
mod typed;
mod watch;
mod worker;

use std::ffi::OsString;
use std::process::ExitCode;

use reports::verdict;

use crate::child::launch;
use crate::conductor::RunLog;

pub use failure::{Early, guard};

use cli::{Cli, Command};
use environment::Environment;
use progress::Style;
use screen::Screen;
use typed::Typed;

/// What the command line asks for.
#[derive(Debug)]
pub struct Invocation {
    cli: Cli,
    typed: Typed,
}

/// An invocation with everything it needs of its surroundings.
pub struct Program {
    command: Command,
    shell: Shell,
}

/// What every command is handed: where to print, what the environment says, where the log goes.
#[derive(Clone)]
struct Shell {
    screen: Screen,
    environment: Environment,
    /// Which options stand on the command line itself, rather than in the environment.
    typed: Typed,
    progress: Style,
    log: RunLog,
}

/// Reads the command line. A hidden sub-command, through which brokers are started, does not return.
///
/// # Errors
/// The text and exit code of a usage error, of `--help` and of `--version`.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, Early> {
    let args: Vec<OsString> = args.into_iter().collect();
    if args.get(1).is_some_and(|command| command == launch::SUB_COMMAND) {
        match launch::exec_bound(args.into_iter().skip(2)).map_err(anyhow::Error::from)? {}
    }
    let (cli, typed) = cli::read(args)?;
    Ok(Invocation { cli, typed })
}

impl Invocation {
    /// Looks at environment and terminal, and begins to log.
    ///
    /// # Errors
    /// When the log filter of the environment cannot be understood.
    pub fn build(self) -> Result<Program, Early> {
        let Cli { global, command } = self.cli;
        let environment = Environment::read();
        let screen = Screen::new(global.color, &environment);
        let log = RunLog::default();
        logging::start(&global, &environment, &screen, &log)?;
        let progress = global.progress(&screen, &environment);
        let shell = Shell { screen, environment, typed: self.typed, progress, log };
        Ok(Program { command, shell })
    }
}

impl Program {
    /// Does what was asked.
    ///
    /// # Errors
    /// Whatever went wrong, with its exit code.
    pub fn run(self) -> Result<ExitCode, Early> {
        let Self { command, shell } = self;
        let code = command.run(&shell)?;
        Ok(exit_code(code))
    }
}

fn exit_code(code: verdict::ExitCode) -> ExitCode {
    ExitCode::from(code.number())
}
