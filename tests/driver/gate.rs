//! A way to a broker on which the receivers of a client can be held up, and nobody else.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// It ends with this.
pub(super) struct Gate {
    pub(super) url: String,
    open: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl Gate {
    pub(super) async fn before(broker: &str) -> Self {
        let broker = broker.trim_start_matches("nats://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        let (open, is_open) = watch::channel(true);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut ways = JoinSet::new();
            loop {
                let (near, _) = listener.accept().await.unwrap();
                ways.spawn(pass(near, broker.clone(), is_open.clone()));
            }
        });
        Self { url, open, _tasks: tasks }
    }

    /// Breaks the connections of receivers and lets no new one through.
    pub(super) fn close(&self) {
        self.open.send_replace(false);
    }

    pub(super) fn open(&self) {
        self.open.send_replace(true);
    }
}

/// Carries a connection; what it is shows when the client has greeted.
async fn pass(mut near: TcpStream, broker: String, mut is_open: watch::Receiver<bool>) {
    let mut far = TcpStream::connect(broker).await.unwrap();
    let mut info = vec![0; 16 * 1024];
    let read = far.read(&mut info).await.unwrap();
    near.write_all(&info[..read]).await.unwrap();
    let mut greeting = Vec::new();
    while !greeting.windows(2).any(|two| two == b"\r\n") {
        if near.read_buf(&mut greeting).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let is_receiver = String::from_utf8_lossy(&greeting).contains("-receiver");
    if is_receiver {
        is_open.wait_for(|open| *open).await.unwrap();
    }
    far.write_all(&greeting).await.unwrap();
    let closed = async {
        match is_receiver {
            true => drop(is_open.wait_for(|open| !*open).await),
            false => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => {}
        () = closed => {}
    }
}
