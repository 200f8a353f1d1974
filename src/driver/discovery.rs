//! A discovery of nodes that nobody listed: who is there on a network that is not ours.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use emulator::protocol::client::{
    ReplyScratch, RequestDraft, broadcast_subject, decode_discovery_sender, encode_request,
    reply_subject,
};

use super::Driver;
use super::inbox::{Arrival, Inbox};

/// Why a discovery found out nothing.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// The driver has no client.
    #[error("the driver has no client to discover with\nconnect at least one")]
    NoClient,
    /// The connection refused.
    #[error("cannot discover: {0}\ncheck the connection and the permissions of its user")]
    Connection(String),
}

impl Driver {
    /// The identities that answer `draft`, a request to the agent `discovery`, within `timeout`: each
    /// once, in order of their first reply. As with the real client, a filter of plain identities
    /// and possibly agents is its own answer and nothing is sent (protocol document 5.5).
    ///
    /// # Errors
    ///
    /// When the request cannot be sent or replies cannot be subscribed to.
    pub async fn discover(
        &self,
        draft: &RequestDraft,
        request_id: &str,
        timeout: Duration,
    ) -> Result<Vec<String>, DiscoverError> {
        if let Some(named) = named_by_filter(draft) {
            return Ok(named);
        }
        let client = self.clients.first().ok_or(DiscoverError::NoClient)?;
        let reply_to = reply_subject(&draft.collective, &draft.caller_id, request_id);
        let subscribers = client.subscribe(&reply_to).await.map_err(connection)?;
        if client.confirm(timeout).await.is_none() {
            let reason = "the broker does not confirm the reply subscription".to_owned();
            return Err(DiscoverError::Connection(reason));
        }
        let mut inbox = Inbox::new(subscribers, self.epoch);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let message = encode_request(draft, request_id, &reply_to, &client.broker_url(), now);
        let subject = broadcast_subject(&draft.collective, &draft.agent);
        client.publisher.publish(subject, message.into()).await.map_err(connection)?;
        client.publisher.flush().await.map_err(connection)?;

        let mut found = Found::default();
        // The end of the time is the way that a discovery ends.
        let _ = tokio::time::timeout(timeout, found.collect(&mut inbox)).await;
        Ok(found.identities)
    }
}

fn connection(error: impl std::fmt::Display) -> DiscoverError {
    DiscoverError::Connection(error.to_string())
}

/// The identities that a filter names, if it asks for nothing else that has to be evaluated.
fn named_by_filter(draft: &RequestDraft) -> Option<Vec<String>> {
    let filter = &draft.filter;
    let plain = |identity: &String| !(identity.starts_with('/') && identity.ends_with('/'));
    let named = !filter.identity.is_empty()
        && filter.identity.iter().all(plain)
        && filter.fact.is_empty()
        && filter.cf_class.is_empty()
        && filter.compound.is_empty();
    named.then(|| filter.identity.clone())
}

/// Who has answered so far.
#[derive(Default)]
struct Found {
    identities: Vec<String>,
    seen: HashSet<String, foldhash::fast::RandomState>,
    scratch: ReplyScratch,
}

impl Found {
    async fn collect(&mut self, inbox: &mut Inbox) {
        let mut arrivals = VecDeque::new();
        while inbox.fill(&mut arrivals).await {
            for Arrival { message, .. } in arrivals.drain(..) {
                let Ok(sender) = decode_discovery_sender(&message.payload, &mut self.scratch)
                else {
                    continue;
                };
                if !sender.is_empty() && !self.seen.contains(sender.as_ref()) {
                    self.seen.insert(sender.clone().into_owned());
                    self.identities.push(sender.into_owned());
                }
            }
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use emulator::protocol::client::RequestDraft;
    use emulator::protocol::filter::Filter;

    use super::named_by_filter;

    #[test]
    fn only_a_filter_of_plain_identities_is_its_own_answer() {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        type Texts = &'static [&'static str];
        let rows: [(Texts, Texts, Texts, _); 6] = [
            (&["a", "b"], &[], &[], true),
            (&["a", "b"], &["rpcutil"], &[], true),
            (&[], &["rpcutil"], &[], false),
            (&[], &[], &[], false),
            (&["a", "/b/"], &[], &[], false),
            (&["a"], &[], &["web"], false),
        ];
        for (identity, agent, class, named) in rows {
            let filter = Filter {
                identity: texts(identity),
                agent: texts(agent),
                cf_class: texts(class),
                ..Filter::default()
            };
            let draft = RequestDraft {
                caller_id: String::new(),
                sender_id: String::new(),
                collective: String::new(),
                agent: String::new(),
                ttl_s: 60,
                filter,
                body: String::new(),
            };
            let expected = named.then(|| texts(identity));
            assert_eq!(named_by_filter(&draft), expected, "{identity:?} {agent:?} {class:?}");
        }
    }
}
