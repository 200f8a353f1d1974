//! The brokers under test: finding or obtaining a nats-server, writing its configuration, starting,
//! watching and ending it.
//!
//! Nothing here knows waves or nodes: it is handed limits and folders and hands back addresses,
//! samples and reasons as values. Brokers listen on loopback, for clients where they are told to, and a broker goes when this
//! process goes, however it goes ([`crate::child`]).

mod again;
mod conf;
pub mod config;
pub mod connections;
mod links;
mod look_up;
pub mod monitor;
mod nameless;
pub mod obtain;
mod ours;
mod ports;
pub mod process;
mod profile;
mod ready;
mod system;
mod together;
pub mod version;

pub use again::{By, Control, ControlError};
pub(crate) use conf::{
    Setting, VARIABLE, given, holds_names, is_variable, merge, our_name, settings, variable,
};
pub use config::{LeftOut, Limits, Wiring};
pub use connections::Connections;
pub use links::LinkSample;
pub use look_up::{LookUpError, look_up};
pub use monitor::{BrokerSample, Look, Monitor, MonitorError, ProcessSample, Varz};
pub use obtain::{Obtained, Progress, Request, Sources};
pub(crate) use ours::{Ours, is_in_listen, is_place};
pub use process::{Broker, PortChoice, StartError, StartSpec, Stopped};
pub use profile::{Profile, ProfileSample};
pub use system::SystemAccount;
pub use together::{Ports, start_together};
pub use version::Version;
