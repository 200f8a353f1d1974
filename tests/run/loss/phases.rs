//! Each process of a run with workers, killed and held still, in each phase.

use nix::sys::signal::Signal::{SIGKILL, SIGSTOP};
use tokio::runtime::Handle;

use super::stage::{Blow, Phase, Stage, Who};
use crate::run::rig::real;

const SILENT: &str = "it was not heard for 4 s";
const NO_CONTROL: &str = "the control broker was ended by signal 9";
const NO_BROKER: &str = "broker n1 was ended by signal 9";
const ALL_LOST: &str = "all of them: look at the control broker and the way to it";

const KILLED_WORKER: Blow = Blow {
    who: Who::Worker,
    how: SIGKILL,
    code: Some(5),
    says: &["worker w1 on ", "with 30 nodes is lost", "signal 9"],
};
const HELD_WORKER: Blow =
    Blow { who: Who::Worker, how: SIGSTOP, code: Some(5), says: &["worker w1 on ", SILENT] };
const KILLED_CONTROL: Blow =
    Blow { who: Who::Control, how: SIGKILL, code: Some(5), says: &[NO_CONTROL] };
const KILLED_CONDUCTOR: Blow = Blow { who: Who::Conductor, how: SIGKILL, code: None, says: &[] };
const HELD_CONDUCTOR: Blow =
    Blow { who: Who::Conductor, how: SIGSTOP, code: Some(5), says: &["is lost"] };

/// Deals each of these blows to a run of its own in this phase, side by side: they wait more than they work.
async fn check(phase: Phase, blows: &[Blow]) {
    let (brokers, handle) = (real().await, Handle::current());
    std::thread::scope(|scope| {
        for blow in blows {
            let (brokers, handle) = (&brokers, &handle);
            scope.spawn(move || Stage::reach(phase, brokers, handle).suffer(*blow));
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn while_workers_muster() {
    let blows = [
        Blow { who: Who::Worker, how: SIGKILL, code: Some(5), says: &["worker east on ", SILENT] },
        Blow { who: Who::Worker, how: SIGSTOP, code: Some(5), says: &["worker east on ", SILENT] },
        KILLED_CONTROL,
        Blow { who: Who::Control, how: SIGSTOP, code: Some(5), says: &["worker east on ", SILENT] },
        KILLED_CONDUCTOR,
        Blow { who: Who::Conductor, how: SIGSTOP, code: Some(5), says: &["worker east on "] },
    ];
    check(Phase::Muster, &blows).await;
}

/// What happens when all workers are there and have no shares yet.
const WITHOUT_SHARES: [Blow; 6] = [
    KILLED_WORKER,
    HELD_WORKER,
    KILLED_CONTROL,
    // The workers hear no conductor either, and may be gone before they are missed.
    Blow { who: Who::Control, how: SIGSTOP, code: Some(5), says: &["is lost"] },
    KILLED_CONDUCTOR,
    HELD_CONDUCTOR,
];

#[tokio::test(flavor = "multi_thread")]
async fn while_brokers_become_a_network() {
    check(Phase::Network, &WITHOUT_SHARES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_driver_connects() {
    // The time of a driver whose conductor stands still is over too.
    check(Phase::Driver, &WITHOUT_SHARES[..5]).await;
}

/// What happens while there are nodes.
const WITH_NODES: [Blow; 8] = [
    KILLED_WORKER,
    HELD_WORKER,
    KILLED_CONTROL,
    // The workers hear no conductor either, and may be gone before they are missed.
    Blow { who: Who::Control, how: SIGSTOP, code: Some(5), says: &[ALL_LOST] },
    Blow { who: Who::Broker, how: SIGKILL, code: Some(4), says: &[NO_BROKER] },
    Blow { who: Who::Broker, how: SIGSTOP, code: Some(99), says: &[] },
    KILLED_CONDUCTOR,
    HELD_CONDUCTOR,
];

#[tokio::test(flavor = "multi_thread")]
async fn while_nodes_connect() {
    check(Phase::Connect, &WITH_NODES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_waves_go_on() {
    check(Phase::Waves, &WITH_NODES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nodes_leave() {
    let blows = [
        KILLED_WORKER,
        HELD_WORKER,
        KILLED_CONTROL,
        // The workers hear no conductor either, and may be gone before they are missed.
        Blow { who: Who::Control, how: SIGSTOP, code: Some(5), says: &[ALL_LOST] },
        Blow { who: Who::Broker, how: SIGKILL, code: Some(0), says: &[] },
        // It stands still already.
        Blow { who: Who::Broker, how: SIGSTOP, code: Some(0), says: &[] },
        KILLED_CONDUCTOR,
        Blow { who: Who::Conductor, how: SIGSTOP, code: Some(0), says: &[] },
    ];
    check(Phase::Stop, &blows).await;
}
