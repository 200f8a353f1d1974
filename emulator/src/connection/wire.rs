//! A connection's bytes: one read into a buffer that a thread shares, one write, and what the socket did
//! not take yet. No protocol: [`super::session`] says what the bytes mean.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::fleet::counts::{ShardCounts, add};
use crate::fleet::ledger::Ledger;
use crate::node::Desk;

/// Bytes read from a socket at once; one buffer a thread.
const READ_SIZE: usize = 64 * 1024;

/// Answers are written to the socket as soon as they are this many bytes, and no further operation is
/// handled while the socket takes none: what one node holds back is this and one reply.
pub(super) const OUT_SIZE: usize = 64 * 1024;

/// What the nodes of a thread share; it belongs to the node whose turn it is.
pub(super) struct Scratch {
    /// What was read.
    pub(super) read: Box<[u8]>,
    /// What is to be written.
    pub(super) out: Vec<u8>,
    /// The payload of the reply that is being written.
    pub(super) body: Vec<u8>,
    /// A place for each reply in `out`: the book that it is entered in, if any.
    pub(super) replies: Vec<Option<Arc<Ledger>>>,
    pub(super) desk: Desk,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        read: Box::default(),
        out: Vec::with_capacity(OUT_SIZE),
        body: Vec::with_capacity(4096),
        replies: Vec::new(),
        desk: Desk::default(),
    });
}

impl Scratch {
    /// Lends the thread's scratch for one turn of one node.
    pub(super) fn with<T>(turn: impl FnOnce(&mut Self) -> T) -> T {
        SCRATCH.with_borrow_mut(|scratch| {
            // What an ended connection or a panic left behind is not this node's.
            scratch.out.clear();
            scratch.replies.clear();
            if scratch.read.is_empty() {
                scratch.read = vec![0; READ_SIZE].into_boxed_slice();
            }
            turn(scratch)
        })
    }
}

/// Bytes that the socket did not take yet, and the replies that end in them.
struct Outbox {
    bytes: Vec<u8>,
    at: usize,
    replies: Vec<Option<Arc<Ledger>>>,
}

/// A socket and what it did not take yet.
pub(super) struct Wire {
    stream: TcpStream,
    outbox: Option<Box<Outbox>>,
    /// The node's place in the books.
    slot: usize,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, slot: usize) -> Self {
        Self { stream, outbox: None, slot }
    }

    /// True while the socket has not taken what was written before.
    pub(super) fn is_blocked(&self) -> bool {
        self.outbox.is_some()
    }

    /// Reads what is there, at most `buffer`; the end of the stream is an error.
    pub(super) fn read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        counts: &ShardCounts,
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {}
        }
        let size = buffer.filled().len();
        add(&counts.bytes_in, size as u64);
        Poll::Ready(if size == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(size) })
    }

    /// Writes what is left over and then what is in the scratch; false if the socket takes no more now.
    /// A reply counts once the socket has taken all that was written with it.
    pub(super) fn flush(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        counts: &ShardCounts,
    ) -> io::Result<bool> {
        if let Some(mut outbox) = self.outbox.take() {
            outbox.bytes.append(&mut scratch.out);
            outbox.replies.append(&mut scratch.replies);
            outbox.at += self.write(cx, &outbox.bytes[outbox.at..], counts)?;
            if outbox.at < outbox.bytes.len() {
                self.outbox = Some(outbox);
                return Ok(false);
            }
            self.settle(&mut outbox.replies, counts);
            return Ok(true);
        }
        if scratch.out.is_empty() {
            return Ok(true);
        }
        let written = self.write(cx, &scratch.out, counts)?;
        let whole = written == scratch.out.len();
        if whole {
            self.settle(&mut scratch.replies, counts);
        } else {
            let bytes = scratch.out[written..].to_vec();
            let replies = std::mem::take(&mut scratch.replies);
            self.outbox = Some(Box::new(Outbox { bytes, at: 0, replies }));
        }
        scratch.out.clear();
        Ok(whole)
    }

    fn write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        counts: &ShardCounts,
    ) -> io::Result<usize> {
        let mut written = 0;
        while written < bytes.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &bytes[written..]) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(size)) => written += size,
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        add(&counts.bytes_out, written as u64);
        Ok(written)
    }

    fn settle(&self, replies: &mut Vec<Option<Arc<Ledger>>>, counts: &ShardCounts) {
        if replies.is_empty() {
            return;
        }
        add(&counts.replies, replies.len() as u64);
        for ledger in replies.drain(..).flatten() {
            ledger.answered.set(self.slot);
        }
    }
}
