//! Real fleets against scripted brokers on real loopback sockets: every byte that a broker may send or
//! withhold, and every byte that a node writes.

mod bad_input;
mod buffer;
mod clock;
mod errors;
mod fates;
mod handshake;
mod lifecycle;
mod messages;
mod pacing;
mod pressure;
mod queue;
mod reconnect;
mod reference;
mod script;
mod shares;
mod stopping;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use emulator::agents::ddl::{Ddl, DdlAgent};
use emulator::fleet::Fleet;
use emulator::fleet::counts::FleetCounts;
use emulator::homes::Homes;
use emulator::protocol::client::{RequestDraft, encode_request, rpc_body};
use emulator::protocol::filter::Filter;
use emulator::spec::{
    Behaviour, Clock, Connect, Delay, Fidelity, FleetSpec, GroupSpec, Lifecycle, Login, MoreAgents,
    Queue, Server, Share,
};
use script::{Broker, deadline};

/// Time for an answer, for waits and for a handshake in tests that are not about it.
const LONG: Duration = Duration::from_secs(600);

/// A group of nodes `web0.example.net` and so on, in two collectives, with one emulated agent.
fn group(nodes: u64, brokers: &[&Broker]) -> GroupSpec {
    GroupSpec {
        name: "web".to_owned(),
        first: 0,
        nodes,
        identity: "web{index}.example.net".to_owned(),
        collectives: vec!["mcollective".to_owned(), "web".to_owned()],
        emulated_agents: 1,
        more_agents: MoreAgents::default(),
        machines: Vec::new(),
        facts: serde_json::Map::new(),
        classes: Vec::new(),
        behaviour: at_once(),
        servers: brokers.iter().map(|broker| broker.server()).collect::<Vec<Server>>(),
        homes: Homes::of_all(u16::try_from(brokers.len()).unwrap()),
        source_addresses: Vec::new(),
        connect: Connect { rate_per_s: None, in_flight: 100, timeout: LONG },
        login: Login::default(),
        fidelity: Fidelity::default(),
        shown: None,
        lifecycle: Lifecycle::SILENT,
    }
}

/// A group whose agent `patient` takes LONG for an answer, and may.
fn patient(nodes: u64, brokers: &[&Broker]) -> GroupSpec {
    let ddl = r#"{"metadata": {"name": "patient", "license": "MIT", "author": "A <a@example.net>",
        "timeout": 3600, "version": "1.0.0", "url": "https://example.net", "description": "Waits"},
        "actions": [{"action": "wait"}]}"#;
    let agent = DdlAgent { ddl: Ddl::parse(ddl).unwrap(), replies: BTreeMap::new() };
    GroupSpec {
        emulated_agents: 0,
        more_agents: MoreAgents { ddl: vec![agent], ..MoreAgents::default() },
        behaviour: Behaviour { reply_delay: Delay::Fixed(LONG), ..at_once() },
        ..group(nodes, brokers)
    }
}

/// A request to the agent of [`patient`].
fn wait(id: u32) -> Vec<u8> {
    request(id, "patient", &rpc_body("patient", "wait", &serde_json::json!({})))
}

/// Nodes that lose no request, however fast they come: what the request queue does has tests of its own.
fn at_once() -> Behaviour {
    Behaviour { queue: Queue::AT_ONCE, ..Behaviour::default() }
}

/// How many subscriptions each node of [`group`] makes.
const SUBSCRIPTIONS: u64 = 10;

fn spec(groups: Vec<GroupSpec>) -> FleetSpec {
    FleetSpec { seed: 7, groups, share: Share::WHOLE, shards: 1, clock: Clock::System }
}

fn start(groups: Vec<GroupSpec>) -> Fleet {
    Fleet::start(spec(groups)).unwrap()
}

/// Waits until the fleet's counters are as they should become.
async fn until(fleet: &Fleet, what: &str, reached: impl Fn(&FleetCounts) -> bool) -> FleetCounts {
    let waited = deadline(async {
        loop {
            let counts = fleet.counts();
            if reached(&counts) {
                return counts;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    waited.await.unwrap_or_else(|| panic!("never came: {what}; {:?}", fleet.counts()))
}

/// A request for `{size}` bytes of emulated0, valid now. The id has 32 characters, as it must.
fn generate(id: u32, size: u64) -> Vec<u8> {
    generate_for(id, size, "mcollective.reply.x.y", Filter::default())
}

fn generate_for(id: u32, size: u64, reply_to: &str, filter: Filter) -> Vec<u8> {
    let body = rpc_body("emulated0", "generate", &serde_json::json!({ "size": size }));
    encode(id, "emulated0", &body, reply_to, filter)
}

/// A request to an agent, valid now.
fn request(id: u32, agent: &str, body: &str) -> Vec<u8> {
    encode(id, agent, body, "mcollective.reply.x.y", Filter::default())
}

fn encode(id: u32, agent: &str, body: &str, reply_to: &str, filter: Filter) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let draft = RequestDraft {
        caller_id: "choria=ops1.example.net".to_owned(),
        sender_id: "ops1.example.net".to_owned(),
        collective: "mcollective".to_owned(),
        agent: agent.to_owned(),
        ttl_s: 3600,
        filter,
        body: body.to_owned(),
    };
    let url = "nats://127.0.0.1:4222";
    encode_request(&draft, &request_id(id), reply_to, url, i64::try_from(now).unwrap())
}

fn request_id(id: u32) -> String {
    format!("{id:032}")
}

/// A payload as a broker delivers it.
fn msg(payload: &[u8]) -> Vec<u8> {
    let subject = "mcollective.broadcast.agent.emulated0";
    [format!("MSG {subject} 7 {}\r\n", payload.len()).as_bytes(), payload, b"\r\n"].concat()
}
