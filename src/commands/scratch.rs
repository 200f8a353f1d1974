//! A folder that goes when this process goes, however it goes.
//!
//! A process that is killed removes nothing itself. So a shell does it, which waits at the other end of a
//! pipe until nobody holds this end any more: in order, by a panic or by SIGKILL. Brokers are killed by the
//! kernel at the same moment ([`crate::child::launch`]), and do not inherit the pipe.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Waits for the end of its input. A broker that is being killed may still write into the folder once: it is
/// tried again for two seconds.
const REMOVE: &str = "cat; for again in 1 2 3 4 5 6 7 8 9 10; do \
                      rm -rf -- \"$0\" && exit; sleep 0.2; done";

/// A folder of a process. Dropping it removes it.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    remover: Child,
}

impl Scratch {
    /// Makes the folder in the system's place for such.
    ///
    /// # Errors
    /// When it cannot be made, or nobody is there to remove it.
    pub(super) fn new(name: &str) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        let remover = Command::new("sh")
            .args(["-c", REMOVE])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in a terminal goes to the whole foreground group.
            .process_group(0)
            .spawn();
        match remover {
            Ok(remover) => Ok(Self { path, remover }),
            Err(error) => {
                let _ = fs::remove_dir_all(&path);
                Err(error)
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(self.remover.stdin.take());
        let _ = self.remover.wait();
    }
}
