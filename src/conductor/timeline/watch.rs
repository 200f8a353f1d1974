//! The watch over a network after an action on its brokers: who was lost and who came back, looked
//! at every 50 ms until all is as before.

use std::collections::BTreeMap;
use std::time::Duration;

use emulator::fleet::counts::FleetCounts;
use futures_util::future::join_all;
use reports::recovery::{Recovery, RecoveryKey, STEP};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval_at, timeout};

use super::{Happening, SoFar, Timeline};
use crate::broker::Control;
use crate::crew::Meter;
use crate::driver::{Epoch, Presence};

/// How long nothing may change until the network counts as whole: a node hears of the end of its
/// connection a moment after the broker is gone.
const SETTLED: Duration = Duration::from_millis(500);
/// A broker that does not say how many connections it has within this is left out.
const ANSWER_WITHIN: Duration = Duration::from_millis(250);

/// The watch over what follows one action.
pub(super) struct Watch {
    key: RecoveryKey,
    /// How long it goes on after the action is over.
    lasts: Duration,
    /// The instant of the action, since the epoch.
    began: Duration,
    epoch: Epoch,
    meter: Meter,
    presence: Presence,
    brokers: Vec<Control>,
    so_far: SoFar,
    tell: mpsc::Sender<Happening>,
    seen: FleetCounts,
}

impl Watch {
    /// Begins at this instant, which is that of the action.
    pub(super) fn begin(timeline: &Timeline, key: &RecoveryKey, lasts: Duration) -> Self {
        let scene = &timeline.scene;
        let (seen, began) = (scene.meter.counts(), scene.epoch.now());
        timeline.so_far.change(key, |recovery| {
            recovery.began = Some(began);
            recovery.away_before = timeline.nodes.saturating_sub(seen.connected + seen.away());
        });
        Self {
            key: key.clone(),
            lasts,
            began,
            epoch: scene.epoch,
            meter: scene.meter.clone(),
            presence: scene.presence.clone(),
            brokers: scene.brokers.clone(),
            so_far: timeline.so_far.clone(),
            tell: timeline.tell.clone(),
            seen,
        }
    }

    /// Watches until the network is whole again, or for as long as it is to.
    pub(super) async fn run(mut self) {
        let mut looks = interval_at(self.epoch.instant(self.began + STEP), STEP);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut moved = Duration::ZERO;
        let whole = loop {
            looks.tick().await;
            let since = self.epoch.now().saturating_sub(self.began);
            let mut recovery = Recovery::default();
            if self.look(since, &mut recovery) {
                moved = since;
            }
            let over = recovery.done.is_some_and(|done| since > done + self.lasts);
            let quiet = recovery.done.is_some_and(|done| since >= moved.max(done) + SETTLED);
            if recovery.began.is_none() {
                // The action failed: there is nothing to watch.
                return;
            }
            match recovery.whole() {
                Some(whole) if quiet => break Some(whole),
                _ if over => break None,
                _ => {}
            }
        };
        let after = connections(&self.brokers).await;
        self.so_far.change(&self.key, |recovery| recovery.connections_after = after);
        self.conclude(whole).await;
    }

    /// Adds what happened since the last look, and says whether anything did. `so_far` becomes what
    /// is known then.
    fn look(&mut self, since: Duration, so_far: &mut Recovery) -> bool {
        let counts = self.meter.counts();
        let away = self.presence.away() + self.meter.clients_away();
        let before = std::mem::replace(&mut self.seen, counts);
        let lost = counts.disconnects.saturating_sub(before.disconnects);
        let back = counts.reconnects.saturating_sub(before.reconnects);
        self.so_far.change(&self.key, |recovery| {
            recovery.lost.add(since, lost);
            recovery.back.add(since, back);
            recovery.dials.add(since, counts.dials.saturating_sub(before.dials));
            if recovery.client_away > 0 && away == 0 {
                recovery.client_back = Some(since);
            }
            recovery.client_away = away;
            so_far.clone_from(recovery);
        });
        lost + back > 0
    }

    async fn conclude(self, whole: Option<Duration>) {
        let mut seen = Recovery::default();
        self.so_far.change(&self.key, |recovery| seen.clone_from(recovery));
        let (lost, back) = (seen.lost.total(), seen.back.total());
        let step = &self.key.step;
        let (kind, text) = match whole {
            Some(whole) => (
                "timeline_whole",
                format!(
                    "{step}: all is back after {:.2} s, {lost} nodes were lost",
                    whole.as_secs_f64()
                ),
            ),
            None => (
                "timeline_not_whole",
                format!(
                    "{step}: not whole while it was watched, {lost} nodes were lost and {back} came back"
                ),
            ),
        };
        let figures = json!({ "step": step, "turn": self.key.turn, "nodes_lost": lost,
            "nodes_back": back, "whole_s": whole.map(|whole| whole.as_secs_f64()) });
        // Nobody listens any more when the run ends.
        let _ = self.tell.send(Happening { kind, text, figures }).await;
    }
}

/// Connections of each broker that says so.
pub(super) async fn connections(brokers: &[Control]) -> BTreeMap<String, u64> {
    let ask = |broker: &Control| {
        let (name, monitoring) = (broker.name().to_owned(), broker.monitoring().clone());
        async move {
            let said = timeout(ANSWER_WITHIN, monitoring.varz()).await.ok()?.ok()?;
            Some((name, said.connections))
        }
    };
    join_all(brokers.iter().map(ask)).await.into_iter().flatten().collect()
}
