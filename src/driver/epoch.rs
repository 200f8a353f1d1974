//! The one clock of a run: instants are durations since an epoch that is handed in.
//!
//! Latencies are differences of two readings of this clock (law 4), so that no reading of the wall
//! clock, which may step, takes part.

use std::time::Duration;

use tokio::time::Instant;

/// The instant from which a run counts.
#[derive(Debug, Clone, Copy)]
pub struct Epoch(std::time::Instant);

impl Epoch {
    /// The epoch at `instant`.
    #[must_use]
    pub fn at(instant: std::time::Instant) -> Self {
        Self(instant)
    }

    /// The time since the epoch; zero before it.
    #[must_use]
    pub fn now(self) -> Duration {
        Instant::now().into_std().saturating_duration_since(self.0)
    }

    /// The instant `since` after the epoch, as timers want it.
    #[must_use]
    pub fn instant(self, since: Duration) -> Instant {
        Instant::from_std(self.0) + since
    }
}
