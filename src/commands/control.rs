//! Flags of the control plane: which processes carry the nodes, and over which control broker they are led.

use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, value_parser};

use super::connection::server_url;
use super::failure::Refusal;
use crate::crew::{ControlAt, Elsewhere, TOKEN_VARIABLE, Workers};
use crate::driver::{ConnectionOptions, Secret};
use crate::scenario::Span;

/// How long workers from elsewhere are waited for.
const MAX_WAIT: Duration = Duration::from_secs(120);

/// Who we are on the control broker.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Worker processes")]
pub(super) struct CredentialArgs {
    /// Token of the control broker
    #[arg(long, value_name = "TOKEN", env = TOKEN_VARIABLE, hide_env_values = true)]
    control_token: Option<String>,
    /// File of user credentials (JWT and seed) for the control broker
    #[arg(
        long,
        value_name = "FILE",
        env = "CHORIA_EMULATOR_CONTROL_CREDS",
        hide_env_values = true
    )]
    control_creds: Option<PathBuf>,
    /// Certificate authorities to trust at the control broker
    #[arg(long, value_name = "FILE", env = "CHORIA_EMULATOR_CONTROL_CA", hide_env_values = true)]
    control_tlsca: Option<PathBuf>,
}

impl CredentialArgs {
    /// How the control broker at `url` is reached.
    pub(super) fn options(self, url: &str) -> anyhow::Result<ConnectionOptions> {
        let (address, login) = server_url(url)?;
        Ok(ConnectionOptions {
            servers: vec![address],
            user: login.user,
            password: login.password.map(Secret::new),
            token: self.control_token.or(login.token).map(Secret::new),
            creds: self.control_creds,
            tls_ca: self.control_tlsca,
            ..ConnectionOptions::default()
        })
    }
}

/// A token for a control broker of our own, which reads it from its configuration.
fn own_token(text: String) -> anyhow::Result<Secret> {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    match plain {
        true => Ok(Secret::new(text)),
        false => Err(Refusal::usage(format!(
            "the token of the control broker is to be a letter, followed by letters, digits, `-` and `_`\n\
             for example: export {TOKEN_VARIABLE}=t$(openssl rand -hex 16), or leave it out and one is made up"
        ))),
    }
}

/// Which processes carry the nodes of a run.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Worker processes")]
pub(super) struct WorkersArgs {
    /// Carry the nodes in so many worker processes [default: this one, or as many as the limit of open files wants]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=10_000))]
    workers: Option<u64>,
    /// Wait for workers of other hosts, over this control broker (with JetStream and a token)
    #[arg(long, value_name = "URL", requires = "workers")]
    control: Option<String>,
    /// Wait for workers of other hosts, over a control broker that is started here, on this address
    #[arg(long, value_name = "IP:PORT", requires = "workers", conflicts_with = "control")]
    control_listen: Option<SocketAddrV4>,
    #[command(flatten)]
    credentials: CredentialArgs,
    /// Wait so long for workers of other hosts, such as 10m [default: 2m]
    #[arg(long, value_name = "DURATION", value_parser = Span::parse)]
    expect_max_wait: Option<Span>,
}

impl WorkersArgs {
    /// Which processes these options name.
    pub(super) fn workers(self) -> anyhow::Result<Workers> {
        let Some(count) = self.workers else { return Ok(Workers::AsNeeded) };
        let control = match (self.control, self.control_listen) {
            (Some(url), _) => ControlAt::Given(Box::new(self.credentials.options(&url)?)),
            (None, Some(address)) => {
                let token = self.credentials.control_token.map(own_token).transpose()?;
                ControlAt::Listen { address, token }
            }
            (None, None) if self.expect_max_wait.is_some() => {
                return Err(Refusal::usage(
                    "--expect-max-wait is for workers of other hosts\n\
                     name their control broker with --control URL or --control-listen IP:PORT",
                ));
            }
            (None, None) => return Ok(Workers::Here(count)),
        };
        let wait = self.expect_max_wait.map_or(MAX_WAIT, |span| span.0);
        if wait.is_zero() {
            return Err(Refusal::usage(
                "--expect-max-wait 0s waits for nobody\nwrite how long to wait, such as 10m",
            ));
        }
        Ok(Workers::Elsewhere(Box::new(Elsewhere { count, control, wait })))
    }
}
