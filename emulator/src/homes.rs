//! Which servers each node of a group is configured with, and at which it is at home: arithmetic over
//! positions, so that it is the same whichever process asks.
//!
//! Homes are dealt out by turns, so that a scenario's shares are met exactly. What a node learns from
//! brokers, and in which order it tries what it knows, is its connection's business.

/// The servers that some nodes of a group know, as positions in the group's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// How many nodes begin here, in relation to the other homes; at least 1.
    pub weight: u32,
    /// The first is where they begin; at least one.
    pub servers: Vec<u16>,
}

/// All homes of a group. The default is for a group with one server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Homes {
    homes: Vec<Home>,
    /// Whose turn it is: node `n` has the home at `n % turns.len()`.
    turns: Vec<u16>,
}

impl Homes {
    /// Deals nodes out to these homes by their weights, evenly from the first node on.
    #[must_use]
    pub fn new(mut homes: Vec<Home>) -> Self {
        homes.retain(|home| !home.servers.is_empty());
        let divisor = homes.iter().map(|home| home.weight.max(1)).fold(0, gcd).max(1);
        homes.iter_mut().for_each(|home| home.weight = home.weight.max(1) / divisor);
        let total: i64 = homes.iter().map(|home| i64::from(home.weight)).sum();
        // Smooth weighted round robin: everybody gains his weight, the richest pays for his turn.
        let mut credit = vec![0_i64; homes.len()];
        let mut turns = Vec::new();
        for _ in 0..total {
            for (credit, home) in credit.iter_mut().zip(&homes) {
                *credit += i64::from(home.weight);
            }
            // Of equals the first.
            let richest = (0..credit.len()).rev().max_by_key(|at| credit[*at]).unwrap_or(0);
            credit[richest] -= total;
            turns.push(u16::try_from(richest).unwrap_or(u16::MAX));
        }
        Self { homes, turns }
    }

    /// Every one of so many servers is a beginning, and everybody knows all.
    #[must_use]
    pub fn of_all(servers: u16) -> Self {
        let home = |home: u16| Home {
            weight: 1,
            servers: (0..servers).map(|other| (home + other) % servers).collect(),
        };
        Self::new((0..servers).map(home).collect())
    }

    /// All servers that anybody knows, each once, in order.
    #[must_use]
    pub fn servers(&self) -> Vec<u16> {
        let mut servers: Vec<u16> =
            self.homes.iter().flat_map(|home| &home.servers).copied().collect();
        servers.sort_unstable();
        servers.dedup();
        servers
    }

    /// The same homes with other positions.
    #[must_use]
    pub fn map(mut self, position: impl Fn(u16) -> u16) -> Self {
        let servers = self.homes.iter_mut().flat_map(|home| &mut home.servers);
        servers.for_each(|server| *server = position(*server));
        self
    }

    /// The servers that the group's node `n` (from 0) is configured with: its home first.
    #[must_use]
    pub fn configured(&self, n: u64) -> &[u16] {
        let turns = self.turns.len() as u64;
        let turn = n.checked_rem(turns).and_then(|at| self.turns.get(usize::try_from(at).ok()?));
        turn.and_then(|turn| self.homes.get(usize::from(*turn)))
            .map_or(&[0][..], |home| &home.servers)
    }

    /// Where the group's node `n` (from 0) begins.
    #[must_use]
    pub fn home(&self, n: u64) -> usize {
        self.configured(n).first().copied().map_or(0, usize::from)
    }

    /// How many of the group's first `nodes` nodes begin at each server, `servers` in all.
    #[must_use]
    pub fn dealt(&self, nodes: u64, servers: usize) -> Vec<u64> {
        let mut dealt = vec![0; servers];
        let round = (self.turns.len() as u64).max(1);
        for n in 0..round.min(nodes) {
            // All nodes with this turn.
            let times = (nodes - n).div_ceil(round);
            if let Some(count) = dealt.get_mut(self.home(n)) {
                *count += times;
            }
        }
        dealt
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weighted(weights: &[u32]) -> Homes {
        let home = |(home, weight): (usize, &u32)| {
            let home = u16::try_from(home).unwrap();
            let others = (0..).take(weights.len()).filter(move |other| *other != home);
            Home { weight: *weight, servers: std::iter::once(home).chain(others).collect() }
        };
        Homes::new(weights.iter().enumerate().map(home).collect())
    }

    #[test]
    fn nodes_are_dealt_by_weight_evenly_from_the_first_on() {
        for (weights, expected) in [
            (&[1][..], &[0, 0, 0, 0][..]),
            (&[1, 1, 1], &[0, 1, 2, 0, 1, 2, 0]),
            (&[2, 4], &[1, 0, 1, 1, 0, 1]),
            (&[3, 1], &[0, 0, 1, 0, 0, 0, 1, 0]),
            (&[0, 1], &[0, 1, 0, 1]),
        ] {
            let homes = weighted(weights);
            let dealt: Vec<usize> = (0..expected.len() as u64).map(|n| homes.home(n)).collect();
            assert_eq!(dealt, expected, "{weights:?}");
        }
    }

    #[test]
    fn what_is_dealt_adds_up() {
        for (weights, nodes, dealt) in [
            (&[1, 1, 1][..], 10, &[4, 3, 3][..]),
            (&[70, 30], 1000, &[700, 300]),
            (&[1, 2], 0, &[0, 0]),
            (&[1, 2], 1, &[0, 1]),
        ] {
            let homes = weighted(weights);
            assert_eq!(homes.dealt(nodes, weights.len()), dealt, "{weights:?}");
            let mut counted = vec![0; weights.len()];
            (0..nodes).for_each(|n| counted[homes.home(n)] += 1);
            assert_eq!(counted, dealt, "{weights:?}");
        }
    }

    #[test]
    fn everybody_begins_somewhere_else_and_knows_all() {
        let homes = Homes::of_all(3);
        let configured: Vec<_> = (0..4).map(|n| homes.configured(n).to_vec()).collect();
        assert_eq!(configured, [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]);
        assert_eq!((homes.servers(), homes.home(2)), (vec![0, 1, 2], 2));
        assert_eq!(homes.map(|server| server + 5).configured(1), [6, 7, 5]);
    }

    #[test]
    fn without_homes_there_is_one_server() {
        assert_eq!(Homes::default().configured(3), [0]);
        assert_eq!(Homes::default().dealt(5, 1), [5]);
        assert_eq!(Homes::of_all(0), Homes::default());
    }
}
