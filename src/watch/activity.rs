//! What the tool used while waves were under way, and for how long: the time between waves is in neither.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Usage;
use crate::driver::Epoch;

/// CPU time and wall time over the union of all waves, each from its intended instant to its end.
#[derive(Debug, Default)]
pub struct Activity {
    under_way: u32,
    since: Option<(Instant, Usage)>,
    wall: Duration,
    used: Usage,
}

impl Activity {
    /// A wave begins; `usage` is read only where none is under way.
    pub fn begin(&mut self, now: Instant, usage: impl FnOnce() -> Usage) {
        self.under_way += 1;
        if self.since.is_none() {
            self.since = Some((now, usage()));
        }
    }

    /// A wave is over; `usage` is read only where it was the last under way.
    pub fn end(&mut self, now: Instant, usage: impl FnOnce() -> Usage) {
        self.under_way = self.under_way.saturating_sub(1);
        if self.under_way > 0 {
            return;
        }
        if let Some((since, before)) = self.since.take() {
            let used = usage().since(&before);
            self.wall += now.saturating_duration_since(since);
            self.used.fleet_cpu += used.fleet_cpu;
            self.used.other_cpu += used.other_cpu;
        }
    }

    /// Wall time and CPU time of the waves that are over.
    #[must_use]
    pub fn total(&self) -> (Duration, Usage) {
        (self.wall, self.used)
    }
}

/// Notes that waves begin, each at its instant.
pub async fn note_beginnings(activity: &Mutex<Activity>, epoch: Epoch, instants: &[Duration]) {
    for at in instants {
        tokio::time::sleep_until(epoch.instant(*at)).await;
        let mut activity = activity.lock().unwrap_or_else(PoisonError::into_inner);
        activity.begin(Instant::now(), Usage::now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_waves_count_once_and_the_time_between_waves_not_at_all() {
        let zero = Instant::now();
        let at = |ms| zero + Duration::from_millis(ms);
        let used = |ms| move || Usage { fleet_cpu: Duration::from_millis(ms), ..Usage::default() };
        let mut activity = Activity::default();
        activity.begin(at(0), used(100));
        activity.begin(at(10), used(0));
        activity.end(at(20), used(0));
        activity.end(at(30), used(140));
        activity.begin(at(1000), used(500));
        activity.end(at(1100), used(560));
        // An end without a beginning changes nothing.
        activity.end(at(2000), used(900));
        let (wall, usage) = activity.total();
        assert_eq!(wall, Duration::from_millis(130));
        assert_eq!(usage.cpu(), Duration::from_millis(100));
    }
}
