//! What this host has, read from the kernel: the only module of the doctor that looks at the system.
//!
//! A fact that cannot be read is `None` and becomes a warning, never a guess.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use procfs::{Current, Meminfo};
use serde::Serialize;

/// The limits of a host, as plain data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Host {
    /// Hard limit of open files of a process.
    pub open_files_hard: u64,
    /// `fs.nr_open`: the most that a hard limit can be.
    pub nr_open: Option<u64>,
    /// `fs.file-max`: open files of the whole host.
    pub file_max: Option<u64>,
    /// First and last of `net.ipv4.ip_local_port_range`.
    pub port_range: Option<(u64, u64)>,
    /// `net.core.somaxconn`: the backlog of a listening socket.
    pub somaxconn: Option<u64>,
    /// `net.ipv4.tcp_max_syn_backlog`.
    pub syn_backlog: Option<u64>,
    /// Memory that can be had without swapping.
    pub memory_available_bytes: Option<u64>,
    /// What the memory limit of our control group leaves; `None`: no limit.
    pub cgroup_left_bytes: Option<u64>,
    /// Connection tracking, when it is loaded.
    pub conntrack: Option<Conntrack>,
    /// Processors that this process may use.
    pub cores: u64,
}

/// The table of tracked connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Conntrack {
    /// How many it can hold.
    pub max: u64,
    /// How many it holds.
    pub count: u64,
}

/// The host refuses to tell, or to change, a limit of this process.
#[derive(Debug, thiserror::Error)]
#[error(
    "the limit of open files cannot be {what}: {source}\nlook at `ulimit -Hn`, or run outside of this sandbox"
)]
pub struct HostError {
    what: &'static str,
    source: nix::Error,
}

impl Host {
    /// Reads the limits of this host.
    ///
    /// # Errors
    /// If not even the limit of open files can be read.
    pub fn read() -> Result<Self, HostError> {
        let (_, open_files_hard) = open_files()?;
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        Ok(Self {
            open_files_hard,
            nr_open: sysctl("fs/nr_open"),
            file_max: sysctl("fs/file-max"),
            port_range: port_range(),
            somaxconn: sysctl("net/core/somaxconn"),
            syn_backlog: sysctl("net/ipv4/tcp_max_syn_backlog"),
            memory_available_bytes: Meminfo::current().ok().and_then(|info| info.mem_available),
            cgroup_left_bytes: cgroup_left(),
            conntrack: conntrack(),
            cores: u64::try_from(cores).unwrap_or(1),
        })
    }

    /// How many local ports one source address has.
    #[must_use]
    pub fn port_range_size(&self) -> Option<u64> {
        self.port_range.map(|(first, last)| last.saturating_sub(first) + 1)
    }
}

/// Raises the soft limit of open files of this process to the hard one, and returns it. A shell's
/// soft limit is 1,024 almost everywhere.
///
/// # Errors
/// If the kernel refuses.
pub fn raise_open_files() -> Result<u64, HostError> {
    let (soft, hard) = open_files()?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
            .map_err(|source| HostError { what: "raised", source })?;
    }
    Ok(hard)
}

fn open_files() -> Result<(u64, u64), HostError> {
    getrlimit(Resource::RLIMIT_NOFILE).map_err(|source| HostError { what: "read", source })
}

fn number<T: FromStr>(path: &Path) -> Option<T> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn sysctl(name: &str) -> Option<u64> {
    number(&Path::new("/proc/sys").join(name))
}

fn port_range() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut numbers = text.split_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn conntrack() -> Option<Conntrack> {
    let max = sysctl("net/netfilter/nf_conntrack_max")?;
    Some(Conntrack { max, count: sysctl("net/netfilter/nf_conntrack_count").unwrap_or(0) })
}

/// The least that any control group (v2) above this process still gives.
fn cgroup_left() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = PathBuf::from("/sys/fs/cgroup");
    let own = root.join(own);
    let groups = own.ancestors().take_while(|path| path.starts_with(&root));
    groups
        .filter_map(|group| {
            let max: u64 = number(&group.join("memory.max"))?;
            let used: u64 = number(&group.join("memory.current")).unwrap_or(0);
            Some(max.saturating_sub(used))
        })
        .min()
}
