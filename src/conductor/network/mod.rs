//! The brokers of a run: started here, or found where the scenario says.

mod start;

use std::path::PathBuf;
use std::time::Duration;

use emulator::spec::Server;
use futures_util::future;
use reports::broker::BrokerCost;
use reports::verdict::ExitCode;

use super::{Progress, Reporter, RunError, Setup};
use crate::broker::{Broker, Control, Limits, look_up};
use crate::driver::SeenBroker;
use crate::plan::{Brokers, Budget, DEFAULT_PORT_RANGE, Managed, Plan, Question};

use start::Starting;
pub(super) use start::request;

/// The brokers, ready.
#[derive(Default)]
pub(super) struct Network {
    /// Where nodes connect, by the positions of the plan.
    pub(super) servers: Vec<Server>,
    /// Where clients connect, likewise.
    urls: Vec<String>,
    managed: Vec<Broker>,
}

impl Network {
    /// Starts or finds the brokers of the plan; `folder` takes their files.
    pub(super) async fn open(
        setup: &Setup,
        folder: PathBuf,
        reporter: &Reporter,
    ) -> Result<Self, RunError> {
        match &setup.plan.brokers {
            Brokers::Managed(managed) => {
                Box::pin(Self::manage(setup, managed, folder, reporter)).await
            }
            Brokers::External { urls } => Self::find(urls).await,
        }
    }

    async fn manage(
        setup: &Setup,
        planned: &Managed,
        folder: PathBuf,
        reporter: &Reporter,
    ) -> Result<Self, RunError> {
        let plan = &setup.plan;
        let told = reporter.clone();
        let programs = start::programs(planned, &setup.sources, move |name, step| {
            told.tell(Progress::Obtaining(name.to_owned(), step));
        });
        let starting = Starting {
            planned,
            programs: programs.await.map_err(unreachable)?,
            folder,
            limits: Limits::carrying(
                Budget::of(plan, DEFAULT_PORT_RANGE).connections,
                largest_message(plan),
            ),
        };
        let managed = starting.start(&setup.launcher).await.map_err(unreachable)?;
        let mut network = Self { managed, ..Self::default() };
        for broker in &network.managed {
            let (name, url, varz) = (broker.name().to_owned(), broker.url(), broker.at_start());
            let (version, go) = (varz.version.clone(), Some(varz.go.clone()));
            tracing::info!(%name, %version, go, %url, pid = broker.pid(), "broker is ready");
            network.servers.push(Server { address: broker.client().into(), url: url.clone() });
            network.urls.push(url.clone());
            reporter.tell(Progress::Broker { name, version, go, url });
        }
        Ok(network)
    }

    async fn find(urls: &[String]) -> Result<Self, RunError> {
        let servers = look_up(urls).await.map_err(unreachable)?;
        Ok(Self { servers, urls: urls.to_vec(), ..Self::default() })
    }

    /// Where a client of the plan connects: its home first.
    pub(super) fn client_urls(&self, plan: &Plan, number: u32) -> Vec<String> {
        let pool = plan.client_pool(number);
        pool.into_iter().filter_map(|at| self.urls.get(at)).cloned().collect()
    }

    /// The brokers that are not ours by what they say of themselves, each with a name.
    pub(super) fn introduced(
        &self,
        brokers: Vec<SeenBroker>,
        reporter: &Reporter,
    ) -> Vec<(String, BrokerCost)> {
        if !self.managed.is_empty() {
            return Vec::new();
        }
        let named = brokers.into_iter().map(|SeenBroker { name, version, go, url }| {
            let number = self.servers.iter().position(|server| server.url == url);
            let name = name.unwrap_or_else(|| format!("n{}", number.map_or(1, |n| n + 1)));
            tracing::info!(%name, %version, go, %url, "broker is reached");
            let cost =
                BrokerCost { version: version.clone(), go: go.clone(), ..Default::default() };
            reporter.tell(Progress::Broker { name: name.clone(), version, go, url });
            (name, cost)
        });
        named.collect()
    }

    /// Ends when a managed broker has ended unasked, with what there is to say; never otherwise.
    pub(super) async fn died(&self) -> String {
        let watches = self.managed.iter().map(|broker| {
            let (name, died) = (broker.name(), broker.died());
            Box::pin(async move { format!("broker {name} {}", died.await) })
        });
        let watches: Vec<_> = watches.collect();
        if watches.is_empty() {
            return std::future::pending().await;
        }
        future::select_all(watches).await.0
    }

    /// What takes the managed brokers down and brings them up again.
    pub(super) fn controls(&self) -> Vec<Control> {
        self.managed.iter().map(Broker::control).collect()
    }

    /// The managed brokers, for whoever looks at them.
    pub(super) fn managed(&self) -> &[Broker] {
        &self.managed
    }

    /// The name of the only broker.
    pub(super) fn name(&self) -> Option<&str> {
        match self.managed.as_slice() {
            [only] => Some(only.name()),
            _ => None,
        }
    }

    /// Ends the managed brokers in order; one that has not ended in time is killed.
    pub(super) async fn close(self, patience: Duration) {
        let stop = async |broker: Broker| {
            let name = broker.name().to_owned();
            let stopped = broker.stop(patience).await;
            tracing::info!(%name, killed = stopped.killed, took = ?stopped.took, "broker stopped");
        };
        future::join_all(self.managed.into_iter().map(stop)).await;
    }
}

pub(super) fn unreachable(error: impl std::fmt::Display) -> RunError {
    RunError { code: ExitCode::BrokerUnreachable, message: error.to_string() }
}

/// Bytes of the largest reply that the plan asks for: a body is encoded in base64 once.
fn largest_message(plan: &Plan) -> u64 {
    let sizes = plan.entries.iter().filter_map(|entry| match &entry.question {
        Question::Request { data, .. } => data.get("size").and_then(serde_json::Value::as_u64),
        Question::Discover => None,
    });
    sizes.max().unwrap_or(0).saturating_mul(3) / 2 + 8 * 1024
}
