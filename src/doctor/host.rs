//! What this host has, read from the kernel: with [`ControlGroup`] the only part of the doctor that looks
//! at the system.
//!
//! A fact that cannot be read is `None` and becomes a warning, never a guess.

use std::fs;
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use procfs::process::Process;
use procfs::{Current, Meminfo};
use serde::{Deserialize, Serialize};

use super::ControlGroup;

/// The limits of a host, as plain data: a worker sends its own to the conductor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Tells its kernel from all others: network namespaces and containers of one machine share it.
    pub boot_id: Option<String>,
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
    /// What all TCP buffers together may take before the kernel squeezes them: the second number of
    /// `net.ipv4.tcp_mem`, in bytes.
    pub tcp_memory_bytes: Option<u64>,
    /// Memory that can be had without swapping.
    pub memory_available_bytes: Option<u64>,
    /// What the control groups of this process leave to it.
    pub control_group: ControlGroup,
    /// Connection tracking, when it is loaded.
    pub conntrack: Option<Conntrack>,
    /// Processors that this process may run on.
    pub cores: u64,
    /// The kernel's clock source.
    pub clock_source: Option<String>,
    /// Whether the time of day is in step with the world's; `None`: nothing here says so.
    pub clock_in_step: Option<bool>,
}

/// The table of tracked connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
        Ok(Self {
            name: text("/proc/sys/kernel/hostname").unwrap_or_else(|| "unnamed".to_owned()),
            boot_id: text("/proc/sys/kernel/random/boot_id"),
            open_files_hard,
            nr_open: sysctl("fs/nr_open"),
            file_max: sysctl("fs/file-max"),
            port_range: numbers("net/ipv4/ip_local_port_range").map(|[first, last]| (first, last)),
            somaxconn: sysctl("net/core/somaxconn"),
            syn_backlog: sysctl("net/ipv4/tcp_max_syn_backlog"),
            tcp_memory_bytes: numbers("net/ipv4/tcp_mem")
                .map(|[_, pressure, _]| pressure.saturating_mul(procfs::page_size())),
            memory_available_bytes: Meminfo::current().ok().and_then(|info| info.mem_available),
            control_group: ControlGroup::read(),
            conntrack: conntrack(),
            cores: cores(),
            clock_source: text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            clock_in_step: clock_in_step(Path::new("/run/systemd/timesync")),
        })
    }

    /// How many local ports one source address has.
    #[must_use]
    pub fn port_range_size(&self) -> Option<u64> {
        self.port_range.map(|(first, last)| last.saturating_sub(first) + 1)
    }

    /// One host of two processes that look at it from within other limits: the narrower of these.
    #[must_use]
    pub(super) fn narrower(self, other: &Self) -> Self {
        Self {
            open_files_hard: self.open_files_hard.min(other.open_files_hard),
            control_group: self.control_group.narrower(other.control_group),
            cores: self.cores.max(other.cores),
            ..self
        }
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

/// What a file says, if it says anything.
fn text(path: impl AsRef<Path>) -> Option<String> {
    let text = fs::read_to_string(path).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// The numbers of a setting of the kernel, if it has as many.
fn numbers<const N: usize>(name: &str) -> Option<[u64; N]> {
    let text = text(Path::new("/proc/sys").join(name))?;
    let numbers: Result<Vec<u64>, _> = text.split_whitespace().map(str::parse).collect();
    numbers.ok()?.try_into().ok()
}

fn sysctl(name: &str) -> Option<u64> {
    numbers(name).map(|[number]| number)
}

fn conntrack() -> Option<Conntrack> {
    let max = sysctl("net/netfilter/nf_conntrack_max")?;
    Some(Conntrack { max, count: sysctl("net/netfilter/nf_conntrack_count").unwrap_or(0) })
}

/// Processors by affinity: a control group's quota is another limit, and told as such.
fn cores() -> u64 {
    let allowed = || Process::myself().ok()?.status().ok()?.cpus_allowed;
    let affine = allowed().map(|masks| masks.iter().map(|mask| u64::from(mask.count_ones())).sum());
    let available = || std::thread::available_parallelism().map_or(1, usize::from);
    affine.unwrap_or_else(|| u64::try_from(available()).unwrap_or(1)).max(1)
}

/// systemd-timesyncd leaves an empty file once it has set the clock (systemd-timesyncd.service(8)); of
/// other services nothing can be read without asking them.
fn clock_in_step(timesync: &Path) -> Option<bool> {
    timesync.is_dir().then(|| timesync.join("synchronized").exists())
}
