//! The subjects of one run on the control plane.

/// What all subjects begin with.
const ROOT: &str = "choria_emulator";

/// The subjects of a run; see the table of [`super`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subjects {
    run: String,
}

impl Subjects {
    /// Where conductors show that they are there.
    pub const BEAT: &str = "choria_emulator.beat";
    /// Where conductors ask who else is at work.
    pub const WHO: &str = "choria_emulator.who";
    /// The stream that keeps slices, of whichever run.
    pub const STREAM: &str = "CHORIA_EMULATOR";
    /// Where the workers of all runs send what they counted.
    pub const ALL_SLICES: &str = "choria_emulator.*.slice.*";

    /// Those of `run`, an id of letters and digits.
    #[must_use]
    pub fn of(run: &str) -> Self {
        Self { run: run.to_owned() }
    }

    /// Where workers ask to take part.
    #[must_use]
    pub fn join(&self) -> String {
        format!("{ROOT}.{}.join", self.run)
    }

    /// Where a worker takes orders.
    #[must_use]
    pub fn order(&self, worker: u64) -> String {
        format!("{ROOT}.{}.order.{worker}", self.run)
    }

    /// Where a worker shows that it is there.
    #[must_use]
    pub fn pulse(&self, worker: u64) -> String {
        format!("{ROOT}.{}.pulse.{worker}", self.run)
    }

    /// Where all workers do.
    #[must_use]
    pub fn pulses(&self) -> String {
        format!("{ROOT}.{}.pulse.*", self.run)
    }

    /// Where a worker sends what it counted.
    #[must_use]
    pub fn slice(&self, worker: u64) -> String {
        format!("{ROOT}.{}.slice.{worker}", self.run)
    }

    /// Where all workers do.
    #[must_use]
    pub fn slices(&self) -> String {
        format!("{ROOT}.{}.slice.*", self.run)
    }

    /// Where a worker with a driver sends waves that are over.
    #[must_use]
    pub fn wave(&self, worker: u64) -> String {
        format!("{ROOT}.{}.wave.{worker}", self.run)
    }

    /// Where all workers do.
    #[must_use]
    pub fn waves(&self) -> String {
        format!("{ROOT}.{}.wave.*", self.run)
    }

    /// Where a worker says that it ends by itself.
    #[must_use]
    pub fn left(&self, worker: u64) -> String {
        format!("{ROOT}.{}.left.{worker}", self.run)
    }

    /// Where all workers do.
    #[must_use]
    pub fn all_left(&self) -> String {
        format!("{ROOT}.{}.left.*", self.run)
    }

    /// Which worker a subject of its own is about.
    #[must_use]
    pub fn worker(subject: &str) -> Option<u64> {
        subject.rsplit('.').next()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_of_a_worker_names_it() {
        let subjects = Subjects::of("1a2b");
        for subject in [subjects.order(12), subjects.pulse(12), subjects.slice(12)] {
            assert_eq!(Subjects::worker(&subject), Some(12), "{subject}");
        }
        assert_eq!(subjects.pulse(3), "choria_emulator.1a2b.pulse.3");
        assert_eq!(Subjects::worker(&subjects.join()), None);
    }
}
