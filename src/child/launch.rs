//! A child that cannot outlive its parent: the part of starting it that happens in the child.
//!
//! A broker or worker is started through a hidden sub-command of our own program, which binds itself to its
//! parent and then becomes the other: `choria-emulator internal-child --parent PID -- nats-server
//! -c n1.conf`. The detour is needed because the bond must be made between fork and exec, and doing
//! that in our own process would need unsafe code.
//!
//! The kernel ends the child when the *thread* that made it ends (prctl(2), `PR_SET_PDEATHSIG`):
//! `super::keeper` therefore starts every child from a thread that waits for it.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::getppid;
use thiserror::Error;

/// The name of the hidden sub-command.
pub const SUB_COMMAND: &str = "internal-child";

/// Where the program with the hidden sub-command is: our own executable, handed in because tests
/// run in another one.
#[derive(Debug, Clone)]
pub struct Launcher {
    /// The `choria-emulator` executable.
    pub program: PathBuf,
    /// What tells its build: workers of another one are turned away. Not the executable's own path, where
    /// another may lie meanwhile.
    pub image: PathBuf,
}

impl Launcher {
    /// This program, whose executable is at `program`.
    #[must_use]
    pub fn of_this(program: PathBuf) -> Self {
        Self { program, image: PathBuf::from("/proc/self/exe") }
    }

    /// Another program.
    #[must_use]
    pub fn of_other(program: PathBuf) -> Self {
        Self { image: program.clone(), program }
    }

    /// The command that starts `argv` bound to this process.
    pub(crate) fn command(&self, argv: impl IntoIterator<Item = OsString>) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg(SUB_COMMAND)
            .arg("--parent")
            .arg(std::process::id().to_string())
            .arg("--")
            .args(argv);
        command
    }
}

/// Why a bound child did not become what it should.
#[derive(Debug, Error)]
pub enum LaunchError {
    /// The arguments are not `--parent PID -- PROGRAM ARG...`.
    #[error("{SUB_COMMAND} is internal: it takes --parent PID -- PROGRAM ARG...")]
    Usage,
    /// The kernel refused the bond or the limits.
    #[error("cannot {what} before starting a child: {source}")]
    Bind {
        /// What was refused.
        what: &'static str,
        /// The kernel's answer.
        source: Errno,
    },
    /// The parent was gone before the bond was made.
    #[error("the process {0} that wanted a child is gone")]
    Orphaned(i32),
    /// The program could not be executed.
    #[error("cannot execute {program}: {source}")]
    Exec {
        /// The program.
        program: String,
        /// The system's answer.
        source: io::Error,
    },
}

/// The hidden sub-command: takes what follows [`SUB_COMMAND`] on the command line, binds this
/// process to its parent, raises the limit of open files and becomes the program. Returns only
/// when that failed.
///
/// # Errors
/// When the arguments are wrong, the parent is gone, or the kernel refuses.
pub fn exec_bound(args: impl IntoIterator<Item = OsString>) -> Result<Infallible, LaunchError> {
    let args: Vec<OsString> = args.into_iter().collect();
    let [flag, parent, dashes, program, rest @ ..] = args.as_slice() else {
        return Err(LaunchError::Usage);
    };
    let parent: Option<i32> = parent.to_str().and_then(|pid| pid.parse().ok());
    let (Some(parent), true) = (parent, flag == "--parent" && dashes == "--") else {
        return Err(LaunchError::Usage);
    };
    bind_to(parent)?;
    raise_open_files()?;
    let source = Command::new(program).args(rest).exec();
    Err(LaunchError::Exec { program: program.to_string_lossy().into_owned(), source })
}

fn bind_to(parent: i32) -> Result<(), LaunchError> {
    let refused = |what| move |source| LaunchError::Bind { what, source };
    // A program with file capabilities or a set-user-ID bit would lose the bond at exec.
    prctl::set_no_new_privs().map_err(refused("give up privileges"))?;
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(refused("bind to the parent"))?;
    // A parent that died before the bond was made sends no signal any more.
    if getppid().as_raw() == parent { Ok(()) } else { Err(LaunchError::Orphaned(parent)) }
}

/// A broker needs a file per connection, and releases built with old toolchains keep the soft limit.
fn raise_open_files() -> Result<(), LaunchError> {
    let refused = |source| LaunchError::Bind { what: "raise the limit of open files", source };
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(refused)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_but_a_parent_and_a_program_is_refused_before_it_has_an_effect() {
        for args in [
            &[][..],
            &["--parent"],
            &["--parent", "1"],
            &["--parent", "1", "--"],
            &["--parent", "one", "--", "/bin/true"],
            &["--child", "1", "--", "/bin/true"],
        ] {
            let result = exec_bound(args.iter().map(OsString::from));
            assert!(matches!(result, Err(LaunchError::Usage)), "{args:?}: {result:?}");
        }
    }
}
