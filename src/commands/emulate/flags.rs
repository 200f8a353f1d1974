//! The flags of `emulate`, and the plan that they ask for.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use emulator::spec::Login;

use super::super::Shell;
use super::super::connection::{Address, NatsArgs, TimeoutArg};
use super::super::failure::Refusal;
use super::super::scenario_file::{self, Params};
use crate::plan::{self, Plan};
use crate::scenario::{Connect, Count, Group, MAIN_COLLECTIVE, Scenario};

const EXAMPLES: &str = "\
Examples:
  choria-emulator emulate --instances 500 --server nats://broker:4222
  choria-emulator emulate -i 1000 -a 10 --collectives 5 --server broker1,broker2 --name dc1
  choria-emulator emulate --scenario slow-and-silent.yaml --server nats://broker:4222
  curl http://127.0.0.1:8080/metrics

Ctrl-C (or SIGTERM) is the normal end: the exit code is 0.";

/// The group of nodes that flags ask for.
const GROUP: &str = "emulated";

/// Options of `emulate`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::commands) struct EmulateArgs {
    /// How many nodes
    #[arg(short, long, value_name = "N", required_unless_present = "scenario")]
    #[arg(conflicts_with = "scenario", value_parser = clap::value_parser!(u64).range(1..))]
    instances: Option<u64>,
    /// How many agents emulated0 .. each node has besides discovery, rpcutil and choria_util
    #[arg(short, long, value_name = "N", default_value_t = 1, conflicts_with = "scenario")]
    agents: u64,
    /// How many collectives each node is in: mcollective, collective1 ..
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "scenario")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1000))]
    collectives: u64,
    /// Part of every identity [default: the name of this host]
    #[arg(long, conflicts_with = "scenario")]
    name: Option<String>,
    /// Take the nodes from a scenario file; no waves are sent and no broker is started
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    #[command(flatten)]
    params: Params,
    /// Port of 127.0.0.1 that serves counters; 0: any free one
    #[arg(short = 'p', long, value_name = "PORT", default_value_t = 8080)]
    #[arg(env = "CHORIA_EMULATOR_HTTP_PORT", hide_env_values = true)]
    pub(super) http_port: u16,
    #[command(flatten)]
    predecessor: PredecessorArgs,
    #[command(flatten)]
    nats: NatsArgs,
    #[command(flatten)]
    timeout: TimeoutArg,
}

/// Flags of the predecessor that real Choria servers gave a meaning.
#[derive(Debug, Args)]
#[command(
    next_help_heading = "Kept from choria-emulator 0.1, refused where they would change something"
)]
struct PredecessorArgs {
    /// Choria configuration file; only /dev/null is accepted
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// TLS to the broker; not there yet
    #[arg(long)]
    tls: bool,
    /// Verify the broker's certificate; not there yet
    #[arg(long)]
    verify: bool,
    /// Signed requests and replies; not there yet
    #[arg(long)]
    secure: bool,
    /// Audit log of each node; not there yet
    #[arg(long, value_name = "PATTERN")]
    audit: Option<String>,
}

/// What is asked for, put together.
pub(super) struct Asked {
    pub(super) plan: Plan,
    pub(super) login: Login,
}

impl EmulateArgs {
    /// Reads files and environment.
    pub(super) fn read(self, shell: &Shell) -> anyhow::Result<Asked> {
        self.predecessor.check()?;
        let mut scenario = match &self.scenario {
            Some(path) => scenario_file::read(path, &self.params)?.scenario,
            None if !self.params.params.is_empty() => {
                return Err(Refusal::usage(
                    "--param changes a scenario, and none is named\nname one with --scenario FILE",
                ));
            }
            None => self.scenario_of_flags()?,
        };
        let brokers = scenario.brokers.as_ref();
        let network = self.nats.clone().network(shell, Address::FromEnvironment, brokers)?;
        let login = network.login_of_nodes()?;
        scenario.brokers = Some(network.named_brokers()?);
        scenario.waves.clear();
        scenario.thresholds = None;
        if let Some(timeout) = self.timeout.timeout {
            for group in &mut scenario.fleet {
                group.connect.get_or_insert_default().timeout = Some(timeout);
            }
        }
        Ok(Asked { plan: plan::resolve(&scenario)?, login })
    }

    fn scenario_of_flags(&self) -> anyhow::Result<Scenario> {
        let further = (1..self.collectives).map(|number| format!("collective{number}"));
        let group = Group {
            group: GROUP.to_owned(),
            nodes: Count(self.instances.unwrap_or(1)),
            collectives: Some([MAIN_COLLECTIVE.to_owned()].into_iter().chain(further).collect()),
            agents: Some(Count(self.agents)),
            stock_agents: None,
            ddl_agents: None,
            machines: None,
            identity: Some(identity(self.name.as_deref())?),
            facts: None,
            classes: None,
            brokers: None,
            fallback: None,
            connect: Some(Connect::default()),
            behaviour: None,
            queue: None,
            shared_identities: None,
            fidelity: None,
            events: None,
            registration: None,
            status_files: None,
        };
        Ok(Scenario {
            version: Count(1),
            name: "emulate".to_owned(),
            description: None,
            seed: None,
            brokers: None,
            fleet: vec![group],
            client: None,
            waves: Vec::new(),
            timeline: None,
            thresholds: None,
            workers: None,
            late_grace: None,
        })
    }
}

impl PredecessorArgs {
    fn check(&self) -> anyhow::Result<()> {
        let config = self.config.as_deref().is_some_and(|path| path != Path::new("/dev/null"));
        let refused = [
            (
                config,
                "--config is not read: emulated nodes are no Choria servers with a configuration\n\
                 give --server, --agents and --collectives, or facts and classes in a --scenario",
            ),
            (self.tls, "--tls is not there yet: emulated nodes connect in plain TCP\nleave it out"),
            (self.verify, "--verify belongs to --tls, which is not there yet\nleave it out"),
            (
                self.secure,
                "--secure is not there yet: emulated nodes speak the unsecured protocol\n\
                 leave it out, and configure clients with plugin.security.disable_tls or the like",
            ),
            (
                self.audit.is_some(),
                "--audit is not there yet: the counters tell what nodes received\nleave it out",
            ),
        ];
        match refused.iter().find(|(given, _)| *given) {
            Some((_, why)) => Err(Refusal::usage(*why)),
            None => Ok(()),
        }
    }
}

/// `1-NAME-c0ffe.choria.local`, as the predecessor named its instances, from 1. The five digits keep
/// processes on several machines apart.
fn identity(name: Option<&str>) -> anyhow::Result<String> {
    let name = match name {
        Some(name) => name.to_owned(),
        None => fs::read_to_string("/proc/sys/kernel/hostname").map_err(|error| {
            Refusal::usage(format!(
                "the name of this host cannot be read: {error}\nname the nodes with --name"
            ))
        })?,
    };
    let name = name.trim().replace('{', "{{").replace('}', "}}");
    let id = rand::random::<u32>() & 0xf_ffff;
    Ok(format!("{{index + 1}}-{name}-{id:05x}.choria.local"))
}
