//! A node's dice: random bits that depend on the seed, the index and how often they were asked for
//! (law 2).

use crate::node;

/// One node's dice.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The dice of the node `index`.
    pub(crate) fn new(seed: u64, index: u64) -> Self {
        Self(node::mix(seed, index))
    }

    /// The next 64 bits.
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = node::mix(self.0, 1);
        self.0
    }

    /// Brings `items` into random order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let pick = self.roll() % (last as u64 + 1);
            items.swap(last, pick as usize);
        }
    }
}
