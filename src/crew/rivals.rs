//! Several conductors on one control broker: one goes on, and they never share workers.
//!
//! Whoever begins asks all others, for a second, before it shows itself to workers. One that is at work says so, and
//! whoever began later ends; of two that ask at once both hear of each other, and both know who of them goes on
//! ([`Beat::goes_before`]). Should the way between them have been closed meanwhile, beats tell them later. No clock is
//! held against that of another host: a run that has its workers goes before one that waits for them, then the
//! one that has been under way for longer, by its own clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{Message, Subscriber};
use futures_util::StreamExt as _;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::CrewError;
use super::board::Board;
use crate::control::messages::{Beat, Phase};
use crate::control::{BEAT_EVERY, Line, Subjects};

/// How long a conductor asks who else is there: two beats of one that did not hear it ask.
const ASKS_FOR: Duration = Duration::from_secs(1);

/// A run beside others.
pub(super) struct Standing {
    /// As it was when it was made.
    pub(super) beat: Beat,
    pub(super) made: Instant,
    pub(super) board: Arc<Board>,
    /// Workers that take part in all.
    pub(super) of: u64,
}

impl Standing {
    fn phase(&self) -> Phase {
        let all = self.board.seen().workers.len() as u64 >= self.of;
        if all { Phase::Running } else { Phase::Mustering }
    }

    fn in_phase(&self, phase: Phase) -> Beat {
        let since = u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX);
        Beat { phase, age_ms: self.beat.age_ms.saturating_add(since), ..self.beat.clone() }
    }

    /// The beat in a message, if it is that of another run.
    fn other(&self, message: &Message) -> Option<Beat> {
        let other: Beat = serde_json::from_slice(&message.payload).ok()?;
        (other.run != self.beat.run).then_some(other)
    }

    /// Asks who else conducts a run over the same control broker; `Err`: another goes on, and this one does not.
    pub(super) async fn claim(
        &self,
        line: &Line,
        (who, beats): (&mut Subscriber, &mut Subscriber),
    ) -> Result<(), CrewError> {
        let asked = line.ask_all(Subjects::WHO, &self.in_phase(Phase::Claiming)).await;
        let mut answers = asked.map_err(CrewError::unreachable)?;
        let mut patience = std::pin::pin!(sleep(ASKS_FOR));
        loop {
            let (message, is_question) = tokio::select! {
                Some(answer) = answers.next() => (answer, false),
                Some(beat) = beats.next() => (beat, false),
                Some(question) = who.next() => (question, true),
                () = &mut patience => return Ok(()),
            };
            let Some(other) = self.other(&message) else { continue };
            let own = self.in_phase(Phase::Claiming);
            if is_question {
                line.answer(&message, &own).await;
            }
            if other.goes_before(&own) {
                return Err(CrewError::refused(conducted(&other, line)));
            }
        }
    }

    /// Shows that the conductor is there, tells another that asks, and ends the run where another goes before it.
    pub(super) async fn keep(self, line: Line, mut who: Subscriber, mut beats: Subscriber) {
        let mut ticks = interval(BEAT_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => line.say(Subjects::BEAT, &self.in_phase(self.phase())).await,
                Some(asked) = who.next() => line.answer(&asked, &self.in_phase(self.phase())).await,
                Some(message) = beats.next() => {
                    let own = self.in_phase(self.phase());
                    if let Some(other) = self.other(&message) && other.goes_before(&own) {
                        self.board.yield_to(conducted(&other, &line));
                    }
                }
            }
        }
    }
}

fn conducted(Beat { run, scenario, host, began, .. }: &Beat, line: &Line) -> String {
    format!(
        "run {run} ({scenario}, on {host}, since {began}) is conducted over the control broker {}\n\
         wait until it is over, or name another control broker",
        line.url()
    )
}
