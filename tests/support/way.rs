//! A way to a broker on which a test decides what becomes of each message.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// It ends with this.
pub(crate) struct Way {
    pub(crate) url: String,
    _tasks: JoinSet<()>,
}

impl Way {
    /// Where clients connect instead of the broker; `carry` is handed what each says and what the broker says to it, and
    /// breaks their connection when it ends.
    pub(crate) async fn before<F>(
        broker: &str,
        carry: impl Fn(Pipe, Pipe) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send,
    {
        let broker = broker.trim_start_matches("nats://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        let carry = Arc::new(carry);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut ways = JoinSet::new();
            loop {
                let (near, _) = listener.accept().await.unwrap();
                // A broker that was started again may not be there yet.
                let Ok(far) = TcpStream::connect(&broker).await else { continue };
                let carry = Arc::clone(&carry);
                let ((from_near, to_near), (from_far, to_far)) =
                    (near.into_split(), far.into_split());
                ways.spawn(async move {
                    carry(Pipe::new(from_near, to_far), Pipe::new(from_far, to_near)).await;
                });
            }
        });
        Self { url, _tasks: tasks }
    }
}

/// One direction of a connection, message by message.
pub(crate) struct Pipe {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    read: Vec<u8>,
}

impl Pipe {
    fn new(from: OwnedReadHalf, to: OwnedWriteHalf) -> Self {
        Self { from, to, read: Vec::new() }
    }

    /// Reads on; false: nothing more comes.
    pub(crate) async fn fill(&mut self) -> bool {
        matches!(self.from.read_buf(&mut self.read).await, Ok(bytes) if bytes > 0)
    }

    /// The next operation of the NATS protocol that has come whole.
    pub(crate) fn next(&mut self) -> Option<Vec<u8>> {
        let line = self.read.windows(2).position(|two| two == b"\r\n")? + 2;
        let head = String::from_utf8_lossy(&self.read[..line]).into_owned();
        let payload = match head.split(' ').next() {
            Some("MSG" | "HMSG" | "PUB" | "HPUB") => {
                head.split_whitespace().last().unwrap().parse::<usize>().unwrap() + 2
            }
            _ => 0,
        };
        let whole = self.read.len() >= line + payload;
        whole.then(|| self.read.drain(..line + payload).collect())
    }

    /// The next operation, waited for; `None`: nothing more comes.
    pub(crate) async fn said(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(said) = self.next() {
                return Some(said);
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    pub(crate) async fn pass(&mut self, said: &[u8]) {
        // Whoever is gone is noticed when nothing more comes.
        let _ = self.to.write_all(said).await;
    }

    /// Passes everything on.
    pub(crate) async fn pass_all(mut self) {
        while let Some(said) = self.said().await {
            self.pass(&said).await;
        }
    }
}
