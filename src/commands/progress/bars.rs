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
        if let Some(line) = text::line(progress) {
            self.screen.say(&line);
        }
        match progress {
            Progress::Connecting { connected, planned } => {
                let bar = self.bar("connecting", COUNTING);
                bar.set_length(*planned);
                bar.set_position(*connected);
            }
            Progress::Obtaining(_, step) => {
                if let Some(text) = text::passing(step) {
                    self.bar("nats-server", WORKING).set_message(text);
                }
            }
            Progress::Waves { total, .. } => self.bar("waves", COUNTING).set_length(*total),
            Progress::Wave { .. } => self.bar("waves", COUNTING).inc(1),
            Progress::Broker { .. } | Progress::Connected { .. } => self.clear(),
            Progress::Stopping => {
                self.clear();
                self.bar("stopping", WORKING).set_message("stopping");
            }
            Progress::Folder(_) | Progress::Warning(_) => {}
        }
    }

    /// The bar of this name; another one goes.
    pub(super) fn bar(&mut self, name: &'static str, template: &str) -> &ProgressBar {
        if self.current.as_ref().is_some_and(|(current, _)| *current != name) {
            self.clear();
        }
        let (_, bar) = self.current.get_or_insert_with(|| {
            let bar = self.screen.bars().add(ProgressBar::new(0));
            bar.set_style(style(template));
            bar.set_message(name);
            bar.enable_steady_tick(TICK);
            (name, bar)
        });
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
