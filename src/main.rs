//! The program: scenario to plan, brokers, driver, conductor, commands.
//! Parse, build, run, exit code.

use std::env;

use anyhow::bail;
use choria_emulator::broker::launch;

fn main() -> anyhow::Result<()> {
    let mut args = env::args_os().skip(1);
    match args.next() {
        Some(command) if command == launch::SUB_COMMAND => match launch::exec_bound(args)? {},
        _ => bail!("there are no commands yet"),
    }
}
