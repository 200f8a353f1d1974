//! Who is let into a run, and how whoever was let in hears that it is over.

use std::path::Path;
use std::time::Duration;

use choria_emulator::control::messages::{Answer, Assignment, Order, Reach, Welcome};
use choria_emulator::driver::ConnectionOptions;
use emulator::spec::{Login, Server, Share};
use futures_util::{FutureExt as _, StreamExt as _};
use nix::sys::signal::Signal;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use super::handmade::{ConductorByHand, WorkerByHand};
use super::rig::{Ended, Program};
use super::workers::{LONG, conductor, text, worker};
use crate::support::SOON;

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

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_not_answered_asks_again_as_the_same_worker() {
    let folders: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let mut conductor = ConductorByHand::start(folders[0].path()).await;
    let url = conductor.broker.url();
    let program = Program::start(worker(&url, "east", "secret"), folders[1].path());
    let (_, unanswered) = conductor.asked().await;
    assert_eq!(conductor.let_in().await, unanswered);
    program.wait_until_said("worker 1 of 1");
    program.signal(Signal::SIGTERM);
    assert_eq!(program.end().code, Some(143));
    conductor.broker.stop(Duration::ZERO).await;
}

/// A share of a plan that has its clients at worker `w1`, and a broker that takes connections and says nothing.
async fn mute_assignment(folder: &Path) -> (TcpListener, Assignment, Reach) {
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = mute.local_addr().unwrap();
    let url = format!("nats://{address}");
    let plan = super::setup(&text(LONG, "client: {at: w1}\n").await, &[], folder).await.plan;
    let assignment = Assignment {
        digest: plan.digest(),
        plan,
        share: Share::WHOLE,
        shards: 1,
        servers: vec![Server { address, url: url.clone() }],
        source_addresses: Vec::new(),
        login: Login::default(),
    };
    // The worker gives up after 20 s.
    let connection =
        ConnectionOptions { timeout: Some(Duration::from_secs(60)), ..Default::default() };
    (mute, assignment, Reach { urls: vec![url], connection })
}

/// Does something to a worker while it tries to connect a client to a broker that says nothing: it ends so, and not
/// because of the broker.
async fn check_interrupted(happens: impl AsyncFnOnce(&mut ConductorByHand, &Program)) -> Ended {
    let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let mut conductor = ConductorByHand::start(folders[0].path()).await;
    let url = conductor.broker.url();
    let program = Program::start(worker(&url, "w1", "secret"), folders[1].path());
    conductor.let_in().await;
    let (mute, assignment, reach) = mute_assignment(folders[2].path()).await;
    let prepared = conductor.order(&Order::Prepare(Box::new(assignment))).await;
    assert_eq!(prepared, Answer::Done);
    let inbox = conductor.line.client().new_inbox();
    let mut answers = conductor.line.listen(&inbox).await.unwrap();
    let connect = serde_json::to_vec(&Order::Connect(Box::new(reach))).unwrap();
    let client = conductor.line.client();
    client.publish_with_reply(conductor.orders(), inbox, connect.into()).await.unwrap();
    let _connection = timeout(SOON, mute.accept()).await.unwrap().unwrap();
    happens(&mut conductor, &program).await;
    let ended = program.end();
    conductor.line.client().flush().await.unwrap();
    let answer = answers.next().now_or_never();
    assert!(answer.is_none(), "it waited for the broker: {answer:?}");
    conductor.broker.stop(Duration::ZERO).await;
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_carries_out_an_order_hears_a_signal() {
    let ended = check_interrupted(async |_, program| program.signal(Signal::SIGTERM)).await;
    assert_eq!(ended.code, Some(143), "{}", ended.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_carries_out_an_order_misses_its_conductor() {
    let ended = check_interrupted(async |conductor, _| conductor.beats.shutdown().await).await;
    assert_eq!(ended.code, Some(5), "{}", ended.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_carries_out_an_order_hears_that_it_is_to_leave() {
    let ended = check_interrupted(async |conductor, _| {
        let leave = Order::Leave("nobody wants it".to_owned());
        assert_eq!(conductor.order(&leave).await, Answer::Done);
    })
    .await;
    assert_eq!(ended.code, Some(3), "{}", ended.said);
    assert!(ended.said.contains("nobody wants it"), "{}", ended.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_waited_for_where_a_worker_of_a_name_cannot_come_any_more() {
    let folders: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let text = text(&format!("{LONG}, clients: 2"), "client: {at: [east, west]}\n").await;
    let (program, url) = conductor(folders[0].path(), &text, "2");
    // The second place is for both of them.
    let north = Program::start(worker(&url, "north", "secret"), folders[1].path());
    let ended = program.end();
    assert_eq!(ended.code, Some(2), "{}", ended.said);
    assert!(ended.said.contains("clients at `east`, `west`, and no worker"), "{}", ended.said);
    assert_eq!(north.end().code, Some(3));
}
