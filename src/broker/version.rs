//! Versions of nats-server: reading, ordering and asking a program for its own.
//!
//! Only whole versions (`2.14.5`) are versions here: a range would make two runs of one scenario
//! differ, and a result must say what it measured.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A nats-server version, `major.minor.patch` with an optional pre-release such as `-RC.1`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version {
    major: u32,
    minor: u32,
    patch: u32,
    pre: Option<String>,
}

/// A text that is no version of nats-server that this tool can run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VersionError {
    /// The text does not have the form of a version.
    #[error("\"{0}\" is not a nats-server version: write all three numbers, for example 2.14.5")]
    Malformed(String),
    /// Releases before 2.0.0 have another name, other keys and no `/v2` module.
    #[error("nats-server {0} is too old: choose 2.0.0 or later")]
    TooOld(String),
}

impl Version {
    /// The oldest version that the configuration writer knows.
    pub const OLDEST: Self = Self::new(2, 0, 0);

    /// The newest version that was checked with this tool: what is obtained where nothing is at
    /// hand and no version is asked for.
    pub const NEWEST_KNOWN: Self = Self::new(2, 14, 5);

    /// A released version.
    #[must_use]
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch, pre: None }
    }

    /// Whether it has a release's numbers or later ones.
    #[must_use]
    pub fn is_at_least(&self, (major, minor, patch): (u32, u32, u32)) -> bool {
        (self.major, self.minor, self.patch) >= (major, minor, patch)
    }

    /// The version in what `nats-server --version` prints: `nats-server: v2.9.10` in every 2.x.
    #[must_use]
    pub fn from_program_output(output: &str) -> Option<Self> {
        output.lines().find_map(|line| line.strip_prefix("nats-server:")?.trim().parse().ok())
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || VersionError::Malformed(text.to_owned());
        let bare = text.strip_prefix('v').unwrap_or(text);
        let (numbers, pre) = match bare.split_once('-') {
            Some((numbers, pre)) => (numbers, Some(pre)),
            None => (bare, None),
        };
        let pre_is_plain = |pre: &str| {
            !pre.is_empty() && pre.bytes().all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b))
        };
        if !pre.is_none_or(pre_is_plain) {
            return Err(malformed());
        }
        let numbers: Vec<u32> = numbers
            .split('.')
            .map(|number| {
                let digits = number.bytes().all(|b| b.is_ascii_digit());
                if digits { number.parse().map_err(|_| malformed()) } else { Err(malformed()) }
            })
            .collect::<Result<_, _>>()?;
        let [major, minor, patch] = numbers[..] else { return Err(malformed()) };
        let version = Self { major, minor, patch, pre: pre.map(str::to_owned) };
        if version < Self::OLDEST {
            Err(VersionError::TooOld(text.to_owned()))
        } else {
            Ok(version)
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        self.pre.as_ref().map_or(Ok(()), |pre| write!(f, "-{pre}"))
    }
}

impl Ord for Version {
    /// By number; a pre-release comes before its release, pre-releases of one release by text.
    fn cmp(&self, other: &Self) -> Ordering {
        let numbers = |v: &Self| (v.major, v.minor, v.patch);
        numbers(self).cmp(&numbers(other)).then_with(|| match (&self.pre, &other.pre) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(a), Some(b)) => a.cmp(b),
        })
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_versions_are_read_and_everything_else_is_refused() {
        for (text, expected) in [
            ("2.14.5", Some("2.14.5")),
            ("v2.9.10", Some("2.9.10")),
            ("2.12.0-RC.1", Some("2.12.0-RC.1")),
            ("2.14", None),
            ("2.14.5.1", None),
            ("2.14.x", None),
            ("2.+1.5", None),
            ("2.14.5-", None),
            ("2.14.5-../../etc", None),
            ("2.14.99999999999", None),
            ("latest", None),
            ("", None),
            ("1.4.1", None),
            ("2.0.0-RC1", None),
        ] {
            let read = text.parse::<Version>().ok().map(|v| v.to_string());
            assert_eq!(read.as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn versions_are_ordered_by_number_and_a_release_follows_its_candidates() {
        let ordered = ["2.0.0", "2.1.9", "2.2.0-RC.1", "2.2.0", "2.9.25", "2.10.0", "2.14.5"];
        let versions: Vec<Version> = ordered.iter().map(|v| v.parse().unwrap()).collect();
        assert!(versions.is_sorted(), "{versions:?}");
    }

    #[test]
    fn a_program_names_its_version_on_a_line_of_its_own() {
        for (output, expected) in [
            ("nats-server: v2.9.10\n", Some("2.9.10")),
            ("warning: something\nnats-server: v2.14.5\n", Some("2.14.5")),
            ("nats-server version 1.4.1\n", None),
            ("hello\n", None),
            ("", None),
        ] {
            let read = Version::from_program_output(output).map(|v| v.to_string());
            assert_eq!(read.as_deref(), expected, "{output:?}");
        }
    }
}
