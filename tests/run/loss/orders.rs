//! Orders and answers that get lost on their way, one after the other in one run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use choria_emulator::broker::Control;
use choria_emulator::control::messages::{Answer, Order};
use reports::verdict::{Doubt, ExitCode};

use super::control::{Given, prepared, start_again};
use crate::support::way::{Pipe, Way};

/// How orders look in JSON, as they come in a run.
const ORDERS: [&str; 7] = [
    r#""order":{"plan":"#,
    r#""order":{"prepare":"#,
    r#""order":{"start":"#,
    LOOK,
    r#""order":"presence""#,
    CLOSE,
    r#""order":"stop""#,
];
/// Those that come to a worker that has a driver besides; the word to begin is lost twice.
const ORDERS_OF_DRIVER: [&str; 4] =
    [r#""order":{"connect":"#, r#""order":"clock""#, r#""order":{"go":"#, r#""order":{"go":"#];
const LOOK: &str = r#""order":"look""#;
const CLOSE: &str = r#""order":{"close":"#;
/// What makes the stream of slices.
const MAKES_STREAM: &str = "$JS.API.STREAM.CREATE.";

/// What the way does to each of the orders that it is told.
#[derive(Clone)]
enum Lost {
    /// It breaks, with the order on it.
    Order,
    /// It breaks, with the answer on it.
    Answer,
    /// The control broker is started again under it.
    Broker(Control),
    /// Nothing is lost but this order, each time.
    Always(&'static str),
    /// It breaks, with what is said the other way about this for the first time.
    Said(&'static str),
}

/// A way to a control broker on which orders get lost.
struct LossyWay {
    way: Way,
    /// What was to be lost and was met so far.
    met: Arc<AtomicUsize>,
}

impl LossyWay {
    async fn to(broker: &str, orders: &'static [&'static str], lost: Lost) -> Self {
        let met = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&met);
        let carry = move |up, down| {
            let (lost, counted) = (lost.clone(), Arc::clone(&counted));
            async move { carry(up, down, (orders, &lost), &counted).await }
        };
        Self { way: Way::before(broker, carry).await, met }
    }
}

/// Carries messages both ways until either side ends, or something is to be lost.
async fn carry(mut up: Pipe, mut down: Pipe, (orders, lost): (&[&str], &Lost), met: &AtomicUsize) {
    let mut ordered = false;
    loop {
        tokio::select! {
            there = down.fill() => if !there { return },
            there = up.fill() => if !there { return },
        }
        while let Some(said) = down.next() {
            let awaited = match lost {
                Lost::Always(order) => Some(order),
                Lost::Said(_) => None,
                _ => orders.get(met.load(Ordering::Relaxed)),
            };
            if !awaited.is_some_and(|order| String::from_utf8_lossy(&said).contains(order)) {
                down.pass(&said).await;
                continue;
            }
            met.fetch_add(1, Ordering::Relaxed);
            match lost {
                Lost::Order => return,
                Lost::Answer => {
                    ordered = true;
                    down.pass(&said).await;
                }
                Lost::Broker(control) => return start_again(control).await,
                Lost::Always(_) | Lost::Said(_) => {}
            }
        }
        while let Some(said) = up.next() {
            if ordered && said.starts_with(b"PUB _INBOX.") {
                return;
            }
            if let Lost::Said(word) = lost
                && met.load(Ordering::Relaxed) == 0
                && String::from_utf8_lossy(&said).contains(word)
            {
                met.fetch_add(1, Ordering::Relaxed);
                return;
            }
            up.pass(&said).await;
        }
    }
}

async fn check_lost(lost: impl Fn(&Given) -> Lost) {
    let given = Given::start().await;
    let url = given.url();
    let way = LossyWay::to(&url, &ORDERS, lost(&given)).await;
    let processes = given.run_over([&url, &way.way.url, &url], "every: 500ms, count: 4", "").await;
    processes.check_whole(|| given.left(), 4);
    assert_eq!(way.met.load(Ordering::Relaxed), ORDERS.len());
    given.control.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_lost_with_the_connection_is_given_again() {
    check_lost(|_| Lost::Order).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_with_the_connection_is_given_again() {
    check_lost(|_| Lost::Answer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_broker_that_is_started_again_at_each_order_costs_no_worker() {
    check_lost(|given| Lost::Broker(given.control.control())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_to_a_driver_that_is_lost_with_the_connection_makes_no_wave_late() {
    let given = Given::start().await;
    let url = given.url();
    let way = LossyWay::to(&url, &ORDERS_OF_DRIVER, Lost::Order).await;
    let wave = "every: 500ms, count: 4, clients: [{at: east}]";
    given.run_over([&url, &way.way.url, &url], wave, "").await.check_whole(|| given.left(), 4);
    assert_eq!(way.met.load(Ordering::Relaxed), ORDERS_OF_DRIVER.len());
    // Response times count from the instant that the plan says.
    let left = given.left();
    let first = left.summary.waves.iter().find(|wave| wave.number == 1);
    let quickest = first.and_then(|wave| wave.response_time_us).unwrap().min;
    assert!(quickest < 1_000_000, "{quickest} us");
    given.control.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_made_as_the_connection_breaks_is_made_over_the_next() {
    let given = Given::start().await;
    let url = given.url();
    let way = LossyWay::to(&url, &[], Lost::Said(MAKES_STREAM)).await;
    given
        .run_over([&way.way.url, &url, &url], "every: 500ms, count: 2", "")
        .await
        .check_whole(|| given.left(), 2);
    assert_eq!(way.met.load(Ordering::Relaxed), 1);
    given.control.stop(Duration::ZERO).await;
}

async fn check_untold(order: &'static str, wave: &str, more: &str, detail: &str) {
    let given = Given::start().await;
    let url = given.url();
    let way = LossyWay::to(&url, &[], Lost::Always(order)).await;
    let processes = given.run_over([&url, &way.way.url, &url], wave, more).await;
    let said = processes.conductor.end().said;
    assert!(processes.workers.into_iter().all(|worker| worker.end().code == Some(0)), "{said}");
    let left = given.left();
    assert_eq!(left.summary.exit_code, ExitCode::Invalid.number(), "{said}");
    let told =
        |doubt: &Doubt| (doubt.kind.as_str(), doubt.detail.as_str()) == ("account_differs", detail);
    assert!(left.summary.doubts.iter().any(told), "{said}");
    given.control.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_does_not_tell_what_it_counted_spoils_the_figures() {
    let detail = "worker east did not tell what it had counted";
    check_untold(LOOK, "every: 500ms, count: 2", "", detail).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_does_not_tell_why_nodes_are_missing_spoils_the_figures() {
    let (wave, silent) =
        ("every: 500ms, count: 1, deadline: 400ms", ", behaviour: {no_reply: 50%}");
    let detail = "worker east did not tell what became of a request";
    check_untold(CLOSE, wave, silent, detail).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_carries_an_order_out_once_and_says_again_what_it_said_until_it_is_to_leave() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let (conductor, worker, _mute) = prepared(&folders).await;
    let start = Order::Start { at_us: 0 };
    let once = conductor.numbered(&start);
    for _ in 0..3 {
        assert_eq!(conductor.give(&once).await, Answer::Done);
    }
    let again = conductor.order(&start).await;
    assert!(matches!(&again, Answer::Refused(why) if why.contains("started without a share")));
    // What cannot be done ends it, and is said to whatever comes after it.
    assert_eq!(conductor.order(&Order::Look).await, again);
    conductor.dismiss().await;
    assert_eq!(worker.end().code, Some(3));
    conductor.broker.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_has_told_all_says_it_again_and_has_ended_in_order() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let (conductor, worker, _mute) = prepared(&folders).await;
    assert_eq!(conductor.order(&Order::Start { at_us: 0 }).await, Answer::Done);
    let stop = conductor.numbered(&Order::Stop);
    let told = conductor.give(&stop).await;
    assert!(matches!(told, Answer::Report(_)), "{told:?}");
    assert_eq!(conductor.give(&stop).await, told);
    let ended = conductor.order(&Order::Look).await;
    assert!(matches!(&ended, Answer::Refused(why) if why.contains("have ended")), "{ended:?}");
    conductor.dismiss().await;
    assert_eq!(worker.end().code, Some(0));
    conductor.broker.stop(Duration::ZERO).await;
}
