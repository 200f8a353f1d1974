//! A plan against hosts from beginning to end: what every command that starts something asks first.

use serde::Serialize;
use serde_json::{Value, json};

use super::examine::need;
use super::{Check, Duty, Hands, Host, HostError, Need, Verdict, examine, largest, render, worst};
use crate::plan::{AtWorkers, Budget, DEFAULT_PORT_RANGE, Demand, Plan};

/// What the doctor found.
#[derive(Debug, Clone)]
pub struct Examination {
    /// The hosts, that of the driver first.
    pub hosts: Vec<Examined>,
    /// What the plan needs.
    pub budget: Budget,
    /// The largest number of nodes that would fit, when the plan does not.
    pub largest: Option<u64>,
}

/// What was found of one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Examined {
    /// The host.
    pub host: Host,
    /// What it does.
    pub duty: Duty,
    /// What that takes.
    pub need: Need,
    /// Need and have, in the order of the table.
    pub checks: Vec<Check>,
}

impl Examined {
    fn of(demand: &Demand, duty: Duty, host: Host) -> Self {
        let (need, checks) = (need(demand, &duty, &host), examine(demand, &duty, &host));
        Self { host, duty, need, checks }
    }
}

impl Examination {
    /// Holds `plan` against this host alone, on which `hands` carry its nodes.
    ///
    /// # Errors
    /// If not even the limit of open files can be read.
    pub fn of(plan: &Plan, hands: Hands) -> Result<Self, HostError> {
        Ok(Self::of_host(Demand::of(plan), hands, Host::read()?))
    }

    /// Holds `demand` against `host` alone.
    #[must_use]
    pub fn of_host(demand: Demand, hands: Hands, host: Host) -> Self {
        let duty = |demand: &Demand| Duty::alone(demand, hands, host.open_files_hard);
        Self::of_duties(demand, |demand| vec![(duty(demand), &host)])
    }

    /// Holds `demand` against the host of conductor, driver and managed brokers, and those of the workers, one entry
    /// a worker with the connections of its own driver. Those of one kernel are one host, whatever network they are in.
    #[must_use]
    pub fn of_workers(demand: Demand, conductor: &Host, workers: &[(Host, u64)]) -> Self {
        let mut hosts = vec![(conductor.clone(), 0, AtWorkers::default())];
        for (worker, of_driver) in workers {
            let same = |(host, ..): &&mut (Host, u64, AtWorkers)| {
                (&host.name, &host.boot_id) == (&worker.name, &worker.boot_id)
            };
            match hosts.iter_mut().find(same) {
                Some((host, carried, drivers)) => {
                    *host = host.clone().narrower(worker);
                    *carried += 1;
                    *drivers = drivers.with(*of_driver);
                }
                None => hosts.push((worker.clone(), 1, AtWorkers::default().with(*of_driver))),
            }
        }
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let (all, many) = (count(workers.len()), count(hosts.len()));
        Self::of_duties(demand, |demand| {
            let duty = |at, here| Duty::of_workers(demand, here, all, at == 0, many);
            let hosts = hosts.iter().enumerate();
            hosts.map(|(at, (host, here, drivers))| (duty(at, (*here, *drivers)), host)).collect()
        })
    }

    fn of_duties<'a>(demand: Demand, duties: impl Fn(&Demand) -> Vec<(Duty, &'a Host)>) -> Self {
        let hosts = duties(&demand).into_iter();
        let hosts: Vec<_> =
            hosts.map(|(duty, host)| Examined::of(&demand, duty, host.clone())).collect();
        let fails = hosts.iter().any(|host| worst(&host.checks) == Verdict::Fail);
        let largest = fails.then(|| largest(&demand, duties));
        let port_range = hosts.first().and_then(|first| first.host.port_range_size());
        let budget = Budget::for_demand(demand, port_range.unwrap_or(DEFAULT_PORT_RANGE));
        Self { hosts, budget, largest }
    }

    /// The worst of all.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.hosts.iter().map(|host| worst(&host.checks)).max().unwrap_or(Verdict::Ok)
    }

    /// What may disturb the figures, each with what to do about it. Of several hosts each says which one it is.
    #[must_use]
    pub fn warnings(&self) -> Vec<(String, String)> {
        let of_host = |examined: &Examined| {
            let name = match self.hosts.len() {
                0 | 1 => String::new(),
                _ => format!("{}: ", examined.host.name),
            };
            let near = examined.checks.iter().filter(|check| check.verdict == Verdict::Warn);
            let told = near.map(|check| {
                let Check { name: what, have, need, .. } = check;
                (format!("{name}{what}: {have}, needed {need}"), check.advice.clone())
            });
            told.collect::<Vec<_>>()
        };
        self.hosts.iter().flat_map(of_host).collect()
    }

    /// A table a host for people, with the commands that mend what is too small.
    #[must_use]
    pub fn to_text(&self) -> String {
        render::to_text(self)
    }

    /// The same for scripts.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let brokers = self.budget.demand.brokers;
        json!({
            "verdict": self.verdict(),
            "largest": self.largest.map(|nodes| json!({ "nodes": nodes, "brokers": brokers })),
            "hosts": self.hosts,
            "budget": self.budget,
        })
    }
}
