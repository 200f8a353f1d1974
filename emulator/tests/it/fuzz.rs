//! The fuzz targets on the stable toolchain: over their seeds, over mutations of them from fixed dice,
//! and over what once broke something.

#[expect(unreachable_pub, reason = "the file is also the library of the fuzz targets")]
#[path = "../../fuzz/src/lib.rs"]
mod targets;

use std::path::Path;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

/// Mutations of each seed.
const MUTATIONS: usize = 12;

/// Target and input of what fuzzing found.
const BROKE_ONCE: [(&str, &[u8]); 0] = [];

fn mutate(seed: &[u8], dice: &mut SmallRng) -> Vec<u8> {
    const PIECES: [&str; 12] = [
        "\"", "\\u0000", "\\ud800", "{", "]", "null", "-1", "1e400", "\r\n", "{{", " ", "\u{fffd}",
    ];
    let mut bytes = seed.to_vec();
    for _ in 0..dice.random_range(1..5) {
        let at = dice.random_range(0..=bytes.len());
        let to = (at + dice.random_range(0..20)).min(bytes.len());
        match dice.random_range(0..5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.random_range(0..8),
            1 => drop(bytes.drain(at..to)),
            2 => bytes.truncate(at),
            3 => {
                let copy = bytes[at..to].to_vec();
                bytes.splice(at..at, copy);
            }
            _ => {
                let piece = PIECES[dice.random_range(0..PIECES.len())];
                bytes.splice(at..at, piece.bytes());
            }
        }
    }
    bytes
}

#[test]
fn no_seed_and_no_mutation_breaks_a_target() {
    let seeds = targets::seeds(&Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata"));
    let mut dice = SmallRng::seed_from_u64(3);
    for (target, seed) in &seeds {
        targets::run(target, seed);
        for _ in 0..MUTATIONS {
            targets::run(target, &mutate(seed, &mut dice));
        }
    }
    for target in targets::TARGETS {
        assert!(seeds.iter().filter(|(name, _)| *name == target).count() > 5, "{target}");
    }
}

#[test]
fn what_broke_once_breaks_no_more() {
    for (target, bytes) in BROKE_ONCE {
        targets::run(target, bytes);
    }
}
