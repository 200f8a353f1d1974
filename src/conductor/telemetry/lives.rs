//! Counters over the lives of a broker: whenever it starts again they begin at zero.

use reports::broker::{BrokerFigure, BrokerFigures};

/// Adds up what a broker counted in each of its lives.
#[derive(Debug, Default)]
pub(super) struct Lives {
    /// Identity of the life that was seen last.
    id: String,
    /// What was counted in the lives before.
    before: BrokerFigures,
    last: BrokerFigures,
}

impl Lives {
    /// The figures of the life `id` as they are now, with what counters had reached before it.
    pub(super) fn over(&mut self, id: &str, now: BrokerFigures) -> BrokerFigures {
        if self.id != id {
            self.before = sum(self.before, self.last);
            id.clone_into(&mut self.id);
        }
        self.last = now;
        let mut whole = now;
        for figure in counters() {
            whole.set(figure, sum(self.before, now).get(figure));
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
