//! How a node treats its nth request: when it answers, and whether. Dice without a state: the same
//! seed, node and number of the request always fall the same, in whichever process (law 2).

use super::AnswerKind;
use crate::spec::{Behaviour, Delay};
use std::f64::consts::TAU;
use std::time::Duration;

/// Longest delay, whatever the dice say: a log-normal one has no end of its own.
const DELAY_MAX: Duration = Duration::from_secs(24 * 3600);

/// What a node does about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Time between the request and the reply.
    pub delay: Duration,
    /// Which reply; `None` for silence.
    pub kind: Option<AnswerKind>,
}

/// 64 bits that depend on both numbers and look random (the finaliser of SplitMix64).
pub fn mix(seed: u64, number: u64) -> u64 {
    let mut bits = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// How the node `index` treats its nth accepted request.
pub(super) fn behave(behaviour: &Behaviour, seed: u64, index: u64, nth: u32) -> Answer {
    let Behaviour { reply_delay, no_reply, error_reply, queue: _, churn: _, stuck: _ } = behaviour;
    if *reply_delay == Delay::None && *no_reply <= 0.0 && *error_reply <= 0.0 {
        return Answer { delay: Duration::ZERO, kind: Some(AnswerKind::Normal) };
    }
    // Each question has dice of its own: changing one share does not move the others.
    let event = mix(mix(seed, index), u64::from(nth));
    let dice = |question| unit(mix(event, question));
    let kind = if dice(0) < *no_reply {
        None
    } else if dice(1) < *error_reply {
        Some(AnswerKind::Error)
    } else {
        Some(AnswerKind::Normal)
    };
    Answer { delay: delay(reply_delay, || (dice(2), dice(3))), kind }
}

fn delay(delay: &Delay, dice: impl FnOnce() -> (f64, f64)) -> Duration {
    match *delay {
        Delay::None => Duration::ZERO,
        Delay::Fixed(delay) => delay,
        Delay::Uniform(from, to) => from + to.saturating_sub(from).mul_f64(dice().0),
        Delay::Lognormal { median, sigma } => {
            let (one, other) = dice();
            // Box and Muller; 1 - x is never 0, so that its logarithm is finite.
            let normal = (-2.0 * (1.0 - one).ln()).sqrt() * (TAU * other).cos();
            let seconds = median.as_secs_f64() * (sigma * normal).exp();
            Duration::try_from_secs_f64(seconds).unwrap_or(DELAY_MAX)
        }
    }
    .min(DELAY_MAX)
}

/// A number from 0 to below 1.
#[expect(clippy::cast_precision_loss, reason = "53 bits fit exactly")]
pub(crate) fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    fn behaviours() -> impl Strategy<Value = Behaviour> {
        let delays = prop_oneof![
            Just(Delay::None),
            (0u32..9).prop_map(|ms| Delay::Fixed(ms * MS)),
            (0u32..9, 0u32..9)
                .prop_map(|(from, more)| Delay::Uniform(from * MS, (from + more) * MS)),
            (1u32..9, 0.0..2.0f64)
                .prop_map(|(ms, sigma)| Delay::Lognormal { median: ms * MS, sigma }),
        ];
        (delays, 0.0..=1.0f64, 0.0..=1.0f64).prop_map(|(reply_delay, no_reply, error_reply)| {
            Behaviour { reply_delay, no_reply, error_reply, ..Behaviour::default() }
        })
    }

    proptest! {
        #[test]
        fn the_same_request_of_the_same_node_falls_the_same(
            behaviour in behaviours(), seed: u64, index: u64, nth: u32,
        ) {
            let answer = behave(&behaviour, seed, index, nth);
            prop_assert_eq!(behave(&behaviour, seed, index, nth), answer);
            if let Delay::Uniform(from, to) = behaviour.reply_delay {
                prop_assert!((from..=to).contains(&answer.delay));
            }
        }

        #[test]
        fn shares_converge_over_nodes(
            no_reply in 0.0..=1.0f64, error_reply in 0.0..=1.0f64, seed: u64, nth: u32,
        ) {
            let behaviour = Behaviour { no_reply, error_reply, ..Behaviour::default() };
            let nodes = 4000;
            let kinds: Vec<_> = (0..nodes).map(|i| behave(&behaviour, seed, i, nth).kind).collect();
            let share = |kind| kinds.iter().filter(|&&k| k == kind).count() as f64 / nodes as f64;
            // Five standard deviations of a share of one half.
            let near = |a: f64, b: f64| (a - b).abs() < 5.0 * 0.5 / (nodes as f64).sqrt();
            prop_assert!(near(share(None), no_reply));
            prop_assert!(near(share(Some(AnswerKind::Error)), (1.0 - no_reply) * error_reply));
        }

        #[test]
        fn half_of_the_lognormal_delays_are_below_the_median(sigma in 0.1..2.0f64, seed: u64) {
            let reply_delay = Delay::Lognormal { median: 20 * MS, sigma };
            let behaviour = Behaviour { reply_delay, ..Behaviour::default() };
            let delays = (0..4000).map(|index| behave(&behaviour, seed, index, 0).delay);
            let below = delays.filter(|delay| *delay < 20 * MS).count();
            prop_assert!((1840..=2160).contains(&below), "{}", below);
        }
    }

    #[test]
    fn different_nodes_and_requests_fall_differently() {
        let reply_delay = Delay::Uniform(Duration::ZERO, Duration::from_secs(1));
        let behaviour = Behaviour { reply_delay, ..Behaviour::default() };
        let delay = |seed, index, nth| behave(&behaviour, seed, index, nth).delay;
        assert_ne!(delay(1, 1, 1), delay(1, 1, 2));
        assert_ne!(delay(1, 1, 1), delay(1, 2, 1));
        assert_ne!(delay(1, 1, 1), delay(2, 1, 1));
    }
}
