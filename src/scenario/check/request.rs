//! What a request asks of nodes that are ours: an action that its agent has, and an answer that a
//! message can carry.

use emulator::agents::ddl::{Ddl, Interface};
use emulator::agents::{ANSWER_BYTES_MAX, actions};
use serde_json::Value;

use super::{at, choose};
use crate::scenario::error::Problem;
use crate::scenario::types::{Group, Request};

/// Everything that is wrong with the request of wave `index`. A node answers a mistake here with an
/// error reply, or not at all, and a run would measure that.
pub(super) fn check(found: &mut Vec<Problem>, index: usize, request: &Request, fleet: &[Group]) {
    if let Some(ddl) = fleet.iter().find_map(|group| group.ddl(&request.agent)) {
        return check_with_ddl(found, index, request, ddl);
    }
    let known = actions(&request.agent);
    if !known.is_empty() && !known.contains(&request.action.as_str()) {
        let message = format!("agent `{}` has no action `{}`", request.agent, request.action);
        let at = at!["waves", index, "request", "action"];
        found.push(Problem::new(at, message, choose(&request.action, known)));
    }
    let size = request.data.as_ref().and_then(|data| data.0.get("size"));
    if let Some(size) = size.filter(|size| !fits(size)) {
        let message = format!("an answer of {size} bytes cannot be asked for");
        let advice = format!(
            "write a whole number from 0 to {ANSWER_BYTES_MAX}: no broker should carry more in a message"
        );
        found.push(Problem::new(at!["waves", index, "request", "data", "size"], message, advice));
    }
}

/// What the real client would not send (protocol document 5.8, step 1).
fn check_with_ddl(found: &mut Vec<Problem>, index: usize, request: &Request, ddl: &Ddl) {
    let at = |key: &str| at!["waves", index, "request", key];
    let Some(action) = ddl.action(&request.action) else {
        let message = format!("agent `{}` has no action `{}`", ddl.name(), request.action);
        let known: Vec<&str> = ddl.actions.iter().map(|action| action.name.as_str()).collect();
        found.push(Problem::new(at("action"), message, choose(&request.action, &known)));
        return;
    };
    let interface = Interface::new(action);
    let known: Vec<&str> = interface.names().collect();
    let mut data = request.data.clone().unwrap_or_default().0;
    let undeclared: Vec<&String> =
        data.keys().filter(|name| !known.contains(&name.as_str())).collect();
    for name in &undeclared {
        let message = format!("action `{}` has no input `{name}`", action.name);
        let advice = match known.is_empty() {
            true => "leave `data` out: it has no inputs".to_owned(),
            false => choose(name, &known),
        };
        let at = at!["waves", index, "request", "data", name.as_str()];
        found.push(Problem::new(at, message, advice).of_key());
    }
    if undeclared.is_empty() {
        action.fill_in(&mut data);
        if let Err(why) = interface.check(&data) {
            let advice = format!("mend `data`; the inputs are: {}", known.join(", "));
            found.push(Problem::new(at("data"), why, advice));
        }
    }
}

/// Whether an answer of this size can be sent; null counts as zero, as it does at a node.
fn fits(size: &Value) -> bool {
    size.is_null() || size.as_u64().is_some_and(|size| size <= ANSWER_BYTES_MAX as u64)
}
