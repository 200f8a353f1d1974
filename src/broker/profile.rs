//! What a broker's profiling port tells: how many goroutines it has, and where its memory is.
//!
//! Each question stops the whole broker for a moment, the one for goroutines the longer the more there
//! are, and nats-server has two a connection: they are for before and after a phase, never for a loop.

use super::monitor::{MonitorError, Site};
use super::ready::loopback;

/// The profiling port of one broker of ours.
#[derive(Debug, Clone)]
pub struct Profile(Site);

/// One look through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProfileSample {
    /// Goroutines.
    pub goroutines: u64,
    /// Bytes of the heap in use.
    pub heap_bytes: u64,
    /// Bytes of stacks in use.
    pub stack_bytes: u64,
}

impl Profile {
    /// The port of a process, on loopback.
    pub(super) fn new(port: u16) -> Self {
        Self(Site::ours(loopback(port).into()))
    }

    /// Takes a look.
    ///
    /// # Errors
    /// When there is no answer in time or it is not what a Go program answers.
    pub async fn sample(&self) -> Result<ProfileSample, MonitorError> {
        let (heap, goroutines) = ("/debug/pprof/heap?debug=1", "/debug/pprof/goroutine?debug=1");
        let memory = self.0.text(heap).await?;
        let count = self.0.text(goroutines).await?;
        let strange = |path| MonitorError::Strange { url: self.0.url(path) };
        Ok(ProfileSample {
            goroutines: number(&count, "goroutine profile: total ")
                .ok_or_else(|| strange(goroutines))?,
            heap_bytes: number(&memory, "# HeapInuse = ").ok_or_else(|| strange(heap))?,
            stack_bytes: number(&memory, "# Stack = ").ok_or_else(|| strange(heap))?,
        })
    }
}

/// The number behind these words at the beginning of a line.
fn number(text: &str, words: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(words))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_in_lines_of_their_own() {
        // As Go 1.26 writes them (runtime/pprof, `writeHeapInternal`).
        let text = "heap profile: 1: 16 [3: 48] @ heap/1048576\n# HeapInuse = 8069120\n\
                    # HeapReleased = 2\n# Stack = 2162688 / 2162689\n";
        for (words, expected) in [
            ("# HeapInuse = ", Some(8_069_120)),
            ("# Stack = ", Some(2_162_688)),
            ("# StackSys = ", None),
            ("heap profile: ", None),
        ] {
            assert_eq!(number(text, words), expected, "{words}");
        }
    }
}
