//! All waves of a run in bounded memory: each by its figures, and one set of distributions for each
//! entry and client, which every counted wave is folded into when it is over.
//!
//! A record is less than a KiB and 300 bytes a broker, a set of distributions at most half a MiB (three
//! histograms of at most 172 KiB, see [`crate::latency`]) and one more histogram a broker; with a single
//! broker there is no such part. That is all a run holds, however many replies there were. The distributions of single waves are where the run wrote them:
//! in `latency.hlog`, and in `summary.json` as far as they have room ([`crate::store`]).

use std::collections::BTreeMap;

use crate::latency::Latency;
use crate::place::{self, Places};
use crate::wave::{WaveKey, WaveRecord, WaveResult};

/// Waves by key, and their distributions by entry and client. Different waves stand beside each other;
/// shares of one wave merge, see [`WaveRecord::merge`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Waves {
    by_key: BTreeMap<WaveKey, WaveRecord>,
    by_entry: BTreeMap<EntryKey, Distributions>,
}

/// The counted waves of one entry as one client sent them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryKey {
    /// Name of the entry in the scenario's `waves`.
    pub name: String,
    /// Client, from 1.
    pub client: u32,
}

/// Latencies of any number of waves.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Distributions {
    /// Intended instant to reply.
    pub response_time: Latency,
    /// Sending to reply.
    pub service_time: Latency,
    /// Intended instant to sending.
    pub send_delay: Latency,
    /// The answers by where the nodes are; empty where all are in one place.
    pub places: Places,
}

impl Distributions {
    fn add(&mut self, wave: &WaveResult) {
        self.response_time.merge(&wave.response_time);
        self.service_time.merge(&wave.service_time);
        self.send_delay.merge(&wave.send_delay);
        place::merge(&mut self.places, &wave.places);
    }

    /// Takes over everything that `other` holds.
    pub fn merge(&mut self, other: &Self) {
        let Self { response_time, service_time, send_delay, places } = other;
        self.response_time.merge(response_time);
        self.service_time.merge(service_time);
        self.send_delay.merge(send_delay);
        place::merge(&mut self.places, places);
    }
}

impl Waves {
    /// Adds one wave that is over, or one more share of it.
    pub fn add(&mut self, key: WaveKey, wave: &WaveResult) {
        if !key.warmup {
            let entry = EntryKey { name: key.name.clone(), client: key.client };
            self.by_entry.entry(entry).or_default().add(wave);
        }
        self.by_key.entry(key).or_default().merge(&WaveRecord::of(wave));
    }

    /// Takes over everything that `other` holds.
    pub fn merge(&mut self, other: &Self) {
        let Self { by_key, by_entry } = other;
        for (key, wave) in by_key {
            self.by_key.entry(key.clone()).or_default().merge(wave);
        }
        for (key, distributions) in by_entry {
            self.by_entry.entry(key.clone()).or_default().merge(distributions);
        }
    }

    /// The wave with this key.
    #[must_use]
    pub fn get(&self, key: &WaveKey) -> Option<&WaveRecord> {
        self.by_key.get(key)
    }

    /// How many there are, warm-up waves and clients counted apart.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// All waves in run order: by intended instant, then by key.
    #[must_use]
    pub fn in_run_order(&self) -> Vec<(&WaveKey, &WaveRecord)> {
        let mut waves: Vec<_> = self.by_key.iter().collect();
        waves.sort_by_key(|(_, wave)| wave.result.intended_at);
        waves
    }

    /// The counted waves in run order: no warm-up waves.
    #[must_use]
    pub fn counted(&self) -> Vec<(&WaveKey, &WaveRecord)> {
        let mut waves = self.in_run_order();
        waves.retain(|(key, _)| !key.warmup);
        waves
    }

    /// The merged distributions of all counted waves whose entry and client are meant.
    #[must_use]
    pub fn distributions(&self, meant: impl Fn(&EntryKey) -> bool) -> Distributions {
        let mut all = Distributions::default();
        let mine = self.by_entry.iter().filter(|(key, _)| meant(key));
        mine.for_each(|(_, distributions)| all.merge(distributions));
        all
    }
}
