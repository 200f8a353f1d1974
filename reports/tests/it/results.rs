//! Results of all kinds for property tests.

use std::sync::Arc;
use std::time::Duration;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use reports::broker::{
    BrokerCost, BrokerFigure, BrokerFigures, Build, Builds, ConnectionLook, Link, PendingConnection,
};
use reports::forming::Forming;
use reports::latency::Latency;
use reports::missing::{Cause, Missing, MissingCount, MissingNode};
use reports::place::{Place, PlaceCounts, PlaceResult, Places};
use reports::recovery::{Instants, Recoveries, Recovery, RecoveryKey};
use reports::run::{
    ConnectTimes, Cost, DriverCost, EmulatorCost, EventTotals, FleetTotals, GroupTotals, Tally,
};
use reports::verdict::{Doubt, Severity};
use reports::wave::{WaveKey, WaveKind, WaveMode, WaveResult};
use reports::waves::Waves;
use reports::worker::WorkerResult;

/// Small counts: sums of a few never overflow, and equal ones are frequent.
fn n() -> impl Strategy<Value = u64> {
    0_u64..1_000
}

pub(super) fn time() -> impl Strategy<Value = Duration> {
    // Now and then beyond ten minutes: those saturate.
    prop_oneof![9 => 0_u64..3_000_000, 1 => 0_u64..700_000_000].prop_map(Duration::from_micros)
}

pub(super) fn latency() -> impl Strategy<Value = Latency> {
    vec(time(), 0..6).prop_map(|times| latency_of(&times))
}

pub(super) fn latency_of(times: &[Duration]) -> Latency {
    let mut latency = Latency::default();
    times.iter().for_each(|time| latency.record(*time));
    latency
}

fn key() -> impl Strategy<Value = WaveKey> {
    ("[ab]", 1_u32..3, any::<bool>(), 1_u32..3).prop_map(|(name, number, warmup, client)| WaveKey {
        name,
        number,
        warmup,
        client,
    })
}

fn places() -> impl Strategy<Value = Places> {
    vec(("[ab]", 0_u32..2, vec(n(), 3), latency()), 0..3).prop_map(|places| {
        let place = |(broker, hops, counts, response_time): (_, _, Vec<u64>, _)| {
            let place = Place { broker, cluster: None, hops: Some(hops) };
            let counts = PlaceCounts { expected: counts[0], on_time: counts[1], late: counts[2] };
            (Arc::new(place), PlaceResult { counts, response_time })
        };
        places.into_iter().map(place).collect()
    })
}

pub(super) fn wave() -> impl Strategy<Value = WaveResult> {
    let kind = prop_oneof![Just(WaveKind::Discover), Just(WaveKind::Request)];
    let mode =
        prop_oneof![Just(WaveMode::Broadcast), Just(WaveMode::Direct), Just(WaveMode::Batch)];
    (kind, mode, vec(n(), 9), vec(time(), 3), vec(latency(), 3), places()).prop_map(
        |(kind, mode, counts, times, latencies, places)| WaveResult {
            kind,
            mode,
            intended_at: times[0],
            expected: counts[0],
            on_time: counts[1],
            late: counts[2],
            duplicate: counts[3],
            unexpected: counts[4],
            errors: counts[5],
            undecodable: counts[6],
            payload_bytes: counts[7],
            discovered: counts[8],
            publish_duration: times[1],
            request_duration: times[2],
            response_time: latencies[0].clone(),
            service_time: latencies[1].clone(),
            send_delay: latencies[2].clone(),
            places,
        },
    )
}

pub(super) fn waves() -> impl Strategy<Value = Waves> {
    vec((key(), wave()), 0..3).prop_map(|entries| {
        let mut waves = Waves::default();
        entries.into_iter().for_each(|(key, wave)| waves.add(key, &wave));
        waves
    })
}

pub(super) fn missing() -> impl Strategy<Value = Missing> {
    let group = proptest::option::of("[gh]");
    vec((key(), 0_u64..40, group, 0..Cause::ALL.len()), 0..20).prop_map(|nodes| {
        let mut missing = Missing::default();
        for (key, index, group, cause) in nodes {
            let mut node = MissingNode::new(&key, format!("node-{index}"), Cause::ALL[cause]);
            node.index = Some(index);
            node.broker = group.clone();
            node.group = group;
            missing.add(&node);
        }
        missing
    })
}

pub(super) fn missing_count() -> impl Strategy<Value = MissingCount> {
    vec((0..Cause::ALL.len(), 0_u64..5), 0..9).prop_map(|entries| {
        let mut count = MissingCount::default();
        entries.into_iter().for_each(|(cause, nodes)| count.add(Cause::ALL[cause], nodes));
        count
    })
}

pub(super) fn fleet() -> impl Strategy<Value = FleetTotals> {
    let counters = btree_map("[abc]", n(), 0..3);
    let groups = vec(("[gh]", vec(n(), 5)), 0..3);
    (vec(n(), 9), counters, time(), vec(latency(), 5), groups).prop_map(
        |(counts, counters, connect_duration, l, groups)| FleetTotals {
            planned: counts[0],
            connected: counts[1],
            ever_connected: counts[2],
            connect_duration,
            subscriptions: counts[3],
            workers: counts[4],
            disconnects: counts[5],
            reconnects: counts[6],
            received: counts[7],
            answered: counts[8],
            counters,
            connect: ConnectTimes {
                tcp: l[0].clone(),
                info: l[1].clone(),
                pong: l[2].clone(),
                subscribed: l[3].clone(),
                total: l[4].clone(),
            },
            groups: groups.into_iter().map(|(name, counts)| (name, group(&counts))).collect(),
        },
    )
}

fn group(counts: &[u64]) -> GroupTotals {
    GroupTotals {
        planned: counts[0],
        connected: counts[1],
        agents: counts[2],
        collectives: counts[3],
        subscriptions_per_node: counts[4],
    }
}

fn figures() -> impl Strategy<Value = BrokerFigures> {
    vec((0..BrokerFigure::ALL.len(), n()), 0..5).prop_map(|readings| {
        let mut figures = BrokerFigures::default();
        readings.iter().for_each(|(at, n)| figures.set(BrokerFigure::ALL[*at], Some(*n)));
        figures
    })
}

fn look() -> impl Strategy<Value = ConnectionLook> {
    (n(), n(), vec(("[ab]", n()), 0..3)).prop_map(|(at_ms, connections, fullest)| ConnectionLook {
        at_ms,
        connections,
        fullest: fullest
            .into_iter()
            .map(|(name, pending_bytes)| PendingConnection { pending_bytes, name })
            .collect(),
    })
}

fn builds() -> impl Strategy<Value = Builds> {
    let build = ("2\\.[0-9]", proptest::option::of("go1\\.[0-9]"));
    vec((time(), build), 0..3).prop_map(|seen| {
        let mut builds = Builds::default();
        for (at, (version, go)) in seen {
            builds.note(at, Build { version, go });
        }
        builds
    })
}

fn link() -> impl Strategy<Value = Link> {
    let known = || proptest::option::of(n());
    ("[ab]", n(), known(), known(), known()).prop_map(
        |(kind, connections, pending_bytes, rtt_us_min, rtt_us_max)| Link {
            kind,
            connections,
            pending_bytes,
            rtt_us_min,
            rtt_us_max,
        },
    )
}

fn broker() -> impl Strategy<Value = BrokerCost> {
    let closed = vec(("[ab]", n()), 0..3);
    let joined = (proptest::option::of("c[0-9]"), vec(("n[12]", link()), 0..3));
    let left_out = proptest::collection::btree_set("[ab]", 0..3);
    let times = (proptest::option::of(time()), time());
    (builds(), joined, figures(), times, closed, vec(("[ab]", look()), 0..3), left_out).prop_map(
        |(builds, (cluster, links), figures, (wave_cpu, silent), closed, looks, left_out)| {
            BrokerCost {
                builds,
                cluster,
                figures,
                links: links.into_iter().collect(),
                wave_cpu,
                silent,
                closed: closed.into_iter().collect(),
                looks: looks.into_iter().collect(),
                left_out,
            }
        },
    )
}

pub(super) fn cost() -> impl Strategy<Value = Cost> {
    (vec(n(), 4), vec(time(), 3), vec(("n[12]", broker()), 0..3)).prop_map(
        |(counts, times, brokers)| Cost {
            emulator: EmulatorCost {
                rss_bytes: counts[0],
                rss_nodes: counts[1],
                cpu: times[0],
                wave_cpu: times[1],
                wave_answers: counts[2],
            },
            driver: DriverCost { cpu: times[2], replies: counts[3] },
            brokers: brokers.into_iter().collect(),
        },
    )
}

fn doubt() -> impl Strategy<Value = Doubt> {
    ("[ab]", any::<bool>()).prop_map(|(kind, invalid)| Doubt {
        kind,
        severity: if invalid { Severity::Invalid } else { Severity::Note },
        detail: String::new(),
        advice: String::new(),
    })
}

fn instants() -> impl Strategy<Value = Instants> {
    vec((0_u64..5_000, n()), 0..5).prop_map(|rows| {
        let mut instants = Instants::default();
        rows.iter().for_each(|(ms, times)| instants.add(Duration::from_millis(*ms), *times));
        instants
    })
}

pub(super) fn recovery() -> impl Strategy<Value = Recovery> {
    let brokers = || vec(("n[12]", n()), 0..3);
    let times = vec(proptest::option::of(time()), 4);
    let counts = (vec(instants(), 3), n(), n());
    ("[ab]", brokers(), brokers(), times, counts).prop_map(
        |(action, before, after, times, (instants, away_before, client_away))| Recovery {
            action,
            brokers: before.iter().map(|(name, _)| name.clone()).collect(),
            began: times[0],
            done: times[1],
            ready: times[2],
            away_before,
            lost: instants[0].clone(),
            back: instants[1].clone(),
            dials: instants[2].clone(),
            client_back: times[3],
            client_away,
            connections_before: before.into_iter().collect(),
            connections_after: after.into_iter().collect(),
        },
    )
}

fn recoveries() -> impl Strategy<Value = Recoveries> {
    vec((1_u32..3, 1_u32..3, "[ab]", recovery()), 0..3).prop_map(|entries| {
        let mut recoveries = Recoveries::default();
        for (number, turn, step, recovery) in entries {
            recoveries.add(RecoveryKey { number, turn, step }, &recovery);
        }
        recoveries
    })
}

fn worker() -> impl Strategy<Value = WorkerResult> {
    ("[ab]", vec(n(), 5), vec(time(), 2), proptest::option::of("[ab]")).prop_map(
        |(host, counts, times, lost)| WorkerResult {
            host,
            nodes: counts[0],
            connected: counts[1],
            answered: counts[2],
            rss_bytes: counts[3],
            cpu: times[0],
            lag_max: times[1],
            slices: counts[4],
            lost,
        },
    )
}

pub(super) fn tally() -> impl Strategy<Value = Tally> {
    let events = vec(("[ab]", n(), n()), 0..3);
    let forming = (time(), proptest::option::of(time()), vec(("[ab]", n()), 0..3));
    let forming = forming.prop_map(|(formed, interest, links)| Forming {
        formed,
        interest,
        links: links.into_iter().collect(),
    });
    let forming = proptest::option::of(forming);
    let measured = (fleet(), waves(), missing(), cost(), latency());
    let workers = vec(("w[12]", worker()), 0..3);
    let known_once = (forming, workers);
    (measured, vec(doubt(), 0..3), events, recoveries(), known_once).prop_map(
        |(measured, doubts, events, recovery, (forming, workers))| {
            let (fleet, waves, missing, cost, scheduler_lag) = measured;
            Tally {
                events: events
                    .into_iter()
                    .map(|(kind, published, received)| (kind, EventTotals { published, received }))
                    .collect(),
                fleet,
                waves,
                missing,
                cost,
                scheduler_lag,
                doubts: doubts.into_iter().collect(),
                recovery,
                forming,
                workers: workers.into_iter().collect(),
            }
        },
    )
}
