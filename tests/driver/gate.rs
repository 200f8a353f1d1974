//! A way to a broker on which the receivers of a client can be held up, and nobody else.

use tokio::sync::watch;

use crate::support::way::{Pipe, Way};

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
    way: Way,
    pass: watch::Sender<Pass>,
}

impl Gate {
    pub(super) async fn before(broker: &str) -> Self {
        let (pass, passing) = watch::channel(Pass::Free);
        let way = Way::before(broker, move |up, down| carry(up, down, passing.clone())).await;
        Self { way, pass }
    }

    pub(super) fn url(&self) -> String {
        self.way.url.clone()
    }

    pub(super) fn let_receivers(&self, pass: Pass) {
        self.pass.send_replace(pass);
    }
}

/// Carries a connection; whose it is shows when the client has greeted.
async fn carry(mut up: Pipe, mut down: Pipe, mut passing: watch::Receiver<Pass>) {
    let Some(info) = down.said().await else { return };
    down.pass(&info).await;
    let Some(greeting) = up.said().await else { return };
    let is_receiver = String::from_utf8_lossy(&greeting).contains("-receiver");
    if is_receiver {
        passing.wait_for(|pass| *pass != Pass::Broken).await.unwrap();
    }
    up.pass(&greeting).await;
    let mut speaking = passing.clone();
    let speak = async {
        while let Some(said) = up.said().await {
            speaking.wait_for(|pass| !is_receiver || *pass == Pass::Free).await.unwrap();
            up.pass(&said).await;
        }
    };
    tokio::select! {
        () = speak => {}
        () = down.pass_all() => {}
        _ = passing.wait_for(|pass| is_receiver && *pass == Pass::Broken) => {}
    }
}
