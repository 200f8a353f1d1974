//! The same broker byte stream for async-nats, for our codec and for a node: they see the same.

use std::time::Duration;

use emulator::connection::codec::{self, Op, Step};
use futures_util::StreamExt as _;
use proptest::prelude::*;

use super::script::{Broker, Peer, deadline};
use super::{group, start, until};

/// What a broker may say on an open connection.
#[derive(Debug, Clone)]
enum Said {
    Ping,
    Ok,
    Info,
    Error(&'static str),
    Message { reply: bool, headers: Option<Vec<(String, String)>>, payload: Vec<u8> },
}

/// A payload, as it was seen.
type Seen = Vec<Vec<u8>>;

const END: &[u8] = b"the end";

fn said() -> impl Strategy<Value = Said> {
    let payload = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..60),
        // What looks like protocol is none inside a payload.
        Just(b"PING\r\nMSG a 1 3\r\nabc\r\n-ERR 'x'\r\n".to_vec()),
        (0_usize..20_000).prop_map(|size| vec![b'\r'; size]),
    ];
    let header = ("[A-Za-z]{1,8}", "[a-z0-9 ]{0,8}[a-z]");
    let headers = proptest::option::of(proptest::collection::vec(header, 1..4));
    let message = (any::<bool>(), headers, payload)
        .prop_map(|(reply, headers, payload)| Said::Message { reply, headers, payload });
    prop_oneof![
        1 => Just(Said::Ping),
        1 => Just(Said::Ok),
        1 => Just(Said::Info),
        1 => Just(Said::Error("Permissions Violation for Publish to \"a.b\"")),
        6 => message,
    ]
}

fn write(said: &Said, out: &mut Vec<u8>) {
    let (reply, headers, payload) = match said {
        Said::Ping => return out.extend_from_slice(b"PING\r\n"),
        Said::Ok => return out.extend_from_slice(b"+OK\r\n"),
        Said::Info => return out.extend_from_slice(super::script::INFO.as_bytes()),
        Said::Error(text) => return out.extend_from_slice(format!("-ERR '{text}'\r\n").as_bytes()),
        Said::Message { reply, headers, payload } => (*reply, headers, payload),
    };
    let reply = if reply { " re.ply" } else { "" };
    if let Some(headers) = headers {
        let mut block = "NATS/1.0\r\n".to_owned();
        for (name, value) in headers {
            block.push_str(&format!("{name}: {value}\r\n"));
        }
        block.push_str("\r\n");
        let (size, total) = (block.len(), block.len() + payload.len());
        out.extend_from_slice(format!("HMSG a.b 1{reply} {size} {total}\r\n{block}").as_bytes());
    } else {
        out.extend_from_slice(format!("MSG a.b 1{reply} {}\r\n", payload.len()).as_bytes());
    }
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// What our codec sees, given what there is piece by piece.
fn seen_by_codec(stream: &[u8], cuts: &[usize]) -> Seen {
    let (mut seen, mut at) = (Seen::new(), 0);
    for &end in cuts.iter().chain([&stream.len()]) {
        while let Step::Op(op, used) = codec::next(&stream[at..end]).unwrap() {
            if let Op::Message { subject, sid, payload } = op {
                assert_eq!((subject, sid), (b"a.b".as_slice(), 1));
                seen.push(payload.to_vec());
            }
            at += used;
        }
    }
    assert_eq!(at, stream.len());
    seen
}

async fn send_cut(peer: &mut Peer, stream: &[u8], cuts: &[usize]) {
    let mut at = 0;
    for &end in cuts.iter().chain([&stream.len()]) {
        peer.send(&stream[at..end]).await;
        tokio::time::sleep(Duration::from_micros(100)).await;
        at = end;
    }
}

async fn seen_by_async_nats(stream: &[u8], cuts: &[usize]) -> Seen {
    let broker = Broker::new().await;
    let url = broker.server().url;
    let broker = async {
        let mut peer = broker.accept().await;
        peer.hello().await;
        peer.send("PONG\r\n").await;
        while !peer.line().await.starts_with("SUB a.b") {}
        send_cut(&mut peer, stream, cuts).await;
        peer
    };
    let client = async {
        let client = async_nats::connect(url).await.unwrap();
        let mut messages = client.subscribe("a.b").await.unwrap();
        let mut seen = Seen::new();
        while seen.last().is_none_or(|last| last != END) {
            seen.push(messages.next().await.expect("the connection stays").payload.to_vec());
        }
        seen
    };
    let both = deadline(futures_util::future::join(broker, client)).await;
    both.expect("all messages come").1
}

/// How many messages and how many `PONG`s a node makes of it.
async fn counted_by_node(stream: &[u8], cuts: &[usize]) -> (u64, usize) {
    let broker = Broker::new().await;
    let fleet = start(vec![group(1, &[&broker])]);
    let mut peer = broker.accept_ready().await;
    send_cut(&mut peer, stream, cuts).await;
    // Behind everything: one more, which is answered after all others were.
    peer.send("-ERR 'Permissions Violation'\r\nPING\r\n").await;
    let all = |counts: &emulator::fleet::counts::FleetCounts| {
        counts.bytes_in > stream.len() as u64 && counts.connected == 1
    };
    until(&fleet, "read", all).await;
    peer.send(super::msg(&super::generate(1, 10))).await;
    let mut pongs = 0;
    while peer.line().await == "PONG" {
        pongs += 1;
    }
    let counts = fleet.counts();
    assert_eq!((counts.protocol_errors, counts.disconnects), (0, 0));
    assert_eq!(counts.refused, counts.messages_in - 1);
    (counts.messages_in - 1, pongs - 1)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_broker_is_understood_as_async_nats_understands_it(
        all in proptest::collection::vec(said(), 0..20),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
    ) {
        let mut stream = Vec::new();
        let end = Said::Message { reply: false, headers: None, payload: END.to_vec() };
        all.iter().chain([&end]).for_each(|said| write(said, &mut stream));
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        cuts.sort_unstable();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (theirs, (messages, pongs)) = runtime.block_on(async {
            (seen_by_async_nats(&stream, &cuts).await, counted_by_node(&stream, &cuts).await)
        });
        prop_assert_eq!(&seen_by_codec(&stream, &cuts), &theirs);
        prop_assert_eq!(messages, theirs.len() as u64);
        prop_assert_eq!(pongs, all.iter().filter(|said| matches!(said, Said::Ping)).count());
    }
}
