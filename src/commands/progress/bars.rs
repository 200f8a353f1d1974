//! Progress as bars on a terminal: one bar for what is going on, and a lasting line above it for
//! everything that ended.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::text;
use crate::commands::screen::Screen;
use crate::conductor::Progress;

/// Redraws while nothing is reported, so that the elapsed time goes on.
const TICK: Duration = Duration::from_millis(200);
const COUNTING: &str = "{msg} {wide_bar} {human_pos}/{human_len} {elapsed}";
const WORKING: &str = "{spinner} {wide_msg} {elapsed}";

/// Draws bars.
pub(crate) struct Bars {
    screen: Screen,
    /// What is going on.
    current: Option<(&'static str, ProgressBar)>,
}

impl Bars {
    pub(super) fn new(screen: &Screen) -> Self {
        Self { screen: screen.clone(), current: None }
    }

    pub(super) fn say(&self, line: &str) {
        self.screen.say(line);
    }

    pub(super) fn show(&mut self, progress: &Progress) {
        if let Progress::Broker { .. }
        | Progress::Met { .. }
        | Progress::Mustered { .. }
        | Progress::Connected { .. }
        | Progress::Stopping = progress
        {
            self.clear();
        }
        if let Some(line) = text::line(progress) {
            self.screen.say(&line);
        }
        match progress {
            Progress::Connecting { connected, planned } => {
                self.bar("connecting", COUNTING, *planned).set_position(*connected);
            }
            Progress::Mustering { came, wanted } => {
                self.bar("workers", COUNTING, *wanted).set_position(*came);
            }
            Progress::Obtaining(_, step) => {
                if let Some(text) = text::passing(step) {
                    self.bar("nats-server", WORKING, 0).set_message(text);
                }
            }
            Progress::Waves { total, .. } => drop(self.bar("waves", COUNTING, *total)),
            Progress::Wave { .. } => {
                if let Some((_, bar)) = &self.current {
                    bar.inc(1);
                }
            }
            Progress::Stopping => drop(self.bar("stopping", WORKING, 0)),
            Progress::Discovering { .. } => drop(self.bar("discovering", WORKING, 0)),
            Progress::Broker { .. }
            | Progress::Formed { .. }
            | Progress::Control { .. }
            | Progress::Mustered { .. }
            | Progress::Met { .. }
            | Progress::Connected { .. }
            | Progress::Folder(_)
            | Progress::Timeline(_)
            | Progress::Warning(_) => {}
        }
    }

    /// The bar of this name; another one goes.
    fn bar(&mut self, name: &'static str, template: &str, length: u64) -> ProgressBar {
        if let Some((_, bar)) = self.current.as_ref().filter(|(current, _)| *current == name) {
            return bar.clone();
        }
        self.clear();
        let bar = ProgressBar::new(length).with_style(style(template)).with_message(name);
        let bar = self.screen.bars().add(bar);
        bar.enable_steady_tick(TICK);
        self.current = Some((name, bar.clone()));
        bar
    }

    fn clear(&mut self) {
        if let Some((_, bar)) = self.current.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants; a test says that they are understood.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_understood() {
        for template in [COUNTING, WORKING] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
