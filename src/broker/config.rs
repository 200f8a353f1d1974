//! The configuration of one broker, written so that every release starts with the same effective
//! settings.
//!
//! An unknown key is an error in every nats-server 2.x, so the writer knows since when each key
//! exists and says what it had to leave out. Versions and spellings were checked by starting
//! thirteen releases from 2.0.0 to 2.14.5; where a default differs between releases the value is
//! written out. Left out on purpose: `ping_interval` (two minutes everywhere, but no spelling
//! suits all releases), `log_file` (the log is the program's standard error, so that a panic is
//! in it too).

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// The broker's name in the plan.
    pub name: String,
    /// Port for clients, on loopback.
    pub client_port: u16,
    /// Port for monitoring, on loopback.
    pub monitor_port: u16,
    /// Where the server writes the file that names its ports.
    pub ports_folder: PathBuf,
    /// Its limits.
    pub limits: Limits,
    /// The user's own configuration, appended as it is: in nats-server the last word wins.
    pub extra: String,
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
        let mut left_out = Vec::new();
        let mut text = format!("# nats-server {version}, written by choria-emulator\n");
        for Setting { key, value, since } in self.settings() {
            match since {
                Some((since, effect)) if *version < since => {
                    left_out.push(LeftOut { key, since, effect });
                }
                // Writing to a String cannot fail.
                _ => drop(writeln!(text, "{key}: {value}")),
            }
        }
        // Written without users it leaves anonymous clients allowed and gives a stampede of
        // thousands time to log in: the default is 1 s before 2.2 and 2 s since.
        text.push_str("authorization { timeout: 10 }\n");
        if !self.extra.is_empty() {
            text.push_str("\n# from the scenario\n");
            text.push_str(&self.extra);
            text.push('\n');
        }
        Rendered { text, left_out }
    }

    fn settings(&self) -> Vec<Setting> {
        let always = |key, value: String| Setting { key, value, since: None };
        let monitor = SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.monitor_port).to_string();
        vec![
            Setting {
                key: "server_name",
                value: quoted(&self.name),
                since: Some((Version::new(2, 1, 9), "the broker is known by its id only")),
            },
            always("host", quoted(&Ipv4Addr::LOCALHOST.to_string())),
            always("port", self.client_port.to_string()),
            always("http", quoted(&monitor)),
            always("ports_file_dir", quoted(&self.ports_folder.to_string_lossy())),
            always("max_connections", self.limits.max_connections.to_string()),
            always("max_payload", self.limits.max_payload_bytes.to_string()),
            always("max_pending", self.limits.max_pending_bytes.to_string()),
            always("max_control_line", "4096".to_owned()),
            // 2 s before 2.2. A bare number is a warning that `-t` counts as a failure.
            always("write_deadline", quoted("10s")),
            always("ping_max", "2".to_owned()),
            // The least that a server takes.
            always("lame_duck_duration", quoted("30s")),
            Setting {
                key: "lame_duck_grace_period",
                value: quoted("1s"),
                since: Some((
                    Version::new(2, 2, 0),
                    "a lame duck waits its fixed ten seconds before it closes clients",
                )),
            },
        ]
    }
}

struct Setting {
    key: &'static str,
    value: String,
    since: Option<(Version, &'static str)>,
}

/// A string as nats-server's configuration language has it.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ServerConfig {
        ServerConfig {
            name: "n1".to_owned(),
            client_port: 14_001,
            monitor_port: 14_002,
            ports_folder: PathBuf::from("/run/a \"quoted\" folder"),
            limits: Limits::carrying(100_000, 0),
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
        authorization { timeout: 10 }
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
    fn the_users_own_words_come_last_and_as_they_are() {
        let extra = "max_connections: 7\ndebug: true".to_owned();
        let rendered = ServerConfig { extra: extra.clone(), ..config() }.render(&Version::OLDEST);
        assert!(rendered.text.ends_with(&format!("# from the scenario\n{extra}\n")));
    }
}
