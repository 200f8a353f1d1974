//! Brokers that are taken down on purpose, brought up again, and held up in between.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use choria_emulator::broker::{Broker, By, ControlError, StartError};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::timeout;

use crate::support::{SOON, is_running, launcher, start_spec, wait_until};

async fn started(folder: &std::path::Path) -> Broker {
    let spec = start_spec(folder).await;
    Broker::start(&spec, &launcher()).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Whether somebody greets on the broker's port.
fn greets(broker: &Broker) -> bool {
    let Ok(mut stream) = TcpStream::connect(broker.client()) else { return false };
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut first = [0; 5];
    stream.read_exact(&mut first).is_ok() && first == *b"INFO "
}

/// The state of a process as the kernel names it, such as `T` for stopped.
fn state(pid: i32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).unwrap_or('-')
}

#[tokio::test]
async fn a_broker_comes_back_on_its_ports_however_it_was_ended_and_has_not_died() {
    let folder = tempfile::tempdir().unwrap();
    let broker = started(folder.path()).await;
    let (control, url) = (broker.control(), broker.url());
    let died = broker.died();
    tokio::pin!(died);
    for by in [By::Term, By::Kill, By::LameDuck] {
        let before = broker.pid();
        let stopped = control.end(by).await.unwrap();
        assert_eq!(stopped.killed, by == By::Kill, "{by:?}: {stopped:?}");
        assert!(!is_running(before) && !greets(&broker), "{by:?}");
        assert!(matches!(control.end(by).await, Err(ControlError::NotRunning(_))));
        assert!(timeout(Duration::ZERO, &mut died).await.is_err(), "{by:?} is no death");
        control.start(None).await.unwrap();
        assert!(greets(&broker) && is_running(broker.pid()) && broker.pid() != before, "{by:?}");
        assert!(matches!(control.start(None).await, Err(ControlError::Running(_))));
    }
    assert_eq!(broker.url(), url);
    assert!(broker.sample().await.is_ok(), "it is watched as before");
    assert!(timeout(Duration::ZERO, &mut died).await.is_err());
    kill(Pid::from_raw(broker.pid()), Signal::SIGKILL).unwrap();
    assert_eq!(timeout(SOON, died).await.unwrap().signal, Some(9));
}

#[tokio::test]
async fn a_broker_that_is_down_leaves_nothing_to_stop() {
    let folder = tempfile::tempdir().unwrap();
    let broker = started(folder.path()).await;
    let control = broker.control();
    control.end(By::Kill).await.unwrap();
    let files = || std::fs::read_dir(folder.path()).unwrap().flatten();
    let stopped = broker.stop(SOON).await;
    assert!(!stopped.killed && stopped.exit.is_some(), "{stopped:?}");
    assert_eq!(files().filter(|f| f.file_name().to_string_lossy().ends_with(".ports")).count(), 0);
    assert!(matches!(control.end(By::Term).await, Err(ControlError::Closed(_))));
    assert!(matches!(control.start(None).await, Err(ControlError::Closed(_))));
}

#[tokio::test]
async fn a_paused_broker_stands_still_and_goes_on_also_when_nobody_waits_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let broker = started(folder.path()).await;
    let (control, pid) = (broker.control(), broker.pid());
    control.pause(Duration::from_millis(50)).await.unwrap();
    assert_ne!(state(pid), 'T');
    {
        let pause = control.pause(Duration::from_secs(1000));
        tokio::pin!(pause);
        let stopped = async {
            while state(pid) != 'T' {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            paused = &mut pause => panic!("{paused:?}"),
            stopped = timeout(SOON, stopped) => stopped.unwrap(),
        }
    }
    wait_until("it goes on", || state(pid) != 'T');
    assert!(greets(&broker));
}

#[tokio::test]
async fn nothing_comes_between_the_end_and_the_start_of_a_broker_that_is_restarted() {
    let folder = tempfile::tempdir().unwrap();
    let broker = started(folder.path()).await;
    let (control, first) = (broker.control(), broker.pid());
    let restart = control.restart(By::Kill, Duration::from_millis(300), None);
    let meanwhile = async {
        while is_running(first) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        control.end(By::Term).await
    };
    let (restarted, ended) =
        timeout(SOON, async { tokio::join!(restart, meanwhile) }).await.unwrap();
    assert!(restarted.unwrap().killed && !ended.unwrap().killed, "each in its turn");
    assert!(!is_running(broker.pid()) && broker.pid() != first);
}

#[tokio::test]
async fn an_owner_that_goes_takes_a_paused_broker_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let broker = started(folder.path()).await;
    let (control, pid) = (broker.control(), broker.pid());
    kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
    drop(broker);
    wait_until("its end", || !is_running(pid));
    assert!(matches!(control.start(None).await, Err(ControlError::Closed(_))));
}

#[tokio::test]
async fn a_port_that_a_stranger_has_taken_meanwhile_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let broker = started(folder.path()).await;
    let control = broker.control();
    control.end(By::Term).await.unwrap();
    let stranger = TcpListener::bind(broker.client()).unwrap();
    let error = control.start(None).await.unwrap_err();
    assert!(matches!(error, ControlError::Start(StartError::PortInUse { .. })), "{error:?}");
    assert!(error.to_string().contains(&broker.client().port().to_string()), "{error}");
    drop(stranger);
    control.start(None).await.unwrap();
    assert!(greets(&broker));
}
