//! What a worker has answered: an order that comes once more, because its answer was lost, is not carried out again.

use std::collections::BTreeMap;

use crate::control::messages::Answer;

/// Answers that somebody may still wait for: as many as the conductor has orders under way at once.
#[derive(Debug, Default)]
pub(super) struct Answers {
    given: BTreeMap<u64, Answer>,
    /// Nobody waits for those of ids before this.
    awaited: u64,
}

/// What is known of an order that has come.
#[derive(Debug, PartialEq)]
pub(super) enum Known<'a> {
    /// It is to be carried out.
    New,
    /// It was carried out, with this answer.
    Answered(&'a Answer),
    /// It is a late copy that nobody waits for any more.
    Forgotten,
}

impl Answers {
    /// What is known of the order with this id, that tells the first id whose answer is `awaited`: what was answered before
    /// is forgotten.
    pub(super) fn know(&mut self, id: u64, awaited: u64) -> Known<'_> {
        if awaited > self.awaited {
            self.awaited = awaited;
            self.given = self.given.split_off(&awaited);
        }
        match self.given.get(&id) {
            Some(answer) => Known::Answered(answer),
            None if id < self.awaited => Known::Forgotten,
            None => Known::New,
        }
    }

    /// An order was answered.
    pub(super) fn keep(&mut self, id: u64, answer: &Answer) {
        if id >= self.awaited {
            self.given.insert(id, answer.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_known_as_long_as_somebody_waits_for_it() {
        let mut answers = Answers::default();
        let clock = |at_us| Answer::Clock { at_us };
        for id in [1, 2, 3] {
            assert_eq!(answers.know(id, 1), Known::New);
            answers.keep(id, &clock(id));
        }
        assert_eq!(answers.know(2, 1), Known::Answered(&clock(2)));
        assert_eq!(answers.know(4, 3), Known::New);
        assert_eq!(answers.know(2, 1), Known::Forgotten);
        assert_eq!(answers.know(3, 1), Known::Answered(&clock(3)));
        assert_eq!(answers.given.len(), 1);
    }

    #[test]
    fn orders_that_come_out_of_turn_are_all_carried_out() {
        let mut answers = Answers::default();
        assert_eq!(answers.know(2, 1), Known::New);
        answers.keep(2, &Answer::Done);
        assert_eq!(answers.know(1, 1), Known::New);
    }
}
