//! Why a run ends before its end: somebody asked, a broker died, something of ours broke.

use std::time::Duration;

use reports::run::Ending;
use reports::store::StoreError;
use reports::verdict::ExitCode;
use tokio::time::sleep;

use super::network::Network;
use super::{Stop, StopReason};
use crate::crew::{Crew, CrewError, Losses};

/// How often it is looked whether nodes broke or workers are lost; losses are on the crew's board within 4.75 s.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Ends when the run has to end early, with the reason. Of the network it holds nothing.
pub(super) fn trouble<'a>(
    network: &Option<Network>,
    losses: &'a Option<Losses>,
    crew: &'a Option<Crew>,
    stop: &'a Stop,
) -> impl Future<Output = Ending> + use<'a> {
    let watch = network.as_ref().map(Network::watch);
    async move {
        let died_broker = async {
            match watch {
                Some(watch) => watch.await,
                None => std::future::pending().await,
            }
        };
        let failures = || crew.as_ref().map(Crew::failures).unwrap_or_default();
        tokio::select! {
            reason = stop.asked() => asked(reason),
            told = died_broker => died(told),
            told = lost(losses) => without(told),
            told = broke(failures) => fault(&told),
        }
    }
}

/// Awaits a step of the run, unless `trouble` comes before its end. What is to be noted meanwhile is noted at once.
pub(super) fn meanwhile<T>(
    step: impl Future<Output = T>,
    trouble: impl Future<Output = Ending>,
    mut note: impl FnMut() -> Result<(), StoreError>,
) -> impl Future<Output = Result<T, Ending>> {
    // Steps hold much: on the heap they are small for whoever awaits them.
    let (mut step, mut trouble) = (Box::pin(step), Box::pin(trouble));
    async move {
        loop {
            tokio::select! {
                biased;
                early = &mut trouble => return Err(early),
                done = &mut step => return Ok(done),
                () = sleep(LOOK_EVERY) => note().map_err(broken)?,
            }
        }
    }
}

/// Awaits a step that nothing ends. What is to be noted meanwhile is noted at once, and before its end is known.
pub(super) async fn noting<T>(step: impl Future<Output = T>, mut note: impl FnMut()) -> T {
    let mut step = Box::pin(step);
    loop {
        let done = tokio::select! {
            biased;
            done = &mut step => Some(done),
            () = sleep(LOOK_EVERY) => None,
        };
        note();
        if let Some(done) = done {
            return done;
        }
    }
}

/// Ends when the run cannot go on with the workers that there are, with the reason.
async fn lost(losses: &Option<Losses>) -> CrewError {
    loop {
        if let Some(lost) = losses.as_ref().and_then(Losses::beyond) {
            return lost;
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Ends when a node of ours broke, with all that is known: such a run measures a smaller fleet.
async fn broke(failures: impl Fn() -> Vec<String>) -> String {
    loop {
        let failures = failures();
        if !failures.is_empty() {
            return failures.join("; ");
        }
        sleep(LOOK_EVERY).await;
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
            assert_eq!(trouble(&None, &None, &None, &stop).await, expected);
        }
    }
}
