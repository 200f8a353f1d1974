//! The brokers of a run: started here, or found where the scenario says.

mod external;
mod form;
mod start;
mod watched;

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use emulator::spec::Server;
use futures_util::future;
use reports::broker::{BrokerCost, Builds};
use reports::forming::Forming;
use reports::verdict::ExitCode;
use tokio::time::{Instant, timeout_at};

use super::{Progress, Reporter, RunError, Setup};
use crate::broker::{Broker, Control, LeftOut, Limits, Monitor, Sources, Varz, look_up};
use crate::child::Launcher;
use crate::driver::{Probes, SeenBroker};
use crate::orders::client_urls;
use crate::plan::{Brokers, Budget, DEFAULT_PORT_RANGE, Managed, Plan, Question};

use watched::Watched;

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
    /// How several of them became one network.
    forming: Option<Forming>,
    /// What can be asked about itself although it is not ours.
    watched: Watched,
    /// A connection to each, until the waves begin.
    probes: Option<Probes>,
    /// Brokers that are not ours and were told of: each once, however often clients connect.
    introduced: HashSet<String>,
}

/// What managed brokers are made from.
pub(super) struct Supply<'a> {
    pub(super) plan: &'a Plan,
    pub(super) sources: &'a Sources,
    pub(super) launcher: &'a Launcher,
    /// Takes their files.
    pub(super) folder: PathBuf,
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
                let Setup { plan, sources, launcher, .. } = setup;
                let supply = Supply { plan, sources, launcher, folder };
                Box::pin(Self::manage(supply, managed, reporter)).await
            }
            Brokers::External { urls, monitoring, form_within, .. } => {
                let servers = look_up(urls).await.map_err(unreachable)?;
                let mut network = Self { servers, urls: urls.clone(), ..Self::default() };
                let Self { urls, servers, .. } = &network;
                let options = &setup.connection;
                let proved = external::prove(&setup.plan, urls, servers, options, *form_within);
                (network.forming, network.probes) = proved.await?.unzip();
                network.watched = Watched::find(monitoring, setup.system.as_ref()).await?;
                Ok(network)
            }
        }
    }

    /// Starts the brokers of the plan and waits until they are one network.
    pub(super) async fn manage(
        supply: Supply<'_>,
        planned: &Managed,
        reporter: &Reporter,
    ) -> Result<Self, RunError> {
        let Supply { plan, sources, launcher, folder } = supply;
        let told = reporter.clone();
        let programs = start::programs(planned, sources, move |name, step| {
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
        let began = Instant::now();
        let deadline = began + planned.form_within;
        let started = starting.start(launcher);
        let started = match planned.brokers.len() {
            // There is nothing to form: its start has a bound of its own.
            1 => started.await,
            // Dropping those that did start ends them.
            _ => timeout_at(deadline, started).await.map_err(|_| form::unready(planned))?,
        };
        let managed = started.map_err(unreachable)?;
        let mut network = Self { managed, ..Self::default() };
        for broker in &network.managed {
            let (name, url, varz) = (broker.name().to_owned(), broker.url(), broker.at_start());
            let (version, go) = (varz.version.clone(), Some(varz.go.clone()));
            tracing::info!(%name, %version, go, %url, pid = broker.pid(), "broker is ready");
            network.servers.push(Server::at(broker.client().into()));
            network.urls.push(url.clone());
            reporter.tell(Progress::Broker { name, version, go, url });
        }
        if network.managed.len() > 1 {
            network.form(planned, began, deadline, reporter).await?;
        }
        Ok(network)
    }

    /// Waits until the brokers have found each other; one that ends meanwhile ends the waiting.
    async fn form(
        &mut self,
        planned: &Managed,
        began: Instant,
        deadline: Instant,
        reporter: &Reporter,
    ) -> Result<(), RunError> {
        let formed = tokio::select! {
            formed = form::form(planned, &self.managed, began, deadline) => formed,
            told = self.died() => Err(unreachable(format!(
                "{told}\nit ended while the network formed: see brokers/ in the result folder"
            ))),
        };
        let (forming, probes) = formed?;
        let links = forming.links.values().sum();
        reporter.tell(Progress::Formed { links, took: forming.formed });
        (self.forming, self.probes) = (Some(forming), probes);
        Ok(())
    }

    /// How the network formed, if there is more than one broker.
    pub(super) fn forming(&self) -> Option<&Forming> {
        self.forming.as_ref()
    }

    /// Proves that the interest of all nodes has reached the brokers of the clients, in what forming has
    /// left of the time for both, and ends the probes.
    pub(super) async fn prove_interest(
        &mut self,
        plan: &Plan,
    ) -> Result<Option<Duration>, RunError> {
        let Some(probes) = self.probes.take() else { return Ok(None) };
        let formed = self.forming.as_ref().map_or(Duration::ZERO, |forming| forming.formed);
        let deadline = Instant::now() + plan.brokers.form_within().saturating_sub(formed);
        let reached = probes.reach(&external::pairs(plan), deadline).await;
        probes.close().await;
        let took = reached.map_err(|stuck| match plan.brokers.managed() {
            Some(planned) => form::without_interest(planned, formed, &stuck),
            None => external::without_interest(plan, &self.servers, &stuck),
        })?;
        if let Some(forming) = &mut self.forming {
            forming.interest = Some(took);
        }
        Ok(Some(took))
    }

    /// Ends the probes, where nobody waits for the interest of nodes.
    pub(super) async fn end_probes(&mut self) {
        if let Some(probes) = self.probes.take() {
            probes.close().await;
        }
    }

    /// What the brokers could not be told, by name.
    pub(super) fn left_out(&self) -> Vec<(String, Vec<LeftOut>)> {
        let brokers = self.managed.iter();
        brokers.map(|broker| (broker.name().to_owned(), broker.left_out().to_vec())).collect()
    }

    /// How brokers that are not ours are asked, with what they said first.
    pub(super) fn watched(&self) -> Vec<(Monitor, Varz)> {
        self.watched.brokers.clone()
    }

    /// Where clients connect, by the positions of the plan.
    pub(super) fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Where a client of the plan connects: its home first.
    pub(super) fn client_urls(&self, plan: &Plan, number: u32) -> Vec<String> {
        client_urls(plan, number, &self.urls)
    }

    /// The brokers that are not ours by what they say of themselves, each with a name.
    pub(super) fn introduced(
        &mut self,
        brokers: Vec<SeenBroker>,
        reporter: &Reporter,
    ) -> Vec<(String, BrokerCost)> {
        if !self.managed.is_empty() {
            return Vec::new();
        }
        let named = brokers.into_iter().map(|SeenBroker { name, version, go, url }| {
            let number = self.servers.iter().position(|server| server.url == url);
            let name = name.unwrap_or_else(|| format!("n{}", number.map_or(1, |n| n + 1)));
            let builds = Builds::one(version.clone(), go.clone());
            let cost = BrokerCost { builds, ..BrokerCost::default() };
            if self.introduced.insert(name.clone()) {
                tracing::info!(%name, %version, go, %url, "broker is reached");
                reporter.tell(Progress::Broker { name: name.clone(), version, go, url });
            }
            (name, cost)
        });
        named.collect()
    }

    /// Ends when a managed broker has ended unasked, with what there is to say; never otherwise.
    pub(super) async fn died(&self) -> String {
        self.watch().await
    }

    /// The same, for whoever changes the network meanwhile.
    pub(super) fn watch(&self) -> impl Future<Output = String> + use<> {
        let watches = self.managed.iter().map(|broker| {
            let (name, died) = (broker.name().to_owned(), broker.died());
            Box::pin(async move { format!("broker {name} {}", died.await) })
        });
        let watches: Vec<_> = watches.collect();
        async move {
            if watches.is_empty() {
                return std::future::pending().await;
            }
            future::select_all(watches).await.0
        }
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
    pub(super) async fn close(mut self, patience: Duration) {
        self.end_probes().await;
        self.watched.close().await;
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
