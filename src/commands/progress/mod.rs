//! What a run says on its way, on stderr: bars on a terminal, else a line now and then.
//!
//! The conductor reports values; what they look like is decided here.

mod bars;
mod obtaining;
mod plain;
mod text;

use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinSet;

use super::Shell;
use crate::conductor::Progress;

pub(super) use obtaining::ObtainDisplay;

use bars::Bars;
use plain::Plain;

/// Reports that wait to be shown; when it is full the run waits for the terminal, a moment.
const QUEUE: usize = 1024;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Bars, redrawn.
    Bars,
    /// Lines at an interval.
    Plain,
    /// Nothing.
    None,
}

/// Shows what is reported.
pub(super) enum Display {
    Bars(Bars),
    Plain(Plain),
    None,
}

impl Display {
    pub(super) fn new(shell: &Shell) -> Self {
        match shell.progress {
            Style::Bars => Self::Bars(Bars::new(&shell.screen)),
            Style::Plain => Self::Plain(Plain::new(shell.screen.clone())),
            Style::None => Self::None,
        }
    }

    pub(super) fn show(&mut self, progress: &Progress) {
        match self {
            Self::Bars(bars) => bars.show(progress),
            Self::Plain(plain) => plain.show(progress),
            Self::None => {}
        }
    }

    /// Says a line of the command's own.
    pub(super) fn say(&self, line: &str) {
        match self {
            Self::Bars(bars) => bars.say(line),
            Self::Plain(plain) => plain.say(line),
            Self::None => {}
        }
    }
}

/// Shows reports as they come, on a task of its own.
pub(super) struct Shown {
    tasks: JoinSet<()>,
}

impl Shown {
    /// Starts; reports go into the sender.
    pub(super) fn start(shell: &Shell) -> (Sender<Progress>, Self) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let mut tasks = JoinSet::new();
        tasks.spawn(show_all(Display::new(shell), receiver));
        (sender, Self { tasks })
    }

    /// Waits until everything is shown; every sender must be gone.
    pub(super) async fn finish(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn show_all(mut display: Display, mut reports: Receiver<Progress>) {
    while let Some(progress) = reports.recv().await {
        display.show(&progress);
    }
}
