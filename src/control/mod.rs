//! The control plane: what a conductor and its workers say to each other, over a nats-server apart from the
//! brokers under test.
//!
//! Both ends dial out ([`Line`]); nothing of ours listens. A conductor shows that it is there (beats), a worker
//! asks to take part, is given a share, carries out orders, shows that it is there (pulses, which
//! also hold its counters) and sends what it counted through JetStream once a second (slices), so that a
//! connection that is away for some seconds loses nothing, nor does a control broker that is started again. What all of it costs is bounded and does not
//! grow with the nodes: see [`messages`]. A worker may also have a driver: then it sends each wave that is over,
//! and again until the conductor says that it has it; that does grow with the answers: see [`waves`].
//!
//! | subject | who says it | what |
//! | --- | --- | --- |
//! | `choria_emulator.beat` | conductor, every 500 ms | [`Beat`](messages::Beat) |
//! | `choria_emulator.who` | a conductor that begins | its [`Beat`](messages::Beat), answered with theirs by all others |
//! | `choria_emulator.RUN.join` | worker, until it is answered | [`Card`](messages::Card), answered with [`Welcome`](messages::Welcome) |
//! | `choria_emulator.RUN.order.N` | conductor | [`Order`](messages::Order), answered with [`Answer`](messages::Answer) |
//! | `choria_emulator.RUN.pulse.N` | worker, every 200 ms | [`Pulse`](messages::Pulse) |
//! | `choria_emulator.RUN.slice.N` | worker, once a second, JetStream | [`Slice`](messages::Slice) |
//! | `choria_emulator.RUN.wave.N` | worker with a driver, each wave and at the end | [`Parcel`](parcel::Parcel)s of [`FromDriver`](waves::FromDriver), each answered with [`Receipt`](parcel::Receipt) |
//! | `choria_emulator.RUN.left.N` | worker | it ends by itself, and why |

mod build;
mod line;
pub mod messages;
pub mod parcel;
mod runs;
mod server;
mod stranger;
mod subjects;
pub mod waves;

pub use build::{Build, PROTOCOL, WORKER_NAME, is_worker_name};
pub use line::{AskError, Line, LineError};
pub use runs::{IndexRuns, Runs};
pub use server::{ControlServer, ServerError};
pub use subjects::Subjects;

use std::time::Duration;

/// Between two beats of a conductor.
pub const BEAT_EVERY: Duration = Duration::from_millis(500);
/// Between two pulses of a worker.
pub const PULSE_EVERY: Duration = Duration::from_millis(200);
/// Who has not been heard for so long is lost. Both ends count it in ticks of their own timer, so that one
/// that was held up itself does not take the other for lost.
pub const LOST_AFTER: Duration = Duration::from_millis(4_000);
/// Between two ticks of that timer.
pub const TICK: Duration = Duration::from_millis(250);
/// Between two slices of a worker.
pub const SLICE_EVERY: Duration = Duration::from_secs(1);

/// Counts ticks since somebody was heard; see [`LOST_AFTER`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Silence(u32);

impl Silence {
    /// Somebody was heard.
    pub fn heard(&mut self) {
        self.0 = 0;
    }

    /// Somebody is known not to be there any more: the silence is too long from now on.
    pub fn exhaust(&mut self) {
        let ticks = u32::try_from(LOST_AFTER.as_millis().div_ceil(TICK.as_millis()));
        self.0 = self.0.max(ticks.unwrap_or(u32::MAX));
    }

    /// A tick went by; true if that makes the silence too long.
    pub fn tick(&mut self) -> bool {
        self.0 = self.0.saturating_add(1);
        self.lasts() >= LOST_AFTER
    }

    /// For how long nobody was heard, in ticks.
    #[must_use]
    pub fn lasts(&self) -> Duration {
        TICK * self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_heard_for_four_seconds_of_ticks_is_lost_and_one_word_suffices() {
        let mut silence = Silence::default();
        assert!((0..15).all(|_| !silence.tick()));
        silence.heard();
        assert!((0..15).all(|_| !silence.tick()));
        assert!(silence.tick());
    }
}
