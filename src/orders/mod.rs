//! What a plan asks of a driver: its clients, one order for each wave and client, and who must answer
//! ([`Crowd`]). Whoever has a driver, conductor or worker, works it out of the plan alike.

mod crowd;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use emulator::filter::FactFilterError;
use emulator::protocol::client::{DISCOVERY_BODY, RequestDraft, rpc_body};
use reports::wave::WaveKey;

use crate::driver::{ClientSpec, SendMode, WaveOrder};
use crate::plan::{Batch, Brokers, Entry, Plan, Question, request_id};

pub(crate) use crowd::Crowd;
use crowd::wire_filter;

/// Collective of a client whose nodes are not ours and which named none (protocol document 2.6).
const DEFAULT_COLLECTIVE: &str = "mcollective";
/// A complete wave listens on for this long, or for the grace of late replies if that is less: on a
/// network that works, a second reply follows the first in far less.
const LINGER_MAX: Duration = Duration::from_millis(100);

/// The clients that are at `place`; `urls` are those of the brokers by their positions.
pub(crate) fn clients(plan: &Plan, place: &str, urls: &[String]) -> Vec<ClientSpec> {
    let client = |number| ClientSpec {
        number,
        caller_id: caller_id(plan, number),
        receivers: plan.client.receivers,
        servers: client_urls(plan, number, urls),
    };
    plan.clients_at(place).into_iter().map(client).collect()
}

/// Where a client connects: its home first.
pub(crate) fn client_urls(plan: &Plan, number: u32, urls: &[String]) -> Vec<String> {
    plan.client_pool(number).into_iter().filter_map(|at| urls.get(at)).cloned().collect()
}

/// The first client has the plan's caller id, the others have their number behind it.
fn caller_id(plan: &Plan, client: u32) -> String {
    let name = &plan.client.callerid;
    if client == 1 { name.clone() } else { format!("{name}{client}") }
}

/// What a client asks in an entry.
pub(crate) fn draft(
    plan: &Plan,
    entry: &Entry,
    client: u32,
) -> Result<RequestDraft, FactFilterError> {
    let body = match &entry.question {
        Question::Discover => DISCOVERY_BODY.to_owned(),
        Question::Request { agent, action, data } => {
            rpc_body(agent, action, &serde_json::Value::Object(data.clone()))
        }
    };
    Ok(RequestDraft {
        caller_id: caller_id(plan, client),
        sender_id: plan.client.identity.clone(),
        collective: entry.collective.clone(),
        agent: entry.question.agent().to_owned(),
        ttl_s: plan.client.ttl_s,
        filter: wire_filter(entry.asked(client).wire)?,
        body,
    })
}

/// All orders of all places in the order of their intended instants, which count from that of [`begin_at`];
/// `nonce` is what sets this run's request ids apart ([`nonce`]).
pub(crate) fn orders(
    plan: &Plan,
    crowd: &Crowd,
    nonce: u64,
) -> Result<Vec<WaveOrder>, FactFilterError> {
    let main = plan.groups.first().and_then(|group| group.collectives.first());
    let main = main.map_or(DEFAULT_COLLECTIVE, String::as_str);
    // All waves of an entry and client ask the same: thousands of waves hold one draft.
    let drafts = |entry: &Entry| {
        (1..=entry.clients.max(1)).map(|client| Ok(Arc::new(draft(plan, entry, client)?))).collect()
    };
    let drafts: Vec<Vec<Arc<RequestDraft>>> =
        plan.entries.iter().map(drafts).collect::<Result<_, FactFilterError>>()?;
    let mut orders = Vec::new();
    for wave in plan.schedule() {
        let entry = &plan.entries[wave.entry];
        for (client, draft) in (1..).zip(&drafts[wave.entry]) {
            orders.push(WaveOrder {
                key: WaveKey {
                    name: entry.name.clone(),
                    number: wave.number,
                    warmup: wave.warmup,
                    client,
                },
                kind: entry.question.kind(),
                mode: mode(entry),
                intended_at: wave.intended_at,
                deadline: entry.deadline,
                late_grace: plan.late_grace,
                linger: plan.late_grace.min(LINGER_MAX),
                draft: Arc::clone(draft),
                // The reply subject of an RPC request has the client's main collective, that of a
                // discovery the one it asks (protocol document 2.3).
                reply_collective: match entry.question {
                    Question::Discover => entry.collective.clone(),
                    Question::Request { .. } => main.to_owned(),
                },
                request_id: request_id(plan.seed, nonce, &wave, client),
                expected: crowd.expected(wave.entry, client),
            });
        }
    }
    Ok(orders)
}

/// Lets the schedule begin at `go`. Of all that there is to do for many waves this alone is left for when that is known.
pub(crate) fn begin_at(orders: &mut [WaveOrder], go: Duration) {
    orders.iter_mut().for_each(|order| order.intended_at += go);
}

/// Those of `orders` whose clients are at `place`.
pub(crate) fn at_place(plan: &Plan, orders: &[WaveOrder], place: &str) -> Vec<WaveOrder> {
    let entries: HashMap<&str, &Entry> =
        plan.entries.iter().map(|entry| (entry.name.as_str(), entry)).collect();
    let is_there = |order: &&WaveOrder| {
        let entry = entries.get(order.key.name.as_str());
        entry.is_some_and(|entry| plan.place(entry, order.key.client) == place)
    };
    orders.iter().filter(is_there).cloned().collect()
}

/// What sets this run's request ids apart from those of other runs: nothing where the broker is the
/// run's own.
pub(crate) fn nonce(plan: &Plan) -> u64 {
    match plan.brokers {
        Brokers::Managed(_) => 0,
        Brokers::External { .. } => rand::random(),
    }
}

fn mode(entry: &Entry) -> SendMode {
    use reports::wave::WaveMode;
    match (entry.mode, entry.batch) {
        (WaveMode::Broadcast, _) => SendMode::Broadcast,
        (WaveMode::Batch, Some(Batch { size, sleep })) => {
            SendMode::Batch { size: u32::try_from(size).unwrap_or(u32::MAX).max(1), sleep }
        }
        (WaveMode::Direct | WaveMode::Batch, _) => SendMode::Direct,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Crowd, WaveOrder, begin_at, nonce, orders};
    use crate::plan::resolve;
    use crate::scenario::Scenario;

    const TEXT: &str = "\
version: 1
name: small
fleet: [{group: web, nodes: 3}]
waves: [{name: all, discover: {}, every: 2s, count: 5, clients: 2}]
";
    const EXTERNAL: &str = "brokers: {topology: external, urls: [\"nats://127.0.0.1:4222\"]}\n";

    fn orders_of(more: &str) -> Vec<WaveOrder> {
        let text = format!("{TEXT}{more}");
        let scenario = Scenario::parse(&text, "small.yaml", &[]).unwrap_or_else(|e| panic!("{e}"));
        let plan = resolve(&scenario).expect("resolves");
        let crowd = Crowd::of_strangers(&plan, &["a".to_owned()]).expect("a crowd");
        orders(&plan, &crowd, nonce(&plan)).expect("orders")
    }

    #[test]
    fn request_ids_repeat_on_a_broker_of_our_own_and_never_on_a_shared_network() {
        let ids = |more| orders_of(more).into_iter().map(|order| order.request_id);
        assert!(ids("").eq(ids("")));
        let mut all: Vec<String> = ids(EXTERNAL).chain(ids(EXTERNAL)).chain(ids("")).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 3 * 5 * 2);
    }

    #[test]
    fn waves_are_as_far_apart_wherever_the_schedule_begins() {
        let mut orders = orders_of("");
        let before: Vec<_> = orders.iter().map(|order| order.intended_at).collect();
        assert_eq!(before.first(), Some(&Duration::ZERO));
        let go = Duration::from_millis(1_234);
        begin_at(&mut orders, go);
        assert!(orders.iter().map(|order| order.intended_at - go).eq(before));
    }

    #[test]
    fn a_complete_wave_lingers_a_moment_but_no_longer_than_for_late_replies() {
        for (more, expected_ms) in [
            ("", 100),
            ("late_grace: 1m\n", 100),
            ("late_grace: 40ms\n", 40),
            ("late_grace: 0s\n", 0),
        ] {
            let lingers = orders_of(more).into_iter().map(|order| order.linger);
            assert!(lingers.eq([Duration::from_millis(expected_ms); 10]), "{more:?}");
        }
    }
}
