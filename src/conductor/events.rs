//! What nodes published without being asked, beside what the listener heard of it.

use std::time::Duration;

use emulator::fleet::counts::FleetCounts;
use reports::run::{Ending, EventTotals, Tally};
use reports::verdict::{Doubt, ExitCode, Severity};

use super::Setup;
use super::network::Network;
use crate::driver::{ConnectionOptions, Epoch, Heard, Listener};
use crate::orders::Crowd;
use crate::plan::{MACHINE_TRANSITION, WATCHER_STATE};

/// A first message to itself takes the listener this long at the most.
const SETTLE_WITHIN: Duration = Duration::from_secs(10);

/// Connects the listener, before there are nodes; `None` where they say nothing without being asked.
pub(super) async fn listen(
    setup: &Setup,
    network: &Network,
    crowd: &Crowd,
    epoch: Epoch,
) -> Result<Option<Listener>, Ending> {
    if setup.plan.event_kinds().is_empty() {
        return Ok(None);
    }
    let servers = network.client_urls(&setup.plan, 1);
    let options = ConnectionOptions { servers, ..setup.connection.clone() };
    let subjects = setup.plan.registration_subjects();
    let connect = Listener::connect(&options, &subjects, &crowd.roster, epoch, SETTLE_WITHIN);
    let unreachable = |error| Ending::Failed(ExitCode::BrokerUnreachable, format!("{error}"));
    connect.await.map(Some).map_err(unreachable)
}

/// Waits for what is still on its way, and enters what was published and heard of these kinds.
pub(super) async fn settle(
    listener: Listener,
    counts: &FleetCounts,
    kinds: &[&'static str],
    tally: &mut Tally,
) {
    let published = Heard {
        startup: counts.startup_events,
        alive: counts.alive_events,
        shutdown: counts.shutdown_events,
        registration: counts.registrations,
        machine_transition: counts.machine_transitions,
        watcher_state: counts.watcher_states,
    };
    let heard = listener.catch_up(&published).await;
    for kind in kinds {
        let of = |heard: &Heard| match *kind {
            "startup" => heard.startup,
            "alive" => heard.alive,
            "shutdown" => heard.shutdown,
            MACHINE_TRANSITION => heard.machine_transition,
            WATCHER_STATE => heard.watcher_state,
            _ => heard.registration,
        };
        let totals = EventTotals { published: of(&published), received: of(&heard) };
        tally.events.entry((*kind).to_owned()).or_default().merge(&totals);
    }
    if listener.is_slow() {
        tally.doubts.insert(Doubt {
            kind: "events_dropped".to_owned(),
            severity: Severity::Note,
            detail: "the listener read too slowly and lost events that had arrived".to_owned(),
            advice: "trust no figure of lost events; start fewer nodes at once".to_owned(),
        });
    }
    if counts.status_file_failures > 0 {
        tally.doubts.insert(Doubt {
            kind: "status_files".to_owned(),
            severity: Severity::Note,
            detail: format!("{} status files were not written", counts.status_file_failures),
            advice: "look at the folder of the status files and its file system".to_owned(),
        });
    }
    if counts.unpublishable > 0 {
        tally.doubts.insert(Doubt {
            kind: "unpublishable".to_owned(),
            severity: Severity::Note,
            detail: format!(
                "{} replies and registrations of nodes were not published: larger than a broker \
                 takes, or for no subject that can be",
                counts.unpublishable
            ),
            advice: "have fewer facts, compress registrations, or raise the brokers' max_payload"
                .to_owned(),
        });
    }
    listener.close().await;
}
