//! What of a broker's configuration is ours to say: where and as whom it listens, and how it is joined with others.

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::config::{LOOPBACK, Limits, ServerConfig, Wiring};
use super::version::Version;

/// Where and as whom a broker listens, by our names for its settings.
const PLACE: [&str; 10] = [
    "port",
    "listen",
    "host",
    "http",
    "http_port",
    "https",
    "https_port",
    "http_base_path",
    "server_name",
    "ports_file_dir",
];
/// By which brokers find each other, in the blocks in which we say it.
const JOINING: [&str; 4] = [LISTEN, "routes", "gateways", "remotes"];
const LISTEN: &str = "listen";

/// Whether a setting at the top says where or as whom a broker listens.
pub(crate) fn is_place(name: &str) -> bool {
    PLACE.contains(&name)
}

/// Whether a setting says a part of what `listen` says in the same block.
pub(crate) fn is_in_listen(name: &str) -> bool {
    ["host", "port"].contains(&name)
}

/// What we write for a broker.
#[derive(Debug)]
pub(crate) struct Ours(Map<String, Value>);

impl Ours {
    /// For one that is joined so.
    pub(crate) fn of(wiring: Wiring, profiling: bool) -> Self {
        let config = ServerConfig {
            name: String::new(),
            host: LOOPBACK,
            client_port: 0,
            monitor_port: 0,
            ports_folder: PathBuf::new(),
            limits: Limits::default(),
            profiling,
            wiring,
            own: Map::new(),
            extra: String::new(),
        };
        Self(config.keys(&Version::NEWEST_KNOWN).0)
    }

    /// The settings at the top, as we spell them.
    pub(crate) fn settings(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// Whether it finds others by what we write in this block.
    pub(crate) fn joins_in(&self, block: &str) -> bool {
        JOINING.iter().any(|name| self.says(block, name))
    }

    /// Whether it finds others by this setting of a block.
    pub(crate) fn joins_by(&self, block: &str, name: &str) -> bool {
        JOINING.contains(&name) && self.says(block, name)
            || is_in_listen(name) && self.says(block, LISTEN)
    }

    fn says(&self, block: &str, name: &str) -> bool {
        let block = self.0.get(block).and_then(Value::as_object);
        block.is_some_and(|block| block.contains_key(name))
    }
}
