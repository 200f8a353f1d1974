//! The proof that brokers which are there already are one network, as far as those show it that are named:
//! a message each way between every one of them and the brokers of the clients.
//!
//! How they are joined is not known. What the message proves is what a wave needs: that requests get from the
//! client's broker to each of them, and replies back, over however many others.

use std::collections::BTreeSet;
use std::time::Duration;

use emulator::spec::Server;
use reports::forming::Forming;
use reports::verdict::ExitCode;
use tokio::time::{Instant, timeout_at};

use super::unreachable;
use crate::conductor::RunError;
use crate::driver::{ConnectionOptions, Probes};
use crate::plan::Plan;

/// Most pairs that are named.
const NAMED: usize = 10;

/// Proves it within this time; nothing where a single broker is named.
pub(super) async fn prove(
    plan: &Plan,
    urls: &[String],
    servers: &[Server],
    options: &ConnectionOptions,
    within: Duration,
) -> Result<Option<(Forming, Probes)>, RunError> {
    if urls.len() < 2 {
        return Ok(None);
    }
    let began = Instant::now();
    let deadline = began + within;
    let connected = timeout_at(deadline, Probes::connect(urls, options)).await;
    let probes = connected
        .map_err(|_| {
            let urls: Vec<_> = servers.iter().map(|server| server.url.as_str()).collect();
            let urls = urls.join(", ");
            unreachable(format!("not all of {urls} let a probe in within {within:?}\n{ADVICE}"))
        })?
        .map_err(unreachable)?;
    let both_ways = pairs(plan).into_iter().flat_map(|(home, to)| [(home, to), (to, home)]);
    let both_ways: BTreeSet<_> = both_ways.collect();
    let both_ways: Vec<_> = both_ways.into_iter().collect();
    if let Err(stuck) = probes.reach(&both_ways, deadline).await {
        probes.close().await;
        let what = format!("are not one network: within {within:?}");
        return Err(apart(plan, servers, &what, &stuck));
    }
    let forming = Forming { formed: began.elapsed(), ..Forming::default() };
    Ok(Some((forming, probes)))
}

/// Each broker of a client with every other one.
pub(super) fn pairs(plan: &Plan) -> Vec<(usize, usize)> {
    let others = |home: usize| (0..plan.brokers.count()).filter(move |to| *to != home);
    let homes = plan.client.connects_to.iter();
    homes.flat_map(|home| others(*home).map(|to| (*home, to))).collect()
}

/// The brokers that do not know of all nodes of others.
pub(super) fn without_interest(
    plan: &Plan,
    servers: &[Server],
    stuck: &[(usize, usize)],
) -> RunError {
    let what = "do not pass on the interest of all nodes: since these are connected";
    apart(plan, servers, what, stuck)
}

const ADVICE: &str = "see whether they run and are joined, and whether this user may subscribe and publish \
                      on each; leave a URL out, or give it longer with `form_within`";

/// Where no message has come through.
fn apart(plan: &Plan, servers: &[Server], what: &str, stuck: &[(usize, usize)]) -> RunError {
    let shown = |at: usize| {
        let url = servers.get(at).map_or("", |server| server.url.as_str());
        format!("{} ({url})", plan.brokers.name(at))
    };
    let says = |(from, to): &(usize, usize)| {
        format!("no message has come from {} to {}", shown(*from), shown(*to))
    };
    let mut named: Vec<_> = stuck.iter().take(NAMED).map(says).collect();
    if stuck.len() > NAMED {
        named.push(format!("and {} more", stuck.len() - NAMED));
    }
    let message = format!("the brokers that are named {what}\n  {}\n{ADVICE}", named.join("\n  "));
    RunError { code: ExitCode::BrokerUnreachable, message }
}
