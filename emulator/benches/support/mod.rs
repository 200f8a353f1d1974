//! What the benches share: a broker, child processes, and what the system says of both.

pub mod bare;

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use emulator::connection::codec::{self, Op, Step};

/// The nats-server to press on: `CHORIA_EMULATOR_NATS_SERVER`, else the first in `PATH`.
pub fn nats_server() -> PathBuf {
    let named = std::env::var_os("CHORIA_EMULATOR_NATS_SERVER").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|dir| dir.join("nats-server"));
    named.or_else(|| found.find(|file| file.is_file())).expect(
        "a nats-server: put one in PATH or name it in CHORIA_EMULATOR_NATS_SERVER \
         (`choria-emulator broker install` gets one)",
    )
}

/// A process that ends with this value.
pub struct Process(pub Child);

impl Process {
    /// User and system CPU time so far, in seconds.
    pub fn cpu_s(&self) -> f64 {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).expect("stat");
        let after = text.rsplit(')').next().expect("fields");
        let fields: Vec<&str> = after.split_whitespace().collect();
        let ticks: f64 = [11, 12].iter().map(|n| fields[*n].parse::<f64>().expect("ticks")).sum();
        // USER_HZ is 100 on every Linux that matters.
        ticks / 100.0
    }

    /// Resident memory in bytes.
    pub fn rss(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", self.0.id())).expect("statm");
        let pages: u64 = text.split_whitespace().nth(1).expect("pages").parse().expect("number");
        pages * 4096
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Clustered brokers on free loopback ports, each with where it takes clients.
pub fn start_brokers(count: usize) -> Vec<(Process, SocketAddr)> {
    // All at once, so that they are different.
    let free: Vec<TcpListener> =
        (0..2 * count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    let ports: Vec<u16> =
        free.iter().map(|free| free.local_addr().expect("bound").port()).collect();
    drop(free);
    let (clients, routes) = ports.split_at(count);
    let all: Vec<String> = routes.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
    let brokers =
        clients.iter().zip(&all).map(|(port, own)| start_broker(*port, own, &all.join(",")));
    let brokers: Vec<_> = brokers.collect();
    // A cluster forms in a tenth of a second, and in one where a first dial was refused.
    std::thread::sleep(Duration::from_secs(if count > 1 { 3 } else { 0 }));
    brokers
}

/// A broker that takes clients on this port.
fn start_broker(port: u16, own_route: &str, routes: &str) -> (Process, SocketAddr) {
    let alone = own_route == routes;
    let clustered = ["--cluster_name", "bench", "--cluster", own_route, "--routes", routes];
    let child = Command::new(nats_server())
        .args(["-a", "127.0.0.1", "-p", &port.to_string()])
        .args(clustered.iter().filter(|_| !alone))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the broker starts");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "the broker does not answer");
        std::thread::sleep(Duration::from_millis(20));
    }
    (Process(child), address)
}

/// Nodes in a process of their own; it ends with this value.
pub struct Nodes {
    /// The process.
    pub process: Process,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Nodes {
    /// This program again, as `--child ARGS`; returns when it has printed `ready`.
    pub fn start(args: &[String]) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .arg("--child")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the child starts");
        let input = child.stdin.take().expect("piped");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut nodes = Self { process: Process(child), input, lines };
        assert_eq!(nodes.line(), "ready");
        nodes
    }

    /// How much they have published without being asked.
    pub fn unasked(&mut self) -> u64 {
        self.input.write_all(b"?").expect("the child reads");
        self.line().parse().expect("a number")
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("the child says something").expect("text")
    }
}

/// A client that publishes and counts messages, as cheaply as it can be done.
pub struct Counter {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

impl Counter {
    /// Connects and subscribes.
    pub fn connect(address: SocketAddr, subject: &str) -> Self {
        let mut stream = TcpStream::connect(address).expect("connected");
        stream.set_nodelay(true).expect("an option");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("an option");
        let hello = format!("CONNECT {{\"verbose\":false}}\r\nSUB {subject} 1\r\nPING\r\n");
        stream.write_all(hello.as_bytes()).expect("written");
        let mut counter = Self { stream, buffer: vec![0; 1 << 20], filled: 0 };
        while !counter.read(|op| matches!(op, Op::Pong)) {}
        counter
    }

    /// Publishes and waits for `replies` messages; returns the time it took and the last size.
    pub fn wave(&mut self, subject: &str, payload: &[u8], replies: u64) -> (Duration, usize) {
        let began = Instant::now();
        let mut message = format!("PUB {subject} {}\r\n", payload.len()).into_bytes();
        message.extend_from_slice(payload);
        message.extend_from_slice(b"\r\n");
        self.stream.write_all(&message).expect("written");
        let (mut seen, mut size) = (0, 0);
        while seen < replies {
            let _ = self.read(|op| {
                if let Op::Message { payload, .. } = op {
                    seen += 1;
                    size = payload.len();
                }
                false
            });
        }
        (began.elapsed(), size)
    }

    fn read(&mut self, mut done: impl FnMut(Op<'_>) -> bool) -> bool {
        let size = self.stream.read(&mut self.buffer[self.filled..]).expect("replies in time");
        assert!(size > 0, "the broker closed the connection");
        self.filled += size;
        let (mut used, mut finished, mut pings) = (0, false, 0);
        while let Step::Op(op, length) = codec::next(&self.buffer[used..self.filled]).expect("NATS")
        {
            pings += usize::from(op == Op::Ping);
            finished |= done(op);
            used += length;
        }
        self.buffer.copy_within(used..self.filled, 0);
        self.filled -= used;
        for _ in 0..pings {
            self.stream.write_all(b"PONG\r\n").expect("written");
        }
        finished
    }
}

/// The middle value.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
