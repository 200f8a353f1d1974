//! Processes that are ours: bound to this one so that they go when it goes, kept by a thread that tells how
//! they ended, with the last words of their logs. Brokers and workers are started this way.

mod keeper;
pub mod launch;

pub use keeper::Exit;
pub(crate) use keeper::{Handle, Keeper, Log};
pub use launch::Launcher;
