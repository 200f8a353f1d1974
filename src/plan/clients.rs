//! Where the clients of a plan are, and what each asks of whom.

use super::{Client, Entry, Expected, Filter, Plan};
use crate::scenario::{CONDUCTOR, Places};

/// Whom one client of an entry asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    /// Which nodes must answer.
    pub selects: &'a Filter,
    /// The filter in the request.
    pub wire: &'a Filter,
    /// Who must answer.
    pub expected: &'a Expected,
}

impl Client {
    /// Where client `number` (from 1) is, unless its entry says otherwise: `conductor`, or the name of a
    /// worker.
    #[must_use]
    pub fn place(&self, number: u32) -> &str {
        let turn = position(number) % self.at.len().max(1);
        self.at.get(turn).map_or(CONDUCTOR, String::as_str)
    }
}

impl Entry {
    /// Whom client `number` (from 1) asks.
    #[must_use]
    pub fn asked(&self, number: u32) -> Asked<'_> {
        match self.each_client.get(position(number)) {
            Some(one) => Asked { selects: &one.selects, wire: &one.wire, expected: &one.expected },
            None => Asked { selects: &self.selects, wire: &self.wire, expected: &self.expected },
        }
    }
}

impl Plan {
    /// Where client `number` (from 1) of an entry is.
    #[must_use]
    pub fn place<'a>(&'a self, entry: &'a Entry, number: u32) -> &'a str {
        let own = entry.each_client.get(position(number));
        own.map_or_else(|| self.client.place(number), |one| one.at.as_str())
    }

    /// Numbers of the clients that are at `place` in any entry, ascending.
    #[must_use]
    pub fn clients_at(&self, place: &str) -> Vec<u32> {
        let most = self.most_clients();
        let is_there = |number: &u32| {
            let mut having = self.entries.iter().filter(|entry| entry.clients >= *number);
            having.any(|entry| self.place(entry, *number) == place)
        };
        (1..=most).filter(is_there).collect()
    }

    /// The workers that clients are at, each once, in the order of the scenario.
    #[must_use]
    pub fn clients_places(&self) -> Vec<&str> {
        let mut places = Vec::new();
        for entry in &self.entries {
            for number in 1..=entry.clients {
                let place = self.place(entry, number);
                if place != CONDUCTOR && !places.contains(&place) {
                    places.push(place);
                }
            }
        }
        places
    }

    /// The most clients that any entry has, at least 1.
    #[must_use]
    pub fn most_clients(&self) -> u32 {
        self.entries.iter().map(|entry| entry.clients).max().unwrap_or(1).max(1)
    }

    /// Connections of the clients at `place`: one that publishes beside those that receive.
    #[must_use]
    pub fn client_connections(&self, place: &str) -> u64 {
        self.clients_at(place).len() as u64 * (1 + u64::from(self.client.receivers))
    }
}

/// The places of a scenario with the default written in: none where all are at the conductor.
pub(super) fn places(given: Option<&Places>) -> Vec<String> {
    let names = given.map(Places::names).unwrap_or_default();
    match names.iter().all(|name| name == CONDUCTOR) {
        true => Vec::new(),
        false => names.to_vec(),
    }
}

fn position(number: u32) -> usize {
    usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use crate::plan::{Plan, resolve};
    use crate::scenario::Scenario;

    /// A plan of 40 nodes with these keys of the client, and these clients of its only wave.
    fn plan(client: &str, clients: &str) -> Plan {
        let text = format!(
            "version: 1\nname: apart\nclient: {{{client}}}\n\
             fleet: [{{group: web, nodes: 30, agents: 2}}, {{group: db, nodes: 10}}]\n\
             waves: [{{name: rpc, request: {{agent: emulated1, action: generate, \
             filter: {{facts: [a=b]}}}}, clients: {clients}}}]\n"
        );
        let scenario = Scenario::parse(&text, "apart.yaml", &[]).unwrap_or_else(|e| panic!("{e}"));
        resolve(&scenario).expect("resolves")
    }

    #[test]
    fn clients_are_where_the_scenario_says_by_turns_and_else_at_the_conductor() {
        // Keys of the client, clients of the wave, where they are in their order, which workers that takes.
        for (client, clients, at, workers) in [
            ("", "2", &["conductor", "conductor"][..], &[][..]),
            ("at: w2", "2", &["w2", "w2"], &["w2"]),
            ("at: [w2, conductor]", "3", &["w2", "conductor", "w2"], &["w2"]),
            ("at: [w2, w1]", "1", &["w2"], &["w2"]),
            ("", "[{at: east}, {}]", &["east", "conductor"], &["east"]),
            (
                "at: w1",
                "[{at: conductor}, {}, {at: w3}]",
                &["conductor", "w1", "w3"],
                &["w1", "w3"],
            ),
        ] {
            let plan = plan(client, clients);
            let entry = &plan.entries[0];
            let found: Vec<_> = (1..=entry.clients).map(|n| plan.place(entry, n)).collect();
            assert_eq!(found, at, "{client:?} {clients:?}");
            assert_eq!(plan.clients_places(), workers, "{client:?} {clients:?}");
            let numbers: Vec<u32> =
                (1..).zip(at).filter(|(_, at)| **at == "w2").map(|(n, _)| n).collect();
            assert_eq!(plan.clients_at("w2"), numbers);
            assert_eq!(plan.client_connections("w2"), 2 * numbers.len() as u64);
            let demand = crate::plan::Demand::of(&plan);
            assert_eq!(demand.at_workers.drivers, workers.len() as u64);
            let listener = u64::from(!plan.event_kinds().is_empty());
            let clients = 2 * u64::from(entry.clients);
            assert_eq!(demand.connections_of_drivers(), clients + listener, "each once");
        }
    }

    #[test]
    fn a_filter_of_a_clients_own_stands_in_place_of_the_waves_and_keeps_the_agent() {
        let plan = plan("", "[{}, {filter: {classes: [x]}}, {filter: {}}]");
        let entry = &plan.entries[0];
        let asked = |number| {
            let asked = entry.asked(number);
            assert_eq!(asked.wire, asked.selects, "a broadcast");
            let selects = asked.selects;
            assert_eq!(selects.agents, ["emulated1"], "client {number}");
            (selects.facts.len(), selects.classes.len(), asked.expected.nodes, asked.expected.exact)
        };
        assert_eq!(asked(1), (1, 0, 30, false));
        assert_eq!(asked(2), (0, 1, 30, false));
        assert_eq!(asked(3), (0, 0, 30, true));
        let messages = entry.messages(&plan.groups);
        assert_eq!((messages.requests, messages.delivered, messages.replies), (3, 90, 90));
    }

    #[test]
    fn a_plan_without_places_says_nothing_of_them() {
        for client in ["", "at: conductor", "at: [conductor, conductor]"] {
            let json = serde_json::to_string(&plan(client, "2")).expect("json");
            assert!(!json.contains("\"at\"") && !json.contains("each_client"), "{json}");
            assert_eq!(plan(client, "2").digest(), plan("", "2").digest());
        }
        assert_ne!(plan("at: w1", "2").digest(), plan("", "2").digest());
    }

    #[test]
    fn a_person_sees_where_clients_are_and_what_each_asks() {
        let plan = plan("at: [w1, w2]", "[{}, {filter: {facts: [c=d]}}]");
        let budget = crate::plan::Budget::of(&plan, crate::plan::DEFAULT_PORT_RANGE);
        let text = crate::plan::to_text(&plan, &budget);
        for line in [
            "  clients are at w1, w2, by turns\n",
            "  rpc, client 1 at w1: up to 30 nodes, fact a=b\n",
            "  rpc, client 2 at w2: up to 30 nodes, fact c=d\n",
            "each its own",
        ] {
            assert!(text.contains(line), "{line:?} is not in {text}");
        }
    }
}
