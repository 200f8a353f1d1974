//! A worker as a NATS micro service from when it is connected until it ends, so that `nats micro ls`, `info` and `stats`
//! show it, and `nats req choria_emulator.worker.NAME ''` its counters.
//!
//! What a service says of itself does not change while it is there (ADR-32 of NATS), and a worker takes part in a run
//! later: which one, and what its nodes count, stands in the data of its statistics.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_nats::service::endpoint::Endpoint;
use async_nats::service::{Service, ServiceExt as _};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::carrier::Carrier;
use crate::control::Line;
use crate::control::messages::Card;

/// Name of the service.
const NAME: &str = "choria-emulator-worker";
/// What the subject of a worker's counters begins with; its name follows.
const COUNTERS: &str = "choria_emulator.worker";

/// Shows the worker until it is dropped. One that the control broker does not let be shown works without.
pub(super) async fn show(line: Line, card: Card, carrier: Arc<Carrier>) {
    match start(&line, &card, Arc::clone(&carrier)).await {
        // The service is there as long as the connection.
        Ok((_service, mut counters)) => {
            while let Some(request) = counters.next().await {
                let counts = serde_json::to_vec(&counts(&carrier)).unwrap_or_default();
                let _ = request.respond(Ok(Bytes::from(counts))).await;
            }
        }
        Err(error) => tracing::warn!("not shown as a micro service: {error}"),
    }
}

fn counts(carrier: &Carrier) -> BTreeMap<&'static str, u64> {
    carrier.counts().each().collect()
}

/// The run that the worker takes part in, and what its nodes count.
fn data(carrier: &Carrier) -> Value {
    json!({ "run": carrier.run(), "counters": counts(carrier) })
}

async fn start(
    line: &Line,
    card: &Card,
    carrier: Arc<Carrier>,
) -> Result<(Service, Endpoint), async_nats::Error> {
    let Card { name, host, pid, .. } = card;
    let metadata = [("worker", name), ("host", &host.name), ("pid", &pid.to_string())];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value.clone()));
    let builder = line.client().service_builder();
    let builder = builder.description("carries emulated Choria nodes for a conductor");
    let builder = builder.stats_handler(move |_, _| data(&carrier));
    let service = builder.metadata(metadata.into()).start(NAME, env!("CARGO_PKG_VERSION")).await?;
    let endpoint = service.group(COUNTERS).endpoint_builder().name("counters").add(name).await?;
    Ok((service, endpoint))
}
