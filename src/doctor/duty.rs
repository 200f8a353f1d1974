//! What one host has to do of a plan, and what that takes there: arithmetic, no look at any system.

use serde::Serialize;

use crate::plan::{
    AtWorkers, Demand, FILES_ASIDE_EMULATOR, source_addresses, thousands, with_reserve,
};

/// Files of a conductor for each worker that it started: its pipes and its log.
const FILES_PER_WORKER: u64 = 4;
/// Files of the rest of the host.
const OTHER_FILES: u64 = 20_000;
/// Threads of a process, ours or a broker's, beside those that depend on the processors (seen: 7 to 11
/// in all on two of them).
const THREADS_ASIDE: u64 = 16;
/// A message on its way occupies at least a page of the kernel at each end.
const TCP_BYTES_PER_END: u64 = 4096;

/// The processes of a host that are to carry the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hands {
    /// One, which has the driver too.
    One,
    /// As few as the limit of open files allows.
    AsNeeded,
    /// So many, beside the one that has the driver.
    Workers(u64),
}

/// What a host does in a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Duty {
    /// Worker processes; 0: nodes that are here are carried by the process that has the driver.
    pub workers: u64,
    /// Nodes that are carried here, at most.
    pub nodes: u64,
    /// Nodes in one process, at most.
    pub largest_share: u64,
    /// Whether the driver is here, and the conductor with it.
    pub driver: bool,
    /// The drivers at workers that are here.
    pub at_workers: AtWorkers,
    /// Brokers that run here.
    pub brokers: u64,
    /// Hosts that carry the plan together, this one included.
    pub hosts: u64,
}

impl Duty {
    /// Everything, on a host where a process may open so many files.
    #[must_use]
    pub fn alone(demand: &Demand, hands: Hands, open_files: u64) -> Self {
        let workers = match hands {
            Hands::One => 0,
            Hands::AsNeeded => demand.workers_needed(open_files).filter(|n| *n > 1).unwrap_or(0),
            Hands::Workers(workers) => workers,
        };
        Self {
            workers,
            nodes: demand.nodes,
            largest_share: demand.largest_share(workers),
            driver: true,
            at_workers: if workers > 0 { demand.at_workers } else { AtWorkers::default() },
            brokers: brokers_here(demand),
            hosts: 1,
        }
    }

    /// `here` of `all` workers with their drivers, beside them perhaps the conductor's driver and managed brokers.
    #[must_use]
    pub fn of_workers(
        demand: &Demand,
        (here, at_workers): (u64, AtWorkers),
        all: u64,
        driver: bool,
        hosts: u64,
    ) -> Self {
        let largest_share = demand.largest_share(all);
        Self {
            workers: here,
            nodes: demand.nodes.min(largest_share * here),
            largest_share: if here > 0 { largest_share } else { 0 },
            driver,
            at_workers,
            brokers: if driver { brokers_here(demand) } else { 0 },
            hosts,
        }
    }

    /// As people read it: `50,000 nodes in 3 workers, the driver, 3 brokers`.
    #[must_use]
    pub fn in_words(&self) -> String {
        let nodes = counted(self.nodes, "node");
        let carried = match (self.nodes, self.workers) {
            (0, 0) => None,
            (_, 0) => Some(format!("{nodes} in one process with the driver")),
            (_, workers) => Some(format!(
                "{nodes} in {} of up to {}",
                counted(workers, "worker"),
                thousands(self.largest_share)
            )),
        };
        let driver = self.driver && (self.workers > 0 || self.nodes == 0);
        let parts = [
            carried,
            driver.then(|| "the driver".to_owned()),
            match self.at_workers.drivers {
                0 => None,
                1 => Some("a driver at a worker".to_owned()),
                drivers => Some(format!("{} drivers at workers", thousands(drivers))),
            },
            (self.brokers > 0).then(|| counted(self.brokers, "broker")),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        if parts.is_empty() { "nothing to do".to_owned() } else { parts.join(", ") }
    }
}

/// `1 worker`, `3 workers`.
pub(super) fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(number), if number == 1 { "" } else { "s" })
}

fn brokers_here(demand: &Demand) -> u64 {
    if demand.managed { demand.brokers } else { 0 }
}

/// What a duty takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Need {
    /// Open files of each worker; `None`: there is none.
    pub files_of_worker: Option<u64>,
    /// Open files of the process that has the driver; `None`: it is elsewhere.
    pub files_of_driver: Option<u64>,
    /// Open files of the busiest broker; `None`: there is none.
    pub files_of_broker: Option<u64>,
    /// Open files of the whole host.
    pub files_of_host: u64,
    /// Connections from here to the busiest broker.
    pub to_busiest: u64,
    /// Source addresses for them.
    pub source_addresses: u64,
    /// Connections that begin or end here.
    pub connections: u64,
    /// Memory of our processes.
    pub ours_bytes: u64,
    /// Memory of the brokers.
    pub brokers_bytes: u64,
    /// Memory of the kernel for connections.
    pub kernel_bytes: u64,
    /// TCP buffers when every connection has a message on its way.
    pub tcp_bytes: u64,
    /// Processes and threads.
    pub tasks: u64,
    /// Processors below which figures are an upper bound.
    pub cores: u64,
}

impl Need {
    /// What `duty` takes where one source address has `port_range` ports, on so many processors.
    #[must_use]
    pub fn of(demand: &Demand, duty: &Duty, port_range: u64, cores: u64) -> Self {
        let driver = if duty.driver { demand.driver_connections } else { 0 };
        let drivers = u64::from(duty.driver) + duty.at_workers.drivers;
        let of_drivers = driver + duty.at_workers.connections;
        let own = duty.nodes + of_drivers;
        let at_brokers =
            if duty.brokers > 0 { demand.nodes + demand.connections_of_drivers() } else { 0 };
        // The nodes of a host are dealt out to brokers as all are.
        let share = u128::from(duty.nodes) * u128::from(demand.busiest_nodes);
        let share = share.div_ceil(u128::from(demand.nodes.max(1)));
        let to_busiest = u64::try_from(share).unwrap_or(u64::MAX) + of_drivers;
        let in_process = if duty.workers == 0 { duty.nodes } else { 0 };
        let ends = own + at_brokers;
        let processes = duty.workers + u64::from(duty.driver);
        let per_process = 2 * cores + THREADS_ASIDE;
        Self {
            files_of_worker: (duty.workers > 0).then(|| {
                with_reserve(duty.largest_share + duty.at_workers.most) + FILES_ASIDE_EMULATOR
            }),
            files_of_driver: duty.driver.then(|| {
                let aside = FILES_ASIDE_EMULATOR + duty.workers * FILES_PER_WORKER;
                with_reserve(in_process + driver) + aside
            }),
            files_of_broker: (duty.brokers > 0).then(|| demand.files_of_broker()),
            files_of_host: ends + OTHER_FILES,
            to_busiest,
            source_addresses: source_addresses(to_busiest, port_range),
            // Where both ends are here, both see the same connection.
            connections: own.max(at_brokers),
            ours_bytes: Demand::bytes_of_ours(processes, duty.nodes)
                + drivers * demand.bytes_of_driver(),
            brokers_bytes: if duty.brokers > 0 { demand.bytes_of_brokers() } else { 0 },
            kernel_bytes: Demand::bytes_of_kernel(ends),
            tcp_bytes: ends * TCP_BYTES_PER_END,
            tasks: (processes + duty.brokers) * per_process,
            cores: if duty.brokers > 0 { 2 } else { 1 },
        }
    }

    /// Memory of the host in all, without any reserve.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.ours_bytes + self.brokers_bytes + self.kernel_bytes
    }
}
