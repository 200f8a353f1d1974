//! A connection's bytes: one read into a buffer that a thread shares, one write, and what the socket did
//! not take yet. No protocol: [`super::session`] says what the bytes mean.

use std::cell::RefCell;
use std::io::{self, Write as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::fleet::counts::{ShardCounts, add};
use crate::fleet::ledger::Ledger;
use crate::lifecycle::Announcement;
use crate::node::Desk;

/// Bytes read from a socket at once; one buffer a thread.
const READ_SIZE: usize = 64 * 1024;

/// Answers are written to the socket as soon as they are this many bytes, and no further operation is
/// handled while the socket takes none: what one node holds back is this and one reply.
pub(super) const OUT_SIZE: usize = 64 * 1024;

/// What counts once the socket has taken it.
pub(super) enum Written {
    /// A reply: the book that it is entered in, if any.
    Reply(Option<Arc<Ledger>>),
    /// What nobody asked for.
    Announcement(Announcement),
}

/// What the nodes of a thread share; it belongs to the node whose turn it is.
pub(super) struct Scratch {
    /// What was read.
    pub(super) read: Box<[u8]>,
    /// What is to be written.
    pub(super) out: Vec<u8>,
    /// The payload that is being written.
    pub(super) body: Vec<u8>,
    /// A place for each publication in `out`.
    pub(super) written: Vec<Written>,
    pub(super) desk: Desk,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        read: Box::default(),
        out: Vec::with_capacity(OUT_SIZE),
        body: Vec::with_capacity(4096),
        written: Vec::new(),
        desk: Desk::default(),
    });
}

impl Scratch {
    /// Lends the thread's scratch for one turn of one node.
    pub(super) fn with<T>(turn: impl FnOnce(&mut Self) -> T) -> T {
        SCRATCH.with_borrow_mut(|scratch| {
            // What an ended connection or a panic left behind is not this node's.
            scratch.out.clear();
            scratch.written.clear();
            if scratch.read.is_empty() {
                scratch.read = vec![0; READ_SIZE].into_boxed_slice();
            }
            turn(scratch)
        })
    }

    /// `PUB` of what stands in `body`.
    pub(super) fn write_publication(&mut self, subject: &str) {
        self.out.extend_from_slice(b"PUB ");
        self.out.extend_from_slice(subject.as_bytes());
        // Writing to a vector cannot fail.
        let _ = write!(self.out, " {}\r\n", self.body.len());
        self.out.extend_from_slice(&self.body);
        self.out.extend_from_slice(b"\r\n");
    }
}

/// Bytes that the socket did not take yet, and the publications that end in them.
struct Outbox {
    bytes: Vec<u8>,
    at: usize,
    written: Vec<Written>,
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
    /// A publication counts once the socket has taken all that was written with it.
    pub(super) fn flush(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        counts: &ShardCounts,
    ) -> io::Result<bool> {
        if let Some(mut outbox) = self.outbox.take() {
            outbox.bytes.append(&mut scratch.out);
            outbox.written.append(&mut scratch.written);
            outbox.at += self.write(cx, &outbox.bytes[outbox.at..], counts)?;
            if outbox.at < outbox.bytes.len() {
                self.outbox = Some(outbox);
                return Ok(false);
            }
            self.settle(&mut outbox.written, counts);
            return Ok(true);
        }
        if scratch.out.is_empty() {
            return Ok(true);
        }
        let taken = self.write(cx, &scratch.out, counts)?;
        let whole = taken == scratch.out.len();
        if whole {
            self.settle(&mut scratch.written, counts);
        } else {
            let bytes = scratch.out[taken..].to_vec();
            let written = std::mem::take(&mut scratch.written);
            self.outbox = Some(Box::new(Outbox { bytes, at: 0, written }));
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

    fn settle(&self, written: &mut Vec<Written>, counts: &ShardCounts) {
        for publication in written.drain(..) {
            match publication {
                Written::Reply(ledger) => {
                    add(&counts.replies, 1);
                    if let Some(ledger) = ledger {
                        ledger.answered.set(self.slot);
                    }
                }
                Written::Announcement(announcement) => add(counts.announced(announcement), 1),
            }
        }
    }
}
