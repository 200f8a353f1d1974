//! What this process costs, by part: the threads of the fleet are told from all others by their names.

use std::time::Duration;

use procfs::process::Process;

/// How the threads that carry nodes are named (`emulator::fleet`).
const FLEET_THREADS: &str = "fleet-";

/// CPU time and memory of this process so far. Zero stands for what the system did not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of the threads that carry nodes.
    pub fleet_cpu: Duration,
    /// CPU time of all other threads: the driver's, mostly.
    pub other_cpu: Duration,
    /// Resident memory of the whole process.
    pub rss_bytes: u64,
}

impl Usage {
    /// Reads it from `/proc`.
    #[must_use]
    pub fn now() -> Self {
        Self::read().unwrap_or_default()
    }

    fn read() -> procfs::ProcResult<Self> {
        let process = Process::myself()?;
        let mut usage =
            Self { rss_bytes: process.statm()?.resident * procfs::page_size(), ..Self::default() };
        for task in process.tasks()? {
            // A thread may end while it is looked at: its time is in no sum then.
            let Ok(stat) = task.and_then(|task| task.stat()) else { continue };
            let cpu = Duration::from_secs_f64(
                (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64,
            );
            if stat.comm.starts_with(FLEET_THREADS) {
                usage.fleet_cpu += cpu;
            } else {
                usage.other_cpu += cpu;
            }
        }
        Ok(usage)
    }

    /// All CPU time.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        self.fleet_cpu + self.other_cpu
    }

    /// What was used since `before`; the memory is that of now.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            fleet_cpu: self.fleet_cpu.saturating_sub(before.fleet_cpu),
            other_cpu: self.other_cpu.saturating_sub(before.other_cpu),
            rss_bytes: self.rss_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_of_fleet_threads_is_told_from_that_of_others() {
        let before = Usage::now();
        assert!(before.rss_bytes > 0);
        // Until the system has counted some ticks for this thread; bounded.
        let busy =
            move || (0..1_000_000).any(|_| Usage::now().since(&before).fleet_cpu > Duration::ZERO);
        let thread = std::thread::Builder::new().name("fleet-test".into()).spawn(busy).unwrap();
        assert!(thread.join().unwrap());
    }
}
