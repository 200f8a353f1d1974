//! A set of small numbers as bits: which entries of a [`Roster`](super::Roster) are expected,
//! asked, on time, late.
//!
//! 50,000 nodes take 6 KiB a set, so that every wave can afford several and keep none.

/// A set of indexes below a fixed size, one bit each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BitSet {
    words: Box<[u64]>,
    size: u32,
}

impl BitSet {
    /// The empty set over the indexes `0..size`.
    #[must_use]
    pub fn new(size: u32) -> Self {
        Self { words: vec![0; size.div_ceil(64) as usize].into_boxed_slice(), size }
    }

    /// The set of all indexes `0..size`.
    #[must_use]
    pub fn full(size: u32) -> Self {
        let mut set = Self::new(size);
        set.words.fill(u64::MAX);
        let spare = set.words.len() as u32 * 64 - size;
        if let Some(last) = set.words.last_mut() {
            *last >>= spare;
        }
        set
    }

    /// The set of the given indexes; those that are not below `size` are left out.
    #[must_use]
    pub fn of(size: u32, indexes: impl IntoIterator<Item = u32>) -> Self {
        let mut set = Self::new(size);
        for index in indexes {
            set.insert(index);
        }
        set
    }

    /// Indexes are below this.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.size
    }

    /// Adds `index` and says whether it was new; an index that is not below the size never is.
    pub fn insert(&mut self, index: u32) -> bool {
        if index >= self.size {
            return false;
        }
        let (word, bit) = (index as usize / 64, 1u64 << (index % 64));
        let new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        new
    }

    /// Whether `index` is in the set.
    #[must_use]
    pub fn contains(&self, index: u32) -> bool {
        index < self.size && self.words[index as usize / 64] & (1u64 << (index % 64)) != 0
    }

    /// How many indexes are in the set.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// The indexes in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().enumerate().flat_map(|(at, &word)| {
            std::iter::successors((word != 0).then_some(word), |rest| {
                let rest = rest & (rest - 1);
                (rest != 0).then_some(rest)
            })
            .map(move |rest| at as u32 * 64 + rest.trailing_zeros())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::BitSet;

    #[test]
    fn a_full_set_holds_exactly_the_indexes_below_its_size() {
        for size in [0, 1, 63, 64, 65, 128, 1000] {
            let set = BitSet::full(size);
            assert_eq!(set.count(), u64::from(size), "size {size}");
            assert!(set.iter().eq(0..size), "size {size}");
            assert!(!set.contains(size), "size {size}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_tree_set(size in 0u32..300, indexes in prop::collection::vec(0u32..320, 0..200)) {
            let mut set = BitSet::new(size);
            let mut model = BTreeSet::new();
            for index in indexes {
                prop_assert_eq!(set.insert(index), index < size && model.insert(index));
            }
            prop_assert_eq!(set.count(), model.len() as u64);
            prop_assert!(set.iter().eq(model.iter().copied()));
            prop_assert!((0..320).all(|index| set.contains(index) == model.contains(&index)));
        }
    }
}
