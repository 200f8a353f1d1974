//! The nodes of a worker, and everything that is ordered of them.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use emulator::fleet::counts::FleetCounts;
use emulator::fleet::ledger::Ledger;
use emulator::fleet::{Fleet, Meter};
use emulator::spec::{FleetSpec, Share};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::timeout;

use super::reporting::Outbox;
use crate::control::messages::{Assignment, Outcome, Pulse, Report, Spent, Steps, micros};
use crate::control::{IndexRuns, Line, Runs};
use crate::doctor::Host;
use crate::driver::Presence;
use crate::plan::{Demand, Plan, Seat, connections_of_emulator, thousands};
use crate::watch::{Activity, Usage};

/// Time for all nodes to end in order; the conductor waits a little longer.
const END_WITHIN: Duration = Duration::from_secs(40);

/// The nodes of a worker, from the order that prepares them to the one that ends them.
pub(super) struct Carrier {
    name: String,
    /// Id of the run that it takes part in, since it does.
    run: OnceLock<String>,
    state: Mutex<State>,
    /// Since the nodes started.
    meter: OnceLock<Meter>,
    /// CPU time while requests were under way.
    activity: Mutex<Activity>,
    /// The connections of the driver that is here, if one is.
    clients: OnceLock<Presence>,
}

/// The end of all nodes, for whoever waits for it.
type Ending = Shared<BoxFuture<'static, FleetCounts>>;

#[derive(Default)]
struct State {
    prepared: Option<FleetSpec>,
    fleet: Option<Fleet>,
    /// Since they are to end.
    ending: Option<Ending>,
    share: Option<Share>,
    /// Global indexes are below this.
    end: u64,
    /// The request whose book is being read out in parts.
    closing: Option<(String, Option<Arc<Ledger>>)>,
    outbox: Option<Outbox>,
}

impl Carrier {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            run: OnceLock::new(),
            state: Mutex::default(),
            meter: OnceLock::new(),
            activity: Mutex::default(),
            clients: OnceLock::new(),
        }
    }

    /// It takes part in a run.
    pub(super) fn joins(&self, run: &str) {
        let _ = self.run.set(run.to_owned());
    }

    /// Id of the run that it takes part in.
    pub(super) fn run(&self) -> Option<&str> {
        self.run.get().map(String::as_str)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a share of a plan, unless this process cannot carry it.
    pub(super) fn prepare(&self, plan: &Plan, assignment: Assignment) -> Result<(), String> {
        let Assignment { digest, share, shards, servers, source_addresses, login } = assignment;
        let read = plan.digest();
        if read != digest {
            return Err(format!(
                "{}: the plan was sent as {digest} and is read as {read}",
                self.name
            ));
        }
        let nodes = Demand::of(plan).largest_share(share.of);
        self.can_carry(nodes, plan.client_connections(&self.name))?;
        let shards = usize::try_from(shards).unwrap_or(1);
        let spec = plan.fleet_spec(&Seat { share, shards, servers, source_addresses, login });
        let end = spec.groups.iter().map(|group| group.first + group.nodes).max().unwrap_or(0);
        let mut state = self.state();
        (state.prepared, state.share, state.end) = (Some(spec), Some(share), end);
        Ok(())
    }

    fn can_carry(&self, nodes: u64, of_driver: u64) -> Result<(), String> {
        let host = Host::read().map_err(|error| error.to_string())?;
        let most = connections_of_emulator(host.open_files_hard).saturating_sub(of_driver);
        if nodes <= most {
            return Ok(());
        }
        Err(format!(
            "worker {} on {} may open {} files, which is {} nodes, and its share has up to {}\n\
             raise its hard limit (LimitNOFILE= of a unit, or prlimit), or take more workers",
            self.name,
            host.name,
            thousands(host.open_files_hard),
            thousands(most),
            thousands(nodes),
        ))
    }

    /// Starts the nodes, `at` since the beginning of the run, and what sends their figures.
    pub(super) fn start(&self, at: Duration, line: &Line, subject: String) -> Result<(), String> {
        let spec = self.state().prepared.take();
        let spec = spec.ok_or_else(|| format!("{}: started without a share", self.name))?;
        let fleet = Fleet::start(spec).map_err(|error| format!("{}: {error}", self.name))?;
        let meter = fleet.meter();
        let _ = self.meter.set(meter.clone());
        let mut state = self.state();
        state.fleet = Some(fleet);
        state.outbox = Some(Outbox::start(line, subject, at));
        Ok(())
    }

    /// A driver is here: pulses tell how many of its connections are away.
    pub(super) fn watch_clients(&self, clients: Presence) {
        let _ = self.clients.set(clients);
    }

    /// The counters at this moment.
    pub(super) fn counts(&self) -> FleetCounts {
        self.meter.get().map(Meter::counts).unwrap_or_default()
    }

    /// What the worker costs.
    pub(super) fn spent(&self) -> Spent {
        let (_, used) = self.activity().total();
        Spent::of(&Usage::now(), used.fleet_cpu)
    }

    fn activity(&self) -> MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows that the worker is there; what it counts goes to the outbox too, if that is due.
    pub(super) fn pulse(&self, slice_is_due: bool) -> Pulse {
        let clients_away = self.clients.get().map_or(0, Presence::away);
        let Some(meter) = self.meter.get() else {
            let (spent, counts, failures) = (self.spent(), Vec::new(), Vec::new());
            return Pulse { counts, lag_us_max: 0, spent, failures, clients_away };
        };
        let (counts, spent) = (meter.counts(), self.spent());
        let lag_us_max = micros(meter.take_lag_max());
        if let Some(outbox) = &mut self.state().outbox {
            outbox.note(lag_us_max);
            if slice_is_due {
                outbox.offer(counts, meter.step_times(), spent);
            }
        }
        let (counts, failures) = (counts.numbers(), meter.failures());
        Pulse { counts, lag_us_max, spent, failures, clients_away }
    }

    /// Everything counted so far.
    pub(super) fn report(&self) -> Report {
        let meter = self.meter.get();
        Report {
            slices: self.state().outbox.as_ref().map_or(0, Outbox::sent),
            counts: meter.map(Meter::counts).unwrap_or_default().numbers(),
            steps: Steps::of(&meter.map(Meter::step_times).unwrap_or_default()),
            spent: self.spent(),
        }
    }

    /// Opens the book of a request.
    pub(super) fn open(&self, request_id: &str) {
        if let Some(fleet) = &self.state().fleet {
            fleet.open_ledger(request_id);
            self.activity().begin(Instant::now(), Usage::now);
        }
    }

    /// What became of a request at these nodes; closes its book with the last of them.
    pub(super) fn close(&self, request_id: &str, nodes: &IndexRuns, last: bool) -> Runs<Outcome> {
        let mut state = self.state();
        let State { fleet, closing, end, .. } = &mut *state;
        let Some(fleet) = fleet else { return nodes.below(*end).map(|_| (None, None)).collect() };
        if closing.as_ref().is_none_or(|(id, _)| id != request_id) {
            *closing = Some((request_id.to_owned(), fleet.close_ledger(request_id)));
        }
        let ledger = closing.as_ref().and_then(|(_, ledger)| ledger.clone());
        let outcome = |index| match &ledger {
            Some(ledger) => (fleet.fate(ledger, index), fleet.refuge(ledger, index)),
            None => (None, None),
        };
        let outcomes = nodes.below(*end).map(outcome).collect();
        if last {
            *closing = None;
            self.activity().end(Instant::now(), Usage::now);
        }
        outcomes
    }

    /// Which nodes are connected.
    pub(super) fn connected(&self) -> IndexRuns {
        let state = self.state();
        let (Some(fleet), Some(share)) = (&state.fleet, state.share) else {
            return IndexRuns::default();
        };
        let mine = (share.index..state.end).step_by(usize::try_from(share.of).unwrap_or(1).max(1));
        IndexRuns::of(share.of, mine.filter(|index| fleet.is_connected(*index)))
    }

    /// Ends all nodes in order. Where it is called again after somebody did not wait for it, it goes on with the same
    /// nodes.
    pub(super) async fn end_nodes(&self) -> Result<(), String> {
        if let Some(ending) = self.ending()
            && timeout(END_WITHIN, ending).await.is_err()
        {
            let patience = END_WITHIN.as_secs();
            return Err(format!("{}: its nodes did not end within {patience} s", self.name));
        }
        Ok(())
    }

    /// Ends all nodes in order and sends the last figures; tells everything counted.
    pub(super) async fn stop(&self) -> Result<Report, String> {
        self.end_nodes().await?;
        let outbox = self.state().outbox.take();
        let Some((meter, mut outbox)) = self.meter.get().zip(outbox) else {
            return Ok(self.report());
        };
        let slices = outbox.finish(meter.counts(), meter.step_times(), self.spent()).await;
        // As long as this worker is there, so are its last slices.
        self.state().outbox = Some(outbox);
        Ok(Report { slices, ..self.report() })
    }

    /// Ends what sends figures.
    pub(super) async fn fall_silent(&self) {
        let outbox = self.state().outbox.take();
        if let Some(outbox) = outbox {
            outbox.close().await;
        }
    }

    /// The end of the nodes, from now on or for some time already; `None`: there are none.
    fn ending(&self) -> Option<Ending> {
        let mut state = self.state();
        let State { fleet, ending, .. } = &mut *state;
        if let Some(fleet) = fleet.take() {
            *ending = Some(fleet.stop().boxed().shared());
        }
        ending.clone()
    }
}
