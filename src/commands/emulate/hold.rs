//! Keeping a fleet until it shall end: progress, counters for whoever asks, and the closing words.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::bail;
use emulator::fleet::Fleet;
use emulator::fleet::counts::FleetCounts;
use reports::format::{count, counted, duration};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::counters::Snapshot;
use crate::commands::progress::Display;
use crate::conductor::{Progress, Stop};

/// Between two looks at the counters.
const LOOK: Duration = Duration::from_millis(250);
/// Between two lines that tell what goes on.
const TELL: Duration = Duration::from_secs(10);
/// Between two lines that tell that nodes try in vain.
const TELL_FAILURES: Duration = Duration::from_secs(3);

/// Watches over a fleet.
pub(super) struct Watch {
    display: Display,
    publish: watch::Sender<Snapshot>,
    began: Instant,
    /// Everybody was connected once.
    complete: bool,
    told: (Instant, FleetCounts),
}

impl Watch {
    pub(super) fn new(display: Display, publish: watch::Sender<Snapshot>) -> Self {
        let began = Instant::now();
        Self { display, publish, began, complete: false, told: (began, FleetCounts::default()) }
    }

    /// Returns how long the fleet was held when it shall end.
    pub(super) async fn hold(mut self, fleet: &Fleet, stop: Stop) -> anyhow::Result<Duration> {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = stop.asked() => return Ok(self.began.elapsed()),
                _ = looks.tick() => self.look(fleet)?,
            }
        }
    }

    fn look(&mut self, fleet: &Fleet) -> anyhow::Result<()> {
        if let Some(failure) = fleet.failures().first() {
            bail!("a node failed, so the fleet is not what was asked for: {failure}");
        }
        let counts = fleet.counts();
        self.publish.send_modify(|snapshot| snapshot.update(counts, fleet.step_times()));
        let (connected, planned) = (counts.connected, counts.planned);
        if self.complete {
            self.tell(counts);
        } else if connected >= planned {
            self.complete = true;
            let took = self.began.elapsed();
            self.display.show(&Progress::Connected { connected, planned, took });
            self.told = (Instant::now(), counts);
        } else {
            self.display.show(&Progress::Connecting { connected, planned });
            self.tell_failures(counts);
        }
        Ok(())
    }

    /// Tells why nodes are not connected, if more of them have tried in vain.
    fn tell_failures(&mut self, counts: FleetCounts) {
        let (when, last) = self.told;
        let failed = failures(&counts);
        if failed.is_empty() || failed == failures(&last) || when.elapsed() < TELL_FAILURES {
            return;
        }
        self.told = (Instant::now(), counts);
        self.display.say(&format!(
            "{}: check that a broker is there and takes these credentials; nodes try again",
            failed.join(", ")
        ));
    }

    /// Tells what happened since the last time, if anything did.
    fn tell(&mut self, counts: FleetCounts) {
        let (when, last) = self.told;
        let same = (counts.connected, counts.messages_in) == (last.connected, last.messages_in);
        if same || when.elapsed() < TELL {
            return;
        }
        self.told = (Instant::now(), counts);
        self.display.say(&format!(
            "{} of {} connected, {} received, {} answered",
            count(counts.connected),
            counted(counts.planned, "node", "nodes"),
            counted(counts.messages_in, "request", "requests"),
            count(counts.replies),
        ));
    }
}

/// Attempts to connect that failed, by where they did.
fn failures(counts: &FleetCounts) -> Vec<String> {
    let steps = [(counts.dial_failures, "dials"), (counts.handshake_failures, "handshakes")];
    let failed = steps.into_iter().filter(|(number, _)| *number > 0);
    failed.map(|(number, what)| format!("{} {what} failed", count(number))).collect()
}

/// What the fleet did, in a few lines.
pub(super) fn summary(counts: &FleetCounts, held: Duration) -> String {
    let mut text = format!(
        "{} of {} connected once, {} received, {} answered, in {}\n",
        count(counts.ever_connected),
        counted(counts.planned, "node", "nodes"),
        counted(counts.messages_in, "request", "requests"),
        count(counts.replies),
        duration(held),
    );
    for line in failures(counts) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{line}");
    }
    for (number, what) in [
        (counts.disconnects, "connections lost"),
        (counts.reconnects, "reconnects"),
        (counts.left, "times a node left as its group's churn says"),
        (counts.returned, "times one returned"),
        (counts.refused, "requests refused"),
    ] {
        if number > 0 {
            let _ = writeln!(text, "{} {what}", count(number));
        }
    }
    text
}
