//! `semver(version, constraint)`: the constraints of Masterminds/semver 3, which the real server uses
//! (`filter/compound/compound.go`; the rules are in that library's README).

use std::cmp::Ordering;

/// Longest constraint, longest version and most alternatives, as in the library.
const CONSTRAINT_LENGTH_MAX: usize = 512;
const VERSION_LENGTH_MAX: usize = 256;
const ALTERNATIVES_MAX: usize = 32;

/// Whether a version meets a constraint. `None`: one of them cannot be read.
pub(super) fn check(version: &str, constraint: &str) -> Option<bool> {
    let alternatives = alternatives(constraint)?;
    let version = Version::parse(version)?;
    Some(alternatives.iter().any(|all| {
        let any_pre = all.iter().any(|limit| !limit.version.pre.is_empty());
        let considered = version.pre.is_empty() || any_pre;
        considered && all.iter().all(|limit| limit.admits(&version))
    }))
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    major: u64,
    minor: u64,
    patch: u64,
    /// Empty for a release.
    pre: String,
}

impl Version {
    /// Reads `v1`, `1.2`, `1.2.3-beta.1+build`.
    fn parse(text: &str) -> Option<Self> {
        if text.len() > VERSION_LENGTH_MAX {
            return None;
        }
        let text = text.strip_prefix('v').unwrap_or(text);
        let (text, build) = split_at_sign(text, '+');
        let (numbers, pre) = split_at_sign(text, '-');
        let words = |list: &str| list.split('.').all(is_identifier);
        let is_whole = pre.is_none_or(|pre| words(pre) && pre.split('.').all(is_canonical))
            && build.is_none_or(words);
        let mut numbers = numbers.split('.').map(number);
        let major = numbers.next()??;
        let minor = numbers.next().unwrap_or(Some(0))?;
        let patch = numbers.next().unwrap_or(Some(0))?;
        let version = Self { major, minor, patch, pre: pre.unwrap_or_default().to_owned() };
        (is_whole && numbers.next().is_none()).then_some(version)
    }
}

fn split_at_sign(text: &str, sign: char) -> (&str, Option<&str>) {
    text.split_once(sign).map_or((text, None), |(left, right)| (left, Some(right)))
}

fn is_identifier(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Numbers in a pre-release have no leading zeros.
fn is_canonical(word: &str) -> bool {
    word.len() == 1 || !word.starts_with('0') || word.bytes().any(|b| !b.is_ascii_digit())
}

fn number(word: &str) -> Option<u64> {
    // `parse` would take a sign.
    word.bytes().all(|b| b.is_ascii_digit()).then(|| word.parse().ok())?
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let numbers = |v: &Self| (v.major, v.minor, v.patch);
        numbers(self).cmp(&numbers(other)).then_with(|| {
            match (self.pre.is_empty(), other.pre.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => compare_pre(&self.pre, &other.pre),
            }
        })
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Word by word: numbers before texts, and a list before a longer one that begins with it.
fn compare_pre(left: &str, right: &str) -> Ordering {
    let key = |word: &str| {
        let number = word.parse::<u64>();
        (number.is_err(), number.unwrap_or(0), word.to_owned())
    };
    left.split('.').map(key).cmp(right.split('.').map(key))
}

/// One comparison of a constraint.
#[derive(Debug)]
struct Limit {
    operator: &'static str,
    version: Version,
    /// How many of the three numbers are given; the others are 0.
    given: usize,
}

impl Limit {
    fn admits(&self, version: &Version) -> bool {
        match self.operator {
            "!=" => !self.equals(version),
            ">" => self.is_below(version),
            "<" => *version < self.version,
            ">=" | "=>" => *version >= self.version,
            "<=" | "=<" => self.is_at_most(version),
            "~" | "~>" => self.tilde(version),
            "^" => self.caret(version),
            _ if self.given == 3 => version.cmp(&self.version).is_eq(),
            _ => self.tilde(version),
        }
    }

    fn equals(&self, version: &Version) -> bool {
        let limit = &self.version;
        match self.given {
            3 => version.cmp(limit).is_eq(),
            2 => {
                let numbers = (version.major, version.minor) == (limit.major, limit.minor);
                numbers && version.pre == limit.pre
            }
            1 => version.major == limit.major,
            // As the library has it: `!= *` excludes 0.0.0 alone.
            _ => version.cmp(limit).is_eq(),
        }
    }

    fn is_below(&self, version: &Version) -> bool {
        match self.given {
            1 => version.major > self.version.major,
            2 => (version.major, version.minor) > (self.version.major, self.version.minor),
            _ => *version > self.version,
        }
    }

    fn is_at_most(&self, version: &Version) -> bool {
        match self.given {
            3 => *version <= self.version,
            1 => version.major <= self.version.major,
            _ => (version.major, version.minor) <= (self.version.major, self.version.minor),
        }
    }

    fn tilde(&self, version: &Version) -> bool {
        let limit = &self.version;
        let is_any =
            (limit.major, limit.minor, limit.patch) == (0, 0, 0) && !matches!(self.given, 1 | 2);
        *version >= *limit
            && (is_any
                || version.major == limit.major
                    && (self.given == 1 || version.minor == limit.minor))
    }

    fn caret(&self, version: &Version) -> bool {
        let limit = &self.version;
        if version < limit {
            return false;
        }
        if limit.major > 0 || self.given == 1 {
            return version.major == limit.major;
        }
        if limit.minor > 0 || self.given == 2 {
            return version.major == 0 && version.minor == limit.minor;
        }
        (version.major, version.minor, version.patch) == (0, 0, limit.patch)
    }
}

/// The alternatives of a constraint, each a list of limits that must all hold.
fn alternatives(constraint: &str) -> Option<Vec<Vec<Limit>>> {
    if constraint.len() > CONSTRAINT_LENGTH_MAX {
        return None;
    }
    let alternatives: Option<Vec<_>> = constraint.split("||").map(limits).collect();
    alternatives.filter(|alternatives| alternatives.len() <= ALTERNATIVES_MAX)
}

fn limits(text: &str) -> Option<Vec<Limit>> {
    let mut limits = Vec::new();
    let mut rest = text.trim_start();
    loop {
        let (operator, after) = operator(rest);
        let (version, after) = word(after.trim_start());
        // `1.2 - 2.0` is a range.
        if let Some(upper) = range_end(operator, after) {
            let (upper, after) = word(upper);
            limits.push(Limit::parse(">=", version)?);
            limits.push(Limit::parse("<=", upper)?);
            rest = after;
        } else {
            limits.push(Limit::parse(operator, version)?);
            rest = after;
        }
        let next = rest.trim_start();
        if next.is_empty() {
            return Some(limits);
        }
        let separated = next.strip_prefix(',');
        if separated.is_none() && next.len() == rest.len() {
            return None;
        }
        rest = separated.unwrap_or(next).trim_start();
    }
}

fn operator(text: &str) -> (&'static str, &str) {
    ["!=", ">=", "=>", "<=", "=<", "~>", "=", ">", "<", "~", "^"]
        .into_iter()
        .find_map(|sign| Some((sign, text.strip_prefix(sign)?)))
        .unwrap_or(("", text))
}

fn word(text: &str) -> (&str, &str) {
    let belongs = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '*');
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

fn range_end<'t>(operator: &str, after: &'t str) -> Option<&'t str> {
    let dash = after.trim_start();
    let upper =
        dash.strip_prefix('-').filter(|_| operator.is_empty() && dash.len() < after.len())?;
    let trimmed = upper.trim_start();
    (trimmed.len() < upper.len()).then_some(trimmed)
}

impl Limit {
    fn parse(operator: &'static str, text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let end = text.find(['-', '+']).unwrap_or(text.len());
        let (numbers, suffix) = text.split_at(end);
        let numbers: Vec<&str> = numbers.split('.').collect();
        let is_wild = |word: &&str| matches!(*word, "x" | "X" | "*");
        let given = numbers.iter().position(is_wild).unwrap_or(numbers.len());
        let known = |word: &str| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit() || b"xX*".contains(&b))
        };
        if numbers.len() > 3 || !numbers.iter().all(|word| known(word)) {
            return None;
        }
        let mut full: Vec<&str> = numbers[..given].to_vec();
        full.resize(3, "0");
        let version = Version::parse(&format!("{}{suffix}", full.join(".")))?;
        Some(Self { operator, version, given })
    }
}
