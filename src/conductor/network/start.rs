//! Starting managed brokers: which program each is, and how each is told of the others.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use crate::broker::config::{Cluster, Gateway};
use crate::broker::obtain::{self, ObtainError};
use crate::broker::{
    self, Broker, Limits, Obtained, Ports, Request, Sources, StartError, StartSpec, Wiring,
    start_together,
};
use crate::child::Launcher;
use crate::plan::{Managed, NatsServer, PlannedBroker, Role, Topology};

/// Time for a managed broker to become ready; it needs 35 ms (brokers-checked).
const READY_WITHIN: Duration = Duration::from_secs(20);

/// Finds or obtains the program of each broker, each only once; `told` hears for which broker what is
/// done.
pub(super) async fn programs(
    planned: &Managed,
    sources: &Sources,
    told: impl Fn(&str, broker::Progress) + Clone + Send + 'static,
) -> Result<Vec<Obtained>, ObtainError> {
    let mut known: HashMap<&NatsServer, Obtained> = HashMap::new();
    let mut programs = Vec::with_capacity(planned.brokers.len());
    for PlannedBroker { name, nats_server, .. } in &planned.brokers {
        let program = match known.get(nats_server) {
            Some(program) => program.clone(),
            None => {
                let (told, name) = (told.clone(), name.clone());
                let progress = move |step| told(&name, step);
                obtain::obtain(request(nats_server), sources.clone(), progress).await?
            }
        };
        known.insert(nats_server, program.clone());
        programs.push(program);
    }
    Ok(programs)
}

/// How the nats-server of a plan is asked for.
pub(in crate::conductor) fn request(wanted: &NatsServer) -> Request {
    match wanted {
        NatsServer::Newest => Request::default(),
        NatsServer::Version(version) => Request { version: Some(version.clone()), path: None },
        NatsServer::Path(path) => Request { version: None, path: Some(path.into()) },
    }
}

/// Everything that is needed to start the brokers of a plan.
pub(super) struct Starting<'a> {
    pub(super) planned: &'a Managed,
    /// By the positions of the plan.
    pub(super) programs: Vec<Obtained>,
    /// Takes their files.
    pub(super) folder: PathBuf,
    pub(super) limits: Limits,
}

impl Starting<'_> {
    /// Starts all brokers; they are ready then, not yet joined.
    pub(super) async fn start(&self, launcher: &Launcher) -> Result<Vec<Broker>, StartError> {
        let specs = |ports: &[Ports]| self.specs(ports);
        start_together(self.planned.brokers.len(), specs, launcher).await
    }

    fn specs(&self, ports: &[Ports]) -> Vec<StartSpec> {
        let brokers = self.planned.brokers.iter().enumerate().zip(&self.programs);
        let spec =
            |((position, broker), program): ((usize, &PlannedBroker), &Obtained)| StartSpec {
                program: program.clone(),
                name: broker.name.clone(),
                folder: self.folder.clone(),
                host: self.planned.listen.unwrap_or(Ipv4Addr::LOCALHOST),
                ports: ports[position].choice(),
                limits: self.limits,
                profiling: self.planned.profiling,
                wiring: wiring(self.planned, position, ports),
                own_config: broker.config.clone(),
                extra_config: broker.config_text.clone(),
                environment: {
                    let variables = self.planned.environment.iter();
                    variables.map(|(name, value)| (name.into(), value.into())).collect()
                },
                ready_within: READY_WITHIN,
            };
        brokers.map(spec).collect()
    }
}

/// How the broker at `position` is joined with the others.
fn wiring(planned: &Managed, position: usize, ports: &[Ports]) -> Wiring {
    let broker = &planned.brokers[position];
    let mine = ports[position];
    let of_cluster = |name: &str, port: fn(&Ports) -> u16| -> Vec<u16> {
        let members = planned.brokers.iter().zip(ports);
        let members = members.filter(|(other, _)| other.cluster.as_deref() == Some(name));
        members.map(|(_, ports)| port(ports)).collect()
    };
    let cluster = broker.cluster.as_ref().map(|name| Cluster {
        name: name.clone(),
        port: mine.cluster,
        routes: of_cluster(name, |ports| ports.cluster),
    });
    let gateway = || {
        let others = planned.clusters().into_iter();
        Some(Gateway {
            name: broker.cluster.clone()?,
            port: mine.gateway,
            clusters: others
                .map(|name| (name.to_owned(), of_cluster(name, |ports| ports.gateway)))
                .collect(),
        })
    };
    Wiring {
        cluster,
        gateway: if planned.topology == Topology::Supercluster { gateway() } else { None },
        leaf_port: (broker.role == Role::Hub).then_some(mine.leaf),
        hub_port: planned.hub_of(position).map(|hub| ports[hub].leaf),
    }
}
