//! Why a run ends before its end: somebody asked, a broker died, something of ours broke.

use reports::run::Ending;
use reports::store::StoreError;
use reports::verdict::ExitCode;

use super::network::Network;
use super::{Stop, StopReason};
use crate::crew::{Crew, CrewError};

/// How often nodes are asked whether one of them broke.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(200);

/// Ends when the run has to end early, with the reason.
pub(super) async fn trouble(network: &Option<Network>, crew: &Option<Crew>, stop: &Stop) -> Ending {
    let died_broker = async {
        match network {
            Some(network) => network.died().await,
            None => std::future::pending().await,
        }
    };
    let failures = || crew.as_ref().map(Crew::failures).unwrap_or_default();
    tokio::select! {
        reason = stop.asked() => asked(reason),
        told = died_broker => died(told),
        told = lost(crew) => without(told),
        told = broke(failures) => fault(&told),
    }
}

/// Ends when the run cannot go on with its crew, with the reason.
pub(super) async fn lost(crew: &Option<Crew>) -> CrewError {
    loop {
        if let Some(lost) = crew.as_ref().and_then(Crew::lost) {
            return lost;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Ends when a node of ours broke, with all that is known: such a run measures a smaller fleet.
async fn broke(failures: impl Fn() -> Vec<String>) -> String {
    loop {
        let failures = failures();
        if !failures.is_empty() {
            return failures.join("; ");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

pub(super) fn asked(reason: StopReason) -> Ending {
    match reason {
        StopReason::Interrupted => Ending::Interrupted,
        StopReason::Terminated => Ending::Terminated,
    }
}

pub(super) fn died(told: String) -> Ending {
    Ending::Failed(
        ExitCode::BrokerUnreachable,
        format!("{told}\nsee brokers/ in the result folder"),
    )
}

pub(super) fn without(CrewError { code, message }: CrewError) -> Ending {
    let more = match code {
        ExitCode::WorkerLost => "\nsee workers/ in the result folder, or run.log of that host",
        _ => "",
    };
    Ending::Failed(code, format!("{message}{more}"))
}

pub(super) fn fault(what: &str) -> Ending {
    Ending::Failed(ExitCode::Unexpected, format!("{what}\nsee run.log in the result folder"))
}

pub(super) fn broken(error: StoreError) -> Ending {
    Ending::Failed(ExitCode::Unexpected, error.to_string())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_node_that_broke_is_an_error_of_the_run_that_names_it() {
        let looks = Cell::new(0);
        let told = broke(|| {
            looks.set(looks.get() + 1);
            match looks.get() {
                1 | 2 => Vec::new(),
                _ => vec!["node a panicked: ouch".to_owned(), "node b panicked: oh".to_owned()],
            }
        });
        let ending = fault(&told.await);
        let Ending::Failed(code, message) = ending else { panic!("{ending:?}") };
        assert_eq!(code, ExitCode::Unexpected);
        assert!(message.starts_with("node a panicked: ouch; node b panicked: oh\n"), "{message}");
        assert!(message.ends_with("see run.log in the result folder"), "{message}");
    }

    #[tokio::test]
    async fn whoever_asked_is_told_in_the_ending() {
        for (reason, expected) in [
            (StopReason::Interrupted, Ending::Interrupted),
            (StopReason::Terminated, Ending::Terminated),
        ] {
            let stop = Stop::default();
            stop.ask(reason);
            assert_eq!(trouble(&None, &None, &stop).await, expected);
        }
    }
}
