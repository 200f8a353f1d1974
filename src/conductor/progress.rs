//! What a run reports while it goes on.

use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::time::Duration;

use reports::run::Origin;
use reports::wave::WaveResult;

use crate::broker;
use crate::driver::Secret;

/// Something a person may want to see. Values only: what it looks like is the terminal's business.
#[derive(Debug, Clone)]
pub enum Progress {
    /// The result folder exists.
    Folder(PathBuf),
    /// A nats-server is being found or obtained.
    Obtaining(String, broker::Progress),
    /// A broker is ready, or an external one was reached.
    Broker {
        /// Its name in the plan.
        name: String,
        /// Its version.
        version: String,
        /// The Go toolchain that built it, where that is known already.
        go: Option<String>,
        /// Its URL for clients.
        url: String,
    },
    /// Several brokers are one network.
    Formed {
        /// Connections between them.
        links: u64,
        /// From their start.
        took: Duration,
    },
    /// The control broker listens for workers of other hosts.
    Control {
        /// Where.
        at: SocketAddrV4,
        /// What lets them in, where nobody has given it.
        made_up: Option<Secret>,
    },
    /// Workers are waited for; comes whenever one is there.
    Mustering {
        /// How many are there.
        came: u64,
        /// Of how many.
        wanted: u64,
    },
    /// All workers are there.
    Mustered {
        /// How many.
        workers: u64,
    },
    /// It is found out which nodes are there, on a network that is not ours.
    Discovering {
        /// How long answers are waited for.
        patience: Duration,
    },
    /// Nodes that are not ours have to answer.
    Met {
        /// How many.
        nodes: u64,
        /// How they became known.
        origin: Origin,
    },
    /// Nodes are connecting; comes several times a second.
    Connecting {
        /// Nodes connected, all subscriptions confirmed.
        connected: u64,
        /// Nodes of the plan.
        planned: u64,
    },
    /// As many nodes are connected as will be before the first wave.
    Connected {
        /// Nodes connected.
        connected: u64,
        /// Nodes of the plan.
        planned: u64,
        /// How long it took.
        took: Duration,
    },
    /// The waves begin.
    Waves {
        /// How many there are, over all clients.
        total: u64,
        /// When the last one is over at the latest, from now.
        longest: Duration,
    },
    /// A wave is over, as one client saw it.
    Wave {
        /// Name of the entry.
        name: String,
        /// Number of the wave in its entry.
        number: u32,
        /// Whether it is a warm-up wave.
        warmup: bool,
        /// Which client, from 1.
        client: u32,
        /// Whether it was ended before its time: who has not answered was not given it.
        interrupted: bool,
        /// What was counted and measured.
        result: Box<WaveResult>,
    },
    /// Something was done to brokers, as the timeline says, or what followed from it.
    Timeline(String),
    /// Something went wrong and the run goes on.
    Warning(String),
    /// Everything is being stopped.
    Stopping,
}
