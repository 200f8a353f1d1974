//! Texts of any length, in order and once each, over messages of a bounded size that may be said twice.
//!
//! The sender says one part after the other and says it again until it is told that it was taken; so at most
//! one part is under way, and the receiver knows a second copy by its numbers.

use serde::{Deserialize, Serialize};

/// The longest text that is put together: ten times the wave of a million answers.
pub const TEXT_BYTES_MAX: usize = 64 << 20;
/// Bytes of a message beside the text of its part.
const ASIDE_BYTES: usize = 1024;

/// A part of a text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parcel {
    /// Which text, from 1.
    pub number: u64,
    /// Which part of it, from 0.
    pub part: u64,
    /// Of how many.
    pub of: u64,
    /// The part.
    pub text: String,
}

impl std::fmt::Debug for Parcel {
    /// Without the text, which may be anything.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { number, part, of, text } = self;
        write!(f, "Parcel {number}: part {part} of {of}, {} bytes", text.len())
    }
}

/// What the receiver says to a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Receipt {
    /// It is there.
    Taken,
}

impl Parcel {
    /// The parts of a text for messages of at most `message_bytes`.
    #[must_use]
    pub fn of(number: u64, text: &str, message_bytes: usize) -> Vec<Self> {
        // Within JSON a character may need a backslash before it; control characters, which need more, are
        // in no text that is JSON itself.
        let most = (message_bytes.saturating_sub(ASIDE_BYTES) / 2).max(4);
        let (mut parts, mut rest) = (Vec::new(), text);
        loop {
            let mut at = most.min(rest.len());
            while !rest.is_char_boundary(at) {
                at -= 1;
            }
            let (part, behind) = rest.split_at(at);
            parts.push(part);
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        let of = parts.len() as u64;
        let parcel = |(part, text): (u64, &str)| Self { number, part, of, text: text.to_owned() };
        (0..).zip(parts).map(parcel).collect()
    }
}

/// Puts the texts of one sender together.
#[derive(Debug, Default)]
pub struct Unpacking {
    /// Texts that were complete.
    complete: u64,
    /// Parts of the next that are there.
    parts: u64,
    text: String,
}

impl Unpacking {
    /// Takes a part in, unless it is there already; returns the text that it completes.
    ///
    /// # Errors
    /// When it does not follow upon the last one, or makes the text too long: nothing of it is kept.
    pub fn take(&mut self, parcel: &Parcel) -> Result<Option<String>, String> {
        let Parcel { number, part, of, text } = parcel;
        let next = (self.complete + 1, self.parts);
        if (*number, *part) < next {
            return Ok(None);
        }
        if (*number, *part) != next || part >= of {
            return Err(format!("part {part} of text {number} came where {next:?} was next"));
        }
        if self.text.len() + text.len() > TEXT_BYTES_MAX {
            return Err(format!("text {number} is longer than {TEXT_BYTES_MAX} bytes"));
        }
        self.text.push_str(text);
        self.parts += 1;
        if self.parts < *of {
            return Ok(None);
        }
        (self.complete, self.parts) = (*number, 0);
        Ok(Some(std::mem::take(&mut self.text)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn texts_come_back_whole_and_once_however_often_their_parts_are_said(
            texts in prop::collection::vec("[a-zä\"\\\\]{0,3000}", 1..5),
            again in prop::collection::vec(1_usize..3, 1..50),
            bytes in 1_500_usize..6_000,
        ) {
            let mut again = again.into_iter().cycle();
            let (mut unpacking, mut came) = (Unpacking::default(), Vec::new());
            for (number, text) in (1..).zip(&texts) {
                for parcel in Parcel::of(number, text, bytes) {
                    prop_assert!(serde_json::to_vec(&parcel).unwrap().len() <= bytes);
                    for _ in 0..again.next().unwrap_or(1) {
                        came.extend(unpacking.take(&parcel).unwrap());
                    }
                }
            }
            prop_assert_eq!(came, texts);
        }
    }

    #[test]
    fn a_part_that_does_not_follow_is_refused_and_changes_nothing() {
        let mut unpacking = Unpacking::default();
        let parcel = |number, part, of| Parcel { number, part, of, text: "x".to_owned() };
        for odd in [parcel(1, 1, 2), parcel(2, 0, 1), parcel(1, 0, 0)] {
            assert!(unpacking.take(&odd).is_err(), "{odd:?}");
        }
        assert_eq!(unpacking.take(&parcel(1, 0, 1)), Ok(Some("x".to_owned())));
    }
}
