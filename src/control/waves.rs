//! What a driver on a worker sends to the conductor: each wave that is over, in whole, and at the end what the
//! driver saw of itself.
//!
//! A wave is some 2 KiB of counts and histograms, 2 to 4 bytes a reply (when it came), and some bytes for each
//! stretch of nodes that did not answer: 50,000 answers are about 200 KiB. What is more than a message
//! may hold goes in several ([`super::parcel`]).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use reports::latency::Latency;
use reports::place::PlaceResult;
use reports::wave::{WaveKey, WaveResult};
use serde::{Deserialize, Serialize};

use super::IndexRuns;
use crate::driver::{BitSet, DriverIncident, Samples, WaveDone, WaveFailure};

/// What a driver sends unasked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromDriver {
    /// A wave is over.
    Wave(Box<WaveReport>),
    /// All are, and nothing follows.
    Over(Box<DriverAccount>),
}

/// What a driver saw of itself in all its waves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriverAccount {
    /// Why not all waves were carried out, where it was the driver's own fault.
    pub fault: Option<String>,
    /// What happened to its connections, in the time of its own clock since its waves' `go`, which may be before
    /// it (negative), in microseconds.
    pub incidents: Vec<(i64, DriverIncident)>,
    /// How late its tasks got their turn while waves ran.
    pub lag: Latency,
    /// Wall time while replies were awaited.
    pub wall: Duration,
    /// CPU time of its whole process in that time.
    pub cpu: Duration,
    /// Of that, what did not go into carrying nodes.
    pub driver_cpu: Duration,
}

/// A [`WaveDone`] on the wire. Its places and its intended instant are the conductor's to fill in, who knows the
/// one by the plan and the other on its own clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WaveReport {
    key: WaveKey,
    result: WaveResult,
    on_time: IndexRuns,
    late: IndexRuns,
    by_tag: Vec<PlaceResult>,
    unsent: u64,
    offsets: Offsets,
    samples: Samples,
    backlog_max: u64,
    interrupted: bool,
    failure: Option<WaveFailure>,
}

impl From<WaveDone> for WaveReport {
    fn from(done: WaveDone) -> Self {
        let WaveDone {
            key,
            result,
            on_time,
            late,
            by_tag,
            unsent,
            reply_offsets_ns,
            samples,
            backlog_max,
            interrupted,
            failure,
        } = done;
        let set = |set: &BitSet| IndexRuns::of(1, set.iter().map(u64::from));
        let result = WaveResult { intended_at: Duration::ZERO, ..result };
        Self {
            key,
            result,
            on_time: set(&on_time),
            late: set(&late),
            by_tag,
            unsent,
            offsets: Offsets::of(&reply_offsets_ns),
            samples,
            backlog_max,
            interrupted,
            failure,
        }
    }
}

impl WaveReport {
    /// The wave as a driver of this process would hand it in, over a roster of `size`, but for its intended
    /// instant, which is zero. `None`: it is of another form.
    #[must_use]
    pub fn done(self, size: u32) -> Option<WaveDone> {
        let set = |runs: &IndexRuns| {
            let indexes = runs.below(u64::from(size));
            BitSet::of(size, indexes.filter_map(|index| u32::try_from(index).ok()))
        };
        let (on_time, late) = (set(&self.on_time), set(&self.late));
        // Who is not in the roster does not count.
        let counted = WaveResult { on_time: on_time.count(), late: late.count(), ..self.result };
        Some(WaveDone {
            key: self.key,
            result: counted,
            on_time,
            late,
            by_tag: self.by_tag,
            unsent: self.unsent,
            reply_offsets_ns: self.offsets.list()?,
            samples: self.samples,
            backlog_max: self.backlog_max,
            interrupted: self.interrupted,
            failure: self.failure,
        })
    }
}

/// Numbers of which each is near the one before: differences, seven bits a byte, base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offsets(String);

impl Offsets {
    /// Writes them.
    #[must_use]
    pub fn of(numbers: &[u64]) -> Self {
        let mut bytes = Vec::with_capacity(numbers.len() * 3);
        let mut before = 0;
        for number in numbers {
            let difference = number.wrapping_sub(before).cast_signed();
            // The sign goes last, so that small ones of both signs are short.
            let mut rest = ((difference << 1) ^ (difference >> 63)).cast_unsigned();
            while rest >= 0x80 {
                bytes.push((rest & 0x7f) as u8 | 0x80);
                rest >>= 7;
            }
            bytes.push(rest as u8);
            before = *number;
        }
        Self(STANDARD_NO_PAD.encode(bytes))
    }

    /// Reads them; `None` if they are of another form.
    #[must_use]
    pub fn list(&self) -> Option<Vec<u64>> {
        let bytes = STANDARD_NO_PAD.decode(&self.0).ok()?;
        let (mut numbers, mut before) = (Vec::new(), 0_u64);
        let (mut sum, mut shift) = (0_u64, 0);
        for byte in bytes {
            if shift > 63 {
                return None;
            }
            sum |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                let difference = (sum >> 1).cast_signed() ^ -((sum & 1).cast_signed());
                before = before.wrapping_add_signed(difference);
                numbers.push(before);
                (sum, shift) = (0, 0);
            }
        }
        (shift == 0).then_some(numbers)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reports::wave::{WaveKind, WaveMode};

    use super::*;

    /// A wave over a roster of `size` in which the nodes answered after so many microseconds, those of odd
    /// places too late.
    fn wave(size: u32, answers: &[(u32, u64)]) -> WaveDone {
        let mut done = WaveDone {
            key: WaveKey { name: "rpc".into(), number: 3, warmup: true, client: 2 },
            result: WaveResult {
                kind: WaveKind::Request,
                mode: WaveMode::Batch,
                expected: u64::from(size),
                duplicate: 1,
                unexpected: 2,
                errors: 3,
                undecodable: 4,
                payload_bytes: 5,
                discovered: 6,
                publish_duration: Duration::from_nanos(7_001),
                request_duration: Duration::from_nanos(8_001),
                ..WaveResult::default()
            },
            on_time: BitSet::new(size),
            late: BitSet::new(size),
            by_tag: vec![PlaceResult::default(); 2],
            unsent: 9,
            reply_offsets_ns: Vec::new(),
            samples: Samples {
                undecodable: vec!["no \"reply\"".into()],
                unexpected: vec!["stränger".into()],
            },
            backlog_max: 10,
            interrupted: true,
            failure: Some(WaveFailure::Publish("away".into())),
        };
        for &(index, us) in answers {
            let (set, count) = match index % 2 {
                0 => (&mut done.on_time, &mut done.result.on_time),
                _ => (&mut done.late, &mut done.result.late),
            };
            *count += u64::from(set.insert(index));
            done.reply_offsets_ns.push(us * 1_000 + 1);
            let time = Duration::from_micros(us);
            done.result.response_time.record(time);
            done.result.service_time.record(time / 2);
            done.result.send_delay.record(time / 3);
            done.by_tag[index as usize % 2].response_time.record(time);
            done.by_tag[index as usize % 2].counts.on_time += 1;
        }
        done
    }

    fn sent(done: WaveDone) -> WaveReport {
        let text = serde_json::to_string(&WaveReport::from(done)).expect("json");
        serde_json::from_str(&text).expect("reads")
    }

    proptest! {
        #[test]
        fn a_wave_comes_back_as_it_was(
            answers in prop::collection::btree_map(0_u32..300, 0_u64..700_000_000, 0..100),
        ) {
            let answers: Vec<_> = answers.into_iter().collect();
            let wave = || wave(300, &answers);
            let back = sent(wave()).done(300).expect("reads");
            let counts = |done: &WaveDone| (done.result.on_time, done.result.late);
            prop_assert_eq!(counts(&back), counts(&wave()));
            prop_assert_eq!(&back.reply_offsets_ns, &wave().reply_offsets_ns);
            // Two histograms are equal that hold the same, however far their arrays have grown.
            prop_assert_eq!(WaveReport::from(back), WaveReport::from(wave()));
        }

        #[test]
        fn histograms_that_were_sent_add_up_to_the_one_that_all_values_make(
            shares in prop::collection::vec(prop::collection::vec(0_u64..1_200_000_000, 0..50), 0..6),
        ) {
            let (mut merged, mut whole) = (Latency::default(), Latency::default());
            for share in shares {
                let mut latency = Latency::default();
                for us in share {
                    latency.record(Duration::from_micros(us));
                    whole.record(Duration::from_micros(us));
                }
                let text = serde_json::to_string(&latency).expect("json");
                merged.merge(&serde_json::from_str(&text).expect("reads"));
            }
            prop_assert_eq!(&merged, &whole);
            prop_assert_eq!(merged.figures(), whole.figures());
        }

        #[test]
        fn offsets_come_back_as_they_were_in_any_order(numbers in prop::collection::vec(any::<u64>(), 0..50)) {
            prop_assert_eq!(Offsets::of(&numbers).list(), Some(numbers));
        }
    }

    #[test]
    fn replies_in_a_row_take_four_characters_each_at_the_most() {
        let offsets: Vec<u64> = (0..50_000).map(|n| 1_000_000 + n * 20_000).collect();
        assert!(Offsets::of(&offsets).0.len() <= 4 * offsets.len() + 8);
    }

    #[test]
    fn offsets_of_another_form_are_refused() {
        for text in ["no base64!", "gA", "gICAgICAgICAgIA"] {
            assert_eq!(Offsets(text.to_owned()).list(), None, "{text}");
        }
    }

    #[test]
    fn a_set_beyond_the_roster_counts_nobody() {
        let back = sent(wave(300, &[(2, 5), (200, 6)])).done(100).expect("reads");
        assert_eq!((back.result.on_time, back.on_time.iter().collect::<Vec<_>>()), (1, vec![2]));
    }
}
