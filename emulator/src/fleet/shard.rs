//! One thread with a runtime of its own that carries a part of the nodes.
//!
//! Nodes never move between threads: what they share (the read buffer, the decoded requests) needs no
//! lock, and a broadcast is decoded once a thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::churn::come_and_go;
use super::context::Context;
use super::node::{Node, live};
use crate::spec::Share;

/// How often a shard looks at the delay with which its tasks run.
const LAG_INTERVAL: Duration = Duration::from_millis(20);

/// One group's part of a shard.
pub(crate) struct Part {
    pub(crate) context: Arc<Context>,
    /// First connections in flight, over all shards of the process.
    pub(crate) in_flight: Arc<Semaphore>,
}

/// Which nodes a shard carries, and when they start.
pub(crate) struct Shard {
    pub(crate) number: usize,
    pub(crate) of: usize,
    pub(crate) share: Share,
    pub(crate) began: Instant,
    pub(crate) parts: Vec<Part>,
    pub(crate) stop: CancellationToken,
    pub(crate) lag_us_max: Arc<AtomicU64>,
}

impl Shard {
    /// Runs until the fleet stops and every task has ended.
    pub(crate) fn run(self, runtime: &tokio::runtime::Runtime) {
        runtime.block_on(async {
            let tasks = TaskTracker::new();
            for part in &self.parts {
                let starter = self.starter(part, tasks.clone());
                let failures = Arc::clone(&part.context.failures);
                let group = part.context.spec.name.clone();
                tasks.spawn(async move {
                    failures.guard(|| format!("the start of group {group}"), starter).await;
                });
            }
            tasks.spawn(watch_lag(self.stop.clone(), Arc::clone(&self.lag_us_max)));
            self.stop.cancelled().await;
            tasks.close();
            tasks.wait().await;
        });
    }

    /// Starts the nodes of a group one after the other: at the group's rate, and only so many at once.
    fn starter(
        &self,
        part: &Part,
        tasks: TaskTracker,
    ) -> impl Future<Output = ()> + Send + 'static {
        let context = Arc::clone(&part.context);
        let in_flight = Arc::clone(&part.in_flight);
        let (share, began, stop) = (self.share, self.began, self.stop.clone());
        let (number, of) = (self.number, self.of);
        async move {
            let spec = Arc::clone(&context.spec);
            for (offset, index, slot) in members(spec.first, spec.nodes, share) {
                if slot % of != number {
                    continue;
                }
                if let Some(rate) = spec.connect.rate_per_s {
                    // Too far away to be an instant: the group never gets there.
                    let start = Duration::try_from_secs_f64(offset as f64 / rate).ok();
                    let Some(start) = start.and_then(|wait| began.checked_add(wait)) else {
                        return;
                    };
                    let waited = stop.run_until_cancelled(sleep_until(start)).await;
                    if waited.is_none() {
                        return;
                    }
                }
                let permit = stop.run_until_cancelled(Arc::clone(&in_flight).acquire_owned()).await;
                let Some(Ok(permit)) = permit else { return };
                // Boxed, so that the task has no room for it twice.
                let node = Box::new(Node::new(&context, index, slot, permit));
                let context = Arc::clone(&context);
                tasks.spawn(async move {
                    let whose = || format!("node {}", context.group.identity(index));
                    match context.spec.behaviour.churn {
                        None => {
                            context.failures.guard(whose, live(node, &context, &context.stop)).await
                        }
                        Some(churn) => {
                            // On the heap, so that the tasks of others have no room for it.
                            let life = Box::pin(come_and_go(node, &context, churn));
                            context.failures.guard(whose, life).await;
                        }
                    }
                });
            }
        }
    }
}

/// The nodes of a group that belong to a share: (position in the group, global index, slot).
pub(crate) fn members(
    first: u64,
    nodes: u64,
    share: Share,
) -> impl Iterator<Item = (u64, u64, usize)> {
    let of = share.of.max(1);
    let skip = (share.index + of - first % of) % of;
    (skip..nodes).step_by(of as usize).map(move |offset| {
        let index = first + offset;
        (offset, index, (index / of) as usize)
    })
}

async fn watch_lag(stop: CancellationToken, lag_us_max: Arc<AtomicU64>) {
    let mut next = Instant::now() + LAG_INTERVAL;
    while stop.run_until_cancelled(sleep_until(next)).await.is_some() {
        let now = Instant::now();
        let lag = u64::try_from((now - next).as_micros()).unwrap_or(u64::MAX);
        lag_us_max.fetch_max(lag, Ordering::Relaxed);
        next = now + LAG_INTERVAL;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn shares_divide_the_nodes_without_gap_or_overlap() {
        for (first, nodes, of) in [(0, 10, 1), (7, 20, 3), (5, 2, 4), (100, 1000, 20)] {
            let mut seen = BTreeSet::new();
            for index in 0..of {
                let share = Share { index, of };
                assert_eq!(members(first, nodes, share).count() as u64, share.count(first, nodes));
                for (offset, global, slot) in members(first, nodes, share) {
                    assert_eq!((global, global % of), (first + offset, index));
                    assert_eq!(slot as u64, global / of);
                    assert!(seen.insert(global), "{global} twice");
                }
            }
            let counted: u64 = (0..of).map(|index| Share { index, of }.count(first, nodes)).sum();
            assert_eq!((seen, counted), ((first..first + nodes).collect(), nodes));
        }
    }
}
