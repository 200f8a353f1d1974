//! Parse, build, run, exit code.

use std::env;
use std::process::ExitCode;

use choria_emulator::commands;

fn main() -> ExitCode {
    commands::guard(|| {
        let invocation = commands::parse(env::args_os())?;
        invocation.build()?.run()
    })
}
