//! Probes where messages get lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use choria_emulator::broker::Broker;
use choria_emulator::driver::{ConnectionOptions, Probes};

use crate::support::way::{Pipe, Way};
use crate::support::{SOON, launcher, start_spec};

/// Carries everything but messages to the first subscription of a connection, as if interest in its subject were taken
/// back for good; says so when one is lost.
async fn forget_first(up: Pipe, mut down: Pipe, lost: Arc<AtomicBool>) {
    let speak = up.pass_all();
    let hear = async {
        while let Some(said) = down.said().await {
            let words = String::from_utf8_lossy(&said).into_owned();
            let mut words = words.split_whitespace();
            if words.next() == Some("MSG") && words.nth(1) == Some("1") {
                lost.store(true, Ordering::Relaxed);
            } else {
                down.pass(&said).await;
            }
        }
    };
    tokio::select! {
        () = speak => {}
        () = hear => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subject_that_is_forgotten_on_the_way_is_tried_no_longer_alone() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(&start_spec(folder.path()).await, &launcher()).await.unwrap();
    let lost = Arc::<AtomicBool>::default();
    let told = Arc::clone(&lost);
    let way =
        Way::before(&broker.url(), move |up, down| forget_first(up, down, Arc::clone(&told))).await;
    let urls = [broker.url(), way.url.clone()];
    let probes = Probes::connect(&urls, &ConnectionOptions::default()).await.unwrap();
    let deadline = tokio::time::Instant::now() + SOON;
    assert!(probes.reach(&[(0, 1)], deadline).await.is_ok());
    assert!(lost.load(Ordering::Relaxed), "nothing was lost");
    probes.close().await;
    broker.stop(SOON).await;
}
