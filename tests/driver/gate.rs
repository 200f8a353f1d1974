//! A way to a broker on which the receivers of a client can be held up, and nobody else.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What becomes of receivers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Pass {
    Free,
    /// What they say waits; what they are told does not.
    Mute,
    /// Their connections break, and new ones wait.
    Broken,
}

/// It ends with this.
pub(super) struct Gate {
    pub(super) url: String,
    pass: watch::Sender<Pass>,
    _tasks: JoinSet<()>,
}

impl Gate {
    pub(super) async fn before(broker: &str) -> Self {
        let broker = broker.trim_start_matches("nats://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        let (pass, passing) = watch::channel(Pass::Free);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut ways = JoinSet::new();
            loop {
                let (near, _) = listener.accept().await.unwrap();
                ways.spawn(carry(near, broker.clone(), passing.clone()));
            }
        });
        Self { url, pass, _tasks: tasks }
    }

    pub(super) fn let_receivers(&self, pass: Pass) {
        self.pass.send_replace(pass);
    }
}

/// Carries a connection; whose it is shows when the client has greeted.
async fn carry(mut near: TcpStream, broker: String, passing: watch::Receiver<Pass>) {
    let mut far = TcpStream::connect(broker).await.unwrap();
    let mut info = vec![0; 16 * 1024];
    let read = far.read(&mut info).await.unwrap();
    near.write_all(&info[..read]).await.unwrap();
    let mut said = Vec::new();
    while !said.windows(2).any(|two| two == b"\r\n") {
        if near.read_buf(&mut said).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let is_receiver = String::from_utf8_lossy(&said).contains("-receiver");
    let ((mut from_near, mut to_near), (mut from_far, mut to_far)) = (near.split(), far.split());
    let up = async {
        let mut passing = passing.clone();
        loop {
            if is_receiver {
                passing.wait_for(|pass| *pass == Pass::Free).await.unwrap();
            }
            let written = to_far.write_all(&said).await;
            said.clear();
            if written.is_err() || from_near.read_buf(&mut said).await.unwrap_or(0) == 0 {
                return;
            }
        }
    };
    let mut breaking = passing.clone();
    let broken = async {
        // A new connection waits for its first word, and is not broken before.
        breaking.wait_for(|pass| *pass != Pass::Broken).await.unwrap();
        breaking.wait_for(|pass| is_receiver && *pass == Pass::Broken).await.unwrap();
    };
    tokio::select! {
        () = up => {}
        _ = copy(&mut from_far, &mut to_near) => {}
        () = broken => {}
    }
}
