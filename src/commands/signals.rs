//! Ctrl-C and SIGTERM: the first asks the work to end, the second ends it at once.

use std::pin::pin;

use anyhow::Context as _;
use reports::verdict::ExitCode;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::screen::Screen;
use crate::conductor::{Stop, StopReason};

/// Runs `work` on a runtime of its own. It is told once that it should end, and the person that this is
/// `heard`; when it is asked again it is left where it is, and what it holds goes with this process.
pub(super) fn run<W>(screen: &Screen, heard: &str, work: W) -> anyhow::Result<ExitCode>
where
    W: AsyncFnOnce(Stop) -> anyhow::Result<ExitCode>,
{
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime: the system gives no threads")?;
    let stop = Stop::default();
    let ended = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        // Boxed so that it can be abandoned instead of dropped.
        let mut work = Box::pin(work(stop.clone()));
        let first = tokio::select! {
            ended = &mut work => return ended,
            reason = signals.next() => reason,
        };
        screen.say(&format!("{heard}; Ctrl-C again ends at once"));
        stop.ask(first);
        let second = tokio::select! {
            ended = &mut work => return ended,
            reason = signals.next() => reason,
        };
        // Dropping it would wait for threads and brokers; these end with the process.
        std::mem::forget(work);
        Ok(code(second))
    });
    runtime.shutdown_background();
    ended
}

/// The exit code of an end by request.
pub(super) fn code(reason: StopReason) -> ExitCode {
    match reason {
        StopReason::Interrupted => ExitCode::Interrupted,
        StopReason::Terminated => ExitCode::Terminated,
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for Ctrl-C");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> StopReason {
        let mut interrupted = pin!(self.interrupt.recv());
        tokio::select! {
            _ = &mut interrupted => StopReason::Interrupted,
            _ = self.terminate.recv() => StopReason::Terminated,
        }
    }
}
