//! The servers that a node's library knows: those of its configuration, and those that brokers tell of
//! (`connect_urls` in `INFO`), in the order in which it tries them (nats.go: `setupServerPool`,
//! `selectNextServer`, `processInfo`).
//!
//! The servers themselves stand once, in the group's [`Directory`]; a node holds numbers, and a node
//! that knows one server holds nothing.

use std::time::Duration;

use super::backoff::Policy;
use super::directory::Directory;
use crate::fleet::dice::Dice;

/// More than one server: their numbers in the order in which they are tried.
#[derive(Debug, PartialEq, Eq)]
struct Several {
    order: Vec<u16>,
    /// Where in `order` the current one stands.
    current: usize,
    /// Every server that this connection ever knew.
    seen: Vec<u16>,
}

impl Several {
    /// These, of which the first is the current one.
    fn new(order: Vec<u16>) -> Box<Self> {
        let seen = order.clone();
        Box::new(Self { order, current: 0, seen })
    }

    /// The current server goes to the end of the list, and the first is the next.
    fn pass(&mut self) {
        if let Some(rest) = self.order.get_mut(self.current..).filter(|rest| !rest.is_empty()) {
            rest.rotate_left(1);
            self.current = 0;
        }
    }

    /// Takes over what the `current` server names, as [`Pool::learn`] says.
    fn learn(
        &mut self,
        mut named: Vec<u16>,
        current: u16,
        directory: &Directory,
        dice: &mut Dice,
    ) -> usize {
        self.order.retain(|number| {
            !directory.is_learnt(*number) || *number == current || named.contains(number)
        });
        named.retain(|number| !self.order.contains(number));
        // The library walks a hash table here.
        dice.shuffle(&mut named);
        let new: Vec<u16> =
            named.iter().copied().filter(|number| !self.seen.contains(number)).collect();
        self.order.extend(named);
        if !new.is_empty()
            && let Some(behind_first) = self.order.get_mut(1..)
        {
            dice.shuffle(behind_first);
        }
        self.current = self.order.iter().position(|number| *number == current).unwrap_or(0);
        self.order.shrink_to_fit();
        self.seen.extend(&new);
        new.len()
    }
}

/// What a node knows of servers, and how far it is in trying them.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// `None`: its home alone.
    several: Option<Box<Several>>,
    /// The server that it is to connect to first.
    home: u16,
    /// Servers tried since the last pause: a pool has fewer than 2^16.
    tried: u16,
    /// Pauses since the start, or since the connection was lost.
    pauses: u32,
}

impl Pool {
    /// The pool of a library that was just started: the configuration, shuffled. The real server's
    /// library shuffles all of it; here a node's home stays first, so that a scenario's shares are met.
    fn restart(&mut self, configured: &[u16], dice: &mut Dice) {
        self.several = None;
        self.home = configured.first().copied().unwrap_or(0);
        if configured.len() > 1 {
            let mut order = configured.to_vec();
            dice.shuffle(&mut order[1..]);
            self.several = Some(Several::new(order));
        }
    }

    fn len(&self) -> u16 {
        let len = self.several.as_ref().map_or(1, |several| several.order.len());
        u16::try_from(len).unwrap_or(u16::MAX)
    }

    /// The current server.
    pub(crate) fn current(&self) -> u16 {
        self.several.as_ref().and_then(|s| s.order.get(s.current)).copied().unwrap_or(self.home)
    }

    /// The current server, if it is not its home.
    pub(crate) fn away(&self) -> Option<u16> {
        Some(self.current()).filter(|current| *current != self.home)
    }

    /// The pause before the next try of a node that never was complete. The real server starts its
    /// library anew after each walk through the list (go-choria, `choria/connection.go`: `Connect`).
    pub(crate) fn next_first(&mut self, configured: &[u16], dice: &mut Dice) -> Option<Duration> {
        if self.tried == 0 && self.pauses == 0 {
            self.restart(configured, dice);
        }
        if self.tried < self.len() {
            if let Some(several) = &mut self.several {
                several.current = usize::from(self.tried);
            }
            self.tried += 1;
            return None;
        }
        self.restart(configured, dice);
        (self.tried, self.pauses) = (1, self.pauses.saturating_add(1));
        Some(Policy::First.delay(self.pauses, dice.roll()))
    }

    /// The pause before the next try of a node that lost its connection: the current server goes to
    /// the end of the list, and the whole list is tried between two pauses.
    pub(crate) fn next_again(&mut self, dice: &mut Dice) -> Option<Duration> {
        if let Some(several) = &mut self.several {
            several.pass();
        }
        self.tried += 1;
        if self.tried < self.len() {
            return None;
        }
        (self.tried, self.pauses) = (0, self.pauses.saturating_add(1));
        Some(Policy::Again.delay(self.pauses, dice.roll()))
    }

    /// The library has its connection: the next loss begins a count of its own.
    pub(crate) fn connected(&mut self) {
        (self.tried, self.pauses) = (0, 0);
    }

    /// Takes over the servers that the current one tells of: those it no longer names are forgotten
    /// unless they are configured or current, new ones are shuffled in behind the first. Says how many
    /// were new. An empty list changes nothing.
    pub(crate) fn learn(
        &mut self,
        places: &[impl AsRef<str>],
        directory: &Directory,
        dice: &mut Dice,
    ) -> u64 {
        let mut named: Vec<u16> =
            places.iter().filter_map(|place| directory.number(place.as_ref())).collect();
        named.sort_unstable();
        named.dedup();
        if named.is_empty() || (self.several.is_none() && named == [self.home]) {
            return 0;
        }
        let (current, home) = (self.current(), self.home);
        let several = self.several.get_or_insert_with(|| Several::new(vec![home]));
        let new = several.learn(named, current, directory, dice);
        if several.order == [home] {
            self.several = None;
        }
        new as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::connection::directory::MAX_SERVERS;
    use crate::spec;

    fn directory(configured: u16) -> Directory {
        let server = |port| spec::Server::at(([127, 0, 0, 1], port).into());
        Directory::new(&(1..=configured).map(server).collect::<Vec<_>>())
    }

    /// All servers of the configuration, from this one on.
    fn all(directory: &Directory, home: u16) -> Vec<u16> {
        let mut all: Vec<u16> = (0..).take_while(|number| !directory.is_learnt(*number)).collect();
        all.rotate_left(usize::from(home));
        all
    }

    fn place(port: u16) -> String {
        format!("127.0.0.1:{port}")
    }

    /// The pool of a node that is connected.
    fn connected(directory: &Directory, dice: &mut Dice) -> Pool {
        let mut pool = Pool::default();
        assert_eq!(pool.next_first(&all(directory, 0), dice), None);
        pool.connected();
        pool
    }

    fn order(pool: &Pool) -> Vec<u16> {
        pool.several.as_ref().map_or(vec![pool.home], |several| several.order.clone())
    }

    fn sorted(pool: &Pool) -> Vec<u16> {
        let mut order = order(pool);
        order.sort_unstable();
        order
    }

    /// Whether each of the first tries has a pause before it, in middle milliseconds of the table.
    fn pauses(
        servers: u16,
        mut next: impl FnMut(&mut Pool, &Directory, &mut Dice) -> Option<Duration>,
    ) -> Vec<bool> {
        let (directory, mut dice) = (directory(servers), Dice::new(1, 1));
        let mut pool = Pool::default();
        (0..7).map(|_| next(&mut pool, &directory, &mut dice).is_some()).collect()
    }

    #[test]
    fn pauses_come_where_the_real_server_makes_them() {
        let first = |pool: &mut Pool, directory: &Directory, dice: &mut Dice| {
            pool.next_first(&all(directory, 0), dice)
        };
        let again = |pool: &mut Pool, _: &Directory, dice: &mut Dice| pool.next_again(dice);
        let (o, x) = (false, true);
        assert_eq!(pauses(1, first), [o, x, x, x, x, x, x]);
        assert_eq!(pauses(3, first), [o, o, o, x, o, o, x]);
        assert_eq!(pauses(1, again), [x, x, x, x, x, x, x]);
        let directory = directory(3);
        let again_of_three = |pool: &mut Pool, _: &Directory, dice: &mut Dice| {
            if pool.several.is_none() {
                *pool = connected(&directory, dice);
            }
            pool.next_again(dice)
        };
        assert_eq!(pauses(3, again_of_three), [o, o, x, o, o, x, o]);
    }

    #[test]
    fn pauses_grow_and_start_over_with_each_loss() {
        let (directory, mut dice) = (directory(1), Dice::new(1, 1));
        let mut pool = connected(&directory, &mut dice);
        for _ in 0..2 {
            let longest = (0..60).filter_map(|_| pool.next_again(&mut dice)).max().unwrap();
            assert!(longest > Duration::from_secs(15), "{longest:?}");
            pool.connected();
            let first = pool.next_again(&mut dice).unwrap();
            assert!(first < Duration::from_millis(1125), "{first:?}");
            pool.connected();
        }
    }

    #[test]
    fn a_node_walks_its_list_in_its_own_order_and_the_lost_server_goes_to_the_end() {
        let directory = directory(4);
        let mut orders = Vec::new();
        for index in 0..20 {
            let mut dice = Dice::new(7, index);
            let mut pool = Pool::default();
            let home = u16::try_from(index % 4).unwrap();
            assert_eq!(pool.next_first(&all(&directory, home), &mut dice), None);
            pool.connected();
            assert_eq!(pool.current(), home);
            let list = order(&pool);
            let walked: Vec<u16> = (0..8)
                .map(|_| {
                    let current = pool.current();
                    pool.next_again(&mut dice);
                    current
                })
                .collect();
            assert_eq!(walked, [list.clone(), list.clone()].concat());
            orders.push(list);
        }
        orders.sort();
        orders.dedup();
        assert!(orders.len() > 10, "{orders:?}");
    }

    #[test]
    fn a_server_that_was_passed_over_comes_next_after_a_loss() {
        let (directory, mut dice) = (directory(3), Dice::new(1, 1));
        let mut pool = Pool::default();
        pool.next_first(&all(&directory, 0), &mut dice);
        let list = order(&pool);
        pool.next_first(&all(&directory, 0), &mut dice);
        assert_eq!(pool.current(), list[1]);
        pool.connected();
        pool.next_again(&mut dice);
        assert_eq!(order(&pool), [list[0], list[2], list[1]]);
        assert_eq!(pool.current(), list[0]);
    }

    #[test]
    fn what_a_broker_tells_of_joins_behind_the_first_and_what_it_no_longer_tells_of_leaves() {
        let (directory, mut dice) = (directory(2), Dice::new(1, 1));
        let mut pool = connected(&directory, &mut dice);
        let current = pool.current();
        let told = [place(1), place(2), place(11), place(12), place(11)];
        assert_eq!(pool.learn(&told, &directory, &mut dice), 2);
        assert_eq!((pool.current(), order(&pool)[0]), (current, current));
        assert_eq!(sorted(&pool), [0, 1, 2, 3]);
        // Nothing new, nothing moves.
        let before = order(&pool);
        assert_eq!(pool.learn(&told, &directory, &mut dice), 0);
        assert_eq!(pool.learn(&[] as &[&str], &directory, &mut dice), 0);
        assert_eq!(order(&pool), before);
        // Configured ones stay although nobody names them.
        assert_eq!(pool.learn(&[place(12), place(13)], &directory, &mut dice), 1);
        assert_eq!(sorted(&pool), [0, 1, 3, 4]);
        // So does the current one, until it is left and the next broker does not name it.
        while pool.current() != 4 {
            pool.next_again(&mut dice);
        }
        pool.connected();
        assert_eq!(pool.learn(&[place(11)], &directory, &mut dice), 0);
        assert_eq!((sorted(&pool), pool.current()), (vec![0, 1, 2, 4], 4));
        pool.next_again(&mut dice);
        pool.connected();
        assert_eq!(pool.learn(&[place(11)], &directory, &mut dice), 0);
        assert_eq!(sorted(&pool), [0, 1, 2]);
    }

    #[test]
    fn a_node_that_knows_one_server_holds_no_list() {
        let (directory, mut dice) = (directory(1), Dice::new(1, 1));
        let mut pool = connected(&directory, &mut dice);
        assert_eq!(pool.learn(&[place(1)], &directory, &mut dice), 0);
        assert!(pool.several.is_none());
        assert_eq!(pool.learn(&[place(1), place(2)], &directory, &mut dice), 1);
        assert_eq!(pool.len(), 2);
        assert_eq!(pool.learn(&[place(1)], &directory, &mut dice), 0);
        assert!(pool.several.is_none());
        assert_eq!(std::mem::size_of::<Pool>(), 16);
    }

    #[test]
    fn a_node_is_configured_with_servers_of_its_own() {
        let (directory, mut dice) = (directory(3), Dice::new(1, 1));
        let mut pool = Pool::default();
        pool.next_first(&[2], &mut dice);
        pool.connected();
        assert_eq!((pool.current(), pool.len()), (2, 1));
        assert_eq!(pool.learn(&[place(3), place(1)], &directory, &mut dice), 1);
        assert_eq!(order(&pool), [2, 0]);
        pool.next_again(&mut dice);
        assert_eq!(pool.current(), 0);
    }

    #[test]
    fn a_broker_that_names_thousands_is_believed_up_to_a_bound() {
        let (directory, mut dice) = (directory(1), Dice::new(1, 1));
        let mut pool = connected(&directory, &mut dice);
        for thousand in 0..5 {
            let told: Vec<_> =
                (0..1000).map(|n| format!("host{n}.example.net:{}", thousand + 1)).collect();
            pool.learn(&told, &directory, &mut dice);
        }
        assert!(pool.len() as usize <= MAX_SERVERS);
        let is_known = |number: usize| directory.server(number as u16).is_some();
        assert!(is_known(MAX_SERVERS - 1) && !is_known(MAX_SERVERS));
    }
}
