//! What strangers can cost in memory: whatever a message holds, a small multiple of its size and what the
//! program itself sets as a bound. A binary of its own, because it counts every allocation.
#![expect(clippy::unwrap_used, reason = "a test ends by panicking, its helpers too")]

use allocation_counter::measure;
use emulator::connection::codec;
use emulator::machines::Machines;
use emulator::node::{self, AnswerKind, Counters, Desk, Group, NodeView, Profile};
use emulator::protocol::client::{self, ReplyScratch, RequestDraft, encode_request};
use emulator::protocol::filter::{FactFilter, Filter};
use emulator::spec::Behaviour;

const NOW: i64 = 1_795_413_316;
/// Bytes of a hostile part, about.
const SIZE: usize = 100_000;
/// Most bytes in use at once for each byte of a message.
const MULTIPLE: u64 = 7;
/// And for each byte of the reply, which holds the answer in three layers.
const REPLY_MULTIPLE: u64 = 3;
/// What any message costs.
const ANYWAY: u64 = 64 << 10;
/// Compiled expressions of a filter, as many as it is allowed.
const COMPILED: u64 = 512 << 10;
/// Those, and what the longest takes while it is being compiled.
const EXPRESSIONS: u64 = 3 << 20;

fn group() -> Group {
    let profile = Profile {
        name: "web".to_owned(),
        identity: "web{index}.example.net".to_owned(),
        collectives: vec!["mcollective".to_owned()],
        agents: ["discovery", "rpcutil", "choria_util", "emulated0", "scout"]
            .map(str::to_owned)
            .into(),
        facts: serde_json::json!({"role": "web"}).as_object().unwrap().clone(),
        ..Profile::default()
    };
    Group::with_profile(profile, Behaviour::default()).unwrap()
}

fn request(id: u32, agent: &str, body: String, filter: Filter) -> Vec<u8> {
    let draft = RequestDraft {
        caller_id: "choria=ops".to_owned(),
        sender_id: "ops".to_owned(),
        collective: "mcollective".to_owned(),
        agent: agent.to_owned(),
        ttl_s: 60,
        filter,
        body,
    };
    encode_request(&draft, &format!("{id:032}"), "re.ply", "nats://x", NOW)
}

/// Opens, judges and answers a message as a node does; the size of the reply.
fn handle(desk: &mut Desk, group: &Group, payload: &[u8]) -> usize {
    let opened = desk.open(payload);
    let mut node = NodeView {
        group,
        index: 1,
        identity: "web1.example.net",
        broker: "nats://127.0.0.1:4222",
        counters: &mut Counters::default(),
        started_unix: NOW,
        machines: &mut Machines::default(),
    };
    let mut out = Vec::new();
    if node::judge(&mut node, &opened, NOW).is_ok() {
        let _ = node::compose(&mut node, &opened, AnswerKind::Normal, NOW, &mut out);
    }
    out.len()
}

fn times(text: &str) -> String {
    text.repeat(SIZE / text.len())
}

fn list(item: &str) -> Vec<String> {
    vec![item.to_owned(); SIZE / (item.len() + 3)]
}

/// Messages and bodies that hold as much as they can.
fn hostile_bodies() -> Vec<(&'static str, Vec<u8>)> {
    let plain = |agent: &str, body: String| request(1, agent, body, Filter::default());
    let rpc = |data: &str| {
        plain("rpcutil", format!(r#"{{"agent":"rpcutil","action":"get_facts","data":{data}}}"#))
    };
    let checks = |names: &str| {
        let data = format!("{{\"checks\":[{names}\"\"]}}");
        plain("scout", format!(r#"{{"agent":"scout","action":"trigger","data":{data}}}"#))
    };
    let transport = |data: &str| {
        format!(r#"{{"protocol":"choria:transport:1","data":"{data}","headers":{{}}}}"#)
    };
    vec![
        ("nothing but white space", vec![b' '; SIZE]),
        ("brackets", times("[").into_bytes()),
        ("members", format!("{{{}\"a\":1}}", times("\"a\":1,")).into_bytes()),
        ("no text", vec![0xff; SIZE]),
        ("base64 of nothing", transport(&times("AAAA")).into_bytes()),
        ("base64 full of line ends", transport(&times("AA\\r\\nAA")).into_bytes()),
        ("escapes", transport(&times("\\u0041")).into_bytes()),
        ("a deep body", rpc(&format!("{}{}", times("["), times("]")))),
        ("a body of empty lists", rpc(&format!("[{}[]]", times("[],")))),
        ("a body of empty maps", rpc(&format!("{{\"facts\":[{}{{}}]}}", times("{},")))),
        ("a body of members", rpc(&format!("{{{}\"a\":1}}", times("\"a\":1,")))),
        (
            "a body of different members",
            rpc(&format!(
                "{{{}\"a\":1}}",
                (0..SIZE / 10).map(|n| format!("\"{n}\":1,")).collect::<String>()
            )),
        ),
        ("a body of commas", rpc(&format!("{{\"facts\":\"{}\"}}", times(",")))),
        (
            "a body of different facts",
            rpc(&format!(
                "{{\"facts\":\"{}\"}}",
                (0..SIZE / 4).map(|n| format!("{n:x},")).collect::<String>()
            )),
        ),
        ("checks without a name", checks(&times("\"\","))),
        (
            "checks with names",
            checks(&(0..SIZE / 8).map(|n| format!("\"{n}\",")).collect::<String>()),
        ),
        ("a body that is no text", plain("rpcutil", times("\u{fffd}"))),
        ("a body of backslashes", plain("rpcutil", times("\\"))),
    ]
}

/// Requests whose filters hold as much as they can.
fn hostile_filters() -> Vec<(&'static str, Vec<u8>)> {
    let filtered = |filter| request(1, "discovery", "ping".to_owned(), filter);
    let fact =
        |value: &str| FactFilter { fact: "a".into(), operator: "==".into(), value: value.into() };
    vec![
        ("many identities", filtered(Filter { identity: list("a"), ..Filter::default() })),
        ("many empty identities", filtered(Filter { identity: list(""), ..Filter::default() })),
        ("many classes", filtered(Filter { cf_class: list(""), ..Filter::default() })),
        ("many agents", filtered(Filter { agent: list("discovery"), ..Filter::default() })),
        ("many facts", filtered(Filter { fact: vec![fact("b"); SIZE / 40], ..Filter::default() })),
        ("many patterns", filtered(Filter { identity: list("/(a*)*b/"), ..Filter::default() })),
        (
            "patterns that explode",
            filtered(Filter {
                identity: list("/((a{0,1000}){0,1000}){0,1000}/"),
                ..Filter::default()
            }),
        ),
        (
            "patterns of classes",
            filtered(Filter { cf_class: list(r"/\pL{1000}/"), ..Filter::default() }),
        ),
        (
            "one long pattern",
            filtered(Filter {
                identity: vec![format!("/{}/", times("(a|b)*"))],
                ..Filter::default()
            }),
        ),
        (
            "facts with patterns",
            filtered(Filter {
                fact: vec![fact("/(a|b|c)*[a-z]{1000}/"); SIZE / 60],
                ..Filter::default()
            }),
        ),
        (
            "a long expression",
            filtered(Filter {
                compound: vec![vec![format!("{} web", times("web and "))]],
                ..Filter::default()
            }),
        ),
        (
            "a deep expression",
            filtered(Filter { compound: vec![vec![times("(")]], ..Filter::default() }),
        ),
        (
            "a negated expression",
            filtered(Filter {
                compound: vec![vec![format!("{} web", times("not "))]],
                ..Filter::default()
            }),
        ),
        (
            "many expressions",
            filtered(Filter {
                compound: vec![vec!["web".to_owned()]; SIZE / 8],
                ..Filter::default()
            }),
        ),
    ]
}

#[test]
fn a_hostile_request_costs_a_small_multiple_of_its_size() {
    let group = group();
    let bodies = hostile_bodies().into_iter().map(|(what, payload)| (what, payload, ANYWAY));
    let filters = hostile_filters().into_iter();
    let filters = filters.map(|(what, payload)| (what, payload, ANYWAY + COMPILED));
    for (what, payload, anyway) in bodies.chain(filters) {
        let mut reply = 0;
        let once = || {
            let mut desk = Desk::default();
            measure(|| reply = handle(&mut desk, &group, &payload)).bytes_max
        };
        // What libraries set up for themselves on a thread is not the request's: the least of two.
        let used = std::iter::repeat_with(once).take(2).min().unwrap_or_default();
        let most = MULTIPLE * payload.len() as u64 + REPLY_MULTIPLE * reply as u64 + anyway;
        assert!(used <= most, "{what}: {used} bytes for {}", payload.len());
    }
}

#[test]
fn few_expressions_cost_no_more_than_the_program_allows_them() {
    let group = group();
    let long = |part: &str| format!("/{}/", part.repeat((8 << 10) / part.len()));
    let few = [r"/\pL{100}[a-z]*x/", "/(a?){1000}b/", "/((a{0,9}){0,9}){0,9}/", "/[^a]{900}/"];
    let longest = ["(a|b)*", r"\pL", "[^a]?", "((a))"].map(long);
    for expression in few.map(str::to_owned).into_iter().chain(longest) {
        let filter = Filter { identity: vec![expression.clone(); 40], ..Filter::default() };
        let payload = request(1, "discovery", "ping".to_owned(), filter);
        let used = measure(|| {
            handle(&mut Desk::default(), &group, &payload);
        });
        assert!(used.bytes_max <= EXPRESSIONS, "{}: {}", &expression[..9], used.bytes_max);
    }
}

#[test]
fn a_hostile_reply_costs_a_small_multiple_of_its_size() {
    for (what, payload) in hostile_bodies().into_iter().chain(hostile_filters()) {
        let used = measure(|| {
            let mut scratch = ReplyScratch::default();
            let _ = client::decode_reply(&payload, &mut scratch).is_ok();
            let _ = client::decode_discovery_sender(&payload, &mut scratch).is_ok();
        });
        let most = 4 * payload.len() as u64 + (64 << 10);
        assert!(used.bytes_max <= most, "{what}: {} bytes for {}", used.bytes_max, payload.len());
    }
}

#[test]
fn ten_thousand_different_requests_leave_the_latest_sixteen_behind() {
    let group = group();
    let body = r#"{"agent":"emulated0","action":"generate","data":{"size":100}}"#;
    let payloads: Vec<_> = (0..10_000)
        .map(|id| request(id, "emulated0", body.to_owned(), Filter::default()))
        .collect();
    let mut desk = Desk::default();
    let sixteen = measure(|| {
        assert!(payloads[..16].iter().all(|payload| handle(&mut desk, &group, payload) > 0));
    });
    let all = measure(|| {
        assert!(payloads[16..].iter().all(|payload| handle(&mut desk, &group, payload) > 0));
    });
    // What is kept of one replaces what was kept of another: a little more or less, not 600 times as much.
    assert!(sixteen.bytes_current > 0);
    assert!(all.bytes_current.abs() < sixteen.bytes_current / 2, "{all:?} {sixteen:?}");
    assert!(all.bytes_max < 2 * sixteen.bytes_max, "{all:?} {sixteen:?}");
}

#[test]
fn a_size_that_a_broker_announces_costs_nothing_before_it_comes() {
    let announced = format!("MSG a 1 {}\r\nx", codec::MAX_PAYLOAD);
    let used = measure(|| {
        let step = codec::next(announced.as_bytes());
        assert!(matches!(step, Ok(codec::Step::Incomplete(need)) if need > codec::MAX_PAYLOAD));
    });
    assert_eq!(used.bytes_max, 0);
}
