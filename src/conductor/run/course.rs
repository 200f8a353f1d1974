//! The timeline beside the waves: carried out by a task, written down as it happens.

use std::time::Duration;

use reports::recovery::Recoveries;
use reports::run::Ending;
use reports::store::StoreError;
use reports::verdict::ExitCode;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::Run;
use crate::conductor::Progress;
use crate::conductor::early::{broken, fault};
use crate::conductor::timeline::{Happening, Scene, SoFar, StepError, Timeline, WavesOver};
use crate::driver::{Presence, WaveDone};

/// The timeline under way; one without a task where the plan has none.
pub(super) struct Course {
    told: mpsc::Receiver<Happening>,
    so_far: SoFar,
    waves: watch::Sender<WavesOver>,
    acting: JoinSet<Result<(), StepError>>,
}

/// What came from the timeline.
pub(super) enum Next {
    /// Something happened.
    Happened(Happening),
    /// It is over, or cannot go on.
    Ended(Result<(), StepError>),
    /// Its task broke.
    Broke(String),
}

impl Course {
    /// Begins the timeline of a run's plan; its instants count from `go`.
    pub(super) fn begin(run: &Run<'_>, presence: Presence, go: Duration) -> Self {
        let (waves, over) = watch::channel(WavesOver::default());
        let mut course = Self {
            told: mpsc::channel(1).1,
            so_far: SoFar::default(),
            waves,
            acting: JoinSet::new(),
        };
        let plan = &run.setup.plan;
        if let (Some(network), Some(crew)) = (&run.network, &run.crew)
            && !plan.timeline.is_empty()
        {
            let scene = Scene {
                brokers: network.controls(),
                programs: run.programs.clone(),
                meter: crew.meter(),
                presence,
                epoch: run.epoch,
                go,
                waves: over,
            };
            let (timeline, told, so_far) = Timeline::new(plan, scene);
            (course.told, course.so_far) = (told, so_far);
            course.acting.spawn(timeline.run());
        }
        course
    }

    /// Waits for the next thing that comes from the timeline; for ever where nothing more does.
    pub(super) async fn next(&mut self) -> Next {
        tokio::select! {
            biased;
            Some(happening) = self.told.recv() => Next::Happened(happening),
            Some(ended) = self.acting.join_next() => match ended {
                Ok(ended) => Next::Ended(ended),
                Err(error) => Next::Broke(error.to_string()),
            },
            else => std::future::pending().await,
        }
    }

    /// Takes note of a wave that is over: a step may wait for it.
    pub(super) fn note(&self, wave: &WaveDone) {
        if !wave.key.warmup {
            let key = (wave.key.name.clone(), wave.key.number);
            self.waves.send_modify(|over| *over.entry(key).or_default() += 1);
        }
    }

    /// Ends the timeline where it stands; returns what was not yet told, and all that was measured.
    pub(super) async fn end(mut self) -> (Vec<Happening>, Recoveries) {
        self.acting.shutdown().await;
        let mut rest = Vec::new();
        while let Ok(happening) = self.told.try_recv() {
            rest.push(happening);
        }
        (rest, self.so_far.snapshot())
    }
}

impl Run<'_> {
    /// Writes down what came from the timeline.
    pub(super) fn follow(&mut self, next: Next, course: &Course) -> Result<(), Ending> {
        self.book.run.tally.recovery = course.so_far.snapshot();
        match next {
            Next::Happened(happening) => self.tell(happening).map_err(broken),
            Next::Ended(Ok(())) => Ok(()),
            Next::Ended(Err(error)) => {
                Err(Ending::Failed(ExitCode::BrokerUnreachable, error.to_string()))
            }
            Next::Broke(why) => Err(fault(&format!("the timeline broke: {why}"))),
        }
    }

    /// Writes down what was left to tell when the waves were over.
    pub(super) async fn end_course(&mut self, course: Course) -> Result<(), StoreError> {
        let (rest, recovery) = course.end().await;
        self.book.run.tally.recovery = recovery;
        rest.into_iter().try_for_each(|happening| self.tell(happening))
    }

    fn tell(&mut self, happening: Happening) -> Result<(), StoreError> {
        let Happening { kind, text, figures } = happening;
        self.reporter.tell(Progress::Timeline(text.clone()));
        self.book.event(kind, text, figures)
    }

    /// Whether a wave was under way while a broker was away, or its nodes were, on purpose.
    pub(super) fn was_disturbed(&self, wave: &WaveDone) -> bool {
        let from = wave.result.intended_at;
        let to = from + wave.result.request_duration;
        self.book.run.tally.recovery.disturbed(from, to)
    }
}
