//! When what is due: pure functions of the intended instants, without a clock.
//!
//! Intended instants are given and never move (law 5). What is worked out here is how much earlier a
//! wave's subscription is made, and how a batch shares its deadline among its slices.

use std::time::Duration;

/// A wave that is prepared (subscribed to) by itself is so at most this much before its intended instant.
pub(super) const LEAD_MAX: Duration = Duration::from_millis(500);

/// How long before its intended instant a wave is prepared by itself: [`LEAD_MAX`], or half of the gap
/// to the wave before it if that is less, so that preparing does not disturb the sending of that one.
fn lead(before: Option<Duration>, intended: Duration) -> Duration {
    let room = before.map_or(LEAD_MAX, |before| intended.saturating_sub(before) / 2);
    room.min(LEAD_MAX)
}

/// A wave that others of its client come after.
#[derive(Clone, Copy)]
struct Before {
    intended: Duration,
    /// When it is prepared if that is by itself.
    prepared: Duration,
    /// When nobody waits for its replies any more.
    end: Duration,
}

/// When each of one client's waves is prepared, for intended instants in ascending order, each with its deadline.
///
/// Waves of the same instant are prepared together, and a wave to which replies may still come at the instant of the
/// next is prepared with that: while replies press upon a broker it may take seconds to take a subscription, and a wave
/// that is sent meanwhile loses replies that no real client loses, which waits for its subscription.
pub(super) fn prepare_at(waves: &[(Duration, Duration)]) -> Vec<Duration> {
    let (mut before, mut current): (Option<Before>, Option<Before>) = (None, None);
    let due = waves.iter().map(|&(intended, deadline)| {
        let end = intended.saturating_add(deadline);
        let own = match current {
            Some(same) if same.intended == intended => Before { end: end.max(same.end), ..same },
            _ => {
                before = current;
                let lead = lead(before.map(|before| before.intended), intended);
                Before { intended, prepared: intended.saturating_sub(lead), end }
            }
        };
        current = Some(own);
        let presses = before.filter(|before| before.end >= intended);
        presses.map_or(own.prepared, |before| before.prepared)
    });
    due.collect()
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
    fn waves_are_prepared_half_a_gap_but_at_most_half_a_second_early() {
        for (intended, expected) in [
            (&[][..], &[][..]),
            (&[0], &[0]),
            (&[200], &[0]),
            (&[5000, 10_000], &[4500, 9500]),
            (&[1000, 1100, 1120], &[500, 1050, 1110]),
            (&[1000, 1000, 1400, 1400], &[500, 500, 1200, 1200]),
        ] {
            let waves: Vec<_> = ms(intended).into_iter().map(|at| (at, Duration::ZERO)).collect();
            assert_eq!(prepare_at(&waves), ms(expected), "{intended:?}");
        }
    }

    #[test]
    fn a_wave_is_prepared_with_the_one_before_it_whose_replies_may_still_come() {
        for (waves, expected) in [
            (&[(3000, 10_000), (5500, 10_000), (8000, 10_000)][..], &[2500, 2500, 5000][..]),
            (&[(3000, 2500), (5500, 2499), (8000, 0)], &[2500, 2500, 7500]),
            (&[(1000, 100), (1000, 600), (1500, 0), (1500, 0)], &[500, 500, 500, 500]),
        ] {
            let in_ms = Duration::from_millis;
            let waves: Vec<_> =
                waves.iter().map(|(at, for_ms)| (in_ms(*at), in_ms(*for_ms))).collect();
            assert_eq!(prepare_at(&waves), ms(expected), "{waves:?}");
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
