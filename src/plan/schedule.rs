//! When each wave is to be sent, known before the run (law 5): a pure function of the plan.
//!
//! Entries run one after the other; the first wave of the first entry is at the epoch (`go`), the
//! first of each further entry one `every` of the entry before after that one's last wave. Within an
//! entry warm-up waves come first and are spaced like the others.

use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::digest::hex;
use super::{Entry, Plan};

/// One wave to be sent by every client of its entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PlannedWave {
    /// Position in [`Plan::entries`].
    pub entry: usize,
    /// Number within its entry, from 1; warm-up waves count from 1 on their own.
    pub number: u32,
    /// Whether no total or threshold includes it.
    pub warmup: bool,
    /// When it is to be sent, since the epoch.
    #[serde(rename = "intended_at_us", with = "super::micros")]
    pub intended_at: Duration,
}

impl Plan {
    /// All waves in the order of their intended instants.
    #[must_use]
    pub fn schedule(&self) -> Vec<PlannedWave> {
        let entries = self.entries.iter().enumerate();
        entries.flat_map(|(position, entry)| entry.schedule(position)).collect()
    }

    /// When the last wave's deadline and the grace after it are over, since the epoch: no run whose
    /// waves are sent on time is longer. A run may end earlier, as soon as its last wave is complete.
    #[must_use]
    pub fn longest(&self) -> Duration {
        let ends = self.schedule().into_iter().filter_map(|wave| {
            Some(wave.intended_at + self.entries.get(wave.entry)?.deadline + self.late_grace)
        });
        ends.max().unwrap_or_default()
    }
}

impl Entry {
    /// Waves in all, warm-up included.
    #[must_use]
    pub fn waves(&self) -> u32 {
        self.warmup.saturating_add(self.count)
    }

    /// The entry's waves; `position` is its own in the plan.
    fn schedule(&self, position: usize) -> impl Iterator<Item = PlannedWave> {
        (0..self.waves()).map(move |n| {
            let warmup = n < self.warmup;
            PlannedWave {
                entry: position,
                number: if warmup { n + 1 } else { n - self.warmup + 1 },
                warmup,
                intended_at: self.starts_at + self.every * n,
            }
        })
    }
}

/// The request id of a wave as one client (from 1) sends it: 32 hexadecimal digits in the form of a
/// UUIDv4 without dashes (protocol document 3.5), so that no two requests of a run share an id.
///
/// With the `nonce` 0 it comes from the seed and the wave alone: a run on a broker of its own can be
/// repeated to the byte. Runs that share a network each hand in a nonce of their own, since the reply
/// subject holds the id: one run must not hear the answers to another, or to its own predecessor.
#[must_use]
pub fn request_id(seed: u64, nonce: u64, wave: &PlannedWave, client: u32) -> String {
    let mut hash = Sha256::new();
    hash.update(b"choria-emulator request id 1");
    hash.update(seed.to_le_bytes());
    if nonce != 0 {
        hash.update(nonce.to_le_bytes());
    }
    hash.update(u64::try_from(wave.entry).unwrap_or(u64::MAX).to_le_bytes());
    hash.update([u8::from(wave.warmup)]);
    hash.update(wave.number.to_le_bytes());
    hash.update(client.to_le_bytes());
    let mut id = [0u8; 16];
    id.copy_from_slice(&hash.finalize()[..16]);
    id[6] = (id[6] & 0x0f) | 0x40;
    id[8] = (id[8] & 0x3f) | 0x80;
    hex(&id)
}
