//! One run, phase by phase. Every phase ends early when somebody asks to stop, a broker dies or a node
//! breaks; whatever was started is stopped in order afterwards, and what was measured is kept.

use std::time::{Duration, Instant};

use emulator::connection::server_error::ServerError;
use emulator::fleet::counts::ConnectStep;
use emulator::spec::{FleetSpec, Share};
use jiff::Timestamp;
use reports::latency::Latency;
use reports::run::{ConnectTimes, Ending, GroupTotals, Origin};
use reports::store::{Sample, StoreError};
use reports::verdict::{ExitCode, Severity};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::book::{Book, Witness};
use super::crowd::Crowd;
use super::early::{asked, broken, died, fault, trouble};
use super::evidence::gather;
use super::network::{Network, NetworkSample};
use super::orders::{clients, draft, orders};
use super::pending::Pending;
use super::{Finished, Progress, Reporter, RunError, Setup, StartUp, Stop, Strangers};
use crate::crew::Crew;
use crate::doctor::Check;
use crate::driver::{ConnectionOptions, Driver, Epoch, WaveDone, WaveFailure};
use crate::plan::{Budget, DEFAULT_PORT_RANGE, Seat};
use crate::watch::{LagWatch, Usage};

/// From the last preparation to the first wave.
const LEAD: Duration = Duration::from_millis(500);
/// How often progress is reported while nodes connect.
const TICK: Duration = Duration::from_millis(200);
/// How often the state of the run is written down.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// Without a new connection for this long, the waves begin with the nodes that there are.
const CONNECT_STALLED: Duration = Duration::from_secs(20);
/// A first message to ourselves takes this long at the most.
const SETTLE_WITHIN: Duration = Duration::from_secs(10);
/// Finished waves that may wait to be written down; then finished waves wait, running ones do not.
const WAVES_WAITING: usize = 64;

/// A run under way.
pub(super) struct Run<'a> {
    setup: &'a Setup,
    stop: &'a Stop,
    reporter: &'a Reporter,
    pub(super) book: Book,
    pub(super) network: Option<Network>,
    pub(super) crew: Option<Crew>,
    pub(super) driver: Option<Driver>,
    epoch: Epoch,
    pub(super) lag: LagWatch,
    pub(super) preflight: Vec<Check>,
    pub(super) waves_usage: Usage,
    pub(super) wave_failures: Vec<(String, Severity)>,
    replies: u64,
}

/// Runs the plan of `setup`; see [`super::run`].
pub(super) async fn run(
    setup: &Setup,
    stop: &Stop,
    reporter: &Reporter,
    preflight: Vec<Check>,
) -> Result<Finished, RunError> {
    let start = StartUp { at: Timestamp::now(), began: Instant::now() };
    let book = Book::open(setup, &start).map_err(unwritable)?;
    setup.log.attach(&book.path().join("run.log")).map_err(|error| RunError {
        code: ExitCode::Unexpected,
        message: format!("cannot write run.log in {}: {error}", book.path().display()),
    })?;
    reporter.tell(Progress::Folder(book.path().to_owned()));
    let mut run = Run {
        setup,
        stop,
        reporter,
        book,
        network: None,
        crew: None,
        driver: None,
        epoch: Epoch::at(start.began),
        lag: LagWatch::start(),
        preflight,
        waves_usage: Usage::default(),
        wave_failures: Vec::new(),
        replies: 0,
    };
    let ending = match run.phases().await {
        Ok(()) => Ending::Completed,
        Err(ending) => ending,
    };
    run.finish(ending).await
}

impl Run<'_> {
    async fn phases(&mut self) -> Result<(), Ending> {
        self.open_network().await?;
        // The driver comes before the fleet: what is wrong with an address or a login shows at its
        // first connection, and a full broker turns nodes away, which is counted, and not the driver.
        let crowd = match &self.setup.strangers {
            None => {
                let (spec, crowd) = self.muster()?;
                self.connect_driver(&crowd).await?;
                self.start_fleet(spec).await?;
                crowd
            }
            Some(strangers) => {
                let crowd = self.meet(strangers.clone()).await?;
                self.connect_driver(&crowd).await?;
                crowd
            }
        };
        self.waves(&crowd).await
    }

    async fn open_network(&mut self) -> Result<(), Ending> {
        let folder = self.book.subfolder("brokers").map_err(broken)?;
        let opened = tokio::select! {
            opened = Network::open(self.setup, folder, self.reporter) => opened,
            reason = self.stop.asked() => return Err(asked(reason)),
        };
        let network = opened.map_err(|error| Ending::Failed(error.code, error.message))?;
        // As nodes show it: without credentials.
        let urls: Vec<_> = network.servers.iter().map(|server| server.url.clone()).collect();
        let urls = urls.join(", ");
        self.network = Some(network);
        self.book.event("network", format!("brokers: {urls}"), json!({})).map_err(broken)
    }

    /// Works out the nodes and who of them must answer.
    fn muster(&self) -> Result<(FleetSpec, Crowd), Ending> {
        let plan = &self.setup.plan;
        let Some(network) = &self.network else { return Err(fault("no network")) };
        let budget = Budget::of(plan, DEFAULT_PORT_RANGE);
        let spec = plan.fleet_spec(&Seat {
            share: Share::WHOLE,
            shards: std::thread::available_parallelism().map_or(1, usize::from),
            servers: network.servers.clone(),
            source_addresses: budget.loopback_sources(),
            login: self.setup.login.clone(),
        });
        let crowd = Crowd::of_plan(plan, &spec).map_err(|error| fault(&error.to_string()))?;
        Ok((spec, crowd))
    }

    /// Connects the fleet and waits until it is complete, or gets no further.
    async fn start_fleet(&mut self, spec: FleetSpec) -> Result<(), Ending> {
        let began = Instant::now();
        self.crew = Some(Crew::start(spec).map_err(|error| fault(&error.to_string()))?);
        self.connecting().await?;
        self.note_fleet(began.elapsed()).await
    }

    async fn connecting(&mut self) -> Result<(), Ending> {
        let mut next_sample = Instant::now();
        let (mut last, mut moved) = (0, Instant::now());
        loop {
            let Some(crew) = &self.crew else { return Err(fault("no crew")) };
            let counts = crew.counts();
            if !crew.failures().is_empty() {
                return Err(fault(&crew.failures().join("; ")));
            }
            let (connected, planned) = (counts.connected, counts.planned);
            self.reporter.tell(Progress::Connecting { connected, planned });
            if connected != last {
                (last, moved) = (connected, Instant::now());
            }
            if connected >= planned || moved.elapsed() > self.connect_patience() {
                break;
            }
            if next_sample <= Instant::now() {
                next_sample += SAMPLE_EVERY;
                self.sample("connect").await?;
            }
            let Some((crew, network)) = self.crew.as_ref().zip(self.network.as_ref()) else {
                return Err(fault("no crew"));
            };
            tokio::select! {
                () = crew.connected() => {}
                () = tokio::time::sleep(TICK) => {}
                told = network.died() => return Err(died(told)),
                reason = self.stop.asked() => return Err(asked(reason)),
            }
        }
        if last == 0 {
            return Err(self.nobody_connected());
        }
        Ok(())
    }

    /// How long no new connection is no reason to go on: longer than the pause between two at a slow rate.
    fn connect_patience(&self) -> Duration {
        let rates = self.setup.plan.groups.iter().filter_map(|group| group.connect.rate_per_s);
        let slowest = rates.fold(f64::INFINITY, f64::min);
        CONNECT_STALLED + Duration::from_secs_f64((2.0 / slowest).clamp(0.0, 3600.0))
    }

    fn nobody_connected(&self) -> Ending {
        let counts = self.crew.as_ref().map(Crew::counts).unwrap_or_default();
        let reason = if counts.dial_failures == counts.dials {
            "no connection could be opened\ncheck that a broker listens there".to_owned()
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
        let Some(crew) = &self.crew else { return Err(fault("no crew")) };
        let (counts, steps) = (crew.counts(), crew.step_times());
        let usage = Usage::now();
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
            let connected = indexes.filter(|index| crew.is_connected(*index)).count() as u64;
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
        self.book.run.tally.cost.emulator.rss_bytes = usage.rss_bytes;
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
        self.sample("connect").await?;
        Ok(())
    }

    /// Finds out who is there, on a network whose nodes are not ours.
    async fn meet(&mut self, strangers: Strangers) -> Result<Crowd, Ending> {
        let plan = &self.setup.plan;
        let mut names = match &strangers {
            Strangers::Listed(names) => names.clone(),
            Strangers::Discovered | Strangers::Count(_) => self.discover().await?,
        };
        names.sort();
        names.dedup();
        let seen = names.len() as u64;
        let origin = match strangers {
            Strangers::Discovered => Origin::Discovered,
            Strangers::Count(expected) => Origin::Counted { expected, seen },
            Strangers::Listed(_) => Origin::Listed,
        };
        if let Strangers::Count(expected) = strangers {
            // Nodes that are expected and that nobody has seen have no names.
            let unseen = expected.saturating_sub(seen);
            let width = unseen.to_string().len();
            names.extend((1..=unseen).map(|number| format!("(never seen, {number:0width$})")));
        }
        if names.is_empty() {
            return Err(Ending::Failed(
                ExitCode::BrokerUnreachable,
                "no node answered the first discovery\n\
                 check the collective and the filter, wait longer, or name the nodes that must answer"
                    .to_owned(),
            ));
        }
        let figures = json!({ "nodes": names.len() });
        let text = format!("{} nodes have to answer", names.len());
        self.book.event("discovered", text, figures).map_err(broken)?;
        let nodes = names.len() as u64;
        self.book.run.tally.fleet.planned = nodes;
        self.book.run.about.origin = origin;
        self.reporter.tell(Progress::Met { nodes, origin });
        Crowd::of_strangers(plan, &names).map_err(|error| fault(&error.to_string()))
    }

    async fn discover(&mut self) -> Result<Vec<String>, Ending> {
        let plan = &self.setup.plan;
        let nobody = Crowd::of_strangers(plan, &[]).map_err(|error| fault(&error.to_string()))?;
        self.connect_driver(&nobody).await?;
        let Some(entry) = plan.entries.first() else { return Ok(Vec::new()) };
        let mut request = draft(plan, entry, 1).map_err(|error| fault(&error.to_string()))?;
        request.agent = "discovery".to_owned();
        request.body = emulator::protocol::client::DISCOVERY_BODY.to_owned();
        let id = format!("{:032x}", rand::random::<u128>());
        let patience = self.setup.discovery_timeout.unwrap_or(entry.deadline);
        self.reporter.tell(Progress::Discovering { patience });
        let Some(driver) = self.driver.take() else { return Err(fault("no driver")) };
        let found = tokio::select! {
            found = driver.discover(&request, &id, patience) => found,
            reason = self.stop.asked() => return Err(asked(reason)),
        };
        driver.close().await;
        found.map_err(|error| Ending::Failed(ExitCode::BrokerUnreachable, error.to_string()))
    }

    async fn connect_driver(&mut self, crowd: &Crowd) -> Result<(), Ending> {
        let Some(network) = &self.network else { return Err(fault("no network")) };
        let options =
            ConnectionOptions { servers: network.urls.clone(), ..self.setup.connection.clone() };
        let unreachable = |error: crate::driver::ClientError| {
            Ending::Failed(ExitCode::BrokerUnreachable, error.to_string())
        };
        let roster = crowd.roster.clone();
        let connect = async {
            let driver =
                Driver::connect(clients(&self.setup.plan), &options, roster, self.epoch).await?;
            driver.settle(SETTLE_WITHIN).await?;
            Ok(driver)
        };
        let driver = tokio::select! {
            connected = connect => connected.map_err(unreachable)?,
            told = network.died() => return Err(died(told)),
            reason = self.stop.asked() => return Err(asked(reason)),
        };
        if let Some(network) = &mut self.network {
            network.introduce(driver.brokers(), self.reporter);
        }
        self.driver = Some(driver);
        Ok(())
    }

    /// Sends all waves and writes each down when it is over.
    async fn waves(&mut self, crowd: &Crowd) -> Result<(), Ending> {
        let plan = &self.setup.plan;
        let go = self.epoch.now() + LEAD;
        let orders = orders(plan, crowd, go).map_err(|error| fault(&error.to_string()))?;
        self.reporter.tell(Progress::Waves { total: orders.len() as u64, longest: plan.longest() });
        let mut pending = Pending::new(&orders);
        let (sink, mut done) = mpsc::channel(WAVES_WAITING);
        let cancel = CancellationToken::new();
        let Some(driver) = self.driver.take() else { return Err(fault("no driver")) };
        let mut driving = Box::pin(driver.run(orders, sink, cancel.clone()));
        let mut driven = None;
        let before = Usage::now();
        self.lag.record(true);
        let mut ending = None;
        let mut next_sample = tokio::time::Instant::now();
        loop {
            if ending.is_none() {
                pending.open(self.crew.as_ref(), self.epoch.now());
            }
            let wake = pending.next(self.epoch).unwrap_or(next_sample).min(next_sample);
            tokio::select! {
                biased;
                wave = done.recv() => match wave {
                    Some(wave) => {
                        if let Err(error) = self.take(wave, crowd, &mut pending) {
                            ending.get_or_insert(broken(error));
                            cancel.cancel();
                        }
                    }
                    None if driven.is_some() => break,
                    // The sink is gone; the driver has only its last words left.
                    None => driven = Some((&mut driving).await),
                },
                result = &mut driving, if driven.is_none() => driven = Some(result),
                early = trouble(&self.network, &self.crew, self.stop), if ending.is_none() => {
                    ending = Some(early);
                    cancel.cancel();
                }
                () = tokio::time::sleep_until(wake) => {
                    if next_sample <= tokio::time::Instant::now() {
                        next_sample += SAMPLE_EVERY;
                        if let Err(early) = self.sample("waves").await {
                            ending.get_or_insert(early);
                            cancel.cancel();
                        }
                    }
                }
            }
        }
        self.lag.record(false);
        self.waves_usage = Usage::now().since(&before);
        drop(driving);
        self.driver = Some(driver);
        if let Some(Err(error)) = driven {
            ending.get_or_insert(fault(&error.to_string()));
        }
        ending.map_or(Ok(()), Err)
    }

    fn take(
        &mut self,
        wave: WaveDone,
        crowd: &Crowd,
        pending: &mut Pending,
    ) -> Result<(), StoreError> {
        let Some(order) = pending.take(&wave) else { return Ok(()) };
        let books = self.crew.as_ref().map(|crew| (crew, crew.close(&order.request_id)));
        let broker = self.network.as_ref().and_then(Network::name);
        let witness = Witness { crew: books, broker };
        self.replies += wave.result.on_time
            + wave.result.late
            + wave.result.duplicate
            + wave.result.unexpected
            + wave.result.undecodable;
        if let Some(failure) = &wave.failure {
            let text = format!("wave {} {}: {failure}", wave.key.name, wave.key.number);
            self.reporter.tell(Progress::Warning(text.clone()));
            // Nothing that is complete was lost for want of a confirmation.
            let complete = wave.result.on_time == wave.result.expected;
            let severity = match failure {
                WaveFailure::Unconfirmed if complete => Severity::Note,
                _ => Severity::Invalid,
            };
            self.wave_failures.push((text, severity));
        }
        self.book.wave(&wave, &order.expected, crowd, &witness)?;
        self.reporter.tell(Progress::Wave {
            name: wave.key.name.clone(),
            number: wave.key.number,
            warmup: wave.key.warmup,
            client: wave.key.client,
            result: Box::new(wave.result),
        });
        Ok(())
    }

    /// Writes down the state of the run at this instant.
    async fn sample(&mut self, phase: &str) -> Result<(), Ending> {
        let brokers = match &mut self.network {
            Some(network) => network.sample().await,
            None => NetworkSample::default(),
        };
        let counts = self.crew.as_ref().map(Crew::counts).unwrap_or_default();
        let lag = self.crew.as_ref().map(Crew::take_lag_max).unwrap_or_default();
        let usage = Usage::now();
        let sample = Sample {
            at: self.book.now(),
            phase: phase.to_owned(),
            connected: counts.connected,
            disconnects: counts.disconnects,
            received: counts.messages_in,
            answered: counts.replies,
            replies: self.replies,
            rss_bytes: usage.rss_bytes,
            cpu: usage.cpu(),
            scheduler_lag_max: self.lag.take_largest().max(lag),
            brokers_rss_bytes: brokers.rss_bytes,
            brokers_cpu: brokers.cpu,
            broker_connections: brokers.connections,
            broker_slow_consumers: brokers.slow_consumers,
        };
        self.book.sample(&sample).map_err(broken)
    }

    /// Takes the last figures, stops everything in order, judges, and writes the result.
    async fn finish(mut self, ending: Ending) -> Result<Finished, RunError> {
        self.reporter.tell(Progress::Stopping);
        // A full disk must not keep what was started running.
        let _ = self.sample("end").await;
        gather(&mut self);
        if let Some(driver) = self.driver.take() {
            driver.close().await;
        }
        if let Some(crew) = self.crew.take() {
            let _ = crew.stop().await;
        }
        if let Some(network) = self.network.take() {
            network.close().await;
        }
        let what_broke = match &ending {
            Ending::Failed(_, message) => format!("{message}\nand the result is not complete: "),
            _ => String::new(),
        };
        self.book.close(&self.setup.plan, ending).map_err(|error| RunError {
            code: ExitCode::Unexpected,
            message: format!("{what_broke}{error}"),
        })?;
        let folder = self.book.path().to_owned();
        Ok(Finished { result: self.book.run, folder })
    }

    /// Whether no fleet of ours is part of the run.
    pub(super) fn is_foreign(&self) -> bool {
        self.setup.strangers.is_some()
    }

    /// Replies that the driver has taken in.
    pub(super) fn replies(&self) -> u64 {
        self.replies
    }
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

fn unwritable(error: StoreError) -> RunError {
    RunError { code: ExitCode::Unexpected, message: error.to_string() }
}
