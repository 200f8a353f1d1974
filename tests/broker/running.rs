//! Starting, watching and ending nats-server.

use std::fs;
use std::path::Path;

use choria_emulator::broker::{Broker, StartSpec};
use tempfile::TempDir;

use crate::support::{SOON, is_running, launcher, start_spec};

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn files_ending(folder: &Path, end: &str) -> usize {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().ends_with(end)).count()
}

async fn start(spec: &StartSpec) -> Broker {
    Broker::start(spec, &launcher()).await.unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test]
async fn a_started_broker_is_ready_and_a_stopped_one_is_gone() {
    let folder = folder();
    let spec = start_spec(folder.path()).await;
    let broker = start(&spec).await;

    let client = async_nats::connect(broker.url()).await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(client.server_info().server_name, "n1");
    assert_eq!(broker.at_start().version, spec.program.version.to_string());
    assert!(broker.at_start().go.starts_with("go1."), "{}", broker.at_start().go);
    assert!(broker.client().port() < 32_768 && broker.monitor().port() < 32_768);
    assert!(fs::read_to_string(broker.log()).unwrap().contains("Server is ready"));
    drop(client);

    let (pid, exit) = (broker.pid(), broker.exit());
    let stopped = broker.stop(SOON).await;
    assert!(!stopped.killed && !is_running(pid), "{stopped:?}");
    assert_eq!(stopped.exit, *exit.borrow());
    assert_eq!(files_ending(folder.path(), ".ports"), 0, "the ports file is left");
}
