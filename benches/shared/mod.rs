//! What benches of whole runs share: a nats-server, and a run from text to summary.

use std::env;
use std::path::{Path, PathBuf};

use choria_emulator::broker::obtain::{self, Obtained, Request, Sources};
use choria_emulator::child::Launcher;
use choria_emulator::conductor::{self, RunLog, Setup, Stop};
use choria_emulator::driver::ConnectionOptions;
use choria_emulator::plan::{self, Plan};
use choria_emulator::scenario::Scenario;
use emulator::spec::Login;
use reports::run::Ending;
use reports::summary::Summary;
use tokio::sync::mpsc;

/// Reports of a run that wait for nobody.
const REPORTS: usize = 16;

/// The nats-server of `CHORIA_EMULATOR_NATS_SERVER`, or one on PATH or in the cache.
pub(crate) async fn nats_server() -> Obtained {
    let path = env::var_os("CHORIA_EMULATOR_NATS_SERVER").map(PathBuf::from);
    obtain::obtain(Request { path, ..Request::default() }, sources(), |_| {}).await.unwrap()
}

/// Our own program.
pub(crate) fn launcher() -> Launcher {
    Launcher::of_other(PathBuf::from(env!("CARGO_BIN_EXE_choria-emulator")))
}

fn sources() -> Sources {
    let path = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect::<Vec<_>>();
    Sources::usual(Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"), path)
}

/// Runs a bench to its end.
pub(crate) fn block_on(bench: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(bench);
}

/// The plan of a scenario's text.
pub(crate) fn plan(text: &str) -> Plan {
    plan::resolve(&Scenario::parse(text, "bench.yaml", &[]).unwrap()).unwrap()
}

/// Runs a scenario and returns what came of it; every wave has to be complete.
pub(crate) async fn run(text: &str) -> Summary {
    let out = tempfile::tempdir().unwrap();
    let setup = Setup {
        plan: plan(text),
        scenario_text: text.to_owned(),
        out: out.path().to_owned(),
        sources: sources(),
        launcher: launcher(),
        login: Login::default(),
        connection: ConnectionOptions::default(),
        system: None,
        workers: choria_emulator::crew::Workers::AsNeeded,
        strangers: None,
        discovery_timeout: None,
        log: RunLog::default(),
    };
    let (told, _) = mpsc::channel(REPORTS);
    let finished = Box::pin(conductor::run(setup, Stop::default(), told)).await.unwrap();
    assert_eq!(finished.result.ending, Ending::Completed);
    let summary = Summary::of(&finished.result);
    let short = summary.waves.iter().find(|wave| wave.missing + wave.late > 0);
    assert!(short.is_none(), "a wave was not complete: {short:?}");
    summary
}

/// The numbers on the command line.
pub(crate) fn numbers() -> impl Iterator<Item = u64> {
    env::args().skip(1).filter_map(|argument| argument.parse().ok())
}
