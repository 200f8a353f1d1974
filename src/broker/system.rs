//! Monitoring through the system account: what `/varz` and its kind say, asked by messages.
//!
//! `$SYS.REQ.SERVER.PING.VARZ` and its kind exist since 2.1.9 (brokers-checked, 7). All servers of the
//! network hear a question; since 2.2 only those whose name fits answer it, before that all do and the
//! others are passed over. So a server that starts again is found again, by its name. One that was given none has
//! its identity as its name, a new one with each start: it is found again where it listens ([`super::nameless`]).

use std::sync::Arc;

use async_nats::{StatusCode, Subscriber};
use futures_util::StreamExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::time::{Duration, Instant, timeout, timeout_at};

use super::monitor::{ANSWER_WITHIN, Monitor, MonitorError, Varz};
use super::nameless::{Known, Nameless, Place};

/// Servers answer a call in milliseconds; when none has for so long, all have.
const QUIET: Duration = Duration::from_millis(500);
/// Most servers that are watched; further ones are not.
const SERVERS: usize = 100;

/// The system account of a network.
#[derive(Debug, Clone)]
pub struct SystemAccount {
    connection: async_nats::Client,
    /// Identities of servers without a name that are watched.
    known: Arc<Known>,
}

/// One server of a network, asked through the system account.
#[derive(Debug, Clone)]
pub(super) struct OneServer {
    account: SystemAccount,
    who: Who,
}

/// What a server is known by.
#[derive(Debug, Clone)]
enum Who {
    Named(String),
    Nameless(Arc<Nameless>),
}

/// What a server sends back. Which it is stands beside what it says.
#[derive(Debug, Deserialize)]
struct Answer<T> {
    server: Server,
    data: Option<T>,
    error: Option<Refused>,
}

#[derive(Debug, Deserialize)]
struct Server {
    name: String,
    id: String,
}

#[derive(Debug, Deserialize)]
struct Refused {
    description: String,
}

impl SystemAccount {
    /// Asks through this connection, whose user is of the system account.
    #[must_use]
    pub fn new(connection: async_nats::Client) -> Self {
        Self { connection, known: Arc::default() }
    }

    /// Calls all servers of the network: how each is asked from now on, and what it said first, ordered
    /// by name.
    ///
    /// # Errors
    /// When none answers within two seconds.
    pub async fn servers(&self) -> Result<Vec<(Monitor, Varz)>, MonitorError> {
        let (subject, heard) = self.roll_call(Instant::now() + ANSWER_WITHIN).await?;
        let mut found = Vec::new();
        for (server, said) in heard {
            let varz: Varz = decoded(&subject, said.clone())?;
            let who = if server.name == server.id {
                self.known.add(&server.id);
                Who::Nameless(Arc::new(Nameless::new(server.id, decoded(&subject, said)?)))
            } else {
                Who::Named(server.name)
            };
            let server = OneServer { account: self.clone(), who };
            found.push((Monitor::of_server(server), varz));
        }
        if found.is_empty() {
            return Err(failed(&subject, "no server answers"));
        }
        found.sort_by(|(_, one), (_, other)| one.server_name.cmp(&other.server_name));
        Ok(found)
    }

    /// Ends the connection.
    pub async fn close(self) {
        // It fails where the connection has ended already.
        let _ = self.connection.drain().await;
    }

    /// All servers that answer, each with what it says of itself, until none has for a while.
    async fn roll_call(
        &self,
        deadline: Instant,
    ) -> Result<(String, Vec<(Server, Value)>), MonitorError> {
        let (subject, mut answers) = self.call("/varz", None).await?;
        let mut heard = Vec::new();
        while heard.len() < SERVERS {
            let until = if heard.is_empty() { deadline } else { Instant::now() + QUIET };
            let next = timeout_at(until.min(deadline), answers.next());
            let Ok(Some(message)) = next.await else { break };
            let Answer { server, data, .. } = read::<Value>(&subject, &message)?;
            heard.extend(data.map(|said| (server, said)));
        }
        Ok((subject, heard))
    }

    /// Sends a question to all servers, or to those whose name fits.
    async fn call(
        &self,
        path: &str,
        name: Option<&str>,
    ) -> Result<(String, Subscriber), MonitorError> {
        let (subject, mut options) = question(path);
        if let Some(name) = name {
            options.insert("server_name".to_owned(), name.into());
        }
        let inbox = self.connection.new_inbox();
        let sent = async {
            let answers = self.connection.subscribe(inbox.clone()).await;
            let answers = answers.map_err(|error| error.to_string())?;
            let asked = Value::Object(options).to_string();
            let asking = self.connection.publish_with_reply(subject.clone(), inbox, asked.into());
            asking.await.map_err(|error| error.to_string())?;
            Ok::<_, String>(answers)
        };
        match timeout(ANSWER_WITHIN, sent).await {
            Ok(Ok(answers)) => Ok((subject, answers)),
            Ok(Err(why)) => Err(failed(&subject, &why)),
            Err(_) => Err(failed(&subject, "it cannot be sent")),
        }
    }
}

impl OneServer {
    /// Asks this server what it would answer to the path.
    pub(super) async fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T, MonitorError> {
        let deadline = Instant::now() + ANSWER_WITHIN;
        let name = match &self.who {
            Who::Named(name) => name.clone(),
            Who::Nameless(server) => self.identity(server, deadline).await?,
        };
        let answer = self.ask_by(&name, path, deadline).await;
        if let (Who::Nameless(server), Err(_)) = (&self.who, &answer) {
            server.lose();
        }
        answer
    }

    /// The identity that a server without a name has now.
    async fn identity(&self, server: &Nameless, deadline: Instant) -> Result<String, MonitorError> {
        if !server.is_lost() {
            return Ok(server.identity());
        }
        let (subject, heard) = self.account.roll_call(deadline).await?;
        let mut nameless = Vec::new();
        for (Server { name, id }, said) in heard {
            if name == id {
                nameless.push((id, decoded::<Place>(&subject, said)?));
            }
        }
        let found = server.find(nameless, &self.account.known);
        found.ok_or_else(|| failed(&subject, &format!("no server listens at {}", server.place())))
    }

    async fn ask_by<T: DeserializeOwned>(
        &self,
        name: &str,
        path: &str,
        deadline: Instant,
    ) -> Result<T, MonitorError> {
        let (subject, mut answers) = self.account.call(path, Some(name)).await?;
        loop {
            let Ok(Some(message)) = timeout_at(deadline, answers.next()).await else {
                let why = format!("no answer of {name} within {ANSWER_WITHIN:?}");
                return Err(failed(&subject, &why));
            };
            // A name fits the beginning of others too, and what those say is no concern of ours.
            let Answer { server, .. } = read::<Value>(&subject, &message)?;
            if server.name != name {
                continue;
            }
            let Answer { data, error, .. } = read::<T>(&subject, &message)?;
            let why = || error.map_or_else(|| "an empty answer".to_owned(), |e| e.description);
            return data.ok_or_else(|| failed(&subject, &why()));
        }
    }
}

fn read<T: DeserializeOwned>(
    subject: &str,
    message: &async_nats::Message,
) -> Result<Answer<T>, MonitorError> {
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return Err(failed(subject, "nobody hears it: this user is not of the system account"));
    }
    serde_json::from_slice(&message.payload).map_err(|error| failed(subject, &error.to_string()))
}

fn decoded<T: DeserializeOwned>(subject: &str, said: Value) -> Result<T, MonitorError> {
    serde_json::from_value(said).map_err(|error| failed(subject, &error.to_string()))
}

fn failed(subject: &str, why: &str) -> MonitorError {
    MonitorError::System { subject: subject.to_owned(), why: why.to_owned() }
}

/// The subject and the options that say what a path with its query does.
fn question(path: &str) -> (String, Map<String, Value>) {
    let (page, query) = path.split_once('?').unwrap_or((path, ""));
    let page = page.trim_start_matches('/').to_uppercase();
    let options = query.split('&').filter_map(|part| part.split_once('='));
    let option = |(key, value): (&str, &str)| {
        let value = match (key, value.parse::<u64>()) {
            // nats-server, `ConnState`: open, closed, all.
            ("state", _) => u64::from(value == "closed").into(),
            (_, Ok(number)) => number.into(),
            (_, Err(_)) => value.into(),
        };
        (key.to_owned(), value)
    };
    (format!("$SYS.REQ.SERVER.PING.{page}"), options.map(option).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_asked_in_the_words_of_messages() {
        for (path, subject, options) in [
            ("/varz", "$SYS.REQ.SERVER.PING.VARZ", "{}"),
            (
                "/connz?sort=pending&limit=10",
                "$SYS.REQ.SERVER.PING.CONNZ",
                r#"{"sort":"pending","limit":10}"#,
            ),
            (
                "/connz?state=closed&limit=7",
                "$SYS.REQ.SERVER.PING.CONNZ",
                r#"{"state":1,"limit":7}"#,
            ),
        ] {
            let (asked, with) = question(path);
            assert_eq!(
                (asked.as_str(), Value::Object(with).to_string().as_str()),
                (subject, options)
            );
        }
    }
}
