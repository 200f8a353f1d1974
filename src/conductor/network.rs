//! The brokers of a run: started here, or found where the scenario says.

use std::time::Duration;

use emulator::spec::Server;
use futures_util::future;
use reports::broker::BrokerCost;
use reports::verdict::ExitCode;

use super::{Progress, Reporter, RunError, Setup};
use crate::broker::{self, Broker, Limits, PortChoice, Request, StartSpec, look_up};
use crate::driver::SeenBroker;
use crate::plan::{Brokers, Budget, DEFAULT_PORT_RANGE, NatsServer, Plan, Question};

/// Time for a managed broker to become ready; it needs 35 ms (brokers-checked).
const READY_WITHIN: Duration = Duration::from_secs(20);

/// The brokers, ready.
pub(super) struct Network {
    /// Where nodes connect.
    pub(super) servers: Vec<Server>,
    /// Where the driver connects.
    pub(super) urls: Vec<String>,
    managed: Vec<Broker>,
}

impl Network {
    /// Starts or finds the brokers of the plan; `folder` takes their files.
    pub(super) async fn open(
        setup: &Setup,
        folder: std::path::PathBuf,
        reporter: &Reporter,
    ) -> Result<Self, RunError> {
        match &setup.plan.brokers {
            Brokers::Single { nats_server } => {
                Self::manage(setup, nats_server, folder, reporter).await
            }
            Brokers::External { urls } => Self::find(urls).await,
        }
    }

    async fn manage(
        setup: &Setup,
        wanted: &NatsServer,
        folder: std::path::PathBuf,
        reporter: &Reporter,
    ) -> Result<Self, RunError> {
        let name = "n1".to_owned();
        let request = match wanted {
            NatsServer::Newest => Request::default(),
            NatsServer::Version(version) => Request { version: Some(version.clone()), path: None },
            NatsServer::Path(path) => Request { version: None, path: Some(path.into()) },
        };
        let (told, whose) = (reporter.clone(), name.clone());
        let progress = move |step| told.tell(Progress::Obtaining(whose.clone(), step));
        let program = broker::obtain::obtain(request, setup.sources.clone(), progress)
            .await
            .map_err(unreachable)?;
        let budget = Budget::of(&setup.plan, DEFAULT_PORT_RANGE);
        let spec = StartSpec {
            program,
            name: name.clone(),
            folder,
            ports: PortChoice::Free,
            limits: Limits::carrying(budget.connections, largest_message(&setup.plan)),
            extra_config: String::new(),
            environment: Vec::new(),
            ready_within: READY_WITHIN,
        };
        let broker = Broker::start(&spec, &setup.launcher).await.map_err(unreachable)?;
        let version = broker.program().version.to_string();
        let url = broker.url();
        tracing::info!(%name, %version, %url, pid = broker.pid(), "broker is ready");
        for left in broker.left_out() {
            tracing::info!(key = left.key, effect = left.effect, "left out of the configuration");
        }
        reporter.tell(Progress::Broker { name, version, go: None, url: url.clone() });
        Ok(Self {
            servers: vec![Server { address: broker.client().into(), url: url.clone() }],
            urls: vec![url],
            managed: vec![broker],
        })
    }

    async fn find(urls: &[String]) -> Result<Self, RunError> {
        let mut network = Self { servers: Vec::new(), urls: urls.to_vec(), managed: Vec::new() };
        network.servers = look_up(urls).await.map_err(unreachable)?;
        Ok(network)
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

    /// The managed brokers, for whoever looks at them.
    pub(super) fn managed(&self) -> &[Broker] {
        &self.managed
    }

    /// The brokers' name for a node; there is one.
    pub(super) fn name(&self) -> Option<&str> {
        self.managed.first().map(Broker::name)
    }

    /// Ends the managed brokers in order; one that has not ended in time is killed.
    pub(super) async fn close(self, patience: Duration) {
        for broker in self.managed {
            let name = broker.name().to_owned();
            let stopped = broker.stop(patience).await;
            tracing::info!(%name, killed = stopped.killed, took = ?stopped.took, "broker stopped");
        }
    }
}

fn unreachable(error: impl std::fmt::Display) -> RunError {
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
