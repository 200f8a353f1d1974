//! What control groups leave to this process: version 1, version 2, or both at once as on hybrid hosts.
//!
//! Limits of all groups from our own up to the root count, because the narrowest of them binds. A path that
//! is not there (a container sees its host's names) leaves those above it, of which the root is the container's own.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A limit of version 1 above this is none: it writes the largest multiple of a page.
const NO_LIMIT: u64 = 1 << 62;

/// What is left below the limits of our control groups; `None`: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlGroup {
    /// Memory, with the page cache counted as free that the kernel gives up first.
    pub memory_left_bytes: Option<u64>,
    /// Processor time, in thousandths of a processor.
    pub cpu_milli: Option<u64>,
    /// Tasks: processes and threads.
    pub tasks_left: Option<u64>,
}

/// The names of the files of one version.
struct Files {
    memory_limit: &'static str,
    memory_used: &'static str,
    inactive: &'static str,
}

const FIRST: Files = Files {
    memory_limit: "memory.limit_in_bytes",
    memory_used: "memory.usage_in_bytes",
    inactive: "total_inactive_file",
};
const SECOND: Files =
    Files { memory_limit: "memory.max", memory_used: "memory.current", inactive: "inactive_file" };

impl ControlGroup {
    /// Reads those of this process.
    #[must_use]
    pub fn read() -> Self {
        let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::under(Path::new("/sys/fs/cgroup"), &membership)
    }

    /// Reads those that `membership`, the text of `/proc/PID/cgroup`, names below `root`.
    pub(super) fn under(root: &Path, membership: &str) -> Self {
        let mut all = Self::default();
        for line in membership.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            let found = match controllers {
                "" => {
                    let unified = root.join("unified");
                    let mount = if unified.is_dir() { unified } else { root.to_owned() };
                    Self::of(&groups(&mount, path), &SECOND)
                }
                _ => {
                    let mounts = controllers.split(',').map(|name| root.join(name));
                    let groups: Vec<_> = mounts.flat_map(|mount| groups(&mount, path)).collect();
                    Self::of(&groups, &FIRST)
                }
            };
            all = all.narrower(found);
        }
        all
    }

    /// Of both, what leaves less.
    #[must_use]
    pub fn narrower(self, other: Self) -> Self {
        let less = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Self {
            memory_left_bytes: less(self.memory_left_bytes, other.memory_left_bytes),
            cpu_milli: less(self.cpu_milli, other.cpu_milli),
            tasks_left: less(self.tasks_left, other.tasks_left),
        }
    }

    fn of(groups: &[PathBuf], files: &Files) -> Self {
        let least = |left: fn(&Path, &Files) -> Option<u64>| {
            groups.iter().filter_map(|group| left(group, files)).min()
        };
        Self {
            memory_left_bytes: least(memory_left),
            cpu_milli: least(|group, _| cpu_milli(group)),
            tasks_left: least(|group, _| {
                let most: u64 = number(&group.join("pids.max"))?;
                Some(most.saturating_sub(number(&group.join("pids.current")).unwrap_or(0)))
            }),
        }
    }
}

/// The group at `path` and all above it.
fn groups(mount: &Path, path: &str) -> Vec<PathBuf> {
    let own = mount.join(path.trim_start_matches('/'));
    own.ancestors().take_while(|group| group.starts_with(mount)).map(Path::to_owned).collect()
}

fn memory_left(group: &Path, files: &Files) -> Option<u64> {
    let most = number(&group.join(files.memory_limit)).filter(|most| *most < NO_LIMIT)?;
    let used = number(&group.join(files.memory_used)).unwrap_or(0);
    let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let mut lines = stat.lines().filter_map(|line| line.split_once(' '));
    let cache = lines.find(|(name, _)| *name == files.inactive);
    let cache = cache.and_then(|(_, bytes)| bytes.parse().ok()).unwrap_or(0);
    Some(most.saturating_sub(used.saturating_sub(cache)))
}

fn cpu_milli(group: &Path) -> Option<u64> {
    let (quota, period): (u64, u64) = match fs::read_to_string(group.join("cpu.max")) {
        Ok(text) => {
            let (quota, period) = text.trim().split_once(' ')?;
            (quota.parse().ok()?, period.parse().ok()?)
        }
        Err(_) => {
            (number(&group.join("cpu.cfs_quota_us"))?, number(&group.join("cpu.cfs_period_us"))?)
        }
    };
    (quota * 1000).checked_div(period)
}

/// The number in a file; `max` and `-1`, which stand for no limit, are none.
fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
