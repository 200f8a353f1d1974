//! Who is let into a run, and how whoever was let in hears that it is over.

use std::time::Duration;

use choria_emulator::control::messages::Welcome;
use nix::sys::signal::Signal;
use tokio::time::sleep;

use super::handmade::WorkerByHand;
use super::workers::{LONG, conductor, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_does_not_listen_yet_hears_that_it_is_to_leave_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (program, url) = conductor(folder.path(), &text(LONG, "").await, "2");
    let mut slow = WorkerByHand::at(&url, "slow").await;
    let number = slow.join().await;
    program.signal(Signal::SIGINT);
    sleep(Duration::from_secs(1)).await;
    slow.leave(number).await;
    assert_eq!(program.end().code, Some(130));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_welcome_was_lost_is_welcomed_again_with_the_same_number() {
    let folder = tempfile::tempdir().unwrap();
    let (program, url) = conductor(folder.path(), &text(LONG, "").await, "2");
    let mut worker = WorkerByHand::at(&url, "east").await;
    let number = worker.join().await;
    // For all that it knows nobody has answered.
    assert_eq!(worker.ask().await, Welcome::Accepted { number, of: 2 });
    worker.card.pid += 1;
    let Welcome::Refused(reason) = worker.ask().await else { panic!("another process") };
    assert!(reason.contains("has a worker east already"), "{reason}");
    program.signal(Signal::SIGINT);
    worker.leave(number).await;
    assert_eq!(program.end().code, Some(130));
}
