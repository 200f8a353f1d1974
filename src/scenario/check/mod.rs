//! The meaning of a scenario: what types cannot refuse, each with its path and what to write.
//!
//! Pure: no file is looked for and no name resolved.

mod agents;
pub(super) mod brokers;
mod config;
mod course;
mod fleet;
mod lifecycle;
mod own_map;
mod request;
mod thresholds;
mod timeline;
mod waves;

use std::time::Duration;

use super::brokers::Topology;
use super::clients::{CONDUCTOR, Places};
use super::error::{Problem, nearest};
use super::tree::Step;
use super::types::{Client, Scenario};
use crate::control;

/// The longest duration a scenario may ask for, so that sums of instants stay exact.
const MAX_SPAN: Duration = Duration::from_secs(7 * 24 * 3600);
/// Longest name in a subject, as of a file: brokers end a connection over lines of more than 4 KiB.
const NAME_BYTES_MAX: usize = 255;
/// Most receiving connections of a client; the real one has 3 (protocol document 5.6).
const MAX_RECEIVERS: u64 = 16;
/// Least time to live of a v1 request (protocol document 3.5).
const MIN_TTL: Duration = Duration::from_secs(30);

/// A path from its parts.
macro_rules! at {
    ($($step:expr),* $(,)?) => { vec![$(crate::scenario::Step::from($step)),*] };
}
use at;

/// Everything that is wrong with `scenario`.
pub(super) fn problems(scenario: &Scenario) -> Vec<Problem> {
    let mut found = Vec::new();
    if scenario.version.0 != 1 {
        let message = format!("version {} of the format is not known", scenario.version.0);
        found.push(Problem::new(at!["version"], message, "write `version: 1`"));
    }
    check_file_name(&mut found, &scenario.name);
    brokers::check(&mut found, scenario);
    fleet::check(&mut found, scenario);
    if let Some(client) = &scenario.client {
        check_client(&mut found, client);
    }
    waves::check(&mut found, scenario);
    timeline::check(&mut found, scenario);
    thresholds::check(&mut found, scenario);
    found
}

/// Whether the nodes are those of a network that is there already, and not ours.
fn strangers_only(scenario: &Scenario) -> bool {
    let topology = scenario.brokers.as_ref().and_then(|brokers| brokers.topology);
    scenario.fleet.is_empty() && topology == Some(Topology::External)
}

fn check_file_name(found: &mut Vec<Problem>, name: &str) {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if name.is_empty() || name.len() > 100 || name.starts_with(['.', '-']) || !plain {
        let message = format!("`{name}` cannot name a result folder");
        let advice = "write a name of letters, digits, `-`, `_` and `.`, such as `first-look`";
        found.push(Problem::new(at!["name"], message, advice));
    }
}

fn check_client(found: &mut Vec<Problem>, client: &Client) {
    if let Some(callerid) = &client.callerid
        && !is_callerid(callerid)
    {
        let message = format!("`{callerid}` is no caller id");
        let advice = "write lower case letters, `=` and a name, such as `choria=emulator`";
        found.push(Problem::new(at!["client", "callerid"], message, advice));
    }
    if let Some(identity) = &client.identity
        && let Err(why) = check_subject_part(identity)
    {
        let advice = "write a name such as `client.choria.local`";
        found.push(Problem::new(at!["client", "identity"], why, advice));
    }
    if let Some(receivers) = client.receivers
        && !(1..=MAX_RECEIVERS).contains(&receivers.0)
    {
        let message = format!("{} receiving connections", receivers.0);
        let advice = format!("write a number from 1 to {MAX_RECEIVERS}");
        found.push(Problem::new(at!["client", "receivers"], message, advice));
    }
    if let Some(places) = &client.at {
        if places.names().is_empty() {
            let advice = "write `conductor`, or the names of workers such as `[w1, w2]`";
            found.push(Problem::new(at!["client", "at"], "clients that are nowhere", advice));
        }
        for (position, place) in places.names().iter().enumerate() {
            let at = match places {
                Places::One(_) => at!["client", "at"],
                Places::Several(_) => at!["client", "at", position],
            };
            check_place(found, at, place);
        }
    }
    if let Some(ttl) = client.ttl {
        let at = at!["client", "ttl"];
        if ttl.0 < MIN_TTL || ttl.0.subsec_nanos() != 0 {
            let message = format!("a time to live of {ttl} is refused by Choria servers");
            found.push(Problem::new(at.clone(), message, "write whole seconds, at least `30s`"));
        }
        check_span(found, at, "time to live", ttl.0);
    }
}

/// The name of a worker, as far as it can be told without one, or `conductor`.
fn check_place(found: &mut Vec<Problem>, at: Vec<Step>, name: &str) {
    if name != CONDUCTOR && !control::is_worker_name(name) {
        let message = format!("`{name}` is no name of a worker");
        let advice =
            format!("write `{CONDUCTOR}` or a name such as `w1`: {}", control::WORKER_NAME);
        found.push(Problem::new(at, message, advice));
    }
}

/// `^[a-z]+=([\w\.\-]+)$` (protocol document 3.7).
fn is_callerid(text: &str) -> bool {
    text.split_once('=').is_some_and(|(kind, name)| {
        !kind.is_empty()
            && kind.chars().all(|c| c.is_ascii_lowercase())
            && !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    })
}

fn choose(name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let first = |(at, name): &(usize, &&str)| !known[..*at].contains(*name);
            let names = known.iter().enumerate().filter(first).map(|(_, name)| *name);
            let names: Vec<&str> = names.take(20).collect();
            format!("there are: {}", names.join(", "))
        }
    }
}

fn check_positive(found: &mut Vec<Problem>, at: Vec<Step>, what: &str, span: Duration, like: &str) {
    if span.is_zero() {
        let advice = format!("write a duration above zero, such as `{like}`");
        found.push(Problem::new(at.clone(), format!("{what} of zero"), advice));
    }
    check_span(found, at, what, span);
}

fn check_span(found: &mut Vec<Problem>, at: Vec<Step>, what: &str, span: Duration) {
    if span > MAX_SPAN {
        let message = format!("{what} is longer than a week");
        found.push(Problem::new(at, message, "write a shorter one: the longest is `7days`"));
    }
}

/// One token of a NATS subject.
fn check_token(found: &mut Vec<Problem>, at: Vec<Step>, what: &str, text: &str) {
    let why = if text.contains('.') {
        Err(format!("`{text}` holds a dot"))
    } else {
        check_subject_part(text)
    };
    if let Err(why) = why {
        let advice = format!("a {what} is one word without dots, blanks, `*` and `>`");
        found.push(Problem::new(at, why, advice));
    }
}

/// What may stand in a NATS subject: no blanks, wildcards, control characters, or empty tokens, and no
/// more than subscribing to it has room for.
fn check_subject_part(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("an empty name".to_owned());
    }
    if text.len() > NAME_BYTES_MAX {
        let begin: String = text.chars().take(20).collect();
        let (begin, bytes) = (begin.escape_debug(), text.len());
        return Err(format!("`{begin}...` has {bytes} bytes, of {NAME_BYTES_MAX} at most"));
    }
    if let Some(bad) =
        text.chars().find(|c| c.is_whitespace() || c.is_control() || "*>".contains(*c))
    {
        return Err(format!("`{}` holds {bad:?}, which NATS subjects forbid", text.escape_debug()));
    }
    if text.split('.').any(str::is_empty) {
        return Err(format!("`{text}` has an empty part between dots"));
    }
    Ok(())
}

/// A message whose later lines are advice.
fn told(at: Vec<Step>, text: &str) -> Problem {
    let (message, advice) = text.split_once('\n').unwrap_or((text, ""));
    Problem::new(at, message, advice)
}
