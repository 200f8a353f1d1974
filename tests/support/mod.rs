//! What several tests need: a real nats-server, our own program, and looking at processes.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use choria_emulator::broker::obtain::{self, Obtained, Request, Sources};
use choria_emulator::broker::{Launcher, Limits, PortChoice, StartSpec, Wiring};
use tokio::sync::OnceCell;

/// Long enough for a busy machine; tests wait for events and not for this.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Our own program.
pub(crate) fn launcher() -> Launcher {
    Launcher { program: PathBuf::from(env!("CARGO_BIN_EXE_choria-emulator")) }
}

/// The folders of PATH.
pub(crate) fn path_folders() -> Vec<PathBuf> {
    env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect()
}

/// Sources with a cache that outlives the tests, so that a nats-server is built once.
pub(crate) fn lasting_sources() -> Sources {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
    Sources::usual(cache, path_folders())
}

/// A real nats-server: one at hand, else the newest known.
pub(crate) async fn nats_server() -> Obtained {
    static SERVER: OnceCell<Obtained> = OnceCell::const_new();
    SERVER
        .get_or_init(|| async {
            obtain::obtain(Request::default(), lasting_sources(), |_| {})
                .await
                .unwrap_or_else(|error| panic!("the tests need a nats-server: {error}"))
        })
        .await
        .clone()
}

/// A broker named `n1` with its files in this folder.
pub(crate) async fn start_spec(folder: &Path) -> StartSpec {
    StartSpec {
        program: nats_server().await,
        name: "n1".to_owned(),
        folder: folder.to_owned(),
        ports: PortChoice::Free,
        limits: Limits::default(),
        profiling: false,
        wiring: Wiring::default(),
        own_config: serde_json::Map::new(),
        extra_config: String::new(),
        environment: Vec::new(),
        ready_within: SOON,
    }
}

/// Whether a process is there and no zombie.
pub(crate) fn is_running(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| Some(stat.rsplit_once(") ")?.1.starts_with('Z')))
        .is_some_and(|zombie| !zombie)
}

/// Waits until something holds; fails at a deadline.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < until, "still not: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A shell script that can be executed, in a file of this name.
pub(crate) fn script(path: &Path, body: &str) -> PathBuf {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).unwrap();
    }
    fs::write(path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_owned()
}
