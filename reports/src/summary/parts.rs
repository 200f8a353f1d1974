//! The parts of `summary.json`: fleet, waves, costs. Units end the names.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::broker::{BrokerCost, BrokerFigure, ConnectionLook};
use crate::latency::{HistogramTextError, Latency, LatencyFigures};
use crate::place::PlacesSummary;
use crate::run::{Cost, FleetTotals, GroupTotals, Origin};
use crate::wave::{ToComplete, WaveFigures, WaveKey, WaveKind, WaveMode, WaveRecord, WaveResult};
use crate::waves::{Distributions, Waves};

/// Seconds with a microsecond's precision, so that JSON shows few digits.
pub(super) fn seconds(d: Duration) -> f64 {
    d.as_micros() as f64 / 1e6
}

fn millis(d: Duration) -> f64 {
    d.as_micros() as f64 / 1e3
}

fn two_decimals(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// The fleet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FleetSummary {
    /// Where the nodes come from.
    #[serde(default)]
    pub origin: Origin,
    /// Nodes in the plan; of nodes that are not ours, those that have to answer.
    pub planned: u64,
    /// Nodes connected when the waves began; like all below 0 where the nodes are not ours.
    pub connected: u64,
    /// Time until the fleet was connected.
    pub connect_s: f64,
    /// Subscriptions of the connected nodes.
    pub subscriptions: u64,
    /// Processes that carried nodes.
    pub workers: u64,
    /// Nodes that were connected at least once.
    pub ever_connected: u64,
    /// Connections lost after they had been complete.
    pub disconnects: u64,
    /// Connections made again.
    pub reconnects: u64,
    /// Requests that reached nodes.
    pub received: u64,
    /// Replies that nodes wrote.
    pub answered: u64,
    /// All that nodes count, by name, as far as it is not zero: also requests lost in full request queues
    /// (`slow_consumer`), and what was due without a connection and had no room (`lost_unconnected`).
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
    /// What the first connections took, step by step.
    pub connect_time_us: ConnectSummary,
    /// The groups by name.
    pub groups: BTreeMap<String, GroupTotals>,
}

/// Durations of first connections; `null` where nothing was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConnectSummary {
    /// Dial to the established TCP connection.
    pub tcp: Option<LatencyFigures>,
    /// TCP to the broker's INFO.
    pub info: Option<LatencyFigures>,
    /// CONNECT to PONG.
    pub pong: Option<LatencyFigures>,
    /// PONG to the last subscription flushed.
    pub subscribed: Option<LatencyFigures>,
    /// All of it.
    pub total: Option<LatencyFigures>,
}

impl FleetSummary {
    pub(super) fn of(fleet: &FleetTotals, origin: Origin) -> Self {
        let connect = &fleet.connect;
        Self {
            origin,
            planned: fleet.planned,
            connected: fleet.connected,
            connect_s: seconds(fleet.connect_duration),
            subscriptions: fleet.subscriptions,
            workers: fleet.workers,
            ever_connected: fleet.ever_connected,
            disconnects: fleet.disconnects,
            reconnects: fleet.reconnects,
            received: fleet.received,
            answered: fleet.answered,
            counters: fleet.counters.clone(),
            connect_time_us: ConnectSummary {
                tcp: connect.tcp.figures(),
                info: connect.info.figures(),
                pong: connect.pong.figures(),
                subscribed: connect.subscribed.figures(),
                total: connect.total.figures(),
            },
            groups: fleet.groups.clone(),
        }
    }
}

/// One wave as one client saw it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WaveSummary {
    /// Name of its entry.
    pub name: String,
    /// Its number within the entry, from 1.
    pub number: u32,
    /// Client, from 1.
    pub client: u32,
    /// True for a warm-up wave, which nothing else counts.
    pub warmup: bool,
    /// What was asked.
    pub kind: WaveKind,
    /// How it was sent.
    pub mode: WaveMode,
    /// When it was to be sent, since the run's epoch.
    pub intended_at_s: f64,
    /// Nodes that had to answer.
    pub expected: u64,
    /// Nodes that answered within the deadline.
    pub on_time: u64,
    /// Nodes that answered after it.
    pub late: u64,
    /// Nodes that never answered: `on_time + late + missing` is `expected`.
    pub missing: u64,
    /// Further replies of nodes that had answered.
    pub duplicate: u64,
    /// Replies of senders that were not expected.
    pub unexpected: u64,
    /// Replies on time that report an error.
    pub errors: u64,
    /// Messages that were no valid reply.
    pub undecodable: u64,
    /// `on_time` over `expected`; `null` when nobody was expected.
    pub completeness: Option<f64>,
    /// Bytes of the request's payload.
    pub payload_bytes: u64,
    /// Nodes that the discovery before had found.
    pub discovered: u64,
    /// First to last message of the request handed to the connection.
    pub publish_ms: f64,
    /// Sending to the last reply on time, or to the deadline.
    pub request_ms: f64,
    /// Intended instant until that part of the expected nodes had answered; `null`: never.
    pub to_complete_ms: ToCompleteMs,
    /// Intended instant to reply.
    pub response_time_us: Option<LatencyFigures>,
    /// Sending to reply.
    pub service_time_us: Option<LatencyFigures>,
    /// Intended instant to sending.
    pub send_delay_us: Option<LatencyFigures>,
    /// The distributions whole. Left out while the run goes on, and of the last waves of a long run
    /// (`latency.hlog` has the response times of all).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub histograms: Option<HistogramTexts>,
}

/// Times until parts of the expected nodes had answered, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ToCompleteMs {
    /// The first reply.
    pub first: Option<f64>,
    /// Half of the expected nodes.
    pub p50: Option<f64>,
    /// 90 % of them.
    pub p90: Option<f64>,
    /// 99 % of them.
    pub p99: Option<f64>,
    /// All of them.
    pub last: Option<f64>,
}

/// Distributions in microseconds: base64 of HdrHistogram V2 in deflate form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistogramTexts {
    /// Intended instant to reply.
    pub response_time: String,
    /// Sending to reply.
    pub service_time: String,
    /// Intended instant to sending.
    pub send_delay: String,
}

impl HistogramTexts {
    /// The distributions of one wave.
    #[must_use]
    pub fn of_wave(wave: &WaveResult) -> Self {
        Self::of([&wave.response_time, &wave.service_time, &wave.send_delay])
    }

    fn of(latencies: [&Latency; 3]) -> Self {
        let [response_time, service_time, send_delay] = latencies.map(Latency::to_base64);
        Self { response_time, service_time, send_delay }
    }

    /// How many bytes the texts have.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let Self { response_time, service_time, send_delay } = self;
        response_time.len() + service_time.len() + send_delay.len()
    }

    /// The response times.
    ///
    /// # Errors
    /// When the text is no histogram.
    pub fn response_time(&self) -> Result<Latency, HistogramTextError> {
        Latency::from_base64(&self.response_time)
    }

    /// The service times.
    ///
    /// # Errors
    /// When the text is no histogram.
    pub fn service_time(&self) -> Result<Latency, HistogramTextError> {
        Latency::from_base64(&self.service_time)
    }

    /// The send delays.
    ///
    /// # Errors
    /// When the text is no histogram.
    pub fn send_delay(&self) -> Result<Latency, HistogramTextError> {
        Latency::from_base64(&self.send_delay)
    }
}

impl ToCompleteMs {
    fn of(times: ToComplete) -> Self {
        let ToComplete { first, p50, p90, p99, last } = times;
        let [first, p50, p90, p99, last] = [first, p50, p90, p99, last].map(|t| t.map(millis));
        Self { first, p50, p90, p99, last }
    }
}

impl WaveSummary {
    /// The key of the wave.
    #[must_use]
    pub fn key(&self) -> WaveKey {
        let Self { name, number, warmup, client, .. } = self;
        WaveKey { name: name.clone(), number: *number, warmup: *warmup, client: *client }
    }

    pub(super) fn of(key: &WaveKey, record: &WaveRecord) -> Self {
        let WaveRecord { result: wave, to_complete } = record;
        Self {
            name: key.name.clone(),
            number: key.number,
            client: key.client,
            warmup: key.warmup,
            kind: wave.kind,
            mode: wave.mode,
            intended_at_s: seconds(wave.intended_at),
            expected: wave.expected,
            on_time: wave.on_time,
            late: wave.late,
            missing: wave.missing(),
            duplicate: wave.duplicate,
            unexpected: wave.unexpected,
            errors: wave.errors,
            undecodable: wave.undecodable,
            completeness: wave.completeness(),
            payload_bytes: wave.payload_bytes,
            discovered: wave.discovered,
            publish_ms: millis(wave.publish_duration),
            request_ms: millis(wave.request_duration),
            to_complete_ms: ToCompleteMs::of(*to_complete),
            response_time_us: wave.response_time.figures(),
            service_time_us: wave.service_time.figures(),
            send_delay_us: wave.send_delay.figures(),
            histograms: None,
        }
    }
}

/// One entry of the scenario's `waves` with all its counted waves and clients merged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntrySummary {
    /// Its name.
    pub name: String,
    /// What was asked.
    pub kind: WaveKind,
    /// How it was sent.
    pub mode: WaveMode,
    /// Clients that sent it.
    pub clients: u64,
    /// Waves, one for each client.
    pub waves: u64,
    /// Waves in which every expected node was on time.
    pub complete_waves: u64,
    /// Nodes that had to answer, over all waves.
    pub expected: u64,
    /// Answers within the deadline.
    pub on_time: u64,
    /// Answers after it.
    pub late: u64,
    /// Answers that never came.
    pub missing: u64,
    /// Further replies of nodes that had answered.
    pub duplicate: u64,
    /// Replies of senders that were not expected.
    pub unexpected: u64,
    /// Replies on time that report an error.
    pub errors: u64,
    /// Messages that were no valid reply.
    pub undecodable: u64,
    /// `on_time` over `expected`; `null` when nobody was expected.
    pub completeness: Option<f64>,
    /// Intended instant until the last expected node had answered, over the waves that got there.
    pub to_complete_ms: WholeMs,
    /// Intended instant to reply.
    pub response_time_us: Option<LatencyFigures>,
    /// Sending to reply.
    pub service_time_us: Option<LatencyFigures>,
    /// Intended instant to sending.
    pub send_delay_us: Option<LatencyFigures>,
    /// The answers by where the nodes are; left out where all are in one place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub places: Option<PlacesSummary>,
    /// The distributions whole; left out while the run goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub histograms: Option<HistogramTexts>,
}

/// Times until everybody had answered, over waves, in milliseconds; `null`: no wave got there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct WholeMs {
    /// The fastest wave.
    pub min: Option<f64>,
    /// The wave in the middle.
    pub median: Option<f64>,
    /// The slowest wave.
    pub max: Option<f64>,
}

impl EntrySummary {
    pub(super) fn of_all(waves: &Waves, histograms: bool) -> Vec<Self> {
        let mut names: Vec<&str> = Vec::new();
        let counted = waves.counted();
        for (key, _) in &counted {
            if !names.contains(&key.name.as_str()) {
                names.push(&key.name);
            }
        }
        let of_name = |name: &str| {
            let mine: Vec<_> =
                counted.iter().copied().filter(|(key, _)| key.name == name).collect();
            let merged = waves.distributions(|key| key.name == name);
            Self::of(name, &mine, &merged, histograms)
        };
        names.into_iter().map(of_name).collect()
    }

    fn of(
        name: &str,
        waves: &[(&WaveKey, &WaveRecord)],
        merged: &Distributions,
        histograms: bool,
    ) -> Self {
        let Distributions { response_time, service_time, send_delay, places } = merged;
        let mut all = WaveFigures::default();
        waves.iter().for_each(|(_, wave)| all.merge(&wave.result));
        let is_complete = |wave: &WaveFigures| wave.on_time == wave.expected;
        let complete = waves.iter().filter(|(_, wave)| is_complete(&wave.result));
        let mut times: Vec<_> = waves.iter().filter_map(|(_, w)| w.to_complete.last).collect();
        times.sort();
        Self {
            name: name.to_owned(),
            kind: all.kind,
            mode: all.mode,
            clients: waves.iter().map(|(key, _)| u64::from(key.client)).max().unwrap_or_default(),
            waves: waves.len() as u64,
            complete_waves: complete.count() as u64,
            expected: all.expected,
            on_time: all.on_time,
            late: all.late,
            missing: all.missing(),
            duplicate: all.duplicate,
            unexpected: all.unexpected,
            errors: all.errors,
            undecodable: all.undecodable,
            completeness: all.completeness(),
            to_complete_ms: WholeMs {
                min: times.first().copied().map(millis),
                median: times.get(times.len().saturating_sub(1) / 2).copied().map(millis),
                max: times.last().copied().map(millis),
            },
            response_time_us: response_time.figures(),
            service_time_us: service_time.figures(),
            send_delay_us: send_delay.figures(),
            places: PlacesSummary::of(places),
            histograms: histograms
                .then(|| HistogramTexts::of([response_time, service_time, send_delay])),
        }
    }
}

/// What the run cost; `null` where it was not measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CostSummary {
    /// The processes that carried nodes.
    pub emulator: EmulatorSummary,
    /// The client.
    pub driver: DriverSummary,
    /// The brokers.
    pub brokers: Vec<BrokerSummary>,
}

/// What the nodes cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmulatorSummary {
    /// Resident memory with the fleet connected and idle.
    pub rss_bytes: u64,
    /// The same over the nodes.
    pub rss_bytes_per_node: Option<f64>,
    /// CPU time over the whole run.
    pub cpu_s: f64,
    /// CPU time of the nodes over their replies, while waves ran.
    pub cpu_us_per_answer: Option<f64>,
}

/// What the client cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriverSummary {
    /// CPU time over the replies received.
    pub cpu_us_per_reply: Option<f64>,
}

/// What one broker cost, and what was seen of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BrokerSummary {
    /// Its name.
    pub name: String,
    /// The version it reports.
    pub version: String,
    /// The Go toolchain that built it, where it says so.
    #[serde(default)]
    pub go: Option<String>,
    /// The cluster that it says it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// CPU time while waves ran; of managed brokers only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wave_cpu_s: Option<f64>,
    /// How long its monitoring did not answer although the broker was there, in seconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub silent_s: f64,
    /// Connections that ended, by the reason that the broker gives, of the last ones that it remembers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub closed: BTreeMap<String, u64>,
    /// Looks at its connections before and after the phases of the run, by when that was.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub looks: BTreeMap<String, ConnectionLook>,
    /// Keys of its configuration that its release does not know and that were left out.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub left_out: BTreeSet<String>,
    /// The figures by name ([`BrokerFigure`]), each a member of its own: counters over the whole run, of all
    /// else the largest reading; `null` where it was not measured.
    #[serde(flatten)]
    pub figures: BTreeMap<String, Option<serde_json::Number>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(seconds: &f64) -> bool {
    *seconds == 0.0
}

impl CostSummary {
    pub(super) fn of(cost: &Cost) -> Self {
        let Cost { emulator, driver, brokers } = cost;
        Self {
            emulator: EmulatorSummary {
                rss_bytes: emulator.rss_bytes,
                rss_bytes_per_node: emulator.rss_bytes_per_node().map(f64::round),
                cpu_s: seconds(emulator.cpu),
                cpu_us_per_answer: emulator.cpu_us_per_answer().map(two_decimals),
            },
            driver: DriverSummary { cpu_us_per_reply: driver.cpu_us_per_reply().map(two_decimals) },
            brokers: brokers.iter().map(|(name, broker)| BrokerSummary::of(name, broker)).collect(),
        }
    }
}

impl BrokerSummary {
    /// A figure in the unit of its name.
    #[must_use]
    pub fn figure(&self, figure: BrokerFigure) -> Option<f64> {
        self.figures.get(figure.name())?.as_ref()?.as_f64()
    }

    fn of(name: &str, broker: &BrokerCost) -> Self {
        let BrokerCost { version, go, cluster, figures, wave_cpu, silent, closed, looks, left_out } =
            broker;
        let number = |figure: BrokerFigure, value: u64| match figure {
            BrokerFigure::CpuUs => serde_json::Number::from_f64(figure.in_its_unit(value)),
            _ => Some(value.into()),
        };
        let member = |figure: BrokerFigure| {
            let value = figures.get(figure).and_then(|value| number(figure, value));
            (figure.name().to_owned(), value)
        };
        Self {
            name: name.to_owned(),
            version: version.clone(),
            go: go.clone(),
            cluster: cluster.clone(),
            wave_cpu_s: wave_cpu.map(seconds),
            silent_s: seconds(*silent),
            closed: closed.clone(),
            looks: looks.clone(),
            left_out: left_out.clone(),
            figures: BrokerFigure::ALL.into_iter().map(member).collect(),
        }
    }
}
