//! Who may answer: identities with a dense index each, so that a wave's sets are bits.
//!
//! All names lie in one text and the lookup table holds indexes only: about 12 bytes a node above
//! the names themselves, shared by all waves. Where nodes are told apart by a tag, that is 2 bytes more.

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;

/// Marks a free slot of the lookup table.
const FREE: u32 = u32::MAX;

/// What is wrong with a list of identities.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RosterError {
    /// Two nodes cannot be told apart.
    #[error("identity {0:?} is listed twice\nlist every node once")]
    Duplicate(String),
    /// The list or its names exceed what 32 bits count.
    #[error("the list of identities is too long after {0} entries\nmeasure fewer nodes at once")]
    TooLong(u32),
}

/// The nodes that waves may expect, by dense index from 0.
pub struct Roster {
    names: String,
    /// Where each name ends in `names`.
    ends: Vec<u32>,
    /// Global node index of each entry.
    nodes: Vec<u64>,
    /// The tag of each entry; empty where all have the same.
    tags: Vec<u16>,
    /// How many different tags there may be.
    tag_count: u16,
    /// Open addressing with linear probing; at most half full.
    slots: Box<[u32]>,
    /// The next entry with the same identity, where nodes share one.
    twins: HashMap<u32, u32>,
    hasher: RandomState,
}

impl Roster {
    /// Makes the roster of `(identity, global node index)` pairs, indexes in the given order. Where an
    /// identity is listed twice, its entries are told apart by nothing but their order.
    ///
    /// # Errors
    ///
    /// When the list is beyond 32 bits.
    pub fn new<I: AsRef<str>>(
        entries: impl IntoIterator<Item = (I, u64)>,
    ) -> Result<Self, RosterError> {
        let (mut names, mut ends, mut nodes) = (String::new(), Vec::new(), Vec::new());
        for (identity, node) in entries {
            names.push_str(identity.as_ref());
            let count = ends.len() as u32;
            if count >= FREE / 4 {
                return Err(RosterError::TooLong(count));
            }
            ends.push(u32::try_from(names.len()).map_err(|_| RosterError::TooLong(count))?);
            nodes.push(node);
        }
        names.shrink_to_fit();
        let slots = vec![FREE; (ends.len() * 2).next_power_of_two()].into_boxed_slice();
        let (hasher, twins) = (RandomState::default(), HashMap::new());
        let tags = Vec::new();
        let mut roster = Self { names, ends, nodes, tags, tag_count: 0, slots, twins, hasher };
        // From the last to the first, so that the first of equals is found and the others follow it.
        for index in (0..roster.len()).rev() {
            let slot = roster.slot(roster.identity(index));
            if roster.slots[slot] != FREE {
                roster.twins.insert(index, roster.slots[slot]);
            }
            roster.slots[slot] = index;
        }
        Ok(roster)
    }

    /// The same roster, if no identity is listed twice.
    ///
    /// # Errors
    ///
    /// The first that is.
    pub fn distinct(self) -> Result<Self, RosterError> {
        match self.twins.keys().min() {
            None => Ok(self),
            Some(first) => Err(RosterError::Duplicate(self.identity(*first).to_owned())),
        }
    }

    /// The same with a tag for each entry in turn: answers are also counted by it. Tags are numbers from
    /// 0; it is the caller's who knows what they mean. A list of another length tags nobody.
    #[must_use]
    pub fn tagged(mut self, tags: Vec<u16>) -> Self {
        let count = tags.iter().max().map_or(0, |most| most.saturating_add(1));
        if tags.len() == self.ends.len() && count > 1 {
            (self.tags, self.tag_count) = (tags, count);
        }
        self
    }

    /// The tag of the entry at `index`, where entries have tags.
    #[must_use]
    pub fn tag(&self, index: u32) -> Option<u16> {
        self.tags.get(index as usize).copied()
    }

    /// Tags are below this; 0 where entries have none.
    #[must_use]
    pub fn tag_count(&self) -> u16 {
        self.tag_count
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.ends.len() as u32
    }

    /// Whether there is no entry at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The identity at `index`; empty beyond the end.
    #[must_use]
    pub fn identity(&self, index: u32) -> &str {
        let at = index as usize;
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied();
        let end = self.ends.get(at).copied().unwrap_or(0);
        self.names.get(start.unwrap_or(0) as usize..end as usize).unwrap_or("")
    }

    /// The global node index of the entry at `index`.
    #[must_use]
    pub fn node(&self, index: u32) -> Option<u64> {
        self.nodes.get(index as usize).copied()
    }

    /// The index of `identity`, compared byte for byte (protocol document 5.8).
    #[must_use]
    pub fn find(&self, identity: &str) -> Option<u32> {
        let index = self.slots[self.slot(identity)];
        (index != FREE).then_some(index)
    }

    /// The entries with `identity`, in their order.
    pub fn all(&self, identity: &str) -> impl Iterator<Item = u32> + '_ {
        std::iter::successors(self.find(identity), |index| self.twins.get(index).copied())
    }

    /// The slot that holds `identity`, or the free one where it would go.
    fn slot(&self, identity: &str) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = self.hasher.hash_one(identity) as usize & mask;
        loop {
            let index = self.slots[slot];
            if index == FREE || self.identity(index) == identity {
                return slot;
            }
            slot = (slot + 1) & mask;
        }
    }
}

impl std::fmt::Debug for Roster {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Roster").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Roster, RosterError};

    #[test]
    fn tags_are_by_entry_and_one_for_all_is_none() {
        let roster = || Roster::new([("a", 0), ("b", 1), ("c", 2)]).expect("distinct identities");
        let tagged = roster().tagged(vec![2, 0, 2]);
        assert_eq!([0, 1, 2, 3].map(|index| tagged.tag(index)), [Some(2), Some(0), Some(2), None]);
        assert_eq!(tagged.tag_count(), 3);
        for tags in [vec![], vec![0, 0, 0], vec![1, 2]] {
            let roster = roster().tagged(tags);
            assert_eq!((roster.tag_count(), roster.tag(0)), (0, None));
        }
    }

    #[test]
    fn every_identity_is_found_at_its_index_and_no_other_is() {
        for count in [0u64, 1, 2, 3, 7, 1000] {
            let roster = Roster::new((0..count).map(|n| (format!("node{n}"), n + 10)))
                .expect("distinct identities");
            assert_eq!(u64::from(roster.len()), count);
            for index in 0..roster.len() {
                assert_eq!(roster.identity(index), format!("node{index}"));
                assert_eq!(roster.find(roster.identity(index)), Some(index));
                assert_eq!(roster.node(index), Some(u64::from(index) + 10));
            }
            for stranger in ["", "node", "node-1", "NODE0", &format!("node{count}")] {
                assert_eq!(roster.find(stranger), None, "{stranger:?} of {count}");
            }
            assert_eq!(roster.identity(roster.len()), "");
            assert_eq!(roster.node(roster.len()), None);
        }
    }

    #[test]
    fn an_identity_listed_twice_is_refused_by_name() {
        let roster =
            |names: [&'static str; 3]| Roster::new(names.into_iter().zip(0..)).expect("short");
        let refused = roster(["a", "b", "a"]).distinct().err();
        assert_eq!(refused, Some(RosterError::Duplicate("a".to_owned())));
        assert!(roster(["a", "b", "c"]).distinct().is_ok());
    }

    #[test]
    fn entries_that_share_an_identity_are_all_found_in_their_order() {
        let names = ["a", "b", "a", "c", "a", "b"];
        let roster = Roster::new(names.into_iter().zip(0..)).expect("short");
        for (name, entries) in
            [("a", vec![0, 2, 4]), ("b", vec![1, 5]), ("c", vec![3]), ("d", vec![])]
        {
            assert_eq!(roster.all(name).collect::<Vec<_>>(), entries, "{name}");
            assert_eq!(roster.find(name), entries.first().copied());
        }
    }
}
