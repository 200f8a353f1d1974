//! When what is due: pure functions of the intended instants, without a clock.
//!
//! Intended instants are given and never move (law 5). What is worked out here is how much earlier a
//! wave's subscription is made, and how a batch shares its deadline among its slices.

use std::time::Duration;

/// The first of several waves is prepared (subscribed, encoded) at most this much before its intended instant.
const LEAD_MAX: Duration = Duration::from_millis(500);
/// Waves that begin so soon after another of their client are prepared with it. While the replies to a large wave press
/// upon a broker it may take seconds to take a subscription; a wave that was sent meanwhile would lose replies
/// that no real client loses, as it waits for its subscription.
const TOGETHER: Duration = Duration::from_secs(5);

/// How long before its intended instant a wave is prepared if none is with it: [`LEAD_MAX`], or half of the gap to the
/// wave before it if that is less, so that preparing does not disturb the sending of another.
fn lead(before: Option<Duration>, intended: Duration) -> Duration {
    let room = before.map_or(LEAD_MAX, |before| intended.saturating_sub(before) / 2);
    room.min(LEAD_MAX)
}

/// When each of one client's waves is prepared, for `intended` in ascending order.
///
/// Waves of the same instant are prepared together.
pub(super) fn prepare_at(intended: &[Duration]) -> Vec<Duration> {
    let mut before = None;
    let mut previous = None;
    let alone = intended.iter().map(|&instant| {
        if previous != Some(instant) {
            before = previous;
            previous = Some(instant);
        }
        (instant, instant.saturating_sub(lead(before, instant)))
    });
    let alone: Vec<_> = alone.collect();
    let mut earlier = alone.iter().peekable();
    let together = alone.iter().map(|(instant, own)| {
        while earlier.next_if(|(first, _)| *first + TOGETHER < *instant).is_some() {}
        earlier.peek().map_or(*own, |(_, due)| *due)
    });
    together.collect()
}

/// How long a batch waits for one slice when `left` remains until the deadline and `slices`
/// (this one included) are still to be awaited with `sleep` between them: an equal share.
///
/// The real client gives every slice the whole timeout (protocol document 5.8), which would let one
/// silent node move the end of a wave by slices times the deadline; here a wave ends when it is due.
pub(super) fn slice_wait(left: Duration, slices: u32, sleep: Duration) -> Duration {
    let slices = slices.max(1);
    left.saturating_sub(sleep.saturating_mul(slices - 1)) / slices
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{prepare_at, slice_wait};

    fn ms(values: &[u64]) -> Vec<Duration> {
        values.iter().copied().map(Duration::from_millis).collect()
    }

    #[test]
    fn waves_are_prepared_half_a_gap_but_at_most_half_a_second_before_the_first_of_five_seconds() {
        for (intended, expected) in [
            (&[][..], &[][..]),
            (&[0], &[0]),
            (&[200], &[0]),
            (&[5000, 10_001], &[4500, 9501]),
            (&[5000, 10_000], &[4500, 4500]),
            (&[1000, 1100, 1120, 6099, 6101], &[500, 500, 500, 1050, 1110]),
            (&[1000, 1000, 1400, 1400], &[500, 500, 500, 500]),
            (&[3000, 5500, 8000, 10_500], &[2500, 2500, 2500, 5000]),
        ] {
            assert_eq!(prepare_at(&ms(intended)), ms(expected), "{intended:?}");
        }
    }

    #[test]
    fn slices_share_what_the_sleeps_leave() {
        for (left, slices, sleep, expected) in [
            (1000, 1, 100, 1000),
            (1000, 2, 100, 450),
            (1000, 4, 0, 250),
            (100, 3, 100, 0),
            (1000, 0, 100, 1000),
        ] {
            let wait =
                slice_wait(Duration::from_millis(left), slices, Duration::from_millis(sleep));
            assert_eq!(wait, Duration::from_millis(expected), "{left} {slices} {sleep}");
        }
    }
}
