//! The phase in which it is found out who must answer, where the nodes are not ours.

use reports::run::{Ending, Origin};
use reports::verdict::ExitCode;
use serde_json::json;

use super::Run;
use crate::conductor::early::{asked, broken, fault};
use crate::conductor::{Progress, Strangers};
use crate::orders::{Crowd, draft};

impl Run<'_> {
    /// Finds out who is there, on a network whose nodes are not ours.
    pub(super) async fn meet(&mut self, strangers: Strangers) -> Result<Crowd, Ending> {
        let plan = &self.setup.plan;
        let mut names = match &strangers {
            Strangers::Listed(names) => names.clone(),
            Strangers::Discovered | Strangers::Count(_) => self.discover().await?,
        };
        names.sort();
        names.dedup();
        let seen = names.len() as u64;
        let origin = match strangers {
            Strangers::Discovered => Origin::Discovered,
            Strangers::Count(expected) => Origin::Counted { expected, seen },
            Strangers::Listed(_) => Origin::Listed,
        };
        if let Strangers::Count(expected) = strangers {
            // Nodes that are expected and that nobody has seen have no names.
            let unseen = expected.saturating_sub(seen);
            let width = unseen.to_string().len();
            names.extend((1..=unseen).map(|number| format!("(never seen, {number:0width$})")));
        }
        if names.is_empty() {
            return Err(Ending::Failed(
                ExitCode::BrokerUnreachable,
                "no node answered the first discovery\n\
                 check the collective and the filter, wait longer, or name the nodes that must answer"
                    .to_owned(),
            ));
        }
        let figures = json!({ "nodes": names.len() });
        let text = format!("{} nodes have to answer", names.len());
        self.book.event("discovered", text, figures).map_err(broken)?;
        let nodes = names.len() as u64;
        self.book.run.tally.fleet.planned = nodes;
        self.book.run.about.origin = origin;
        self.reporter.tell(Progress::Met { nodes, origin });
        Crowd::of_strangers(plan, &names).map_err(|error| fault(&error.to_string()))
    }

    async fn discover(&mut self) -> Result<Vec<String>, Ending> {
        let plan = &self.setup.plan;
        let nobody = Crowd::of_strangers(plan, &[]).map_err(|error| fault(&error.to_string()))?;
        self.connect_driver(&nobody).await?;
        let Some(entry) = plan.entries.first() else { return Ok(Vec::new()) };
        let mut request = draft(plan, entry, 1).map_err(|error| fault(&error.to_string()))?;
        request.agent = "discovery".to_owned();
        request.body = emulator::protocol::client::DISCOVERY_BODY.to_owned();
        let id = format!("{:032x}", rand::random::<u128>());
        let patience = self.setup.discovery_timeout.unwrap_or(entry.deadline);
        self.reporter.tell(Progress::Discovering { patience });
        let Some(driver) = self.driver.take() else { return Err(fault("no driver")) };
        let found = tokio::select! {
            found = driver.discover(&request, &id, patience) => found,
            reason = self.stop.asked() => return Err(asked(reason)),
        };
        driver.close().await;
        found.map_err(|error| Ending::Failed(ExitCode::BrokerUnreachable, error.to_string()))
    }
}
