//! A crew of one: this process carries all nodes.

use emulator::fleet::{Fleet, FleetError};
use emulator::spec::FleetSpec;
use tokio::time::timeout;

use super::{Dismissed, Presence, Reason, STOP_WITHIN};

/// All nodes in this process.
pub(super) struct Local {
    pub(super) fleet: Fleet,
    /// Global indexes are below this.
    end: u64,
}

impl Local {
    pub(super) fn start(spec: FleetSpec) -> Result<Self, FleetError> {
        let end = spec.groups.iter().map(|group| group.first + group.nodes).max().unwrap_or(0);
        Ok(Self { fleet: Fleet::start(spec)?, end })
    }

    /// Ends all nodes in order. Those that do not end in time are left, and go with the process.
    pub(super) async fn stop(self) -> Dismissed {
        let meter = self.fleet.meter();
        match timeout(STOP_WITHIN, self.fleet.stop()).await {
            Ok(counts) => Dismissed { counts, ..Dismissed::default() },
            Err(_) => Dismissed {
                counts: meter.counts(),
                differences: vec![format!("not all nodes ended within {STOP_WITHIN:?}")],
                ..Dismissed::default()
            },
        }
    }

    pub(super) fn presence(&self) -> Presence {
        Presence((0..self.end).map(|index| self.fleet.is_connected(index)).collect())
    }

    pub(super) fn close(&self, request_id: &str, missing: &[u64]) -> Vec<Reason> {
        let ledger = self.fleet.close_ledger(request_id);
        let fate = |index| ledger.as_ref().and_then(|ledger| self.fleet.fate(ledger, index));
        let refuge = |index| ledger.as_ref().and_then(|ledger| self.fleet.refuge(ledger, index));
        missing.iter().map(|index| Reason::of(fate(*index), refuge(*index))).collect()
    }
}
