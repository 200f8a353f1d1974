//! Ctrl-C, SIGTERM and SIGHUP: the first asks the work to end, the second ends it at once.
//!
//! The work has a thread of its own, so that whatever it is busy with, or hangs in, whoever listens for
//! signals still hears them. What it holds when it is left goes with the process.

use std::fs;
use std::panic;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use reports::verdict::ExitCode;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::screen::Screen;
use crate::conductor::{Stop, StopReason};

/// Stack of the thread of the work: what Linux gives the first thread of a program.
const STACK_BYTES: usize = 8 << 20;
/// How long the end of the work waits for the line that told of the first signal: longer only takes a
/// stderr that nobody reads.
const SAID_WITHIN: Duration = Duration::from_secs(1);
/// How long the end waits for what still blocks a thread, so that programs and files of an errand that was called
/// back go with it (`broker::obtain`). What blocks longer is left.
const BLOCKS_WITHIN: Duration = Duration::from_secs(2);

/// Runs `work` on a thread and a runtime of its own. It is told once that it should end, and the person
/// that this is `heard`; when it is asked again it is left where it is, and what it holds goes with
/// this process.
pub(super) fn run<W>(screen: &Screen, heard: &str, work: W) -> anyhow::Result<ExitCode>
where
    W: AsyncFnOnce(Stop) -> anyhow::Result<ExitCode> + Send + 'static,
{
    let listening = runtime(&mut Builder::new_current_thread())?;
    let line = format!("{heard}; Ctrl-C again ends at once");
    let ended = listening.block_on(listen(screen.clone(), line, work));
    // The line may still wait for a stderr that nobody reads.
    listening.shutdown_background();
    ended
}

async fn listen<W>(screen: Screen, line: String, work: W) -> anyhow::Result<ExitCode>
where
    W: AsyncFnOnce(Stop) -> anyhow::Result<ExitCode> + Send + 'static,
{
    let mut signals = Signals::listen()?;
    let stop = Stop::default();
    let mut work = Work::start(stop.clone(), work)?;
    let first = tokio::select! {
        ended = work.ended() => return ended,
        heard = signals.next() => heard,
    };
    // Not here: a stderr that nobody reads would hold up the second signal.
    let told = tokio::task::spawn_blocking(move || {
        if first == Heard::HungUp {
            screen.hang_up();
        }
        stop.ask(first.reason());
        screen.say(&line);
    });
    tokio::select! {
        ended = work.ended() => {
            let _ = timeout(SAID_WITHIN, told).await;
            ended
        }
        second = signals.next() => Ok(code(second.reason())),
    }
}

fn runtime(builder: &mut Builder) -> anyhow::Result<Runtime> {
    builder.enable_all().build().context("cannot start the runtime: the system gives no threads")
}

/// The exit code of an end by request.
pub(super) fn code(reason: StopReason) -> ExitCode {
    match reason {
        StopReason::Interrupted => ExitCode::Interrupted,
        StopReason::Terminated => ExitCode::Terminated,
    }
}

/// Work under way. It is left, not ended, when this is dropped before.
struct Work {
    /// `None` once it was awaited.
    thread: Option<thread::JoinHandle<anyhow::Result<ExitCode>>>,
    /// Closed when the work has ended, also by a panic.
    under_way: oneshot::Receiver<()>,
}

impl Work {
    fn start<W>(stop: Stop, work: W) -> anyhow::Result<Self>
    where
        W: AsyncFnOnce(Stop) -> anyhow::Result<ExitCode> + Send + 'static,
    {
        let runtime = runtime(&mut Builder::new_multi_thread())?;
        let (guard, under_way) = oneshot::channel::<()>();
        let thread = thread::Builder::new()
            .name("work".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let _closes_with_the_work = guard;
                let ended = runtime.block_on(Box::pin(work(stop)));
                runtime.shutdown_timeout(BLOCKS_WITHIN);
                ended
            })
            .context("cannot start the work: the system gives no threads")?;
        Ok(Self { thread: Some(thread), under_way })
    }

    /// Waits until it has ended; once. A panic goes on here.
    async fn ended(&mut self) -> anyhow::Result<ExitCode> {
        let _ = (&mut self.under_way).await;
        let thread = self.thread.take().context("the end of the work was told already")?;
        thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
    }
}

/// A wish that the work should end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGHUP: the terminal is gone, and with it whoever could read or press Ctrl-C.
    HungUp,
}

impl Heard {
    fn reason(self) -> StopReason {
        match self {
            Self::Interrupt => StopReason::Interrupted,
            Self::Terminate | Self::HungUp => StopReason::Terminated,
        }
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` under `nohup`, whose promise it is that nothing happens.
    hang_up: Option<Signal>,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for Ctrl-C");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: match hang_ups_are_ignored() {
                true => None,
                false => Some(listen(SignalKind::hangup())?),
            },
        })
    }

    async fn next(&mut self) -> Heard {
        let hang_up = async {
            match &mut self.hang_up {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Heard::Interrupt,
            _ = self.terminate.recv() => Heard::Terminate,
            _ = hang_up => Heard::HungUp,
        }
    }
}

/// Whether this process was started with SIGHUP ignored.
fn hang_ups_are_ignored() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hang_ups(&status))
}

/// Whether `SigIgn` of a `/proc/PID/status` has the bit of SIGHUP, the lowest (proc_pid_status(5)).
fn ignores_hang_ups(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_tells_of_nohup() {
        for (mask, ignored) in [("0000000000000001", true), ("0000000000001000", false)] {
            let status = format!("Name:\tx\nSigBlk:\tffffffffffffffff\nSigIgn:\t{mask}\n");
            assert_eq!(ignores_hang_ups(&status), ignored, "{mask}");
        }
        assert!(!ignores_hang_ups(""));
    }
}
