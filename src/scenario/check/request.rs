//! What a request asks of nodes that are ours: an action that its agent has, and an answer that a
//! message can carry.

use emulator::agents::{ANSWER_BYTES_MAX, actions};
use serde_json::Value;

use super::{at, choose};
use crate::scenario::error::Problem;
use crate::scenario::types::Request;

/// Everything that is wrong with the request of wave `index`. A node answers a mistake here with an
/// error reply, or not at all, and a run would measure that.
pub(super) fn check(found: &mut Vec<Problem>, index: usize, request: &Request) {
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

/// Whether an answer of this size can be sent; null counts as zero, as it does at a node.
fn fits(size: &Value) -> bool {
    size.is_null() || size.as_u64().is_some_and(|size| size <= ANSWER_BYTES_MAX as u64)
}
