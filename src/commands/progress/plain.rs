//! Progress as lines: at most one a second while a number grows, one for everything that ends.

use std::time::{Duration, Instant};

use super::text;
use crate::commands::screen::Screen;
use crate::conductor::Progress;

/// Between two lines that tell the same with another number.
const INTERVAL: Duration = Duration::from_secs(1);

/// Says lines.
pub(crate) struct Plain {
    screen: Screen,
    last: Option<Instant>,
    /// Workers that were said to be there: they may be waited for long.
    came: Option<u64>,
}

impl Plain {
    pub(super) fn new(screen: Screen) -> Self {
        Self { screen, last: None, came: None }
    }

    pub(super) fn say(&self, line: &str) {
        self.screen.say(line);
    }

    pub(super) fn show(&mut self, progress: &Progress) {
        match progress {
            Progress::Connecting { connected, planned } => {
                self.now_and_then(|| format!("connecting: {}", text::nodes(*connected, *planned)));
            }
            Progress::Mustering { came, wanted } if came < wanted && self.came != Some(*came) => {
                let line = || format!("waiting for workers: {came} of {wanted} are there");
                if self.now_and_then(line) {
                    self.came = Some(*came);
                }
            }
            Progress::Obtaining(name, step) if text::passing(step).is_some() => {
                self.now_and_then(|| {
                    format!("broker {name}: {}", text::passing(step).unwrap_or_default())
                });
            }
            other => {
                if let Some(line) = text::line(other) {
                    self.screen.say(&line);
                }
            }
        }
    }

    /// Says what `line` makes, unless one was said a moment ago; whether it was said.
    pub(super) fn now_and_then(&mut self, line: impl FnOnce() -> String) -> bool {
        let is_due = self.last.is_none_or(|last| last.elapsed() >= INTERVAL);
        if is_due {
            self.last = Some(Instant::now());
            self.screen.say(&line());
        }
        is_due
    }
}
