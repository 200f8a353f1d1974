//! What a machine is: the content of its `machine.yaml`, as far as nodes can follow it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A machine; its name is unique in a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Where it is stored; `None`: under its name in the server's store of machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The state in which it starts.
    pub initial_state: String,
    /// What takes it from state to state; at least one.
    pub transitions: Vec<Transition>,
    /// What acts in its states; at least one.
    pub watchers: Vec<Watcher>,
}

/// A step from some states to one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transition {
    /// Name, as it is asked for.
    pub name: String,
    /// The states in which it is possible.
    pub from: Vec<String>,
    /// The state to which it leads.
    pub destination: String,
}

/// Something that acts in some states of its machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watcher {
    /// Name, unique in the machine.
    pub name: String,
    /// The states in which it acts; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub state_match: Vec<String>,
    /// What it does.
    pub watches: Watches,
}

/// What a watcher does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Watches {
    /// Checks something now and then, and makes the transition that its result is called.
    Nagios(Check),
    /// Makes a transition some time after a state was entered.
    Timer {
        /// How long it takes, in seconds; at least 1.
        seconds: u32,
        /// The transition, if any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fail_transition: Option<String>,
    },
}

/// A check of Choria Scout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// From one check to the next, in seconds; 0: only when it is asked for.
    pub interval_s: u32,
    /// What a server would execute: a command, or the name of a builtin.
    pub plugin: String,
    /// What comes of it.
    #[serde(default)]
    pub status: Status,
    /// What it prints; `None`: the second at which it ran, as the builtin `heartbeat` does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What comes of a check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// All is well.
    #[default]
    Ok,
    /// Something may become wrong.
    Warning,
    /// Something is wrong.
    Critical,
    /// Nobody knows.
    Unknown,
}

impl Status {
    /// All of them; the position is the code.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Warning, Self::Critical, Self::Unknown];

    /// Its name: also that of a state, and of the transition there.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// A machine that no server would start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("machine `{machine}` {problem}\n{advice}")]
pub struct MachineError {
    /// Its name.
    pub machine: String,
    /// What is wrong.
    pub problem: String,
    /// What to write instead.
    pub advice: &'static str,
}

impl Machine {
    /// All states that are named: the initial one first, then as transitions name them.
    fn states(&self) -> Vec<&str> {
        let mut states = vec![self.initial_state.as_str()];
        let named = self.transitions.iter().flat_map(|transition| {
            transition.from.iter().chain([&transition.destination]).map(String::as_str)
        });
        for state in named {
            if !states.contains(&state) {
                states.push(state);
            }
        }
        states
    }

    /// Checks it as a server does before it starts it (go-choria `aagent/machine`, `Validate`).
    ///
    /// # Errors
    /// Names what is wrong.
    pub fn check(&self) -> Result<(), MachineError> {
        let wrong = |problem: String, advice| {
            Err(MachineError { machine: self.name.clone(), problem, advice })
        };
        for (what, text) in
            [("name", &self.name), ("version", &self.version), ("state", &self.initial_state)]
        {
            if text.is_empty() {
                return wrong(
                    format!("has an empty {what}"),
                    "write `name`, `version` and `initial_state`",
                );
            }
        }
        if self.transitions.is_empty() || self.watchers.is_empty() {
            let advice = "a server starts no machine without at least one of each";
            return wrong("has no transitions or no watchers".to_owned(), advice);
        }
        let states = self.states();
        for (position, watcher) in self.watchers.iter().enumerate() {
            let name = &watcher.name;
            if self.watchers[..position].iter().any(|other| other.name == *name) {
                return wrong(format!("has two watchers `{name}`"), "give each a name of its own");
            }
            let unknown =
                watcher.state_match.iter().find(|state| !states.contains(&state.as_str()));
            if let Some(state) = unknown {
                let problem = format!("has no state `{state}`, in which watcher `{name}` acts");
                return wrong(
                    problem,
                    "name a state that is the initial one or that a transition names",
                );
            }
            if let Some(problem) = self.wrong_watch(watcher) {
                return wrong(
                    problem,
                    "see the machines of go-choria, and `machines` in the schema",
                );
            }
        }
        Ok(())
    }

    fn wrong_watch(&self, watcher: &Watcher) -> Option<String> {
        let name = &watcher.name;
        match &watcher.watches {
            Watches::Timer { seconds: 0, .. } => {
                Some(format!("has a timer `{name}` of less than a second"))
            }
            Watches::Timer { fail_transition: Some(transition), .. } => {
                let known = self.transitions.iter().any(|known| known.name == *transition);
                (!known).then(|| {
                    format!("has no transition `{transition}`, which watcher `{name}` makes")
                })
            }
            Watches::Nagios(check) if check.plugin.is_empty() => {
                Some(format!("has a watcher `{name}` with neither plugin nor builtin"))
            }
            Watches::Nagios(check)
                if check.output.as_ref().is_some_and(|text| text.contains('|')) =>
            {
                Some(format!(
                    "has performance data in the output of `{name}`, which is not emulated"
                ))
            }
            Watches::Timer { .. } | Watches::Nagios(_) => None,
        }
    }
}

/// A machine, ready to be run by nodes.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) machine: Machine,
    pub(crate) path: String,
    /// Its states; a node remembers a position.
    pub(crate) states: Vec<String>,
}

impl Compiled {
    /// `store` is the server's folder of machines.
    pub(crate) fn new(machine: &Machine, store: &str) -> Result<Self, MachineError> {
        machine.check()?;
        let path = machine.path.clone().unwrap_or_else(|| format!("{store}/{}", machine.name));
        let states = machine.states().into_iter().map(str::to_owned).collect();
        Ok(Self { machine: machine.clone(), path, states })
    }

    /// Name of the state at this position.
    pub(crate) fn state(&self, at: u16) -> &str {
        self.states.get(usize::from(at)).map_or("", String::as_str)
    }

    /// The transition of this name that is possible in `state`; the last of two wins.
    pub(crate) fn transition(&self, name: &str, state: &str) -> Option<&Transition> {
        let possible = |transition: &&Transition| {
            transition.name == name && transition.from.iter().any(|from| from == state)
        };
        self.machine.transitions.iter().rev().find(possible)
    }

    /// Names of the transitions that are possible in `state`, in the order of their definition.
    pub(crate) fn available(&self, state: &str) -> impl Iterator<Item = &str> {
        let possible =
            move |transition: &&Transition| transition.from.iter().any(|from| from == state);
        self.machine.transitions.iter().filter(possible).map(|transition| transition.name.as_str())
    }

    /// The check that makes it one of Choria Scout, and its position among the watchers: the last one.
    pub(crate) fn check(&self) -> Option<(usize, &Check)> {
        let watchers = self.machine.watchers.iter().enumerate().rev();
        watchers.into_iter().find_map(|(at, watcher)| match &watcher.watches {
            Watches::Nagios(check) => Some((at, check)),
            Watches::Timer { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn machine() -> Value {
        json!({
            "name": "toggle", "version": "1.0.0", "initial_state": "off",
            "transitions": [{ "name": "on", "from": ["off"], "destination": "on" }],
            "watchers": [
                { "name": "a", "state_match": ["on"],
                  "watches": { "timer": { "seconds": 1, "fail_transition": "on" } } },
                { "name": "b", "watches": { "nagios": { "interval_s": 0, "plugin": "x" } } },
            ],
        })
    }

    #[test]
    fn a_machine_that_no_server_would_start_is_named_with_what_is_wrong() {
        let check = |machine: Value| serde_json::from_value::<Machine>(machine).unwrap().check();
        assert_eq!(check(machine()), Ok(()));
        for (pointer, value, expected) in [
            ("/name", json!(""), "has an empty name"),
            ("/initial_state", json!(""), "has an empty state"),
            ("/transitions", json!([]), "no transitions"),
            ("/watchers", json!([]), "no watchers"),
            ("/watchers/1/name", json!("a"), "has two watchers `a`"),
            ("/watchers/0/state_match/0", json!("up"), "has no state `up`"),
            ("/watchers/0/watches/timer/seconds", json!(0), "less than a second"),
            ("/watchers/0/watches/timer/fail_transition", json!("up"), "has no transition `up`"),
            ("/watchers/1/watches/nagios/plugin", json!(""), "neither plugin nor builtin"),
            (
                "/watchers/1/watches/nagios",
                json!({ "interval_s": 0, "plugin": "x", "output": "a|b=1" }),
                "performance data",
            ),
        ] {
            let mut machine = machine();
            *machine.pointer_mut(pointer).unwrap() = value;
            let told = check(machine).unwrap_err().to_string();
            assert!(told.contains(expected) && told.lines().count() == 2, "{pointer}: {told}");
        }
    }
}
