//! Many equal things in a row as one: which nodes, and what became of each, in few bytes.

use serde::{Deserialize, Serialize};

/// A list in which equal neighbours stand once, with their number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Runs<T>(Vec<(T, u64)>);

impl<T: PartialEq> FromIterator<T> for Runs<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut runs: Vec<(T, u64)> = Vec::new();
        for item in items {
            match runs.last_mut() {
                Some((last, count)) if *last == item => *count += 1,
                _ => runs.push((item, 1)),
            }
        }
        Self(runs)
    }
}

impl<T: Clone> Runs<T> {
    /// The first `most` of the list as it was.
    pub fn expand(&self, most: usize) -> impl Iterator<Item = T> {
        let each = self.0.iter().flat_map(move |(item, count)| {
            let count = usize::try_from(*count).unwrap_or(usize::MAX).min(most);
            std::iter::repeat_n(item, count)
        });
        each.take(most).cloned()
    }
}

/// Ascending indexes in which what follows upon each other with the same step stands once: first index
/// and number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexRuns {
    /// From one index to the next within a run, at least 1.
    pub step: u64,
    /// First index and number of each run.
    pub runs: Vec<(u64, u64)>,
}

impl IndexRuns {
    /// Of ascending indexes, those of one share: `step` is the number of shares.
    #[must_use]
    pub fn of(step: u64, indexes: impl IntoIterator<Item = u64>) -> Self {
        let step = step.max(1);
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for index in indexes {
            match runs.last_mut() {
                Some((first, count)) if *first + *count * step == index => *count += 1,
                _ => runs.push((index, 1)),
            }
        }
        Self { step, runs }
    }

    /// The indexes, all below `end`.
    pub fn below(&self, end: u64) -> impl Iterator<Item = u64> {
        let step = self.step.max(1);
        self.runs.iter().flat_map(move |(first, count)| {
            let room = end.saturating_sub(*first).div_ceil(step);
            (0..(*count).min(room)).map(move |n| first + n * step)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_list_comes_back_as_it_was(list in prop::collection::vec(0_u8..3, 0..200)) {
            let runs: Runs<u8> = list.iter().copied().collect();
            let text = serde_json::to_string(&runs).unwrap();
            let read: Runs<u8> = serde_json::from_str(&text).unwrap();
            prop_assert!(read.expand(list.len()).eq(list));
        }

        #[test]
        fn indexes_of_a_share_come_back_as_they_were(
            slots in prop::collection::btree_set(0_u64..300, 0..100), of in 1_u64..20, share in 0_u64..20,
        ) {
            let share = share % of;
            let indexes: Vec<u64> = slots.into_iter().map(|slot| slot * of + share).collect();
            let runs = IndexRuns::of(of, indexes.iter().copied());
            prop_assert!(runs.below(u64::MAX).eq(indexes.iter().copied()));
            prop_assert!(runs.below(100).eq(indexes.into_iter().filter(|index| *index < 100)));
        }
    }

    #[test]
    fn what_a_stranger_sends_costs_no_more_than_was_asked_for() {
        let runs: Runs<u8> = serde_json::from_str("[[1,18446744073709551615]]").unwrap();
        assert_eq!(runs.expand(5).count(), 5);
        let indexes = IndexRuns { step: 0, runs: vec![(3, u64::MAX), (9, u64::MAX)] };
        assert_eq!(indexes.below(5).collect::<Vec<_>>(), [3, 4]);
    }
}
