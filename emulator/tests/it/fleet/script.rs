//! A broker that does what a test says, and nothing else. Everything it waits for has a deadline.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use emulator::protocol::client::{ReplyScratch, decode_reply};
use emulator::spec::Server;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

/// `INFO` of a broker of this age.
pub(super) const INFO: &str = "INFO {\"server_id\":\"A\",\"version\":\"2.14.5\",\"proto\":1,\
                               \"headers\":true,\"max_payload\":1048576} \r\n";

/// Far longer than anything takes, short enough for a test to say what was missing.
const DEADLINE: Duration = Duration::from_secs(60);

/// Waits, but not for ever.
pub(super) async fn deadline<T>(future: impl Future<Output = T>) -> Option<T> {
    timeout(DEADLINE, future).await.ok()
}

/// A listening broker.
pub(super) struct Broker {
    listener: TcpListener,
}

impl Broker {
    pub(super) async fn new() -> Self {
        Self { listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap() }
    }

    /// Two brokers at two addresses of this host, on one port.
    pub(super) async fn pair() -> [Self; 2] {
        loop {
            let one = Self::new().await;
            let other = ([127, 0, 0, 2], one.address().port());
            // Somebody else may have it there.
            if let Ok(listener) = TcpListener::bind(SocketAddr::from(other)).await {
                return [one, Self { listener }];
            }
        }
    }

    /// A broker whose connections take few bytes before somebody reads them.
    pub(super) fn with_small_buffers() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        Self { listener: socket.listen(16).unwrap() }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub(super) fn server(&self) -> Server {
        Server::at(self.address())
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> Peer {
        let (stream, address) =
            deadline(self.listener.accept()).await.expect("a connection").unwrap();
        stream.set_nodelay(true).unwrap();
        Peer { stream, address, read: Vec::new() }
    }

    /// The next connection, welcomed until it is complete.
    pub(super) async fn accept_ready(&self) -> Peer {
        let mut peer = self.accept().await;
        peer.welcome().await;
        peer
    }
}

/// The broker's end of a connection.
pub(super) struct Peer {
    stream: TcpStream,
    pub(super) address: SocketAddr,
    read: Vec<u8>,
}

impl Peer {
    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = deadline(self.stream.write_all(bytes.as_ref())).await;
        sent.expect("somebody reads").unwrap();
    }

    /// What came in one read of the socket, if nothing was left over.
    pub(super) async fn chunk(&mut self) -> String {
        assert!(self.read.is_empty(), "{:?}", String::from_utf8_lossy(&self.read));
        self.fill().await;
        String::from_utf8(std::mem::take(&mut self.read)).unwrap()
    }

    async fn fill(&mut self) {
        self.read.reserve(64 * 1024);
        let size = deadline(self.stream.read_buf(&mut self.read)).await;
        let size = size.unwrap_or_else(|| panic!("nothing after {:?}", self.text())).unwrap();
        assert!(size > 0, "closed after {:?}", self.text());
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.read).into_owned()
    }

    /// The next line, without its end.
    pub(super) async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.read.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.read.drain(..end + 2).take(end).collect();
                return String::from_utf8(line).unwrap();
            }
            self.fill().await;
        }
    }

    async fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            self.fill().await;
        }
        self.read.drain(..count).collect()
    }

    /// Sends `INFO` and reads what the node says of itself.
    pub(super) async fn hello(&mut self) -> serde_json::Value {
        self.hello_with(INFO).await
    }

    pub(super) async fn hello_with(&mut self, info: &str) -> serde_json::Value {
        self.send(info).await;
        let connect = self.line().await;
        assert_eq!(self.line().await, "PING");
        serde_json::from_str(connect.strip_prefix("CONNECT ").unwrap()).unwrap()
    }

    /// The whole handshake; returns the node's name and its `SUB` lines.
    pub(super) async fn welcome(&mut self) -> (String, Vec<String>) {
        let connect = self.hello().await;
        let name = connect["name"].as_str().unwrap().to_owned();
        (name, self.subscribe().await)
    }

    /// Confirms `CONNECT` and all subscriptions of a node of the tests' group.
    pub(super) async fn subscribe(&mut self) -> Vec<String> {
        self.subscribe_all(usize::try_from(super::SUBSCRIPTIONS).unwrap()).await
    }

    /// The same of a node that makes so many.
    pub(super) async fn subscribe_all(&mut self, count: usize) -> Vec<String> {
        let mut subscriptions = Vec::new();
        self.send("PONG\r\n").await;
        while subscriptions.len() < count {
            match self.line().await.as_str() {
                "PING" => self.send("PONG\r\n").await,
                line => subscriptions.push(line.to_owned()),
            }
        }
        assert_eq!(self.line().await, "PING");
        self.send("PONG\r\n").await;
        subscriptions
    }

    /// The next `PUB`: subject and payload. The `PING`s behind replies are passed over; nothing else may
    /// come.
    pub(super) async fn publication(&mut self) -> (String, Vec<u8>) {
        loop {
            let line = self.line().await;
            if line == "PING" {
                continue;
            }
            let payload = self.payload_of(&line).await;
            let subject = line.split(' ').nth(1).unwrap_or_default();
            return (subject.to_owned(), payload);
        }
    }

    /// The payload behind the line of a `PUB`.
    pub(super) async fn payload_of(&mut self, line: &str) -> Vec<u8> {
        let fields: Vec<&str> = line.split(' ').collect();
        let ["PUB", _, size] = fields.as_slice() else { panic!("{line:?}") };
        let payload = self.bytes(size.parse().unwrap()).await;
        assert_eq!(self.bytes(2).await, b"\r\n");
        payload
    }

    /// The next reply: the number of its request, its status and its sender.
    pub(super) async fn reply(&mut self) -> (u32, Option<i64>, String) {
        let (_, payload) = self.publication().await;
        let mut scratch = ReplyScratch::default();
        let reply = decode_reply(&payload, &mut scratch).unwrap();
        let sender = reply.sender_id.into_owned();
        (reply.request_id.parse().unwrap(), reply.statuscode, sender)
    }

    /// Asks for a sign of life and shows that nothing was written before it.
    pub(super) async fn is_silent_and_alive(&mut self) {
        self.send("PING\r\n").await;
        loop {
            match self.line().await.as_str() {
                // That behind an earlier reply.
                "PING" => {}
                "PONG" => return,
                line => panic!("{line:?}"),
            }
        }
    }

    /// Waits until the node has closed the connection; what it still wrote does not matter.
    pub(super) async fn closed(&mut self) {
        let mut bytes = vec![0; 64 * 1024];
        let closed = deadline(async {
            while matches!(self.stream.read(&mut bytes).await, Ok(size) if size > 0) {}
        });
        closed.await.expect("the node closes the connection");
    }
}
