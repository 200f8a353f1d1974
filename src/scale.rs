//! The same scenario at several sizes: which sizes make sense, how the nodes of each are dealt out to the
//! groups, and the series as it grows.
//!
//! It runs nothing: each size is a run like any other (`conductor`), and what follows from the sizes
//! is arithmetic (`reports::scaling`).

use std::path::Path;

use jiff::Timestamp;
use reports::run::Tool;
use reports::scaling::{LEAST_SIZES, SCHEMA_VERSION, Scaling, ScalingFolder, Size, fit};
use reports::store::{FolderName, StoreError};
use reports::summary::Summary;
use reports::verdict::ExitCode;

use crate::conductor::Finished;

/// Sizes of which no law can be learnt. The last line of its text says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizesError {
    /// A line through so few points fits whatever was measured.
    #[error(
        "{have} of at least {LEAST_SIZES} sizes\nname more of them, such as --nodes 1000,2000,5000"
    )]
    TooFew {
        /// How many there are.
        have: usize,
    },
    /// A fleet without nodes, or fewer nodes than groups.
    #[error("{nodes} nodes cannot be dealt out to {groups}\nname sizes of at least {least}")]
    TooSmall {
        /// The size.
        nodes: u64,
        /// The groups, in words.
        groups: String,
        /// The smallest size.
        least: usize,
    },
    /// A size that is named twice.
    #[error("{0} nodes are named twice\nname each size once")]
    Twice(u64),
    /// A size behind a larger one.
    #[error("{after} nodes come after {before}\nname sizes from small to large")]
    Unsorted {
        /// The larger one.
        before: u64,
        /// The smaller one.
        after: u64,
    },
    /// Nothing to scale.
    #[error("the scenario has no fleet\nname one whose nodes are started here")]
    NoFleet,
}

/// Checks sizes for a fleet of so many groups.
///
/// # Errors
/// When no law can be learnt of them.
pub fn check_sizes(sizes: &[u64], groups: usize) -> Result<(), SizesError> {
    if groups == 0 {
        return Err(SizesError::NoFleet);
    }
    let least = u64::try_from(groups).unwrap_or(u64::MAX);
    if let Some(nodes) = sizes.iter().copied().find(|nodes| *nodes < least) {
        let groups_in_words = match groups {
            1 => "a group".to_owned(),
            many => format!("{many} groups"),
        };
        return Err(SizesError::TooSmall { nodes, groups: groups_in_words, least: groups });
    }
    for pair in sizes.windows(2) {
        match pair {
            [before, after] if before == after => return Err(SizesError::Twice(*after)),
            [before, after] if before > after => {
                return Err(SizesError::Unsorted { before: *before, after: *after });
            }
            _ => {}
        }
    }
    match sizes.len() {
        have if have < LEAST_SIZES => Err(SizesError::TooFew { have }),
        _ => Ok(()),
    }
}

/// Deals `nodes` out to groups in proportion to what they have, at least one to each: what is left over
/// by rounding goes to those that lost most of a node by it, the first of equals.
#[must_use]
pub fn apportion(groups: &[u64], nodes: u64) -> Vec<u64> {
    let whole: u128 = groups.iter().copied().map(u128::from).sum::<u128>().max(1);
    let exact = |group: &u64| u128::from(*group) * u128::from(nodes);
    let floor = |group: &u64| u64::try_from(exact(group) / whole).unwrap_or(u64::MAX);
    let mut dealt: Vec<u64> = groups.iter().map(|group| floor(group).max(1)).collect();
    let mut by_rest: Vec<usize> = (0..groups.len()).collect();
    by_rest.sort_by_key(|at| std::cmp::Reverse(exact(&groups[*at]) % whole));
    let sum = |dealt: &[u64]| dealt.iter().sum::<u64>();
    for at in by_rest.into_iter().filter(|at| floor(&groups[*at]) > 0) {
        if sum(&dealt) < nodes {
            dealt[at] += 1;
        }
    }
    // Groups that would have less than one node take theirs from the largest.
    while sum(&dealt) > nodes {
        let Some(largest) = dealt.iter_mut().max() else { break };
        *largest -= 1;
    }
    dealt
}

/// A series under way, written down as it grows.
#[derive(Debug)]
pub struct Series {
    folder: ScalingFolder,
    scaling: Scaling,
    predict: Vec<u64>,
}

impl Series {
    /// Makes the folder of a series of the scenario with this name, in `out`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn begin(
        out: &Path,
        scenario: &str,
        sizes: Vec<u64>,
        predict: Vec<u64>,
        bound: f64,
    ) -> Result<Self, StoreError> {
        let now = Timestamp::now();
        let name = FolderName {
            scenario: scenario.to_owned(),
            timestamp: now.strftime("%Y%m%dT%H%M%SZ").to_string(),
            id: format!("{:04x}", rand::random::<u16>()),
            epoch: now.into(),
        };
        let scaling = Scaling {
            schema_version: SCHEMA_VERSION,
            tool: Tool::default(),
            scenario: scenario.to_owned(),
            started_at: now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            partial: true,
            asked: sizes,
            sizes: Vec::new(),
            confidence: fit::CONFIDENCE,
            bound,
            laws: Vec::new(),
            why_no_laws: None,
            exit_code: ExitCode::Passed.number(),
        };
        let series = Self { folder: ScalingFolder::create(out, &name)?, scaling, predict };
        series.folder.write(&series.scaling)?;
        Ok(series)
    }

    /// Where it is written to; the result folders of its sizes belong there.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Takes over a size that was run, and says what it gave.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn add(&mut self, nodes: u64, finished: &Finished) -> Result<&Size, StoreError> {
        let folder = finished.folder.file_name().unwrap_or_default();
        let summary = Summary::of(&finished.result);
        self.scaling.tool = summary.tool.clone();
        let size = Size::of(nodes, folder.to_string_lossy().into_owned(), &summary);
        self.scaling.sizes.push(size);
        self.scaling.conclude(&self.predict, None);
        self.folder.write(&self.scaling)?;
        // Just pushed.
        Ok(&self.scaling.sizes[self.scaling.sizes.len() - 1])
    }

    /// Writes the whole down for good; `ended`: why it ended before its end.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self, ended: Option<ExitCode>) -> Result<Scaling, StoreError> {
        self.scaling.partial = self.scaling.sizes.len() < self.scaling.asked.len();
        self.scaling.conclude(&self.predict, ended);
        self.folder.write(&self.scaling)?;
        Ok(self.scaling)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_that_teach_nothing_are_refused_with_what_to_write() {
        for (sizes, groups, says) in [
            (&[][..], 1, "0 of at least 3 sizes"),
            (&[1000], 1, "1 of at least 3 sizes"),
            (&[1000, 2000], 1, "2 of at least 3 sizes"),
            (&[0, 10, 20], 1, "0 nodes cannot be dealt out to a group"),
            (&[2, 10, 20], 3, "2 nodes cannot be dealt out to 3 groups"),
            (&[10, 10, 20], 1, "10 nodes are named twice"),
            (&[10, 30, 20], 1, "20 nodes come after 30"),
            (&[10, 20, 30], 0, "the scenario has no fleet"),
        ] {
            let error = check_sizes(sizes, groups).expect_err(says).to_string();
            assert!(error.starts_with(says) && error.contains('\n'), "{error}");
        }
        assert_eq!(check_sizes(&[10, 20, 30], 10), Ok(()));
    }

    #[test]
    fn groups_keep_their_shares() {
        for (groups, nodes, dealt) in [
            (&[500][..], 2000, &[2000][..]),
            (&[300, 100], 2000, &[1500, 500]),
            (&[1, 1, 1], 10, &[4, 3, 3]),
            (&[9_999, 1], 100, &[99, 1]),
            (&[98, 1, 1], 3, &[1, 1, 1]),
        ] {
            assert_eq!(apportion(groups, nodes), dealt, "{groups:?}");
        }
    }

    proptest! {
        #[test]
        fn nobody_is_lost_and_no_group_is_empty_or_a_node_off_its_share(
            groups in prop::collection::vec(1_u64..100_000, 1..8), more in 0_u64..200_000,
        ) {
            let count = groups.len() as u64;
            let nodes = count + more;
            let dealt = apportion(&groups, nodes);
            prop_assert_eq!(dealt.iter().sum::<u64>(), nodes);
            prop_assert!(dealt.iter().all(|group| *group >= 1));
            let whole: u64 = groups.iter().sum();
            for (had, has) in groups.iter().zip(&dealt) {
                let share = *had as f64 * nodes as f64 / whole as f64;
                // Whoever has less than one node takes it from another.
                prop_assert!((*has as f64 - share).abs() < 1.0 + count as f64, "{groups:?} {dealt:?}");
            }
        }
    }
}
