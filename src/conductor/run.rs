//! One run: what all its phases share; each phase has its file below. Every phase ends early when
//! somebody asks to stop, a broker dies or a node breaks; whatever was started is stopped in order
//! afterwards, and what was measured is kept.

mod assemble;
mod connect;
mod course;
mod finish;
mod meet;
mod waves;

use assemble::{note_if_possible, note_losses};
use std::collections::HashSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use reports::broker::BrokerCost;
use reports::run::Ending;
use reports::store::{Sample, StoreError};
use reports::verdict::{ExitCode, Severity};
use reports::wave::WaveKey;
use serde_json::json;

use super::book::Book;
use super::early::{broken, fault, meanwhile, noting, trouble};
use super::events;
use super::network::Network;
use super::telemetry::{Notice, Seen, Telemetry};
use super::timeline::{self, Programs};
use super::{Finished, Preflight, Progress, Reporter, RunError, Setup, StartUp, Stop};
use crate::crew::{Crew, Drivers, FarDriver, Losses, Mustered};
use crate::driver::{ConnectionOptions, Driver, Epoch, Listener, SeenBroker};
use crate::orders::{Crowd, clients, nonce};
use crate::scenario::CONDUCTOR;
use crate::watch::{Backlog, LagWatch, Usage};

/// How often the state of the run is written down.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// A first message to ourselves takes this long at the most.
const SETTLE_WITHIN: Duration = Duration::from_secs(10);

/// A run under way.
pub(super) struct Run<'a> {
    setup: &'a Setup,
    stop: &'a Stop,
    reporter: &'a Reporter,
    pub(super) book: Book,
    pub(super) network: Option<Network>,
    pub(super) telemetry: Option<Telemetry>,
    /// Worker processes that are to carry the nodes; 0: this process carries them.
    workers: u64,
    /// They, until they have their shares.
    mustered: Option<Mustered>,
    /// Which of them are lost.
    losses: Option<Losses>,
    /// The workers that have a driver.
    drivers: Option<Drivers>,
    /// What is known of those drivers when their waves are over.
    pub(super) far: Vec<FarDriver>,
    pub(super) crew: Option<Crew>,
    pub(super) driver: Option<Driver>,
    listener: Option<Listener>,
    epoch: Epoch,
    pub(super) lag: LagWatch,
    /// What the doctor warns of, each with what to do about it.
    pub(super) warnings: Vec<(String, String)>,
    pub(super) waves_usage: Usage,
    pub(super) waves_wall: Duration,
    pub(super) wave_failures: Vec<(String, Severity)>,
    /// Waves that were late because the broker did not confirm their subscription in time.
    pub(super) waited_for_broker: HashSet<WaveKey>,
    /// The longest queue of replies that any wave had in the driver.
    pub(super) backlog: Option<Backlog>,
    replies: u64,
    programs: Programs,
    /// What sets the request ids of this run apart.
    nonce: u64,
}

/// Runs the plan of `setup`; see [`super::run`].
pub(super) async fn run(
    setup: &Setup,
    stop: &Stop,
    reporter: &Reporter,
    Preflight { warnings, workers }: Preflight,
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
        telemetry: None,
        crew: None,
        driver: None,
        listener: None,
        epoch: Epoch::at(start.began),
        lag: LagWatch::start(),
        warnings,
        workers,
        mustered: None,
        losses: None,
        drivers: None,
        far: Vec::new(),
        waves_usage: Usage::default(),
        waves_wall: Duration::ZERO,
        wave_failures: Vec::new(),
        waited_for_broker: HashSet::new(),
        backlog: None,
        replies: 0,
        programs: Programs::new(),
        nonce: nonce(&setup.plan),
    };
    let ending = match run.phases().await {
        Ok(()) => Ending::Completed,
        Err(ending) => ending,
    };
    run.finish(ending).await
}

impl Run<'_> {
    async fn phases(&mut self) -> Result<(), Ending> {
        self.assemble().await?;
        self.open_network().await?;
        // The driver comes before the fleet: what is wrong with an address or a login shows at its
        // first connection, and a full broker turns nodes away, which is counted, and not the driver.
        let crowd = match &self.setup.strangers {
            None => {
                let (spec, crowd) = self.muster()?;
                self.connect_driver(&crowd).await?;
                self.listen(&crowd).await?;
                self.start_fleet(spec).await?;
                self.prove_interest().await?;
                crowd
            }
            Some(strangers) => {
                if let Some(network) = &mut self.network {
                    network.end_probes().await;
                }
                let crowd = self.meet(strangers.clone()).await?;
                self.connect_driver(&crowd).await?;
                crowd
            }
        };
        self.waves(&crowd).await
    }

    async fn open_network(&mut self) -> Result<(), Ending> {
        let folder = self.book.subfolder("brokers").map_err(broken)?;
        let (setup, reporter) = (self.setup, self.reporter);
        let open = async {
            // What a step will need is there before anything is started.
            let programs = timeline::programs(setup, reporter).await?;
            Ok((programs, Network::open(setup, folder, reporter).await?))
        };
        let trouble = trouble(&None, &self.losses, &self.crew, self.stop);
        let note = || note_losses(&self.losses, &mut self.book, reporter);
        let opened: Result<_, RunError> = meanwhile(open, trouble, note).await?;
        let (programs, network) =
            opened.map_err(|error| Ending::Failed(error.code, error.message))?;
        // As nodes show it: without credentials.
        let urls: Vec<_> = network.servers.iter().map(|server| server.url.clone()).collect();
        let urls = urls.join(", ");
        let mut telemetry = Telemetry::start(network.managed(), network.watched(), self.epoch);
        for (name, left_out) in network.left_out() {
            let keys = left_out.iter().map(|left| left.key.to_owned()).collect();
            telemetry.introduce(vec![(
                name.clone(),
                BrokerCost { left_out: keys, ..BrokerCost::default() },
            )]);
            for left in left_out {
                let text = format!("broker {name} is not told {}: {}", left.key, left.effect);
                let figures = json!({ "broker": name, "key": left.key });
                self.book.event("left_out", text, figures).map_err(broken)?;
            }
        }
        self.telemetry = Some(telemetry);
        if let Some(forming) = network.forming() {
            self.book.run.tally.forming = Some(forming.clone());
            let took = forming.formed.as_secs_f64();
            let figures = json!({ "links": forming.links, "formed_s": took });
            let text = format!("network formed in {took:.2} s");
            self.book.event("formed", text, figures).map_err(broken)?;
        }
        self.network = Some(network);
        self.programs = programs;
        self.book.event("network", format!("brokers: {urls}"), json!({})).map_err(broken)
    }

    /// Waits until the brokers of the clients know of all subscriptions of the nodes.
    async fn prove_interest(&mut self) -> Result<(), Ending> {
        let trouble = trouble(&self.network, &self.losses, &self.crew, self.stop);
        let Some(network) = &mut self.network else { return Err(fault("no network")) };
        let proved = network.prove_interest(&self.setup.plan);
        let note = || note_losses(&self.losses, &mut self.book, self.reporter);
        let proved = meanwhile(proved, trouble, note).await?;
        let took = proved.map_err(|error| Ending::Failed(error.code, error.message))?;
        if let Some(took) = took {
            if let Some(forming) = &mut self.book.run.tally.forming {
                forming.interest = Some(took);
            }
            let seconds = took.as_secs_f64();
            let text = format!("interest of all nodes known in {seconds:.3} s");
            self.book.event("interest", text, json!({ "interest_s": seconds })).map_err(broken)?;
        }
        Ok(())
    }

    async fn connect_driver(&mut self, crowd: &Crowd) -> Result<(), Ending> {
        let Some(network) = &self.network else { return Err(fault("no network")) };
        let plan = &self.setup.plan;
        let servers = network.client_urls(plan, 1);
        let options = ConnectionOptions { servers, ..self.setup.connection.clone() };
        let clients = clients(plan, CONDUCTOR, network.urls());
        let unreachable = |error: crate::driver::ClientError| {
            Ending::Failed(ExitCode::BrokerUnreachable, error.to_string())
        };
        let roster = crowd.roster.clone();
        let connect = async {
            let driver = Driver::connect(clients, &options, roster, self.epoch).await?;
            driver.settle(SETTLE_WITHIN).await?;
            Ok(driver)
        };
        let trouble = trouble(&self.network, &self.losses, &self.crew, self.stop);
        let note = || note_losses(&self.losses, &mut self.book, self.reporter);
        let driver = meanwhile(connect, trouble, note).await?.map_err(unreachable)?;
        self.introduce(driver.brokers());
        self.driver = Some(driver);
        Ok(())
    }

    /// Connects what hears nodes that speak unasked.
    async fn listen(&mut self, crowd: &Crowd) -> Result<(), Ending> {
        let Some(network) = &self.network else { return Err(fault("no network")) };
        let listen = events::listen(self.setup, network, crowd, self.epoch);
        let trouble = trouble(&self.network, &self.losses, &self.crew, self.stop);
        let note = || note_losses(&self.losses, &mut self.book, self.reporter);
        self.listener = meanwhile(listen, trouble, note).await??;
        Ok(())
    }

    /// Takes note of the brokers that clients are connected to.
    fn introduce(&mut self, brokers: Vec<SeenBroker>) {
        if let (Some(network), Some(telemetry)) = (&mut self.network, &mut self.telemetry) {
            telemetry.introduce(network.introduced(brokers, self.reporter));
        }
    }

    /// Writes down the state of the run at this instant, and what was seen of brokers until now.
    fn sample(&mut self, phase: &str) -> Result<(), Ending> {
        let counts = self.crew.as_ref().map(Crew::counts).unwrap_or_default();
        let lag = self.crew.as_ref().map(Crew::take_lag_max).unwrap_or_default();
        let usage = Usage::now();
        let others = self.crew.as_ref().and_then(Crew::cost).unwrap_or_default();
        let sample = Sample {
            at: self.book.now(),
            phase: phase.to_owned(),
            connected: counts.connected,
            disconnects: counts.disconnects,
            received: counts.messages_in,
            answered: counts.replies,
            replies: self.replies,
            rss_bytes: usage.rss_bytes + others.rss_bytes,
            cpu: usage.cpu() + others.cpu,
            scheduler_lag_max: self.lag.take_largest().max(lag),
        };
        let Seen { rows, notices } =
            self.telemetry.as_ref().map(Telemetry::take).unwrap_or_default();
        for Notice { kind, text, figures } in notices {
            self.book.event(kind, text, figures).map_err(broken)?;
        }
        self.book.sample(&sample, &rows).map_err(broken)?;
        self.hear_of_workers().map_err(broken)
    }

    /// Looks at the connections of the brokers, between two phases.
    async fn inspect(&mut self, when: &'static str) {
        if let Some(telemetry) = &self.telemetry {
            let note = || note_if_possible(&self.losses, &mut self.book, self.reporter);
            noting(telemetry.inspect(when), note).await;
        }
    }

    fn enter(&self, phase: &'static str) {
        if let Some(telemetry) = &self.telemetry {
            telemetry.enter(phase);
        }
    }

    /// Whether no fleet of ours is part of the run.
    pub(super) fn is_foreign(&self) -> bool {
        self.setup.strangers.is_some()
    }

    /// Whether any threshold judges the run.
    pub(super) fn is_judged(&self) -> bool {
        !self.setup.plan.thresholds.is_empty()
    }

    /// Whether any client is here.
    pub(super) fn drives(&self) -> bool {
        !self.setup.plan.clients_at(CONDUCTOR).is_empty()
    }

    /// Replies that the driver has taken in.
    pub(super) fn replies(&self) -> u64 {
        self.replies
    }
}

fn unwritable(error: StoreError) -> RunError {
    RunError { code: ExitCode::Unexpected, message: error.to_string() }
}
