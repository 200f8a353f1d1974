//! How to reach a network that is there already: the flags, variables and contexts of the `nats` CLI.
//!
//! Precedence: command line, environment, context. A server is taken from `NATS_URL` or a context
//! only where the command needs a network to be named: a run never sends to an address that neither
//! scenario nor command line named.

mod context;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use emulator::spec::Login;
use url::Url;

use super::Shell;
use super::failure::Refusal;
use crate::driver::{ConnectionOptions, Secret};
use crate::scenario::{Brokers, Span, Topology};

use context::Context;

/// Port of a URL that names none.
const PORT: u16 = 4222;

/// The connection flags of the `nats` CLI.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection, as the nats CLI has it")]
pub(super) struct NatsArgs {
    /// Server of the network, such as nats://broker:4222; may be repeated [env: NATS_URL, not for run]
    #[arg(short, long, value_name = "URL", value_delimiter = ',')]
    server: Vec<String>,
    /// User name, or token
    #[arg(long, value_name = "USER", env = "NATS_USER", hide_env_values = true)]
    user: Option<String>,
    /// Password of the user
    #[arg(long, value_name = "PASSWORD", env = "NATS_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// Token
    #[arg(long, value_name = "TOKEN", env = "NATS_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// File of user credentials (JWT and seed)
    #[arg(long, visible_alias = "credentials", value_name = "FILE")]
    #[arg(env = "NATS_CREDS", hide_env_values = true)]
    creds: Option<PathBuf>,
    /// File with an NKEY seed
    #[arg(long, value_name = "FILE", env = "NATS_NKEY", hide_env_values = true)]
    nkey: Option<PathBuf>,
    /// TLS certificate of the client
    #[arg(long, value_name = "FILE", env = "NATS_CERT", hide_env_values = true)]
    tlscert: Option<PathBuf>,
    /// Key of the TLS certificate
    #[arg(long, value_name = "FILE", env = "NATS_KEY", hide_env_values = true)]
    tlskey: Option<PathBuf>,
    /// Certificate authorities to trust
    #[arg(long, value_name = "FILE", env = "NATS_CA", hide_env_values = true)]
    tlsca: Option<PathBuf>,
    /// TLS handshake before the broker's first line
    #[arg(long)]
    tlsfirst: bool,
    /// Prefix of reply inboxes
    #[arg(long, value_name = "SUBJECT", env = "NATS_INBOX_PREFIX", hide_env_values = true)]
    inbox_prefix: Option<String>,
    /// A saved context of the nats CLI [env: NATS_CONTEXT, not for run]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

/// The flags by their field, to name the one that does not fit.
const FLAGS: [(&str, &str); 12] = [
    ("server", "--server"),
    ("user", "--user"),
    ("password", "--password"),
    ("token", "--token"),
    ("creds", "--creds"),
    ("nkey", "--nkey"),
    ("tlscert", "--tlscert"),
    ("tlskey", "--tlskey"),
    ("tlsca", "--tlsca"),
    ("tlsfirst", "--tlsfirst"),
    ("inbox_prefix", "--inbox-prefix"),
    ("context", "--context"),
];

/// Time for one connection to come up.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct TimeoutArg {
    /// Time for one connection to come up, such as 5s
    #[arg(long, value_name = "DURATION", value_parser = Span::parse)]
    #[arg(env = "NATS_TIMEOUT", hide_env_values = true)]
    #[arg(help_heading = "Connection, as the nats CLI has it")]
    pub(super) timeout: Option<Span>,
}

/// Whether the environment may say where the network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Address {
    /// `NATS_URL` and `NATS_CONTEXT` count.
    FromEnvironment,
    /// Only the command line counts.
    FromCommandLine,
}

/// What flags, environment and context say together.
#[derive(Debug, Clone)]
pub(super) struct Network {
    /// Everything, as the driver takes it; its servers are without user and password.
    pub(super) options: ConnectionOptions,
    /// What nodes can show.
    login: Login,
    /// Whether the servers are not the scenario's.
    pub(super) named: bool,
}

impl NatsArgs {
    /// The first of these flags that was typed, if one was.
    pub(super) fn typed(shell: &Shell) -> Option<&'static str> {
        FLAGS.iter().find(|(field, _)| shell.typed.has(field)).map(|(_, flag)| *flag)
    }

    /// Puts everything together; where no server is named, those of the scenario count.
    pub(super) fn network(
        self,
        shell: &Shell,
        address: Address,
        scenario: Option<&Brokers>,
    ) -> anyhow::Result<Network> {
        let environment = &shell.environment;
        let from_environment = address == Address::FromEnvironment;
        let ambient = |value: &Option<String>| value.clone().filter(|_| from_environment);
        let context = match self.context.or_else(|| ambient(&environment.nats_context)) {
            Some(name) => Context::read(&name, environment)?,
            None => Context::default(),
        };
        let servers = match ambient(&environment.nats_url) {
            _ if !self.server.is_empty() => self.server,
            Some(url) => list(&url),
            None => list(context.url.as_deref().unwrap_or_default()),
        };
        let named = !servers.is_empty();
        let of_scenario = scenario.and_then(|brokers| brokers.urls.clone());
        let servers = if named { servers } else { of_scenario.unwrap_or_default() };
        let servers: Vec<ServerUrl> =
            servers.iter().map(|text| ServerUrl::parse(text)).collect::<anyhow::Result<_>>()?;
        let of_url = servers.iter().find_map(|server| server.login.clone()).unwrap_or_default();
        let login = user_alone_is_token(Login {
            user: self.user.or(context.user).or(of_url.user),
            password: self.password.or(context.password).or(of_url.password),
            token: self.token.or(context.token).or(of_url.token),
        });
        let options = ConnectionOptions {
            servers: servers.into_iter().map(|server| server.address).collect(),
            user: login.user.clone(),
            password: login.password.clone().map(Secret::new),
            token: login.token.clone().map(Secret::new),
            creds: self.creds.or(context.creds),
            nkey: self.nkey.or(context.nkey),
            tls_cert: self.tlscert.or(context.cert),
            tls_key: self.tlskey.or(context.key),
            tls_ca: self.tlsca.or(context.ca),
            tls_first: self.tlsfirst || context.tls_first,
            name: None,
            inbox_prefix: self.inbox_prefix.or(context.inbox_prefix),
            timeout: None,
        };
        Ok(Network { options, login, named })
    }
}

impl Network {
    /// The servers as a scenario has them; `None` when none is named.
    pub(super) fn brokers(&self) -> Option<Brokers> {
        let urls = self.options.servers.clone();
        let topology = Some(Topology::External);
        (!urls.is_empty()).then(|| Brokers { topology, urls: Some(urls), ..Brokers::default() })
    }

    /// The servers as a scenario has them, which must be named.
    pub(super) fn named_brokers(&self) -> anyhow::Result<Brokers> {
        self.brokers().ok_or_else(|| {
            Refusal::usage(
                "no network is named, and none is guessed\n\
                 name a server with --server nats://HOST:4222, or set NATS_URL",
            )
        })
    }

    /// What emulated nodes show; an error for what they cannot do yet.
    pub(super) fn login_of_nodes(&self) -> anyhow::Result<Login> {
        let options = &self.options;
        let tls = options.servers.iter().any(|server| server.starts_with("tls://"));
        let unusable = [
            (options.creds.is_some(), "a credentials file (--creds)"),
            (options.nkey.is_some(), "an NKEY (--nkey)"),
            (options.tls_cert.is_some(), "a TLS certificate (--tlscert)"),
            (options.tls_key.is_some(), "a TLS key (--tlskey)"),
            (options.tls_ca.is_some(), "certificate authorities (--tlsca)"),
            (options.tls_first, "TLS (--tlsfirst)"),
            (tls, "a server with tls://"),
            (options.inbox_prefix.is_some(), "a prefix of inboxes (--inbox-prefix)"),
        ];
        match unusable.iter().find(|(given, _)| *given) {
            Some((_, what)) => Err(Refusal::usage(format!(
                "emulated nodes cannot use {what} yet: they connect in plain TCP, and show a user and a \
                 password, a token, or nothing\n\
                 write --user and --password, or --token, instead, and unset its NATS_ variable or context \
                 if it came from there; `measure`, for nodes that are there already, takes all of these"
            ))),
            None => Ok(self.login.clone()),
        }
    }

    /// The same with this time for one connection.
    pub(super) fn within(mut self, timeout: Option<Duration>) -> Self {
        self.options.timeout = timeout.or(self.options.timeout);
        self
    }
}

/// A server of its own, and who its URL says we are.
pub(super) fn server_url(text: &str) -> anyhow::Result<(String, Login)> {
    let ServerUrl { address, login } = ServerUrl::parse(text)?;
    Ok((address, login.unwrap_or_default()))
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// A server, and who its URL says we are.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ServerUrl {
    /// `SCHEME://HOST:PORT`.
    address: String,
    login: Option<Login>,
}

impl ServerUrl {
    /// Reads `nats://USER:PASSWORD@HOST:PORT`, most of which may be left out.
    fn parse(text: &str) -> anyhow::Result<Self> {
        let wrong = |why: &str| {
            // What stands before an @ may be a password.
            let shown = text.rsplit_once('@').map_or(text, |(_, host)| host);
            Refusal::usage(format!("server {shown:?} {why}\nwrite it as nats://HOST:PORT"))
        };
        let full = match text.contains("://") {
            true => text.to_owned(),
            false => format!("nats://{text}"),
        };
        let url = Url::parse(&full).map_err(|error| wrong(&format!("is no address: {error}")))?;
        if !["nats", "tls"].contains(&url.scheme()) {
            return Err(wrong(&format!("has scheme {}, which is not there yet", url.scheme())));
        }
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| wrong("names no host"))?;
        let port = url.port().unwrap_or(PORT);
        Ok(Self { address: format!("{}://{host}:{port}", url.scheme()), login: login_of(&url) })
    }
}

/// What stands before the `@`.
fn login_of(url: &Url) -> Option<Login> {
    let plain = |text: &str| Some(percent_decoded(text)).filter(|text| !text.is_empty());
    let user = Some(plain(url.username())?);
    let password = url.password().and_then(plain);
    Some(user_alone_is_token(Login { user, password, token: None }))
}

/// As NATS clients have it, of flags as well as of URLs.
fn user_alone_is_token(login: Login) -> Login {
    match login {
        Login { user: Some(user), password: None, token: None } => {
            Login { token: Some(user), ..Login::default() }
        }
        other => other,
    }
}

fn percent_decoded(text: &str) -> String {
    // A form pair decodes %XX; its own `+` for a blank is not meant here.
    let pair = text.replace('+', "%2B");
    let decoded = url::form_urlencoded::parse(pair.as_bytes()).next();
    decoded.map_or_else(String::new, |(key, _)| key.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_as_the_nats_cli_reads_them() {
        let user = |user: &str, password: &str| Login {
            user: Some(user.to_owned()),
            password: Some(password.to_owned()),
            token: None,
        };
        for (text, address, login) in [
            ("broker", "nats://broker:4222", None),
            ("broker:4333", "nats://broker:4333", None),
            ("nats://[::1]:4222", "nats://[::1]:4222", None),
            ("tls://broker", "tls://broker:4222", None),
            ("nats://bob:s%40c+ret@broker", "nats://broker:4222", Some(user("bob", "s@c+ret"))),
        ] {
            let read = ServerUrl::parse(text).unwrap();
            assert_eq!(read, ServerUrl { address: address.to_owned(), login }, "{text}");
        }
        let token = ServerUrl::parse("nats://token@broker").unwrap().login.unwrap();
        assert_eq!((token.token.as_deref(), token.user), (Some("token"), None));
    }

    #[test]
    fn servers_that_cannot_be_meant_are_refused_without_showing_a_password() {
        for (text, says) in [
            ("http://broker", "scheme http"),
            ("nats://", "names no host"),
            ("broker:port", "is no address"),
            ("nats://bob:secret@broker:port", "\"broker:port\""),
        ] {
            let told = ServerUrl::parse(text).unwrap_err().to_string();
            assert!(told.contains(says) && told.contains("nats://HOST:PORT"), "{text}: {told}");
            assert!(!told.contains("secret"), "{told}");
        }
    }
}
