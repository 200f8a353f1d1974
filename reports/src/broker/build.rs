//! What a broker ran: one release, or one after the other where it was replaced.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Most changes of its program that are remembered of a broker: behind one address there may be several.
const BUILDS: usize = 64;

/// A release of nats-server, as one toolchain built it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Build {
    /// The version that it reports.
    pub version: String,
    /// The Go toolchain that built it, where it says so.
    #[serde(default)]
    pub go: Option<String>,
}

impl Build {
    /// Whether both may be the same: not every observer learns of the toolchain.
    fn may_be(&self, other: &Self) -> bool {
        let Self { version, go } = other;
        self.version == *version && (self.go.is_none() || go.is_none() || self.go == *go)
    }
}

/// What a broker was seen to run, by the instant of the run at which it was seen first. Merging is a
/// union, and the empty one is its identity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Builds(BTreeMap<Duration, Build>);

impl Builds {
    /// One that was seen at the start.
    #[must_use]
    pub fn one(version: impl Into<String>, go: Option<String>) -> Self {
        let mut builds = Self::default();
        builds.note(Duration::ZERO, Build { version: version.into(), go });
        builds
    }

    /// Takes note of what it is seen to run at this instant.
    pub fn note(&mut self, at: Duration, build: Build) {
        let is_new = self.0.values().next_back().is_none_or(|last| *last != build);
        if is_new && self.0.len() < BUILDS {
            self.0.insert(at, build);
        }
    }

    /// Takes over what another observer saw.
    pub fn merge(&mut self, other: &Self) {
        for (at, build) in &other.0 {
            let mine = self.0.entry(*at).or_default();
            if *build > *mine {
                mine.clone_from(build);
            }
        }
    }

    /// What it ran, each since when, in order.
    #[must_use]
    pub fn in_order(&self) -> Vec<(Duration, Build)> {
        let mut ran: Vec<(Duration, Build)> = Vec::new();
        for (at, build) in &self.0 {
            match ran.last_mut() {
                Some((_, last)) if last.may_be(build) => {
                    last.go = last.go.take().or_else(|| build.go.clone());
                }
                _ => ran.push((*at, build.clone())),
            }
        }
        ran
    }

    /// What it ran last.
    #[must_use]
    pub fn last(&self) -> Build {
        self.in_order().pop().map(|(_, build)| build).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_broker_ran_is_in_the_order_of_time_and_not_of_versions() {
        let build = |version: &str, go: Option<&str>| Build {
            version: version.to_owned(),
            go: go.map(str::to_owned),
        };
        let mut builds = Builds::one("2.9.25", None);
        for (at, version) in [(1, "2.9.25"), (2, "2.9.25"), (7, "2.14.5"), (8, "2.14.5")] {
            builds.note(Duration::from_secs(at), build(version, Some("go1.26")));
        }
        builds.merge(&Builds::one("2.9.25", Some("go1.26".to_owned())));
        let first = (Duration::ZERO, build("2.9.25", Some("go1.26")));
        let second = (Duration::from_secs(7), build("2.14.5", Some("go1.26")));
        assert_eq!(builds.in_order(), [first, second.clone()]);
        assert_eq!(builds.last(), second.1);
        assert_eq!(Builds::default().last(), Build::default());
    }

    #[test]
    fn an_address_behind_which_releases_take_turns_is_remembered_in_bounds() {
        let mut builds = Builds::default();
        for second in 0..1000 {
            let version = if second % 2 == 0 { "2.9.25" } else { "2.14.5" }.to_owned();
            builds.note(Duration::from_secs(second), Build { version, go: None });
        }
        assert_eq!(builds.in_order().len(), BUILDS);
    }
}
