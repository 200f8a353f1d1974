//! What a run calls for: which workers, over which control broker, and the plan as they are told it.

use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reports::verdict::ExitCode;

use super::CrewError;
use super::board::Board;
use super::rivals::Standing;
use crate::broker::obtain::{self, ObtainError};
use crate::broker::{Obtained, Request, Sources};
use crate::child::Launcher;
use crate::control::ControlServer;
use crate::control::messages::{Beat, Phase};
use crate::control::parcel::TEXT_BYTES_MAX;
use crate::doctor::Host;
use crate::driver::{ConnectionOptions, Secret};
use crate::plan::Plan;

/// Which processes carry the nodes.
#[derive(Debug, Clone, Default)]
pub enum Workers {
    /// This one, or as few as the limit of open files allows.
    #[default]
    AsNeeded,
    /// So many of our own, on this machine.
    Here(u64),
    /// So many that come from elsewhere.
    Elsewhere(Box<Elsewhere>),
}

/// Workers that come from elsewhere.
#[derive(Debug, Clone)]
pub struct Elsewhere {
    /// How many.
    pub count: u64,
    /// Over which control broker.
    pub control: ControlAt,
    /// How long they are waited for.
    pub wait: Duration,
}

/// Where a control broker is.
#[derive(Debug, Clone)]
pub enum ControlAt {
    /// There already.
    Given(Box<ConnectionOptions>),
    /// To be started by us, for workers of other hosts.
    Listen {
        /// Where it listens.
        address: SocketAddrV4,
        /// What lets workers in; `None`: one is made up.
        token: Option<Secret>,
    },
}

/// What a muster needs to know of its run.
pub(crate) struct Call<'a> {
    /// The plan, as workers are told it.
    pub(crate) plan: PlanText,
    /// Which processes.
    pub(crate) workers: &'a Workers,
    /// How many there are to be: the plan may want several where nobody asked for any.
    pub(crate) count: u64,
    /// Nodes of each share.
    pub(crate) nodes: Vec<u64>,
    /// Share (0 to 1) of the nodes that may be lost with their workers.
    pub(crate) tolerated: f64,
    /// Name of the scenario.
    pub(crate) scenario: &'a str,
    /// When the run began: RFC 3339, UTC.
    pub(crate) began: String,
    /// How long it has been under way.
    pub(crate) age: Duration,
    /// How children are started.
    pub(crate) launcher: &'a Launcher,
    /// Where a control broker comes from.
    pub(crate) sources: &'a Sources,
    /// The nats-servers that the run needs in any case: the first that has JetStream does.
    pub(crate) programs: Vec<Request>,
    /// Where the control broker's files go.
    pub(crate) control_folder: PathBuf,
    /// Where the workers' logs go.
    pub(crate) workers_folder: PathBuf,
}

/// A plan as workers are told it.
#[derive(Clone)]
pub(crate) struct PlanText(pub(super) Arc<str>);

impl PlanText {
    /// Writes it; one that is longer than workers take is refused.
    pub(crate) fn of(plan: &Plan) -> Result<Self, CrewError> {
        let text = serde_json::to_string(plan).unwrap_or_default();
        if text.len() <= TEXT_BYTES_MAX {
            return Ok(Self(text.into()));
        }
        let mib = |bytes: usize| bytes.div_ceil(1 << 20);
        Err(CrewError {
            code: ExitCode::Usage,
            message: format!(
                "the plan is told to workers in {} MiB, and they take {} at the most\n\
                 write shorter facts, classes, DDLs or replies in the scenario",
                mib(text.len()),
                mib(TEXT_BYTES_MAX),
            ),
        })
    }
}

impl Call<'_> {
    /// What others are shown of the run.
    pub(super) fn standing(&self, run: &str, board: &Arc<Board>) -> Standing {
        let beat = Beat {
            run: run.to_owned(),
            phase: Phase::Claiming,
            scenario: self.scenario.to_owned(),
            host: Host::read().map_or_else(|_| String::new(), |host| host.name),
            began: self.began.clone(),
            age_ms: u64::try_from(self.age.as_millis()).unwrap_or(u64::MAX),
        };
        let (board, made) = (Arc::clone(board), std::time::Instant::now());
        Standing { beat, made, board, of: self.count }
    }
}

/// The control broker, how to reach it, and what lets workers in.
pub(super) async fn control(
    call: &Call<'_>,
) -> Result<(Option<ControlServer>, ConnectionOptions, Secret), CrewError> {
    let (listen, token) = match call.workers {
        Workers::Elsewhere(elsewhere) => match &elsewhere.control {
            ControlAt::Given(options) => {
                return Ok((None, (**options).clone(), Secret::new("")));
            }
            ControlAt::Listen { address, token } => (Some(*address), token.clone()),
        },
        Workers::AsNeeded | Workers::Here(_) => (None, None),
    };
    // A letter first: a token of digits alone would be read as a number.
    let token = token.unwrap_or_else(|| Secret::new(format!("t{:032x}", rand::random::<u128>())));
    let program = program(call).await.map_err(CrewError::unreachable)?;
    let folder = call.control_folder.clone();
    let server = ControlServer::start(program, folder, call.launcher, token.clone(), listen).await;
    let server = server.map_err(CrewError::unreachable)?;
    let options = server.options();
    Ok((Some(server), options, token))
}

/// A nats-server with JetStream: one that the run needs in any case, else the newest at hand.
async fn program(call: &Call<'_>) -> Result<Obtained, ObtainError> {
    let obtained = |request| obtain::obtain(request, call.sources.clone(), |_| {});
    for request in &call.programs {
        let program = obtained(request.clone()).await?;
        if ControlServer::suits(&program.version) {
            return Ok(program);
        }
    }
    obtained(Request::default()).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::resolve;
    use crate::scenario::Scenario;

    #[test]
    fn a_plan_that_no_worker_takes_is_a_mistake_in_the_scenario() {
        let text = "version: 1\nname: x\nbrokers: {topology: single}\n\
                    fleet: [{group: a, nodes: 1}]\nwaves: [{name: w, discover: {agent: emulated0}, count: 1}]";
        let mut plan = resolve(&Scenario::parse(text, "test.yaml", &[]).unwrap()).unwrap();
        assert!(PlanText::of(&plan).is_ok());
        plan.name = "x".repeat(TEXT_BYTES_MAX);
        let refused = PlanText::of(&plan).err().unwrap();
        assert_eq!(refused.code, ExitCode::Usage);
        assert!(
            refused.message.starts_with("the plan is told to workers in 65 MiB, and they take 64 ")
        );
    }
}
