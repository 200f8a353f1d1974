//! Reasons to distrust a result, worked out from what the tool saw of itself. Pure: figures in, doubts out.

use std::time::Duration;

use reports::format::counted;
use reports::latency::Latency;
use reports::verdict::{Doubt, Severity};

use crate::driver::BACKLOG_MAX;

/// Waves that were sent this much late say little about the network.
const LATE_INVALID: Duration = Duration::from_millis(250);
/// Waves that were sent this much late are worth a note.
const LATE_NOTE: Duration = Duration::from_millis(50);
/// Lag (99 %) that is worth a note on its own.
const LAG_NOTE: Duration = Duration::from_millis(50);
/// Lag (99 %) that invalidates when it is also a large part of what was measured.
const LAG_INVALID: Duration = Duration::from_millis(200);
/// Part of the machine's CPU time that the tool may take while waves run. Marks: the nodes 0.5x of the
/// broker, the driver a quarter of it, so well under a half.
const CPU_SHARE_INVALID: f64 = 0.75;
/// Shorter than this, shares of CPU time are noise: the system counts in ticks of 10 ms.
const CPU_SHARE_OVER: Duration = Duration::from_secs(1);

/// Replies that waited to be decoded, as a part of their queue: more are worth a note. At the whole of
/// it replies waited without a stamp, and their times are too long.
const BACKLOG_NOTE: f64 = 0.75;

/// How late a wave was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaveDelay {
    /// Name and number, for the text.
    pub wave: String,
    /// From the intended instant to the first message.
    pub delay: Duration,
}

/// The wave that had the most replies waiting to be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// Name and number, for the text.
    pub wave: String,
    /// How many waited.
    pub replies: u64,
}

/// What the tool saw of itself.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// Whether this is a debug build.
    pub debug_build: bool,
    /// Lag of the driver's runtime while waves ran.
    pub lag: Latency,
    /// Median response time over the counted waves, if there was any reply.
    pub median_response: Option<Duration>,
    /// Counted waves that were sent late, and by how much.
    pub delays: Vec<WaveDelay>,
    /// The longest queue of replies in any wave, if there was one.
    pub backlog: Option<Backlog>,
    /// Replies that the driver's client library dropped because the driver read too slowly.
    pub replies_dropped: u64,
    /// Times that a connection of the driver was lost.
    pub driver_disconnects: u64,
    /// Requests that nodes dropped because too many replies waited to become due.
    pub overflowed: u64,
    /// Wall time while replies were awaited, and CPU time of the tool in it.
    pub waves_wall: Duration,
    /// CPU time of this process in that time.
    pub waves_cpu: Duration,
    /// Processors.
    pub cores: u64,
    /// Drivers on workers.
    pub far: Vec<FarEvidence>,
    /// Nodes planned, and nodes connected when the waves began.
    pub fleet: (u64, u64),
    /// Warnings of the preflight, as `name: have, need`.
    pub preflight: Vec<(String, String)>,
    /// Brokers whose monitoring did not answer although they were there, and for how long.
    pub silent: Vec<(String, Duration)>,
    /// Answers of counted waves that were not on time and all that were expected, where no threshold judges anything.
    pub unjudged: Option<(u64, u64)>,
    /// Waves that could not be carried out as ordered, with the reason and what it means.
    pub failures: Vec<(String, Severity)>,
}

/// What a driver on a worker saw of itself.
#[derive(Debug, Clone, Default)]
pub struct FarEvidence {
    /// Name of the worker.
    pub name: String,
    /// Lag of its runtime while waves ran.
    pub lag: Latency,
    /// Wall time while it awaited replies, and CPU time of the worker in it.
    pub waves_wall: Duration,
    /// CPU time of the worker's process in that time.
    pub waves_cpu: Duration,
    /// Processors of its host.
    pub cores: u64,
}

/// What follows from the evidence.
#[must_use]
pub fn doubts(evidence: &Evidence) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    let mut doubt = |kind: &str, severity, detail: String, advice: &str| {
        let advice = advice.to_owned();
        doubts.push(Doubt { kind: kind.to_owned(), severity, detail, advice });
    };
    if evidence.debug_build {
        doubt(
            "debug_build",
            Severity::Note,
            "this is a debug build: nodes and driver cost several times what they should".into(),
            "build with --release before you quote a figure",
        );
    }
    if evidence.replies_dropped > 0 {
        doubt(
            "driver_dropped_replies",
            Severity::Invalid,
            format!("the driver itself dropped replies, {} times", evidence.replies_dropped),
            "give the driver a processor of its own, or press with fewer clients at once",
        );
    }
    if evidence.overflowed > 0 {
        doubt(
            "nodes_overflowed",
            Severity::Invalid,
            format!("nodes dropped {} requests: too many delayed replies", evidence.overflowed),
            "shorten the reply delay or send fewer waves at once",
        );
    }
    if evidence.driver_disconnects > 0 {
        doubt(
            "driver_disconnected",
            Severity::Note,
            format!("connections of the driver were lost {} times", evidence.driver_disconnects),
            "look for the reason in the broker's log: replies were lost meanwhile",
        );
    }
    failed_waves(evidence, &mut doubt);
    late_waves(evidence, &mut doubt);
    backlog(evidence, &mut doubt);
    bottlenecks(evidence, &mut doubt);
    unanswered(evidence, &mut doubt);
    for (broker, silent) in &evidence.silent {
        doubt(
            "monitoring_silent",
            Severity::Note,
            format!(
                "monitoring of broker {broker} did not answer for {:.1} s, in which nothing is known of it",
                silent.as_secs_f64()
            ),
            "look whether the broker is overloaded, or its monitoring is at another address",
        );
    }
    for (detail, advice) in &evidence.preflight {
        doubt("host_limit_near", Severity::Note, detail.clone(), advice);
    }
    doubts
}

type Add<'a> = &'a mut dyn FnMut(&str, Severity, String, &str);

/// Nodes that were not there from the beginning, and answers that are away without anybody judging it.
fn unanswered(evidence: &Evidence, doubt: Add<'_>) {
    let (planned, connected) = evidence.fleet;
    if connected < planned {
        doubt(
            "fleet_incomplete",
            Severity::Note,
            format!("{connected} of {planned} nodes were connected when the waves began"),
            "see missing.jsonl for their names and run.log for the reason",
        );
    }
    if let Some((away, expected)) = evidence.unjudged.filter(|(away, _)| *away > 0) {
        doubt(
            "incomplete_unjudged",
            Severity::Note,
            format!(
                "{away} of {} not on time, and there is no threshold: the exit code does not tell",
                counted(expected, "answer was", "answers were")
            ),
            "write what is asked for, such as `thresholds: {completeness: [\"min == 100%\"]}`",
        );
    }
}

/// Drivers that waited for a processor, and processes that left none to others.
fn bottlenecks(evidence: &Evidence, doubt: Add<'_>) {
    lag(evidence, "the driver", &evidence.lag, doubt);
    cpu("nodes and driver", evidence.waves_wall, (evidence.waves_cpu, evidence.cores), doubt);
    for FarEvidence { name, lag: theirs, waves_wall, waves_cpu, cores } in &evidence.far {
        lag(evidence, &format!("the driver at worker {name}"), theirs, doubt);
        cpu(&format!("worker {name}"), *waves_wall, (*waves_cpu, *cores), doubt);
    }
}

/// One doubt for each weight, with the first example: a long run has many waves.
fn failed_waves(evidence: &Evidence, doubt: Add<'_>) {
    for severity in [Severity::Invalid, Severity::Note] {
        let mut failures = evidence.failures.iter().filter(|(_, weight)| *weight == severity);
        let Some((first, _)) = failures.next() else { continue };
        let detail = match failures.count() {
            0 => first.clone(),
            more => {
                format!("{first} (and {} more)", counted(more as u64, "wave", "waves"))
            }
        };
        doubt("wave_failed", severity, detail, "each is named in events.jsonl");
    }
}

fn late_waves(evidence: &Evidence, doubt: Add<'_>) {
    let late = |limit| evidence.delays.iter().filter(move |wave| wave.delay > limit);
    let Some(worst) = evidence.delays.iter().max_by_key(|wave| wave.delay) else { return };
    let (severity, limit) = match worst.delay {
        delay if delay > LATE_INVALID => (Severity::Invalid, LATE_INVALID),
        delay if delay > LATE_NOTE => (Severity::Note, LATE_NOTE),
        _ => return,
    };
    let count = late(limit).count();
    doubt(
        "waves_sent_late",
        severity,
        format!(
            "{} sent more than {} ms late, {} by {} ms",
            counted(count as u64, "wave was", "waves were"),
            limit.as_millis(),
            worst.wave,
            worst.delay.as_millis()
        ),
        "leave more time between waves, or free processors on this host",
    );
}

fn backlog(evidence: &Evidence, doubt: Add<'_>) {
    let Some(Backlog { wave, replies }) = &evidence.backlog else { return };
    let (capacity, waited) = (BACKLOG_MAX as f64, *replies as f64);
    let severity = if waited >= capacity {
        Severity::Invalid
    } else if waited >= BACKLOG_NOTE * capacity {
        Severity::Note
    } else {
        return;
    };
    doubt(
        "driver_backlog",
        severity,
        format!(
            "{replies} replies to {wave} waited in the driver at once, whose queue takes \
             {BACKLOG_MAX}: what comes while it is full has too long a time"
        ),
        "give the driver a processor of its own, or ask fewer nodes at once",
    );
}

fn lag(evidence: &Evidence, who: &str, lag: &Latency, doubt: Add<'_>) {
    if lag.count() == 0 {
        return;
    }
    let p99 = Duration::from_micros(lag.histogram().value_at_quantile(0.99));
    let share = evidence
        .median_response
        .map_or(0.0, |response| p99.as_secs_f64() / response.as_secs_f64().max(1e-6));
    let severity = if p99 > LAG_INVALID && share > 0.25 {
        Severity::Invalid
    } else if p99 > LAG_NOTE {
        Severity::Note
    } else {
        return;
    };
    doubt(
        "scheduler_lag",
        severity,
        format!(
            "one in a hundred times a task of {who} waited {} ms or more for a processor",
            p99.as_millis()
        ),
        "run the brokers on another host, or with fewer nodes on this one",
    );
}

/// `who` used so much CPU time of so many processors in `wall`.
fn cpu(who: &str, wall: Duration, (used, cores): (Duration, u64), doubt: Add<'_>) {
    let available = wall.as_secs_f64() * cores as f64;
    let share = used.as_secs_f64() / available.max(1e-6);
    if wall < CPU_SHARE_OVER || share <= CPU_SHARE_INVALID {
        return;
    }
    doubt(
        "generator_saturated",
        Severity::Invalid,
        format!("{who} took {:.0} % of all processors while replies were awaited", share * 100.0),
        "spread the nodes over more hosts, or use fewer of them",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(evidence: &Evidence, expected: &[(&str, Severity)]) {
        let found = doubts(evidence);
        let kinds: Vec<_> = found.iter().map(|d| (d.kind.as_str(), d.severity)).collect();
        assert_eq!(kinds, expected);
        assert!(found.iter().all(|d| !d.detail.is_empty() && !d.advice.is_empty()));
    }

    fn lagging(ms: u64) -> Latency {
        let mut lag = Latency::default();
        (0..100).for_each(|_| lag.record(Duration::from_millis(ms)));
        lag
    }

    fn delayed(ms: u64) -> Vec<WaveDelay> {
        vec![WaveDelay { wave: "rpc 1".into(), delay: Duration::from_millis(ms) }]
    }

    #[test]
    fn each_kind_of_evidence_gives_its_doubt_and_no_other() {
        use Severity::{Invalid, Note};
        let clean = || Evidence { cores: 2, ..Evidence::default() };
        check(&clean(), &[]);
        check(&Evidence { debug_build: true, ..clean() }, &[("debug_build", Note)]);
        let dropped = Evidence { replies_dropped: 1, ..clean() };
        check(&dropped, &[("driver_dropped_replies", Invalid)]);
        check(&Evidence { overflowed: 1, ..clean() }, &[("nodes_overflowed", Invalid)]);
        let away = Evidence { driver_disconnects: 2, ..clean() };
        check(&away, &[("driver_disconnected", Note)]);
        for severity in [Note, Invalid] {
            let failures = vec![("x".into(), severity), ("y".into(), severity)];
            check(&Evidence { failures, ..clean() }, &[("wave_failed", severity)]);
        }
        check(&Evidence { fleet: (10, 9), ..clean() }, &[("fleet_incomplete", Note)]);
        check(&Evidence { fleet: (10, 10), ..clean() }, &[]);
        let unjudged = |away| Evidence { unjudged: Some((away, 10)), ..clean() };
        check(&unjudged(0), &[]);
        check(&unjudged(1), &[("incomplete_unjudged", Note)]);
        let silent = vec![("n1".into(), Duration::from_secs(4))];
        check(&Evidence { silent, ..clean() }, &[("monitoring_silent", Note)]);
        let near = Evidence { preflight: vec![("files".into(), "ulimit".into())], ..clean() };
        check(&near, &[("host_limit_near", Note)]);
        for (replies, expected) in [
            (0, &[][..]),
            (49_151, &[]),
            (49_152, &[("driver_backlog", Note)]),
            (65_535, &[("driver_backlog", Note)]),
            (65_536, &[("driver_backlog", Invalid)]),
        ] {
            let backlog = Some(Backlog { wave: "rpc 1".into(), replies });
            check(&Evidence { backlog, ..clean() }, expected);
        }
        check(&Evidence { delays: delayed(50), ..clean() }, &[]);
        check(&Evidence { delays: delayed(51), ..clean() }, &[("waves_sent_late", Note)]);
        check(&Evidence { delays: delayed(251), ..clean() }, &[("waves_sent_late", Invalid)]);
    }

    #[test]
    fn lag_and_cpu_invalidate_only_where_they_can_have_made_the_figures() {
        use Severity::{Invalid, Note};
        let with = |ms, response_ms| Evidence {
            lag: lagging(ms),
            median_response: Some(Duration::from_millis(response_ms)),
            ..Evidence::default()
        };
        check(&with(40, 10), &[]);
        check(&with(60, 10), &[("scheduler_lag", Note)]);
        check(&with(300, 5000), &[("scheduler_lag", Note)]);
        check(&with(300, 500), &[("scheduler_lag", Invalid)]);
        let busy = |wall_ms, cpu_ms| Evidence {
            waves_wall: Duration::from_millis(wall_ms),
            waves_cpu: Duration::from_millis(cpu_ms),
            cores: 2,
            ..Evidence::default()
        };
        check(&busy(10_000, 15_000), &[]);
        check(&busy(10_000, 15_100), &[("generator_saturated", Invalid)]);
        check(&busy(500, 1_000), &[]);
        let far = |lag_ms, cpu_ms| FarEvidence {
            name: "w2".into(),
            lag: lagging(lag_ms),
            waves_wall: Duration::from_secs(10),
            waves_cpu: Duration::from_millis(cpu_ms),
            cores: 4,
        };
        let with_far = |far| Evidence { far: vec![far], ..with(1, 500) };
        check(&with_far(far(40, 30_000)), &[]);
        check(&with_far(far(300, 30_000)), &[("scheduler_lag", Invalid)]);
        check(&with_far(far(40, 30_100)), &[("generator_saturated", Invalid)]);
        let told = doubts(&with_far(far(300, 30_000)));
        assert!(told[0].detail.contains("the driver at worker w2"), "{told:?}");
    }
}
