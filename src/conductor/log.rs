//! The run's own log: what is logged before the result folder exists is kept and written when it does.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes that are kept before there is a file; more are dropped.
const MAX_EARLY: usize = 256 * 1024;

#[derive(Debug)]
enum Sink {
    Early(Vec<u8>),
    File(File),
}

/// Where `tracing` writes the run's log. Clones share one file.
#[derive(Debug, Clone)]
pub struct RunLog(Arc<Mutex<Sink>>);

impl Default for RunLog {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Sink::Early(Vec::new()))))
    }
}

impl RunLog {
    /// From now on everything goes to `path`, what was kept first.
    ///
    /// # Errors
    /// When the file cannot be made or written.
    pub fn attach(&self, path: &Path) -> io::Result<()> {
        let mut file = File::create(path)?;
        let mut sink = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Sink::Early(kept) = &*sink {
            file.write_all(kept)?;
        }
        *sink = Sink::File(file);
        Ok(())
    }
}

impl Write for RunLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Sink::Early(kept) if kept.len() + bytes.len() <= MAX_EARLY => {
                kept.extend_from_slice(bytes);
            }
            Sink::Early(_) => {}
            Sink::File(file) => file.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_logged_early_stands_first_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.log");
        let log = RunLog::default();
        log.clone().write_all(b"early\n").unwrap();
        log.attach(&path).unwrap();
        log.clone().write_all(b"late\n").unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "early\nlate\n");
    }
}
