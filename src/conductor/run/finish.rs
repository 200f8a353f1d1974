//! The end of every run, however it ended: last figures, an orderly stop, the result.

use reports::run::Ending;
use reports::verdict::ExitCode;

use super::Run;
use crate::conductor::events;
use crate::conductor::evidence::gather;
use crate::conductor::{Finished, Progress, RunError};

impl Run<'_> {
    /// Takes the last figures, stops everything in order, judges, and writes the result.
    pub(super) async fn finish(mut self, ending: Ending) -> Result<Finished, RunError> {
        self.reporter.tell(Progress::Stopping);
        // A full disk must not keep what was started running.
        let _ = self.sample("end").await;
        gather(&mut self);
        if let Some(driver) = self.driver.take() {
            driver.close().await;
        }
        if let Some(crew) = self.crew.take() {
            let counts = crew.stop().await;
            if let Some(listener) = self.listener.take() {
                let kinds = self.setup.plan.event_kinds();
                events::settle(listener, &counts, &kinds, &mut self.book.run.tally).await;
            }
        }
        if let Some(network) = self.network.take() {
            network.close().await;
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
}
