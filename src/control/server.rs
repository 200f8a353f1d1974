//! The control broker of a run that is given none: a nats-server with JetStream in memory, beside the brokers
//! under test and not one of them.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::broker::{
    Broker, Limits, Obtained, PortChoice, StartError, StartSpec, Version, Wiring, variable,
};
use crate::child::Launcher;
use crate::driver::{ConnectionOptions, Secret};

/// Its name, also that of its files.
const NAME: &str = "control";
/// The variable that its configuration reads the token from, so that no file holds it.
const TOKEN: &str = "CHORIA_EMULATOR_CONTROL_SECRET";
/// Time until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// The first release with JetStream that was checked (brokers-checked 5).
const SINCE: (u32, u32, u32) = (2, 2, 6);

/// Why there is no control broker.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The release at hand has no JetStream.
    #[error(
        "the control broker needs JetStream, which nats-server has since 2.2, and the one at hand is {0}\n\
         have a newer one at hand (choria-emulator broker install), or name a control broker with --control"
    )]
    TooOld(String),
    /// It could not be started.
    #[error("control broker: {0}")]
    Start(#[from] StartError),
}

/// A managed control broker. Dropping it kills it.
#[derive(Debug)]
pub struct ControlServer {
    broker: Broker,
    token: Secret,
    store: PathBuf,
    listens: Option<SocketAddrV4>,
}

impl ControlServer {
    /// Starts one: on loopback, or where `listen` says. `folder` takes its files, `token` lets conductor and
    /// workers in.
    ///
    /// # Errors
    /// When it has no JetStream, or does not start.
    pub async fn start(
        program: Obtained,
        folder: PathBuf,
        launcher: &Launcher,
        token: Secret,
        listen: Option<SocketAddrV4>,
    ) -> Result<Self, ServerError> {
        if !Self::suits(&program.version) {
            return Err(ServerError::TooOld(program.version.to_string()));
        }
        let store = folder.join("jetstream");
        let mut own = serde_json::Map::new();
        own.insert("authorization".to_owned(), json!({ "token": variable(TOKEN) }));
        own.insert(
            "jetstream".to_owned(),
            json!({ "store_dir": store.to_string_lossy(), "max_mem": 256 << 20, "max_file": 64 << 20 }),
        );
        let spec = StartSpec {
            program,
            name: NAME.to_owned(),
            folder,
            host: listen.map_or(Ipv4Addr::LOCALHOST, |at| *at.ip()),
            ports: match listen.map(|at| at.port()) {
                None | Some(0) => PortChoice::Free,
                Some(client) => PortChoice::FixedClient(client),
            },
            // As any control broker has them: what is longer goes in parcels.
            limits: Limits::default(),
            profiling: false,
            wiring: Wiring::default(),
            own_config: own,
            extra_config: String::new(),
            environment: vec![(TOKEN.into(), token.reveal().into())],
            ready_within: READY_WITHIN,
        };
        let broker = Broker::start(&spec, launcher).await?;
        let listens = listen.map(|at| SocketAddrV4::new(*at.ip(), broker.client().port()));
        Ok(Self { broker, token, store, listens })
    }

    /// Whether a release has what it takes.
    #[must_use]
    pub fn suits(version: &Version) -> bool {
        version.is_at_least(SINCE)
    }

    /// How this host reaches it.
    #[must_use]
    pub fn options(&self) -> ConnectionOptions {
        ConnectionOptions {
            servers: vec![self.broker.url()],
            token: Some(self.token.clone()),
            ..ConnectionOptions::default()
        }
    }

    /// Where workers of other hosts reach it, if any do.
    #[must_use]
    pub fn listens(&self) -> Option<SocketAddrV4> {
        self.listens
    }

    /// Its process number.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.broker.pid()
    }

    /// Ends when it has ended unasked, with what there is to say.
    pub fn died(&self) -> impl Future<Output = String> + Send + use<> {
        let died = self.broker.died();
        async move { format!("the control broker {}", died.await) }
    }

    /// Ends it, and removes what JetStream stored.
    pub async fn stop(self, patience: Duration) {
        self.broker.stop(patience).await;
        let _ = std::fs::remove_dir_all(&self.store);
    }
}
