//! Which ports a managed broker may be given.
//!
//! Fixed ones, outside the range from which the kernel takes the local ports of connections: a
//! broker that restarts on its old port must not find it taken by one of its own clients. Nothing
//! is reserved beforehand: the broker itself binds, and if a port is taken others are tried.

use std::fs;
use std::ops::Range;

/// Well above the ports of known services, well below the usual ephemeral range.
const USUAL: Range<u16> = 14_000..30_000;
/// A range smaller than this is crowded.
const ENOUGH: u16 = 1_000;

/// So many different ports; there are at least a thousand to choose from.
pub(super) fn candidates<const N: usize>(ephemeral: Option<(u16, u16)>) -> [u16; N] {
    let mut ports = different(N, ephemeral).into_iter();
    std::array::from_fn(|_| ports.next().unwrap_or_default())
}

/// The same where the number is not known beforehand.
pub(super) fn different(count: usize, ephemeral: Option<(u16, u16)>) -> Vec<u16> {
    let range = outside(ephemeral);
    let chosen = rand::seq::index::sample(&mut rand::rng(), range.len(), count.min(range.len()));
    chosen
        .into_iter()
        .map(|at| range.start.saturating_add(u16::try_from(at).unwrap_or(0)))
        .collect()
}

/// The kernel's range of local ports, first and last.
pub(super) fn ephemeral() -> Option<(u16, u16)> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut numbers = text.split_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Ports that are not ephemeral. Where the ephemeral range leaves no room the usual ones are used:
/// then only a restart on the same port is at risk.
fn outside(ephemeral: Option<(u16, u16)>) -> Range<u16> {
    let Some((first, last)) = ephemeral else { return USUAL };
    let below = USUAL.start..USUAL.end.min(first);
    let above = USUAL.start.max(last.saturating_add(1))..u16::MAX;
    [below, above]
        .into_iter()
        .find(|range| range.end.saturating_sub(range.start) >= ENOUGH)
        .unwrap_or(USUAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_lie_outside_the_ephemeral_range_where_that_leaves_room() {
        for (ephemeral, expected) in [
            (None, 14_000..30_000),
            (Some((32_768, 60_999)), 14_000..30_000),
            (Some((20_000, 60_999)), 14_000..20_000),
            (Some((14_500, 60_999)), 61_000..65_535),
            (Some((1_025, 20_000)), 20_001..65_535),
            (Some((1_025, 65_534)), 14_000..30_000),
            (Some((1_025, 65_535)), 14_000..30_000),
        ] {
            assert_eq!(outside(ephemeral), expected, "{ephemeral:?}");
        }
    }

    #[test]
    fn the_two_ports_differ_and_lie_in_the_range() {
        for _ in 0..10_000 {
            let [client, monitor] = candidates(Some((15_000, 60_999)));
            assert_ne!(client, monitor);
            assert!((14_000..15_000).contains(&client) && (14_000..15_000).contains(&monitor));
        }
    }
}
