//! Where requests are opened: a broadcast reaches thousands of nodes of a thread as the same bytes,
//! and is decoded for the first of them only.

use super::AnswerKind;
use crate::agents::Call;
use crate::filter::CompiledFilter;
use crate::protocol::reply::ReplyTemplate;
use crate::protocol::request::{Refusal, Request};
use std::any::Any;
use std::sync::{Arc, OnceLock};

/// How many different requests a desk remembers. A further one takes the place of the oldest.
const REMEMBERED: usize = 16;

/// Largest payload that is remembered, in bytes: what is larger is decoded each time it comes.
const REMEMBERED_BYTES_MAX: usize = 256 << 10;

/// Opens requests and remembers the latest; one per thread.
#[derive(Debug, Default)]
pub struct Desk {
    remembered: Vec<Arc<Opened>>,
    /// Position of the oldest, once all places are taken.
    oldest: usize,
    /// Position of what was asked for last.
    latest: usize,
}

impl Desk {
    /// Decodes a payload, or finds what was made of the same bytes before.
    pub fn open(&mut self, payload: &[u8]) -> Arc<Opened> {
        if let Some(opened) = self.remembered.get(self.latest)
            && *opened.payload == *payload
        {
            return Arc::clone(opened);
        }
        let known = self.remembered.iter().position(|opened| *opened.payload == *payload);
        if let Some((at, opened)) = known.and_then(|at| Some((at, self.remembered.get(at)?))) {
            self.latest = at;
            return Arc::clone(opened);
        }
        let opened = Arc::new(Opened::new(payload));
        if payload.len() <= REMEMBERED_BYTES_MAX {
            self.remember(Arc::clone(&opened));
        }
        opened
    }

    fn remember(&mut self, opened: Arc<Opened>) {
        if self.remembered.len() < REMEMBERED {
            self.latest = self.remembered.len();
            self.remembered.push(opened);
        } else if let Some(place) = self.remembered.get_mut(self.oldest) {
            *place = opened;
            self.latest = self.oldest;
            self.oldest = (self.oldest + 1) % REMEMBERED;
        }
    }
}

/// What was made of a payload, for all nodes that receive it.
#[derive(Debug)]
pub struct Opened {
    payload: Box<[u8]>,
    content: Result<Content, Refusal>,
    tag: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// A request and what follows from it for every node.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) request: Request,
    /// Whether it is for every node.
    pub(super) unfiltered: bool,
    /// Which nodes it is for; the request's own filter is taken out.
    pub(super) filter: CompiledFilter,
    pub(super) call: Call,
    normal: OnceLock<Option<ReplyTemplate>>,
    error: OnceLock<Option<ReplyTemplate>>,
}

impl Opened {
    fn new(payload: &[u8]) -> Self {
        let content = Request::decode(payload).map(Content::new);
        // Only what is remembered is compared with later payloads.
        let payload = if payload.len() <= REMEMBERED_BYTES_MAX { payload } else { &[] };
        Self { payload: payload.into(), content, tag: OnceLock::new() }
    }

    /// The request's id; `None` if the payload is no request.
    pub fn request_id(&self) -> Option<&str> {
        self.content.as_ref().ok().map(|content| content.request.request_id.as_str())
    }

    /// Where replies go, as it stands in the request.
    pub fn reply_to(&self) -> Option<&str> {
        self.content.as_ref().ok()?.request.reply_to.as_deref()
    }

    /// The agent that the request is for; empty if the payload is no request.
    pub fn agent(&self) -> &str {
        self.content.as_ref().map_or("", |content| content.request.agent.as_str())
    }

    /// Whether its agent speaks RPC: others have no error replies.
    pub(crate) fn speaks_rpc(&self) -> bool {
        self.content.as_ref().is_ok_and(|content| content.call.speaks_rpc())
    }

    /// What the caller has to do with the request: found out by the request's id (empty if it is
    /// none) the first time, remembered for the nodes after. A caller asks for one type only.
    pub fn tag<T: Any + Send + Sync>(
        &self,
        find: impl FnOnce(&str) -> Option<Arc<T>>,
    ) -> Option<&Arc<T>> {
        let find = || Box::new(find(self.request_id().unwrap_or_default())) as Box<_>;
        self.tag.get_or_init(find).downcast_ref::<Option<Arc<T>>>()?.as_ref()
    }

    pub(super) fn content(&self) -> Result<&Content, Refusal> {
        self.content.as_ref().map_err(|refusal| *refusal)
    }
}

impl Content {
    fn new(mut request: Request) -> Self {
        let unfiltered = request.filter.is_empty();
        let filter = CompiledFilter::new(std::mem::take(&mut request.filter));
        let call = Call::of(&request);
        request.payload = Vec::new();
        Self { request, unfiltered, filter, call, normal: OnceLock::new(), error: OnceLock::new() }
    }

    /// The template of an answer that is the same for all nodes; `None` where it is not, or is too
    /// large to be kept.
    pub(super) fn template(&self, kind: AnswerKind) -> Option<&ReplyTemplate> {
        let keep = |body: &str| {
            let small = body.len() <= REMEMBERED_BYTES_MAX;
            small.then(|| ReplyTemplate::new(&self.request, body))
        };
        let normal = || self.normal.get_or_init(|| keep(&self.call.same_reply()?)).as_ref();
        match kind {
            AnswerKind::Normal => normal(),
            AnswerKind::Error => {
                let error = self.error.get_or_init(|| keep(&self.call.error_reply()?));
                error.as_ref().or_else(normal)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_are_opened_once() {
        let mut desk = Desk::default();
        let first = desk.open(b"a");
        assert!(Arc::ptr_eq(&first, &desk.open(b"a")));
        assert!(!Arc::ptr_eq(&first, &desk.open(b"b")));
        assert!(Arc::ptr_eq(&first, &desk.open(b"a")));
    }

    #[test]
    fn a_desk_remembers_the_latest_sixteen() {
        let mut desk = Desk::default();
        let opened: Vec<_> = (0..20u8).map(|number| desk.open(&[number])).collect();
        for (number, opened) in (0..20u8).zip(&opened).skip(4) {
            assert!(Arc::ptr_eq(opened, &desk.open(&[number])), "{number}");
        }
        assert!(!Arc::ptr_eq(&opened[0], &desk.open(&[0])));
        assert_eq!(desk.remembered.len(), REMEMBERED);
    }

    #[test]
    fn large_payloads_are_not_remembered() {
        let mut desk = Desk::default();
        let large = vec![b' '; REMEMBERED_BYTES_MAX + 1];
        let first = desk.open(&large);
        assert!(!Arc::ptr_eq(&first, &desk.open(&large)));
        assert!(!Arc::ptr_eq(&first, &desk.open(b"")));
        assert_eq!(desk.remembered.len(), 1);
    }

    #[test]
    fn a_tag_is_found_once() {
        let opened = Desk::default().open(b"no request");
        let tag = opened.tag(|request_id| Some(Arc::new(request_id.len())));
        assert_eq!(tag, Some(&Arc::new(0)));
        assert_eq!(opened.tag(|_| Some(Arc::new(7usize))), Some(&Arc::new(0)));
        assert_eq!(opened.request_id(), None);
        assert_eq!(opened.reply_to(), None);
    }
}
