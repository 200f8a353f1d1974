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
}

impl Plain {
    pub(super) fn new(screen: Screen) -> Self {
        Self { screen, last: None }
    }

    pub(super) fn say(&self, line: &str) {
        self.screen.say(line);
    }

    pub(super) fn show(&mut self, progress: &Progress) {
        match progress {
            Progress::Connecting { connected, planned } => {
                self.now_and_then(|| format!("connecting: {}", text::nodes(*connected, *planned)));
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

    /// Says what `line` makes, unless one was said a moment ago.
    pub(super) fn now_and_then(&mut self, line: impl FnOnce() -> String) {
        if self.last.is_none_or(|last| last.elapsed() >= INTERVAL) {
            self.last = Some(Instant::now());
            self.screen.say(&line());
        }
    }
}
