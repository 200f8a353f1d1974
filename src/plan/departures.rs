//! Where the nodes of a plan depart from a real server, in words: what results repeat (law 12).
//!
//! A departure is what no server does by itself. None are the states that one can be in: its agents are slow, and
//! given up without a reply after their timeout (`reply_delay`; protocol document 4.3), it is stopped and started
//! (`churn`), or it hangs, as a stopped process does (`stuck`; what its sockets take in meanwhile departs).

use super::text::percent;
use super::{Behaviour, Brokers, Fidelity, Group, Plan};

/// What departs, marked as such where it stands among what does not.
pub(super) fn departs(what: &str) -> String {
    format!("{what} (departs from the real server)")
}

impl Plan {
    /// Where the nodes depart from a real server, group by group.
    pub(crate) fn departures(&self) -> Vec<String> {
        let of_group = |group: &Group| {
            let departs = |what| format!("group {}: {what}", group.name);
            group.departures(&self.brokers).into_iter().map(departs).collect::<Vec<_>>()
        };
        self.groups.iter().flat_map(of_group).collect()
    }
}

impl Group {
    fn departures(&self, brokers: &Brokers) -> Vec<String> {
        let mut all = self.fidelity.departures();
        all.extend(self.placement.departure(brokers).map(str::to_owned));
        all.extend(self.queue.departures());
        all.extend(self.behaviour.departures());
        all.extend(self.event_departures());
        all
    }
}

impl Fidelity {
    fn departures(self) -> Vec<String> {
        let Self { flush_each_subscription, flush_each_reply } = self;
        [
            (!flush_each_subscription)
                .then_some("one flush for all subscriptions, where a server flushes after each"),
            (!flush_each_reply)
                .then_some("no flush after a reply, where a server flushes after each"),
        ]
        .into_iter()
        .flatten()
        .map(str::to_owned)
        .collect()
    }
}

impl Behaviour {
    fn departures(&self) -> Vec<String> {
        let Self { reply_delay: _, no_reply, error_reply, churn: _, stuck } = *self;
        let silent = || {
            format!(
                "{} of requests without an answer, where a server answers each",
                percent(no_reply)
            )
        };
        let failing = || {
            format!(
                "{} of RPC requests with an error reply, whatever they ask for",
                percent(error_reply)
            )
        };
        let small = || {
            "sockets take a few KiB without being read (`stuck`), where a server's take more"
                .to_owned()
        };
        [(no_reply > 0.0).then(silent), (error_reply > 0.0).then(failing), stuck.map(|_| small())]
            .into_iter()
            .flatten()
            .collect()
    }
}
