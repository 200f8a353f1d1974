//! Progress of bringing a nats-server here, outside a run.

use std::sync::{Mutex, PoisonError};

use super::{Display, Progress};
use crate::broker::Progress as Obtaining;
use crate::commands::Shell;

/// Shows the steps; they come from another thread.
pub(crate) struct ObtainDisplay {
    display: Mutex<Display>,
    whose: &'static str,
}

impl ObtainDisplay {
    /// `whose` stands before every step.
    pub(crate) fn new(shell: &Shell, whose: &'static str) -> Self {
        Self { display: Mutex::new(Display::new(shell)), whose }
    }

    pub(crate) fn show(&self, step: &Obtaining) {
        if let Obtaining::Passed(attempt) = step {
            tracing::info!("{attempt}");
        }
        let progress = Progress::Obtaining(self.whose.to_owned(), step.clone());
        self.display.lock().unwrap_or_else(PoisonError::into_inner).show(&progress);
    }
}
