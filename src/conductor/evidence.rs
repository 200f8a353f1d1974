//! What a run cost and what there is to doubt in it, gathered before anything is stopped.

use std::collections::BTreeMap;
use std::time::Duration;

use emulator::connection::server_error::ServerError;
use emulator::fleet::counts::FleetCounts;

use super::run::Run;
use crate::crew::FarDriver;
use crate::driver::IncidentKind;
use crate::watch::{Evidence, FarEvidence, Usage, WaveDelay, doubts};

/// Writes costs and doubts into the run's result.
pub(super) fn gather(run: &mut Run<'_>) {
    let counts = run.crew.as_ref().map(crate::crew::Crew::counts).unwrap_or_default();
    let replies = run.replies();
    let foreign = run.is_foreign();
    // Where no client is here, this process drives nothing: it keeps the books.
    let here = if run.drives() { run.waves_usage.other_cpu } else { Duration::ZERO };
    let tally = &mut run.book.run.tally;
    tally.scheduler_lag = run.lag.distribution();
    run.far.iter().for_each(|far| tally.scheduler_lag.merge(&far.account.lag));
    if let Some(telemetry) = &run.telemetry {
        tally.cost.brokers = telemetry.costs();
    }
    let far_cpu = run.far.iter().map(|far| far.account.driver_cpu).sum::<Duration>();
    tally.cost.driver.cpu = here + far_cpu;
    tally.cost.driver.replies = replies;
    if !foreign {
        tally.fleet.ever_connected = counts.ever_connected;
        tally.fleet.disconnects = counts.disconnects;
        tally.fleet.reconnects = counts.reconnects;
        tally.fleet.received = counts.messages_in;
        tally.fleet.answered = counts.replies;
        tally.fleet.counters = named(&counts);
        let others = run.crew.as_ref().and_then(crate::crew::Crew::cost).unwrap_or_default();
        tally.cost.emulator.cpu = Usage::now().cpu() + others.cpu;
        tally.cost.emulator.wave_cpu = run.waves_usage.fleet_cpu + others.wave_cpu;
        tally.cost.emulator.wave_answers = counts.replies;
    }
    let evidence = evidence(run, counts.overflowed);
    let tally = &mut run.book.run.tally;
    tally.doubts.extend(doubts(&evidence));
    if !foreign && tally.fleet.planned == 0 {
        // It ended before the waves, perhaps while nodes were connecting: nothing to doubt in that.
        tally.fleet.planned = counts.planned;
        tally.fleet.connected = counts.connected;
        tally.fleet.subscriptions = counts.subscriptions;
    }
}

/// All counters that are not zero, by name.
fn named(counts: &FleetCounts) -> BTreeMap<String, u64> {
    let errors = ServerError::ALL.iter().zip(counts.server_errors);
    let errors = errors.map(|(kind, count)| (format!("server_errors_{}", kind.name()), count));
    let counts = counts.each().map(|(name, count)| (name.to_owned(), count));
    counts.chain(errors).filter(|(_, count)| *count > 0).collect()
}

fn evidence(run: &Run<'_>, overflowed: u64) -> Evidence {
    let tally = &run.book.run.tally;
    let response = tally.waves.distributions(|_| true).response_time;
    let mut delays = Vec::new();
    let (mut away, mut expected) = (0, 0);
    for (key, wave) in tally.waves.counted() {
        away += wave.result.expected - wave.result.on_time;
        expected += wave.result.expected;
        // Where the broker kept a wave waiting, it was not the tool that was late.
        if let Some(us) = wave.result.send_delay.min_us()
            && !run.waited_for_broker.contains(key)
        {
            let name = format!("{} {}", key.name, key.number);
            delays.push(WaveDelay { wave: name, delay: Duration::from_micros(us) });
        }
    }
    let (mut incidents, _) = run.driver.as_ref().map(|d| d.incidents()).unwrap_or_default();
    incidents.extend(run.far.iter().flat_map(|far| far.incidents.iter().cloned()));
    let seen = |wanted: &IncidentKind| {
        incidents.iter().filter(|i| i.kind == *wanted).map(|i| i.count).sum()
    };
    // What the timeline did to the brokers is no reason to doubt.
    let unasked = incidents.iter().filter(|i| i.kind == IncidentKind::Disconnected);
    let unasked = unasked.filter(|i| !tally.recovery.disturbed(i.at, i.at)).map(|i| i.count);
    let brokers = tally.cost.brokers.iter().filter(|(_, broker)| !broker.silent.is_zero());
    let silent = brokers.map(|(name, broker)| (name.clone(), broker.silent));
    Evidence {
        debug_build: cfg!(debug_assertions),
        lag: run.lag.distribution(),
        median_response: response.figures().map(|figures| Duration::from_micros(figures.p50)),
        delays,
        backlog: run.backlog.clone(),
        replies_dropped: seen(&IncidentKind::SlowConsumer),
        driver_disconnects: unasked.sum(),
        overflowed,
        waves_wall: run.waves_wall,
        waves_cpu: run.waves_usage.cpu(),
        cores: tally_cores(run),
        far: run.far.iter().map(far).collect(),
        // Nothing is known of the connections of nodes that are not ours.
        fleet: if run.is_foreign() { (0, 0) } else { (tally.fleet.planned, tally.fleet.connected) },
        preflight: run.warnings.clone(),
        failures: run.wave_failures.clone(),
        silent: silent.collect(),
        unjudged: (!run.is_judged()).then_some((away, expected)),
    }
}

fn far(far: &FarDriver) -> FarEvidence {
    let FarDriver { name, cores, account, incidents: _ } = far;
    FarEvidence {
        name: name.clone(),
        lag: account.lag.clone(),
        waves_wall: account.wall,
        waves_cpu: account.cpu,
        cores: *cores,
    }
}

fn tally_cores(run: &Run<'_>) -> u64 {
    run.book.run.about.host.cores
}
