//! What a conductor knows of its workers: who they are, whether they are there, and what they counted.
//!
//! Written by the tasks that listen, read by anyone. Everything about one worker is in one place, and everything
//! of a run is a sum over workers.

mod seen;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use emulator::connection::server_error::ServerError;
use emulator::fleet::counts::FleetCounts;
use reports::store::WorkerRow;
use reports::verdict::ExitCode;
use reports::worker::WorkerResult;
use tokio::sync::Notify;

pub(super) use self::seen::{Seen, Worker};
use super::CrewError;
use crate::child::Exit;
use crate::control::messages::{Pulse, Report, Slice, Spent, Steps};
use crate::control::{LOST_AFTER, TICK};

/// Rows of slices that wait to be written down: ten minutes of twenty workers.
const ROWS_KEPT: usize = 12_000;
/// Reasons for turning workers away that are kept; a unit that starts its worker again makes one every few
/// seconds.
const REFUSALS_KEPT: usize = 20;

/// Workers that fall silent within this time are lost together, not the first of them alone: what they have in
/// common is told then. Longer than from one pulse to the next and one tick, so that a way that is closed to
/// all of them is told as such.
const TOGETHER: Duration = TICK.saturating_mul(2);
/// A loss is on the board within 4.75 s of the last sign of life: whoever looks at it every 200 ms tells within five.
const _: () = assert!(LOST_AFTER.as_millis() + TOGETHER.as_millis() + TICK.as_millis() <= 4_750);

/// All workers of a run.
#[derive(Debug)]
pub(super) struct Board {
    /// Nodes of the plan.
    nodes: u64,
    seen: Mutex<Seen>,
    /// Something changed.
    pub(super) changed: Notify,
}

impl Board {
    /// For the workers that are to carry so many nodes.
    pub(super) fn new(nodes: u64) -> Self {
        Self { nodes, seen: Mutex::default(), changed: Notify::new() }
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over a pulse; why the worker is lost, if it is: it is counted no more.
    pub(super) fn pulse(&self, number: u64, pulse: Pulse) -> Option<String> {
        let mut seen = self.seen();
        let worker = seen.worker(number)?;
        if worker.lost.is_some() {
            return worker.lost.clone();
        }
        // Its account counts, and a pulse from before it may come after it.
        if worker.released {
            return None;
        }
        // What it said before it ended may come later than its end.
        if worker.last_words.is_none() {
            worker.silence.heard();
        }
        // Before its nodes start it counts nothing.
        if let Some(counts) = FleetCounts::of_numbers(&pulse.counts) {
            worker.counts = counts;
        }
        worker.spend(pulse.spent);
        worker.failures = pulse.failures;
        worker.clients_away = pulse.clients_away;
        worker.lag_us_max = worker.lag_us_max.max(pulse.lag_us_max);
        drop(seen);
        self.changed.notify_waiters();
        None
    }

    /// Takes over everything that a worker says it counted.
    pub(super) fn report(&self, number: u64, report: &Report) {
        let mut seen = self.seen();
        let Some(worker) = seen.worker(number) else { return };
        if let Some(counts) = FleetCounts::of_numbers(&report.counts) {
            worker.counts = counts;
        }
        worker.spend(report.spent);
    }

    /// Takes over a slice, unless it is there already; `Err`: it does not follow upon the last one.
    pub(super) fn slice(&self, number: u64, slice: &Slice) -> Result<(), String> {
        let mut seen = self.seen();
        let Some(worker) = seen.worker(number) else { return Ok(()) };
        if slice.number <= worker.slices || worker.lost.is_some() {
            return Ok(());
        }
        let name = worker.card.name.clone();
        if slice.number != worker.slices + 1 {
            let last = worker.slices;
            return Err(format!("slice {} of worker {name} came after {last}", slice.number));
        }
        let counts = FleetCounts::of_numbers(&slice.counts);
        let steps = slice.steps.as_ref().map(|steps| steps.times());
        let (Some(counts), None | Some(Some(_))) = (counts, &steps) else {
            return Err(format!("slice {} of worker {name} cannot be read", slice.number));
        };
        worker.sum.merge(&counts);
        if let Some(steps) = steps.flatten() {
            worker.steps.merge(&steps);
        }
        worker.slices = slice.number;
        worker.lag_us_worst = worker.lag_us_worst.max(slice.lag_us_max);
        let row = WorkerRow {
            at: Duration::from_micros(slice.at_us),
            worker: name,
            connected: worker.sum.connected,
            disconnects: worker.sum.disconnects,
            received: worker.sum.messages_in,
            answered: worker.sum.replies,
            rss_bytes: slice.spent.rss_bytes,
            cpu: slice.spent.cpu(),
            lag_max: Duration::from_micros(slice.lag_us_max),
        };
        if seen.rows.len() < ROWS_KEPT {
            seen.rows.push(row);
        } else {
            tracing::warn!(
                worker = row.worker,
                "a row of workers.csv is left out: nobody took the others"
            );
        }
        drop(seen);
        self.changed.notify_waiters();
        Ok(())
    }

    /// Rows that were not taken before.
    pub(super) fn take_rows(&self) -> Vec<WorkerRow> {
        std::mem::take(&mut self.seen().rows)
    }

    /// A worker is lost, unless that is known.
    pub(super) fn lose(&self, number: u64, why: &str) {
        let lost = self.seen().lose(number, why);
        if lost {
            self.changed.notify_waiters();
        }
    }

    /// A worker of our own has ended.
    pub(super) fn ended(&self, name: &str, exit: &Exit) {
        let mut seen = self.seen();
        match (0..).zip(&seen.workers).find(|(_, worker)| worker.card.name == name) {
            Some((_, worker)) if worker.leaving && exit.code == Some(0) => {}
            // It has missed this conductor: so do others in a moment, where the way is closed to all.
            Some((number, _)) if exit.code == Some(i32::from(ExitCode::WorkerLost.number())) => {
                if let Some(worker) = seen.worker(number) {
                    worker.silence.exhaust();
                    worker.last_words = Some(format!("it {exit}"));
                }
            }
            Some((number, _)) => {
                drop(seen);
                self.lose(number, &format!("it {exit}"));
            }
            None => {
                seen.stillborn.push(format!("worker {name} {exit}"));
                drop(seen);
                self.changed.notify_waiters();
            }
        }
    }

    /// All workers are about to be told to go.
    pub(super) fn let_go(&self) {
        self.seen().workers.iter_mut().for_each(|worker| worker.leaving = true);
    }

    /// The run is about to end: nobody is let in any more.
    pub(super) fn close(&self) {
        self.seen().closed = true;
    }

    /// A worker has told what it counted in all, or has heard that nobody wants to know.
    pub(super) fn release(&self, number: u64) {
        if let Some(worker) = self.seen().worker(number) {
            worker.released = true;
        }
    }

    /// Whether a worker is lost, or nobody can be heard.
    pub(super) fn has_lost(&self, number: u64) -> bool {
        let mut seen = self.seen();
        seen.deaf.is_some() || seen.worker(number).is_none_or(|worker| worker.lost.is_some())
    }

    /// Whether a worker takes no orders any more: it is lost, or has told what it counted in all.
    pub(super) fn has_gone(&self, number: u64) -> bool {
        self.has_lost(number) || self.seen().worker(number).is_none_or(|worker| worker.released)
    }

    /// Whether a worker has told what it counted in all.
    pub(super) fn has_released(&self, name: &str) -> bool {
        let seen = self.seen();
        seen.workers.iter().any(|worker| worker.card.name == name && worker.released)
    }

    /// Another run goes before this one.
    pub(super) fn yield_to(&self, rival: String) {
        self.seen().rival.get_or_insert(rival);
        self.changed.notify_waiters();
    }

    /// Whether another run does.
    pub(super) fn has_rival(&self) -> bool {
        self.seen().rival.is_some()
    }

    /// Nobody can be heard any more.
    pub(super) fn deafen(&self, why: String) {
        self.seen().deaf.get_or_insert(why);
        self.changed.notify_waiters();
    }

    /// A tick of the conductor's timer went by; who was not heard for too long is lost.
    pub(super) fn tick(&self) {
        let mut seen = self.seen();
        let there = |worker: &Worker| worker.lost.is_none() && !worker.released;
        let mut silent = Vec::new();
        for (number, worker) in (0..).zip(&mut seen.workers).filter(|(_, worker)| there(worker)) {
            worker.silence.tick();
            silent.push((number, worker.silence.lasts()));
        }
        let longest = silent.iter().map(|(_, lasts)| *lasts).max().unwrap_or_default();
        let may_follow = |lasts: Duration| lasts < LOST_AFTER && lasts + TOGETHER >= LOST_AFTER;
        let some_may = silent.iter().any(|(_, lasts)| may_follow(*lasts));
        if longest < LOST_AFTER || (some_may && longest < LOST_AFTER + TOGETHER) {
            return;
        }
        for (number, _) in silent.into_iter().filter(|(_, lasts)| *lasts >= LOST_AFTER) {
            let words = seen.worker(number).and_then(|worker| worker.last_words.take());
            seen.lose(number, words.as_deref().unwrap_or("it was not heard for 4 s"));
        }
        drop(seen);
        self.changed.notify_waiters();
    }

    /// The counters of all workers; of a lost one as they were last.
    pub(super) fn counts(&self) -> FleetCounts {
        let mut sum = FleetCounts::default();
        for worker in &self.seen().workers {
            let mut counts = worker.counts;
            counts.planned = worker.nodes;
            if worker.lost.is_some() {
                // Nobody holds these any more, for all that is known.
                (counts.connected, counts.subscriptions) = (0, 0);
            }
            sum.merge(&counts);
        }
        sum
    }

    /// What all workers cost.
    pub(super) fn spent(&self) -> Spent {
        let mut sum = Spent::default();
        for worker in &self.seen().workers {
            let Spent { rss_bytes, fleet_cpu_us, other_cpu_us, wave_cpu_us } = worker.spent;
            sum.rss_bytes += rss_bytes;
            sum.fleet_cpu_us += fleet_cpu_us;
            sum.other_cpu_us += other_cpu_us;
            sum.wave_cpu_us += wave_cpu_us;
        }
        sum
    }

    /// The longest lag since this was last asked.
    pub(super) fn take_lag_max(&self) -> Duration {
        let workers = &mut self.seen().workers;
        let longest = workers.iter_mut().map(|worker| std::mem::take(&mut worker.lag_us_max)).max();
        Duration::from_micros(longest.unwrap_or(0))
    }

    /// Connections of drivers on workers that are away.
    pub(super) fn clients_away(&self) -> u64 {
        self.seen().workers.iter().map(|worker| worker.clients_away).sum()
    }

    /// Nodes that broke, with their workers.
    pub(super) fn failures(&self) -> Vec<String> {
        let seen = self.seen();
        let of = |worker: &Worker| {
            let name = worker.card.name.clone();
            worker.failures.clone().into_iter().map(move |text| format!("worker {name}: {text}"))
        };
        seen.workers.iter().flat_map(of).collect()
    }

    /// What is lost beyond `tolerated`, a share (0 to 1) of all nodes; a worker with a driver is so in any case, and
    /// all of them where another run goes before this one.
    pub(super) fn lost_beyond(&self, tolerated: f64) -> Option<CrewError> {
        let seen = self.seen();
        if let Some(rival) = &seen.rival {
            return Some(CrewError::refused(rival.clone()));
        }
        if let Some(why) = &seen.deaf {
            return Some(CrewError::lost(why.clone()));
        }
        let lost: Vec<&Worker> = seen.workers.iter().filter(|w| w.lost.is_some()).collect();
        let nodes: u64 = lost.iter().map(|worker| worker.nodes).sum();
        #[expect(clippy::cast_precision_loss, reason = "counts of nodes are far below 2^52")]
        let too_many = !lost.is_empty() && nodes as f64 > tolerated * self.nodes as f64;
        let beyond = too_many || lost.iter().any(|worker| worker.drives);
        beyond.then(|| {
            let each = |worker: &&Worker| {
                let why = worker.lost.as_deref().unwrap_or_default();
                format!("worker {} with {} nodes is lost: {why}", worker.in_words(), worker.nodes)
            };
            let mut told: Vec<String> = lost.iter().map(each).collect();
            if lost.len() > 1 && lost.len() == seen.workers.len() {
                told.push("all of them: look at the control broker and the way to it".to_owned());
            }
            CrewError::lost(told.join("\n"))
        })
    }

    /// Losses that were not told before, in words.
    pub(super) fn take_losses(&self) -> Vec<String> {
        std::mem::take(&mut self.seen().untold)
    }

    /// A worker that is there did not tell something of its nodes.
    pub(super) fn lack(&self, number: u64, what: &str) {
        let mut seen = self.seen();
        let Some(name) = seen.worker(number).map(|worker| worker.card.name.clone()) else { return };
        let told = format!("worker {name} {what}");
        if !seen.lacking.contains(&told) {
            seen.lacking.push(told);
        }
    }

    /// What was not told, in words.
    pub(super) fn take_lacking(&self) -> Vec<String> {
        std::mem::take(&mut self.seen().lacking)
    }

    /// Nodes that are connected or will not be. Those of a lost worker will not, and whatever they were before, each
    /// counts once.
    pub(super) fn settled(&self) -> u64 {
        let of = |worker: &Worker| match worker.lost {
            Some(_) => worker.nodes,
            None => worker.counts.settled(),
        };
        self.seen().workers.iter().map(of).sum()
    }

    /// Somebody was turned away, and why; the first few are kept.
    pub(super) fn turn_away(&self, reason: &str) {
        tracing::warn!("turned away: {reason}");
        let mut seen = self.seen();
        if seen.refused.len() < REFUSALS_KEPT {
            seen.refused.push(reason.to_owned());
        }
    }

    /// What became of each worker, by name.
    pub(super) fn results(&self) -> Vec<(String, WorkerResult)> {
        let seen = self.seen();
        let of = |worker: &Worker| {
            let result = WorkerResult {
                host: worker.card.host.name.clone(),
                nodes: worker.nodes,
                connected: worker.counts.ever_connected,
                answered: worker.counts.replies,
                rss_bytes: worker.rss_bytes_max,
                cpu: worker.spent.cpu(),
                lag_max: Duration::from_micros(worker.lag_us_worst),
                slices: worker.slices,
                lost: worker.lost.clone(),
            };
            (worker.card.name.clone(), result)
        };
        seen.workers.iter().map(of).collect()
    }

    /// Compares what a worker says it counted in all with the sum of its slices; the difference in words.
    pub(super) fn compare(&self, number: u64, report: &Report) -> Option<String> {
        let mut seen = self.seen();
        let worker = seen.worker(number)?;
        let name = &worker.card.name;
        let Some((counts, steps)) = report.read() else {
            return Some(format!("the account of worker {name} cannot be read"));
        };
        // One more may have come than the worker knows of; then the sum tells.
        if worker.slices < report.slices {
            let (sent, came) = (report.slices, worker.slices);
            return Some(format!("worker {name} sent {sent} slices and {came} arrived"));
        }
        let all = |counts: &FleetCounts| {
            let errors = ServerError::ALL.iter().map(|kind| kind.name()).zip(counts.server_errors);
            counts.each().chain(errors).collect::<Vec<_>>()
        };
        let mut each = all(&counts).into_iter().zip(all(&worker.sum));
        let differs = each.find(|(said, sum)| said != sum);
        if let Some(((counter, said), (_, sum))) = differs {
            return Some(format!(
                "worker {name} counted {said} {counter}, and its slices add up to {sum}"
            ));
        }
        (Steps::of(&steps) != Steps::of(&worker.steps))
            .then(|| format!("the connection times of worker {name} are not those of its slices"))
    }
}

#[cfg(test)]
mod tests;
