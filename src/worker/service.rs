//! A worker as a NATS micro service, so that `nats micro ls`, `info` and `stats` show it, and
//! `nats req choria_emulator.worker.NAME ''` its counters.

use std::collections::HashMap;
use std::sync::Arc;

use async_nats::service::endpoint::Endpoint;
use async_nats::service::{Service, ServiceExt as _};
use bytes::Bytes;
use futures_util::StreamExt as _;

use super::carrier::Carrier;
use crate::control::Line;

/// Name of the service.
const NAME: &str = "choria-emulator-worker";
/// What the subject of a worker's counters begins with; its name follows.
const COUNTERS: &str = "choria_emulator.worker";

/// Shows the worker until it is dropped. One that the control broker does not let be shown works without.
pub(super) async fn show(line: Line, name: String, run: String, carrier: Arc<Carrier>) {
    match start(&line, &name, &run).await {
        // The service is there as long as it is held.
        Ok((_service, mut counters)) => {
            while let Some(request) = counters.next().await {
                let counts: HashMap<_, _> = carrier.counts().each().collect();
                let counts = serde_json::to_vec(&counts).unwrap_or_default();
                let _ = request.respond(Ok(Bytes::from(counts))).await;
            }
        }
        Err(error) => tracing::warn!("not shown as a micro service: {error}"),
    }
}

async fn start(
    line: &Line,
    name: &str,
    run: &str,
) -> Result<(Service, Endpoint), async_nats::Error> {
    let pid = std::process::id().to_string();
    let metadata = [("worker", name), ("run", run), ("pid", &pid)];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let builder = line.client().service_builder();
    let builder = builder.description("carries emulated Choria nodes for a conductor");
    let service = builder.metadata(metadata.into()).start(NAME, env!("CARGO_PKG_VERSION")).await?;
    let endpoint = service.group(COUNTERS).endpoint_builder().name("counters").add(name).await?;
    Ok((service, endpoint))
}
