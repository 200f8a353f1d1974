//! Progress of bringing a nats-server here, when that is all that was asked for.

use std::sync::{Mutex, PoisonError};

use super::{Display, Progress};
use crate::broker::Progress as Obtaining;
use crate::commands::Shell;

/// Shows the steps; they come from another thread.
pub(crate) struct ObtainDisplay(Mutex<Display>);

impl ObtainDisplay {
    pub(crate) fn new(shell: &Shell) -> Self {
        Self(Mutex::new(Display::new(shell)))
    }

    pub(crate) fn show(&self, step: &Obtaining) {
        if let Obtaining::Passed(attempt) = step {
            tracing::info!("{attempt}");
        }
        let progress = Progress::Obtaining("install".to_owned(), step.clone());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).show(&progress);
    }
}
