//! The catalogue of metrics. One table serves parsing, evaluation, documentation and `init`.

use std::time::Duration;

use super::{Metric, Source, Unit};
use crate::broker::BrokerFigure;
use crate::latency::Latency;
use crate::missing::Cause;
use crate::place::PlaceCounts;
use crate::recovery::{Consequences, Recovery};
use crate::run::{EventTotals, Tally};
use crate::wave::WaveFigures;
use crate::waves::Distributions;

const SPREAD: &[&str] = &["avg", "min", "max", "med", "p(N)"];
const SPREAD_RATE: &[&str] = &["avg", "min", "max", "med", "p(N)", "rate"];
const VALUES: &[&str] = &["avg", "min", "max", "med", "p(N)", "count"];
const COUNTS: &[&str] = &["avg", "min", "max", "med", "p(N)", "count", "rate"];
const BROKER_LEVEL: &[&str] = &["avg", "min", "max", "value"];
const BROKER_COUNT: &[&str] = &["avg", "min", "max", "count", "value"];
const REPLIES: &[&str] = &["wave", "client"];
const WAVE: &[&str] = &["wave", "client", "before", "during", "after"];
const WAVE_GROUP: &[&str] = &["wave", "client", "group", "before", "during", "after"];
const STEP: &[&str] = &["step", "broker"];
const REPLIES_PLACE: &[&str] = &["wave", "client", "broker", "cluster", "hops"];
const WAVE_PLACE: &[&str] =
    &["wave", "client", "broker", "cluster", "hops", "before", "during", "after"];
const BROKER: &[&str] = &["broker"];

const fn wave_latency(
    name: &'static str,
    values: fn(&Distributions) -> &Latency,
    about: &'static str,
) -> Metric {
    let source = Source::WaveLatency(values);
    Metric { name, unit: Unit::Us, aggregations: VALUES, tags: REPLIES, about, source }
}

const fn wave_count(
    name: &'static str,
    value: fn(&WaveFigures) -> u64,
    about: &'static str,
) -> Metric {
    let source = Source::WaveCount(value);
    Metric { name, unit: Unit::Count, aggregations: COUNTS, tags: WAVE, about, source }
}

const fn answers(
    name: &'static str,
    value: fn(&PlaceCounts) -> u64,
    about: &'static str,
) -> Metric {
    let source = Source::Answers(value);
    Metric { name, unit: Unit::Count, aggregations: COUNTS, tags: WAVE_PLACE, about, source }
}

const fn missing(name: &'static str, cause: Cause, about: &'static str) -> Metric {
    let source = Source::Missing(cause);
    Metric { name, unit: Unit::Count, aggregations: COUNTS, tags: WAVE_GROUP, about, source }
}

const fn broker(
    name: &'static str,
    unit: Unit,
    aggregations: &'static [&'static str],
    figure: BrokerFigure,
    about: &'static str,
) -> Metric {
    Metric { name, unit, aggregations, tags: BROKER, about, source: Source::Broker(figure) }
}

const fn recovery(
    name: &'static str,
    unit: Unit,
    value: fn(&Recovery, &Consequences) -> Option<f64>,
    about: &'static str,
) -> Metric {
    let aggregations = match unit {
        Unit::Count => VALUES,
        _ => SPREAD,
    };
    Metric { name, unit, aggregations, tags: STEP, about, source: Source::Recovery(value) }
}

fn micros(time: Option<Duration>) -> Option<f64> {
    time.map(|time| time.as_secs_f64() * 1e6)
}

const fn single(
    name: &'static str,
    unit: Unit,
    value: fn(&Tally) -> Option<f64>,
    about: &'static str,
) -> Metric {
    Metric { name, unit, aggregations: &["value"], tags: &[], about, source: Source::Single(value) }
}

const fn counter(name: &'static str, counter: &'static str, about: &'static str) -> Metric {
    let aggregations = &["value", "rate"];
    let source = Source::Counter(counter);
    Metric { name, unit: Unit::Count, aggregations, tags: &[], about, source }
}

const fn events(name: &'static str, value: fn(&EventTotals) -> u64, about: &'static str) -> Metric {
    let (aggregations, tags) = (&["count", "rate"], &["kind"]);
    Metric { name, unit: Unit::Count, aggregations, tags, about, source: Source::Events(value) }
}

const fn run_latency(
    name: &'static str,
    values: fn(&Tally) -> &Latency,
    about: &'static str,
) -> Metric {
    let source = Source::RunLatency(values);
    Metric { name, unit: Unit::Us, aggregations: VALUES, tags: &[], about, source }
}

/// Every metric that a threshold may name.
pub static CATALOGUE: &[Metric] = &[
    Metric {
        name: "completeness",
        unit: Unit::Ratio,
        aggregations: SPREAD_RATE,
        tags: WAVE_PLACE,
        about: "replies on time over nodes expected, one value a wave",
        source: Source::Completeness,
    },
    Metric {
        name: "response_time",
        unit: Unit::Us,
        aggregations: VALUES,
        tags: REPLIES_PLACE,
        about: "intended instant of the wave to reply",
        source: Source::ResponseTime,
    },
    wave_latency("service_time", |w| &w.service_time, "sending to reply"),
    wave_latency("send_delay", |w| &w.send_delay, "intended instant of the wave to sending"),
    Metric {
        name: "to_complete",
        unit: Unit::Us,
        aggregations: SPREAD,
        tags: WAVE,
        about: "intended instant until the last expected node had answered, one value a wave",
        source: Source::ToComplete,
    },
    answers("on_time", |a| a.on_time, "nodes that answered within the deadline"),
    answers("late", |a| a.late, "nodes that answered after the deadline"),
    answers("missing", PlaceCounts::missing, "nodes that never answered"),
    wave_count("duplicate", |w| w.duplicate, "further replies of nodes that had answered"),
    wave_count("unexpected", |w| w.unexpected, "replies of senders that were not expected"),
    wave_count("errors", |w| w.errors, "replies on time that report an error"),
    wave_count("undecodable", |w| w.undecodable, "messages that were no valid reply"),
    missing("missing.never_connected", Cause::NeverConnected, "nodes that never connected"),
    missing("missing.disconnected", Cause::Disconnected, "nodes that lost their connection"),
    missing("missing.not_delivered", Cause::NotDelivered, "nodes that no request reached"),
    missing("missing.no_reply", Cause::NoReply, "nodes that received and did not answer"),
    missing("missing.reply_lost", Cause::ReplyLost, "nodes whose reply got lost"),
    missing("missing.late", Cause::Late, "nodes whose reply came after the deadline"),
    missing("missing.worker_lost", Cause::WorkerLost, "nodes whose worker was lost"),
    missing("missing.unknown", Cause::Unknown, "nodes of a foreign fleet that kept silent"),
    run_latency("connect_time", |t| &t.fleet.connect.total, "dial to subscribed, first connection"),
    Metric {
        name: "fleet.connected",
        unit: Unit::Count,
        aggregations: &["value", "rate"],
        tags: &["group"],
        about: "nodes connected when the waves began; rate: of the nodes planned",
        source: Source::Connected,
    },
    Metric {
        name: "fleet.disconnects",
        unit: Unit::Count,
        aggregations: &["count", "rate"],
        tags: &[],
        about: "connections lost after they had been complete; rate: per second",
        source: Source::Disconnects,
    },
    counter(
        "fleet.left",
        "left",
        "times that a node left as its group's churn says, not among the lost connections; rate: of \
         the nodes planned",
    ),
    counter(
        "fleet.returned",
        "returned",
        "times that a node that had left was complete again; rate: of the nodes planned",
    ),
    events(
        "events.received",
        |e| e.received,
        "events and registrations that a listener received; rate: of those published",
    ),
    events(
        "events.lost",
        EventTotals::lost,
        "events and registrations published and not received; rate: of those published",
    ),
    broker(
        "broker.slow_consumers",
        Unit::Count,
        BROKER_COUNT,
        BrokerFigure::SlowConsumers,
        "connections that a broker cut off because they read too slowly",
    ),
    broker(
        "broker.slow_clients",
        Unit::Count,
        BROKER_COUNT,
        BrokerFigure::SlowClients,
        "those of them that were clients (nats-server 2.10 and later)",
    ),
    broker(
        "broker.slow_routes",
        Unit::Count,
        BROKER_COUNT,
        BrokerFigure::SlowRoutes,
        "those of them that were routes (nats-server 2.10 and later)",
    ),
    broker(
        "broker.slow_gateways",
        Unit::Count,
        BROKER_COUNT,
        BrokerFigure::SlowGateways,
        "those of them that were gateways (nats-server 2.10 and later)",
    ),
    broker(
        "broker.slow_leafs",
        Unit::Count,
        BROKER_COUNT,
        BrokerFigure::SlowLeafs,
        "those of them that were leaf connections (nats-server 2.10 and later)",
    ),
    broker(
        "broker.stalls",
        Unit::Count,
        BROKER_COUNT,
        BrokerFigure::Stalls,
        "times that a broker held up a fast producer (nats-server 2.12 and later)",
    ),
    broker(
        "broker.stale_connections",
        Unit::Count,
        BROKER_COUNT,
        BrokerFigure::StaleConnections,
        "connections that answered no PING (nats-server 2.12 and later)",
    ),
    broker(
        "broker.rss_bytes",
        Unit::Bytes,
        BROKER_LEVEL,
        BrokerFigure::RssBytes,
        "largest resident memory of a broker",
    ),
    broker(
        "broker.cpu_s",
        Unit::S,
        BROKER_LEVEL,
        BrokerFigure::CpuUs,
        "CPU time of a managed broker over the run",
    ),
    broker(
        "broker.connections",
        Unit::Count,
        BROKER_COUNT,
        BrokerFigure::Connections,
        "most connections of a broker",
    ),
    broker(
        "broker.subscriptions",
        Unit::Count,
        BROKER_COUNT,
        BrokerFigure::Subscriptions,
        "most subscriptions of a broker",
    ),
    broker(
        "broker.msgs_in",
        Unit::Count,
        BROKER_COUNT,
        BrokerFigure::MsgsIn,
        "messages that came into a broker, from clients and other brokers",
    ),
    broker(
        "broker.msgs_out",
        Unit::Count,
        BROKER_COUNT,
        BrokerFigure::MsgsOut,
        "messages that went out of a broker",
    ),
    broker(
        "broker.bytes_in",
        Unit::Bytes,
        BROKER_LEVEL,
        BrokerFigure::BytesIn,
        "bytes that came into a broker",
    ),
    broker(
        "broker.bytes_out",
        Unit::Bytes,
        BROKER_LEVEL,
        BrokerFigure::BytesOut,
        "bytes that went out of a broker",
    ),
    broker(
        "broker.links",
        Unit::Count,
        BROKER_COUNT,
        BrokerFigure::Links,
        "most connections of a broker to other brokers",
    ),
    broker(
        "broker.link_pending_bytes",
        Unit::Bytes,
        BROKER_LEVEL,
        BrokerFigure::LinkPendingBytes,
        "most bytes that waited for another broker",
    ),
    broker(
        "broker.link_rtt_us",
        Unit::Us,
        BROKER_LEVEL,
        BrokerFigure::LinkRttUs,
        "slowest round trip to another broker",
    ),
    broker(
        "broker.goroutines",
        Unit::Count,
        BROKER_COUNT,
        BrokerFigure::Goroutines,
        "most goroutines of a broker, where profiling is on",
    ),
    broker(
        "broker.heap_inuse_bytes",
        Unit::Bytes,
        BROKER_LEVEL,
        BrokerFigure::HeapInuseBytes,
        "most heap in use by a broker, where profiling is on",
    ),
    broker(
        "broker.stack_inuse_bytes",
        Unit::Bytes,
        BROKER_LEVEL,
        BrokerFigure::StackInuseBytes,
        "most stacks in use by a broker, where profiling is on",
    ),
    recovery(
        "recovery.time_to_half",
        Unit::Us,
        |r, _| micros(r.time_to(50)),
        "action on brokers until half of the lost nodes were back",
    ),
    recovery(
        "recovery.time_to_99",
        Unit::Us,
        |r, _| micros(r.time_to(99)),
        "action on brokers until 99 % of the lost nodes were back",
    ),
    recovery(
        "recovery.time_to_full",
        Unit::Us,
        |r, _| micros(r.time_to(100)),
        "action on brokers until all lost nodes were back",
    ),
    recovery(
        "recovery.ready_to_full",
        Unit::Us,
        |r, _| micros(r.time_from_ready(100)),
        "brokers ready again until all lost nodes were back",
    ),
    recovery(
        "recovery.time_to_ready",
        Unit::Us,
        |r, _| micros(r.ready),
        "action on brokers until they were ready again",
    ),
    recovery(
        "recovery.first_complete",
        Unit::Us,
        |_, waves| micros(waves.first_complete),
        "action on brokers until a wave was complete",
    ),
    recovery(
        "recovery.first_discovery",
        Unit::Us,
        |_, waves| micros(waves.first_discovery),
        "action on brokers until a discovery was complete",
    ),
    Metric {
        name: "recovery.nodes_lost",
        unit: Unit::Count,
        aggregations: COUNTS,
        tags: STEP,
        about: "complete connections of nodes lost after an action on brokers; rate: of the nodes connected \
                when the waves began",
        source: Source::NodesLost,
    },
    recovery(
        "recovery.requests_lost",
        Unit::Count,
        |r, waves| r.began.map(|_| waves.requests_lost as f64),
        "answers not on time in waves under way until the network was whole",
    ),
    recovery(
        "recovery.connect_rate",
        Unit::PerSecond,
        |r, _| r.began.map(|_| r.back.most_in_a_second() as f64),
        "connections of nodes completed in the busiest second after an action",
    ),
    recovery(
        "recovery.balance",
        Unit::Ratio,
        |r, _| r.balance(),
        "connections of the emptiest broker over those of the fullest, after an action",
    ),
    single(
        "forming.time",
        Unit::Us,
        |t| Some(t.forming.as_ref()?.formed.as_secs_f64() * 1e6),
        "start of the brokers until messages passed every connection between them",
    ),
    single(
        "forming.interest_time",
        Unit::Us,
        |t| Some(t.forming.as_ref()?.interest?.as_secs_f64() * 1e6),
        "connected fleet until its interest had reached the brokers of the clients",
    ),
    single(
        "emulator.rss_bytes_per_node",
        Unit::Bytes,
        |t| t.cost.emulator.rss_bytes_per_node(),
        "resident memory of the emulator over its nodes, idle",
    ),
    single(
        "emulator.cpu_us_per_answer",
        Unit::Us,
        |t| t.cost.emulator.cpu_us_per_answer(),
        "CPU time of the nodes over their replies, while waves ran",
    ),
    single(
        "driver.cpu_us_per_reply",
        Unit::Us,
        |t| t.cost.driver.cpu_us_per_reply(),
        "CPU time of the client over the replies it received",
    ),
    run_latency("scheduler_lag", |t| &t.scheduler_lag, "how late the tool's own timers fired"),
];
