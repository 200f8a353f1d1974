//! What a node says without being asked: lifecycle events, registrations, its status file.
//!
//! Pure but for [`status::write`]: an index, a second of the clock and what the group shows go in,
//! payloads and times come out. Whether the node is connected, and what its socket takes, is the
//! session's business (`connection`).

pub mod event;
pub mod registration;
pub mod status;
mod timing;

use crate::machines::Topic;

pub(crate) use timing::{Agenda, Due};

/// What a node published without being asked, as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announcement {
    /// A lifecycle event.
    Event(event::Kind),
    /// A registration.
    Registration,
    /// What an autonomous agent did.
    Machine(Topic),
}
