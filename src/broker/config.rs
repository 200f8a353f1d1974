//! The configuration of one broker, written so that every release starts with the same effective
//! settings.
//!
//! An unknown key is an error in every nats-server 2.x, so the writer knows since when each key
//! exists and says what it had to leave out. Versions and spellings were checked by starting
//! thirteen releases from 2.0.0 to 2.14.5; where a default differs between releases the value is
//! written out. Left out on purpose: `ping_interval` (two minutes everywhere, but no spelling
//! suits all releases), `log_file` (the log is the program's standard error, so that a panic is
//! in it too).

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::conf::{self, merge};
use super::version::Version;

/// What a release would allow as connections if nothing were written.
const DEFAULT_MAX_CONNECTIONS: u64 = 65_536;
/// Connections that are neither nodes nor known clients: probes, a person's `nats` command.
const SPARE_CONNECTIONS: u64 = 1_000;
/// nats-server's own default.
const DEFAULT_MAX_PAYLOAD_BYTES: u64 = 1024 * 1024;
/// nats-server's own default: what may wait for one slow connection.
const DEFAULT_MAX_PENDING_BYTES: u64 = 64 * 1024 * 1024;

/// The limits that a broker must be given to carry a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections of clients that the broker accepts.
    pub max_connections: u64,
    /// Bytes of the largest message.
    pub max_payload_bytes: u64,
    /// Bytes that may wait for one connection.
    pub max_pending_bytes: u64,
}

impl Limits {
    /// Limits for so many connections and messages of so many bytes: never below the server's
    /// own defaults.
    #[must_use]
    pub fn carrying(connections: u64, largest_message_bytes: u64) -> Self {
        let max_payload_bytes = DEFAULT_MAX_PAYLOAD_BYTES.max(largest_message_bytes);
        Self {
            max_connections: DEFAULT_MAX_CONNECTIONS
                .max(connections.saturating_add(SPARE_CONNECTIONS)),
            max_payload_bytes,
            // A payload above the pending limit is refused at the start.
            max_pending_bytes: DEFAULT_MAX_PENDING_BYTES.max(max_payload_bytes),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::carrying(0, 0)
    }
}

/// Everything that goes into the configuration file of one broker.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerConfig {
    /// The broker's name in the plan.
    pub name: String,
    /// The address for clients; everything else is on loopback.
    pub host: Ipv4Addr,
    /// Port for clients.
    pub client_port: u16,
    /// Port for monitoring, on loopback.
    pub monitor_port: u16,
    /// Where the server writes the file that names its ports.
    pub ports_folder: PathBuf,
    /// Its limits.
    pub limits: Limits,
    /// Whether it has a port for profiling, on loopback, wherever one is free.
    pub profiling: bool,
    /// How it is joined with others.
    pub wiring: Wiring,
    /// The user's own keys, merged into ours.
    pub own: Map<String, Value>,
    /// The user's own text, appended as it is: in nats-server the last word wins.
    pub extra: String,
}

/// How a broker is joined with others, all on loopback.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wiring {
    /// The cluster that it is in.
    pub cluster: Option<Cluster>,
    /// The clusters that its own is joined with.
    pub gateway: Option<Gateway>,
    /// Port for leaves.
    pub leaf_port: Option<u16>,
    /// Port for leaves of the hub's broker to which it connects as a leaf; it learns the others from it.
    pub hub_port: Option<u16>,
}

/// A cluster as one of its brokers sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Our port for routes.
    pub port: u16,
    /// The ports for routes of all its brokers.
    pub routes: Vec<u16>,
}

/// Gateways as one broker sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// The name of our own cluster.
    pub name: String,
    /// Our port for gateways.
    pub port: u16,
    /// All clusters, our own included, with the ports for gateways of their brokers.
    pub clusters: Vec<(String, Vec<u16>)>,
}

impl Wiring {
    /// The ports that it listens on.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        let cluster = self.cluster.as_ref().map(|cluster| cluster.port);
        let gateway = self.gateway.as_ref().map(|gateway| gateway.port);
        cluster.into_iter().chain(gateway).chain(self.leaf_port).collect()
    }
}

/// A setting that a release does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The configuration key.
    pub key: &'static str,
    /// The first release that takes it.
    pub since: Version,
    /// What that means for the run.
    pub effect: &'static str,
}

/// A written configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The text of the file.
    pub text: String,
    /// What this release cannot be told.
    pub left_out: Vec<LeftOut>,
}

impl ServerConfig {
    /// The configuration in the words of this release.
    #[must_use]
    pub fn render(&self, version: &Version) -> Rendered {
        let (keys, left_out) = self.keys(version);
        let mut text = format!("# nats-server {version}, written by choria-emulator\n");
        conf::write(&mut text, &keys);
        if !self.extra.is_empty() {
            text.push_str("\n# from the scenario\n");
            text.push_str(self.extra.trim_end());
            text.push('\n');
        }
        Rendered { text, left_out }
    }

    /// What it is to hold, the user's own text aside, and what the release cannot be told of it.
    pub(super) fn keys(&self, version: &Version) -> (Map<String, Value>, Vec<LeftOut>) {
        let mut told = Told { version, keys: Map::new(), left_out: Vec::new() };
        self.tell_settings(&mut told);
        self.tell_wiring(&mut told);
        let Told { mut keys, left_out, .. } = told;
        merge(&mut keys, &self.own);
        (keys, left_out)
    }

    fn tell_settings(&self, told: &mut Told<'_>) {
        told.since(
            (2, 1, 9),
            "server_name",
            json!(self.name),
            "the broker is known by its id only",
        );
        told.always("host", json!(self.host));
        told.always("port", json!(self.client_port));
        told.always("http", json!(at(self.monitor_port)));
        told.always("ports_file_dir", json!(self.ports_folder.to_string_lossy()));
        if self.profiling {
            told.always("prof_port", json!(-1));
        }
        told.always("max_connections", json!(self.limits.max_connections));
        told.always("max_payload", json!(self.limits.max_payload_bytes));
        told.always("max_pending", json!(self.limits.max_pending_bytes));
        told.always("max_control_line", json!(4096));
        // 2 s before 2.2. A bare number is a warning that `-t` counts as a failure.
        told.always("write_deadline", json!("10s"));
        told.always("ping_max", json!(2));
        // The least that a server takes.
        told.always("lame_duck_duration", json!("30s"));
        told.since(
            (2, 2, 0),
            "lame_duck_grace_period",
            json!("1s"),
            "a lame duck waits its fixed ten seconds before it closes clients",
        );
        // Written without users it leaves anonymous clients allowed and gives a stampede of
        // thousands time to log in: the default is 1 s before 2.2 and 2 s since.
        told.always("authorization", json!({ "timeout": 10 }));
    }

    fn tell_wiring(&self, told: &mut Told<'_>) {
        let Wiring { cluster, gateway, leaf_port, hub_port } = &self.wiring;
        if let Some(cluster) = cluster {
            told.always("cluster.listen", json!(at(cluster.port)));
            told.since((2, 2, 0), "cluster.name", json!(cluster.name), "the cluster has no name");
            told.always("cluster.routes", urls("nats", &cluster.routes));
            // The default, said so that a result shows it.
            told.since(
                (2, 10, 0),
                "cluster.pool_size",
                json!(3),
                "one connection carries all that goes to another broker of the cluster",
            );
        }
        if let Some(gateway) = gateway {
            let cluster = |(name, ports): &(String, Vec<u16>)| json!({ "name": name, "urls": urls("nats", ports) });
            told.always("gateway.name", json!(gateway.name));
            told.always("gateway.listen", json!(at(gateway.port)));
            told.always("gateway.gateways", gateway.clusters.iter().map(cluster).collect());
        }
        if let Some(port) = leaf_port {
            told.always("leafnodes.listen", json!(at(*port)));
        }
        if let Some(port) = hub_port {
            // `url`, since `urls` came with 2.0.4; `reconnect` has no spelling that fits all releases.
            told.always("leafnodes.remotes", json!([{ "url": url("nats-leaf", *port) }]));
        }
    }
}

/// What a release is told, as far as it understands.
struct Told<'a> {
    version: &'a Version,
    keys: Map<String, Value>,
    left_out: Vec<LeftOut>,
}

impl Told<'_> {
    fn always(&mut self, key: &'static str, value: Value) {
        let (block, key) =
            key.split_once('.').map_or((None, key), |(block, key)| (Some(block), key));
        let keys = match block {
            None => &mut self.keys,
            Some(block) => {
                let block = self.keys.entry(block).or_insert_with(|| Value::Object(Map::new()));
                let Value::Object(keys) = block else { return };
                keys
            }
        };
        keys.insert(key.to_owned(), value);
    }

    fn since(
        &mut self,
        (major, minor, patch): (u32, u32, u32),
        key: &'static str,
        value: Value,
        effect: &'static str,
    ) {
        let since = Version::new(major, minor, patch);
        if *self.version < since {
            self.left_out.push(LeftOut { key, since, effect });
        } else {
            self.always(key, value);
        }
    }
}

pub(super) const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// An address on loopback.
fn at(port: u16) -> String {
    SocketAddrV4::new(LOOPBACK, port).to_string()
}

fn url(scheme: &str, port: u16) -> String {
    format!("{scheme}://{}", at(port))
}

fn urls(scheme: &str, ports: &[u16]) -> Value {
    ports.iter().map(|port| url(scheme, *port)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ServerConfig {
        ServerConfig {
            name: "n1".to_owned(),
            host: LOOPBACK,
            client_port: 14_001,
            monitor_port: 14_002,
            ports_folder: PathBuf::from("/run/a \"quoted\" folder"),
            limits: Limits::carrying(100_000, 0),
            profiling: false,
            wiring: Wiring::default(),
            own: Map::new(),
            extra: String::new(),
        }
    }

    #[test]
    fn a_current_release_is_told_everything() {
        let rendered = config().render(&Version::NEWEST_KNOWN);
        assert_eq!(rendered.left_out, []);
        insta::assert_snapshot!(rendered.text, @r#"
        # nats-server 2.14.5, written by choria-emulator
        server_name: "n1"
        host: "127.0.0.1"
        port: 14001
        http: "127.0.0.1:14002"
        ports_file_dir: "/run/a \"quoted\" folder"
        max_connections: 101000
        max_payload: 1048576
        max_pending: 67108864
        max_control_line: 4096
        write_deadline: "10s"
        ping_max: 2
        lame_duck_duration: "30s"
        lame_duck_grace_period: "1s"
        authorization: {
          timeout: 10
        }
        "#);
    }

    #[test]
    fn older_releases_are_not_told_what_they_do_not_know() {
        for (version, expected) in [
            ("2.0.0", &["server_name", "lame_duck_grace_period"][..]),
            ("2.1.0", &["server_name", "lame_duck_grace_period"]),
            ("2.1.9", &["lame_duck_grace_period"]),
            ("2.2.6", &[]),
            ("2.9.25", &[]),
        ] {
            let rendered = config().render(&version.parse().unwrap());
            let left_out: Vec<&str> = rendered.left_out.iter().map(|l| l.key).collect();
            assert_eq!(left_out, expected, "{version}");
            for key in expected {
                assert!(!rendered.text.contains(key), "{version} is told {key}");
            }
        }
    }

    #[test]
    fn limits_follow_the_plan_and_never_fall_below_the_defaults() {
        for ((connections, message_bytes), (max_connections, payload, pending)) in [
            ((0, 0), (65_536, 1 << 20, 64 << 20)),
            ((64_536, 0), (65_536, 1 << 20, 64 << 20)),
            ((64_537, 0), (65_537, 1 << 20, 64 << 20)),
            ((200_000, 2 << 20), (201_000, 2 << 20, 64 << 20)),
            ((1, 100 << 20), (65_536, 100 << 20, 100 << 20)),
        ] {
            let expected =
                Limits { max_connections, max_payload_bytes: payload, max_pending_bytes: pending };
            assert_eq!(Limits::carrying(connections, message_bytes), expected);
        }
    }

    #[test]
    fn a_setting_is_written_once_whatever_the_user_calls_it() {
        let own = json!({
            "Max_Conn": 7, "WRITE_DEADLINE": "3s", "Ping_Interval": "9s", "TOKEN": "x",
            "Cluster": {"POOL_SIZE": 1, "no_advertise": true},
        });
        let cluster = Cluster { name: "c1".to_owned(), port: 14_003, routes: vec![] };
        let wiring = Wiring { cluster: Some(cluster), ..Wiring::default() };
        let own = own.as_object().unwrap().clone();
        let text = ServerConfig { wiring, own, ..config() }.render(&Version::NEWEST_KNOWN).text;
        let set = |name: &str| {
            let lines = text.lines().map(str::trim_start);
            let set = lines.filter_map(|line| line.split_once(": "));
            let of_name = set.filter(|(key, _)| conf::our_name(key) == name);
            of_name.map(|(key, value)| format!("{key} {value}")).collect::<Vec<_>>()
        };
        for (name, written) in [
            ("max_connections", "max_connections 7"),
            ("write_deadline", "write_deadline \"3s\""),
            ("cluster", "cluster {"),
            ("pool_size", "pool_size 1"),
            ("no_advertise", "no_advertise true"),
            ("listen", "listen \"127.0.0.1:14003\""),
            // What we do not write stays as it is: a variable is told from another by its capitals.
            ("ping_interval", "Ping_Interval \"9s\""),
            ("token", "TOKEN \"x\""),
        ] {
            assert_eq!(set(name), [written], "{text}");
        }
    }

    #[test]
    fn the_users_own_words_come_last_and_as_they_are() {
        let extra = "max_connections: 7\ndebug: true".to_owned();
        let rendered = ServerConfig { extra: extra.clone(), ..config() }.render(&Version::OLDEST);
        assert!(rendered.text.ends_with(&format!("# from the scenario\n{extra}\n")));
    }
}
