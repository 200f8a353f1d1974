//! Counters over the lives of a broker: whenever it starts again they begin at zero.

use reports::broker::{BrokerFigure, BrokerFigures};

/// Adds up what a broker counted in each of its lives.
#[derive(Debug, Default)]
pub(super) struct Lives {
    /// What it had counted when it was seen first, of a life that had begun before.
    earlier: BrokerFigures,
    /// Identity of the life that was seen last.
    id: String,
    /// What was counted in the lives before.
    before: BrokerFigures,
    last: BrokerFigures,
}

impl Lives {
    /// Of a broker that was there before and had counted this: only what comes after it is added up.
    pub(super) fn from(id: &str, earlier: BrokerFigures) -> Self {
        Self { earlier, id: id.to_owned(), ..Self::default() }
    }

    /// The figures of the life `id` as they are now, with what counters had reached before it.
    pub(super) fn over(&mut self, id: &str, now: BrokerFigures) -> BrokerFigures {
        if self.id != id {
            self.before = sum(self.before, self.last);
            id.clone_into(&mut self.id);
        }
        self.last = now;
        let mut whole = now;
        let sum = sum(self.before, now);
        for figure in counters() {
            let earlier = self.earlier.get(figure).unwrap_or_default();
            whole.set(figure, sum.get(figure).map(|count| count.saturating_sub(earlier)));
        }
        whole
    }
}

fn counters() -> impl Iterator<Item = BrokerFigure> {
    BrokerFigure::ALL.into_iter().filter(|figure| figure.is_counter())
}

/// The counters of both.
fn sum(one: BrokerFigures, other: BrokerFigures) -> BrokerFigures {
    let mut sum = BrokerFigures::default();
    for figure in counters() {
        let both = [one.get(figure), other.get(figure)];
        sum.set(figure, both.into_iter().flatten().reduce(|a, b| a + b));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_broker_counted_before_it_was_seen_is_left_out_also_after_a_restart() {
        let msgs = |count| BrokerFigures::default().with(BrokerFigure::MsgsIn, count);
        let mut lives = Lives::from("a", msgs(1000));
        for (id, count, expected) in [("a", 1000, 0), ("a", 1005, 5), ("b", 2, 7)] {
            let whole = lives.over(id, msgs(count));
            assert_eq!(whole.get(BrokerFigure::MsgsIn), Some(expected), "{id} {count}");
        }
    }

    #[test]
    fn counters_go_on_over_a_restart_and_levels_do_not() {
        let mut lives = Lives::default();
        for (id, connections, msgs, expected) in [
            ("a", 5, 10, 10),
            ("a", 5, 30, 30),
            ("b", 1, 0, 30),
            ("b", 2, 4, 34),
            // Back to an identity that it had: a third life all the same.
            ("a", 2, 1, 35),
        ] {
            let now = BrokerFigures::default()
                .with(BrokerFigure::Connections, connections)
                .with(BrokerFigure::MsgsIn, msgs);
            let whole = lives.over(id, now);
            assert_eq!(whole.get(BrokerFigure::MsgsIn), Some(expected), "{id} {msgs}");
            assert_eq!(whole.get(BrokerFigure::Connections), Some(connections));
            assert_eq!(whole.get(BrokerFigure::Stalls), None, "what is not known stays so");
        }
    }
}
