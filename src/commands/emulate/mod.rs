//! `emulate`: a fleet without waves, kept until Ctrl-C, for clients of any kind to talk to.
//!
//! The flags are the predecessor's (choria-emulator 0.1); what it could and we cannot is refused by
//! name.

mod counters;
mod flags;
mod hold;

use anyhow::Context as _;
use emulator::fleet::Fleet;
use emulator::spec::{Server, Share};
use reports::verdict::ExitCode;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::Shell;
use super::failure::Refusal;
use super::progress::Display;
use super::signals;
use crate::broker::{LookUpError, look_up};
use crate::conductor::Stop;
use crate::doctor::{self, Examination, Hands, Verdict};
use crate::plan::{Brokers, Plan, Seat};

pub(super) use flags::EmulateArgs;

use counters::{Config, Snapshot};
use hold::Watch;

pub(super) fn run(args: EmulateArgs, shell: &Shell) -> anyhow::Result<ExitCode> {
    let port = args.http_port;
    let asked = args.read(shell)?;
    let examined = Examination::of(&asked.plan, Hands::One)?;
    if examined.verdict() == Verdict::Fail {
        return Err(Refusal::of(ExitCode::Refused, examined.to_text()));
    }
    doctor::raise_open_files()?;
    let sources = match examined.budget.demand.loopback {
        true => examined.budget.loopback_sources(),
        false => Vec::new(),
    };
    let shell = shell.clone();
    let screen = shell.screen.clone();
    signals::run(&screen, "stopping", async move |stop| {
        let servers = servers(&asked.plan).await?;
        let shards = std::thread::available_parallelism().map_or(1, usize::from);
        let login = asked.login.clone();
        let share = Share::WHOLE;
        let seat = Seat { share, shards, servers, source_addresses: sources, login };
        emulate(&asked.plan, &seat, port, stop, &shell).await
    })
}

async fn emulate(
    plan: &Plan,
    seat: &Seat,
    port: u16,
    stop: Stop,
    shell: &Shell,
) -> anyhow::Result<ExitCode> {
    let config = Config::of(plan);
    let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(|error| {
        Refusal::usage(format!(
            "port {port} of 127.0.0.1 cannot be had for counters: {error}\nname another with --http-port, 0 for any"
        ))
    })?;
    let address = listener.local_addr()?;
    let display = Display::new(shell);
    display.say(&format!("counters at http://{address}/metrics and http://{address}/debug/vars"));
    let (publish, snapshots) = watch::channel(Snapshot::empty(config));
    let fleet = Fleet::start(plan.fleet_spec(seat))?;
    let held = {
        let serving = axum::serve(listener, counters::router(snapshots));
        let holding = Watch::new(display, publish).hold(&fleet, stop);
        tokio::select! {
            held = holding => held,
            served = serving.into_future() => {
                served.context("the port for counters is gone").and(Err(anyhow::anyhow!("the port for counters was closed")))
            }
        }
    };
    let counts = fleet.stop().await;
    let held = held?;
    shell.screen.print(&hold::summary(&counts, held))?;
    Ok(ExitCode::Passed)
}

/// Where the nodes connect, addresses looked up.
async fn servers(plan: &Plan) -> anyhow::Result<Vec<Server>> {
    let Brokers::External { urls, .. } = &plan.brokers else {
        return Err(Refusal::usage(
            "no network is named\nname a server with --server nats://HOST:4222",
        ));
    };
    let unreachable =
        |error: LookUpError| Refusal::of(ExitCode::BrokerUnreachable, error.to_string());
    look_up(urls).await.map_err(unreachable)
}
