//! The phase in which worker processes come together, where the plan wants them; and what is heard of them
//! while the run goes on.

use emulator::spec::Share;
use reports::run::Ending;
use reports::store::StoreError;
use reports::verdict::{Doubt, Severity};
use serde_json::json;

use super::Run;
use crate::conductor::book::Book;
use crate::conductor::early::{asked, broken, fault, meanwhile, noting, trouble};
use crate::conductor::network::request;
use crate::conductor::{Progress, Reporter, RunError, passed};
use crate::crew::{Call, Crew, CrewError, Dismissed, Losses, Mustered, News, PlanText, Workers};
use crate::doctor::{Examination, Host};
use crate::plan::Demand;

impl Run<'_> {
    /// Gets the workers together; whether their hosts can carry the plan is known then.
    pub(super) async fn assemble(&mut self) -> Result<(), Ending> {
        if self.workers == 0 || self.is_foreign() {
            return Ok(());
        }
        let failed = |error: CrewError| Ending::Failed(error.code, error.message);
        // A plan that no worker takes is refused before any of them comes.
        let plan = PlanText::of(&self.setup.plan).map_err(failed)?;
        let reporter = self.reporter.clone();
        let told = |news: News| {
            reporter.tell(match news {
                News::Listening { at, made_up } => Progress::Control { at, made_up },
                News::Mustering { came, wanted } => Progress::Mustering { came, wanted },
                News::TurnedAway(reason) => Progress::Warning(reason),
            });
        };
        let places = self.setup.plan.clients_places();
        let opened = Mustered::open(self.call(plan)?, &told);
        let mustered = tokio::select! {
            opened = opened => opened.map_err(failed)?,
            reason = self.stop.asked() => return Err(asked(reason)),
        };
        // Whatever happens from here on, they are dismissed in order.
        let mustered = self.mustered.insert(mustered);
        self.losses = Some(mustered.losses().clone());
        let trouble = trouble(&None, &self.losses, &self.crew, self.stop);
        let note = || note_losses(&self.losses, &mut self.book, self.reporter);
        let complete = mustered.complete(&places, &told);
        meanwhile(complete, trouble, note).await?.map_err(failed)?;
        self.drivers = mustered.drivers(&places);
        let of_driver =
            |(name, ..): (String, String, u32)| self.setup.plan.client_connections(&name);
        let of_drivers = mustered.workers().map(of_driver);
        let workers: Vec<_> = mustered.hosts().into_iter().zip(of_drivers).collect();
        if matches!(self.setup.workers, Workers::Elsewhere(_)) {
            let here = Host::read().map_err(|error| fault(&error.to_string()))?;
            let demand = Demand::of(&self.setup.plan);
            let examined = passed(Examination::of_workers(demand, &here, &workers));
            let refused = |RunError { code, message }| Ending::Failed(code, message);
            self.warnings.extend(examined.map_err(refused)?);
        }
        let each = mustered.workers();
        let each = each.map(|(name, host, pid)| json!({ "name": name, "host": host, "pid": pid }));
        let figures =
            json!({ "workers": each.collect::<Vec<_>>(), "control_pid": mustered.control_pid() });
        let text = format!("{} workers are there", self.workers);
        self.reporter.tell(Progress::Mustered { workers: self.workers });
        self.book.event("mustered", text, figures).map_err(broken)
    }

    fn call(&self, text: PlanText) -> Result<Call<'_>, Ending> {
        let plan = &self.setup.plan;
        let nodes = |index| {
            let share = Share { index, of: self.workers };
            plan.groups.iter().map(|group| share.count(group.first, group.nodes)).sum()
        };
        Ok(Call {
            plan: text,
            workers: &self.setup.workers,
            count: self.workers,
            nodes: (0..self.workers).map(nodes).collect(),
            tolerated: plan.tolerated_loss,
            scenario: &plan.name,
            began: self.book.run.about.started_at.clone(),
            age: self.book.now(),
            launcher: &self.setup.launcher,
            sources: &self.setup.sources,
            programs: {
                let managed = plan.brokers.managed().into_iter();
                let servers = managed.flat_map(|managed| &managed.brokers);
                let mut requests: Vec<_> =
                    servers.map(|broker| request(&broker.nats_server)).collect();
                requests.dedup();
                requests
            },
            control_folder: self.book.subfolder("control").map_err(broken)?,
            workers_folder: self.book.path().join("workers"),
        })
    }

    /// Writes down what workers sent of their own, and which of them were lost and may be.
    pub(super) fn hear_of_workers(&mut self) -> Result<(), StoreError> {
        if let Some(crew) = &self.crew {
            self.book.workers(&crew.take_rows())?;
        }
        note_losses(&self.losses, &mut self.book, self.reporter)
    }

    /// Ends the crew, takes over what it knew last, and says where that does not add up.
    pub(super) async fn dismiss(&mut self, crew: Crew) -> Dismissed {
        let note = || note_if_possible(&self.losses, &mut self.book, self.reporter);
        let mut dismissed = noting(crew.stop(), note).await;
        let tally = &mut self.book.run.tally;
        for difference in std::mem::take(&mut dismissed.differences) {
            tally.doubts.insert(Doubt {
                kind: "account_differs".to_owned(),
                severity: Severity::Invalid,
                detail: difference,
                advice: "figures of the nodes are not to be trusted; see run.log".to_owned(),
            });
        }
        tally.workers.extend(std::mem::take(&mut dismissed.workers));
        let _ = self.book.workers(&std::mem::take(&mut dismissed.rows));
        dismissed
    }
}

/// Writes down which workers were lost since this was last done, whatever the run does just now.
pub(super) fn note_losses(
    losses: &Option<Losses>,
    book: &mut Book,
    reporter: &Reporter,
) -> Result<(), StoreError> {
    for told in losses.iter().flat_map(Losses::take) {
        reporter.tell(Progress::Warning(told.clone()));
        book.event("worker_lost", told.clone(), json!({}))?;
        book.run.tally.doubts.insert(Doubt {
            kind: "worker_lost".to_owned(),
            severity: Severity::Note,
            detail: told,
            advice: "see missing.jsonl for the nodes, and look at that host".to_owned(),
        });
    }
    Ok(())
}

/// The same where something else is under way: a full disk must not keep it from its end.
pub(super) fn note_if_possible(losses: &Option<Losses>, book: &mut Book, reporter: &Reporter) {
    let _ = note_losses(losses, book, reporter);
}
