//! The end of every run, however it ended: last figures, an orderly stop, the result.

use std::time::Duration;

use reports::run::Ending;
use reports::verdict::ExitCode;

use super::{Run, note_if_possible};
use crate::conductor::early::{noting, without};
use crate::conductor::events;
use crate::conductor::evidence::gather;
use crate::conductor::{Finished, Progress, RunError};
use crate::crew::Dismissed;

/// Time for a managed broker to end in order; 15,000 clients take it 0.6 s.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// The same where somebody waits for the end, or something broke.
const STOP_EARLY_WITHIN: Duration = Duration::from_secs(2);

impl Run<'_> {
    /// Takes the last figures, stops everything in order, judges, and writes the result.
    pub(super) async fn finish(mut self, mut ending: Ending) -> Result<Finished, RunError> {
        self.reporter.tell(Progress::Stopping);
        let patience = if ending == Ending::Completed {
            self.last_look().await;
            STOP_WITHIN
        } else {
            // Whoever asked to end waits for the end, not for figures.
            STOP_EARLY_WITHIN
        };
        let note = || note_if_possible(&self.losses, &mut self.book, self.reporter);
        if let Some(crew) = &self.crew {
            let _ = noting(crew.look(), note).await;
        }
        let _ = self.hear_of_workers();
        gather(&mut self);
        if let Some(driver) = self.driver.take() {
            let note = || note_if_possible(&self.losses, &mut self.book, self.reporter);
            let _ = noting(tokio::time::timeout(patience, driver.close()), note).await;
        }
        if let Some(crew) = self.crew.take() {
            let Dismissed { counts, lost, .. } = self.dismiss(crew).await;
            if let (Some(told), Ending::Completed) = (lost, &ending) {
                ending = without(told);
            }
            if let Some(listener) = self.listener.take() {
                let kinds = self.setup.plan.event_kinds();
                events::settle(listener, &counts, &kinds, &mut self.book.run.tally).await;
            }
        }
        if let Some(mustered) = self.mustered.take() {
            self.book.run.tally.workers.extend(mustered.results());
            mustered.dismiss().await;
        }
        if let Some(telemetry) = self.telemetry.take() {
            telemetry.stop().await;
        }
        if let Some(network) = self.network.take() {
            network.close(patience).await;
        }
        let what_broke = match &ending {
            Ending::Failed(_, message) => format!("{message}\nand the result is not complete: "),
            _ => String::new(),
        };
        self.book.close(&self.setup.plan, ending).map_err(|error| RunError {
            code: ExitCode::Unexpected,
            message: format!("{what_broke}{error}"),
        })?;
        let folder = self.book.path().to_owned();
        Ok(Finished { result: self.book.run, folder })
    }

    /// The state of everything after the last wave.
    async fn last_look(&mut self) {
        self.enter("end");
        if let Some(telemetry) = &self.telemetry {
            let note = || note_if_possible(&self.losses, &mut self.book, self.reporter);
            noting(telemetry.look(), note).await;
        }
        self.inspect("after waves").await;
        // A full disk must not keep what was started running.
        let _ = self.sample("end");
    }
}
