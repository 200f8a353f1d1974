//! Brokers that are there already and can be asked about themselves: by monitoring that the plan names,
//! and through the system account.
//!
//! Whoever names a way to ask wants figures: a way that leads nowhere is an error before anything is
//! measured. Later it is none: see [`crate::conductor::telemetry`].

use std::collections::HashSet;

use super::unreachable;
use crate::broker::{Monitor, MonitorError, SystemAccount, Varz};
use crate::conductor::RunError;
use crate::driver::{ConnectionOptions, connect_asker};

/// How brokers that are not ours are asked, each with what it said first.
#[derive(Default)]
pub(super) struct Watched {
    pub(super) brokers: Vec<(Monitor, Varz)>,
    system: Option<SystemAccount>,
}

impl Watched {
    /// Asks all of them once. A broker that is found both ways is asked at its URL from then on.
    pub(super) async fn find(
        monitoring: &[String],
        system: Option<&ConnectionOptions>,
    ) -> Result<Self, RunError> {
        let mut watched = Self::default();
        for url in monitoring {
            let monitor = Monitor::at(url);
            let varz = monitor.varz().await.map_err(|error| silent(&error, MONITORING))?;
            watched.brokers.push((monitor, varz));
        }
        if let Some(options) = system {
            let connection = connect_asker(options).await.map_err(unreachable)?;
            let account = SystemAccount::new(connection);
            let servers = account.servers().await.map_err(|error| silent(&error, SYSTEM))?;
            watched.brokers.extend(servers);
            watched.system = Some(account);
        }
        let mut known = HashSet::new();
        watched.brokers.retain(|(_, varz)| known.insert(varz.server_id.clone()));
        Ok(watched)
    }

    /// Ends the connection of the system account.
    pub(super) async fn close(self) {
        if let Some(account) = self.system {
            account.close().await;
        }
    }
}

const MONITORING: &str =
    "name what stands before /varz, as in http://HOST:8222, or leave `monitoring` out";
const SYSTEM: &str = "give credentials of a user of the system account, or leave them out";

fn silent(error: &MonitorError, advice: &str) -> RunError {
    unreachable(format!("{error}\n{advice}"))
}
