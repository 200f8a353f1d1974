//! A node's own lean connection to its broker: plain NATS over TCP, without a channel per subscription.
//!
//! [`codec`] reads the protocol out of a byte slice, [`dial`] opens the socket, [`session`] is one
//! connection from the broker's `INFO` to its end, `wire` moves its bytes, `directory` knows a group's servers, `pool` says which of them to try next
//! and [`backoff`] how long to wait before.
//! What is absent on purpose: TLS (an issue of its own), JetStream, requests with inboxes: a Choria
//! server uses none of them for what is emulated here.

pub mod backoff;
pub mod codec;
pub mod dial;
pub(crate) mod directory;
pub(crate) mod pool;
pub mod server_error;
pub mod session;
mod wire;
