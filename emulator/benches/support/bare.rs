//! The baseline: a bare node reads, finds the subscription, and writes a fixed reply. It decodes nothing,
//! judges nothing and counts nothing; nothing that answers over NATS from one task a connection can cost
//! much less.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use emulator::connection::dial::{Room, dial};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

thread_local! {
    static READ: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 * 1024]);
}

/// What every bare node does.
pub struct Bare {
    /// Where to connect.
    pub server: SocketAddr,
    /// Subjects that all nodes subscribe.
    pub subjects: Vec<String>,
    /// Where the fixed reply goes.
    pub reply_subject: String,
    /// Size of the fixed reply's payload.
    pub reply_size: usize,
    /// A `PING` behind every reply, as a server's flush does.
    pub flush: bool,
}

/// Runs `nodes` bare nodes on `shards` threads until the process ends; counts those connected.
pub fn run(bare: Bare, nodes: u64, shards: u64, connected: Arc<AtomicU64>) {
    let bare = Arc::new(bare);
    let permits = Arc::new(Semaphore::new(300));
    for shard in 0..shards {
        let (bare, permits) = (Arc::clone(&bare), Arc::clone(&permits));
        let connected = Arc::clone(&connected);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .max_io_events_per_tick(4096)
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let tasks = TaskTracker::new();
                for number in (shard..nodes).step_by(shards as usize) {
                    let permit = Arc::clone(&permits).acquire_owned().await.expect("open");
                    let (bare, connected) = (Arc::clone(&bare), Arc::clone(&connected));
                    tasks.spawn(async move {
                        let stream = Box::pin(connect(&bare, number)).await.expect("a connection");
                        drop(permit);
                        connected.fetch_add(1, Ordering::Relaxed);
                        answer(stream, &bare).await;
                    });
                }
                tasks.close();
                tasks.wait().await;
            });
        });
    }
}

async fn connect(bare: &Bare, number: u64) -> std::io::Result<TcpStream> {
    // Two fifths of a range of ports for each source address.
    let source = IpAddr::from([127, 0, 1, 1 + (number / 11_000) as u8]);
    let mut stream = dial(bare.server, Some(source), Room::Usual).await?;
    stream.set_nodelay(true)?;
    let mut hello = String::from("CONNECT {\"verbose\":false,\"headers\":true}\r\n");
    for (number, subject) in bare.subjects.iter().enumerate() {
        hello += &format!("SUB {subject}  {}\r\n", number + 1);
    }
    hello += "PING\r\n";
    stream.write_all(hello.as_bytes()).await?;
    let mut seen = Vec::new();
    while !seen.windows(6).any(|w| w == b"PONG\r\n") {
        let mut part = [0; 1024];
        let size = stream.read(&mut part).await?;
        seen.extend_from_slice(&part[..size]);
    }
    Ok(stream)
}

async fn answer(stream: TcpStream, bare: &Bare) {
    loop {
        if stream.readable().await.is_err() {
            return;
        }
        let alive = READ.with_borrow_mut(|read| match stream.try_read(read) {
            Ok(0) => false,
            Ok(size) => {
                respond(&stream, bare, &read[..size]);
                true
            }
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        });
        if !alive {
            return;
        }
    }
}

fn respond(stream: &TcpStream, bare: &Bare, mut read: &[u8]) {
    thread_local! {
        static REPLY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    while let Some(end) = read.iter().position(|b| *b == b'\n') {
        let line = &read[..end];
        read = &read[end + 1..];
        if line.starts_with(b"PING") {
            let _ = stream.try_write(b"PONG\r\n");
        }
        if !line.starts_with(b"MSG ") {
            continue;
        }
        // The subscription's number, as a dispatcher needs it, and the size of what follows.
        let mut fields = line.trim_ascii_end().split(|b| *b == b' ').skip(2);
        assert!(fields.next().is_some_and(|sid| sid[0].is_ascii_digit()));
        let size = fields.last().map_or(0, |digits| {
            digits.iter().fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'))
        });
        read = read.get(size + 2..).expect("requests of a bench fit one read");
        REPLY.with_borrow_mut(|reply| {
            if reply.is_empty() {
                let head = format!("PUB {} {}\r\n", bare.reply_subject, bare.reply_size);
                reply.extend_from_slice(head.as_bytes());
                reply.resize(reply.len() + bare.reply_size, b'x');
                reply.extend_from_slice(b"\r\n");
                if bare.flush {
                    reply.extend_from_slice(b"PING\r\n");
                }
            }
            let _ = stream.try_write(reply);
        });
    }
}
