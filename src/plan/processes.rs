//! How many processes a plan needs, where a process may open only so many files: the kernel's hard limit
//! is for each process, a connection is a file at each of its ends, and root cannot always raise it.
//!
//! Pure arithmetic. Which process runs which nodes follows from `emulator::spec::Share`: node `i` of
//! a group belongs to share `i % of`, so no share has more than `ceil(nodes / of)` of any group.

use super::budget::with_reserve;
use super::{Demand, Plan};

/// Files of a process that carries nodes beside its connections: its runtime, its log, its connections
/// to the conductor.
pub(crate) const FILES_ASIDE_EMULATOR: u64 = 256;
/// Files of a broker beside its clients: routes, gateways and leafnodes, its log, its monitoring, and
/// those that come and go while it accepts.
const FILES_ASIDE_BROKER: u64 = 1_000;

/// Connections that a process of ours may have where it may open `open_files`.
#[must_use]
pub fn connections_of_emulator(open_files: u64) -> u64 {
    without_reserve(open_files.saturating_sub(FILES_ASIDE_EMULATOR))
}

/// Clients that a broker may have where it may open `open_files`.
#[must_use]
pub fn clients_of_broker(open_files: u64) -> u64 {
    without_reserve(open_files.saturating_sub(FILES_ASIDE_BROKER))
}

/// Brokers among which `nodes` can be dealt out evenly, where each also has the driver's connections and
/// may open `open_files`; `None`: no number of them suffices.
#[must_use]
pub fn brokers_needed(nodes: u64, driver_connections: u64, open_files: u64) -> Option<u64> {
    let each = clients_of_broker(open_files).checked_sub(driver_connections)?;
    (each > 0).then(|| nodes.div_ceil(each).max(1))
}

impl Demand {
    /// The most nodes that one of `workers` processes carries.
    #[must_use]
    pub fn largest_share(&self, workers: u64) -> u64 {
        self.group_nodes.iter().map(|nodes| nodes.div_ceil(workers.max(1))).sum()
    }

    /// Files that each of `workers` processes opens, where they carry nothing but nodes.
    #[must_use]
    pub fn files_of(&self, workers: u64) -> u64 {
        with_reserve(self.largest_share(workers)) + FILES_ASIDE_EMULATOR
    }

    /// Files that the busiest broker opens.
    #[must_use]
    pub fn files_of_broker(&self) -> u64 {
        with_reserve(self.busiest_nodes + self.connections_of_drivers()) + FILES_ASIDE_BROKER
    }

    /// Processes that carry nodes where each may open `open_files`; 1: the process that has the driver
    /// carries them as well. `None`: no number of them suffices.
    #[must_use]
    pub fn workers_needed(&self, open_files: u64) -> Option<u64> {
        let most = connections_of_emulator(open_files);
        if self.nodes + self.connections_of_drivers() <= most {
            return Some(1);
        }
        // A share has at least one node of each group, as long as the group has any left.
        let at_least = self.nodes.div_ceil(most.max(1)).max(2);
        let most = most.saturating_sub(self.at_workers.most);
        let fits = |workers: &u64| self.largest_share(*workers) <= most;
        let at_most = self.group_nodes.iter().copied().max().unwrap_or(0).max(at_least);
        (at_least..=at_most).find(fits)
    }
}

impl Plan {
    /// Processes that carry nodes where each may open `open_files`, as [`Demand::workers_needed`].
    #[must_use]
    pub fn workers_needed(&self, open_files: u64) -> Option<u64> {
        Demand::of(self).workers_needed(open_files)
    }
}

/// The largest number that is at most `files` together with its reserve of five per cent.
fn without_reserve(files: u64) -> u64 {
    let most = u128::from(files) * 20 / 21;
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    debug_assert!(with_reserve(most) <= files);
    most
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::AtWorkers;

    fn demand(group_nodes: &[u64]) -> Demand {
        Demand {
            nodes: group_nodes.iter().sum(),
            group_nodes: group_nodes.to_vec(),
            subscriptions: 0,
            driver_connections: 4,
            at_workers: AtWorkers::default(),
            brokers: 1,
            busiest_nodes: 0,
            own_subjects: 0,
            managed: true,
            loopback: true,
            in_flight: 0,
        }
    }

    #[test]
    fn as_few_processes_as_the_file_limit_allows() {
        for (groups, open_files, workers) in [
            (&[0][..], 20_000, Some(1)),
            (&[18_799], 20_000, Some(1)),
            // The driver is in the same process, which holds 18,803 connections, four of them its own.
            (&[18_800], 20_000, Some(2)),
            (&[50_000], 20_000, Some(3)),
            (&[200_000], 20_000, Some(11)),
            (&[200_000], 1_048_576, Some(1)),
            (&[30_000, 20_000], 20_000, Some(3)),
            // Three shares of two groups that divide badly would need one connection too many.
            (&[28_204, 28_204], 20_000, Some(4)),
            (&[300], 257, None),
            (&[300], 258, Some(300)),
            (&[300, 1], 258, None),
            (&[300], 100, None),
        ] {
            assert_eq!(demand(groups).workers_needed(open_files), workers, "{groups:?}");
        }
    }

    #[test]
    fn brokers_are_counted_like_processes() {
        for (nodes, open_files, brokers) in [
            (18_000, 20_000, Some(1)),
            (50_000, 20_000, Some(3)),
            (200_000, 20_000, Some(12)),
            (200_000, 1_048_576, Some(1)),
            (10, 1_000, None),
            (10, 1_008, Some(4)),
        ] {
            assert_eq!(brokers_needed(nodes, 4, open_files), brokers, "{nodes} {open_files}");
        }
    }

    proptest! {
        #[test]
        fn the_number_is_the_smallest_that_fits(
            groups in prop::collection::vec(0_u64..60_000, 1..6), open_files in 300_u64..60_000,
        ) {
            let demand = demand(&groups);
            let fits = |workers| {
                let driver = if workers == 1 { demand.driver_connections } else { 0 };
                let files = with_reserve(demand.largest_share(workers) + driver);
                files + FILES_ASIDE_EMULATOR <= open_files
            };
            match demand.workers_needed(open_files) {
                Some(1) => prop_assert!(fits(1)),
                Some(workers) => {
                    prop_assert!(fits(workers));
                    prop_assert!(!fits(workers - 1));
                }
                None => prop_assert!(!fits(demand.nodes.max(2))),
            }
        }
    }
}
