//! Nodes that come and go: some are stopped in order in each round, and started anew a little later.
//!
//! Who leaves in which round, and when in it, follows from the seed, the node's index and the number of
//! the round alone (law 2), so that it is the same whichever process carries the node. A node that is
//! without its connection when its time comes stays: it has been lost, and how it comes back is another
//! question.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::counts::add;
use super::node::{Node, live};
use crate::node::{mix, unit};
use crate::spec::Churn;

/// Sets these dice apart from all others of the node.
const DICE: u64 = 0x0063_6875_726e;

/// How far into a round the node leaves; `None`: it stays. It starts again before the round ends.
fn leaves(churn: Churn, seed: u64, index: u64, round: u32) -> Option<Duration> {
    if round == 0 {
        return None;
    }
    let dice = mix(mix(mix(seed, index), DICE), u64::from(round));
    let latest = churn.every.saturating_sub(churn.away);
    (unit(mix(dice, 0)) < churn.share).then(|| latest.mul_f64(unit(mix(dice, 1))))
}

/// Keeps the node connected, but for the times in which it is away, until the fleet stops.
pub(super) async fn come_and_go(mut node: Box<Node>, context: &Context, churn: Churn) {
    let (index, slot) = (node.index, node.slot);
    let mut rounds = Rounds { context, churn, index, slot, began: Instant::now(), next: 0 };
    loop {
        let stay = context.stop.child_token();
        let leaving = stay.run_until_cancelled(rounds.leave(&stay));
        (node, _) = tokio::join!(live(node, context, &stay), leaving);
        if context.stop.run_until_cancelled(sleep(churn.away)).await.is_none() {
            return;
        }
        node.start_anew(context);
    }
}

/// The rounds of a node.
struct Rounds<'a> {
    context: &'a Context,
    churn: Churn,
    index: u64,
    slot: usize,
    began: Instant,
    /// The first that has not begun, or is not decided on.
    next: u32,
}

impl Rounds<'_> {
    /// Waits until the node is to leave, and ends its stay.
    async fn leave(&mut self, stay: &CancellationToken) {
        loop {
            let leaves = leaves(self.churn, self.context.seed, self.index, self.next);
            let begins = self.churn.every.checked_mul(self.next);
            let at = begins.and_then(|begins| {
                self.began.checked_add(begins.checked_add(leaves.unwrap_or_default())?)
            });
            // Too far away to be an instant: nobody waits for it.
            let Some(at) = at else { return std::future::pending().await };
            sleep_until(at).await;
            self.next = self.next.saturating_add(1);
            if leaves.is_some() && self.context.ledgers.presence.connected.get(self.slot) {
                self.context.ledgers.leaves(self.slot);
                add(&self.context.counts.left, 1);
                stay.cancel();
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHURN: Churn =
        Churn { share: 0.05, every: Duration::from_secs(60), away: Duration::from_secs(10) };

    #[test]
    fn a_share_of_the_nodes_leaves_in_each_round_but_the_first_and_is_back_within_it() {
        let nodes = 10_000;
        let leaving = |seed, round| {
            let all = (0..nodes).filter_map(move |index| {
                leaves(CHURN, seed, index, round).map(|into| (index, into))
            });
            all.collect::<Vec<_>>()
        };
        assert_eq!(leaving(1, 0), []);
        for round in 1..5 {
            let who = leaving(1, round);
            // Five standard deviations.
            assert!((391..=609).contains(&who.len()), "{} in round {round}", who.len());
            let late = who.iter().filter(|(_, into)| *into > Duration::from_secs(25)).count();
            assert!((who.len() / 3..who.len() * 2 / 3).contains(&late), "all over the round");
            assert!(who.iter().all(|(_, into)| *into + CHURN.away <= CHURN.every));
            assert_eq!(who, leaving(1, round), "the same again");
            assert_ne!(who, leaving(1, round + 1));
            assert_ne!(who, leaving(2, round));
        }
        let everybody = Churn { share: 1.0, ..CHURN };
        assert!((0..nodes).all(|index| leaves(everybody, 1, index, 1).is_some()));
    }
}
