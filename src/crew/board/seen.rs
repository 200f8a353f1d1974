//! What a [`Board`](super::Board) holds: the workers, and what is known of each.

use emulator::fleet::counts::{FleetCounts, StepTimes};
use reports::store::WorkerRow;

use crate::control::Silence;
use crate::control::messages::{Card, Spent};

/// What is known.
#[derive(Debug, Default)]
pub(in crate::crew) struct Seen {
    /// By number.
    pub(in crate::crew) workers: Vec<Worker>,
    /// Workers that were turned away, and why.
    pub(in crate::crew) refused: Vec<String>,
    /// Workers of our own that ended before they took part, and how.
    pub(in crate::crew) stillborn: Vec<String>,
    /// The run is about to end: nobody is let in any more.
    pub(in crate::crew) closed: bool,
    /// Why no worker can be heard any more.
    pub(super) deaf: Option<String>,
    /// A run that is conducted over the same control broker and goes before this one.
    pub(super) rival: Option<String>,
    /// Workers that were lost, not yet told.
    pub(super) untold: Vec<String>,
    /// What workers that are there did not tell when they were asked.
    pub(super) lacking: Vec<String>,
    pub(super) rows: Vec<WorkerRow>,
}

/// One worker.
#[derive(Debug)]
pub(in crate::crew) struct Worker {
    pub(in crate::crew) card: Card,
    /// Nodes of its share.
    pub(in crate::crew) nodes: u64,
    pub(in crate::crew) silence: Silence,
    /// How it ended that missed its conductor, until it is lost.
    pub(super) last_words: Option<String>,
    /// `Some`: it is lost, and why.
    pub(in crate::crew) lost: Option<String>,
    /// It was told to go: to end in order is no loss.
    pub(in crate::crew) leaving: bool,
    /// It has a driver: without it the run cannot go on, whatever is tolerated.
    pub(in crate::crew) drives: bool,
    /// Connections of that driver that are away.
    pub(in crate::crew) clients_away: u64,
    /// It has told what it counted in all, or nobody wants to know: it may be gone.
    pub(in crate::crew) released: bool,
    /// As of the last pulse or report.
    pub(in crate::crew) counts: FleetCounts,
    pub(in crate::crew) spent: Spent,
    pub(in crate::crew) failures: Vec<String>,
    /// The most memory that it had at any look.
    pub(super) rss_bytes_max: u64,
    pub(super) lag_us_max: u64,
    /// The sum of its slices.
    pub(in crate::crew) sum: FleetCounts,
    pub(in crate::crew) steps: StepTimes,
    pub(in crate::crew) slices: u64,
    /// The longest lag in any slice.
    pub(super) lag_us_worst: u64,
}

impl Worker {
    pub(in crate::crew) fn new(card: Card, nodes: u64) -> Self {
        Self {
            card,
            nodes,
            silence: Silence::default(),
            last_words: None,
            lost: None,
            leaving: false,
            drives: false,
            clients_away: 0,
            released: false,
            counts: FleetCounts::default(),
            spent: Spent::default(),
            failures: Vec::new(),
            rss_bytes_max: 0,
            lag_us_max: 0,
            sum: FleetCounts::default(),
            steps: StepTimes::default(),
            slices: 0,
            lag_us_worst: 0,
        }
    }

    pub(super) fn spend(&mut self, spent: Spent) {
        self.spent = self.spent.then(spent);
        self.rss_bytes_max = self.rss_bytes_max.max(spent.rss_bytes);
    }

    /// As people are told of it: `w2 on host b (process 17)`.
    pub(in crate::crew) fn in_words(&self) -> String {
        format!("{} on {} (process {})", self.card.name, self.card.host.name, self.card.pid)
    }
}

impl Seen {
    /// A worker is lost; false if that is known, or it has told what it counted in all.
    pub(super) fn lose(&mut self, number: u64, why: &str) -> bool {
        let Some(worker) = self.worker(number) else { return false };
        if worker.lost.is_some() || worker.released {
            return false;
        }
        worker.lost = Some(why.to_owned());
        let told =
            format!("worker {} with {} nodes is lost: {why}", worker.in_words(), worker.nodes);
        tracing::warn!("{told}");
        self.untold.push(told);
        true
    }

    /// The names of all workers.
    pub(in crate::crew) fn names(&self) -> String {
        let mut names: Vec<_> = self.workers.iter().map(|one| one.card.name.as_str()).collect();
        names.sort_unstable();
        names.join(", ")
    }

    /// Those of `places` that no worker is called by.
    pub(in crate::crew) fn without<'a>(&self, places: &[&'a str]) -> Vec<&'a str> {
        let is_there = |place: &&str| self.workers.iter().any(|one| one.card.name == **place);
        places.iter().copied().filter(|place| !is_there(place)).collect()
    }

    pub(in crate::crew) fn worker(&mut self, number: u64) -> Option<&mut Worker> {
        self.workers.get_mut(usize::try_from(number).ok()?)
    }
}
