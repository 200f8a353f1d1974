//! How brokers that are there already can be asked about themselves: by their monitoring, or through the
//! system account of their network.

use std::path::PathBuf;

use clap::Args;

use super::Shell;
use crate::driver::{ConnectionOptions, Secret};
use crate::plan;
use crate::scenario::{Brokers, monitoring_url};

/// The flags that say so.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Watching brokers that are there already")]
pub(super) struct WatchArgs {
    /// Where monitoring of a broker answers, such as http://broker:8222; may be repeated
    #[arg(long, value_name = "URL", value_delimiter = ',', value_parser = monitoring_url)]
    monitor: Vec<String>,
    /// File of credentials of the system account, through which all brokers are watched
    #[arg(long, value_name = "FILE")]
    #[arg(env = "CHORIA_EMULATOR_SYSTEM_CREDS", hide_env_values = true)]
    system_creds: Option<PathBuf>,
    /// User of the system account
    #[arg(long, value_name = "USER")]
    #[arg(env = "CHORIA_EMULATOR_SYSTEM_USER", hide_env_values = true)]
    system_user: Option<String>,
    /// Password of the user of the system account
    #[arg(long, value_name = "PASSWORD", requires = "system_user")]
    #[arg(env = "CHORIA_EMULATOR_SYSTEM_PASSWORD", hide_env_values = true)]
    system_password: Option<String>,
}

/// The flags by their field, to name the one that does not fit.
const FLAGS: [(&str, &str); 4] = [
    ("monitor", "--monitor"),
    ("system_creds", "--system-creds"),
    ("system_user", "--system-user"),
    ("system_password", "--system-password"),
];

impl WatchArgs {
    /// The first of these flags that was typed, if one was.
    pub(super) fn typed(shell: &Shell) -> Option<&'static str> {
        FLAGS.iter().find(|(field, _)| shell.typed.has(field)).map(|(_, flag)| *flag)
    }

    /// The monitoring that was named, if any was.
    pub(super) fn monitoring(&self) -> Option<Vec<String>> {
        (!self.monitor.is_empty()).then(|| self.monitor.clone())
    }

    /// Puts the monitoring that was named into a scenario, instead of its own. Returns a line of text
    /// that says so.
    pub(super) fn name(&self, brokers: &mut Brokers) -> String {
        let Some(monitoring) = self.monitoring() else { return String::new() };
        let said = format!("# run with --monitor {}\n", monitoring.join(","));
        brokers.monitoring = Some(monitoring);
        said
    }

    /// How the system account is reached, if somebody says who we are there.
    pub(super) fn system(
        self,
        connection: &ConnectionOptions,
        brokers: &plan::Brokers,
    ) -> Option<ConnectionOptions> {
        let plan::Brokers::External { urls, system_creds, .. } = brokers else { return None };
        let user = self.system_user;
        let creds = self.system_creds.or_else(|| system_creds.as_ref().map(PathBuf::from));
        // A user that was named here is meant, whatever the scenario has.
        let creds = creds.filter(|_| user.is_none());
        if user.is_none() && creds.is_none() {
            return None;
        }
        Some(ConnectionOptions {
            servers: urls.clone(),
            user,
            password: self.system_password.map(Secret::new),
            token: None,
            creds,
            nkey: None,
            inbox_prefix: None,
            ..connection.clone()
        })
    }
}
