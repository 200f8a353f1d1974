//! Autonomous agents in a scenario: the keys of go-choria's `machine.yaml` (`aagent/machine`), as far as
//! nodes can follow them.

use std::collections::BTreeMap;

use emulator::machines as emulated;
use schemars::JsonSchema;
use serde::Deserialize;

use super::units::Span;

/// An autonomous agent: a state machine and its watchers.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{name: heater, version: 1.0.0, initial_state: off, transitions: [], watchers: []}`"
)]
pub struct Machine {
    /// Name, unique in the group.
    pub name: String,
    /// Version.
    pub version: String,
    /// Where a server has it; default `/etc/choria/machine/NAME`.
    pub path: Option<String>,
    /// The state in which it starts.
    pub initial_state: String,
    /// What takes it from state to state.
    pub transitions: Vec<MachineTransition>,
    /// What acts in its states.
    pub watchers: Vec<MachineWatcher>,
}

/// A step from some states to one: `{name: switch_on, from: [off], destination: on}`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{name: switch_on, from: [off], destination: on}`"
)]
pub struct MachineTransition {
    /// Name, as `choria_util#machine_transition` asks for it.
    pub name: String,
    /// The states in which it is possible.
    pub from: Vec<String>,
    /// The state to which it leads.
    pub destination: String,
    /// What it is for.
    pub description: Option<String>,
}

/// Something that acts in some states of its machine.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{name: check, type: nagios, properties: {plugin: check_load}}`"
)]
pub struct MachineWatcher {
    /// Name, unique in the machine.
    pub name: String,
    /// What it does.
    #[serde(rename = "type")]
    pub kind: WatcherType,
    /// The states in which it acts; default: all.
    pub state_match: Option<Vec<String>>,
    /// The transition that a timer makes.
    pub fail_transition: Option<String>,
    /// From one check to the next, in whole seconds; default: only when it is asked for.
    pub interval: Option<Span>,
    /// What it is told.
    pub properties: WatcherProperties,
}

/// What a watcher does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WatcherType {
    /// Checks something now and then, as the checks of Choria Scout. Nothing is executed: `status` and
    /// `output` say what comes of it.
    Nagios,
    /// Makes a transition some time after a state was entered.
    Timer,
}

/// What a watcher is told.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{plugin: check_load}`")]
pub struct WatcherProperties {
    /// Nagios: the command that a server would execute.
    pub plugin: Option<String>,
    /// Nagios: the builtin that a server would use instead, such as `heartbeat`.
    pub builtin: Option<String>,
    /// Nagios: what comes of the check; default OK.
    pub status: Option<CheckStatus>,
    /// Nagios: what the check prints; default: nothing, and the second for `heartbeat`.
    pub output: Option<String>,
    /// Nagios: annotations of the check.
    pub annotations: Option<BTreeMap<String, String>>,
    /// Timer: how long it takes, in whole seconds.
    pub timer: Option<Span>,
}

/// What comes of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum CheckStatus {
    /// All is well.
    Ok,
    /// Something may become wrong.
    Warning,
    /// Something is wrong.
    Critical,
    /// Nobody knows.
    Unknown,
}

/// What is wrong, and what to write instead.
type Wrong = (String, &'static str);

impl Machine {
    /// The machine as nodes take it.
    pub(crate) fn resolve(&self) -> Result<emulated::Machine, Wrong> {
        let transition = |given: &MachineTransition| emulated::Transition {
            name: given.name.clone(),
            from: given.from.clone(),
            destination: given.destination.clone(),
        };
        Ok(emulated::Machine {
            name: self.name.clone(),
            version: self.version.clone(),
            path: self.path.clone(),
            initial_state: self.initial_state.clone(),
            transitions: self.transitions.iter().map(transition).collect(),
            watchers: self
                .watchers
                .iter()
                .map(MachineWatcher::resolve)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl MachineWatcher {
    fn resolve(&self) -> Result<emulated::Watcher, Wrong> {
        let watches = match self.kind {
            WatcherType::Nagios => self.check(),
            WatcherType::Timer => self.timer(),
        };
        Ok(emulated::Watcher {
            name: self.name.clone(),
            state_match: self.state_match.clone().unwrap_or_default(),
            watches: watches?,
        })
    }

    fn check(&self) -> Result<emulated::Watches, Wrong> {
        let WatcherProperties { plugin, builtin, status, output, annotations, timer } =
            &self.properties;
        if timer.is_some() || self.fail_transition.is_some() {
            let message = format!("watcher `{}` of type nagios has what timers have", self.name);
            return Err((message, "a check makes the transition that its status is called"));
        }
        let ((Some(plugin), None) | (None, Some(plugin))) = (plugin, builtin) else {
            let message = format!("watcher `{}` has not one of plugin and builtin", self.name);
            return Err((message, "write `properties: {builtin: heartbeat}`, or a `plugin`"));
        };
        let heartbeat = builtin.as_deref() == Some("heartbeat");
        Ok(emulated::Watches::Nagios(emulated::Check {
            interval_s: self.interval.map_or(Ok(0), |span| self.seconds(span))?,
            plugin: plugin.clone(),
            status: match status {
                None | Some(CheckStatus::Ok) => emulated::Status::Ok,
                Some(CheckStatus::Warning) => emulated::Status::Warning,
                Some(CheckStatus::Critical) => emulated::Status::Critical,
                Some(CheckStatus::Unknown) => emulated::Status::Unknown,
            },
            output: output.clone().or_else(|| (!heartbeat).then(String::new)),
            annotations: annotations.clone().unwrap_or_default(),
        }))
    }

    fn timer(&self) -> Result<emulated::Watches, Wrong> {
        let Some(timer) = self.properties.timer else {
            let message = format!("watcher `{}` has no timer", self.name);
            return Err((message, "write `properties: {timer: 2s}`"));
        };
        let others = WatcherProperties { timer: Some(timer), ..WatcherProperties::default() };
        if self.properties != others || self.interval.is_some() {
            let message = format!("watcher `{}` of type timer has what checks have", self.name);
            return Err((message, "write `properties: {timer: 2s}` and nothing else"));
        }
        Ok(emulated::Watches::Timer {
            seconds: self.seconds(timer)?,
            fail_transition: self.fail_transition.clone(),
        })
    }

    fn seconds(&self, span: Span) -> Result<u32, Wrong> {
        let seconds = u32::try_from(span.0.as_secs()).ok();
        seconds.filter(|seconds| *seconds > 0 && span.0.subsec_nanos() == 0).ok_or_else(|| {
            let message = format!("watcher `{}` acts every {span}", self.name);
            (message, "write whole seconds, such as `60s`")
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::scenario::Scenario;

    const MACHINES: &str = "\
version: 1
name: small
fleet:
  - group: web
    nodes: 3
    machines:
      - name: toggle
        version: 0.2.0
        initial_state: off
        transitions:
          - {name: switch_on, from: [off], destination: on}
          - {name: switch_off, from: [on], destination: off}
        watchers:
          - {name: alarm, type: timer, state_match: [on], fail_transition: switch_off, properties: {timer: 2s}}
          - {name: check, type: nagios, interval: 1m, properties: {builtin: heartbeat}}
waves:
  - {name: rpc, request: {agent: rpcutil, action: ping}}
";

    #[test]
    fn machines_are_written_as_the_field_writes_them() {
        let scenario =
            Scenario::parse(MACHINES, "small.yaml", &[]).unwrap_or_else(|told| panic!("{told}"));
        let machine = scenario.fleet[0].machines.as_ref().unwrap()[0].resolve().unwrap();
        assert_eq!(machine.check(), Ok(()));
        insta::assert_snapshot!(serde_json::to_string(&machine).unwrap());
    }

    #[test]
    fn machines_that_no_node_could_run_are_refused_where_they_stand() {
        for (from, to, says) in [
            ("timer: 2s", "timer: 2500ms", "acts every 2s 500ms"),
            ("{timer: 2s}", "{}", "has no timer"),
            ("{timer: 2s}", "{timer: 2s, plugin: x}", "has what checks have"),
            ("{builtin: heartbeat}", "{}", "not one of plugin and builtin"),
            (
                "{builtin: heartbeat}",
                "{builtin: heartbeat, plugin: x}",
                "not one of plugin and builtin",
            ),
            ("{builtin: heartbeat}", "{builtin: heartbeat, timer: 2s}", "has what timers have"),
            ("type: timer", "type: exec", "exec"),
            ("[on], fail", "[up], fail", "no state `up`"),
            ("fail_transition: switch_off", "fail_transition: explode", "no transition `explode`"),
            ("interval: 1m", "intreval: 1m", "did you mean `interval`?"),
        ] {
            let text = MACHINES.replace(from, to);
            assert_ne!(text, MACHINES);
            let told = Scenario::parse(&text, "small.yaml", &[]).expect_err(to).to_string();
            assert!(told.starts_with("small.yaml:") && told.contains(says), "{to}: {told}");
        }
    }
}
