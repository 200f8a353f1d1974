//! What looks at the brokers while a run goes on: each once a second, for itself, on the axis of time
//! that the waves have.
//!
//! A broker that does not answer holds up nobody: its look has a bound, the others have tasks of their
//! own, and the run takes what is there. What is asked in the loop is cheap (`broker::monitor`); the
//! expensive looks at connections are for before and after a phase ([`Telemetry::inspect`]).

mod eye;
mod lives;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use reports::broker::{BrokerCost, Links};
use reports::store::BrokerRow;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use self::eye::Eye;
use crate::broker::{Broker, Monitor, Varz};
use crate::driver::Epoch;

/// From one look to the next.
const EVERY: Duration = Duration::from_secs(1);

/// The phase in which waves run.
pub(super) const WAVES: &str = "waves";

/// The eyes of a run on its brokers.
pub(super) struct Telemetry {
    eyes: Vec<Arc<Eye>>,
    /// Brokers that nobody looks at, by what they said when they were reached.
    introduced: BTreeMap<String, BrokerCost>,
    phase: Arc<Mutex<&'static str>>,
    // Dropped with this value, and the tasks with it.
    looking: JoinSet<()>,
}

/// What was seen since this was last asked.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) rows: Vec<BrokerRow>,
    pub(super) notices: Vec<Notice>,
}

/// Something about a broker that is worth an event.
pub(super) struct Notice {
    pub(super) kind: &'static str,
    pub(super) text: String,
    pub(super) figures: Value,
}

impl Telemetry {
    /// Starts looking at managed brokers, and at others of which it is known how they are asked and
    /// what they said first.
    pub(super) fn start(managed: &[Broker], others: Vec<(Monitor, Varz)>, epoch: Epoch) -> Self {
        let phase = Arc::new(Mutex::new("start"));
        let of_managed = managed.iter().map(|broker| {
            let version = broker.program().version.to_string();
            Eye::on_managed(broker.control(), version, epoch, Arc::clone(&phase))
        });
        let external = (1..).zip(others).map(|(number, (monitor, varz))| {
            Eye::on_external(number, monitor, &varz, epoch, Arc::clone(&phase))
        });
        let eyes: Vec<_> = of_managed.chain(external).map(Arc::new).collect();
        let mut looking = JoinSet::new();
        for eye in &eyes {
            looking.spawn(look_again_and_again(Arc::clone(eye)));
        }
        Self { eyes, introduced: BTreeMap::new(), phase, looking }
    }

    /// From now on the run does this.
    pub(super) fn enter(&self, phase: &'static str) {
        self.eyes.iter().for_each(|eye| eye.count_cpu());
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    /// Takes note of brokers by what they say of themselves.
    pub(super) fn introduce(&mut self, brokers: Vec<(String, BrokerCost)>) {
        self.introduced.extend(brokers);
    }

    /// What was seen since this was last asked, in order of time.
    pub(super) fn take(&self) -> Seen {
        let mut seen = Seen::default();
        self.eyes.iter().for_each(|eye| eye.take(&mut seen));
        seen.rows.sort_by_key(|row| row.at);
        seen
    }

    /// Looks at all of them now, at the same time.
    pub(super) async fn look(&self) {
        join_all(self.eyes.iter().map(|eye| eye.look())).await;
    }

    /// Takes the expensive look at the connections of all of them, at the same time: `when` is before or
    /// after a phase.
    pub(super) async fn inspect(&self, when: &'static str) {
        join_all(self.eyes.iter().map(|eye| eye.inspect(when))).await;
    }

    /// What was seen of each broker, by name.
    pub(super) fn costs(&self) -> BTreeMap<String, BrokerCost> {
        let mut costs = self.introduced.clone();
        for eye in &self.eyes {
            costs.entry(eye.name().to_owned()).or_default().merge(&eye.cost());
        }
        self.name_peers(&mut costs);
        costs
    }

    /// Gives links their names that lead to an identity: older releases tell no more.
    fn name_peers(&self, costs: &mut BTreeMap<String, BrokerCost>) {
        let names =
            self.eyes.iter().flat_map(|eye| eye.ids().into_iter().map(|id| (id, eye.name())));
        let names: BTreeMap<String, &str> = names.collect();
        for cost in costs.values_mut() {
            let mut links = Links::new();
            for (peer, link) in std::mem::take(&mut cost.links) {
                let peer = names.get(&peer).map_or(peer, |name| (*name).to_owned());
                links.entry(peer).or_default().merge(&link);
            }
            cost.links = links;
        }
    }

    /// Ends the looking.
    pub(super) async fn stop(mut self) {
        self.looking.shutdown().await;
    }
}

async fn look_again_and_again(eye: Arc<Eye>) {
    let mut ticks = interval(EVERY);
    // After a look that took long the next comes a second later, not at once.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        eye.look().await;
    }
}

fn silence(name: &str, why: &str) -> Notice {
    Notice {
        kind: "monitoring_silent",
        text: format!("monitoring of broker {name} does not answer: {why}"),
        figures: json!({ "broker": name }),
    }
}
