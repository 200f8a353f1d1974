//! A connection to the control broker, with questions and answers in JSON.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, Subscriber};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::sleep;

use super::{TICK, stranger};
use crate::driver::{ConnectionOptions, OptionsError, redacted, tls_advice};

/// Time for the first connection, and for a subscription to be on its way.
const READY_WITHIN: Duration = Duration::from_secs(5);
/// Time for what is left to say when the connection is closed.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// Messages that wait for one of our tasks; a worker sends six a second and a conductor reads them at once.
const SUBSCRIPTION_CAPACITY: usize = 65_536;
/// A broken connection is noticed within two of these.
const PING_EVERY: Duration = Duration::from_secs(2);
/// Between two attempts to reconnect.
const RECONNECT_EVERY: Duration = Duration::from_millis(200);

/// A connection to the control broker. It is made anew by itself whenever it is lost.
#[derive(Debug, Clone)]
pub struct Line {
    client: Client,
    url: String,
    /// The end of the connection is no news any more.
    closing: Arc<AtomicBool>,
}

/// Why there is no connection to the control broker.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The options do not hold.
    #[error("control broker: {0}")]
    Options(#[from] OptionsError),
    /// It could not be reached.
    #[error("control broker {url} cannot be reached: {source}\n{}", advice(source))]
    Unreachable {
        /// Its URL, without credentials.
        url: String,
        /// What the client library said.
        source: async_nats::ConnectError,
    },
    /// It lets anybody in, and wherever workers listen.
    #[error(
        "control broker {0} lets anybody in, and whoever is in commands all workers\n\
         give it a token, for example: nats-server -js --auth TOKEN"
    )]
    Open(String),
    /// A subscription could not be made.
    #[error("control broker {url}: {source}\ncheck the permissions of the credentials")]
    Subscribe {
        /// Its URL, without credentials.
        url: String,
        /// What the client library said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What to do about a control broker that cannot be reached.
fn advice(source: &async_nats::ConnectError) -> String {
    tls_advice(source, "--control-tlsca").unwrap_or_else(|| {
        "check that a nats-server listens there, and the token or credentials".to_owned()
    })
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The message is larger than the control broker takes.
    #[error(
        "a message of {bytes} bytes is more than the control broker takes ({limit})\n\
         set a larger max_payload in its configuration"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// What may be sent.
        limit: usize,
    },
    /// Nobody listens there.
    #[error("nobody listens")]
    Nobody,
    /// There was no answer in time.
    #[error("no answer within {0:?}")]
    Silent(Duration),
    /// The answer was none that this build knows, or the client library broke.
    #[error("{0}")]
    Broken(String),
}

impl Line {
    /// Connects as `name`; a control broker that lets strangers command workers is refused.
    ///
    /// # Errors
    /// When the options do not hold, it cannot be reached, or it lets anybody in.
    pub async fn connect(options: &ConnectionOptions, name: &str) -> Result<Self, LineError> {
        let url = options.servers.iter().map(|url| redacted(url)).collect::<Vec<_>>().join(", ");
        let closing = Arc::<AtomicBool>::default();
        let quiet = Arc::clone(&closing);
        let client = options
            .identify(ConnectOptions::new())
            .await?
            .name(format!("choria-emulator {name}"))
            .ping_interval(PING_EVERY)
            .connection_timeout(READY_WITHIN)
            .subscription_capacity(SUBSCRIPTION_CAPACITY)
            .request_timeout(None)
            .max_reconnects(None)
            .reconnect_delay_callback(|_| RECONNECT_EVERY)
            .event_callback(move |event| {
                match event {
                    Event::Connected => tracing::info!("connected to the control broker"),
                    _ if quiet.load(Ordering::Relaxed) => {}
                    other => tracing::warn!("control broker: {other}"),
                }
                std::future::ready(())
            })
            .connect(options.addresses()?)
            .await
            .map_err(|source| LineError::Unreachable { url: url.clone(), source })?;
        if !client.server_info().auth_required && stranger::commands(options, &client).await {
            return Err(LineError::Open(url));
        }
        Ok(Self { client, url, closing })
    }

    /// The client library's own.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Where it connects, without credentials.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How often the connection was made. Where that is more than before, it was lost meanwhile, and with it perhaps
    /// what the control broker keeps in memory.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.client.statistics().connects.load(Ordering::Relaxed)
    }

    /// Ends when the connection was made more often than `before`.
    pub async fn made_again(&self, before: u64) {
        while self.connections() == before {
            sleep(TICK).await;
        }
    }

    /// Listens at a subject: the control broker hears of it before whatever is said here after this.
    ///
    /// # Errors
    /// When it does not take the subscription.
    pub async fn listen(&self, subject: &str) -> Result<Subscriber, LineError> {
        let broken = |source: Box<dyn std::error::Error + Send + Sync>| LineError::Subscribe {
            url: self.url.clone(),
            source,
        };
        let heard = self.client.subscribe(subject.to_owned()).await;
        let heard = heard.map_err(|error| broken(error.into()))?;
        let known = tokio::time::timeout(READY_WITHIN, self.client.flush()).await;
        known.map_err(|error| broken(error.into()))?.map_err(|error| broken(error.into()))?;
        Ok(heard)
    }

    /// Says something to whoever listens; lost if nobody does.
    pub async fn say(&self, subject: &str, message: &impl Serialize) {
        if let Err(error) = self.client.publish(subject.to_owned(), bytes(message)).await {
            tracing::warn!(subject, "not said on the control plane: {error}");
        }
    }

    /// Writes what is left and closes the connection, for all who share it.
    pub async fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        let leave = async {
            let _ = self.client.flush().await;
            let _ = self.client.drain().await;
        };
        let _ = tokio::time::timeout(CLOSE_WITHIN, leave).await;
    }

    /// Asks, and waits for one answer.
    ///
    /// # Errors
    /// When there is none within `patience`.
    pub async fn ask<A: DeserializeOwned>(
        &self,
        subject: &str,
        question: &impl Serialize,
        patience: Duration,
    ) -> Result<A, AskError> {
        let payload = bytes(question);
        let limit = self.client.server_info().max_payload;
        if payload.len() > limit {
            return Err(AskError::TooLarge { bytes: payload.len(), limit });
        }
        let asked = self.client.request(subject.to_owned(), payload);
        let answer = tokio::time::timeout(patience, asked).await;
        let answer = answer.map_err(|_| AskError::Silent(patience))?;
        let answer = answer.map_err(|error| match error.kind() {
            async_nats::RequestErrorKind::NoResponders => AskError::Nobody,
            async_nats::RequestErrorKind::TimedOut => AskError::Silent(patience),
            _ => AskError::Broken(error.to_string()),
        })?;
        serde_json::from_slice(&answer.payload)
            .map_err(|error| AskError::Broken(format!("the answer cannot be read: {error}")))
    }

    /// Asks all who listen; their answers come as long as the subscription is held.
    ///
    /// # Errors
    /// When the control broker does not take the subscription.
    pub async fn ask_all(
        &self,
        subject: &str,
        question: &impl Serialize,
    ) -> Result<Subscriber, LineError> {
        let inbox = self.client.new_inbox();
        let answers = self.listen(&inbox).await?;
        let asked = self.client.publish_with_reply(subject.to_owned(), inbox, bytes(question));
        if let Err(error) = asked.await {
            tracing::warn!(subject, "not asked on the control plane: {error}");
        }
        Ok(answers)
    }

    /// Answers a message that asked for it.
    pub async fn answer(&self, asked: &async_nats::Message, answer: &impl Serialize) {
        if let Some(reply) = &asked.reply {
            self.say(reply, answer).await;
        }
    }
}

/// JSON of a message; our messages are structures with text keys, so this cannot fail.
fn bytes(message: &impl Serialize) -> Bytes {
    serde_json::to_vec(message).map(Bytes::from).unwrap_or_default()
}
