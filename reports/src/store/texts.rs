//! The distributions of single waves on their way into `summary.json`.

use std::collections::HashMap;

use crate::summary::{HistogramTexts, Summary};
use crate::wave::{WaveKey, WaveResult};

/// Bytes of texts that a run keeps for its summary: some 3 KiB a wave of 2,000 nodes, 20 KiB of 50,000.
const ROOM_BYTES: usize = 64 * 1024 * 1024;

/// The distributions as texts, of the first waves that fit into a fixed room.
#[derive(Debug)]
pub(super) struct Texts {
    by_wave: HashMap<WaveKey, HistogramTexts>,
    /// Bytes that may still be taken; nothing is taken any more once something did not fit.
    room: usize,
}

impl Default for Texts {
    fn default() -> Self {
        Self::with_room(ROOM_BYTES)
    }
}

impl Texts {
    fn with_room(room: usize) -> Self {
        Self { by_wave: HashMap::new(), room }
    }

    /// Keeps the distributions of a wave if there is room for them.
    pub(super) fn keep(&mut self, key: &WaveKey, wave: &WaveResult) {
        if self.room == 0 {
            return;
        }
        let texts = HistogramTexts::of_wave(wave);
        self.room = self.room.saturating_sub(texts.bytes());
        if self.room > 0 {
            self.by_wave.insert(key.clone(), texts);
        }
    }

    /// Puts what was kept into the summary.
    pub(super) fn fill(&mut self, summary: &mut Summary) {
        for wave in &mut summary.waves {
            wave.histograms = self.by_wave.remove(&wave.key());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::run::RunResult;

    #[test]
    fn the_first_waves_that_fit_have_their_distributions_and_the_others_not() {
        let mut wave: WaveResult = WaveResult { expected: 1, on_time: 1, ..WaveResult::default() };
        wave.response_time.record(Duration::from_millis(7));
        let each = HistogramTexts::of_wave(&wave).bytes();
        let mut texts = Texts::with_room(3 * each);
        let mut run = RunResult::default();
        for number in 1..=5 {
            let key = WaveKey { name: "rpc".to_owned(), number, warmup: false, client: 1 };
            texts.keep(&key, &wave);
            run.tally.waves.add(key, &wave);
        }
        let mut summary = Summary::of(&run);
        texts.fill(&mut summary);
        let kept: Vec<_> = summary.waves.iter().map(|wave| wave.histograms.is_some()).collect();
        assert_eq!(kept, [true, true, false, false, false]);
        let merged = summary.entries[0].histograms.as_ref().unwrap().response_time().unwrap();
        assert_eq!(merged.count(), 5, "the entry has those of all waves");
    }
}
