//! Workers on this machine: processes of our own program that cannot outlive us, each with a log.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinSet;

use super::board::Board;
use super::places::own_name;
use crate::broker::process::{ended, stop};
use crate::child::{Keeper, Launcher, Log};
use crate::driver::{ConnectionOptions, Secret};

/// The variable in which a worker is handed the token: a command line can be read by anybody.
pub const TOKEN_VARIABLE: &str = "CHORIA_EMULATOR_CONTROL_TOKEN";
/// Time to end after the last word.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Worker processes. Dropping kills them.
#[derive(Default)]
pub(super) struct Children {
    keepers: Vec<(String, Keeper)>,
}

impl Children {
    /// Starts `count` of them for `run`; their logs go to `folder`, and whoever ends is told to the board by a task
    /// of `tasks`.
    pub(super) async fn start(
        count: u64,
        (launcher, control, token): (&Launcher, &ConnectionOptions, &Secret),
        (run, folder): (&str, &Path),
        board: &Arc<Board>,
        tasks: &mut JoinSet<()>,
    ) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut children = Self::default();
        let url = control.servers.first().cloned().unwrap_or_default();
        for number in 1..=count {
            let name = own_name(number);
            let (log, output) = Log::open(&folder.join(format!("{name}.log")))?;
            let program = launcher.program.clone().into_os_string();
            let arguments = [
                "worker",
                "--control",
                &url,
                "--name",
                &name,
                "--for-run",
                run,
                "--progress",
                "none",
                "-v",
            ];
            let arguments = arguments.iter().map(OsString::from);
            let mut command = launcher.command(std::iter::once(program).chain(arguments));
            command
                .env(TOKEN_VARIABLE, token.reveal())
                .stdin(Stdio::null())
                .stdout(output.try_clone()?)
                .stderr(output)
                // Ctrl-C in a terminal goes to the whole foreground group: workers are ended by us.
                .process_group(0);
            let keeper = Keeper::start(command, log).await?;
            let (mut exit, board) = (keeper.exit(), Arc::clone(board));
            children.keepers.push((name.clone(), keeper));
            tasks.spawn(async move { board.ended(&name, &ended(&mut exit).await) });
        }
        Ok(children)
    }

    /// Waits until those have ended that told everything and go by themselves, and kills the others.
    pub(super) async fn end(self, board: &Board) {
        let end = async |(name, keeper): &(String, Keeper)| {
            let mut exit = keeper.exit();
            let patience = if board.has_released(name) { END_WITHIN } else { Duration::ZERO };
            if tokio::time::timeout(patience, ended(&mut exit)).await.is_err() {
                stop(&keeper.handle(), Duration::ZERO).await;
            }
        };
        join_all(self.keepers.iter().map(end)).await;
    }
}
