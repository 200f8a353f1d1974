//! The sentences of progress; bars and plain lines share them.

use std::net::SocketAddrV4;
use std::time::Duration;

use reports::format::{count, counted, duration};
use reports::run::Origin;
use reports::wave::WaveResult;

use crate::broker::Progress as Obtaining;
use crate::conductor::Progress;
use crate::crew::TOKEN_VARIABLE;
use crate::driver::Secret;

/// The line of a report, if it is one for people in every style.
pub(super) fn line(progress: &Progress) -> Option<String> {
    Some(match progress {
        Progress::Folder(path) => format!("results go to {}", path.display()),
        Progress::Obtaining(name, step) => format!("broker {name}: {}", lasting(step)?),
        Progress::Broker { name, version, go, url } => {
            let go = go.as_ref().map(|go| format!(" ({go})")).unwrap_or_default();
            format!("broker {name}: nats-server {version}{go} at {url}")
        }
        Progress::Formed { links, took } => {
            let links = counted(*links, "connection", "connections");
            format!("network formed: {links} between brokers, in {}", duration(*took))
        }
        Progress::Control { at, made_up } => format!(
            "waiting for workers; start each of them with\n  {TOKEN_VARIABLE}={} choria-emulator worker --control nats://{}",
            made_up.as_ref().map_or("...", Secret::reveal),
            reached(*at)
        ),
        Progress::Mustered { workers } => {
            format!("{} there", counted(*workers, "worker is", "workers are"))
        }
        Progress::Discovering { patience } => {
            format!("asking who is there, for {}", duration(*patience))
        }
        Progress::Met { nodes, origin } => {
            format!("{} have to answer, {}", counted(*nodes, "node", "nodes"), known(*origin))
        }
        Progress::Connected { connected, planned, took } => {
            format!("connected {} in {}", nodes(*connected, *planned), duration(*took))
        }
        Progress::Waves { total, longest } => {
            format!("{}, at most {}", counted(*total, "wave", "waves"), duration(*longest))
        }
        Progress::Wave { name, number, client, interrupted: true, result, .. } => {
            let (seen, of) = (result.on_time, result.expected);
            format!("{name} {number} of client {client}: ended early, {seen} of {of} so far")
        }
        Progress::Wave { name, number, warmup, client, result, .. } => {
            wave(name, *number, *warmup, *client, result)
        }
        Progress::Timeline(text) => text.clone(),
        Progress::Warning(text) => format!("warning: {text}"),
        Progress::Stopping => "stopping brokers and nodes".to_owned(),
        Progress::Mustering { .. } | Progress::Connecting { .. } => return None,
    })
}

/// Where others reach who listens there.
fn reached(at: SocketAddrV4) -> String {
    match at.ip().is_unspecified() {
        true => format!("THIS-HOST:{}", at.port()),
        false => at.to_string(),
    }
}

/// How nodes that are not ours became known.
fn known(origin: Origin) -> String {
    match origin {
        Origin::Started => "started here".to_owned(),
        Origin::Discovered => "all that answered".to_owned(),
        Origin::Counted { expected, seen } => {
            format!("{} expected, {} answered", count(expected), count(seen))
        }
        Origin::Listed => "listed by name".to_owned(),
    }
}

/// `1,200 of 2,000 nodes`.
pub(super) fn nodes(connected: u64, planned: u64) -> String {
    format!("{} of {}", count(connected), counted(planned, "node", "nodes"))
}

/// What a step of obtaining says that is still true when it is over.
pub(super) fn lasting(step: &Obtaining) -> Option<String> {
    match step {
        Obtaining::Found(found) => {
            Some(format!("found nats-server {} at {}", found.version, found.path.display()))
        }
        Obtaining::WaitingForAnotherRun { version } => {
            Some(format!("another run is bringing nats-server {version} here: waiting for it"))
        }
        Obtaining::Passed(_) | Obtaining::Downloading { .. } | Obtaining::Building { .. } => None,
    }
}

/// What a step of obtaining is doing now: subject, and how far it is.
pub(super) fn passing(step: &Obtaining) -> Option<String> {
    match step {
        Obtaining::Downloading { url, received_bytes, total_bytes } => {
            let received = reports::format::bytes(float(*received_bytes));
            Some(match total_bytes {
                Some(total) => {
                    format!(
                        "downloading {url}: {received} of {}",
                        reports::format::bytes(float(*total))
                    )
                }
                None => format!("downloading {url}: {received}"),
            })
        }
        Obtaining::Building { line } => Some(format!("go install: {line}")),
        Obtaining::Found(_) | Obtaining::Passed(_) | Obtaining::WaitingForAnotherRun { .. } => None,
    }
}

fn wave(name: &str, number: u32, warmup: bool, client: u32, result: &WaveResult) -> String {
    let kind = if warmup { " warm-up" } else { "" };
    let who = if client > 1 { format!(" client {client}") } else { String::new() };
    let answered = format!("{} of {} on time", count(result.on_time), count(result.expected));
    let times = result.to_complete();
    let mut parts = vec![answered];
    for (what, time) in [("half after", times.p50), ("all after", times.last)] {
        parts.extend(time.map(|time: Duration| format!("{what} {}", duration(time))));
    }
    for (number, what) in [
        (result.late, "late"),
        (result.missing(), "missing"),
        (result.duplicate, "duplicate"),
        (result.unexpected, "unexpected"),
        (result.errors, "with an error"),
        (result.undecodable, "undecodable"),
    ] {
        if number > 0 {
            parts.push(format!("{} {what}", count(number)));
        }
    }
    format!("{name}{kind} {number}{who}: {}", parts.join(", "))
}

#[expect(clippy::cast_precision_loss, reason = "a size for people")]
fn float(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wave_names_only_what_was_not_as_it_should_be() {
        let perfect = WaveResult { expected: 2000, on_time: 2000, ..WaveResult::default() };
        assert_eq!(wave("rpc", 3, false, 1, &perfect), "rpc 3: 2,000 of 2,000 on time");
        let poor = WaveResult { expected: 2000, on_time: 1990, late: 4, errors: 1, ..perfect };
        assert_eq!(
            wave("rpc", 1, true, 2, &poor),
            "rpc warm-up 1 client 2: 1,990 of 2,000 on time, 4 late, 6 missing, 1 with an error"
        );
    }
}
