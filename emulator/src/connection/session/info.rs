//! What a broker says of itself, first, again after `CONNECT` since 2.12, and whenever its cluster
//! changes or it is about to leave.

use super::{End, Phase, Session};
use crate::connection::wire::Scratch;
use crate::fleet::counts::{ConnectStep, add};

/// The members that a node needs.
#[derive(serde::Deserialize)]
struct Info {
    max_payload: Option<usize>,
    #[serde(default)]
    headers: bool,
    connect_urls: Option<Vec<String>>,
    /// The broker is about to end its connections (lame duck mode).
    #[serde(default)]
    ldm: bool,
}

impl Session<'_> {
    /// As in the library, the first `INFO` must be JSON; a later one that is not is passed over.
    ///
    /// A lame duck is nothing that the real server reacts to (it sets no handler for it): it learns
    /// where else to go, stays until the broker closes the connection, and then goes there.
    pub(super) fn info(&mut self, scratch: &mut Scratch, json: &[u8]) -> Result<(), End> {
        let info: Option<Info> = serde_json::from_slice(json).ok();
        let first = self.phase == Phase::Info;
        if first && info.is_none() {
            return Err(End::Unexpected("an INFO that is no JSON"));
        }
        let Some(Info { max_payload, headers, connect_urls, ldm }) = info else { return Ok(()) };
        if let Some(max_payload) = max_payload {
            self.max_payload = max_payload;
        }
        if let Some(places) = connect_urls {
            let (pool, dice) = (&mut self.node.pool, &mut self.node.dice);
            let new = pool.learn(&places, &self.context.directory, dice);
            add(&self.context.counts.servers_learnt, new);
        }
        if ldm && !first {
            add(&self.context.counts.lame_ducks, 1);
        }
        if first {
            self.step(ConnectStep::Info);
            self.phase = Phase::Connect;
            self.context.write_connect(&self.node.identity, headers, &mut scratch.out);
            self.write_ping(&mut scratch.out);
            self.confirmed_in = self.unanswered;
        }
        Ok(())
    }
}
