//! The phase in which a fleet of ours connects, and what it is when the waves begin.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use emulator::connection::server_error::ServerError;
use emulator::fleet::counts::ConnectStep;
use emulator::spec::{FleetSpec, Share};
use reports::latency::Latency;
use reports::run::{ConnectTimes, Ending, GroupTotals};
use reports::verdict::ExitCode;
use serde_json::json;

use super::{Run, SAMPLE_EVERY, note_losses};
use crate::conductor::early::{broken, fault, meanwhile, trouble, without};
use crate::conductor::{Progress, Setup};
use crate::control::messages::{Assignment, Reach};
use crate::crew::{Crew, CrewError};
use crate::driver::Driver;
use crate::orders::Crowd;
use crate::plan::{Budget, DEFAULT_PORT_RANGE, Plan, Seat};
use crate::watch::Usage;

/// How often progress is reported while nodes connect.
const TICK: Duration = Duration::from_millis(200);
/// Without a new connection for this long, the waves begin with the nodes that there are.
const CONNECT_STALLED: Duration = Duration::from_secs(20);

impl Run<'_> {
    /// Works out the nodes and who of them must answer.
    pub(super) fn muster(&self) -> Result<(FleetSpec, Crowd), Ending> {
        let plan = &self.setup.plan;
        let Some(network) = &self.network else { return Err(fault("no network")) };
        let spec = plan.fleet_spec(&Seat {
            share: Share::WHOLE,
            shards: std::thread::available_parallelism().map_or(1, usize::from),
            servers: network.servers.clone(),
            source_addresses: source_addresses(plan),
            login: self.setup.login.clone(),
        });
        let crowd = Crowd::of_plan(plan, &spec).map_err(|error| fault(&error.to_string()))?;
        Ok((spec, crowd))
    }

    /// Connects the fleet and waits until it is complete, or gets no further.
    pub(super) async fn start_fleet(&mut self, spec: FleetSpec) -> Result<(), Ending> {
        self.inspect("before connect").await;
        self.enter("connect");
        let began = Instant::now();
        self.crew = Some(match self.mustered.is_some() {
            true => self.give_shares(&spec).await?,
            false => Crew::local(spec).map_err(|error| fault(&error.to_string()))?,
        });
        self.connecting().await?;
        self.note_fleet(began.elapsed()).await
    }

    /// Hands the nodes out to the workers, which begin to connect them.
    async fn give_shares(&mut self, spec: &FleetSpec) -> Result<Crew, Ending> {
        let servers = self.network.as_ref().map(|network| network.servers.clone());
        let Setup { plan, login, .. } = self.setup;
        let digest = plan.digest();
        let assignment = |share, shards| Assignment {
            digest: digest.clone(),
            share,
            shards,
            servers: servers.clone().unwrap_or_default(),
            source_addresses: source_addresses(plan),
            login: login.clone(),
        };
        let Some(mustered) = &self.mustered else { return Err(fault("no workers")) };
        let Some(network) = &self.network else { return Err(fault("no network")) };
        let epoch = self.epoch;
        let (urls, connection) = (network.urls().to_vec(), self.setup.connection.clone());
        let reach = Reach { urls, connection, nonce: self.nonce };
        let give = async {
            mustered.give_shares(assignment).await?;
            // As here: drivers come before nodes.
            let brokers = match &self.drivers {
                Some(drivers) => drivers.connect(&reach).await?,
                None => Vec::new(),
            };
            mustered.start(epoch.now()).await?;
            Ok(brokers)
        };
        let trouble = trouble(&self.network, &self.losses, &self.crew, self.stop);
        let note = || note_losses(&self.losses, &mut self.book, self.reporter);
        let given: Result<_, CrewError> = meanwhile(give, trouble, note).await?;
        let mut brokers = given.map_err(without)?;
        let seen = self.driver.as_ref().map(Driver::brokers).unwrap_or_default();
        brokers.retain(|broker| !seen.contains(broker));
        brokers.sort_by(|one, other| one.url.cmp(&other.url));
        brokers.dedup();
        self.introduce(brokers);
        let places = plan.clients_places();
        if !places.is_empty() {
            let text = format!("clients are connected at {}", places.join(", "));
            let figures = json!({ "workers": places });
            self.book.event("drivers", text, figures).map_err(broken)?;
        }
        let Some(mustered) = self.mustered.take() else { return Err(fault("no workers")) };
        let end = spec.groups.iter().map(|group| group.first + group.nodes).max().unwrap_or(0);
        Ok(Crew::remote(mustered, end))
    }

    async fn connecting(&mut self) -> Result<(), Ending> {
        let mut next_sample = Instant::now();
        let (mut most, mut moved) = (0, Instant::now());
        let began = Instant::now();
        loop {
            note_losses(&self.losses, &mut self.book, self.reporter).map_err(broken)?;
            let Some(crew) = &self.crew else { return Err(fault("no crew")) };
            let counts = crew.counts();
            let (connected, planned) = (counts.connected, counts.planned);
            self.reporter.tell(Progress::Connecting { connected, planned });
            if connected > most {
                (most, moved) = (connected, Instant::now());
            }
            // Nodes whose library has closed for good will not come any more; those that left will, each
            // in its time.
            let complete = crew.settled() >= planned;
            let patience = self.connect_patience();
            let stalled = moved.elapsed() > patience || began.elapsed() > self.connect_bound();
            if complete || stalled {
                break;
            }
            if next_sample <= Instant::now() {
                next_sample += SAMPLE_EVERY;
                self.sample("connect")?;
            }
            let Some(crew) = &self.crew else { return Err(fault("no crew")) };
            tokio::select! {
                biased;
                early = trouble(&self.network, &self.losses, &self.crew, self.stop) => return Err(early),
                () = crew.connected() => {}
                () = tokio::time::sleep(TICK) => {}
            }
        }
        if most == 0 {
            return Err(self.nobody_connected());
        }
        Ok(())
    }

    /// How long connecting may take in all: ten times as long as planned and ten minutes, whatever the
    /// network does to connections meanwhile.
    fn connect_bound(&self) -> Duration {
        let planned = self.setup.plan.groups.iter().map(|group| group.connect_time()).max();
        planned.unwrap_or_default().saturating_mul(10) + Duration::from_secs(600)
    }

    /// How long no new connection is no reason to go on: longer than the pause between two at a slow rate.
    fn connect_patience(&self) -> Duration {
        let rates = self.setup.plan.groups.iter().filter_map(|group| group.connect.rate_per_s);
        let slowest = rates.fold(f64::INFINITY, f64::min);
        CONNECT_STALLED + Duration::from_secs_f64((2.0 / slowest).clamp(0.0, 3600.0))
    }

    fn nobody_connected(&self) -> Ending {
        let counts = self.crew.as_ref().map(Crew::counts).unwrap_or_default();
        let behind_tls = self.driver.as_ref().is_some_and(Driver::is_behind_tls);
        let reason = if counts.dial_failures == counts.dials {
            "no connection could be opened\ncheck that a broker listens there".to_owned()
        } else if behind_tls {
            "the broker takes nobody without TLS, and these nodes connect without\n\
             name a broker, or a port of it, that does not ask for TLS"
                .to_owned()
        } else {
            let kinds = ServerError::ALL.iter().zip(counts.server_errors);
            let said = kinds.filter(|(_, times)| *times > 0);
            let said: Vec<_> =
                said.map(|(kind, times)| format!("{} ({times} times)", kind.name())).collect();
            let said = if said.is_empty() { "nothing".to_owned() } else { said.join(", ") };
            format!(
                "connections were opened and the broker accepted none; it said: {said}\n\
                 check its log, its limits and the credentials of the nodes"
            )
        };
        let servers = self.network.iter().flat_map(|network| &network.servers);
        let servers: Vec<_> = servers.map(|server| server.url.as_str()).collect();
        Ending::Failed(
            ExitCode::BrokerUnreachable,
            format!("no node could connect to {}: {reason}", servers.join(", ")),
        )
    }

    /// Writes down what the fleet is when the waves begin.
    async fn note_fleet(&mut self, took: Duration) -> Result<(), Ending> {
        let trouble = trouble(&self.network, &self.losses, &self.crew, self.stop);
        let Some(crew) = &self.crew else { return Err(fault("no crew")) };
        let look = async { (crew.look().await, crew.presence().await) };
        let note = || note_losses(&self.losses, &mut self.book, self.reporter);
        let (steps, presence) = meanwhile(look, trouble, note).await?;
        let counts = crew.counts();
        let others = crew.cost();
        let fleet = &mut self.book.run.tally.fleet;
        fleet.planned = counts.planned;
        fleet.connected = counts.connected;
        fleet.ever_connected = counts.ever_connected;
        fleet.connect_duration = took;
        fleet.subscriptions = counts.subscriptions;
        fleet.workers = crew.workers();
        let times = |step| latency(steps.of(step));
        fleet.connect = ConnectTimes {
            tcp: times(ConnectStep::Tcp),
            info: times(ConnectStep::Info),
            pong: times(ConnectStep::Connect),
            subscribed: times(ConnectStep::Subscribe),
            total: times(ConnectStep::Total),
        };
        for group in &self.setup.plan.groups {
            let indexes = group.first..group.first + group.nodes;
            let connected = indexes.filter(|index| presence.has(*index)).count() as u64;
            fleet.groups.insert(
                group.name.clone(),
                GroupTotals {
                    planned: group.nodes,
                    connected,
                    agents: group.agents_per_node(),
                    collectives: group.collectives.len() as u64,
                    subscriptions_per_node: group.subscriptions_per_node(),
                },
            );
        }
        // Where workers carry the nodes, this process has only driver and books.
        let rss_bytes = others.map_or_else(|| Usage::now().rss_bytes, |others| others.rss_bytes);
        self.book.run.tally.cost.emulator.rss_bytes = rss_bytes;
        self.book.run.tally.cost.emulator.rss_nodes = counts.connected;
        let (connected, planned) = (counts.connected, counts.planned);
        self.reporter.tell(Progress::Connected { connected, planned, took });
        let text =
            format!("{connected} of {planned} nodes connected in {:.2} s", took.as_secs_f64());
        let figures = json!({ "connected": connected, "planned": planned,
            "subscriptions": counts.subscriptions, "dials": counts.dials,
            "dial_failures": counts.dial_failures, "out_of_ports": counts.out_of_ports,
            "out_of_files": counts.out_of_files,
            "handshake_failures": counts.handshake_failures });
        self.book.event("connected", text, figures).map_err(broken)?;
        self.sample("connect")
    }
}

/// The addresses that nodes connect from: only on loopback is there more than the one of the host.
fn source_addresses(plan: &Plan) -> Vec<IpAddr> {
    let budget = Budget::of(plan, DEFAULT_PORT_RANGE);
    if budget.demand.loopback { budget.loopback_sources() } else { Vec::new() }
}

fn latency(histogram: &hdrhistogram::Histogram<u64>) -> Latency {
    let mut latency = Latency::default();
    for step in histogram.iter_recorded() {
        for _ in 0..step.count_at_value() {
            latency.record(Duration::from_micros(step.value_iterated_to()));
        }
    }
    latency
}
