//! One broker under watch: looks, what came of them, and how long there was no answer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reports::broker::{
    BrokerCost, BrokerFigure, BrokerFigures, Build, Builds, ConnectionLook, Link, PendingConnection,
};
use reports::store::BrokerRow;
use serde_json::json;

use super::lives::Lives;
use super::{Notice, Seen, silence};
use crate::broker::{Connections, Control, LinkSample, Look, Monitor, ProcessSample, Varz};
use crate::driver::Epoch;

/// Rows that wait to be written down; then the oldest goes.
const ROWS_WAITING: usize = 256;
/// Links of a broker that are told apart; of further ones there are only the figures of all: a leaf whose
/// release does not tell its name has a new one with each connection.
const LINKS: usize = 256;
/// Identities of a broker that are remembered: it has a new one with each start.
const IDS: usize = 64;
/// Without an answer for so long, a broker that is there is called silent.
const SILENT_AFTER: Duration = Duration::from_secs(3);

/// One broker under watch.
pub(super) struct Eye {
    name: String,
    monitor: Monitor,
    /// Of a managed broker: what knows its process.
    control: Option<Control>,
    epoch: Epoch,
    phase: Arc<Mutex<&'static str>>,
    notes: Mutex<Notes>,
    /// One look at a time.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Notes {
    rows: VecDeque<BrokerRow>,
    notices: Vec<Notice>,
    cost: BrokerCost,
    of_broker: Lives,
    of_process: Lives,
    /// CPU time that its process had used at the last look before waves ran.
    cpu_before_waves: Duration,
    /// When the first of the looks was made that had no answer.
    unanswered_since: Option<Duration>,
    /// Connections of a broker that is not ours that had ended before the run, by reason.
    ended_before: Option<BTreeMap<String, u64>>,
    /// Whether that was said.
    is_silent: bool,
    /// The identities that it had.
    ids: BTreeSet<String>,
}

impl Eye {
    pub(super) fn on_managed(
        control: Control,
        version: String,
        epoch: Epoch,
        phase: Arc<Mutex<&'static str>>,
    ) -> Self {
        let cost = BrokerCost { builds: Builds::one(version, None), ..BrokerCost::default() };
        Self {
            name: control.name().to_owned(),
            monitor: control.monitoring().clone(),
            control: Some(control),
            epoch,
            phase,
            notes: Mutex::new(Notes { cost, ..Notes::default() }),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// A broker that is not ours has the name that it gives itself, else `number` makes one. What it
    /// counted before is not of this run.
    pub(super) fn on_external(
        number: usize,
        monitor: Monitor,
        at_start: &Varz,
        epoch: Epoch,
        phase: Arc<Mutex<&'static str>>,
    ) -> Self {
        let name = at_start.given_name().map(str::to_owned);
        let look = Look { varz: at_start.clone(), links: Vec::new() };
        let of_broker = Lives::from(&at_start.server_id, broker_figures(&look));
        Self {
            name: name.unwrap_or_else(|| format!("n{number}")),
            monitor,
            control: None,
            epoch,
            phase,
            notes: Mutex::new(Notes { of_broker, ..Notes::default() }),
            turn: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn cost(&self) -> BrokerCost {
        let notes = self.notes();
        let mut cost = notes.cost.clone();
        if let (Some(since), true) = (notes.unanswered_since, notes.is_silent) {
            cost.silent += self.epoch.now().saturating_sub(since);
        }
        cost
    }

    /// The identities that it had until now.
    pub(super) fn ids(&self) -> BTreeSet<String> {
        self.notes().ids.clone()
    }

    pub(super) fn take(&self, seen: &mut Seen) {
        let mut notes = self.notes();
        seen.rows.extend(notes.rows.drain(..));
        seen.notices.append(&mut notes.notices);
    }

    /// Takes note of what the process has used until now, apart from looks at what it says: between two
    /// phases.
    pub(super) fn count_cpu(&self) {
        let sample =
            |control: &Control| Some((control.pid(), ProcessSample::read(control.pid()).ok()?));
        let Some((pid, process)) = self.control.as_ref().and_then(sample) else { return };
        let mut notes = self.notes();
        let figures = notes.of_process.over(&pid.to_string(), process_figures(&process));
        notes.count_cpu(self.phase(), &figures);
    }

    fn phase(&self) -> &'static str {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One cheap look. It takes as long as monitoring may take to answer, at most.
    pub(super) async fn look(&self) {
        let _turn = self.turn.lock().await;
        let asked_at = self.epoch.now();
        let process = self.control.as_ref().map(|control| {
            let pid = control.pid();
            (pid, ProcessSample::read(pid).ok().filter(|process| process.is_live))
        });
        let mut figures = BrokerFigures::default();
        match process {
            // It is not there, or stands still: it cannot answer, and nobody wonders.
            Some((_, None)) => return self.notes().answered(&self.name, asked_at),
            Some((pid, Some(process))) => {
                let now = process_figures(&process);
                let mut notes = self.notes();
                figures.merge(&notes.of_process.over(&pid.to_string(), now));
                notes.count_cpu(self.phase(), &figures);
            }
            None => {}
        }
        let answer = self.monitor.look().await;
        let at = self.epoch.now();
        let phase = self.phase();
        let mut notes = self.notes();
        match answer {
            Ok(look) => {
                let mut now = broker_figures(&look);
                if self.control.is_none() {
                    now.set(BrokerFigure::RssBytes, Some(look.varz.mem));
                }
                figures.merge(&notes.of_broker.over(&look.varz.server_id, now));
                notes.answered(&self.name, at);
                notes.introduced(at, look);
            }
            Err(error) => notes.not_answered(&self.name, asked_at, at, &error.to_string()),
        }
        notes.cost.figures.merge(&figures);
        if figures != BrokerFigures::default() {
            let (broker, phase) = (self.name.clone(), phase.to_owned());
            notes.row(BrokerRow { at, broker, phase, figures });
        }
    }

    /// One expensive look at the connections.
    pub(super) async fn inspect(&self, when: &'static str) {
        if self.notes().unanswered_since.is_some() {
            return;
        }
        let Ok(connections) = self.monitor.connections().await else { return };
        let at = self.epoch.now();
        let connections = match self.control {
            Some(_) => connections,
            None => self.notes().since_the_first_look(connections),
        };
        self.notes().inspected(&self.name, when, at, connections);
        self.profile().await;
    }

    /// Goroutines and memory, where the broker has a port for profiling.
    async fn profile(&self) {
        let Some(profile) = self.control.as_ref().and_then(Control::profile) else { return };
        let seen = match profile.sample().await {
            Ok(seen) => seen,
            Err(error) => return tracing::warn!(broker = %self.name, %error, "no profile"),
        };
        let figures = BrokerFigures::default()
            .with(BrokerFigure::Goroutines, seen.goroutines)
            .with(BrokerFigure::HeapInuseBytes, seen.heap_bytes)
            .with(BrokerFigure::StackInuseBytes, seen.stack_bytes);
        let (at, broker, phase) = (self.epoch.now(), self.name.clone(), self.phase().to_owned());
        let mut notes = self.notes();
        notes.cost.figures.merge(&figures);
        notes.row(BrokerRow { at, broker, phase, figures });
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notes {
    fn row(&mut self, row: BrokerRow) {
        if self.rows.len() >= ROWS_WAITING {
            self.rows.pop_front();
        }
        self.rows.push_back(row);
    }

    fn count_cpu(&mut self, phase: &str, figures: &BrokerFigures) {
        let Some(micros) = figures.get(BrokerFigure::CpuUs) else { return };
        let cpu = Duration::from_micros(micros);
        if phase == super::WAVES {
            self.cost.wave_cpu = Some(cpu.saturating_sub(self.cpu_before_waves));
        } else if self.cost.wave_cpu.is_none() {
            self.cpu_before_waves = cpu;
        }
    }

    /// Takes note of who the broker says it is, and whom it is linked with.
    fn introduced(&mut self, at: Duration, Look { varz, links }: Look) {
        let go = Some(varz.go).filter(|go| !go.is_empty());
        self.cost.builds.note(at, Build { version: varz.version, go });
        if self.ids.len() < IDS {
            self.ids.insert(varz.server_id);
        }
        let mut seen: BTreeMap<String, Link> = BTreeMap::new();
        for link in links {
            let rtt_us = link.rtt_us();
            let all = seen.entry(link.peer).or_default();
            all.merge(&Link {
                kind: link.kind.to_owned(),
                connections: all.connections + 1,
                pending_bytes: link.pending_bytes,
                rtt_us_min: rtt_us,
                rtt_us_max: rtt_us,
            });
        }
        let known = &self.cost.links;
        let room = LINKS.saturating_sub(known.len());
        let (old, new): (Vec<_>, Vec<_>) =
            seen.into_iter().partition(|(peer, _)| known.contains_key(peer));
        let links = old.into_iter().chain(new.into_iter().take(room)).collect();
        let cluster = varz.cluster.name.filter(|name| !name.is_empty());
        self.cost.merge(&BrokerCost { cluster, links, ..BrokerCost::default() });
    }

    fn answered(&mut self, name: &str, at: Duration) {
        let Some(since) = self.unanswered_since.take() else { return };
        if !std::mem::take(&mut self.is_silent) {
            return;
        }
        let silent = at.saturating_sub(since);
        self.cost.silent += silent;
        self.notices.push(Notice {
            kind: "monitoring_answers",
            text: format!("monitoring of broker {name} answers again or is no longer expected to"),
            figures: json!({ "broker": name, "silent_s": silent.as_secs_f64() }),
        });
    }

    fn not_answered(&mut self, name: &str, asked_at: Duration, at: Duration, why: &str) {
        let since = *self.unanswered_since.get_or_insert(asked_at);
        if !self.is_silent && at.saturating_sub(since) >= SILENT_AFTER {
            self.is_silent = true;
            self.notices.push(silence(name, why));
        }
    }

    /// The same without the ends that a broker knew of when it was looked at first.
    fn since_the_first_look(&mut self, seen: Connections) -> Connections {
        let before = self.ended_before.get_or_insert_with(|| seen.closed.clone());
        let since = seen.closed.into_iter().map(|(reason, ends)| {
            let ends = ends.saturating_sub(before.get(&reason).copied().unwrap_or_default());
            (reason, ends)
        });
        Connections { closed: since.filter(|(_, ends)| *ends > 0).collect(), ..seen }
    }

    fn inspected(&mut self, name: &str, when: &str, at: Duration, connections: Connections) {
        let Connections { count, fullest, closed } = connections;
        let fullest: Vec<_> = fullest
            .into_iter()
            .map(|(pending_bytes, name)| PendingConnection { pending_bytes, name })
            .collect();
        self.notices.push(Notice {
            kind: "broker_connections",
            text: format!("broker {name} {when}: {count} connections"),
            figures: json!({ "broker": name, "when": when, "connections": count,
                "fullest": fullest, "closed": closed }),
        });
        let at_ms = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        let look = ConnectionLook { at_ms, connections: count, fullest };
        self.cost.merge(&BrokerCost {
            closed,
            looks: [(when.to_owned(), look)].into(),
            ..BrokerCost::default()
        });
    }
}

fn process_figures(process: &ProcessSample) -> BrokerFigures {
    let cpu_us = u64::try_from(process.cpu.as_micros()).unwrap_or(u64::MAX);
    BrokerFigures::default()
        .with(BrokerFigure::RssBytes, process.rss_bytes)
        .with(BrokerFigure::CpuUs, cpu_us)
}

fn broker_figures(Look { varz, links }: &Look) -> BrokerFigures {
    let mut figures = BrokerFigures::default()
        .with(BrokerFigure::Connections, varz.connections)
        .with(BrokerFigure::Subscriptions, varz.subscriptions)
        .with(BrokerFigure::MsgsIn, varz.in_msgs)
        .with(BrokerFigure::MsgsOut, varz.out_msgs)
        .with(BrokerFigure::BytesIn, varz.in_bytes)
        .with(BrokerFigure::BytesOut, varz.out_bytes)
        .with(BrokerFigure::SlowConsumers, varz.slow_consumers)
        .with(BrokerFigure::Links, links.len() as u64);
    let slow = varz.slow_consumer_stats;
    figures.set(BrokerFigure::SlowClients, slow.map(|slow| slow.clients));
    figures.set(BrokerFigure::SlowRoutes, slow.map(|slow| slow.routes));
    figures.set(BrokerFigure::SlowGateways, slow.map(|slow| slow.gateways));
    figures.set(BrokerFigure::SlowLeafs, slow.map(|slow| slow.leafs));
    figures.set(BrokerFigure::Stalls, varz.stalled_clients);
    figures.set(BrokerFigure::StaleConnections, varz.stale_connections);
    let pending = links.iter().filter_map(|link| link.pending_bytes).max();
    figures.set(BrokerFigure::LinkPendingBytes, pending);
    figures.set(BrokerFigure::LinkRttUs, links.iter().filter_map(LinkSample::rtt_us).max());
    figures
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::JoinSet;

    use super::*;

    const VARZ: &str = r#"{"server_id":"X","server_name":"far","version":"2.14.5","go":"go1.26",
        "max_connections":9,"max_payload":9,"mem":4096,"cpu":0,"connections":7,
        "total_connections":7,"subscriptions":35,"in_msgs":1,"out_msgs":2,"in_bytes":3,
        "out_bytes":4,"slow_consumers":0}"#;

    /// Monitoring that answers so many requests and then takes them and says nothing: no real broker
    /// can be brought to do that.
    async fn falls_silent(answers: usize) -> (String, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut kept = Vec::new();
            for number in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 4096]).await;
                if number < answers {
                    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length";
                    let answer = format!("{head}: {}\r\n\r\n{VARZ}", VARZ.len());
                    let _ = stream.write_all(answer.as_bytes()).await;
                } else {
                    kept.push(stream);
                }
            }
        });
        (url, tasks)
    }

    #[tokio::test]
    async fn monitoring_that_stops_answering_is_said_and_holds_up_nobody() {
        let (url, _tasks) = falls_silent(2).await;
        let epoch = Epoch::at(std::time::Instant::now());
        let monitor = Monitor::at(&url);
        let at_start = monitor.varz().await.unwrap();
        let eye = Eye::on_external(1, monitor, &at_start, epoch, Arc::default());
        assert_eq!(eye.name(), "far");
        eye.look().await;
        let mut seen = Seen::default();
        eye.take(&mut seen);
        let row = &seen.rows[0];
        assert_eq!((row.broker.as_str(), seen.notices.len()), ("far", 0));
        assert_eq!(row.figures.get(BrokerFigure::Connections), Some(7));
        assert_eq!(row.figures.get(BrokerFigure::MsgsOut), Some(0), "those before are not ours");
        assert_eq!(row.figures.get(BrokerFigure::RssBytes), Some(4096), "as it says itself");
        // Each look has a bound; after a few of them it is said, once.
        for _ in 0..3 {
            let look = tokio::time::timeout(Duration::from_secs(30), eye.look());
            look.await.expect("a look ends");
        }
        let mut later = Seen::default();
        eye.take(&mut later);
        assert!(later.rows.is_empty(), "nothing is invented");
        let kinds: Vec<_> = later.notices.iter().map(|notice| notice.kind).collect();
        assert_eq!(kinds, ["monitoring_silent"]);
        assert!(eye.cost().silent >= SILENT_AFTER);
        // Nobody waits for the expensive look then.
        eye.inspect("after waves").await;
        assert!(eye.cost().looks.is_empty());
    }
}
