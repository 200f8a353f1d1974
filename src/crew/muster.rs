//! Getting the workers of a run together: the control broker, our own processes or those that come from
//! elsewhere, and who of them may take part.

use std::sync::Arc;
use std::time::Duration;

use emulator::spec::Share;
use futures_util::future::join_all;
use reports::verdict::ExitCode;
use reports::worker::WorkerResult;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::board::{Board, Worker};
use super::call::{Call, ControlAt, PlanText, Workers, control};
use super::children::{Children, TOKEN_VARIABLE};
use super::listening::{self, Registrar};
use super::losses::Losses;
use super::orders::Orders;
use super::places::nobody_is_called;
use super::{CrewError, Drivers, News};
use crate::control::messages::{Answer, Assignment, Order, micros};
use crate::control::parcel::Parcel;
use crate::control::{AskError, Build, ControlServer, Line, Subjects};
use crate::doctor::Host;
use crate::driver::{ConnectionOptions, Secret};

/// Time for our own processes to start and to ask to take part: they need 0.1 s.
const OWN_WITHIN: Duration = Duration::from_secs(30);
/// Time for a worker to take a part of the plan, or its share.
const PREPARE_WITHIN: Duration = Duration::from_secs(20);
/// Time for workers to hear that they are to leave: one that was welcomed a moment ago does not listen yet, and
/// one that is not heard at all is lost before.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);
/// Time for the control broker to end.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// The workers of a run, all there, without shares yet.
pub(crate) struct Mustered {
    pub(super) orders: Arc<Orders>,
    plan: PlanText,
    line: Line,
    subjects: Subjects,
    count: u64,
    losses: Losses,
    children: Children,
    server: Option<ControlServer>,
    /// The tasks that listen; they go with this.
    tasks: JoinSet<()>,
    /// The one that shows others that this run goes on, until nothing of it is left on the control broker.
    beating: JoinSet<()>,
    /// How long workers are waited for.
    wait: Duration,
}

impl Mustered {
    /// Opens the muster: the control broker is there, and so are our own workers' processes, if they are to
    /// be ours. `told` hears how it goes.
    pub(crate) async fn open(call: Call<'_>, told: &impl Fn(News)) -> Result<Self, CrewError> {
        let (server, options, token) = control(&call).await?;
        let line = Line::connect(&options, "conductor").await.map_err(CrewError::unreachable)?;
        let run = format!("{:08x}", rand::random::<u32>());
        let build = Build::of(call.launcher.image.clone()).await.map_err(|error| {
            CrewError::refused(format!("cannot read this program's own file: {error}\nmount /proc"))
        })?;
        let (board, subjects) = (Arc::new(Board::new(call.nodes.iter().sum())), Subjects::of(&run));
        let standing = call.standing(&run, &board);
        let listen =
            async |subject: String| line.listen(&subject).await.map_err(CrewError::unreachable);
        let (mut who, mut beats) =
            (listen(Subjects::WHO.to_owned()).await?, listen(Subjects::BEAT.to_owned()).await?);
        // A control broker of our own was there for nobody before.
        if server.is_none() {
            standing.claim(&line, (&mut who, &mut beats)).await?;
        }
        let mut tasks = JoinSet::new();
        let registrar = Registrar {
            line: line.clone(),
            board: Arc::clone(&board),
            build,
            of: call.count,
            nodes: call.nodes.clone(),
            run: run.clone(),
        };
        let (pulses, left) = (listen(subjects.pulses()).await?, listen(subjects.all_left()).await?);
        let to_workers = (line.clone(), subjects.clone());
        tasks.spawn(listening::hear(to_workers, Arc::clone(&board), pulses, left));
        tasks.spawn(registrar.receive(listen(subjects.join()).await?));
        let mut beating = JoinSet::new();
        beating.spawn(standing.keep(line.clone(), who, beats));
        if let Some(server) = &server {
            let (died, board) = (server.died(), Arc::clone(&board));
            tasks.spawn(async move { board.deafen(died.await) });
        }
        let mut mustered = Self {
            plan: call.plan.clone(),
            losses: Losses { board: Arc::clone(&board), tolerated: call.tolerated },
            orders: Arc::new(Orders::new(line.clone(), subjects.clone(), board)),
            line,
            subjects,
            count: call.count,
            children: Children::default(),
            server,
            tasks,
            beating,
            wait: OWN_WITHIN,
        };
        match call.workers {
            Workers::Elsewhere(elsewhere) => {
                mustered.wait = elsewhere.wait;
                let at = mustered.server.as_ref().and_then(ControlServer::listens);
                if let (Some(at), ControlAt::Listen { token: given, .. }) = (at, &elsewhere.control)
                {
                    let made_up = given.is_none().then_some(token);
                    told(News::Listening { at, made_up });
                }
            }
            Workers::AsNeeded | Workers::Here(_) => {
                mustered.start_children(&call, (&options, &token), &run).await?;
            }
        }
        Ok(mustered)
    }

    async fn start_children(
        &mut self,
        call: &Call<'_>,
        (options, token): (&ConnectionOptions, &Secret),
        run: &str,
    ) -> Result<(), CrewError> {
        let board = Arc::clone(self.orders.board());
        let started = Children::start(
            call.count,
            (call.launcher, options, token),
            (run, &call.workers_folder),
            &board,
            &mut self.tasks,
        );
        self.children = started.await.map_err(|error| CrewError {
            code: ExitCode::Unexpected,
            message: format!("a worker process cannot be started: {error}"),
        })?;
        Ok(())
    }

    /// Waits until all are there, those of the names `places` among them; `told` hears how it goes.
    pub(crate) async fn complete(
        &mut self,
        places: &[&str],
        told: &impl Fn(News),
    ) -> Result<(), CrewError> {
        // Not before somebody owns this, who removes the stream in any case.
        listening::make_stream(&self.line).await.map_err(CrewError::unreachable)?;
        let board = Arc::clone(self.orders.board());
        self.tasks.spawn(listening::collect(self.line.clone(), self.subjects.clone(), board));
        let deadline = Instant::now() + self.wait;
        let board = self.orders.board();
        let mut turned_away = 0;
        loop {
            let changed = board.changed.notified();
            let (came, refused) = {
                let seen = board.seen();
                if let Some(how) = seen.stillborn.first() {
                    return Err(CrewError::lost(format!(
                        "{how}\nits log is in workers/ of the result folder"
                    )));
                }
                let came = seen.workers.len() as u64;
                // Nobody is waited for where not all of these can come any more.
                let unknown = seen.without(places);
                if unknown.len() as u64 > self.count.saturating_sub(came) {
                    return Err(nobody_is_called(&unknown, &seen.names()));
                }
                (came, seen.refused.clone())
            };
            for reason in refused.iter().skip(turned_away) {
                told(News::TurnedAway(reason.clone()));
            }
            turned_away = refused.len();
            told(News::Mustering { came, wanted: self.count });
            if let Some(gone) = self.losses.beyond() {
                return Err(gone);
            }
            if came >= self.count {
                return Ok(());
            }
            if timeout_at(deadline, changed).await.is_err() {
                return Err(CrewError::lost(self.incomplete(&refused)));
            }
        }
    }

    fn incomplete(&self, refused: &[String]) -> String {
        let seen = self.orders.board().seen();
        let names: Vec<String> = seen.workers.iter().map(|worker| worker.in_words()).collect();
        let came = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let mut text = format!(
            "{} of {} workers came within {}: {came}",
            names.len(),
            self.count,
            humantime::format_duration(self.wait)
        );
        for reason in refused {
            text.push_str(&format!("\nturned away: {reason}"));
        }
        text.push_str(&format!(
            "\nstart the others with: {TOKEN_VARIABLE}=... choria-emulator worker --control {}\n\
             or wait longer for them with --expect-max-wait",
            self.line.url()
        ));
        text
    }

    /// The workers of these names, which are to have drivers; `None` where there are no names.
    pub(crate) fn drivers(&self, names: &[&str]) -> Option<Drivers> {
        Drivers::find(&self.orders, names)
    }

    /// Tells each worker the plan, and gives it its share.
    pub(crate) async fn give_shares(
        &self,
        assignment: impl Fn(Share, u64) -> Assignment,
    ) -> Result<(), CrewError> {
        let of = self.count;
        let message_bytes = self.line.client().server_info().max_payload;
        let parts = Parcel::of(1, &self.plan.0, message_bytes).into_iter().map(Order::Plan);
        let parts: Vec<_> = parts.collect();
        let prepare = self.orders.present().into_iter().map(async |number| {
            let share = Share { index: number, of };
            let last = Order::Prepare(Box::new(assignment(share, self.shards(number))));
            for part in &parts {
                let answer = self.orders.give(number, part, PREPARE_WITHIN).await;
                if !matches!(answer, Ok(Answer::Done)) {
                    return (number, answer);
                }
            }
            (number, self.orders.give(number, &last, PREPARE_WITHIN).await)
        });
        self.agreed(join_all(prepare).await)
    }

    /// Lets all workers connect their nodes; `at`: since the run began.
    pub(crate) async fn start(&self, at: Duration) -> Result<(), CrewError> {
        let start = Order::Start { at_us: micros(at) };
        self.agreed(self.orders.give_all(&start, PREPARE_WITHIN).await)
    }

    /// How many workers there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The hosts of the workers, one entry a worker.
    pub(crate) fn hosts(&self) -> Vec<Host> {
        self.orders.board().seen().workers.iter().map(|worker| worker.card.host.clone()).collect()
    }

    /// Name, host and process of each worker.
    pub(crate) fn workers(&self) -> impl Iterator<Item = (String, String, u32)> {
        let seen = self.orders.board().seen();
        let card = |worker: &Worker| {
            (worker.card.name.clone(), worker.card.host.name.clone(), worker.card.pid)
        };
        seen.workers.iter().map(card).collect::<Vec<_>>().into_iter()
    }

    /// The process of the control broker, if it is ours.
    pub(crate) fn control_pid(&self) -> Option<i32> {
        self.server.as_ref().map(ControlServer::pid)
    }

    /// Threads that a worker is to carry nodes with: its host's processors, shared with the other workers there.
    pub(super) fn shards(&self, number: u64) -> u64 {
        let hosts = self.hosts();
        let Some(own) = usize::try_from(number).ok().and_then(|at| hosts.get(at)) else { return 1 };
        let beside =
            hosts.iter().filter(|host| (&host.name, &host.boot_id) == (&own.name, &own.boot_id));
        (own.cores / beside.count().max(1) as u64).max(1)
    }

    /// Which workers are lost.
    pub(crate) fn losses(&self) -> &Losses {
        &self.losses
    }

    /// What became of each worker, by name.
    pub(crate) fn results(&self) -> Vec<(String, WorkerResult)> {
        self.orders.board().results()
    }

    /// Whether all workers did what they were told; else what they say.
    fn agreed(&self, answers: Vec<(u64, Result<Answer, AskError>)>) -> Result<(), CrewError> {
        let mut said = Vec::new();
        let mut code = ExitCode::WorkerLost;
        for (number, answer) in answers {
            let name = {
                let mut seen = self.orders.board().seen();
                seen.worker(number).map(|worker| worker.in_words()).unwrap_or_default()
            };
            match answer {
                Ok(Answer::Done) => {}
                // Who is lost is told elsewhere, and judged by what the run tolerates.
                Err(_) if self.orders.board().has_lost(number) => {}
                Ok(Answer::Refused(reason)) => {
                    code = ExitCode::Refused;
                    said.push(reason);
                }
                Ok(other) => said.push(format!("worker {name} answered {other:?}")),
                Err(error) => {
                    if matches!(error, AskError::TooLarge { .. }) {
                        code = ExitCode::Refused;
                    }
                    said.push(format!("worker {name} did not take its share: {error}"));
                }
            }
        }
        said.sort();
        said.dedup();
        match self.losses.beyond() {
            Some(gone) => Err(gone),
            None if said.is_empty() => Ok(()),
            None => Err(CrewError { code, message: said.join("\n") }),
        }
    }

    /// Ends everything: workers that have told all they counted go by themselves, the others are made to.
    pub(crate) async fn dismiss(mut self) {
        let board = Arc::clone(self.orders.board());
        // Whoever is not there yet need not be told to go.
        board.close();
        let leave = Order::Leave("the run has ended without this worker's account".to_owned());
        let told = self.orders.present().into_iter().map(async |number| {
            match self.orders.give(number, &leave, LEAVE_WITHIN).await {
                Ok(_) => board.release(number),
                Err(error) => tracing::warn!(number, "a worker was not told to leave: {error}"),
            }
        });
        join_all(told).await;
        self.tasks.shutdown().await;
        self.children.end(&board).await;
        // A stream in a broker of our own goes with it.
        if self.server.is_none() {
            let rival = board.has_rival();
            let removed = listening::remove_stream(&self.line, &self.subjects, rival);
            let _ = tokio::time::timeout(CLOSE_WITHIN, removed).await;
        }
        self.beating.shutdown().await;
        self.line.close().await;
        if let Some(server) = self.server {
            server.stop(CLOSE_WITHIN).await;
        }
    }
}
