//! How a worker becomes one of a run: it waits for a conductor to show that it is there, and asks.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{ConnectError, ConnectErrorKind, Subscriber};
use futures_util::StreamExt as _;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::carrier::Carrier;
use super::{Progress, Setup, WorkerError, service};
use crate::control::messages::{Beat, Card, Welcome};
use crate::control::{AskError, Build, LOST_AFTER, Line, LineError, Subjects};
use crate::doctor::{self, Host};
use crate::driver::failed_tls;

/// Between two attempts to reach a control broker that is not there yet.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// Time for the conductor to say whether it wants this worker, before it is asked again: far less than it takes to
/// miss a worker that it has let in, should only the answer have been lost.
const WELCOME_WITHIN: Duration = Duration::from_secs(1);
const _: () = assert!(2 * WELCOME_WITHIN.as_millis() < LOST_AFTER.as_millis());

/// A worker's place in a run.
pub(super) struct Joined {
    pub(super) line: Line,
    pub(super) subjects: Subjects,
    pub(super) run: String,
    pub(super) number: u64,
    pub(super) orders: Subscriber,
    pub(super) beats: Subscriber,
    pub(super) carrier: Arc<Carrier>,
    /// What goes on beside its work: it is shown. Ends with this.
    pub(super) tasks: JoinSet<()>,
}

/// Waits for a run and joins it; `Err` of the inner result: the conductor does not want this worker.
pub(super) async fn join(
    setup: &Setup,
    tell: &impl Fn(Progress),
) -> Result<Result<Joined, String>, WorkerError> {
    doctor::raise_open_files()?;
    let build = Build::this().await.map_err(WorkerError::Build)?;
    let card =
        Card { name: setup.name.clone(), build, host: Host::read()?, pid: std::process::id() };
    let line = connect(setup, tell).await?;
    let (carrier, mut tasks) = (Arc::new(Carrier::new(&setup.name)), JoinSet::new());
    tasks.spawn(service::show(line.clone(), card.clone(), Arc::clone(&carrier)));
    tell(Progress::Ready { url: line.url().to_owned() });
    let mut beats = line.listen(Subjects::BEAT).await?;
    loop {
        let Some(message) = beats.next().await else { return Ok(Err(gone())) };
        let Ok(beat) = serde_json::from_slice::<Beat>(&message.payload) else { continue };
        if setup.run.as_ref().is_some_and(|wanted| *wanted != beat.run) {
            continue;
        }
        let subjects = Subjects::of(&beat.run);
        match line.ask::<Welcome>(&subjects.join(), &card, WELCOME_WITHIN).await {
            Ok(Welcome::Accepted { number, of }) => {
                let orders = line.listen(&subjects.order(number)).await?;
                let Beat { run, scenario, .. } = beat;
                carrier.joins(&run);
                tell(Progress::Joined { run: run.clone(), scenario, number, of });
                let joined = Joined { line, subjects, run, number, orders, beats, carrier, tasks };
                return Ok(Ok(joined));
            }
            Ok(Welcome::Refused(reason)) => return Ok(Err(reason)),
            // Its conductor ended since it said so, and another may come; or the answer was lost, and it says
            // again that it is there.
            Err(AskError::Nobody | AskError::Silent(_)) => {}
            Err(error) => return Ok(Err(format!("run {}: {error}", beat.run))),
        }
    }
}

fn gone() -> String {
    "the connection to the control broker was closed".to_owned()
}

/// Connects; a control broker that is not there yet is waited for, unless this is a child of a conductor.
async fn connect(setup: &Setup, tell: &impl Fn(Progress)) -> Result<Line, LineError> {
    loop {
        match Line::connect(&setup.control, &setup.name).await {
            Err(LineError::Unreachable { url, source })
                if setup.run.is_none() && may_come(&source) =>
            {
                let text = format!("control broker {url} cannot be reached yet: {source}");
                tell(Progress::Waiting(text));
                sleep(RETRY_EVERY).await;
            }
            other => return other,
        }
    }
}

/// Whether waiting may help.
fn may_come(source: &ConnectError) -> bool {
    use ConnectErrorKind::{Dns, Io, TimedOut};
    matches!(source.kind(), Io | Dns | TimedOut) && !failed_tls(source)
}
