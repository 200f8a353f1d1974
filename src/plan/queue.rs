//! The request queue of a group's nodes: its part of the plan, from scenario to fleet.

use std::time::Duration;

use emulator::spec;
use serde::{Deserialize, Serialize};

use super::departures::departs;
use super::micros;
use crate::scenario::{self, FullQueue, Span};

/// The queue in front of a node's one handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// Places in the buffer of a subscription, and again in the queue that all of them share.
    pub size: u32,
    /// How long the handler takes to look at a request.
    #[serde(rename = "handling_us", with = "micros")]
    pub handling: Duration,
}

impl Queue {
    /// What the scenario says, and the real server's where it says nothing.
    pub(super) fn of(given: Option<scenario::Queue>) -> Self {
        let FullQueue { size, handling } = match given {
            None => FullQueue::default(),
            Some(scenario::Queue::Size(size)) => FullQueue { size: Some(size), handling: None },
            Some(scenario::Queue::Full(queue)) => queue,
        };
        let real = spec::Queue::REAL;
        Self {
            size: size.map_or(real.size, scenario::Count::saturating_u32),
            handling: handling.map_or(real.handling, |handling| handling.0),
        }
    }

    /// The same as the fleet takes it.
    pub(super) fn spec(self) -> spec::Queue {
        let Self { size, handling } = self;
        spec::Queue { size, handling }
    }

    /// Where it departs from that of a real server. How quick a server is depends on its host and is no
    /// departure, unless it takes no time at all.
    pub(crate) fn departures(self) -> Vec<String> {
        let real = spec::Queue::REAL.size;
        if self.handling.is_zero() {
            return vec!["requests are looked at in no time, so that none is ever lost".to_owned()];
        }
        let other = self.size != real;
        let text = || format!("a request queue of {}, where a server has {real}", self.size);
        other.then(text).into_iter().collect()
    }

    /// What is not as usual, for people.
    pub(super) fn in_words(self) -> Vec<String> {
        let mut words: Vec<_> = self.departures().iter().map(|what| departs(what)).collect();
        if !self.handling.is_zero() && self.handling != spec::Queue::REAL.handling {
            words.push(format!("looks at a request for {}", Span(self.handling)));
        }
        words
    }
}
